//! iloveQR's surface: webhooks below the organisation's own path, the caller's own secret, camelCase.

use chrono::TimeDelta;
use domain::dialect::{Dialect, DialectName, verify};
use serde_json::{Value, json};

use crate::support::{
    Receiver, Reply as Answer, TestApp, TestOrg,
    receiver::{Reply, Script},
};

const NOWHERE: &str = "http://127.0.0.1:9/hook";
const SECRET: &str = "your_webhook_secret";

fn webhooks(org: &TestOrg) -> String {
    format!("/api/v1/organizations/{}/webhooks", org.id)
}

fn owner(org: &TestOrg) -> String {
    format!("X-API-Key: {}", org.key("ilqr_"))
}

fn member(org: &TestOrg) -> String {
    format!("X-API-Key: {}", org.member_key("ilqr_"))
}

fn good() -> Value {
    json!({"url": NOWHERE, "events": ["qr.scanned", "qr.created"], "secret": SECRET})
}

#[track_caller]
fn refused(answer: Answer, status: u16, code: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text);
    let error = &answer.json["error"];
    assert_eq!(error["code"], code, "{}", answer.text);
    assert_eq!(error["requestId"].as_str(), answer.header("x-request-id"));
    assert!(!error["message"].as_str().unwrap().is_empty());
    error["details"].clone()
}

#[tokio::test]
async fn a_webhook_is_registered_read_replaced_and_deleted() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (list, auth) = (webhooks(&org), owner(&org));
    let made = app.post(&list, &auth, good()).await.expect(201);
    let members: Vec<&str> = made.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["id", "organizationId", "url", "events", "enabled", "status", "createdAt", "updatedAt"];
    assert_eq!(members, expected, "and never the secret, which the caller has");
    assert!(made["id"].as_str().unwrap().starts_with("wh_"));
    assert_eq!(made["organizationId"], org.id.to_string());
    assert_eq!((&made["events"], &made["status"]), (&good()["events"], &json!("active")));

    let path = format!("{list}/{}", made["id"].as_str().unwrap());
    assert_eq!(app.get(&path, &auth).await.expect(200), made);
    assert_eq!(app.get(&list, &auth).await.expect(200), json!({"data": [made]}));
    app.clock.advance(TimeDelta::seconds(5));
    let change = json!({"events": ["member.left"], "enabled": false});
    let changed = app.call("PUT", &path, &auth, Some(change)).await.expect(200);
    assert_eq!((&changed["events"], &changed["enabled"]), (&json!(["member.left"]), &json!(false)));
    assert_eq!((&changed["status"], &changed["url"]), (&json!("disabled"), &json!(NOWHERE)));
    assert_eq!(changed["updatedAt"], "2026-03-02T12:00:05.000Z");
    assert_eq!(app.call("DELETE", &path, &auth, None).await.status, 204);
    refused(app.get(&path, &auth).await, 404, "NOT_FOUND");
}

#[tokio::test]
async fn the_callers_secret_signs_and_a_new_one_takes_its_place() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Reply::ok()));
    let mut body = good();
    body["url"] = receiver.url().into();
    let made = app.post(&webhooks(&org), &owner(&org), body).await.expect(201);
    let path = format!("{}/{}", webhooks(&org), made["id"].as_str().unwrap());
    let signs = async |secret: &str| {
        app.publish(&org, "qr.created", json!({"qrCode": {"id": "qr_1"}})).await;
        app.drain().await;
        let request = receiver.received().pop().unwrap();
        let row = Dialect::by_name(DialectName::Iloveqr);
        verify(row, |name| request.header(name), &request.body, secret, TimeDelta::minutes(5), app.clock.now()).is_ok()
    };
    assert!(signs(SECRET).await);
    assert!(!signs("another secret").await);
    app.call("PUT", &path, &owner(&org), Some(json!({"secret": "a new secret of mine"}))).await.expect(200);
    assert!(signs("a new secret of mine").await);
    assert!(!signs(SECRET).await);
}

#[tokio::test]
async fn only_an_iloveqr_key_in_its_header_opens() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let key = org.key("ilqr_");
    for auth in [
        String::new(),
        format!("api-key: {key}"),
        format!("authorization: Bearer {key}"),
        format!("x-api-key: {}", org.key("ink_")),
        format!("x-api-key: {}", org.key("secret_live_")),
        format!("x-api-key: ilqr_{}", "a".repeat(40)),
        format!("authorization: Bearer {}", org.session(&app)),
    ] {
        refused(app.get(&webhooks(&org), &auth).await, 401, "UNAUTHORIZED");
        refused(app.post(&webhooks(&org), &auth, good()).await, 401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn members_read_and_are_forbidden_to_manage() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let list = webhooks(&org);
    let made = app.post(&list, &owner(&org), good()).await.expect(201);
    let path = format!("{list}/{}", made["id"].as_str().unwrap());
    for path in [&list, &path, &format!("{path}/logs")] {
        app.get(path, &member(&org)).await.expect(200);
    }
    for (method, path) in
        [("POST", list.clone()), ("PUT", path.clone()), ("DELETE", path.clone()), ("POST", format!("{path}/test"))]
    {
        let body = (method != "DELETE").then(good);
        refused(app.call(method, &path, &member(&org), body).await, 403, "FORBIDDEN");
    }
    assert_eq!(app.get(&list, &owner(&org)).await.expect(200), json!({"data": [made]}));
}

#[tokio::test]
async fn another_organisations_path_holds_nothing() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let made = app.post(&webhooks(&org), &owner(&org), good()).await.expect(201);
    let id = made["id"].as_str().unwrap();
    for path in [
        webhooks(&org),
        format!("{}/{id}", webhooks(&org)),
        format!("{}/{id}", webhooks(&other)),
        "/api/v1/organizations/nonsense/webhooks".into(),
        "/api/v1/organizations/%00/webhooks".into(),
        format!("/api/v1/organizations/{}/webhooks", other.id.to_string().to_lowercase().replace("org_", "ORG_")),
    ] {
        refused(app.get(&path, &owner(&other)).await, 404, "NOT_FOUND");
    }
    refused(app.post(&webhooks(&org), &owner(&other), good()).await, 404, "NOT_FOUND");
}

#[tokio::test]
async fn what_is_wrong_is_named_field_by_field() {
    let app = TestApp::build().https_only().start().await;
    let org = app.org("acme").await;
    for (field, value, named) in [
        ("url", json!(NOWHERE), "url"),
        ("url", json!(null), "url"),
        ("events", json!([]), "events"),
        ("events", json!(null), "events"),
        ("events", json!(["qr.expired"]), "events[0]"),
        ("events", json!(["qr.created", "qr.created"]), "events[1]"),
        ("secret", json!("short"), "secret"),
        ("secret", json!("x".repeat(256)), "secret"),
        ("secret", json!("ein Schlüssel"), "secret"),
        ("secret", json!(null), "secret"),
    ] {
        let mut body = good();
        body["url"] = "https://127.0.0.1/".into();
        body[field] = value.clone();
        let details = refused(app.post(&webhooks(&org), &owner(&org), body).await, 400, "VALIDATION_ERROR");
        assert_eq!(details[0]["field"], named, "{field}: {value}");
    }
    for missing in ["url", "events", "secret"] {
        let mut body = good();
        body.as_object_mut().unwrap().remove(missing);
        let details = refused(app.post(&webhooks(&org), &owner(&org), body).await, 400, "VALIDATION_ERROR");
        assert_eq!(details, json!([{"field": missing, "message": "is required"}]));
    }
}

#[tokio::test]
async fn the_list_and_the_log_come_in_pages() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (list, auth) = (webhooks(&org), owner(&org));
    let receiver = Receiver::start(Script::sequence([Reply::status(500), Reply::ok()]));
    for _ in 0..3 {
        app.clock.advance(TimeDelta::seconds(1));
        let mut body = good();
        body["url"] = receiver.url().into();
        app.post(&list, &auth, body).await.expect(201);
    }
    let first = app.get(&format!("{list}?limit=2"), &auth).await.expect(200);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = app.get(&format!("{list}?limit=2&cursor={cursor}"), &auth).await.expect(200);
    assert_eq!((first["data"].as_array().unwrap().len(), second["data"].as_array().unwrap().len()), (2, 1));
    assert_eq!(second["nextCursor"], Value::Null);
    for query in ["limit=0", "limit=101", "cursor=nonsense"] {
        let details = refused(app.get(&format!("{list}?{query}"), &auth).await, 400, "VALIDATION_ERROR");
        assert_eq!(details[0]["field"], query.split('=').next().unwrap());
    }

    let id = second["data"][0]["id"].as_str().unwrap();
    for other in first["data"].as_array().unwrap() {
        app.call("DELETE", &format!("{list}/{}", other["id"].as_str().unwrap()), &auth, None).await;
    }
    for event in ["qr.scanned", "qr.created", "qr.created"] {
        app.clock.advance(TimeDelta::seconds(1));
        app.publish(&org, event, json!({})).await;
        app.drain().await;
    }
    let logs = format!("{list}/{id}/logs");
    let first = app.get(&format!("{logs}?limit=2"), &auth).await.expect(200);
    let rest = format!("{logs}?limit=2&cursor={}", first["nextCursor"].as_str().unwrap());
    let rest = app.get(&rest, &auth).await.expect(200);
    assert_eq!(rest["nextCursor"], Value::Null);
    let entry = &rest["data"][0];
    assert_eq!(
        (&entry["event"], &entry["status"], &entry["attempts"]),
        (&json!("qr.scanned"), &json!("pending"), &json!(1))
    );
    assert!(
        entry["id"].as_str().unwrap().starts_with("del_") && entry["eventId"].as_str().unwrap().starts_with("evt_")
    );
    assert!(entry["nextAttemptAt"].as_str().unwrap().starts_with("2026-03-02T12:01:04."), "{entry}");
    assert_eq!((&first["data"][0]["status"], &first["data"][1]["status"]), (&json!("delivered"), &json!("delivered")));
    refused(app.get(&format!("{logs}?cursor=x"), &auth).await, 400, "VALIDATION_ERROR");
    app.pass(TimeDelta::seconds(61)).await;
}

#[tokio::test]
async fn a_test_sends_the_type_that_is_asked_for() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Reply::ok()));
    let mut body = good();
    body["url"] = receiver.url().into();
    let made = app.post(&webhooks(&org), &owner(&org), body).await.expect(201);
    let test = format!("{}/{}/test", webhooks(&org), made["id"].as_str().unwrap());
    for (body, event) in
        [(None, "qr.scanned"), (Some(json!({})), "qr.scanned"), (Some(json!({"event": "member.left"})), "member.left")]
    {
        let under_way = app.call("POST", &test, &owner(&org), body).await.expect(202);
        app.drain().await;
        let sent: Value = serde_json::from_slice(&receiver.received().pop().unwrap().body).unwrap();
        assert_eq!((&sent["event"], &sent["id"]), (&json!(event), &under_way["eventId"]));
        assert_eq!(sent["organizationId"], org.id.to_string());
    }
    let wrong = app.post(&test, &owner(&org), json!({"event": "scan.created"})).await;
    assert_eq!(refused(wrong, 400, "VALIDATION_ERROR")[0]["field"], "event");
}
