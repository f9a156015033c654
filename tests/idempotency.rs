//! `Idempotency-Key`: the same request twice is done once, and answered twice.

use std::collections::HashSet;

use domain::{idempotency, org, plan::Plan};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{Reply, TestApp, TestOrg};

const NOWHERE: &str = "http://127.0.0.1:9/hook";

/// A route that takes the key.
struct Route {
    path: String,
    auth: (&'static str, String),
    member: (&'static str, String),
    body: Value,
    other_body: Value,
    status: u16,
    table: &'static str,
}

fn routes(app: &TestApp, org: &TestOrg) -> Vec<Route> {
    let bearer = |token: &str| ("authorization", format!("Bearer {token}"));
    let endpoint = |path: &str, auth, member, body: Value| {
        let mut other_body = body.clone();
        other_body["url"] = "http://127.0.0.1:8/".into();
        Route { path: path.into(), auth, member, body, other_body, status: 201, table: "endpoints" }
    };
    let event = |path: &str, body: Value, other_body: Value| Route {
        path: path.into(),
        auth: ("x-api-key", org.key("ink_").into()),
        member: ("x-api-key", org.member_key("ink_").into()),
        body,
        other_body,
        status: 202,
        table: "events",
    };
    let happened = json!({"type": "qr.created", "data": {}});
    vec![
        endpoint(
            "/api/webhooks/endpoints",
            bearer(&org.session(app)),
            bearer(&org.member_session(app)),
            json!({"url": NOWHERE}),
        ),
        endpoint(
            &format!("/api/v1/organizations/{}/webhooks", org.id),
            ("x-api-key", org.key("ilqr_").into()),
            ("x-api-key", org.member_key("ilqr_").into()),
            json!({"url": NOWHERE, "events": ["qr.created"], "secret": "a-secret-of-mine"}),
        ),
        endpoint(
            "/api/v1/webhook/endpoints",
            ("api-key", org.key("secret_live_").into()),
            ("api-key", org.member_key("secret_live_").into()),
            json!({"url": NOWHERE}),
        ),
        endpoint(
            "/v1/webhook_endpoints",
            bearer(org.key("inkr_")),
            bearer(org.member_key("inkr_")),
            json!({"url": NOWHERE, "events": ["submission.sent"]}),
        ),
        endpoint(
            "/api/v1/webhooks/",
            bearer(org.key("smk_")),
            bearer(org.member_key("smk_")),
            json!({"url": NOWHERE, "events": ["scan.created"]}),
        ),
        event("/api/v1/events", happened.clone(), json!({"type": "qr.deleted", "data": {}})),
        event("/api/v1/events/batch", json!({"events": [happened]}), json!({"events": [happened, happened]})),
        Route {
            table: "links",
            body: json!({"destination": "https://shop.example/"}),
            other_body: json!({"destination": "https://shop.example/x"}),
            ..endpoint("/api/links", bearer(&org.session(app)), bearer(&org.member_session(app)), json!({}))
        },
    ]
}

impl Route {
    async fn send(&self, app: &TestApp, key: &str, auth: &(&str, String), body: &Value) -> Reply {
        let headers = [(auth.0, auth.1.as_str()), ("Idempotency-Key", key)];
        app.send("POST", &self.path, &headers, Some(body.to_string())).await
    }

    async fn rows(&self, app: &TestApp) -> i64 {
        let statement = format!("select count(*) from {}", self.table);
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(app.store.pool()).await.unwrap()
    }
}

#[tokio::test]
async fn the_same_key_and_body_get_the_same_answer_and_another_body_gets_none() {
    let app = TestApp::start().await;
    app.leaves_jobs("delivery.attempt");
    let org = app.org("acme").await;
    for route in routes(&app, &org) {
        let before = route.rows(&app).await;
        let first = route.send(&app, "k-1", &route.auth, &route.body).await;
        assert_eq!(first.status, route.status, "{} {}", route.path, first.text);
        assert_eq!(first.header("idempotency-replayed"), None);
        let again = route.send(&app, "k-1", &route.auth, &route.body).await;
        assert_eq!((again.status, &again.text), (first.status, &first.text), "{}", route.path);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.header("content-type"), first.header("content-type"));

        let conflict = route.send(&app, "k-1", &route.auth, &route.other_body).await;
        assert_eq!(conflict.status, 409, "{} {}", route.path, conflict.text);
        assert!(conflict.text.contains("another body"), "{}", conflict.text);
        assert_eq!(route.rows(&app).await, before + 1, "{}", route.path);

        let next = route.send(&app, "k-2", &route.auth, &route.body).await;
        assert_eq!(next.status, route.status);
        assert_ne!(next.text, first.text);
        assert_eq!(route.rows(&app).await, before + 2, "{}", route.path);
    }
}

#[tokio::test]
async fn a_key_is_of_one_organisation_and_one_route() {
    let app = TestApp::start().await;
    app.leaves_jobs("delivery.attempt");
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let mut answers = HashSet::new();
    for route in routes(&app, &org).into_iter().chain(routes(&app, &other)) {
        let answer = route.send(&app, "the-same", &route.auth, &route.body).await;
        assert_eq!(answer.status, route.status, "{} {}", route.path, answer.text);
        assert_eq!(answer.header("idempotency-replayed"), None, "{}", route.path);
        answers.insert(answer.text);
    }
    assert_eq!(answers.len(), 16);
}

#[tokio::test]
async fn at_once_it_is_done_once_and_the_others_get_its_answer_or_a_conflict() {
    let app = TestApp::start().await;
    app.leaves_jobs("delivery.attempt");
    let org = app.org("acme").await;
    for route in routes(&app, &org) {
        let before = route.rows(&app).await;
        let calls = (0..12).map(|_| route.send(&app, "rush", &route.auth, &route.body));
        let replies = join_all(calls).await;
        let done: Vec<&Reply> = replies.iter().filter(|reply| reply.status == route.status).collect();
        assert_eq!(done.iter().filter(|reply| reply.header("idempotency-replayed").is_none()).count(), 1);
        assert!(done.iter().all(|reply| reply.text == done[0].text));
        for reply in replies.iter().filter(|reply| reply.status != route.status) {
            assert_eq!((reply.status, reply.header("retry-after")), (409, Some("1")), "{}", reply.text);
        }
        assert_eq!(route.rows(&app).await, before + 1, "{}", route.path);
    }
}

#[tokio::test]
async fn while_the_first_is_under_way_the_second_is_told_to_come_again() {
    let app = TestApp::start().await;
    app.leaves_jobs("delivery.attempt");
    let org = app.org("acme").await;
    for (route, operation) in routes(&app, &org).iter().zip([
        "createWebhookEndpoint",
        "createIloveqrWebhook",
        "createInklinkEndpoint",
        "createInkrEndpoint",
        "createQrstudioWebhook",
        "publishEvent",
        "publishEvents",
        "createLink",
    ]) {
        let mut first = app.store.begin().await.unwrap();
        idempotency::take(&mut first, org.id, operation, "slow").await.unwrap();
        let told = route.send(&app, "slow", &route.auth, &route.body).await;
        assert_eq!((told.status, told.header("retry-after")), (409, Some("1")), "{} {}", route.path, told.text);
        // The first is lost, with its process or its connection: the second may.
        drop(first);
        let mut answer = route.send(&app, "slow", &route.auth, &route.body).await;
        // The rollback of a dropped transaction happens behind it.
        for _ in 0..100 {
            if answer.status != 409 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            answer = route.send(&app, "slow", &route.auth, &route.body).await;
        }
        assert_eq!(answer.status, route.status, "{}", answer.text);
    }
}

#[tokio::test]
async fn what_failed_is_not_stored_under_the_key() {
    let app = TestApp::start().await;
    app.leaves_jobs("delivery.attempt");
    let org = app.org("acme").await;
    for route in routes(&app, &org) {
        let refused = route.send(&app, "k", &route.auth, &json!({"url": "nowhere", "type": "x", "events": []})).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        let answer = route.send(&app, "k", &route.auth, &route.body).await;
        assert_eq!(answer.status, route.status, "{}", answer.text);
        assert_eq!(answer.header("idempotency-replayed"), None);
    }
}

#[tokio::test]
async fn a_member_does_not_get_an_owners_answer_with_its_secret() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for route in routes(&app, &org).into_iter().filter(|route| route.table == "endpoints") {
        assert_eq!(route.send(&app, "k", &route.auth, &route.body).await.status, 201);
        let refused = route.send(&app, "k", &route.member, &route.body).await;
        assert!(matches!(refused.status, 403 | 500), "{} {}", route.path, refused.text);
        assert!(refused.text.contains("needs the role owner or admin"), "{}", refused.text);
    }
}

#[tokio::test]
async fn the_answer_stays_when_the_request_would_be_refused_by_now() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let route = routes(&app, &org).remove(4);
    let first = route.send(&app, "k", &route.auth, &route.body).await;
    let mut conn = app.store.pool().acquire().await.unwrap();
    assert!(org::set_plan(&mut conn, org.id, Plan::Free).await.unwrap());
    assert_eq!(route.send(&app, "new", &route.auth, &route.body).await.status, 403);
    let again = route.send(&app, "k", &route.auth, &route.body).await;
    assert_eq!((again.status, again.text), (201, first.text));
}

#[tokio::test]
async fn a_repeated_client_id_is_answered_with_its_own_status_again() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let body = json!({"type": "qr.created", "data": {}, "id": "mine"});
    let route = routes(&app, &org).remove(5);
    let first = route.send(&app, "a", &route.auth, &body).await;
    let repeated = route.send(&app, "b", &route.auth, &body).await;
    assert_eq!((first.status, repeated.status), (202, 200));
    assert_eq!(first.json, repeated.json);
    for (key, status) in [("a", 202), ("b", 200)] {
        let again = route.send(&app, key, &route.auth, &body).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (status, Some("true")));
        assert_eq!(again.json, first.json);
    }
}

#[tokio::test]
async fn a_key_is_1_to_255_characters() {
    let app = TestApp::start().await;
    app.leaves_jobs("delivery.attempt");
    let org = app.org("acme").await;
    for route in routes(&app, &org) {
        for key in ["", &"k".repeat(256)] {
            let refused = route.send(&app, key, &route.auth, &route.body).await;
            assert_eq!(refused.status, 400, "{} {}", route.path, refused.text);
            assert!(refused.text.contains("Idempotency-Key"), "{}", refused.text);
        }
        assert_eq!(route.send(&app, &"k".repeat(255), &route.auth, &route.body).await.status, route.status);
    }
}

#[tokio::test]
async fn stored_answers_are_sealed() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let route = routes(&app, &org).remove(0);
    let answer = route.send(&app, "k", &route.auth, &route.body).await;
    let secret = answer.json["secret"].as_str().unwrap();
    let stored: Vec<u8> =
        sqlx::query_scalar("select answer from idempotency_keys").fetch_one(app.store.pool()).await.unwrap();
    assert!(stored.len() > secret.len() && !stored.windows(8).any(|part| part == &secret.as_bytes()[..8]));
}
