//! Own domains: proven by DNS, and then hosts for codes like the installation's own.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use workers::dns::Dns;

use crate::support::{Reply, TestApp, TestOrg, dns::NameServer};

const NAME: &str = "go.acme.example";
const SHOP: &str = "https://shop.example/";

/// A program that asks the story's name server.
async fn start() -> (TestApp, NameServer) {
    let (mut app, server) = (TestApp::start().await, NameServer::start());
    app.context.dns = Dns::at(server.address);
    app.leaves_jobs("domain.verify");
    (app, server)
}

async fn add(app: &TestApp, org: &TestOrg, name: &str) -> Value {
    app.owner(org, "POST", "/api/domains", Some(json!({"name": name}))).await.expect(201)
}

fn path(thing: &Value) -> String {
    let id = thing["id"].as_str().unwrap();
    format!("/api/{}/{id}", if id.starts_with("dom_") { "domains" } else { "links" })
}

async fn shown(app: &TestApp, org: &TestOrg, thing: &Value) -> Value {
    app.owner(org, "GET", &path(thing), None).await.expect(200)
}

/// Adds a domain and proves it.
async fn prove(app: &TestApp, org: &TestOrg, server: &NameServer, name: &str) -> Value {
    let domain = add(app, org, name).await;
    let record = &domain["record"];
    server.hold(record["name"].as_str().unwrap(), &[record["value"].as_str().unwrap()]);
    app.drain().await;
    let domain = shown(app, org, &domain).await;
    assert_eq!(domain["state"], "verified", "{domain}");
    app.routes.hosts.load().await;
    domain
}

async fn make(app: &TestApp, org: &TestOrg, body: Value) -> Reply {
    app.owner(org, "POST", "/api/links", Some(body)).await
}

/// Where a visitor of a path on a host is led, or the status and title of what they see.
async fn visit(app: &TestApp, host: &str, path: &str) -> String {
    let reply = app.send("GET", path, &[("host", host)], None).await;
    match reply.header("location") {
        Some(location) => location.to_owned(),
        None => format!(
            "{} {}",
            reply.status,
            reply.text.split("<h1>").nth(1).unwrap_or(&reply.text).split('<').next().unwrap()
        ),
    }
}

#[tokio::test]
async fn a_domain_is_verified_once_its_dns_says_so() {
    let (app, server) = start().await;
    let org = app.org("acme").await;
    let domain = add(&app, &org, "Go.ACME.example").await;
    let value = domain["record"]["value"].as_str().unwrap();
    assert!(value.starts_with("inkfleet-verify=") && value.len() == 48, "{value}");
    let expected = json!({
        "id": domain["id"], "name": NAME, "state": "pending",
        "record": {"name": "_inkfleet.go.acme.example", "value": value},
        "nextCheckAt": "2026-03-02T12:00:00.000Z", "createdAt": "2026-03-02T12:00:00.000Z",
    });
    assert_eq!(domain, expected);
    app.drain().await;
    let seen = shown(&app, &org, &domain).await;
    assert_eq!(
        (&seen["state"], &seen["problem"]),
        (&json!("pending"), &json!("_inkfleet.go.acme.example has no TXT record."))
    );
    assert_eq!(seen["nextCheckAt"], "2026-03-02T12:01:00.000Z");
    server.hold("_inkfleet.go.acme.example", &["v=spf1 -all", "inkfleet-verify=another"]);
    app.pass(TimeDelta::minutes(1)).await;
    let seen = shown(&app, &org, &domain).await;
    assert_eq!(seen["problem"], "_inkfleet.go.acme.example has another TXT record than the one that is asked for.");
    server.hold("_inkfleet.go.acme.example", &["v=spf1 -all", value]);
    app.pass(TimeDelta::minutes(2)).await;
    let seen = shown(&app, &org, &domain).await;
    assert_eq!((&seen["state"], &seen["verifiedAt"]), (&json!("verified"), &json!("2026-03-02T12:03:00.000Z")));
    assert!(seen.get("problem").is_none() && seen.get("nextCheckAt").is_none(), "{seen}");
    assert_eq!(app.owner(&org, "GET", "/api/domains", None).await.expect(200)["items"], json!([seen]));
}

#[tokio::test]
async fn a_domain_fails_after_three_days_and_is_looked_for_again_when_asked() {
    let (app, server) = start().await;
    let org = app.org("acme").await;
    let domain = add(&app, &org, NAME).await;
    let mut looks = app.drain().await;
    for _ in 0..80 {
        looks += app.pass(TimeDelta::hours(1)).await;
    }
    let seen = shown(&app, &org, &domain).await;
    assert_eq!((&seen["state"], looks), (&json!("failed"), 13), "{seen}");
    assert_eq!(app.pass(TimeDelta::days(2)).await, 0, "nobody looks any more");
    let record = &domain["record"];
    server.hold(record["name"].as_str().unwrap(), &[record["value"].as_str().unwrap()]);
    let asked = app.owner(&org, "POST", &format!("{}/check", path(&domain)), None).await.expect(200);
    assert_eq!(asked["state"], "pending");
    app.drain().await;
    assert_eq!(shown(&app, &org, &domain).await["state"], "verified");
    let again = app.owner(&org, "POST", &format!("{}/check", path(&domain)), None).await.expect(200);
    assert_eq!(again["state"], "verified", "it stays what it is");
}

#[tokio::test]
async fn who_proves_a_domain_first_has_it_and_who_only_asks_for_it_has_nothing() {
    let (app, server) = start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let (ours, theirs) = (add(&app, &org, NAME).await, add(&app, &other, NAME).await);
    app.drain().await;
    let values = [&ours, &theirs].map(|domain| domain["record"]["value"].as_str().unwrap());
    server.hold("_inkfleet.go.acme.example", &[values[1]]);
    app.pass(TimeDelta::minutes(1)).await;
    assert_eq!(shown(&app, &org, &ours).await["state"], "pending");
    assert_eq!(shown(&app, &other, &theirs).await["state"], "verified");
    server.hold("_inkfleet.go.acme.example", &values);
    app.pass(TimeDelta::minutes(2)).await;
    let second = shown(&app, &org, &ours).await;
    assert_eq!(
        (&second["state"], &second["problem"]),
        (&json!("failed"), &json!("Another workspace has proven this domain."))
    );
    let link = make(&app, &org, json!({"destination": SHOP, "domain": NAME})).await.expect(400);
    assert_eq!(link["errors"][0]["field"], "domain");
    // Given up, it is free for who can prove it.
    assert_eq!(app.owner(&other, "DELETE", &path(&theirs), None).await.status, 204);
    app.owner(&org, "POST", &format!("{}/check", path(&ours)), None).await.expect(200);
    app.drain().await;
    assert_eq!(shown(&app, &org, &ours).await["state"], "verified");
    let third = app.owner(&other, "POST", "/api/domains", Some(json!({"name": NAME}))).await.expect(409);
    assert_eq!(third["code"], "domain_taken");
}

#[tokio::test]
async fn codes_on_a_domain_are_its_own_and_lead_from_there() {
    let (app, server) = start().await;
    let org = app.org("acme").await;
    let early = make(&app, &org, json!({"destination": SHOP, "domain": NAME})).await.expect(400);
    assert_eq!(early["errors"][0]["field"], "domain");
    prove(&app, &org, &server, NAME).await;
    let here = make(&app, &org, json!({"destination": SHOP, "slug": "summer"})).await.expect(201);
    let body = json!({"destination": "https://acme.example/", "slug": "summer", "domain": NAME});
    let there = make(&app, &org, body.clone()).await.expect(201);
    assert_eq!((&there["shortUrl"], &there["domain"]), (&json!("https://go.acme.example/summer"), &json!(NAME)));
    assert!(here.get("domain").is_none());
    let taken = make(&app, &org, body).await.expect(409);
    assert_eq!(taken["code"], "slug_taken");
    assert!(taken["detail"].as_str().unwrap().contains("https://go.acme.example/summer"), "{taken}");
    for (host, path, expected) in [
        (NAME, "/summer", "https://acme.example/"),
        ("GO.acme.example.:8443", "/summer/", "https://acme.example/"),
        (NAME, "/winter", "404 This link does not exist"),
        (NAME, "/", "404 This link does not exist"),
        (NAME, "/r/summer", "404 This link does not exist"),
        (NAME, "/api/links", "404 This link does not exist"),
        ("stories", "/r/summer", SHOP),
        ("ink.test", "/summer", SHOP),
    ] {
        assert_eq!(visit(&app, host, path).await, expected, "{host} {path}");
    }
    // A link moves from domain to domain.
    let moved =
        app.owner(&org, "PATCH", &path(&there), Some(json!({"domain": null, "slug": "autumn"}))).await.expect(200);
    assert_eq!(moved["shortUrl"], format!("{}/r/autumn", app.url));
    assert_eq!(visit(&app, NAME, "/summer").await, "404 This link does not exist");
    assert_eq!(visit(&app, "stories", "/r/autumn").await, "https://acme.example/");
    app.owner(&org, "PATCH", &path(&moved), Some(json!({"domain": NAME}))).await.expect(200);
    assert_eq!(visit(&app, NAME, "/autumn").await, "https://acme.example/");
}

#[tokio::test]
async fn a_domain_with_codes_stays_and_one_without_goes_with_its_host() {
    let (app, server) = start().await;
    let org = app.org("acme").await;
    let domain = prove(&app, &org, &server, NAME).await;
    let link = make(&app, &org, json!({"destination": SHOP, "domain": NAME, "slug": "a"})).await.expect(201);
    let kept = app.owner(&org, "DELETE", &path(&domain), None).await.expect(409);
    assert_eq!(kept["code"], "domain_in_use");
    assert_eq!(visit(&app, NAME, "/a").await, SHOP);
    assert_eq!(app.owner(&org, "DELETE", &path(&link), None).await.status, 204);
    assert_eq!(app.owner(&org, "DELETE", &path(&domain), None).await.status, 204);
    let reply = app.send("GET", "/a", &[("host", NAME)], None).await;
    assert_eq!(reply.json["code"], "not_found", "nobody's host is the API's");
}

#[tokio::test]
async fn a_process_that_listens_hears_of_a_new_domain() {
    let (app, server) = start().await;
    let org = app.org("acme").await;
    let direct = app.direct();
    app.routes.listen(PgPoolOptions::new().max_connections(1).connect_lazy_with(direct));
    let domain = add(&app, &org, NAME).await;
    let record = &domain["record"];
    server.hold(record["name"].as_str().unwrap(), &[record["value"].as_str().unwrap()]);
    app.drain().await;
    let begun = std::time::Instant::now();
    while !app.routes.hosts.contains(NAME) {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is never heard of");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_cannot_be_an_own_domain_is_refused_and_only_managers_ask() {
    let (app, _) = start().await;
    let org = app.org("acme").await;
    for name in [
        "example",
        "192.0.2.1",
        "[::1]",
        "a..b",
        "-a.example",
        "a_b.example",
        "ink.test",
        "https://a.example",
        "gö.example",
        "a.example.",
        "",
    ] {
        let answer = app.owner(&org, "POST", "/api/domains", Some(json!({"name": name}))).await.expect(400);
        assert_eq!(answer["errors"][0]["field"], "name", "{name}: {answer}");
    }
    let unicode = add(&app, &org, "XN--g-1ga.example").await;
    assert_eq!(unicode["name"], "xn--g-1ga.example");
    let auth = format!("authorization: Bearer {}", org.member_session(&app));
    app.post("/api/domains", &auth, json!({"name": NAME})).await.expect(403);
    for (method, tail) in [("POST", "/check"), ("DELETE", "")] {
        app.call(method, &format!("{}{tail}", path(&unicode)), &auth, None).await.expect(403);
    }
    app.get("/api/domains", &auth).await.expect(200);
}

#[tokio::test]
async fn qr_codes_stand_on_own_domains_like_links() {
    let (app, server) = start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let body = json!({"isDynamic": true, "content": {"url": SHOP}, "shortCode": "a", "domain": NAME});
    let make = async |org: &TestOrg, body: &Value| app.owner(org, "POST", "/api/qr", Some(body.clone())).await;
    let refused = make(&org, &body).await.expect(400);
    assert_eq!(refused["errors"][0]["field"], "domain", "it is not proven");
    prove(&app, &org, &server, NAME).await;
    assert_eq!(make(&other, &body).await.expect(400)["errors"][0]["field"], "domain", "it is another's");
    let code = make(&org, &body).await.expect(201);
    let address = format!("https://{NAME}/a");
    assert_eq!(
        (&code["domain"], &code["shortUrl"], &code["encodes"]),
        (&json!(NAME), &json!(address), &json!(address))
    );
    assert_eq!(visit(&app, NAME, "/a").await, SHOP);
    let taken = make(&org, &body).await.expect(409);
    assert_eq!(taken["code"], "short_code_taken");
    // Elsewhere the same code is another, and a code can move.
    let path = format!("/api/qr/{}", code["id"].as_str().unwrap());
    let moved = app.owner(&org, "PATCH", &path, Some(json!({"domain": null}))).await.expect(200);
    assert_eq!((moved.get("domain"), &moved["shortUrl"]), (None, &json!(format!("{}/r/a", app.url))));
    assert!(visit(&app, NAME, "/a").await.starts_with("404"));
    make(&org, &body).await.expect(201);
    app.owner(&org, "PATCH", &path, Some(json!({"domain": NAME}))).await.expect(409);
    let plain = json!({"content": {"text": "x"}, "domain": NAME});
    assert_eq!(make(&org, &plain).await.expect(400)["errors"][0]["field"], "domain");
}
