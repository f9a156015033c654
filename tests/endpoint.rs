//! Inkode's surface for webhook endpoints: every dialect in one place, with a session; owners and admins manage, members
//! read.

mod rule;

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::{
    Receiver, TestApp, TestOrg,
    receiver::{Reply, Script},
};

const ENDPOINTS: &str = "/api/webhooks/endpoints";
const NOWHERE: &str = "http://127.0.0.1:9/hook";

fn owner(app: &TestApp, org: &TestOrg) -> String {
    format!("authorization: Bearer {}", org.session(app))
}

fn member(app: &TestApp, org: &TestOrg) -> String {
    format!("authorization: Bearer {}", org.member_session(app))
}

fn path_of(endpoint: &Value) -> String {
    format!("{ENDPOINTS}/{}", endpoint["id"].as_str().unwrap())
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn an_owner_makes_reads_changes_and_deletes_an_endpoint() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&app, &org);
    let body = json!({"url": NOWHERE, "name": "Orders", "eventTypes": ["qr.created"]});
    let made = app.post(ENDPOINTS, &auth, body).await.expect(201);
    let expected = [
        "createdAt",
        "dialect",
        "enabled",
        "eventTypes",
        "failuresInRow",
        "health",
        "id",
        "locked",
        "name",
        "secret",
        "updatedAt",
        "url",
    ];
    assert_eq!(keys(&made), expected);
    assert!(made["id"].as_str().unwrap().starts_with("we_"));
    assert_eq!(made["secret"].as_str().unwrap().len(), 40);
    assert_eq!(
        (&made["dialect"], &made["enabled"], &made["health"]),
        (&json!("inkode"), &json!(true), &json!("active"))
    );
    assert_eq!(made["createdAt"], "2026-03-02T12:00:00.000Z");

    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("secret");
    let path = path_of(&made);
    assert_eq!(app.get(&path, &auth).await.expect(200), shown, "the secret is shown once");
    assert_eq!(app.get(ENDPOINTS, &auth).await.expect(200), json!({"items": [shown]}));

    app.clock.advance(TimeDelta::seconds(5));
    let change = json!({"name": "Refunds", "enabled": false, "eventTypes": null, "color": "green"});
    let changed = app.call("PATCH", &path, &auth, Some(change)).await.expect(200);
    shown["name"] = "Refunds".into();
    shown["enabled"] = false.into();
    shown["updatedAt"] = "2026-03-02T12:00:05.000Z".into();
    assert_eq!(changed, shown);
    assert_eq!(app.get(&path, &auth).await.expect(200), shown);

    assert_eq!(app.call("DELETE", &path, &auth, None).await.status, 204);
    for (method, path) in [("GET", path.clone()), ("DELETE", path.clone()), ("GET", format!("{path}/deliveries"))] {
        assert_eq!(app.call(method, &path, &auth, None).await.expect(404)["code"], "not_found");
    }
    assert_eq!(app.get(ENDPOINTS, &auth).await.expect(200), json!({"items": []}));
}

#[tokio::test]
async fn an_endpoint_of_any_dialect_is_managed_here() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&app, &org);
    for (dialect, prefix, secret, event, foreign) in [
        ("inkode", "we_", "", "link.clicked", "scan.created"),
        ("iloveqr", "wh_", "", "qr.archived", "link.clicked"),
        ("inklink", "wh_end_", "whsec_", "kyc.result.approved", "qr.created"),
        ("inkr", "we_", "whsec_", "submitter.signed", "kyc.result.approved"),
        ("qrstudio", "we_", "whsec_", "quota.threshold_75", "qr.scanned"),
    ] {
        let mut body = json!({"url": NOWHERE, "dialect": dialect, "eventTypes": [foreign]});
        if dialect == "iloveqr" {
            let refused = app.post(ENDPOINTS, &auth, body.clone()).await.expect(400);
            assert_eq!(refused["errors"].as_array().unwrap().len(), 2, "all that is wrong at once: {refused}");
            assert_eq!(refused["errors"][1], json!({"field": "secret", "message": "is required"}));
            body["secret"] = "a-secret-of-my-own".into();
        } else if !secret.is_empty() {
            let mut own = body.clone();
            own["secret"] = "a-secret-of-my-own-that-is-long-enough".into();
            let refused = app.post(ENDPOINTS, &auth, own).await.expect(400);
            assert_eq!(refused["errors"][1]["field"], "secret", "{refused}");
        }
        let refused = app.post(ENDPOINTS, &auth, body.clone()).await.expect(400);
        assert_eq!(refused["errors"][0]["field"], "eventTypes[0]", "{dialect}");
        body["eventTypes"] = json!([event]);
        let made = app.post(ENDPOINTS, &auth, body).await.expect(201);
        assert_eq!(made["dialect"], dialect);
        assert!(made["id"].as_str().unwrap().starts_with(prefix), "{made}");
        match made["secret"].as_str() {
            Some(shown) => assert!(shown.starts_with(secret), "{made}"),
            None => assert_eq!(dialect, "iloveqr", "whose caller has it"),
        }
        let only = app.get(&format!("{ENDPOINTS}?dialect={dialect}"), &auth).await.expect(200);
        assert_eq!(only["items"].as_array().unwrap().len(), 1);
        assert_eq!(only["items"][0]["id"], made["id"]);
    }
    assert_eq!(app.get(ENDPOINTS, &auth).await.expect(200)["items"].as_array().unwrap().len(), 5);
    let refused = app.post(ENDPOINTS, &auth, json!({"url": NOWHERE, "dialect": "fax"})).await.expect(400);
    let rule = "must be one of inkode, iloveqr, inklink, inkr, qrstudio";
    assert_eq!(refused["errors"], json!([{"field": "dialect", "message": rule}]));
}

#[tokio::test]
async fn the_list_comes_in_pages_newest_first() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&app, &org);
    let mut made = vec![];
    for n in 0..5 {
        app.clock.advance(TimeDelta::seconds(1));
        let dialect = if n == 2 { "inkr" } else { "inkode" };
        made.push(app.endpoint(&org, dialect, NOWHERE, &[]).await["id"].as_str().unwrap().to_owned());
    }
    made.reverse();
    let (mut seen, mut cursor, mut pages) = (vec![], String::new(), 0);
    loop {
        let page = app.get(&format!("{ENDPOINTS}?limit=2{cursor}"), &auth).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().to_owned()));
        pages += 1;
        // What is deleted between two pages does not end the walk.
        if pages == 1 {
            let last = format!("{ENDPOINTS}/{}", seen.last().unwrap());
            assert_eq!(app.call("DELETE", &last, &auth, None).await.status, 204);
        }
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((seen, pages), (made.clone(), 3));
    let page = app.get(&format!("{ENDPOINTS}?dialect=inkode&limit=100"), &auth).await.expect(200);
    assert_eq!((page["items"].as_array().unwrap().len(), &page["nextCursor"]), (3, &Value::Null));

    let other = app.org("other").await;
    let theirs = app.endpoint(&other, "inkode", NOWHERE, &[]).await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("cursor=", "cursor"),
        ("cursor=we_", "cursor"),
        ("cursor=%00", "cursor"),
        (&format!("cursor={}", theirs["id"].as_str().unwrap()), "cursor"),
        (&format!("cursor={}", made[0].replace("we_", "wh_end_")), "cursor"),
        ("dialect=fax", "dialect"),
    ] {
        let refused = app.get(&format!("{ENDPOINTS}?{query}"), &auth).await.expect(400);
        assert_eq!(refused["errors"][0]["field"], field, "{query}");
    }
}

#[tokio::test]
async fn a_rotated_secret_may_sign_beside_the_new_one_for_a_while() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&app, &org);
    let receiver = Receiver::start(Script::always(Reply::ok()));
    let inkode = app.endpoint(&org, "inkode", &receiver.url(), &["qr.created"]).await;
    let inklink = app.endpoint(&org, "inklink", &receiver.url(), &["kyc.result.approved"]).await;
    let beside = async || {
        app.publish(&org, "qr.created", json!({})).await;
        app.publish(&org, "kyc.result.approved", json!({})).await;
        app.drain().await;
        let received = receiver.received();
        let last = &received[received.len() - 2..];
        let inkode = last.iter().any(|r| r.header("x-inkode-signature-previous").is_some());
        let inklink = last.iter().find_map(|r| r.header("webhook-signature")).unwrap().contains(' ');
        (inkode, inklink)
    };
    assert_eq!(beside().await, (false, false));
    for endpoint in [&inkode, &inklink] {
        let rotate = format!("{}/rotate-secret", path_of(endpoint));
        let rotated = app.post(&rotate, &auth, json!({"overlapSeconds": 3600})).await.expect(200);
        assert_eq!(keys(&rotated), ["id", "rotatedAt", "secret"]);
        assert_eq!(rotated["id"], endpoint["id"]);
        assert_ne!(rotated["secret"], endpoint["secret"]);
    }
    assert_eq!(beside().await, (true, true));
    app.clock.advance(TimeDelta::seconds(3601));
    assert_eq!(beside().await, (false, false));

    // Without a word the old one is void at once, and no body is word enough.
    for endpoint in [&inkode, &inklink] {
        let rotate = format!("{}/rotate-secret", path_of(endpoint));
        app.call("POST", &rotate, &auth, None).await.expect(200);
    }
    assert_eq!(beside().await, (false, false));
}

#[tokio::test]
async fn an_overlap_is_refused_where_it_is_too_long_or_the_dialect_has_none() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&app, &org);
    for (dialect, overlap, status) in [
        ("inkode", json!(-1), 400),
        ("inkode", json!(604_801), 400),
        ("inkode", json!(1.5), 400),
        ("inkode", json!("3600"), 400),
        ("inkode", json!(604_800), 200),
        ("inklink", json!(604_800), 200),
        ("iloveqr", json!(1), 400),
        ("inkr", json!(1), 400),
        ("qrstudio", json!(1), 400),
        ("qrstudio", json!(0), 200),
        ("inkr", json!(null), 200),
    ] {
        let endpoint = app.endpoint(&org, dialect, NOWHERE, &[]).await;
        let rotate = format!("{}/rotate-secret", path_of(&endpoint));
        let reply = app.post(&rotate, &auth, json!({"overlapSeconds": overlap})).await.expect(status);
        if status == 400 {
            assert_eq!(reply["errors"][0]["field"], "overlapSeconds", "{dialect} {overlap}");
        }
    }
}

#[tokio::test]
async fn a_test_sends_sample_data_once_even_to_a_paused_endpoint() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&app, &org);
    let receiver = Receiver::start(Script::sequence([Reply::ok(), Reply::status(500)]));
    let endpoint = app.endpoint(&org, "inkr", &receiver.url(), &["submission.declined"]).await;
    let path = path_of(&endpoint);
    app.call("PATCH", &path, &auth, Some(json!({"enabled": false}))).await.expect(200);

    let under_way = app.call("POST", &format!("{path}/test"), &auth, None).await.expect(202);
    assert_eq!(keys(&under_way), ["deliveryId", "eventId"]);
    app.drain().await;
    let received = receiver.received();
    let body: Value = serde_json::from_slice(&received[0].body).unwrap();
    assert_eq!((&body["type"], &body["id"]), (&json!("submission.declined"), &under_way["eventId"]));
    assert_eq!(body["data"]["object"]["status"], "declined");
    let of = |test: &Value| format!("/api/webhooks/deliveries/{}", test["deliveryId"].as_str().unwrap());
    let delivery = app.get(&of(&under_way), &auth).await.expect(200);
    assert_eq!((&delivery["delivery"]["state"], &delivery["delivery"]["test"]), (&json!("delivered"), &json!(true)));
    assert_eq!(delivery["body"], body);
    assert_eq!(delivery["attempts"][0]["responseStatus"], 200);

    // Of a type that it does not subscribe to, and failing: one request all the same.
    let test = format!("{path}/test");
    let under_way = app.post(&test, &auth, json!({"eventType": "submitter.opened"})).await.expect(202);
    app.drain().await;
    app.pass(TimeDelta::days(4)).await;
    assert_eq!(receiver.received().len(), 2);
    assert_eq!(app.get(&of(&under_way), &auth).await.expect(200)["delivery"]["state"], "failed");
    assert_eq!(app.get(&path, &auth).await.expect(200)["failuresInRow"], 0, "a test says nothing of its health");

    let refused = app.post(&test, &auth, json!({"eventType": "qr.created"})).await.expect(400);
    assert_eq!(refused["errors"][0]["field"], "eventType");
}

#[tokio::test]
async fn members_read_and_may_not_manage() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let endpoint = app.endpoint(&org, "inkode", NOWHERE, &[]).await;
    app.publish(&org, "qr.created", json!({})).await;
    app.leaves_jobs("delivery.attempt");
    let (path, auth) = (path_of(&endpoint), member(&app, &org));
    let page = app.get(&format!("{path}/deliveries"), &auth).await.expect(200);
    let delivery = format!("/api/webhooks/deliveries/{}", page["items"][0]["id"].as_str().unwrap());
    for path in [ENDPOINTS, &path, &format!("{path}/replays"), &delivery, "/api/webhooks/event-types"] {
        app.get(path, &auth).await.expect(200);
    }
    for (method, path) in [
        ("POST", ENDPOINTS.to_owned()),
        ("PATCH", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}/rotate-secret")),
        ("POST", format!("{path}/test")),
        ("POST", format!("{path}/replay")),
        ("POST", format!("{delivery}/retry")),
    ] {
        let body = (method != "DELETE").then(|| json!({"url": NOWHERE}));
        let refused = app.call(method, &path, &auth, body).await.expect(403);
        assert_eq!(refused["detail"], "This needs the role owner or admin.", "{method} {path}");
    }
    let after = app.get(&path, &owner(&app, &org)).await.expect(200);
    assert_eq!(after["url"], endpoint["url"]);
}

#[tokio::test]
async fn the_event_types_are_listed_with_their_dialects() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let list = app.get("/api/webhooks/event-types", &member(&app, &org)).await.expect(200);
    let items = list["items"].as_array().unwrap();
    let names: Vec<&str> = items.iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert!(names.is_sorted() && names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
    let of = |name: &str| items.iter().find(|item| item["type"] == name).unwrap()["dialects"].clone();
    assert_eq!(of("qr.created"), json!(["inkode", "iloveqr"]));
    assert_eq!(of("kyc.result.approved"), json!(["inklink"]));
    assert_eq!(of("submission.sent"), json!(["inkr"]));
    assert_eq!(of("scan.created"), json!(["qrstudio"]));
    let catalogues: usize = domain::dialect::DIALECTS.iter().map(|dialect| dialect.catalogue.len()).sum();
    let listed: usize = items.iter().map(|item| item["dialects"].as_array().unwrap().len()).sum();
    assert_eq!(listed, catalogues);
}

#[tokio::test]
async fn deleting_an_endpoint_cancels_what_is_under_way_to_it() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&app, &org);
    let receiver = Receiver::start(Script::always(Reply::status(503)));
    let endpoint = app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    app.publish(&org, "qr.created", json!({})).await;
    app.drain().await;
    let page = app.get(&format!("{}/deliveries", path_of(&endpoint)), &auth).await.expect(200);
    let delivery = format!("/api/webhooks/deliveries/{}", page["items"][0]["id"].as_str().unwrap());
    assert_eq!(page["items"][0]["state"], "pending");
    assert_eq!(app.call("DELETE", &path_of(&endpoint), &auth, None).await.status, 204);
    assert_eq!(app.publish(&org, "qr.created", json!({})).await["deliveries"], 0);
    app.pass(TimeDelta::days(1)).await;

    assert_eq!(receiver.received().len(), 1);
    let after = app.get(&delivery, &auth).await.expect(200);
    assert_eq!(after["delivery"]["state"], "cancelled");
    assert_eq!(after["delivery"]["why"], "Cancelled: the endpoint was deleted.");
    assert_eq!(after["attempts"].as_array().unwrap().len(), 1);
    let refused = app.call("POST", &format!("{delivery}/retry"), &auth, None).await.expect(409);
    assert_eq!(refused["code"], "endpoint_deleted");
}

#[tokio::test]
async fn a_change_does_not_undo_what_a_worker_records_meanwhile() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&app, &org);
    let endpoint = app.endpoint(&org, "inkode", NOWHERE, &[]).await;
    let path = path_of(&endpoint);
    // A worker is about to commit: it holds the row.
    let mut worker = app.store.begin().await.unwrap();
    sqlx::query("update endpoints set health = 'degraded', failures_in_row = 5, name = 'Meanwhile'")
        .execute(&mut *worker)
        .await
        .unwrap();
    let change = app.call("PATCH", &path, &auth, Some(json!({"eventTypes": ["qr.deleted"]})));
    let commit = async {
        // Once the change waits for the row, it has read what it began with.
        for _ in 0..1000 {
            let waits: bool = sqlx::query_scalar(
                "select exists (select 1 from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock')",
            )
            .fetch_one(app.store.pool())
            .await
            .unwrap();
            if waits {
                worker.commit().await.unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the change never waited for the row");
    };
    let (changed, ()) = tokio::join!(change, commit);
    let changed = changed.expect(200);
    assert_eq!((&changed["health"], &changed["failuresInRow"]), (&json!("degraded"), &json!(5)));
    assert_eq!((&changed["name"], &changed["eventTypes"]), (&json!("Meanwhile"), &json!(["qr.deleted"])));
    assert_eq!(app.get(&path, &auth).await.expect(200)["health"], "degraded");
}

#[tokio::test]
async fn switching_a_disabled_endpoint_on_starts_its_health_anew() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = owner(&app, &org);
    let endpoint = app.endpoint(&org, "inkode", NOWHERE, &[]).await;
    let path = path_of(&endpoint);
    let fail = "update endpoints set health = 'disabled', failures_in_row = 9, health_reason = 'Gone.',
                first_failure_at = now(), health_changed_at = now()";
    sqlx::query(fail).execute(app.store.pool()).await.unwrap();
    let shown = app.get(&path, &auth).await.expect(200);
    assert_eq!((&shown["enabled"], &shown["health"]), (&json!(true), &json!("disabled")), "its owner's switch stays");
    assert_eq!(shown["healthReason"], "Gone.");
    // Another change alone opens nothing.
    let named = app.call("PATCH", &path, &auth, Some(json!({"name": "x"}))).await.expect(200);
    assert_eq!(named["health"], "disabled");
    let on = app.call("PATCH", &path, &auth, Some(json!({"enabled": true}))).await.expect(200);
    assert_eq!((&on["health"], &on["failuresInRow"]), (&json!("active"), &json!(0)));
    assert_eq!(on["healthReason"], Value::Null);
}
