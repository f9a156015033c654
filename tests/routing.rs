//! Routing: to which of a link's destinations a visitor is led, and why. The engine by itself is told in
//! `routing/engine.rs`.

mod engine;

use serde_json::{Value, json};

use crate::support::{Reply, TestApp, TestOrg};

const SHOP: &str = "https://shop.example/";
const OTHER: &str = "https://other.example/";

/// A link at `/r/summer` with this routing.
async fn link(app: &TestApp, org: &TestOrg, routing: Value) -> Value {
    let body = json!({"destination": SHOP, "slug": "summer", "routing": routing});
    app.owner(org, "POST", "/api/links", Some(body)).await.expect(201)
}

fn path(link: &Value) -> String {
    format!("/api/links/{}", link["id"].as_str().unwrap())
}

/// A rule that leads to [`OTHER`].
fn rule(conditions: Value) -> Value {
    json!({"rules": [{"conditions": conditions, "destination": OTHER}]})
}

async fn visit(app: &TestApp, query: &str, headers: &[(&str, &str)]) -> String {
    let reply: Reply = app.send("GET", &format!("/r/summer{query}"), headers, None).await;
    assert_eq!(reply.status, 302, "{}", reply.text);
    reply.header("location").unwrap().to_owned()
}

#[tokio::test]
async fn a_visitor_is_led_by_the_first_rule_that_fits_with_the_links_utm_fields() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let rules = json!([
        {"destination": "https://de.example/?a=1",
         "conditions": [{"attribute": "language", "values": ["de"]}, {"attribute": "query", "name": "from"}]},
        {"destination": "https://fr.example/", "conditions": [{"attribute": "language", "values": ["de", "fr"]}]},
        {"destination": "https://news.example/", "conditions": [{"attribute": "referrer", "values": ["news.example"]}]},
    ]);
    let body = json!({"destination": SHOP, "slug": "summer", "utm": {"source": "x"}, "routing": {"rules": rules}});
    let link = app.owner(&org, "POST", "/api/links", Some(body)).await.expect(201);
    for (query, headers, expected) in [
        ("", vec![], "https://shop.example/?utm_source=x"),
        ("?from=poster", vec![("accept-language", "en;q=0.5, de-AT")], "https://de.example/?a=1&utm_source=x"),
        ("?form=poster", vec![("accept-language", "de-AT,de;q=0.9")], "https://fr.example/?utm_source=x"),
        ("", vec![("accept-language", "en,de;q=0.9")], "https://shop.example/?utm_source=x"),
        ("", vec![("referer", "https://www.news.example/a?b")], "https://news.example/?utm_source=x"),
        ("", vec![("referer", "https://fakenews.example/")], "https://shop.example/?utm_source=x"),
    ] {
        assert_eq!(visit(&app, query, &headers).await, expected, "{query} {headers:?}");
    }
    // Taken away, it leads to one place again.
    app.owner(&org, "PATCH", &path(&link), Some(json!({"routing": null}))).await.expect(200);
    assert_eq!(visit(&app, "", &[("accept-language", "fr")]).await, "https://shop.example/?utm_source=x");
}

#[tokio::test]
async fn rules_ask_for_devices_and_places_and_visits_tell_what_led_them_on() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let rules = json!([
        {"id": "ca", "destination": "https://ca.example/", "conditions": [{"attribute": "region", "values": ["US-CA"]}]},
        {"id": "de", "destination": "https://de.example/", "conditions": [{"attribute": "country", "values": ["DE"]}]},
        {"id": "phone", "destination": "https://phone.example/", "conditions": [
            {"attribute": "device", "values": ["Mobile"]}, {"attribute": "os", "values": ["ios"]},
            {"attribute": "browser", "not": true, "values": ["instagram"]}]},
    ]);
    let variants = json!([{"id": "a", "destination": "https://a.example/", "weight": 1}]);
    let link = link(&app, &org, json!({"rules": rules, "variants": variants})).await;
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/17.5 Mobile/15E148 Safari/604.1";
    for (headers, expected) in [
        (vec![("x-country", "US"), ("x-region", "CA"), ("user-agent", phone)], "https://ca.example/"),
        (vec![("x-country", "de"), ("user-agent", phone)], "https://de.example/"),
        (vec![("user-agent", phone), ("x-country", "FR")], "https://phone.example/"),
        (vec![("user-agent", &format!("{phone} Instagram 300.0"))], "https://a.example/"),
        (vec![], "https://a.example/"),
    ] {
        assert_eq!(visit(&app, "", &headers).await, expected, "{headers:?}");
    }
    app.store_visits().await;
    let stats = app.owner(&org, "GET", &format!("{}/stats", path(&link)), None).await.expect(200);
    let mut told: Vec<&str> =
        stats["routing"].as_array().unwrap().iter().map(|share| share["value"].as_str().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, ["rule:ca", "rule:de", "rule:phone", "variant:a"]);
    let explained = json!({"userAgent": phone, "country": "FR"});
    let told = app.owner(&org, "POST", &format!("{}/explain", path(&link)), Some(explained)).await.expect(200);
    assert_eq!(told["branch"], "rule:phone");
    assert_eq!(told["rules"][2]["conditions"][1], json!({"attribute": "os", "holds": true, "seen": "iOS"}));
}

#[tokio::test]
async fn a_rule_counts_the_links_visits_and_only_those() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let link = link(&app, &org, rule(json!([{"attribute": "visit", "least": 2, "most": 3}]))).await;
    let prefetch = [("sec-purpose", "prefetch")];
    let explain = async || app.owner(&org, "POST", &format!("{}/explain", path(&link)), Some(json!({}))).await;
    for expected in [SHOP, OTHER, OTHER, SHOP, SHOP] {
        assert_eq!(visit(&app, "", &prefetch).await, expected, "who looks ahead sees what comes");
        assert_eq!(app.send("HEAD", "/r/summer", &[], None).await.header("location"), Some(expected));
        assert_eq!(explain().await.expect(200)["destination"], expected);
        assert_eq!(visit(&app, "", &[]).await, expected);
    }
    // With a limit, the same visits count for both.
    app.owner(&org, "PATCH", &path(&link), Some(json!({"maxVisits": 6}))).await.expect(200);
    assert_eq!(visit(&app, "", &[]).await, SHOP);
    assert_eq!(app.send("GET", "/r/summer", &[], None).await.status, 410);
    assert_eq!(explain().await.expect(200)["state"], "full");
}

#[tokio::test]
async fn visits_at_the_same_time_have_numbers_of_their_own() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    link(&app, &org, rule(json!([{"attribute": "visit", "most": 7}]))).await;
    let visits = (0..20).map(|_| visit(&app, "", &[]));
    let led = futures::future::join_all(visits).await;
    assert_eq!(led.iter().filter(|destination| *destination == OTHER).count(), 7);
}

#[tokio::test]
async fn a_visitor_gets_the_same_variant_always_and_each_gets_its_share() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let variants = json!([
        {"name": "A", "destination": "https://a.example/", "weight": 3},
        {"name": "B", "destination": "https://b.example/", "weight": 1},
        {"name": "C", "destination": "https://c.example/", "weight": 0},
    ]);
    let link = link(&app, &org, json!({"variants": variants})).await;
    let as_visitor = async |n: i32| {
        let address = format!("192.0.2.{n}");
        visit(&app, "", &[("x-visitor", &address), ("user-agent", "story")]).await
    };
    let mut led = vec![];
    for n in 0..200 {
        led.push(as_visitor(n).await);
    }
    let of = |destination: &str| led.iter().filter(|led| *led == destination).count();
    assert_eq!(of("https://c.example/"), 0);
    assert!((30..70).contains(&of("https://b.example/")), "a quarter of 200 is not {}", of("https://b.example/"));
    // Neither an edit nor a process that starts anew moves anybody.
    let shown = app.owner(&org, "GET", &path(&link), None).await.expect(200)["routing"].clone();
    assert_eq!(shown, link["routing"]);
    app.owner(&org, "PATCH", &path(&link), Some(json!({"title": "T", "routing": shown}))).await.expect(200);
    for n in 0..20 {
        assert_eq!(as_visitor(n).await, led[n as usize]);
    }
    let body = json!({"address": "192.0.2.7", "userAgent": "story"});
    let told = app.owner(&org, "POST", &format!("{}/explain", path(&link)), Some(body)).await.expect(200);
    assert_eq!(told["destination"], led[7]);
    let variants = told["variants"].as_array().unwrap();
    assert_eq!(variants.iter().map(|v| v["share"].as_f64().unwrap()).collect::<Vec<_>>(), [0.75, 0.25, 0.0]);
    let own = variants.iter().find(|variant| variant["decides"] == true).unwrap();
    assert_eq!(told["branch"], format!("variant:{}", own["id"].as_str().unwrap()));
}

#[tokio::test]
async fn ids_of_rules_and_variants_survive_their_edits() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let conditions = json!([{"attribute": "country", "values": ["DE"]}]);
    let routing = json!({
        "rules": [{"name": "one", "destination": SHOP, "conditions": conditions},
                  {"id": "mine", "destination": SHOP, "conditions": conditions}],
        "variants": [{"name": "A", "destination": SHOP, "weight": 1}, {"name": "B", "destination": SHOP, "weight": 1}],
    });
    let link = link(&app, &org, routing.clone()).await;
    let ids = |routing: &Value| -> Vec<String> {
        let of = |list: &str| routing[list].as_array().unwrap().clone();
        of("rules").iter().chain(&of("variants")).map(|part| part["id"].as_str().unwrap().to_owned()).collect()
    };
    let before = ids(&link["routing"]);
    assert_eq!(before[1], "mine");
    assert_eq!(before.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    let change = async |routing: Value| {
        let changed = app.owner(&org, "PATCH", &path(&link), Some(json!({"routing": routing}))).await.expect(200);
        changed["routing"].clone()
    };
    // What was given without ids and is given so again is the same.
    assert_eq!(change(routing).await, link["routing"]);
    // Turned round and renamed, with their ids.
    let mut turned = link["routing"].clone();
    turned["rules"].as_array_mut().unwrap().reverse();
    turned["rules"][1]["name"] = "another".into();
    turned["variants"][0]["weight"] = 9.into();
    assert_eq!(change(turned.clone()).await, turned);
    // A new one gets an id that no other had.
    turned["variants"].as_array_mut().unwrap().push(json!({"name": "C", "destination": OTHER, "weight": 1}));
    let after = ids(&change(turned).await);
    assert!(!before.contains(&after[4]), "{before:?} {after:?}");
}

#[tokio::test]
async fn every_broken_field_of_a_routing_is_named() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let condition = |value: Value| json!({"destination": SHOP, "conditions": [value]});
    let refused = async |routing: Value| -> Vec<String> {
        let body = json!({"destination": SHOP, "routing": routing});
        let answer = app.owner(&org, "POST", "/api/links", Some(body)).await.expect(400);
        let errors = answer["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    };
    let rules = json!([
        {"id": "A", "name": "x".repeat(101), "destination": "nowhere", "conditions": []},
        condition(json!({"attribute": "country", "values": ["DE", "Germany"], "name": "x"})),
        {"destination": SHOP, "conditions": [
            {"attribute": "os"}, {"attribute": "language", "values": ["deutsch", "de"]},
            {"attribute": "region", "values": ["US"]}, {"attribute": "query"}, {"attribute": "visit"},
            {"attribute": "visit", "least": 3, "most": 2}, {"attribute": "referrer", "values": ["a b"]}]},
        condition(json!({"attribute": "time", "from": "9:00", "to": "25:00", "values": ["x"]})),
        condition(json!({"attribute": "time", "from": "09:00", "to": "09:00", "timeZone": "Berlin"})),
        condition(json!({"attribute": "time"})),
        condition(json!({"attribute": "time", "startsAt": "2026-03-02T12:00:00Z", "endsAt": "2026-03-02T12:00:00Z"})),
    ]);
    let variants =
        json!([{"id": "b", "destination": SHOP, "weight": 0}, {"id": "b", "destination": SHOP, "weight": -1}]);
    let expected = [
        "rules[0].id",
        "rules[0].name",
        "rules[0].destination",
        "rules[0].conditions",
        "rules[1].conditions[0].name",
        "rules[1].conditions[0].values[1]",
        "rules[2].conditions[0].values",
        "rules[2].conditions[1].values[0]",
        "rules[2].conditions[2].values[0]",
        "rules[2].conditions[3].name",
        "rules[2].conditions[4].least",
        "rules[2].conditions[5].most",
        "rules[2].conditions[6].values[0]",
        "rules[3].conditions[0].values",
        "rules[3].conditions[0].from",
        "rules[3].conditions[0].to",
        "rules[3].conditions[0].timeZone",
        "rules[4].conditions[0].to",
        "rules[4].conditions[0].timeZone",
        "rules[5].conditions[0].from",
        "rules[6].conditions[0].endsAt",
        "variants[1].id",
        "variants[1].weight",
    ]
    .map(|path| format!("routing.{path}"));
    assert_eq!(refused(json!({"rules": rules, "variants": variants})).await, expected);
    let nobody = json!({"variants": [{"destination": SHOP, "weight": 0}]});
    assert_eq!(refused(nobody).await, ["routing.variants"]);
    let many = |of: Value, count: usize| Value::from(vec![of; count]);
    let good = json!({"attribute": "query", "name": "a"});
    assert_eq!(refused(json!({"rules": many(condition(good.clone()), 51)})).await, ["routing.rules"]);
    let rule = json!({"destination": SHOP, "conditions": many(good, 21)});
    assert_eq!(refused(json!({"rules": [rule]})).await, ["routing.rules[0].conditions"]);
    let variant = json!({"destination": SHOP, "weight": 1});
    assert_eq!(refused(json!({"variants": many(variant, 21)})).await, ["routing.variants"]);
    assert_eq!(refused(json!([null, null])).await, ["routing"]);
    assert_eq!(refused(json!({"rules": [[]]})).await, ["routing.rules[0]"]);
    let unknown = condition(json!({"attribute": "mood", "values": ["good"]}));
    assert_eq!(refused(json!({"rules": [unknown]})).await, ["routing.rules[0].conditions[0].attribute"]);
    let newer = condition(json!({"attribute": "unknown"}));
    assert_eq!(refused(json!({"rules": [newer]})).await[0], "routing.rules[0].conditions[0].values");
}

#[tokio::test]
async fn a_condition_that_a_newer_program_stored_never_holds_and_stops_nobody() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let link = link(&app, &org, json!({})).await;
    let stored = json!({
        "rules": [{"id": "a", "destination": OTHER, "mood": 1,
                   "conditions": [{"attribute": "mood", "not": true, "of": {"the": "day"}}]},
                  {"id": "b", "destination": "https://b.example/", "conditions": [{"attribute": "query", "name": "b"}]}],
        "more": [1],
    });
    sqlx::query("update links set routing = $1").bind(stored).execute(app.store.pool()).await.unwrap();
    app.owner(&org, "PATCH", &path(&link), Some(json!({"title": "T"}))).await.expect(200);
    assert_eq!(visit(&app, "", &[]).await, SHOP);
    assert_eq!(visit(&app, "?b", &[]).await, "https://b.example/");
    let shown = app.owner(&org, "GET", &path(&link), None).await.expect(200);
    assert_eq!(shown["routing"]["rules"][0]["conditions"], json!([{"attribute": "unknown", "not": true}]));
}

#[tokio::test]
async fn an_explanation_says_of_every_condition_what_it_found_and_counts_nothing() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let rules = json!([
        {"id": "night", "name": "Night", "destination": OTHER, "conditions": [
            {"attribute": "time", "from": "22:00", "to": "06:00", "days": ["fri"], "timeZone": "Europe/Berlin"}]},
        {"id": "apple", "destination": "https://apple.example/", "conditions": [
            {"attribute": "os", "values": ["ios", "iPadOS"]}, {"attribute": "country", "not": true, "values": ["AT"]},
            {"attribute": "visit", "least": 1}]},
    ]);
    let body = json!({"destination": SHOP, "slug": "summer", "password": "sesame", "utm": {"medium": "m"},
                      "routing": {"rules": rules}});
    let link = app.owner(&org, "POST", "/api/links", Some(body)).await.expect(201);
    let explain =
        async |body: Value| app.owner(&org, "POST", &format!("{}/explain", path(&link)), Some(body)).await.expect(200);
    let visitor = json!({"os": "iOS", "country": "AT", "at": "2026-03-07T03:30:00+01:00"});
    let expected = json!({
        "state": "protected", "branch": "rule:night", "destination": "https://other.example/?utm_medium=m", "visit": 1,
        "rules": [
            {"id": "night", "name": "Night", "holds": true, "decides": true, "conditions": [
                {"attribute": "time", "holds": true, "seen": "2026-03-07 Sat 03:30 Europe/Berlin"}]},
            {"id": "apple", "holds": false, "decides": false, "conditions": [
                {"attribute": "os", "holds": true, "seen": "iOS"},
                {"attribute": "country", "holds": false, "seen": "AT"},
                {"attribute": "visit", "holds": true, "seen": "1"}]},
        ],
        "variants": [],
    });
    assert_eq!(explain(visitor).await, expected);
    let nobody = explain(json!({})).await;
    assert_eq!((&nobody["branch"], &nobody["destination"]), (&json!(""), &json!("https://shop.example/?utm_medium=m")));
    assert_eq!(nobody["rules"][1]["conditions"][0], json!({"attribute": "os", "holds": false}));
    assert_eq!(explain(json!({"os": "ios", "visit": 5})).await["branch"], "rule:apple");
    let counted: i64 = sqlx::query_scalar("select count(*) from code_uses").fetch_one(app.store.pool()).await.unwrap();
    assert_eq!(counted, 0);
    let wrong = json!({"address": "home", "visit": 0, "query": "x".repeat(2001)});
    let answer = app.owner(&org, "POST", &format!("{}/explain", path(&link)), Some(wrong)).await.expect(400);
    let named: Vec<_> = answer["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!(named, ["address", "query", "visit"]);
}

#[tokio::test]
async fn who_asks_a_protected_link_keeps_the_query_that_a_rule_asks_for() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let routing = rule(json!([{"attribute": "query", "name": "from", "values": ["poster"]}]));
    let body = json!({"destination": SHOP, "slug": "summer", "password": "sesame", "routing": routing});
    app.owner(&org, "POST", "/api/links", Some(body)).await.expect(201);
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("x-visitor", "192.0.2.1")];
    let opened = app.send("POST", "/r/summer?from=poster", &headers, Some("password=sesame".into())).await;
    assert_eq!(opened.header("location"), Some("/r/summer?from=poster"));
    let cookie = opened.header("set-cookie").unwrap().split(';').next().unwrap();
    assert_eq!(visit(&app, "?from=poster", &[("cookie", cookie)]).await, OTHER);
}
