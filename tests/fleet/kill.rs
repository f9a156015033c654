//! `kill -9` of a worker process, as it is built and run.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use secrecy::ExposeSecret;
use serde_json::json;

use super::until;
use crate::support::{
    Receiver, TestApp,
    receiver::{Reply, Script},
};

/// A worker process; it does not outlive the story.
struct Worker(Child);

impl Worker {
    fn start(app: &TestApp) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_inkfleet"))
            .args(["work", "--queues", "deliveries"])
            .env_clear()
            .env("DATABASE_URL", &app.database.url)
            .env("INKFLEET_SECRET_KEY", app.secret_key.expose_secret())
            .env("INKFLEET_ALLOW_PRIVATE_TARGETS", "true")
            .env("INKFLEET_ALLOW_HTTP_TARGETS", "true")
            .env("INKFLEET_SCHEDULER", "false")
            .env("INKFLEET_LOG", "error")
            .stdin(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_deliveries_of_a_killed_worker_are_made_by_another_within_two_seconds_or_so() {
    let app = TestApp::build().in_real_time().start().await;
    let org = app.org("acme").await;
    // The first three requests are never answered in the life of their worker.
    let receiver = Receiver::start(Script::by(|number, _| match number {
        0..3 => Reply::Delay(Duration::from_secs(7), Box::new(Reply::ok())),
        _ => Reply::ok(),
    }));
    app.endpoint(&org, "inklink", &receiver.url(), &[]).await;
    let doomed = Worker::start(&app);
    for n in 0..3 {
        app.publish(&org, "kyc.result.approved", json!({"n": n})).await;
    }
    receiver.wait_for(3).await;
    let other = Worker::start(&app);
    until("both workers have their sessions", || async {
        sqlx::query_scalar("select count(*) = 2 from job_workers").fetch_one(app.store.pool()).await.unwrap()
    })
    .await;

    let killed = Instant::now();
    drop(doomed);
    let received = receiver.wait_for(6).await;
    let took = received[5].at - killed;
    assert!(took < Duration::from_secs(4), "the others took over after {took:?}");
    let ids = |part: &[crate::support::receiver::Received]| {
        let mut ids: Vec<_> = part.iter().map(|r| r.header("webhook-id").unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&received[..3]), ids(&received[3..]));
    until("all are recorded", || async {
        sqlx::query_scalar("select count(*) = 3 from deliveries where state = 'delivered'")
            .fetch_one(app.store.pool())
            .await
            .unwrap()
    })
    .await;
    drop(other);
}
