//! Replays: past deliveries sent once more, at a rate, with progress, and each once whatever happens in between.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use jobs::job::Queue;
use serde_json::{Value, json};
use workers::fleet;

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
async fn the_rate_of_a_replay_can_be_changed_until_it_has_ended() {
    let (app, org, receiver, endpoint) = with_held(9).await;
    let replay = start(&app, &org, &endpoint, json!({"perSecond": 1})).await;
    app.drain().await;
    assert_eq!(receiver.received().len(), 1);
    let path = format!("/api/webhooks/replays/{}", text(&replay["id"]));
    let change = async |wish: Value| app.owner(&org, "PATCH", &path, Some(wish)).await;
    let changed = change(json!({"perSecond": 4})).await.expect(200);
    assert_eq!((&changed["perSecond"], &changed["state"]), (&json!(4), &json!("running")));
    app.pass(Duration::seconds(1)).await;
    assert_eq!(receiver.received().len(), 5);
    assert_eq!(turn(&app, &org, &replay, "pause").await, 200);
    change(json!({"perSecond": 10_000})).await.expect(200);
    for wish in [json!({"perSecond": 0}), json!({"perSecond": "many"})] {
        assert_eq!(change(wish).await.expect(400)["errors"][0]["field"], "perSecond");
    }
    assert_eq!(change(json!({})).await.expect(200)["perSecond"], 10_000);
    assert_eq!(turn(&app, &org, &replay, "resume").await, 200);
    app.drain().await;
    assert_eq!(receiver.received().len(), 9);
    assert_eq!(change(json!({"perSecond": 1})).await.expect(409)["code"], "replay_state", "it is done");
    // The job of the run before the pause finds nothing to do.
    app.pass(Duration::minutes(1)).await;
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

/// The numbers that arrived, each once, in order.
fn each_once(receiver: &Receiver) -> Vec<i64> {
    let mut seen = numbers(receiver);
    seen.sort_unstable();
    seen
}

/// How many of a replay's deliveries wait in the queue.
async fn waiting(app: &TestApp) -> i64 {
    sqlx::query_scalar("select count(*) from jobs where payload ? 'replay_id' and queue = 'deliveries'")
        .fetch_one(app.store.pool())
        .await
        .unwrap()
}

/// Runs what is due of the queue that replays are in, and of no other: nobody sends.
async fn drain_system(app: &TestApp) {
    fleet::drain(&app.context, &[Queue::System], app.pinned()).await.unwrap();
}

#[tokio::test]
async fn a_replay_stays_a_little_ahead_of_those_who_send_and_no_more() {
    let (app, org, receiver, endpoint) = with_held(30).await;
    let replay = start(&app, &org, &endpoint, json!({"perSecond": 4})).await;
    for _ in 0..10 {
        drain_system(&app).await;
        app.clock.advance(Duration::seconds(1));
    }
    // Ten seconds' worth would be forty: two portions are enough for nobody to wait.
    assert_eq!((waiting(&app).await, &look(&app, &org, &replay).await["replayed"]), (8, &json!(8)));
    for _ in 0..10 {
        app.drain().await;
        app.clock.advance(Duration::seconds(1));
    }
    assert_eq!(each_once(&receiver), (0..30).collect::<Vec<_>>());
    assert_eq!(look(&app, &org, &replay).await["state"], "done");
}

#[tokio::test]
async fn a_pause_is_felt_at_once_and_what_is_under_way_still_arrives() {
    let (app, org, receiver, endpoint) = with_held(20).await;
    let replay = start(&app, &org, &endpoint, json!({"perSecond": 5})).await;
    drain_system(&app).await;
    assert_eq!(turn(&app, &org, &replay, "pause").await, 200);
    app.pass(Duration::minutes(1)).await;
    assert_eq!(each_once(&receiver), [0, 1, 2, 3, 4]);
    assert_eq!(look(&app, &org, &replay).await["replayed"], 5);
    assert_eq!(turn(&app, &org, &replay, "resume").await, 200);
    for _ in 0..4 {
        app.pass(Duration::seconds(1)).await;
    }
    assert_eq!(each_once(&receiver), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_replay_that_fails_at_any_step_has_done_nothing_and_does_it_all_the_next_time() {
    let (app, org, receiver, endpoint) = with_held(6).await;
    app.sql("create function fail() returns trigger language plpgsql as $$ begin raise exception 'the story'; end $$")
        .await;
    let replay = start(&app, &org, &endpoint, json!({"perSecond": 1})).await;
    let steps = [
        // The count and the cursor, the delivery, its job, and the end of the run.
        "create trigger story before update on replays for each row execute function fail()",
        "create trigger story before update on deliveries for each row when (new.state = 'pending') execute function fail()",
        "create trigger story before insert on jobs for each row when (new.kind = 'delivery.attempt') execute function fail()",
        "create trigger story before update on jobs for each row
           when (old.kind = 'replay.run' and old.state = 1 and new.last_error is null) execute function fail()",
        // The commit itself.
        "create constraint trigger story after insert on jobs deferrable initially deferred for each row
           when (new.kind = 'delivery.attempt') execute function fail()",
    ];
    for (n, step) in steps.into_iter().enumerate() {
        app.sql(step).await;
        app.drain().await;
        let shown = look(&app, &org, &replay).await;
        assert_eq!((&shown["replayed"], receiver.received().len()), (&json!(n), n), "{step}");
        let table = step.split(" on ").nth(1).unwrap().split(' ').next().unwrap();
        let drop = format!("drop trigger story on {table}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(app.store.pool()).await.unwrap();
        app.pass(Duration::seconds(2)).await;
        let shown = look(&app, &org, &replay).await;
        assert_eq!((&shown["replayed"], receiver.received().len()), (&json!(n + 1), n + 1), "after {step}");
        app.clock.advance(Duration::seconds(1));
    }
    app.drain().await;
    assert_eq!(each_once(&receiver), [0, 1, 2, 3, 4, 5]);
    let shown = look(&app, &org, &replay).await;
    assert_eq!((&shown["state"], &shown["replayed"], &shown["total"]), (&json!("done"), &json!(6), &json!(6)));
}

#[tokio::test]
async fn what_somebody_else_sent_again_meanwhile_is_left_alone() {
    let (app, org, receiver, endpoint) = with_held(4).await;
    let replay = start(&app, &org, &endpoint, json!({"states": ["held", "delivered"], "perSecond": 1})).await;
    app.drain().await;
    app.clock.advance(Duration::milliseconds(500));
    let last = app.deliveries(&org, &endpoint).await.pop().unwrap();
    app.retry(&org, text(&last["id"])).await.expect(202);
    for _ in 0..5 {
        app.pass(Duration::seconds(1)).await;
    }
    assert_eq!(each_once(&receiver), [0, 1, 2, 3]);
    let shown = look(&app, &org, &replay).await;
    assert_eq!((&shown["state"], &shown["replayed"], &shown["total"]), (&json!("done"), &json!(3), &json!(4)));
}

#[tokio::test]
async fn a_long_range_is_counted_while_it_is_sent() {
    let (app, org, receiver, endpoint) = with_held(2).await;
    // Of these every tenth is wanted.
    sqlx::query(
        "insert into deliveries (id, org_id, event_id, endpoint_id, state, scheduled_from, reason, created_at, finished_at)
         select (substr(d.id::text, 1, 24) || lpad(to_hex(n), 12, '0'))::uuid, d.org_id, d.event_id, d.endpoint_id,
                case when n % 10 = 0 then 'failed' else 'delivered' end, d.created_at, 'Past.', d.created_at, d.created_at
         from (select * from deliveries order by id limit 1) d, generate_series(1, 150000) n",
    )
    .execute(app.store.pool())
    .await
    .unwrap();
    let replay = start(&app, &org, &endpoint, json!({"states": ["failed"], "perSecond": 3})).await;
    assert_eq!((replay.get("total"), &replay["replayed"]), (None, &json!(0)));
    drain_system(&app).await;
    let shown = look(&app, &org, &replay).await;
    assert_eq!((shown.get("total"), &shown["replayed"]), (None, &json!(3)));
    app.pass(Duration::seconds(1)).await;
    let shown = look(&app, &org, &replay).await;
    assert_eq!((&shown["total"], &shown["replayed"]), (&json!(15_000), &json!(6)));
    assert_eq!(receiver.received().len(), 6);
    assert_eq!(turn(&app, &org, &replay, "cancel").await, 200);
    app.leaves_jobs("replay.run");

    // Where nothing is wanted, it is done after a few runs that cost the rate nothing.
    let none =
        start(&app, &org, &endpoint, json!({"states": ["failed"], "eventTypes": ["qr.deleted"], "perSecond": 1})).await;
    for _ in 0..20 {
        app.pass(Duration::milliseconds(1)).await;
    }
    let shown = look(&app, &org, &none).await;
    assert_eq!((&shown["state"], &shown["replayed"], &shown["total"]), (&json!("done"), &json!(0), &json!(0)));
}

/// Begins a replay of several endpoints.
async fn start_many(app: &TestApp, org: &TestOrg, wish: Value) -> Value {
    app.owner(org, "POST", "/api/webhooks/replays", Some(wish)).await.expect(202)
}

#[tokio::test]
async fn a_replay_takes_all_endpoints_that_are_enabled_or_those_it_names_oldest_first() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (mut receivers, mut endpoints) = (vec![], vec![]);
    for dialect in ["inkode", "iloveqr", "inkode", "inkode"] {
        receivers.push(Receiver::start(Reply::ok()));
        endpoints.push(app.endpoint(&org, dialect, &receivers.last().unwrap().url(), &["qr.created"]).await);
    }
    for n in 0..3 {
        app.publish(&org, "qr.created", json!({"n": n})).await;
        app.pass(Duration::seconds(1)).await;
    }
    let came = |n: usize| receivers[n].received().len();
    assert_eq!([came(0), came(1), came(2), came(3)], [3; 4]);

    // The last one is off: it is not among all, and cannot be named.
    app.patch_endpoint(&org, &endpoints[3], json!({"enabled": false})).await;
    let all = start_many(&app, &org, json!({"states": ["delivered"], "perSecond": 3})).await;
    assert_eq!((&all["total"], all["endpointIds"].as_array().unwrap().len()), (&json!(9), 3));
    app.drain().await;
    // The oldest event's three.
    assert_eq!([came(0), came(1), came(2), came(3)], [4, 4, 4, 3]);
    // Switched off meanwhile, one is passed over and the others go on.
    app.patch_endpoint(&org, &endpoints[2], json!({"enabled": false})).await;
    for _ in 0..4 {
        app.pass(Duration::seconds(1)).await;
    }
    assert_eq!([came(0), came(1), came(2), came(3)], [6, 6, 4, 3]);
    let shown = look(&app, &org, &all).await;
    assert_eq!((&shown["state"], &shown["replayed"], &shown["total"]), (&json!("done"), &json!(7), &json!(9)));
    assert_eq!(app.states(&org, &endpoints[2]).await, ["delivered"; 3]);

    let named = json!({"states": ["delivered"], "endpointIds": [endpoints[1]["id"]]});
    let one = start_many(&app, &org, named).await;
    app.drain().await;
    assert_eq!([came(0), came(1), came(2), came(3)], [6, 9, 4, 3]);
    let listed = |page: Value| -> Vec<Value> {
        page["items"].as_array().unwrap().iter().map(|replay| replay["id"].clone()).collect()
    };
    let page = app.owner(&org, "GET", "/api/webhooks/replays", None).await.expect(200);
    assert_eq!(listed(page), [one["id"].clone(), all["id"].clone()]);
    let path = format!("/api/webhooks/endpoints/{}/replays", text(&endpoints[0]["id"]));
    assert_eq!(listed(app.owner(&org, "GET", &path, None).await.expect(200)), [all["id"].clone()]);

    // With nobody left to send to, it waits.
    let rest = start_many(&app, &org, json!({"states": ["delivered"], "perSecond": 1})).await;
    for endpoint in &endpoints[..2] {
        app.patch_endpoint(&org, endpoint, json!({"enabled": false})).await;
    }
    app.drain().await;
    assert_eq!(look(&app, &org, &rest).await["state"], "paused");
    let refused = app.owner(&org, "POST", "/api/webhooks/replays", None).await;
    assert_eq!((refused.status, &refused.json["code"]), (409, &json!("endpoint_disabled")));
}

#[tokio::test]
async fn a_replay_of_several_endpoints_says_what_is_wrong_with_it() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let mine = app.endpoint(&org, "inkode", "http://127.0.0.1:9/", &[]).await;
    let off = app.endpoint(&org, "iloveqr", "http://127.0.0.1:9/", &[]).await;
    app.patch_endpoint(&org, &off, json!({"enabled": false})).await;
    let theirs = app.endpoint(&other, "inkode", "http://127.0.0.1:9/", &[]).await;
    for (wish, field) in [
        (json!({"endpointIds": []}), "endpointIds"),
        (json!({"endpointIds": [mine["id"], mine["id"]]}), "endpointIds[1]"),
        (json!({"endpointIds": [mine["id"], theirs["id"]]}), "endpointIds[1]"),
        (json!({"endpointIds": ["we_nonsense"]}), "endpointIds[0]"),
        (json!({"endpointIds": vec![mine["id"].clone(); 1001]}), "endpointIds"),
        (json!({"eventTypes": ["qr.created", "no.such"]}), "eventTypes[1]"),
        (json!({"states": []}), "states"),
        (json!({"perSecond": 0}), "perSecond"),
        (json!({"from": "2026-03-02T00:00:00Z", "to": "2026-03-01T00:00:00Z"}), "from"),
    ] {
        let answer = app.owner(&org, "POST", "/api/webhooks/replays", Some(wish.clone())).await;
        assert_eq!(
            (answer.status, &answer.json["errors"][0]["field"]),
            (400, &json!(field)),
            "{wish}: {}",
            answer.text
        );
    }
    let named = json!({"endpointIds": [mine["id"], off["id"]]});
    let refused = app.owner(&org, "POST", "/api/webhooks/replays", Some(named)).await;
    assert_eq!((refused.status, &refused.json["code"]), (409, &json!("endpoint_disabled")));
}
