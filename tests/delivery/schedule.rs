//! The five schedules, walked on the fixed clock through the whole program.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use crate::support::{
    Receiver, TestApp, TestOrg,
    receiver::{Received, Reply, Script},
    webhook::{moment, type_of},
};

/// How much real time a request may take, by which gaps begin later and a clock that stands still seems late.
const LEEWAY: Duration = Duration::seconds(1);

/// A delivery of one dialect whose receiver answers by a script.
struct Walk {
    app: TestApp,
    org: TestOrg,
    receiver: Receiver,
    id: String,
    began: DateTime<Utc>,
}

impl Walk {
    async fn begin(dialect: &str, script: impl Into<Script>) -> Self {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        let receiver = Receiver::start(script);
        let endpoint = app.endpoint(&org, dialect, &receiver.url(), &[]).await;
        app.publish(&org, type_of(dialect), json!({"n": 1})).await;
        let (id, began) = (app.only_delivery(&org, &endpoint).await, app.clock.now());
        Self { app, org, receiver, id, began }
    }

    async fn look(&self) -> Value {
        self.app.delivery(&self.org, &self.id).await
    }

    /// When the next attempt is due, or `None` once the delivery has ended.
    async fn next(&self) -> Option<DateTime<Utc>> {
        let delivery = self.look().await;
        delivery["delivery"]["nextAttemptAt"].is_string().then(|| moment(&delivery["delivery"]["nextAttemptAt"]))
    }

    /// When the last request was over.
    async fn ended(&self) -> DateTime<Utc> {
        let delivery = self.look().await;
        let attempt = delivery["attempts"].as_array().unwrap().last().unwrap().clone();
        moment(&attempt["startedAt"]) + Duration::milliseconds(attempt["durationMs"].as_i64().unwrap())
    }

    /// Lets the time come for the next attempt, and shows that it is not made a second earlier.
    async fn step(&self) {
        let (sent, due) = (self.receiver.received().len(), self.next().await.expect("another attempt"));
        self.app.clock.set(due - Duration::seconds(1));
        self.app.drain().await;
        assert_eq!(self.receiver.received().len(), sent, "too early");
        // The answer shows whole milliseconds of what is kept in microseconds.
        self.app.clock.set(due + Duration::milliseconds(1));
        self.app.drain().await;
        assert_eq!(self.receiver.received().len(), sent + 1, "not at {due}");
    }

    /// Lets a month pass in which nothing more may be sent.
    async fn end(self, state: &str) -> Vec<Received> {
        let (sent, delivery) = (self.receiver.received().len(), self.look().await);
        assert_eq!(delivery["delivery"]["state"], state, "{delivery:#}");
        assert_eq!(delivery["delivery"]["attempts"], sent);
        for days in [1, 6, 23] {
            self.app.pass(Duration::days(days)).await;
        }
        assert_eq!(self.receiver.received().len(), sent);
        self.receiver.received()
    }
}

#[track_caller]
fn about(at: DateTime<Utc>, expected: DateTime<Utc>) {
    assert!(at >= expected - Duration::milliseconds(2) && at <= expected + LEEWAY, "{at}, not {expected}");
}

/// Walks a schedule of waits between the end of one request and the next.
async fn walk_gaps(dialect: &str, gaps: &[i64]) -> Vec<Received> {
    let walk = Walk::begin(dialect, Reply::status(500)).await;
    walk.app.drain().await;
    assert_eq!(walk.receiver.received().len(), 1);
    for gap in gaps {
        about(walk.next().await.unwrap(), walk.ended().await + Duration::seconds(*gap));
        walk.step().await;
    }
    walk.end("failed").await
}

/// Walks a schedule of moments counted from the event.
async fn walk_slots(dialect: &str, slots: &[i64]) -> Vec<Received> {
    let walk = Walk::begin(dialect, Reply::status(500)).await;
    walk.app.drain().await;
    assert_eq!(walk.receiver.received().len(), 1);
    for slot in slots {
        assert_eq!(walk.next().await.unwrap(), walk.began + Duration::seconds(*slot));
        walk.step().await;
    }
    walk.end("failed").await
}

/// The values of a header over the attempts.
fn values<'a>(requests: &'a [Received], name: &str) -> Vec<&'a str> {
    requests.iter().map(|request| request.header(name).unwrap()).collect()
}

/// Bodies and ids are those of the first attempt; `dated`, a header with a time, is another one on each.
fn same_but(requests: &[Received], dated: Option<&str>) {
    assert!(requests.iter().all(|request| request.body == requests[0].body));
    let ids = values(requests, "webhook-id");
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let mut times = dated.map(|name| values(requests, name)).unwrap_or_default();
    let count = times.len();
    times.sort_unstable();
    times.dedup();
    assert_eq!(times.len(), count);
}

#[tokio::test]
async fn inkode_sends_once_and_three_times_more() {
    let requests = walk_gaps("inkode", &[60, 300, 1500]).await;
    assert_eq!(values(&requests, "x-inkode-attempt"), ["1", "2", "3", "4"]);
    same_but(&requests, None);
    let signatures = values(&requests, "x-inkode-signature");
    assert!(signatures.iter().all(|signature| *signature == signatures[0]));
}

#[tokio::test]
async fn iloveqr_sends_once_and_five_times_more() {
    let requests = walk_gaps("iloveqr", &[60, 300, 1800, 7200, 86_400]).await;
    assert_eq!(requests.len(), 6);
    same_but(&requests, None);
}

#[tokio::test]
async fn inklink_sends_in_five_slots_within_twelve_minutes() {
    let requests = walk_slots("inklink", &[30, 90, 270, 720]).await;
    let times: Vec<i64> = values(&requests, "webhook-timestamp").iter().map(|t| t.parse().unwrap()).collect();
    assert_eq!(times.iter().map(|t| t - times[0]).collect::<Vec<_>>(), [0, 30, 90, 270, 720]);
    same_but(&requests, Some("webhook-signature"));
}

#[tokio::test]
async fn inkr_sends_in_eight_slots_within_three_days() {
    let requests = walk_slots("inkr", &[30, 300, 1800, 7200, 21_600, 86_400, 259_200]).await;
    let times: Vec<i64> = values(&requests, "inkr-signature")
        .iter()
        .map(|value| value.strip_prefix("t=").unwrap().split_once(',').unwrap().0.parse().unwrap())
        .collect();
    let from_first: Vec<i64> = times.iter().map(|t| t - times[0]).collect();
    assert_eq!(from_first, [0, 30, 300, 1800, 7200, 21_600, 86_400, 259_200]);
    same_but(&requests, Some("inkr-signature"));
}

#[tokio::test]
async fn qrstudio_sends_five_times() {
    let requests = walk_gaps("qrstudio", &[60, 300, 1800, 7200]).await;
    assert_eq!(requests.len(), 5);
    same_but(&requests, Some("x-qrstudio-signature"));
}

#[tokio::test]
async fn a_success_ends_the_schedule() {
    let walk =
        Walk::begin("inkr", Script::sequence([Reply::status(500), Reply::CloseWithoutAnswer, Reply::ok()])).await;
    walk.app.drain().await;
    walk.step().await;
    let why = "Attempt 2 failed (Connection closed before the response was complete). The Inkr schedule allows 8; \
               number 3 is due at 2026-03-02T12:05:00Z.";
    assert_eq!(walk.look().await["delivery"]["why"], why);
    walk.step().await;
    assert_eq!(walk.end("delivered").await.len(), 3);
}

#[tokio::test]
async fn slots_that_an_outage_of_the_workers_swallowed_are_made_up_at_once_one_after_the_other() {
    let walk = Walk::begin("inklink", Reply::status(500)).await;
    walk.app.drain().await;
    // No worker runs for five minutes: 30, 90 and 270 s pass.
    walk.app.clock.advance(Duration::seconds(300));
    for number in 2..=4 {
        walk.app.drain().await;
        assert_eq!(walk.receiver.received().len(), number, "one after the other");
        if number < 4 {
            about(walk.next().await.unwrap(), walk.app.clock.now());
            walk.app.clock.advance(LEEWAY);
        }
    }
    // The last slot is still ahead and keeps its time.
    assert_eq!(walk.next().await.unwrap(), walk.began + Duration::seconds(720));
    walk.step().await;
    let requests = walk.end("failed").await;
    let times: Vec<i64> = values(&requests, "webhook-timestamp").iter().map(|t| t.parse().unwrap()).collect();
    assert_eq!(times.iter().map(|t| t - times[0]).collect::<Vec<_>>(), [0, 300, 301, 302, 720]);
}

#[tokio::test]
async fn an_outage_that_outlasts_every_slot_costs_no_attempt() {
    let walk = Walk::begin("inklink", Reply::status(500)).await;
    walk.app.clock.advance(Duration::hours(2));
    for number in 1..=5 {
        walk.app.drain().await;
        assert_eq!(walk.receiver.received().len(), number);
        walk.app.clock.advance(LEEWAY);
    }
    assert_eq!(walk.end("failed").await.len(), 5);
}

/// When the second attempt is due after a first answer of `status` with `Retry-After`.
async fn second_after(dialect: &str, status: u16, retry_after: &str) -> (i64, String) {
    let reply = Reply::status(status).with_header("Retry-After", retry_after);
    let walk = Walk::begin(dialect, Script::sequence([reply, Reply::ok()])).await;
    walk.app.drain().await;
    let (next, why) = (walk.next().await.unwrap(), walk.look().await["delivery"]["why"].clone());
    walk.step().await;
    let after = (next - walk.began).num_seconds();
    walk.end("delivered").await;
    (after, why.as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_receiver_that_asks_to_wait_is_left_alone_until_the_following_slot_at_most() {
    // Within the minute to the second attempt, and the five more to the third.
    let (after, why) = second_after("inkode", 429, "120").await;
    assert_eq!(after, 120);
    assert!(why.ends_with("is due at 2026-03-02T12:02:00Z, put off by the receiver's Retry-After."), "{why}");
    assert_eq!(second_after("inkode", 503, "99999999").await.0, 360);
    assert_eq!(second_after("inklink", 503, "99999999").await.0, 90);
    assert_eq!(second_after("inklink", 429, "45").await.0, 45);
    assert_eq!(second_after("qrstudio", 503, "Mon, 02 Mar 2026 12:03:20 GMT").await.0, 200);
}

#[tokio::test]
async fn a_receiver_brings_nothing_forward_and_other_answers_put_nothing_off() {
    let (after, why) = second_after("inkode", 503, "1").await;
    assert_eq!(after, 60);
    assert!(why.ends_with("is due at 2026-03-02T12:01:00Z."), "{why}");
    assert_eq!(second_after("inklink", 503, "0").await.0, 30);
    assert_eq!(second_after("inkode", 500, "120").await.0, 60);
    assert_eq!(second_after("inkode", 302, "120").await.0, 60);
}
