//! QR Code Agency's surface: integer ids, trailing slashes, `{"detail"}` or `{field}` errors, the plan gate, 25 active.

use std::{collections::HashSet, net::IpAddr};

use chrono::TimeDelta;
use domain::{
    address::{LookUp, Resolve},
    org,
    plan::Plan,
};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    Receiver, TestApp, TestOrg,
    receiver::{Reply, Script},
};

const WEBHOOKS: &str = "/api/v1/webhooks/";
const NOWHERE: &str = "http://127.0.0.1:9/hook";

fn owner(org: &TestOrg) -> String {
    format!("Authorization: Bearer {}", org.key("smk_"))
}

fn member(org: &TestOrg) -> String {
    format!("Authorization: Bearer {}", org.member_key("smk_"))
}

fn good(url: &str) -> Value {
    json!({"url": url, "description": "Real-time CRM sync", "events": ["scan.created", "quota.threshold_75"]})
}

fn path_of(webhook: &Value) -> String {
    format!("{WEBHOOKS}{}/", webhook["id"].as_i64().expect("an integer id"))
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_subscription_is_made_listed_changed_and_deleted() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&org);
    assert_eq!(app.get(WEBHOOKS, &auth).await.expect(200), json!({"results": []}));
    let made = app.post(WEBHOOKS, &auth, good(NOWHERE)).await.expect(201);
    let documented = ["id", "url", "description", "events", "secret", "status", "consecutive_failures", "created_at"];
    assert_eq!(members(&made), documented);
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!((&made["status"], &made["consecutive_failures"]), (&json!("active"), &json!(0)));

    let list = app.get(WEBHOOKS, &auth).await.expect(200);
    assert_eq!(members(&list), ["results"]);
    let documented = [
        "id",
        "url",
        "description",
        "events",
        "status",
        "consecutive_failures",
        "last_delivery_at",
        "last_response_status",
        "created_at",
    ];
    assert_eq!(members(&list["results"][0]), documented, "the secret is never listed");
    assert_eq!(list["results"][0]["last_delivery_at"], Value::Null);

    let path = path_of(&made);
    for (change, field, value) in [
        (json!({"events": ["scan.created"]}), "events", json!(["scan.created"])),
        (json!({"description": ""}), "description", json!("")),
        (json!({"url": "http://127.0.0.1:8/"}), "url", json!("http://127.0.0.1:8/")),
        (json!({"status": "disabled"}), "status", json!("disabled")),
        (json!({"events": null, "more": 1}), "events", json!(["scan.created"])),
        (json!({"status": "active"}), "status", json!("active")),
    ] {
        let changed = app.call("PATCH", &path, &auth, Some(change)).await.expect(200);
        assert_eq!(changed[field], value);
        assert_eq!(app.get(WEBHOOKS, &auth).await.expect(200)["results"], json!([changed]));
    }
    let answer = app.call("DELETE", &path, &auth, None).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    assert_eq!(app.get(WEBHOOKS, &auth).await.expect(200), json!({"results": []}));
    let gone = app.call("DELETE", &path, &auth, None).await.expect(404);
    assert_eq!(gone, json!({"detail": "No webhook endpoint has this id."}));
}

#[tokio::test]
async fn a_session_or_a_key_as_bearer_token_opens_and_nothing_else() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    app.get(WEBHOOKS, &owner(&org)).await.expect(200);
    app.get(WEBHOOKS, &format!("authorization: Bearer {}", org.session(&app))).await.expect(200);
    for auth in [
        String::new(),
        format!("x-api-key: {}", org.key("smk_")),
        format!("cookie: __session={}", org.session(&app)),
        format!("authorization: Bearer {}", org.key("inkr_")),
        format!("authorization: Bearer smk_{}", "a".repeat(40)),
        "authorization: Bearer a.b.c".into(),
    ] {
        let refused = app.get(WEBHOOKS, &auth).await.expect(401);
        assert_eq!(members(&refused), ["detail"], "{auth}");
    }
}

#[tokio::test]
async fn webhooks_require_the_plan_pro() {
    let app = TestApp::start().await;
    let documented = json!({"detail": "Webhooks require Pro plan or higher."});
    for plan in Plan::ALL {
        let org = TestOrg::make(&app, plan.name(), plan).await;
        let status = if plan >= Plan::Pro { 201 } else { 403 };
        let answer = app.post(WEBHOOKS, &owner(&org), good(NOWHERE)).await.expect(status);
        if status == 403 {
            assert_eq!(answer, documented);
            // A body that breaks rules does not change the reason.
            assert_eq!(
                app.post(WEBHOOKS, &owner(&org), json!({"url": ""})).await.expect(400),
                json!({"events": "is required"})
            );
            assert_eq!(
                app.post(WEBHOOKS, &owner(&org), json!({"url": "", "events": []})).await.expect(403),
                documented
            );
        }
    }
    // Who had more before keeps, reads, pauses and removes what there is, and switches nothing on.
    let org = app.org("former").await;
    let made = app.post(WEBHOOKS, &owner(&org), good(NOWHERE)).await.expect(201);
    let mut conn = app.store.pool().acquire().await.unwrap();
    assert!(org::set_plan(&mut conn, org.id, Plan::Free).await.unwrap());
    let path = path_of(&made);
    app.get(WEBHOOKS, &owner(&org)).await.expect(200);
    app.call("PATCH", &path, &owner(&org), Some(json!({"status": "disabled"}))).await.expect(200);
    let on = app.call("PATCH", &path, &owner(&org), Some(json!({"status": "active"}))).await.expect(403);
    assert_eq!(on, documented);
    assert_eq!(app.call("DELETE", &path, &owner(&org), None).await.status, 204);
}

#[tokio::test]
async fn members_read_and_may_not_manage() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let made = app.post(WEBHOOKS, &owner(&org), good(NOWHERE)).await.expect(201);
    let path = path_of(&made);
    app.get(WEBHOOKS, &member(&org)).await.expect(200);
    app.get(&format!("{path}deliveries/"), &member(&org)).await.expect(200);
    for (method, path) in [
        ("POST", WEBHOOKS.to_owned()),
        ("PATCH", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}rotate/")),
    ] {
        let body = matches!(method, "PATCH" | "POST").then(|| good("http://127.0.0.1:8/"));
        let refused = app.call(method, &path, &member(&org), body).await.expect(403);
        assert_eq!(refused, json!({"detail": "This needs the role owner or admin."}));
    }
    assert_eq!(app.get(WEBHOOKS, &owner(&org)).await.expect(200)["results"][0]["url"], NOWHERE);
}

#[tokio::test]
async fn what_is_wrong_is_told_under_its_field() {
    let app = TestApp::build().https_only().start().await;
    let org = app.org("acme").await;
    let auth = owner(&org);
    let made = app.post(WEBHOOKS, &auth, good("https://127.0.0.1/")).await.expect(201);
    let url_of = |chars: usize| format!("https://127.0.0.1/{}", "x".repeat(chars - "https://127.0.0.1/".len()));
    let types =
        "must be one of scan.created, dynamic_qr.created, dynamic_qr.updated, quota.threshold_75, quota.threshold_100";
    for (field, value, message) in [
        ("url", json!("http://127.0.0.1/"), "must be an https:// URL"),
        ("url", json!(url_of(2001)), "must be at most 2000 characters"),
        ("url", json!(7), "must be a string"),
        ("description", json!("x".repeat(201)), "must be at most 200 characters"),
        ("description", json!("\u{0}"), "must not contain a NUL character"),
        ("events", json!([]), "must have at least one event type"),
        ("events", json!(["qr.scanned"]), types),
        ("events", json!(["scan.created", "scan.created"]), "is there twice"),
        ("events", json!("scan.created"), "must be an array"),
        ("events", json!([null]), "must be a string"),
    ] {
        let mut body = good("https://127.0.0.1/");
        body[field] = value.clone();
        let expected = json!({field: message});
        assert_eq!(app.post(WEBHOOKS, &auth, body).await.expect(400), expected);
        assert_eq!(app.call("PATCH", &path_of(&made), &auth, Some(json!({field: value}))).await.expect(400), expected);
    }
    let refused = app.call("PATCH", &path_of(&made), &auth, Some(json!({"status": "degraded"}))).await.expect(400);
    assert_eq!(refused, json!({"status": "must be one of active, disabled"}));
    let refused = app.post(WEBHOOKS, &auth, json!({"url": "", "events": ["x", "y"], "description": "\u{0}"})).await;
    let refused = refused.expect(400);
    assert_eq!(members(&refused), ["url", "description", "events"]);
    for missing in ["url", "events"] {
        let mut body = good("https://127.0.0.1/");
        body.as_object_mut().unwrap().remove(missing);
        assert_eq!(app.post(WEBHOOKS, &auth, body).await.expect(400), json!({missing: "is required"}));
    }
    // The longest of everything, and the whole catalogue.
    let most = json!({
        "url": url_of(2000), "description": "é".repeat(200),
        "events": ["scan.created", "dynamic_qr.created", "dynamic_qr.updated", "quota.threshold_75", "quota.threshold_100"],
    });
    app.post(WEBHOOKS, &auth, most).await.expect(201);
}

/// Every name leads inside.
struct Inside;

impl Resolve for Inside {
    fn resolve<'a>(&'a self, _: &'a str) -> LookUp<'a> {
        Box::pin(async { Ok(vec!["10.0.0.5".parse::<IpAddr>().unwrap()]) })
    }
}

#[tokio::test]
async fn a_url_inside_is_refused_in_the_documented_words() {
    let app = TestApp::build().guarded(Inside).https_only().start().await;
    let org = app.org("acme").await;
    for (url, ip) in [
        ("https://internal.example/hook", "10.0.0.5"),
        ("https://10.0.0.5/hook", "10.0.0.5"),
        ("https://127.0.0.1/", "127.0.0.1"),
        ("https://0x7f.1/", "127.0.0.1"),
        ("https://[::1]:8443/", "::1"),
        ("https://169.254.169.254/latest/meta-data", "169.254.169.254"),
    ] {
        let refused = app.post(WEBHOOKS, &owner(&org), good(url)).await.expect(400);
        let message = format!("refusing to register webhook: resolves to private/internal IP {ip}");
        assert_eq!(refused, json!({"url": message}));
    }
    assert_eq!(app.get(WEBHOOKS, &owner(&org)).await.expect(200), json!({"results": []}));
}

#[tokio::test]
async fn at_most_25_are_active_however_they_came_to_be() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let auth = owner(&org);
    // All at once: the last places are not given away twice.
    let made = join_all((0..30).map(|_| app.post(WEBHOOKS, &auth, good(NOWHERE)))).await;
    let statuses = |status: u16| made.iter().filter(|reply| reply.status == status).count();
    assert_eq!((statuses(201), statuses(400)), (25, 5));
    let full = json!({"detail": "An organisation can have at most 25 active webhooks."});
    assert!(made.iter().filter(|reply| reply.status == 400).all(|reply| reply.json == full));
    // Another workspace has its own places, and another dialect none.
    app.post(WEBHOOKS, &owner(&other), good(NOWHERE)).await.expect(201);
    app.endpoint(&org, "inkr", NOWHERE, &[]).await;
    // Through Inkode's surface it is the same limit.
    let session = format!("authorization: Bearer {}", org.session(&app));
    let body = json!({"url": NOWHERE, "dialect": "qrstudio"});
    assert_eq!(app.post("/api/webhooks/endpoints", &session, body).await.expect(400)["code"], "endpoint_limit");

    // A paused one makes room, and finds it taken when it comes back.
    let list = app.get(WEBHOOKS, &auth).await.expect(200);
    let (first, second) = (path_of(&list["results"][0]), path_of(&list["results"][1]));
    app.call("PATCH", &first, &auth, Some(json!({"status": "disabled"}))).await.expect(200);
    app.post(WEBHOOKS, &auth, good(NOWHERE)).await.expect(201);
    assert_eq!(app.call("PATCH", &first, &auth, Some(json!({"status": "active"}))).await.expect(400), full);
    assert_eq!(app.call("DELETE", &second, &auth, None).await.status, 204);
    app.call("PATCH", &first, &auth, Some(json!({"status": "active"}))).await.expect(200);
}

#[tokio::test]
async fn a_rotated_secret_is_shown_once_and_the_old_one_is_void() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let made = app.post(WEBHOOKS, &owner(&org), good(NOWHERE)).await.expect(201);
    let rotate = format!("{}rotate/", path_of(&made));
    app.clock.advance(TimeDelta::seconds(5));
    let rotated = app.call("POST", &rotate, &owner(&org), None).await.expect(200);
    assert_eq!(members(&rotated), ["id", "secret", "rotated_at"]);
    assert_eq!((&rotated["id"], &rotated["rotated_at"]), (&made["id"], &json!("2026-03-02T12:00:05.000Z")));
    assert!(rotated["secret"].as_str().unwrap().starts_with("whsec_") && rotated["secret"] != made["secret"]);
    let previous: Option<Vec<u8>> =
        sqlx::query_scalar("select previous_secret from endpoints").fetch_one(app.store.pool()).await.unwrap();
    assert_eq!(previous, None);
}

#[tokio::test]
async fn an_id_is_an_integer_and_a_path_ends_with_a_slash() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let made = app.post(WEBHOOKS, &owner(&org), good(NOWHERE)).await.expect(201);
    let foreign = app.endpoint(&org, "inkode", NOWHERE, &[]).await;
    let number: i64 = sqlx::query_scalar("select number from endpoints where dialect = 'inkode'")
        .fetch_one(app.store.pool())
        .await
        .unwrap();
    let spelled = foreign["id"].as_str().unwrap();
    for id in [&number.to_string(), spelled, "0", "-1", "1.0", "99999999999999999999", "%00", "x"] {
        let refused = app.get(&format!("{WEBHOOKS}{id}/deliveries/"), &owner(&org)).await.expect(404);
        assert_eq!(members(&refused), ["detail"], "{id}");
    }
    // Documented with a slash at the end; nobody is sent away for the lack of it.
    let path = path_of(&made);
    for path in [WEBHOOKS, &format!("{path}deliveries/")] {
        let documented = app.get(path, &owner(&org)).await.expect(200);
        assert_eq!(app.get(path.trim_end_matches('/'), &owner(&org)).await.expect(200), documented);
    }
    for path in [format!("{WEBHOOKS}more/than/there/is/"), format!("{path}/"), format!("{path}logs/")] {
        let refused = app.get(&path, &owner(&org)).await.expect(404);
        assert_eq!(members(&refused), ["detail"], "{path}");
    }
}

#[tokio::test]
async fn the_deliveries_are_one_entry_per_request_in_numbered_pages() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&org);
    let receiver = Receiver::start(Script::sequence([Reply::ok(), Reply::status(500).with_body("oh"), Reply::ok()]));
    let made = app.post(WEBHOOKS, &auth, good(&receiver.url())).await.expect(201);
    let log = format!("{}deliveries/", path_of(&made));
    let nothing = json!({"count": 0, "next": null, "previous": null, "results": []});
    assert_eq!(app.get(&log, &auth).await.expect(200), nothing);

    for _ in 0..2 {
        app.clock.advance(TimeDelta::seconds(1));
        app.publish(&org, "scan.created", json!({"short_id": "a"})).await;
        app.drain().await;
    }
    app.pass(TimeDelta::seconds(61)).await;
    let page = app.get(&log, &auth).await.expect(200);
    assert_eq!((&page["count"], &page["next"], &page["previous"]), (&json!(3), &Value::Null, &Value::Null));
    let rows = page["results"].as_array().unwrap();
    let documented =
        ["id", "event", "response_status", "response_body", "duration_ms", "error", "succeeded", "created_at"];
    assert_eq!(members(&rows[0]), documented);
    let told: Vec<(&Value, &Value, &Value)> =
        rows.iter().map(|row| (&row["response_status"], &row["succeeded"], &row["response_body"])).collect();
    let (ok, bad) = ((&json!(200), &json!(true), &json!("ok")), (&json!(500), &json!(false), &json!("oh")));
    assert_eq!(told, [ok, bad, ok], "the newest delivery first, and its newest request");
    assert_eq!((&rows[0]["event"], &rows[0]["error"]), (&json!("scan.created"), &json!("")));
    assert_eq!(rows[0]["created_at"], "2026-03-02T12:01:03.000Z");

    // Many at one moment: every id is another, and none is more than JavaScript can hold.
    let events: Vec<Value> = (0..200).map(|_| json!({"type": "scan.created", "data": {}})).collect();
    let key = format!("x-api-key: {}", org.key("ink_"));
    app.post("/api/v1/events/batch", &key, json!({"events": events})).await.expect(202);
    // More than one endpoint is sent at a time: some come a little later.
    while app.pass(TimeDelta::seconds(1)).await > 0 {}
    let (mut ids, mut path, mut pages) = (HashSet::new(), format!("{log}?page_size=50"), 0);
    loop {
        let page = app.get(&path, &auth).await.expect(200);
        assert_eq!((&page["count"], page["previous"].is_null()), (&json!(203), pages == 0));
        ids.extend(page["results"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()));
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        path = next.strip_prefix(&app.url).expect("an absolute address").to_owned();
    }
    assert_eq!((ids.len(), pages), (203, 5));
    assert!(ids.iter().all(|id| (1..1 << 53).contains(id)));
    let page = app.get(&format!("{log}?page=10"), &auth).await.expect(200);
    assert_eq!((&page["count"], &page["results"]), (&json!(203), &json!([])));
    let page = app.get(&format!("{log}?page=2&page_size=100"), &auth).await.expect(200);
    assert_eq!(page["previous"], format!("{}{log}?page=1&page_size=100", app.url));
    for (query, field) in [
        ("page=0", "page"),
        ("page=x", "page"),
        ("page=99999999999999999999", "page"),
        ("page_size=0", "page_size"),
        ("page_size=101", "page_size"),
    ] {
        let refused = app.get(&format!("{log}?{query}"), &auth).await.expect(400);
        assert_eq!(members(&refused), [field], "{query}");
    }
    let list = app.get(WEBHOOKS, &auth).await.expect(200);
    assert_eq!(list["results"][0]["last_response_status"], 200);
    assert!(list["results"][0]["last_delivery_at"].as_str().unwrap().starts_with("2026-03-02T12:01:"));
}

#[tokio::test]
async fn a_request_that_got_no_answer_has_no_status_and_says_why() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Reply::CloseWithoutAnswer));
    let made = app.post(WEBHOOKS, &owner(&org), good(&receiver.url())).await.expect(201);
    app.publish(&org, "scan.created", json!({})).await;
    app.drain().await;
    let page = app.get(&format!("{}deliveries/", path_of(&made)), &owner(&org)).await.expect(200);
    let row = &page["results"][0];
    assert_eq!((&row["response_status"], &row["response_body"]), (&Value::Null, &json!("")));
    assert_eq!(row["succeeded"], false);
    assert!(!row["error"].as_str().unwrap().is_empty());
    assert_eq!(app.get(WEBHOOKS, &owner(&org)).await.expect(200)["results"][0]["consecutive_failures"], 1);
    // Deleted: what is in flight is not tried again.
    assert_eq!(app.call("DELETE", &path_of(&made), &owner(&org), None).await.status, 204);
    app.pass(TimeDelta::days(1)).await;
    assert_eq!(receiver.received().len(), 1);
}
