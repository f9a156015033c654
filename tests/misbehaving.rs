//! Receivers that misbehave, beside healthy ones, through the running fleet and in real time: their attempts end within the
//! time-out and are on record, and the others' deliveries are on time.

use std::time::{Duration, Instant};

use jobs::job::Queue;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use workers::fleet;

use crate::support::{
    Receiver, TestApp, TestOrg,
    receiver::Reply,
    webhook::{moment, text},
};

/// The dialects' time-out here, and how much later an attempt may end.
const TIMEOUT_MS: i64 = 5000;
const LEEWAY_MS: i64 = 100;

/// The fleet of one process, running until it is stopped.
struct Fleet {
    stop: CancellationToken,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Fleet {
    fn start(app: &TestApp, concurrency: usize) -> Self {
        let stop = CancellationToken::new();
        let options = fleet::Options {
            name: "story".into(),
            queues: Queue::ALL.to_vec(),
            concurrency,
            grace: Duration::from_millis(100),
            scheduler: false,
            direct: app.direct(),
        };
        let running = tokio::spawn(fleet::run(app.context.clone(), options, stop.clone()));
        Self { stop, running }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

/// The only delivery of an endpoint, once its first attempt is on record.
async fn attempted(app: &TestApp, org: &TestOrg, endpoint: &Value, deadline: Instant) -> Value {
    let id = app.only_delivery(org, endpoint).await;
    loop {
        let delivery = app.delivery(org, &id).await;
        if delivery["delivery"]["attempts"] == 1 {
            return delivery;
        }
        assert!(Instant::now() < deadline, "not on record: {delivery:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_receivers_do_their_attempts_end_in_time_and_the_healthy_ones_are_served_at_once() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let timed_out = "Read timed out";
    let closed = "Connection closed before the response was complete";
    // Their reply, the status on record, the error on record, and whether it took the whole time-out.
    let kinds: Vec<(Reply, Option<u16>, &str, bool)> = vec![
        (Reply::Hang, None, timed_out, true),
        (Reply::SlowHeaders, None, timed_out, true),
        (Reply::Drip, Some(200), timed_out, true),
        (Reply::EndlessBody, Some(200), "Response body longer than 64 KiB, not read to its end", false),
        (Reply::GzipBomb, Some(200), "Response body longer than 64 KiB, not read to its end", false),
        (Reply::HugeHeaders, None, "Response headers too large", false),
        (Reply::ManyHeaders, None, "Response headers too large", false),
        (Reply::ResetAfterHeaders, Some(200), "Connection reset", false),
        (Reply::BrokenBody, Some(200), closed, false),
        (Reply::CloseWithoutAnswer, None, closed, false),
        (Reply::RedirectLoop, Some(302), "", false),
        (Reply::InformationalFlood, None, "Too many interim responses", false),
        (Reply::InvalidUtf8, Some(200), "", false),
    ];
    let mut bad = vec![];
    for (reply, status, error, whole) in kinds {
        let what = format!("{reply:?}");
        let receiver = Receiver::start(reply);
        let endpoint = app.endpoint(&org, "qrstudio", &receiver.url(), &["quota.threshold_100"]).await;
        bad.push((what, receiver, endpoint, status, error, whole));
    }
    let healthy = Receiver::start(Reply::ok());
    app.endpoint(&org, "qrstudio", &healthy.url(), &["scan.created"]).await;

    let fleet = Fleet::start(&app, 64);
    app.publish(&org, "quota.threshold_100", json!({})).await;
    // All of the bad ones have their request before the healthy one's turn comes.
    for (_, receiver, ..) in &bad {
        receiver.wait_for(1).await;
    }
    for n in 1..=20 {
        let began = Instant::now();
        app.publish(&org, "scan.created", json!({"n": n})).await;
        healthy.wait_for(n).await;
        assert!(began.elapsed() < Duration::from_secs(1), "number {n} took {:?}", began.elapsed());
    }

    let deadline = Instant::now() + Duration::from_secs(8);
    for (what, receiver, endpoint, status, error, whole) in &bad {
        let delivery = attempted(&app, &org, endpoint, deadline).await;
        let attempt = &delivery["attempts"][0];
        assert_eq!(attempt["responseStatus"], json!(status), "{what}: {attempt}");
        assert_eq!(attempt["error"].as_str().unwrap_or(""), *error, "{what}: {attempt}");
        assert!(attempt["responseBody"].as_str().unwrap().len() <= 16 * 1024, "{what}");
        let took_ms = attempt["durationMs"].as_i64().unwrap();
        assert!(took_ms <= TIMEOUT_MS + LEEWAY_MS, "{what} took {took_ms} ms");
        assert_eq!(took_ms >= TIMEOUT_MS, *whole, "{what} took {took_ms} ms");
        let state = if status.is_some_and(|status| status < 300) { "delivered" } else { "pending" };
        assert_eq!(delivery["delivery"]["state"], state, "{what}");
        if state == "pending" {
            let next = moment(&delivery["delivery"]["nextAttemptAt"]);
            assert!(next >= app.clock.now() + chrono::Duration::seconds(60), "{what}");
        }
        assert_eq!(receiver.received().len(), 1, "{what}");
    }
    fleet.stop().await;
    app.leaves_jobs("delivery.attempt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_hangs_takes_no_more_than_its_share_of_the_slots() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let (hanging, healthy, foreign) =
        (Receiver::start(Reply::Hang), Receiver::start(Reply::ok()), Receiver::start(Reply::ok()));
    let bad = app.endpoint(&org, "inkode", &hanging.url(), &["qr.scanned"]).await;
    app.endpoint(&org, "inkode", &healthy.url(), &["link.clicked"]).await;
    app.endpoint(&other, "inkode", &foreign.url(), &["link.clicked"]).await;
    let auth = format!("x-api-key: {}", org.key("ink_"));
    let backlog: Vec<Value> = (0..300).map(|n| json!({"type": "qr.scanned", "data": {"n": n}})).collect();
    app.post("/api/v1/events/batch", &auth, json!({"events": backlog})).await.expect(202);

    let fleet = Fleet::start(&app, 64);
    // As many as one endpoint may have in flight hang, for ten seconds each.
    hanging.wait_for(32).await;
    for n in 1..=20 {
        let began = Instant::now();
        app.publish(&org, "link.clicked", json!({"n": n})).await;
        app.publish(&other, "link.clicked", json!({"n": n})).await;
        healthy.wait_for(n).await;
        foreign.wait_for(n).await;
        assert!(began.elapsed() < Duration::from_secs(1), "number {n} took {:?}", began.elapsed());
    }
    assert_eq!(hanging.received().len(), 32, "no more than its share");
    assert_eq!(app.endpoint_now(&org, &bad).await["health"], "active");
    assert!(text(&app.deliveries(&org, &bad).await[0]["state"]) == "pending");
    fleet.stop().await;
    app.leaves_jobs("delivery.attempt");
}
