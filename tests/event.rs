//! Event intake: what is accepted is on its way, and what is wrong is named and leaves nothing behind.

use std::collections::HashSet;

use domain::api_key::{self, ApiKeyPrefix, NewApiKey, Scope};
use futures::future::join_all;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::{
    Receiver, TestApp, TestOrg,
    receiver::{Reply, Script},
};

const EVENTS: &str = "/api/v1/events";
const BATCH: &str = "/api/v1/events/batch";

fn auth(org: &TestOrg) -> String {
    format!("x-api-key: {}", org.key("ink_"))
}

/// How many events, reserved client ids, deliveries and jobs there are.
async fn stored(app: &TestApp) -> (i64, i64, i64, i64) {
    sqlx::query_as(
        "select (select count(*) from events), (select count(*) from event_client_ids),
                (select count(*) from deliveries), (select count(*) from jobs)",
    )
    .fetch_one(app.store.pool())
    .await
    .unwrap()
}

/// Sends a body as it is; it must be refused with the status for this field, and leave nothing behind.
async fn refuse(app: &TestApp, org: &TestOrg, path: &str, body: &str, status: u16, field: &str) {
    let key = org.key("ink_").to_owned();
    let reply = app.send("POST", path, &[("x-api-key", &key)], Some(body.to_owned())).await;
    let start: String = body.chars().take(100).collect();
    assert_eq!(reply.status, status, "{start}: {}", reply.text);
    let named: Vec<&str> =
        reply.json["errors"].as_array().into_iter().flatten().filter_map(|e| e["field"].as_str()).collect();
    if status == 400 {
        assert!(named.contains(&field), "{start}: {field} is not among {named:?}: {}", reply.text);
        assert_eq!(reply.json["code"], "validation_failed");
    }
    assert_eq!(stored(app).await, (0, 0, 0, 0), "{start}");
}

#[tokio::test]
async fn an_event_reaches_the_endpoint_that_subscribes_to_it() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Reply::ok()));
    app.endpoint(&org, "inklink", &receiver.url(), &["kyc.result.approved"]).await;

    let answer = app.publish(&org, "kyc.result.approved", json!({"inquiry_id": "i", "subject_id": "s"})).await;
    assert_eq!(answer["deliveries"], 1);
    app.publish(&org, "kyc.result.rejected", json!({})).await;
    app.drain().await;

    let received = receiver.received();
    assert_eq!(received.len(), 1);
    let body: Value = serde_json::from_slice(&received[0].body).unwrap();
    assert_eq!(body["type"], "kyc.result.approved");
    assert_eq!(body["data"], json!({"inquiry_id": "i", "subject_id": "s"}));
}

#[tokio::test]
async fn a_key_of_any_prefix_publishes_as_bearer_or_in_its_own_header() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for prefix in ApiKeyPrefix::ALL {
        for (header, value) in [
            ("authorization", format!("Bearer {}", org.key(prefix.text()))),
            ("x-api-key", org.key(prefix.text()).to_owned()),
            // Publishing is no management: a plain member's key will do.
            ("x-api-key", org.member_key(prefix.text()).to_owned()),
        ] {
            let answer =
                app.post(EVENTS, &format!("{header}: {value}"), json!({"type": "qr.created", "data": {}})).await;
            let answer = answer.expect(202);
            assert_eq!(answer["type"], "qr.created");
            assert_eq!(answer["deliveries"], 0);
            assert!(answer["id"].as_str().unwrap().starts_with("evt_"), "{answer}");
            assert_eq!(answer.as_object().unwrap().len(), 3, "{answer}");
        }
    }
    let session = format!("authorization: Bearer {}", org.session(&app));
    app.post(EVENTS, &session, json!({"type": "qr.created", "data": {}})).await.expect(401);
}

#[tokio::test]
async fn a_key_without_the_scope_publishes_nothing() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let mut conn = app.store.pool().acquire().await.unwrap();
    let new = NewApiKey {
        org_id: org.id,
        user_id: org.owner,
        name: "reader".into(),
        prefix: ApiKeyPrefix::Ink,
        scopes: vec![Scope::EventsRead],
    };
    let (_, secret) = api_key::create(&mut conn, &new, app.clock.now(), &app.chance).await.unwrap();
    let auth = format!("x-api-key: {}", secret.expose_secret());
    for (path, body) in [
        (EVENTS, json!({"type": "qr.created", "data": {}})),
        (BATCH, json!({"events": [{"type": "qr.created", "data": {}}]})),
    ] {
        let refused = app.post(path, &auth, body).await.expect(403);
        assert_eq!(refused["code"], "forbidden");
        assert!(refused["detail"].as_str().unwrap().contains("events:write"), "{refused}");
    }
    assert_eq!(stored(&app).await, (0, 0, 0, 0));
}

#[tokio::test]
async fn a_type_goes_to_every_dialect_that_knows_it_and_each_endpoint_that_wants_it() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let receiver = Receiver::start(Script::always(Reply::ok()));
    let url = receiver.url();
    app.endpoint(&org, "inkode", &url, &[]).await;
    app.endpoint(&org, "inkode", &url, &["qr.deleted"]).await;
    app.endpoint(&org, "iloveqr", &url, &["qr.created", "qr.deleted"]).await;
    app.endpoint(&org, "inkr", &url, &[]).await;
    app.endpoint(&other, "inkode", &url, &[]).await;
    for (event_type, deliveries) in [
        ("qr.created", 2),
        ("qr.deleted", 3),
        ("qr.expired", 1),
        ("qr.archived", 0),
        ("submission.sent", 1),
        ("scan.created", 0),
    ] {
        let answer = app.publish(&org, event_type, json!({"id": "qr_1"})).await;
        assert_eq!(answer["deliveries"], deliveries, "{event_type}");
    }
    app.drain().await;
    assert_eq!(receiver.received().len(), 7);
}

#[tokio::test]
async fn an_event_for_a_paused_endpoint_is_held_and_counted() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let endpoint = app.endpoint(&org, "inkode", "http://127.0.0.1:9/", &[]).await;
    let session = format!("authorization: Bearer {}", org.session(&app));
    let path = format!("/api/webhooks/endpoints/{}", endpoint["id"].as_str().unwrap());
    app.call("PATCH", &path, &session, Some(json!({"enabled": false}))).await.expect(200);

    assert_eq!(app.publish(&org, "qr.created", json!({})).await["deliveries"], 1);
    let page = app.get(&format!("{path}/deliveries"), &session).await.expect(200);
    assert_eq!(page["items"][0]["state"], "held");
    assert_eq!(app.drain().await, 0);
}

#[tokio::test]
async fn the_same_client_id_twice_is_one_event_and_gets_the_first_answer() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let receiver = Receiver::start(Script::always(Reply::ok()));
    app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    let body = json!({"type": "qr.created", "data": {"n": 1}, "id": "mine-1"});
    let first = app.post(EVENTS, &auth(&org), body.clone()).await.expect(202);
    // What changed since does not change the answer.
    app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    assert_eq!(app.post(EVENTS, &auth(&org), body.clone()).await.expect(200), first);
    let another = json!({"type": "qr.deleted", "data": {"n": 2}, "id": "mine-1"});
    assert_eq!(app.post(EVENTS, &auth(&org), another).await.expect(200), first);
    let batch = app.post(BATCH, &auth(&org), json!({"events": [body]})).await.expect(202);
    assert_eq!(batch["results"], json!([first]));
    // Another organisation's ids are its own.
    let theirs = app.post(EVENTS, &auth(&other), body).await.expect(202);
    assert_ne!(theirs["id"], first["id"]);

    app.drain().await;
    assert_eq!(receiver.received().len(), 1);
    assert_eq!(stored(&app).await, (2, 2, 1, 0));
}

#[tokio::test]
async fn the_same_client_id_twice_in_one_batch_is_one_event() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let event = |n: u32, id: Option<&str>| match id {
        Some(id) => json!({"type": "qr.created", "data": {"n": n}, "id": id}),
        None => json!({"type": "qr.created", "data": {"n": n}}),
    };
    let events = [event(1, Some("b")), event(2, Some("a")), event(3, None), event(4, Some("b")), event(5, None)];
    let answer = app.post(BATCH, &auth(&org), json!({"events": events})).await.expect(202);
    let ids: Vec<&str> = answer["results"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 5);
    assert_eq!(ids[0], ids[3]);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 4);
    assert_eq!(stored(&app).await, (4, 2, 0, 0));
    // Of the two, the first is the event.
    let kept: String =
        sqlx::query_scalar("select data from events where client_id = 'b'").fetch_one(app.store.pool()).await.unwrap();
    assert_eq!(kept, r#"{"n":1}"#);
}

#[tokio::test]
async fn the_same_client_id_in_parallel_requests_is_one_event() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    app.endpoint(&org, "inkode", "http://127.0.0.1:9/", &[]).await;
    app.leaves_jobs("delivery.attempt");
    let auth = auth(&org);
    let calls = (0..24).map(|n| {
        let body = json!({"type": "qr.created", "data": {"n": n}, "id": "once"});
        // Some in the group's commit, some in transactions of their own.
        let key = format!("key-{n}");
        let own = n % 3 == 0;
        let (app, auth) = (&app, &auth);
        async move {
            let (name, value) = auth.split_once(": ").unwrap();
            let mut headers = vec![(name, value)];
            if own {
                headers.push(("idempotency-key", key.as_str()));
            }
            app.send("POST", EVENTS, &headers, Some(body.to_string())).await
        }
    });
    let replies = join_all(calls).await;
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 23, "{statuses:?}");
    assert!(replies.iter().all(|reply| reply.json == replies[0].json));
    assert_eq!(stored(&app).await, (1, 1, 1, 1));
}

#[tokio::test]
async fn while_the_disk_of_postgres_is_full_events_are_refused_for_now_and_taken_once_later() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Reply::ok()));
    app.endpoint(&org, "inklink", &receiver.url(), &["kyc.result.approved"]).await;
    let fill = "create function full_disk() returns trigger language plpgsql as
                    $$begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end$$;
                create trigger full_disk before insert on deliveries for each row execute function full_disk()";
    sqlx::raw_sql(fill).execute(app.store.pool()).await.unwrap();
    let event = json!({"id": "order-1", "type": "kyc.result.approved", "data": {"inquiry_id": "i"}});
    for (path, body) in [(EVENTS, event.clone()), (BATCH, json!({"events": [event]}))] {
        let reply = app.post(path, &auth(&org), body).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{}", reply.text);
        assert_eq!(reply.json["code"], "unavailable");
        assert_eq!(stored(&app).await, (0, 0, 0, 0));
    }
    sqlx::raw_sql("drop function full_disk cascade").execute(app.store.pool()).await.unwrap();
    let first = app.post(EVENTS, &auth(&org), event.clone()).await.expect(202);
    assert_eq!(app.post(EVENTS, &auth(&org), event).await.expect(200), first);
    app.drain().await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_batch_takes_up_to_five_hundred_events_and_answers_in_their_order() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let type_of = |n: usize| if n.is_multiple_of(2) { "qr.created" } else { "link.clicked" };
    let events = |n: usize| -> Vec<Value> { (0..n).map(|n| json!({"type": type_of(n), "data": {"n": n}})).collect() };
    for (body, text) in [(json!({"events": events(501)}), "not 501"), (json!({"events": []}), "not 0")] {
        let refused = app.post(BATCH, &auth(&org), body).await.expect(400);
        assert_eq!(refused["errors"][0]["field"], "events");
        assert!(refused["errors"][0]["message"].as_str().unwrap().contains(text), "{refused}");
        assert_eq!(stored(&app).await, (0, 0, 0, 0));
    }
    let answer = app.post(BATCH, &auth(&org), json!({"events": events(500)})).await.expect(202);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 500);
    assert!(results.iter().enumerate().all(|(n, r)| r["type"] == type_of(n)));
    assert_eq!(stored(&app).await.0, 500);
}

#[tokio::test]
async fn a_batch_names_everything_that_is_wrong_and_stores_nothing() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let body = r#"{"events": [
        {"type": "qr.created", "data": {}},
        {"type": "qr.melted", "data": {"n": 9007199254740993}},
        {"type": "qr.created"},
        ["qr.created", {}, null, null],
        {"type": 7, "data": {}},
        {"type": "qr.created", "data": {}, "id": "", "timestamp": null},
        {"type": "qr.created", "data": {}, "timestamp": "yesterday"},
        null
    ]}"#;
    let key = org.key("ink_").to_owned();
    let reply = app.send("POST", BATCH, &[("x-api-key", &key)], Some(body.into())).await;
    let refused = reply.expect(400);
    let errors: Vec<(&str, &str)> = refused["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["field"].as_str().unwrap(), e["message"].as_str().unwrap()))
        .collect();
    let fields: Vec<&str> = errors.iter().map(|(field, _)| *field).collect();
    let expected = [
        "events[1].type",
        "events[1].data.n",
        "events[2].data",
        "events[3]",
        "events[4].type",
        "events[5].id",
        "events[6].timestamp",
        "events[7]",
    ];
    assert_eq!(fields, expected, "{errors:#?}");
    assert_eq!(errors[2].1, "is required");
    assert_eq!(errors[3].1, "must be an object");
    assert_eq!(errors[4].1, "must be a string");
    assert_eq!(stored(&app).await, (0, 0, 0, 0));
}

#[tokio::test]
async fn what_is_wrong_with_an_event_is_named() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    app.endpoint(&org, "inkode", "http://127.0.0.1:9/", &[]).await;
    let long = format!(r#"{{"type": "qr.created", "data": {{}}, "id": "{}"}}"#, "x".repeat(256));
    let deep = format!(r#"{{"type": "qr.created", "data": {}1{}}}"#, "[".repeat(129), "]".repeat(129));
    for (body, field) in [
        (r#"{"type": "qr.melted", "data": {}}"#, "type"),
        (r#"{"type": "QR.CREATED", "data": {}}"#, "type"),
        (r#"{"type": "", "data": {}}"#, "type"),
        (r#"{"type": "qr.created\u0000", "data": {}}"#, "type"),
        (r#"{"type": null, "data": {}}"#, "type"),
        (r#"{"type": ["qr.created"], "data": {}}"#, "type"),
        (r#"{"data": {}}"#, "type"),
        (r#"{"type": "qr.created"}"#, "data"),
        (r#"{"type": "qr.created", "type": "qr.deleted", "data": {}}"#, "type"),
        (r#"{"type": "qr.created", "data": {"n": 9007199254740993}}"#, "data.n"),
        (r#"{"type": "qr.created", "data": {"a": [1, {"b": 1e999}]}}"#, "data.a[1].b"),
        (r#"{"type": "qr.created", "data": [-9007199254740993]}"#, "data[0]"),
        (r#"{"type": "qr.created", "data": {}, "id": ""}"#, "id"),
        (r#"{"type": "qr.created", "data": {}, "id": "a\u0000b"}"#, "id"),
        (r#"{"type": "qr.created", "data": {}, "id": 17}"#, "id"),
        (&long, "id"),
        (&deep, "data"),
        (r#"{"type": "qr.created", "data": {}, "timestamp": "2026-02-30T00:00:00Z"}"#, "timestamp"),
        (r#"{"type": "qr.created", "data": {}, "timestamp": "2026-03-02"}"#, "timestamp"),
        (r#"{"type": "qr.created", "data": {}, "timestamp": "+200000-01-01T00:00:00Z"}"#, "timestamp"),
        (r#"{"type": "qr.created", "data": {}, "timestamp": "0000-01-01T00:00:00Z"}"#, "timestamp"),
        (r#"{"type": "qr.created", "data": {}, "timestamp": 1767225600}"#, "timestamp"),
        (r#"{"type": "qr.created", "data": {}"#, ""),
        (r#"{"type": "qr.created", "data": {},}"#, ""),
        (r#"{"type": "qr.created", "data": {}} {}"#, ""),
        (r#"{'type': 'qr.created'}"#, ""),
        (r#"["qr.created", {}, null, null]"#, ""),
        (r#""qr.created""#, ""),
        ("null", ""),
        ("", ""),
        ("NaN", ""),
        ("{\"type\": \"qr.created\", \"data\": {\"a\": \"\u{1}\"}}", ""),
    ] {
        let field = if body == deep { format!("data{}", "[0]".repeat(128)) } else { field.to_owned() };
        refuse(&app, &org, EVENTS, body, 400, &field).await;
    }
    for (body, field) in
        [("{}", "events"), (r#"{"events": {}}"#, "events"), (r#"{"events": null}"#, "events"), ("[]", "")]
    {
        refuse(&app, &org, BATCH, body, 400, field).await;
    }
}

#[tokio::test]
async fn what_a_type_does_not_need_is_ignored_and_null_says_nothing() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let body = json!({
        "type": "qr.created", "data": {"id": "qr_1"}, "id": null, "timestamp": null,
        "priority": 9, "meta": {"deep": [1, 2, 3]}, "": "",
    });
    app.post(EVENTS, &auth(&org), body.clone()).await.expect(202);
    app.post(BATCH, &auth(&org), json!({"events": [body], "atomic": true})).await.expect(202);
    assert_eq!(stored(&app).await, (2, 0, 0, 0));
}

#[tokio::test]
async fn characters_that_postgres_cannot_keep_reach_the_subscriber_all_the_same() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Reply::ok()));
    app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    let body = r#"{"type": "qr.created", "data": {"nul\u0000": "a\u0000b", "lone": "\ud800"}}"#;
    let key = org.key("ink_").to_owned();
    app.send("POST", EVENTS, &[("x-api-key", &key)], Some(body.into())).await.expect(202);
    app.drain().await;
    let sent = String::from_utf8(receiver.received().remove(0).body).unwrap();
    let data = r#""payload":{"nul\u0000":"a\u0000b","lone":"\ud800"}"#;
    assert!(sent.contains(data), "{sent}");
}

#[tokio::test]
async fn the_time_of_an_event_is_what_subscribers_read() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Reply::ok()));
    app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    for (given, shown) in [
        (Some("2025-12-31T23:59:59.1239+02:00"), "2025-12-31T21:59:59.123Z"),
        (Some("1970-01-01T00:00:00Z"), "1970-01-01T00:00:00.000Z"),
        (Some("9999-12-31T23:59:59.999Z"), "9999-12-31T23:59:59.999Z"),
        (None, "2026-03-02T12:00:00.000Z"),
    ] {
        let body = json!({"type": "qr.created", "data": {}, "timestamp": given});
        app.post(EVENTS, &auth(&org), body).await.expect(202);
        app.drain().await;
        let body: Value = serde_json::from_slice(&receiver.received().last().unwrap().body).unwrap();
        assert_eq!(body["timestamp"], shown);
    }
}

#[tokio::test]
async fn an_event_is_at_most_256_kib() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let most = 256 * 1024;
    let event_of = |bytes: usize| {
        let frame = r#"{"type":"qr.created","data":{"text":""}}"#;
        frame.replace(r#""text":"""#, &format!(r#""text":"{}""#, "x".repeat(bytes - frame.len())))
    };
    let (fits, too_large) = (event_of(most), event_of(most + 1));
    assert_eq!((fits.len(), too_large.len()), (most, most + 1));
    refuse(&app, &org, EVENTS, &too_large, 413, "").await;
    // Much too large: told before the whole of it has arrived.
    refuse(&app, &org, EVENTS, &event_of(9 * 1024 * 1024), 413, "").await;
    refuse(&app, &org, BATCH, &event_of(9 * 1024 * 1024), 413, "").await;
    refuse(&app, &org, BATCH, &format!(r#"{{"events":[{fits},{too_large}]}}"#), 400, "events[1]").await;

    let key = org.key("ink_").to_owned();
    for (path, body) in [(EVENTS, fits.clone()), (BATCH, format!(r#"{{"events":[{fits},{fits}]}}"#))] {
        app.send("POST", path, &[("x-api-key", &key)], Some(body)).await.expect(202);
    }
    assert_eq!(stored(&app).await.0, 3);
}
