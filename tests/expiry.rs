//! The end of what has expired: the owner's switch, the event and the route, together and once.

use chrono::Duration;
use serde_json::{Value, json};

use crate::support::{Receiver, TestApp, TestOrg, app::CRON_SECRET, receiver::Reply};

async fn link(app: &TestApp, org: &TestOrg, slug: &str, expires_at: &str) -> String {
    let body = json!({"destination": "https://shop.example", "slug": slug, "expiresAt": expires_at});
    let made = app.owner(org, "POST", "/api/links", Some(body)).await.expect(201);
    format!("/api/links/{}", made["id"].as_str().unwrap())
}

async fn sweep(app: &TestApp) {
    app.send("POST", "/api/cron/expire", &[("x-cron-secret", CRON_SECRET)], None).await.expect(202);
    app.drain().await;
}

async fn is_active(app: &TestApp, org: &TestOrg, path: &str) -> Value {
    app.owner(org, "GET", path, None).await.expect(200)["active"].clone()
}

#[tokio::test]
async fn an_expired_link_is_switched_off_and_told_once() {
    let app = TestApp::start().await;
    let (acme, other) = (app.org("acme").await, app.org("other").await);
    let receiver = Receiver::start(Reply::ok());
    app.endpoint(&acme, "inkode", &receiver.url(), &["link.expired"]).await;
    let ends = link(&app, &acme, "ends", "2026-03-02T12:30:00Z").await;
    let later = link(&app, &acme, "later", "2026-03-02T14:00:00Z").await;
    let theirs = link(&app, &other, "theirs", "2026-03-02T12:30:00Z").await;
    sweep(&app).await;
    assert_eq!(is_active(&app, &acme, &ends).await, true, "its time is not over");

    app.clock.advance(Duration::minutes(30));
    for _ in 0..3 {
        sweep(&app).await;
        app.clock.advance(Duration::minutes(1));
    }
    assert_eq!(is_active(&app, &acme, &ends).await, false);
    assert_eq!(is_active(&app, &acme, &later).await, true);
    assert_eq!(is_active(&app, &other, &theirs).await, false);
    let told = receiver.received();
    assert_eq!(told.len(), 1, "one event, of one's own links only");
    let body: Value = serde_json::from_slice(&told[0].body).unwrap();
    assert_eq!(body["event"], "link.expired");
    assert_eq!(body["payload"]["slug"], "ends");

    // With another end it can be switched on again, and ends again.
    let again = json!({"active": true, "expiresAt": "2026-03-02T13:00:00Z"});
    app.owner(&acme, "PATCH", &ends, Some(again)).await.expect(200);
    sweep(&app).await;
    assert_eq!(is_active(&app, &acme, &ends).await, true);
    app.clock.advance(Duration::hours(1));
    sweep(&app).await;
    assert_eq!((is_active(&app, &acme, &ends).await, receiver.received().len()), (json!(false), 2));
}

#[tokio::test]
async fn more_than_one_portion_is_swept_in_one_go() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::ok());
    let endpoint = app.endpoint(&org, "inkode", &receiver.url(), &["link.expired"]).await;
    app.patch_endpoint(&org, &endpoint, json!({"enabled": false})).await;
    let many = "insert into links (id, org_id, domain, slug, destination, expires_at, created_at, updated_at)
                select gen_random_uuid(), $1, '', 'code-' || n, 'https://shop.example', $2, $2, $2
                from generate_series(1, 10450) n";
    sqlx::query(many).bind(org.id.0).bind(app.clock.now()).execute(app.store.pool()).await.unwrap();
    sweep(&app).await;
    let left = "select count(*) from links where active";
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(app.store.pool()).await.unwrap(), 0);
    let told: i64 = sqlx::query_scalar("select count(distinct data) from events where type = 'link.expired'")
        .fetch_one(app.store.pool())
        .await
        .unwrap();
    assert_eq!(told, 10_450);
}

#[tokio::test]
async fn an_event_that_cannot_be_stored_leaves_the_switch_on() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::ok());
    app.endpoint(&org, "inkode", &receiver.url(), &["link.expired"]).await;
    let path = link(&app, &org, "ends", "2026-03-02T12:30:00Z").await;
    app.clock.advance(Duration::hours(1));
    let table = "alter table events rename to elsewhere";
    sqlx::query(table).execute(app.store.pool()).await.unwrap();
    sweep(&app).await;
    assert_eq!(is_active(&app, &org, &path).await, true);
    sqlx::query("alter table elsewhere rename to events").execute(app.store.pool()).await.unwrap();
    app.pass(Duration::seconds(5)).await;
    assert_eq!(is_active(&app, &org, &path).await, false);
}
