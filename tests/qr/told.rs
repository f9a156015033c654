//! What is told of QR codes: their scans, and their end.

use chrono::Duration;
use serde_json::{Value, json};

use super::{dynamic, link, path, visit};
use crate::support::{
    Receiver, TestApp, TestOrg,
    app::CRON_SECRET,
    receiver::{Reply, Script},
};

const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/17.5 Mobile/15E148 Safari/604.1";

async fn scanned(app: &TestApp, code: &str, agent: &str) {
    let headers = [("x-visitor", "10.0.0.1"), ("user-agent", agent), ("x-country", "de")];
    assert_eq!(app.send("GET", &format!("/r/{code}"), &headers, None).await.status, 302);
    app.store_visits().await;
    app.pass(Duration::seconds(1)).await;
    app.drain().await;
}

/// The bodies that arrived at the path of a dialect.
fn at(receiver: &Receiver, dialect: &str) -> Vec<Value> {
    let received = receiver.received();
    let theirs = received.iter().filter(|request| request.path.ends_with(dialect));
    theirs.map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
}

async fn listen(app: &TestApp, org: &TestOrg, events: &[(&str, &str)]) -> Receiver {
    let receiver = Receiver::start(Script::always(Reply::ok()));
    for (dialect, event) in events {
        app.endpoint(org, dialect, &format!("{}/{dialect}", receiver.url()), &[event]).await;
    }
    receiver
}

#[tokio::test]
async fn a_scan_is_told_once_in_every_dialect_that_has_a_word_for_it() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let scans = [("inkode", "qr.scanned"), ("iloveqr", "qr.scanned"), ("qrstudio", "scan.created")];
    let receiver = listen(&app, &org, &scans).await;
    let through = link(&app, &org, "through").await;
    let code = dynamic(&app, &org, json!({"name": "Poster", "shortCode": "a", "linkId": through["id"]})).await;
    scanned(&app, "a", PHONE).await;
    scanned(&app, "a", "curl/8.5.0").await;
    let inkode = at(&receiver, "inkode");
    assert_eq!(inkode.len(), 1, "programs are told of where the body can say so: {inkode:#?}");
    let told = &inkode[0]["payload"];
    assert_eq!((&told["id"], &told["shortCode"]), (&code["id"], &json!("a")));
    assert_eq!(told["destination"], "https://shop.example/link", "where the link led");
    assert_eq!((&told["country"], &told["device"], &told["isUnique"]), (&json!("DE"), &json!("mobile"), &json!(true)));
    let iloveqr = at(&receiver, "iloveqr");
    assert_eq!((iloveqr.len(), &iloveqr[0]["data"]["qrCodeId"]), (1, &code["id"]));
    let qrstudio = at(&receiver, "qrstudio");
    let bots: Vec<&Value> = qrstudio.iter().map(|body| &body["data"]["is_bot"]).collect();
    assert_eq!(bots, [&json!(false), &json!(true)]);
    let stats = app.owner(&org, "GET", &format!("{}/stats", path(&code)), None).await.expect(200);
    assert_eq!((&stats["visits"], &stats["bots"]), (&json!(1), &json!(1)));
    let shown = app.owner(&org, "GET", &path(&code), None).await.expect(200);
    assert_eq!(shown["scans"], 1);
}

#[tokio::test]
async fn an_expired_code_is_switched_off_and_told_once() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = listen(&app, &org, &[("inkode", "qr.expired")]).await;
    let ends = dynamic(&app, &org, json!({"shortCode": "ends", "expiresAt": "2026-03-02T12:30:00Z"})).await;
    let later = dynamic(&app, &org, json!({"shortCode": "later", "expiresAt": "2026-03-02T14:00:00Z"})).await;
    app.clock.advance(Duration::minutes(30));
    for _ in 0..2 {
        app.send("POST", "/api/cron/expire", &[("x-cron-secret", CRON_SECRET)], None).await.expect(202);
        app.drain().await;
        app.clock.advance(Duration::minutes(1));
    }
    let told = at(&receiver, "inkode");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((&told[0]["payload"]["id"], &told[0]["payload"]["active"]), (&ends["id"], &json!(false)));
    for (code, active) in [(&ends, false), (&later, true)] {
        assert_eq!(app.owner(&org, "GET", &path(code), None).await.expect(200)["active"], active);
    }
    assert_eq!(visit(&app, "ends").await.status, 410);
}

#[tokio::test]
async fn every_change_of_a_code_is_told_and_none_where_nothing_changed() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = listen(&app, &org, &[("inkode", "qr.updated"), ("iloveqr", "qr.updated")]).await;
    let code = dynamic(&app, &org, json!({"name": "Poster", "shortCode": "a"})).await;
    for (change, changed) in [
        (json!({"password": "sesame"}), "hasPassword"),
        (json!({"password": "another"}), "hasPassword"),
        (json!({"style": {"shape": "dot"}}), "style"),
        (json!({"expiresAt": "2026-05-01T00:00:00Z"}), "expiresAt"),
        (json!({"maxScans": 7}), "maxScans"),
        (json!({"maxScans": i64::MAX}), "maxScans"),
        (json!({"content": {"url": "https://shop.example/autumn"}}), "content"),
    ] {
        super::change(&app, &org, &path(&code), change).await;
        app.clock.advance(Duration::seconds(1));
        app.drain().await;
        let told = at(&receiver, "inkode");
        let changes = told.last().expect("an event")["payload"]["changes"].clone();
        assert!(changes.get(changed).is_some(), "{changed}: {changes}");
    }
    super::change(&app, &org, &path(&code), json!({"name": "Poster"})).await;
    app.drain().await;
    assert_eq!((at(&receiver, "inkode").len(), at(&receiver, "iloveqr").len()), (7, 7));
}

#[tokio::test]
async fn a_code_that_a_link_takes_along_or_lets_go_is_told() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = listen(&app, &org, &[("inkode", "qr.updated"), ("qrstudio", "dynamic_qr.updated")]).await;
    let code = dynamic(&app, &org, json!({"name": "Poster", "shortCode": "a"})).await;
    let step = async |method: &str, path: &str, body: Option<Value>| {
        app.clock.advance(Duration::seconds(1));
        let reply = app.owner(&org, method, path, body).await;
        app.drain().await;
        reply
    };
    let body = json!({"destination": "https://shop.example/link", "qrCodeId": code["id"]});
    let first = step("POST", "/api/links", Some(body)).await.expect(201);
    let second = step("POST", "/api/links", Some(json!({"destination": "https://shop.example/two"}))).await.expect(201);
    let second = super::link_path(&second);
    step("PATCH", &second, Some(json!({"qrCodeId": code["id"]}))).await.expect(200);
    assert_eq!(step("DELETE", &second, None).await.status, 204);
    let told = at(&receiver, "inkode");
    let links: Vec<(&Value, &Value)> =
        told.iter().map(|body| &body["payload"]["changes"]["linkId"]).map(|it| (&it["old"], &it["new"])).collect();
    let second = json!(second.rsplit('/').next().unwrap());
    let none = Value::Null;
    assert_eq!(links, [(&none, &first["id"]), (&first["id"], &second), (&second, &none)]);
    let qrstudio = at(&receiver, "qrstudio");
    let led = &qrstudio[0]["data"]["changes"]["destination_url"];
    assert_eq!(*led, json!({"old": super::SHOP, "new": "https://shop.example/link"}));
}
