//! InkLink's surface: its paths, its key headers, its error body, its pages, and the 500 that it documents for a missing
//! permission.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::{
    Receiver, Reply as Answer, TestApp, TestOrg,
    receiver::{Reply, Script},
};

const ENDPOINTS: &str = "/api/v1/webhook/endpoints";
const NOWHERE: &str = "http://127.0.0.1:9/hook";
const TYPES: [&str; 10] = [
    "kyc.result.pending",
    "kyc.result.manual_review",
    "kyc.result.approved",
    "kyc.result.rejected",
    "kyc.result.failed",
    "web.result.pending",
    "web.result.manual_review",
    "web.result.approved",
    "web.result.rejected",
    "web.result.failed",
];

fn owner(org: &TestOrg) -> String {
    format!("api-key: {}", org.key("secret_live_"))
}

fn member(org: &TestOrg) -> String {
    format!("api-key: {}", org.member_key("secret_live_"))
}

fn path_of(endpoint: &Value) -> String {
    format!("{ENDPOINTS}/{}", endpoint["id"].as_str().unwrap())
}

/// The documented error body, whole; returns its details.
#[track_caller]
fn refused(answer: Answer, status: u16, code: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text);
    let request_id = answer.header("x-request-id").unwrap();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let error = &answer.json["error"];
    assert_eq!(answer.json.as_object().unwrap().len(), 1, "{}", answer.text);
    let members: Vec<&str> = error.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["code", "message", "details", "requestId"]);
    assert_eq!((&error["code"], &error["requestId"]), (&json!(code), &json!(request_id)));
    assert!(!error["message"].as_str().unwrap().is_empty());
    for detail in error["details"].as_array().unwrap() {
        assert!(detail["field"].is_string() && detail["message"].is_string() && detail.as_object().unwrap().len() == 2);
    }
    error["details"].clone()
}

#[tokio::test]
async fn an_endpoint_is_made_read_changed_and_deleted() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&org);
    let body = json!({"url": NOWHERE, "name": "Onboarding", "event_types": ["kyc.result.approved"]});
    let made = app.post(ENDPOINTS, &auth, body).await.expect(201);
    let members: Vec<&str> = made.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["id", "url", "name", "enabled", "event_types", "status", "secret", "created_at", "updated_at"];
    assert_eq!(members, expected);
    assert!(made["id"].as_str().unwrap().starts_with("wh_end_"));
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!((&made["enabled"], &made["status"]), (&json!(true), &json!("active")));

    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("secret");
    assert_eq!(app.get(&path_of(&made), &auth).await.expect(200), shown, "the secret is shown once");
    app.clock.advance(TimeDelta::seconds(5));
    let change =
        json!({"name": "", "enabled": false, "event_types": ["web.result.failed"], "url": "http://127.0.0.1:8/"});
    let changed = app.call("PATCH", &path_of(&made), &auth, Some(change.clone())).await.expect(200);
    for (field, value) in change.as_object().unwrap() {
        shown[field] = value.clone();
    }
    shown["updated_at"] = "2026-03-02T12:00:05.000Z".into();
    assert_eq!(changed, shown);
    assert_eq!(app.get(&path_of(&made), &auth).await.expect(200), shown);
    assert_eq!(app.call("DELETE", &path_of(&made), &auth, None).await.status, 204);
    refused(app.get(&path_of(&made), &auth).await, 404, "NOT_FOUND");
    refused(app.call("DELETE", &path_of(&made), &auth, None).await, 404, "NOT_FOUND");
}

#[tokio::test]
async fn what_is_left_out_has_its_documented_default() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let made = app.post(ENDPOINTS, &owner(&org), json!({"url": NOWHERE})).await.expect(201);
    assert_eq!(made["event_types"], json!(TYPES));
    assert_eq!((&made["enabled"], &made["name"]), (&json!(true), &json!("")));
    let off = json!({"url": NOWHERE, "enabled": false, "name": "x".repeat(120)});
    assert_eq!(app.post(ENDPOINTS, &owner(&org), off).await.expect(201)["enabled"], false);
}

#[tokio::test]
async fn the_key_goes_in_either_header_and_no_other_proof_opens() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for header in ["api-key", "x-api-key", "API-Key"] {
        app.get(ENDPOINTS, &format!("{header}: {}", org.key("secret_live_"))).await.expect(200);
    }
    let key = org.key("secret_live_");
    for auth in [
        String::new(),
        "api-key: ".into(),
        "api-key: secret_live_".into(),
        format!("api-key: {key}x"),
        format!("api-key: secret_live_{}", "a".repeat(40)),
        format!("authorization: Bearer {key}"),
        format!("api-key: Bearer {key}"),
        format!("api-key: {}", org.key("ink_")),
        format!("api-key: {}", org.key("smk_")),
        format!("api-key: {}", org.session(&app)),
        format!("authorization: Bearer {}", org.session(&app)),
    ] {
        refused(app.get(ENDPOINTS, &auth).await, 401, "UNAUTHORIZED");
        refused(app.post(ENDPOINTS, &auth, json!({"url": NOWHERE})).await, 401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn members_read_and_get_a_500_with_a_clear_message_when_they_manage() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let made = app.post(ENDPOINTS, &owner(&org), json!({"url": NOWHERE})).await.expect(201);
    let path = path_of(&made);
    app.get(ENDPOINTS, &member(&org)).await.expect(200);
    app.get(&path, &member(&org)).await.expect(200);
    for (method, path) in [
        ("POST", ENDPOINTS.to_owned()),
        ("PATCH", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}/rotate-secret")),
    ] {
        let body = (method != "DELETE").then(|| json!({"url": "http://127.0.0.1:8/"}));
        let answer = app.call(method, &path, &member(&org), body).await;
        assert_eq!(answer.json["error"]["message"], "This needs the role owner or admin.");
        refused(answer, 500, "INTERNAL_ERROR");
    }
    assert_eq!(app.get(&path, &owner(&org)).await.expect(200)["url"], NOWHERE);
}

#[tokio::test]
async fn what_is_wrong_is_a_validation_error_with_its_fields() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let made = app.post(ENDPOINTS, &owner(&org), json!({"url": NOWHERE})).await.expect(201);
    for (field, value, named) in [
        ("url", json!("ftp://127.0.0.1/"), "url"),
        ("url", json!(12), "url"),
        ("name", json!("x".repeat(121)), "name"),
        ("name", json!("\u{0}"), "name"),
        ("event_types", json!([]), "event_types"),
        ("event_types", json!(["qr.created"]), "event_types[0]"),
        ("event_types", json!(["kyc.result.pending", "kyc.result.pending"]), "event_types[1]"),
        ("enabled", json!(1), "enabled"),
    ] {
        let mut body = json!({"url": NOWHERE});
        body[field] = value.clone();
        let details = refused(app.post(ENDPOINTS, &owner(&org), body).await, 400, "VALIDATION_ERROR");
        assert_eq!(details[0]["field"], named, "{field}: {value}");
        let change = Some(json!({field: value}));
        let details = refused(app.call("PATCH", &path_of(&made), &owner(&org), change).await, 400, "VALIDATION_ERROR");
        assert_eq!(details[0]["field"], named, "{field}: {value}");
    }
    let details = refused(app.post(ENDPOINTS, &owner(&org), json!({})).await, 400, "VALIDATION_ERROR");
    assert_eq!(details, json!([{"field": "url", "message": "is required"}]));
    let two = json!({"url": "nowhere", "name": "x".repeat(121), "event_types": []});
    let details = refused(app.post(ENDPOINTS, &owner(&org), two).await, 400, "VALIDATION_ERROR");
    assert_eq!(details.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn the_list_comes_in_pages_with_their_first_and_last_id() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let auth = owner(&org);
    let empty = json!({"data": [], "first_id": null, "last_id": null, "has_more": false});
    assert_eq!(app.get(ENDPOINTS, &auth).await.expect(200), empty);
    let mut ids = vec![];
    for _ in 0..26 {
        app.clock.advance(TimeDelta::seconds(1));
        let made = app.post(ENDPOINTS, &auth, json!({"url": NOWHERE})).await.expect(201);
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    ids.reverse();
    // Endpoints of other dialects are none of this surface's.
    let foreign = app.endpoint(&org, "inkode", NOWHERE, &[]).await["id"].as_str().unwrap().to_owned();
    let ids_of = |page: &Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect()
    };
    let page = app.get(ENDPOINTS, &auth).await.expect(200);
    assert_eq!(ids_of(&page), ids[..25]);
    assert_eq!(page["first_id"], ids[0].as_str());
    assert_eq!(page["last_id"], ids[24].as_str());
    assert_eq!(page["has_more"], true);
    assert!(page["data"][0].get("secret").is_none());
    let page = app.get(&format!("{ENDPOINTS}?after_id={}", ids[24]), &auth).await.expect(200);
    assert_eq!((ids_of(&page), &page["has_more"]), (ids[25..].to_vec(), &json!(false)));
    let page = app.get(&format!("{ENDPOINTS}?limit=100"), &auth).await.expect(200);
    assert_eq!((ids_of(&page), &page["has_more"]), (ids.clone(), &json!(false)));
    let page = app.get(&format!("{ENDPOINTS}?limit=1&after_id={}", ids[3]), &auth).await.expect(200);
    assert_eq!((ids_of(&page), &page["has_more"]), (ids[4..5].to_vec(), &json!(true)));

    let theirs = app.post(ENDPOINTS, &owner(&other), json!({"url": NOWHERE})).await.expect(201);
    for after_id in [
        "",
        "nonsense",
        "wh_end_",
        "%00",
        "wh_end_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        &foreign,
        &ids[0].replace("wh_end_", "we_"),
        theirs["id"].as_str().unwrap(),
    ] {
        let answer = app.get(&format!("{ENDPOINTS}?after_id={after_id}"), &auth).await;
        let details = refused(answer, 400, "VALIDATION_ERROR");
        assert_eq!(details, json!([{"field": "after_id", "message": "INVALID_AFTER_ID"}]), "{after_id}");
    }
    for limit in ["0", "101", "-1", "many", ""] {
        let answer = app.get(&format!("{ENDPOINTS}?limit={limit}"), &auth).await;
        assert_eq!(refused(answer, 400, "VALIDATION_ERROR")[0]["field"], "limit", "{limit}");
    }
    // A page goes on after an endpoint that was deleted meanwhile.
    app.call("DELETE", &format!("{ENDPOINTS}/{}", ids[3]), &auth, None).await;
    let page = app.get(&format!("{ENDPOINTS}?limit=1&after_id={}", ids[3]), &auth).await.expect(200);
    assert_eq!(ids_of(&page), ids[4..5]);
}

#[tokio::test]
async fn a_rotated_secret_is_shown_once_and_the_old_one_is_void_at_once() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Reply::ok()));
    let made = app.post(ENDPOINTS, &owner(&org), json!({"url": receiver.url()})).await.expect(201);
    let rotate = format!("{}/rotate-secret", path_of(&made));
    let rotated = app.call("POST", &rotate, &owner(&org), None).await.expect(200);
    assert_eq!(rotated["id"], made["id"]);
    assert!(rotated["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_ne!(rotated["secret"], made["secret"]);
    assert!(app.get(&path_of(&made), &owner(&org)).await.expect(200).get("secret").is_none());

    app.publish(&org, "kyc.result.approved", json!({})).await;
    app.drain().await;
    let request = receiver.received().remove(0);
    assert!(!request.header("webhook-signature").unwrap().contains(' '), "one signature only");
    // Not found and no permission alike, as InkLink documents for this route; no key is a 401.
    for id in ["wh_end_01ARZ3NDEKTSV4RRFFQ69G5FAV", "nonsense"] {
        let answer = app.call("POST", &format!("{ENDPOINTS}/{id}/rotate-secret"), &owner(&org), None).await;
        refused(answer, 500, "INTERNAL_ERROR");
    }
    refused(app.call("POST", &rotate, "", None).await, 401, "UNAUTHORIZED");
}

#[tokio::test]
async fn an_endpoint_of_another_dialect_or_under_another_spelling_is_not_found() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let foreign = app.endpoint(&org, "inkr", NOWHERE, &[]).await["id"].as_str().unwrap().to_owned();
    let own = app.post(ENDPOINTS, &owner(&org), json!({"url": NOWHERE})).await.expect(201)["id"].clone();
    let own = own.as_str().unwrap();
    for id in [&foreign, &foreign.replace("we_", "wh_end_"), &own.replace("wh_end_", "we_"), &own.to_lowercase()] {
        refused(app.get(&format!("{ENDPOINTS}/{id}"), &owner(&org)).await, 404, "NOT_FOUND");
    }
    for path in [format!("{ENDPOINTS}/"), format!("{ENDPOINTS}/{own}/"), "/api/v1/webhook/endpoint".into()] {
        refused(app.get(&path, &owner(&org)).await, 404, "NOT_FOUND");
    }
}
