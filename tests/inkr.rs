//! Inkr's surface: endpoints and events with an `inkr_` key as Bearer token, snake case, and the endpoint that fails.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::{
    Receiver, Reply as Answer, TestApp, TestOrg,
    receiver::{Reply, Script},
};

const ENDPOINTS: &str = "/v1/webhook_endpoints";
const NOWHERE: &str = "http://127.0.0.1:9/hook";

fn owner(org: &TestOrg) -> String {
    format!("Authorization: Bearer {}", org.key("inkr_"))
}

fn member(org: &TestOrg) -> String {
    format!("Authorization: Bearer {}", org.member_key("inkr_"))
}

fn path_of(endpoint: &Value) -> String {
    format!("{ENDPOINTS}/{}", endpoint["id"].as_str().unwrap())
}

fn good(url: &str) -> Value {
    json!({"url": url, "events": ["submission.completed", "submission.declined"]})
}

#[track_caller]
fn refused(answer: Answer, status: u16, code: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!((&answer.json["code"], &answer.json["status"]), (&json!(code), &json!(status)), "{}", answer.text);
    assert_eq!(answer.json["requestId"].as_str(), answer.header("x-request-id"));
    answer.json["errors"].clone()
}

#[tokio::test]
async fn an_endpoint_is_made_read_changed_and_deleted() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&org);
    let made = app.post(ENDPOINTS, &auth, good(NOWHERE)).await.expect(201);
    let members: Vec<&str> = made.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["id", "url", "events", "enabled", "failing", "secret", "created_at", "updated_at"]);
    let secret = made["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap();
    assert!(secret.bytes().all(|b| b.is_ascii_alphanumeric()), "a text that verifiers take as it is: {secret}");
    assert_eq!((&made["enabled"], &made["failing"]), (&json!(true), &json!(false)));

    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("secret");
    assert_eq!(app.get(&path_of(&made), &auth).await.expect(200), shown, "the secret is shown once");
    let page = app.get(ENDPOINTS, &auth).await.expect(200);
    assert_eq!(page, json!({"data": [shown], "has_more": false}));
    app.clock.advance(TimeDelta::seconds(5));
    let change = json!({"events": ["submitter.signed"], "enabled": false, "url": "http://127.0.0.1:8/"});
    let changed = app.call("PATCH", &path_of(&made), &auth, Some(change.clone())).await.expect(200);
    for (field, value) in change.as_object().unwrap() {
        shown[field] = value.clone();
    }
    shown["updated_at"] = "2026-03-02T12:00:05.000Z".into();
    assert_eq!(changed, shown);
    assert_eq!(app.call("DELETE", &path_of(&made), &auth, None).await.status, 204);
    refused(app.get(&path_of(&made), &auth).await, 404, "not_found");
    refused(app.call("PATCH", &path_of(&made), &auth, Some(json!({}))).await, 404, "not_found");
}

#[tokio::test]
async fn only_an_inkr_key_as_bearer_token_opens() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let key = org.key("inkr_");
    app.get(ENDPOINTS, &format!("authorization: bearer {key}")).await.expect(200);
    for auth in [
        String::new(),
        format!("x-api-key: {key}"),
        format!("authorization: {key}"),
        format!("authorization: Basic {key}"),
        "authorization: Bearer".into(),
        "authorization: Bearer ".into(),
        format!("authorization: Bearer {}", org.key("smk_")),
        format!("authorization: Bearer inkr_{}", "a".repeat(40)),
        format!("authorization: Bearer {}", org.session(&app)),
    ] {
        for path in [ENDPOINTS, "/v1/events"] {
            let answer = app.get(path, &auth).await;
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            refused(answer, 401, "unauthorized");
        }
    }
}

#[tokio::test]
async fn members_read_and_may_not_manage() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let made = app.post(ENDPOINTS, &owner(&org), good(NOWHERE)).await.expect(201);
    let path = path_of(&made);
    for path in [ENDPOINTS, &path, "/v1/events"] {
        app.get(path, &member(&org)).await.expect(200);
    }
    for (method, path) in [
        ("POST", ENDPOINTS.to_owned()),
        ("PATCH", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}/test")),
        ("POST", format!("{path}/reactivate")),
    ] {
        let body = (method != "DELETE").then(|| good("http://127.0.0.1:8/"));
        refused(app.call(method, &path, &member(&org), body).await, 403, "forbidden");
    }
    assert_eq!(app.get(&path, &owner(&org)).await.expect(200)["url"], NOWHERE);
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
        ("events", json!(["submission.melted"]), "events[0]"),
        ("events", json!(["submitter.opened", "submitter.opened"]), "events[1]"),
        ("events", json!(["submitter.opened", 7]), "events[1]"),
    ] {
        let mut body = good("https://127.0.0.1/");
        body[field] = value.clone();
        let errors = refused(app.post(ENDPOINTS, &owner(&org), body).await, 400, "validation_failed");
        assert_eq!(errors[0]["field"], named, "{field}: {value}");
    }
    for query in ["limit=0", "limit=101", "starting_after=x", "starting_after=we_01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        let errors = refused(app.get(&format!("{ENDPOINTS}?{query}"), &owner(&org)).await, 400, "validation_failed");
        assert_eq!(errors[0]["field"], query.split('=').next().unwrap());
    }
}

#[tokio::test]
async fn both_lists_come_in_pages_newest_first() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&org);
    let (mut endpoints, mut events) = (vec![], vec![]);
    for n in 0..3 {
        app.clock.advance(TimeDelta::seconds(1));
        events.insert(0, app.publish(&org, "submission.sent", json!({"id": n})).await["id"].clone());
        app.publish(&org, "qr.created", json!({})).await;
        endpoints.insert(0, app.post(ENDPOINTS, &auth, good(NOWHERE)).await.expect(201)["id"].clone());
    }
    for (path, ids) in [(ENDPOINTS, endpoints), ("/v1/events", events)] {
        let first = app.get(&format!("{path}?limit=2"), &auth).await.expect(200);
        assert_eq!((&first["data"][0]["id"], &first["data"][1]["id"]), (&ids[0], &ids[1]));
        assert_eq!((first["data"].as_array().unwrap().len(), &first["has_more"]), (2, &json!(true)));
        let after = format!("{path}?limit=2&starting_after={}", ids[1].as_str().unwrap());
        let rest = app.get(&after, &auth).await.expect(200);
        assert_eq!((&rest["data"][0]["id"], rest["data"].as_array().unwrap().len()), (&ids[2], 1));
        assert_eq!(rest["has_more"], false);
    }
    let page = app.get("/v1/events", &auth).await.expect(200);
    let event = &page["data"][0];
    assert_eq!((&event["type"], &event["data"]), (&json!("submission.sent"), &json!({"object": {"id": 2}})));
    assert_eq!(event["created_at"], "2026-03-02T12:00:03.000Z");
    refused(app.get("/v1/events?starting_after=evt_", &auth).await, 400, "validation_failed");
}

#[tokio::test]
async fn an_endpoint_that_fails_is_marked_and_can_be_reactivated() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&org);
    let receiver = Receiver::start(Script::always(Reply::status(500)));
    let made = app.post(ENDPOINTS, &auth, good(&receiver.url())).await.expect(201);
    let path = path_of(&made);
    app.publish(&org, "submission.completed", json!({"id": "sub_1"})).await;
    app.drain().await;
    for minutes in [1, 5, 30, 120, 360, 1440] {
        app.pass(TimeDelta::minutes(minutes)).await;
        assert_eq!(app.get(&path, &auth).await.expect(200)["failing"], false);
    }
    app.pass(TimeDelta::hours(72)).await;
    assert_eq!(receiver.received().len(), 8);
    let failing = app.get(&path, &auth).await.expect(200);
    assert_eq!((&failing["failing"], &failing["enabled"]), (&json!(true), &json!(true)));

    let well = app.call("POST", &format!("{path}/reactivate"), &auth, None).await.expect(200);
    assert_eq!((&well["failing"], &well["enabled"]), (&json!(false), &json!(true)));
    sqlx::query("update endpoints set health = 'disabled', health_reason = 'No success for seven days.'")
        .execute(app.store.pool())
        .await
        .unwrap();
    let off = app.get(&path, &auth).await.expect(200);
    assert_eq!((&off["failing"], &off["enabled"]), (&json!(true), &json!(false)));
    assert_eq!(off["disabled_reason"], "No success for seven days.");
    let well = app.call("POST", &format!("{path}/reactivate"), &auth, None).await.expect(200);
    assert_eq!((&well["failing"], &well["enabled"]), (&json!(false), &json!(true)));
    assert_eq!(well.get("disabled_reason"), None);
    app.leaves_jobs("endpoint.check");
}

#[tokio::test]
async fn a_test_is_sent_in_the_documented_envelope() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Reply::ok()));
    let made = app.post(ENDPOINTS, &owner(&org), good(&receiver.url())).await.expect(201);
    let test = format!("{}/test", path_of(&made));
    let under_way = app.call("POST", &test, &owner(&org), None).await.expect(202);
    app.drain().await;
    let sent: Value = serde_json::from_slice(&receiver.received().pop().unwrap().body).unwrap();
    let members: Vec<&str> = sent.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["id", "type", "created_at", "data"]);
    assert_eq!((&sent["id"], &sent["type"]), (&under_way["event_id"], &json!("submission.completed")));
    app.post(&test, &owner(&org), json!({"event": "submitter.opened"})).await.expect(202);
    app.drain().await;
    let sent: Value = serde_json::from_slice(&receiver.received().pop().unwrap().body).unwrap();
    assert_eq!(sent["type"], "submitter.opened");
    let errors = refused(app.post(&test, &owner(&org), json!({"event": "qr.created"})).await, 400, "validation_failed");
    assert_eq!(errors[0]["field"], "event");
}
