//! Housekeeping: days are made ahead of time and dropped when they are old, and what is kept for a time only is forgotten.

use std::collections::BTreeSet;

use chrono::Duration;
use jobs::schedule::ENTRIES;
use serde_json::json;

use crate::support::{Receiver, TestApp, receiver::Reply, webhook::text};

/// Announces every entry's present slot as each worker process does, and runs what is due.
async fn hour(app: &TestApp) {
    for entry in &ENTRIES {
        let mut tx = app.store.begin().await.unwrap();
        entry.announce(&mut tx, None, app.clock.now(), &app.chance).await.unwrap();
        tx.commit().await.unwrap();
    }
    app.drain().await;
}

/// The days for which a table has partitions, as `YYYYMMDD`.
async fn days(app: &TestApp, table: &str) -> BTreeSet<String> {
    let names: Vec<String> =
        sqlx::query_scalar("select inhrelid::regclass::text from pg_inherits where inhparent = $1::regclass")
            .bind(table)
            .fetch_all(app.store.pool())
            .await
            .unwrap();
    names.into_iter().map(|name| name.rsplit('_').next().unwrap().to_owned()).collect()
}

async fn count(app: &TestApp, table: &'static str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {table}")))
        .fetch_one(app.store.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_week_of_days_lies_ahead_and_what_is_older_than_thirty_days_goes() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::ok());
    let endpoint = app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    app.publish(&org, "qr.created", json!({})).await;
    app.drain().await;
    let id = app.only_delivery(&org, &endpoint).await;
    let (first, last) = ("20260301", "20260309");
    for table in ["events", "deliveries", "attempts", "visits"] {
        let days = days(&app, table).await;
        assert_eq!((days.len(), days.first().unwrap().as_str(), days.last().unwrap().as_str()), (9, first, last));
    }

    // A month of which every day is kept; each day's first hour makes the day a week later.
    for _ in 0..30 {
        app.clock.advance(Duration::days(1));
        hour(&app).await;
    }
    for table in ["events", "deliveries", "attempts", "visits"] {
        let days = days(&app, table).await;
        assert_eq!(
            (days.first().unwrap().as_str(), days.last().unwrap().as_str()),
            ("20260302", "20260408"),
            "{table}"
        );
        assert_eq!(days.len(), 38, "{table}");
    }
    assert_eq!(app.delivery(&org, &id).await["attempts"][0]["responseStatus"], 200);
    app.publish(&org, "qr.created", json!({})).await;
    app.drain().await;

    // On the next day the first one goes, with all that was in it, and nothing else.
    app.clock.advance(Duration::days(1));
    hour(&app).await;
    for table in ["events", "deliveries", "attempts", "visits"] {
        assert_eq!(days(&app, table).await.first().unwrap(), "20260303", "{table}");
        assert_eq!(count(&app, table).await, i64::from(table != "visits"), "{table}");
    }
    assert_eq!(app.owner(&org, "GET", &format!("/api/webhooks/deliveries/{id}"), None).await.status, 404);
    assert_eq!(app.states(&org, &endpoint).await, ["delivered"]);
}

#[tokio::test]
async fn conversions_are_kept_for_as_long_as_statistics_go_back() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let link = app.owner(&org, "POST", "/api/links", Some(json!({"destination": "https://shop.example"}))).await;
    let link = text(&link.expect(201)["id"]).to_owned();
    let body = json!({"orgId": org.id.to_string(), "sourceType": "link", "sourceId": link, "step": "purchase"});
    app.post("/api/public/conversions", "", body).await.expect(201);
    app.clock.advance(Duration::days(365));
    hour(&app).await;
    let path = format!("/api/links/{link}/stats?days=366");
    let stats = app.owner(&org, "GET", &path, None).await.expect(200);
    assert_eq!(stats["conversions"], json!([{"step": "purchase", "count": 1, "visitors": 1}]));
    app.clock.advance(Duration::days(3));
    hour(&app).await;
    assert_eq!(count(&app, "conversions").await, 0);
}

#[tokio::test]
async fn a_delivery_whose_day_is_dropped_while_it_waits_is_no_more_sent() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::ok());
    app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    app.publish(&org, "qr.created", json!({})).await;
    // No worker runs deliveries for a month, only the housekeeping is done.
    app.clock.advance(Duration::days(40));
    let mut conn = app.store.pool().acquire().await.unwrap();
    let before = (app.clock.now() - Duration::days(30)).date_naive();
    let dropped = domain::partition::drop_before(&mut conn, before).await.unwrap();
    assert_eq!((dropped.gone.len(), dropped.left), (36, 0));
    app.drain().await;
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn a_long_reader_puts_off_the_dropping_of_days_and_nothing_else() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let mut reader = app.store.pool().begin().await.unwrap();
    for table in ["events", "deliveries", "attempts", "visits"] {
        let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let _: i64 = sqlx::query_scalar(count).fetch_one(&mut *reader).await.unwrap();
    }
    // The first day is past retention by now; the days ahead are made beside the reader.
    app.clock.advance(Duration::days(31));
    hour(&app).await;
    let kept = days(&app, "events").await;
    assert_eq!((kept.first().unwrap().as_str(), kept.last().unwrap().as_str()), ("20260301", "20260409"));
    // Nobody waits behind the housekeeping, which asked for what it could not have.
    app.publish(&org, "qr.created", json!({})).await;
    reader.rollback().await.unwrap();
    app.clock.advance(Duration::hours(1));
    hour(&app).await;
    assert_eq!(days(&app, "events").await.first().unwrap(), "20260303");
}

#[tokio::test]
async fn a_day_that_is_made_twice_at_once_is_made_once() {
    let app = TestApp::start().await;
    app.clock.advance(Duration::days(20));
    let mut conns = vec![];
    for _ in 0..4 {
        conns.push(app.store.pool().acquire().await.unwrap());
    }
    let now = app.clock.now();
    let makers = conns.iter_mut().map(|conn| domain::partition::ensure(conn, now));
    let made = futures::future::join_all(makers).await;
    // One that had to wait for too long says so, and is asked again in an hour.
    assert!(made.iter().all(Result::is_ok) && made.iter().any(|made| *made.as_ref().unwrap()), "{made:?}");
    for table in ["events", "deliveries", "attempts", "visits"] {
        assert_eq!(days(&app, table).await.last().unwrap(), "20260329");
    }
}

#[tokio::test]
async fn mails_and_replays_that_ended_are_forgotten_with_the_days_they_were_about() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::ok());
    let endpoint = app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    let path = format!("/api/webhooks/endpoints/{}/replay", text(&endpoint["id"]));
    let replay = app.owner(&org, "POST", &path, Some(json!({}))).await.expect(202);
    let paused = app.owner(&org, "POST", &path, Some(json!({}))).await.expect(202);
    let pause = format!("/api/webhooks/replays/{}/pause", text(&paused["id"]));
    app.owner(&org, "POST", &pause, None).await.expect(200);
    for (slot, state) in [("1", "sent"), ("2", "failed"), ("3", "waiting")] {
        sqlx::query(
            "insert into mails (id, org_id, kind, slot, recipient, subject, text_body, html_body, state, created_at)
             values ($1, $2, 'story.told', $3, 'ann@acme.example', 'S', 'T', 'H', $4, $5)",
        )
        .bind(domain::id::MailId::new(app.clock.now(), &app.chance).0)
        .bind(org.id.0)
        .bind(slot)
        .bind(state)
        .bind(app.clock.now())
        .execute(app.store.pool())
        .await
        .unwrap();
    }
    app.drain().await;
    app.clock.advance(Duration::days(30) - Duration::hours(1));
    hour(&app).await;
    assert_eq!((count(&app, "mails").await, count(&app, "replays").await), (3, 2));
    app.clock.advance(Duration::hours(2));
    hour(&app).await;
    // What still waits is nobody's past: the mail for its transport, the replay for its owner.
    assert_eq!((count(&app, "mails").await, count(&app, "replays").await), (1, 1));
    let path = format!("/api/webhooks/replays/{}", text(&replay["id"]));
    assert_eq!(app.owner(&org, "GET", &path, None).await.status, 404);
}

#[tokio::test]
async fn idempotency_keys_are_forgotten_after_a_day_and_clients_own_ids_after_thirty() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let auth = format!("Bearer {}", org.session(&app));
    let body = json!({"url": "http://127.0.0.1:9/hook"}).to_string();
    let headers = [("authorization", auth.as_str()), ("idempotency-key", "once")];
    let create = || app.send("POST", "/api/webhooks/endpoints", &headers, Some(body.clone()));
    let first = create().await.expect(201);
    let key = format!("x-api-key: {}", org.key("ink_"));
    let event = json!({"type": "member.left", "data": {}, "id": "mine"});
    let publish = || app.post("/api/v1/events", &key, event.clone());
    let told = publish().await.expect(202);

    app.clock.advance(Duration::hours(23));
    hour(&app).await;
    assert_eq!(create().await.expect(201)["id"], first["id"]);
    app.clock.advance(Duration::hours(2));
    hour(&app).await;
    assert_eq!(count(&app, "idempotency_keys").await, 0);
    assert_ne!(create().await.expect(201)["id"], first["id"]);

    for _ in 0..28 {
        app.clock.advance(Duration::days(1));
        hour(&app).await;
    }
    assert_eq!(text(&publish().await.expect(200)["id"]), text(&told["id"]));
    app.clock.advance(Duration::days(1));
    hour(&app).await;
    assert_eq!(count(&app, "event_client_ids").await, 0);
    assert_ne!(publish().await.expect(202)["id"], told["id"]);
}

#[tokio::test]
async fn a_slot_that_many_processes_announce_is_kept_once_and_forgotten_in_time() {
    const KEPT: &str = "job_history where kind = 'house.keep'";
    let app = TestApp::start().await;
    for _ in 0..3 {
        hour(&app).await;
    }
    assert_eq!(count(&app, KEPT).await, 1);
    let occasions = count(&app, "job_occasions").await;
    assert_eq!(occasions, ENTRIES.len() as i64);
    for days in [4, 32] {
        app.clock.advance(Duration::days(days));
        hour(&app).await;
    }
    // The history of four days ago is gone; so are the occasions of 36 days ago.
    assert_eq!(count(&app, KEPT).await, 1);
    assert_eq!(count(&app, "job_occasions").await, 2 * ENTRIES.len() as i64);
}
