//! Redirects: where a visitor of a code is led, and what they see where it leads nowhere.

use std::time::Duration;

use api::redirect::Routes;
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;

use crate::support::{Reply, TestApp, TestOrg};

const SHOP: &str = "https://shop.example/summer";

async fn link(app: &TestApp, org: &TestOrg, mut body: Value) -> String {
    body["destination"] = SHOP.into();
    body["slug"] = "summer".into();
    let made = app.owner(org, "POST", "/api/links", Some(body)).await.expect(201);
    format!("/api/links/{}", made["id"].as_str().unwrap())
}

async fn change(app: &TestApp, org: &TestOrg, path: &str, body: Value) {
    app.owner(org, "PATCH", path, Some(body)).await.expect(200);
}

async fn visit(app: &TestApp) -> Reply {
    app.send("GET", "/r/summer", &[], None).await
}

#[track_caller]
fn leads_to(reply: &Reply, destination: &str) {
    assert_eq!((reply.status, reply.header("location")), (302, Some(destination)), "{}", reply.text);
    assert_eq!(reply.header("cache-control"), Some("private, no-store"));
}

#[track_caller]
fn shows(reply: &Reply, status: u16, title: &str) {
    assert_eq!(reply.status, status, "{}", reply.text);
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(reply.text.contains(&format!("<h1>{title}</h1>")), "{}", reply.text);
}

#[tokio::test]
async fn a_code_leads_to_its_destination_on_either_host() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    link(&app, &org, json!({"utm": {"source": "flyer"}})).await;
    let destination = format!("{SHOP}?utm_source=flyer");
    for (method, path, host) in [
        ("GET", "/r/summer", "stories"),
        ("GET", "/r/summer/", "stories"),
        ("GET", "/r/summer?x=1", "stories"),
        ("HEAD", "/r/summer", "stories"),
        ("GET", "/summer", "ink.test"),
        ("GET", "/summer", "INK.test"),
    ] {
        leads_to(&app.send(method, path, &[("host", host)], None).await, &destination);
    }
    let reply = app.send("PUT", "/r/summer", &[], None).await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD, POST")));
    for (path, host) in
        [("/r/Summer", "stories"), ("/r/", "stories"), ("/r/a/b", "stories"), ("/r/%00", "stories"), ("/x", "ink.test")]
    {
        shows(&app.send("GET", path, &[("host", host)], None).await, 404, "This link does not exist");
    }
    assert_eq!(app.send("GET", "/summer", &[], None).await.json["code"], "not_found", "only on the short domain");
}

#[tokio::test]
async fn a_link_leads_somewhere_within_its_time_and_while_it_is_switched_on() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let path = link(&app, &org, json!({"startsAt": "2026-03-02T13:00:00Z", "expiresAt": "2026-03-02T14:00:00Z"})).await;
    shows(&visit(&app).await, 404, "This link is not open yet");
    app.clock.advance(chrono::Duration::hours(1));
    leads_to(&visit(&app).await, SHOP);
    change(&app, &org, &path, json!({"active": false})).await;
    shows(&visit(&app).await, 410, "This link is paused");
    change(&app, &org, &path, json!({"active": true})).await;
    leads_to(&visit(&app).await, SHOP);
    app.clock.advance(chrono::Duration::hours(1));
    shows(&visit(&app).await, 410, "This link has expired");
    change(&app, &org, &path, json!({"expiresAt": null})).await;
    leads_to(&visit(&app).await, SHOP);
    change(&app, &org, &path, json!({"archived": true})).await;
    shows(&visit(&app).await, 410, "This link is paused");
    change(&app, &org, &path, json!({"archived": false, "password": "sesame"})).await;
    shows(&visit(&app).await, 401, "This link is protected");
}

#[tokio::test]
async fn a_link_ends_after_its_last_visit_and_looking_ahead_is_none() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let path = link(&app, &org, json!({"maxVisits": 3})).await;
    for _ in 0..3 {
        leads_to(&app.send("HEAD", "/r/summer", &[], None).await, SHOP);
        leads_to(&app.send("GET", "/r/summer", &[("sec-purpose", "prefetch;prerender")], None).await, SHOP);
        leads_to(&visit(&app).await, SHOP);
    }
    shows(&visit(&app).await, 410, "This link has ended");
    change(&app, &org, &path, json!({"maxVisits": 4})).await;
    leads_to(&visit(&app).await, SHOP);
    shows(&visit(&app).await, 410, "This link has ended");
}

/// Sends the form of the page.
async fn try_password(app: &TestApp, password: &str, address: &str) -> Reply {
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("x-visitor", address)];
    app.send("POST", "/r/summer", &headers, Some(format!("password={password}"))).await
}

#[tokio::test]
async fn a_protected_link_opens_with_its_password_until_that_is_another() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let path = link(&app, &org, json!({"password": "sesame & co"})).await;
    shows(&visit(&app).await, 401, "This link is protected");
    shows(&try_password(&app, "salami", "192.0.2.1").await, 401, "This link is protected");
    let opened = try_password(&app, "sesame+%26+co", "192.0.2.1").await;
    assert_eq!((opened.status, opened.header("location")), (303, Some("/r/summer")));
    let cookie = opened.header("set-cookie").unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax") && !cookie.contains("Secure"), "{cookie}");
    let cookie = format!("a=b; {}", cookie.split(';').next().unwrap());
    let with_cookie = async || app.send("GET", "/r/summer", &[("cookie", &cookie)], None).await;
    leads_to(&with_cookie().await, SHOP);
    let forged = app.send("GET", "/r/summer", &[("cookie", &cookie.replace("0", "1"))], None).await;
    shows(&forged, 401, "This link is protected");
    // It is this link's, and this password's.
    let other = json!({"destination": SHOP, "slug": "other", "password": "sesame & co"});
    app.owner(&org, "POST", "/api/links", Some(other)).await.expect(201);
    shows(&app.send("GET", "/r/other", &[("cookie", &cookie)], None).await, 401, "This link is protected");
    change(&app, &org, &path, json!({"password": "new"})).await;
    shows(&with_cookie().await, 401, "This link is protected");
    change(&app, &org, &path, json!({"password": null})).await;
    leads_to(&visit(&app).await, SHOP);
}

#[tokio::test]
async fn passwords_cannot_be_guessed_fast_and_who_guesses_does_not_lock_others_out() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    link(&app, &org, json!({"password": "sesame"})).await;
    // All at once: on a busy machine ten in turn take so long that the next is allowed again.
    let address = |n: usize| ["192.0.2.1", "203.0.113.9, 192.0.2.1"][n % 2];
    let tried = join_all((0..14).map(|n| try_password(&app, "guess", address(n)))).await;
    let refused: Vec<&Reply> = tried.iter().filter(|reply| reply.status == 429).collect();
    assert!((1..=4).contains(&refused.len()), "{}", refused.len());
    shows(refused[0], 429, "This link is protected");
    assert!(tried.iter().all(|reply| [401, 429].contains(&reply.status)));
    assert_eq!(try_password(&app, "sesame", "192.0.2.2").await.status, 303);
    let long = "x".repeat(5000);
    assert_eq!(try_password(&app, &long, "192.0.2.3").await.status, 413);
}

#[tokio::test]
async fn a_change_is_seen_at_once_and_an_old_slug_leads_nowhere() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    shows(&visit(&app).await, 404, "This link does not exist");
    let path = link(&app, &org, json!({})).await;
    leads_to(&visit(&app).await, SHOP);
    change(&app, &org, &path, json!({"destination": "https://other.example/"})).await;
    leads_to(&visit(&app).await, "https://other.example/");
    change(&app, &org, &path, json!({"slug": "autumn"})).await;
    shows(&visit(&app).await, 404, "This link does not exist");
    leads_to(&app.send("GET", "/r/autumn", &[], None).await, "https://other.example/");
    assert_eq!(app.owner(&org, "DELETE", &path, None).await.status, 204);
    shows(&app.send("GET", "/r/autumn", &[], None).await, 404, "This link does not exist");
}

#[tokio::test]
async fn a_change_reaches_other_processes_within_a_second_also_after_their_connection_broke() {
    let app = TestApp::build().in_real_time().start().await;
    let org = app.org("acme").await;
    let path = link(&app, &org, json!({})).await;
    // What another process keeps.
    let routes = Routes::new(app.store.pool().clone());
    let direct = app.direct().application_name("listener");
    routes.listen(PgPoolOptions::new().max_connections(1).connect_lazy_with(direct));
    let listens = "select count(*) from pg_stat_activity where application_name = 'listener' and query like 'LISTEN%'
                   and datname = current_database()";
    let listening = async || -> i64 { sqlx::query_scalar(listens).fetch_one(app.store.pool()).await.unwrap() };
    let destination = async || routes.find("", "summer").await.unwrap().map(|route| route.destination.clone());
    for round in 0..3 {
        while listening().await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        destination().await;
        let to = format!("https://shop.example/{round}");
        change(&app, &org, &path, json!({"destination": to})).await;
        let begun = std::time::Instant::now();
        while destination().await.as_deref() != Some(&to) {
            assert!(begun.elapsed() < Duration::from_secs(20), "the change is never seen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                   where application_name = 'listener' and datname = current_database()";
        sqlx::query(cut).fetch_all(app.store.pool()).await.unwrap();
    }
}

#[tokio::test]
async fn a_redirect_names_its_request_like_any_other_answer() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    link(&app, &org, json!({})).await;
    let named = app.send("GET", "/r/summer", &[("x-request-id", "mine-1")], None).await;
    assert_eq!(named.header("x-request-id"), Some("mine-1"));
    for path in ["/r/summer", "/r/unknown"] {
        let reply = app.send("GET", path, &[("x-request-id", "not a plain word")], None).await;
        assert!(reply.header("x-request-id").is_some_and(|id| id.starts_with("req_")), "{path}");
    }
}

async fn show(app: &TestApp, body: Value, host: &str, address: &str) -> Reply {
    let headers = [("host", host), ("x-visitor", address)];
    app.send("POST", "/api/public/access", &headers, Some(body.to_string())).await
}

#[tokio::test]
async fn a_program_shows_a_password_and_gets_the_cookie_of_the_page() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let path = link(&app, &org, json!({"password": "sesame"})).await;
    let id = path.strip_prefix("/api/links/").unwrap();
    let (public, short) = (format!("{}/r/summer", app.url), format!("{}/r/summer", app.url));
    for (named, host, url) in [
        (json!({"code": "summer"}), "stories", &public),
        (json!({"id": id}), "stories", &public),
        (json!({"linkId": id}), "stories", &public),
        (json!({"code": "summer", "domain": "INK.test"}), "ink.test", &short),
    ] {
        let mut body = named.clone();
        body["password"] = "sesame".into();
        let opened = show(&app, body.clone(), host, "192.0.2.1").await;
        assert_eq!((opened.status, &opened.json), (200, &json!({"url": url})), "{named}: {}", opened.text);
        let cookie = opened.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        leads_to(&app.send("GET", "/r/summer", &[("cookie", &cookie)], None).await, SHOP);
        body["password"] = "salami".into();
        let refused = show(&app, body, host, "192.0.2.1").await;
        assert_eq!((refused.status, refused.header("set-cookie")), (401, None), "{named}");
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    }
    for (body, status) in [
        (json!({"code": "winter", "password": "sesame"}), 404),
        (json!({"id": "link_01KJQ6PSG0EC78V5NZFZCHSTM3", "password": "sesame"}), 404),
        (json!({"code": "summer", "domain": "other.example", "password": "sesame"}), 404),
        (json!({"password": "sesame"}), 400),
        (json!({"code": "summer", "id": id, "password": "sesame"}), 400),
        (json!({"id": "fld_01KJQ6PSG0EC78V5NZFZCHSTM3", "password": "sesame"}), 400),
        (json!({"code": "summer"}), 400),
        (json!({"code": "summer", "password": "x".repeat(201)}), 400),
    ] {
        assert_eq!(show(&app, body.clone(), "stories", "192.0.2.2").await.status, status, "{body}");
    }
    change(&app, &org, &path, json!({"active": false})).await;
    let right = json!({"code": "summer", "password": "sesame"});
    assert_eq!(show(&app, right.clone(), "stories", "192.0.2.3").await.status, 404);
    change(&app, &org, &path, json!({"active": true, "password": null})).await;
    let open = show(&app, right, "stories", "192.0.2.3").await;
    assert_eq!((open.status, open.header("set-cookie")), (200, None), "there is nothing to show");
}

#[tokio::test]
async fn tries_by_page_and_by_program_are_counted_together() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    link(&app, &org, json!({"password": "sesame"})).await;
    let by_program =
        async |address: &str| show(&app, json!({"code": "summer", "password": "salami"}), "stories", address).await;
    // All at once: on a busy machine ten in turn take so long that the next is allowed again. Seven of each are too few.
    let tries = (0..14).map(async |n| match n % 2 {
        0 => by_program("192.0.2.1").await,
        _ => try_password(&app, "salami", "192.0.2.1").await,
    });
    let tried = join_all(tries).await;
    assert!(tried.iter().all(|reply| [401, 429].contains(&reply.status)));
    assert!(tried.iter().any(|reply| reply.status == 429));
    let tried = join_all((0..14).map(|_| by_program("192.0.2.2"))).await;
    let over = tried.iter().find(|reply| reply.status == 429).expect("more than ten");
    assert_eq!(over.json["code"], "rate_limited");
    let wait: u64 = over.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=6).contains(&wait), "{wait}");
    let elsewhere = show(&app, json!({"code": "summer", "password": "sesame"}), "stories", "192.0.2.3").await;
    assert_eq!(elsewhere.status, 200);
}
