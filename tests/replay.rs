//! Replays: past deliveries sent once more, at a rate, with progress, and each once whatever happens in between.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::support::{
    Receiver, TestApp, TestOrg,
    receiver::Reply,
    webhook::{moment, text},
};

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// An endpoint that was switched off while `held` events happened, a second apart, and is on again.
async fn with_held(held: usize) -> (TestApp, TestOrg, Receiver, Value) {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::ok());
    let endpoint = app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    app.patch_endpoint(&org, &endpoint, json!({"enabled": false})).await;
    for n in 0..held {
        let event_type = if n % 2 == 0 { "qr.created" } else { "qr.updated" };
        app.publish(&org, event_type, json!({"n": n})).await;
        app.clock.advance(Duration::seconds(1));
    }
    app.patch_endpoint(&org, &endpoint, json!({"enabled": true})).await;
    (app, org, receiver, endpoint)
}

async fn start(app: &TestApp, org: &TestOrg, endpoint: &Value, wish: Value) -> Value {
    let path = format!("/api/webhooks/endpoints/{}/replay", text(&endpoint["id"]));
    app.owner(org, "POST", &path, Some(wish)).await.expect(202)
}

async fn look(app: &TestApp, org: &TestOrg, replay: &Value) -> Value {
    app.owner(org, "GET", &format!("/api/webhooks/replays/{}", text(&replay["id"])), None).await.expect(200)
}

async fn turn(app: &TestApp, org: &TestOrg, replay: &Value, verb: &str) -> u16 {
    app.owner(org, "POST", &format!("/api/webhooks/replays/{}/{verb}", text(&replay["id"])), None).await.status
}

/// The numbers of the events in the order in which they arrived.
fn numbers(receiver: &Receiver) -> Vec<i64> {
    let number = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["payload"]["n"].as_i64();
    // A test's data has none.
    receiver.received().iter().map(|request| number(&request.body).unwrap_or(-1)).collect()
}

#[tokio::test]
async fn what_was_held_is_replayed_and_the_replay_says_how_far_it_is() {
    let (app, org, receiver, endpoint) = with_held(5).await;
    let replay = start(&app, &org, &endpoint, json!({})).await;
    assert_eq!((&replay["state"], &replay["total"], &replay["replayed"]), (&json!("running"), &json!(5), &json!(0)));
    app.drain().await;
    let replay = look(&app, &org, &replay).await;
    assert_eq!((&replay["state"], &replay["replayed"]), (&json!("done"), &json!(5)));
    assert_eq!(moment(&replay["finishedAt"]), app.clock.now());
    let mut seen = numbers(&receiver);
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    assert_eq!(app.states(&org, &endpoint).await, ["delivered"; 5]);
}

#[tokio::test]
async fn a_replay_takes_only_the_states_the_types_and_the_time_it_was_asked_for() {
    let (app, org, receiver, endpoint) = with_held(6).await;
    let began = app.clock.now() - Duration::seconds(6);
    // The first two are delivered by hand, and are no longer held.
    let deliveries = app.deliveries(&org, &endpoint).await;
    for delivery in &deliveries[..2] {
        app.retry(&org, text(&delivery["id"])).await.expect(202);
    }
    // A test is nobody's past event.
    app.try_out(&org, &endpoint).await;
    app.drain().await;
    app.clock.advance(Duration::seconds(1));
    let sent = receiver.received().len();
    assert_eq!(sent, 3);

    // Number 4 is of the other type, and 5 comes too late.
    let wish = json!({"states": ["held"], "eventTypes": ["qr.updated"], "to": rfc3339(began + Duration::seconds(5))});
    assert_eq!(start(&app, &org, &endpoint, wish).await["total"], 1);
    app.drain().await;
    assert_eq!(numbers(&receiver)[sent..], [3]);

    // A time range takes its beginning and not its end.
    let (from, to) = (rfc3339(began + Duration::seconds(2)), rfc3339(began + Duration::seconds(4)));
    assert_eq!(start(&app, &org, &endpoint, json!({"from": from, "to": to})).await["total"], 1);
    app.drain().await;
    assert_eq!(numbers(&receiver)[sent + 1..], [2]);

    // What was delivered goes again only where that is asked for, and tests never do.
    assert_eq!(start(&app, &org, &endpoint, json!({"states": ["delivered"]})).await["total"], 4);
    app.drain().await;
    let mut again = numbers(&receiver)[sent + 2..].to_vec();
    again.sort_unstable();
    assert_eq!(again, [0, 1, 2, 3]);
    assert_eq!(app.states(&org, &endpoint).await.iter().filter(|state| *state == "held").count(), 2);
}

#[tokio::test]
async fn a_replay_keeps_its_rate() {
    let (app, org, receiver, endpoint) = with_held(7).await;
    let replay = start(&app, &org, &endpoint, json!({"perSecond": 3})).await;
    app.drain().await;
    assert_eq!(receiver.received().len(), 3);
    assert_eq!(look(&app, &org, &replay).await["replayed"], 3);
    app.pass(Duration::milliseconds(999)).await;
    assert_eq!(receiver.received().len(), 3);
    app.pass(Duration::milliseconds(1)).await;
    assert_eq!(receiver.received().len(), 6);
    app.pass(Duration::seconds(1)).await;
    assert_eq!(receiver.received().len(), 7);
    assert_eq!(look(&app, &org, &replay).await["state"], "done");
    // Oldest first, second by second.
    let seen = numbers(&receiver);
    assert!(seen[..3].iter().all(|n| *n < 3) && seen[3..6].iter().all(|n| (3..6).contains(n)));
}

#[tokio::test]
async fn a_replay_is_paused_resumed_and_cancelled() {
    let (app, org, receiver, endpoint) = with_held(6).await;
    let replay = start(&app, &org, &endpoint, json!({"perSecond": 2})).await;
    app.drain().await;
    assert_eq!(turn(&app, &org, &replay, "resume").await, 409);
    assert_eq!(turn(&app, &org, &replay, "pause").await, 200);
    assert_eq!(turn(&app, &org, &replay, "pause").await, 409);
    app.pass(Duration::minutes(1)).await;
    assert_eq!(receiver.received().len(), 2);

    // Paused and resumed before the job of the first run came due: one job goes on, not two.
    assert_eq!(turn(&app, &org, &replay, "resume").await, 200);
    assert_eq!(turn(&app, &org, &replay, "pause").await, 200);
    assert_eq!(turn(&app, &org, &replay, "resume").await, 200);
    app.drain().await;
    assert_eq!(receiver.received().len(), 4);
    assert_eq!(turn(&app, &org, &replay, "cancel").await, 200);
    app.pass(Duration::minutes(1)).await;
    assert_eq!(receiver.received().len(), 4);
    let replay = look(&app, &org, &replay).await;
    assert_eq!((&replay["state"], &replay["replayed"]), (&json!("cancelled"), &json!(4)));
    assert_eq!(turn(&app, &org, &replay, "resume").await, 409);
    assert_eq!(app.states(&org, &endpoint).await[4..], ["held", "held"]);
}

#[tokio::test]
async fn a_replay_waits_when_its_endpoint_is_switched_off_meanwhile_and_goes_on_when_asked() {
    let (app, org, receiver, endpoint) = with_held(4).await;
    let replay = start(&app, &org, &endpoint, json!({"perSecond": 2})).await;
    app.drain().await;
    app.patch_endpoint(&org, &endpoint, json!({"enabled": false})).await;
    app.pass(Duration::seconds(1)).await;
    assert_eq!(look(&app, &org, &replay).await["state"], "paused");
    let path = format!("/api/webhooks/endpoints/{}/replay", text(&endpoint["id"]));
    let refused = app.owner(&org, "POST", &path, Some(json!({}))).await;
    assert_eq!((refused.status, &refused.json["code"]), (409, &json!("endpoint_disabled")));
    app.patch_endpoint(&org, &endpoint, json!({"enabled": true})).await;
    assert_eq!(turn(&app, &org, &replay, "resume").await, 200);
    app.drain().await;
    // It had two left, and needs one more look to see that it is done.
    app.pass(Duration::seconds(1)).await;
    assert_eq!(look(&app, &org, &replay).await["state"], "done");
    let mut seen = numbers(&receiver);
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_replay_ends_with_its_endpoint() {
    let (app, org, receiver, endpoint) = with_held(4).await;
    let replay = start(&app, &org, &endpoint, json!({"perSecond": 2})).await;
    app.drain().await;
    app.delete_endpoint(&org, &endpoint).await;
    app.pass(Duration::seconds(1)).await;
    assert_eq!(look(&app, &org, &replay).await["state"], "cancelled");
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn a_replayed_delivery_that_fails_has_its_whole_schedule_again() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::status(500));
    let endpoint = app.endpoint(&org, "inklink", &receiver.url(), &[]).await;
    app.publish(&org, "web.result.failed", json!({"n": 0})).await;
    for seconds in [0, 31, 60, 181, 451] {
        app.pass(Duration::seconds(seconds)).await;
    }
    assert_eq!(receiver.received().len(), 5);
    assert_eq!(app.states(&org, &endpoint).await, ["failed"]);
    app.pass(Duration::hours(1)).await;
    start(&app, &org, &endpoint, json!({"states": ["failed"]})).await;
    for seconds in [0, 31, 60, 181, 451] {
        app.pass(Duration::seconds(seconds)).await;
    }
    assert_eq!(receiver.received().len(), 10);
    assert_eq!(app.states(&org, &endpoint).await, ["failed"]);
    let received = receiver.received();
    assert_eq!(received[9].header("webhook-id"), received[0].header("webhook-id"));
}
