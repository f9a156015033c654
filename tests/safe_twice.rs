//! At least once, safe twice: every handler is run twice for one job, one after the other, at the same time, and by a
//! process that was taken for dead, and its effect is there once, as its "Safe twice" line says.

use std::sync::Arc;

use chrono::Duration;
use domain::session::{SessionIssuer, SessionKeys};
use jobs::{
    event::{Again, resend},
    job::{NewJob, Priority, Queue},
    lane::LaneSet,
    mail::SendMail,
    queue::{self, Claimed, Ended, Lanes, Session},
    schedule::ENTRIES,
    session_key::FetchSessionKeys,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::PgConnection;
use workers::{context::Context, mail::Mailer, registry::Registry};

use crate::support::{
    Receiver, Stripe, TestApp,
    org::SESSION_KEY,
    receiver::{Reply, Script},
    webhook::text,
};

/// The kinds that have a story below.
const TOLD: [&str; 28] = [
    "alerts.check",
    "billing.backfill_invoices",
    "billing.sync_customer",
    "billing.sync_snapshots",
    "billing.take_event",
    "codes.expire",
    "delivery.attempt",
    "digest.send",
    "digest.sweep",
    "domain.verify",
    "dunning.remind",
    "dunning.sweep",
    "endpoint.check",
    "house.keep",
    "import.run",
    "link_health.ask",
    "link_health.sweep",
    "mail.send",
    "marketing.send_queue",
    "marketing.start_campaigns",
    "notifications.deliver",
    "plan.audit",
    "plans.audit",
    "replay.run",
    "session_keys.fetch",
    "trial.remind",
    "trial.sweep",
    "visit.count",
];

#[test]
fn every_kind_of_job_has_its_story_here() {
    let mut kinds = jobs::KINDS;
    kinds.sort_unstable();
    assert_eq!(kinds, TOLD);
}

/// A process that holds jobs.
struct Process {
    conn: PgConnection,
    session: Session,
}

impl Process {
    async fn start(app: &TestApp) -> Self {
        let mut conn = app.pinned().acquire().await.unwrap().detach();
        let session = Session::open(&mut conn, "story", app.clock.now()).await.unwrap();
        Self { conn, session }
    }

    /// The one job of a queue that is due.
    async fn claim(&mut self, app: &TestApp, queue: Queue) -> Claimed {
        let now = app.clock.now();
        let (mut claimed, _) =
            queue::claim(&mut self.conn, &mut Lanes::new(queue), LaneSet::ALL, self.session.id, 10, now).await.unwrap();
        assert_eq!(claimed.len(), 1, "{claimed:#?}");
        claimed.remove(0)
    }

    async fn complete(&mut self, app: &TestApp, ended: impl IntoIterator<Item = Option<Ended>>) {
        let ended: Vec<Ended> = ended.into_iter().flatten().collect();
        queue::complete(&mut self.conn, &ended, app.clock.now()).await.unwrap();
    }
}

/// How long a receiver takes where two runs are to be on their way together.
const OVERLAP: std::time::Duration = std::time::Duration::from_millis(300);

/// How the second run stands to the first.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Twice {
    /// Both end at about the same time.
    Together,
    /// The second begins when the first has ended and its job is completed.
    InTurn,
}

const BOTH: [Twice; 2] = [Twice::InTurn, Twice::Together];

/// Runs the due job of a queue twice.
async fn run_twice(app: &TestApp, context: &Context, queue: Queue, how: Twice) {
    let registry = Registry::complete();
    let mut process = Process::start(app).await;
    let job = process.claim(app, queue).await;
    match how {
        Twice::Together => {
            let (one, two) = tokio::join!(registry.run(context, job.clone()), registry.run(context, job));
            process.complete(app, [one, two]).await;
        }
        Twice::InTurn => {
            for job in [job.clone(), job] {
                let ended = registry.run(context, job).await;
                process.complete(app, [ended]).await;
            }
        }
    }
    process.session.close(&mut process.conn, app.clock.now()).await.unwrap();
}

#[tokio::test]
async fn an_attempt_that_succeeds_is_recorded_once() {
    for how in BOTH {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        let receiver = Receiver::start(Reply::delay(OVERLAP, Reply::ok()));
        let endpoint = app.endpoint(&org, "inklink", &receiver.url(), &[]).await;
        app.publish(&org, "web.result.pending", json!({})).await;
        run_twice(&app, &app.context, Queue::Deliveries, how).await;
        app.pass(Duration::days(1)).await;
        // Only a run that began before the other was recorded repeats the request.
        assert_eq!(receiver.received().len(), if how == Twice::Together { 2 } else { 1 }, "{how:?}");
        let delivery = app.delivery(&org, &app.only_delivery(&org, &endpoint).await).await;
        assert_eq!(
            (&delivery["delivery"]["state"], &delivery["delivery"]["attempts"]),
            (&json!("delivered"), &json!(1))
        );
        assert_eq!(delivery["attempts"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn an_attempt_that_fails_counts_once_and_is_followed_by_one_other() {
    for how in BOTH {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        let receiver = Receiver::start(Script::by(|_, _| Reply::status(500)));
        let endpoint = app.endpoint(&org, "inklink", &receiver.url(), &[]).await;
        app.publish(&org, "web.result.pending", json!({})).await;
        run_twice(&app, &app.context, Queue::Deliveries, how).await;
        assert_eq!(app.endpoint_now(&org, &endpoint).await["failuresInRow"], 1, "{how:?}");
        let sent = receiver.received().len();
        app.pass(Duration::seconds(29)).await;
        assert_eq!(receiver.received().len(), sent);
        app.pass(Duration::seconds(1)).await;
        assert_eq!(receiver.received().len(), sent + 1);
        let delivery = app.delivery(&org, &app.only_delivery(&org, &endpoint).await).await;
        assert_eq!(delivery["delivery"]["attempts"], 2);
        app.leaves_jobs("delivery.attempt");
    }
}

#[tokio::test]
async fn a_process_that_was_taken_for_dead_records_nothing_of_what_another_has_taken_over() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::sequence([Reply::ok(), Reply::status(500)]));
    let endpoint = app.endpoint(&org, "inklink", &receiver.url(), &[]).await;
    app.publish(&org, "web.result.pending", json!({})).await;
    let (registry, mut silent, mut other) =
        (Registry::complete(), Process::start(&app).await, Process::start(&app).await);
    let lost = silent.claim(&app, Queue::Deliveries).await;

    // Its lease runs out; the other takes its job over, and delivers.
    app.clock.advance(Duration::seconds(31));
    assert!(other.session.renew(&mut other.conn, app.clock.now()).await.unwrap());
    app.sql("update jobs set state = 0, worker = null where state = 1; delete from job_workers where lease_until < '2026-03-02 12:00:31Z'")
        .await;
    let taken = other.claim(&app, Queue::Deliveries).await;
    assert_eq!(taken.attempt, 2);
    // Both are at it when the silent one wakes up, too late.
    let (ended, too_late) = tokio::join!(registry.run(&app.context, taken), async {
        receiver.wait_for(1).await;
        registry.run(&app.context, lost).await
    });
    other.complete(&app, [ended]).await;
    silent.complete(&app, [too_late]).await;

    let delivery = app.delivery(&org, &app.only_delivery(&org, &endpoint).await).await;
    assert_eq!((&delivery["delivery"]["state"], &delivery["delivery"]["attempts"]), (&json!("delivered"), &json!(1)));
    assert_eq!(app.endpoint_now(&org, &endpoint).await["failuresInRow"], 0);
    other.session.close(&mut other.conn, app.clock.now()).await.unwrap();
}

#[tokio::test]
async fn an_endpoint_whose_time_is_up_is_disabled_once_and_its_owner_told_once() {
    for how in BOTH {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        let receiver = Receiver::start(Reply::status(500));
        let endpoint = app.endpoint(&org, "inkr", &receiver.url(), &[]).await;
        for _ in 0..8 {
            app.publish(&org, "submission.sent", json!({})).await;
        }
        app.drain().await;
        app.live(Duration::days(7) - Duration::seconds(1)).await;
        app.clock.advance(Duration::seconds(2));
        run_twice(&app, &app.context, Queue::System, how).await;
        app.drain().await;
        assert_eq!(app.endpoint_now(&org, &endpoint).await["health"], "disabled");
        let told = app.mails().await.iter().filter(|mail| mail.kind == "webhook.disabled").count();
        assert_eq!(told, 1, "{how:?}");
    }
}

#[tokio::test]
async fn the_house_is_kept_twice_in_an_hour_as_well_as_once() {
    for how in BOTH {
        let app = TestApp::start().await;
        app.clock.advance(Duration::days(40));
        let entry = ENTRIES.iter().find(|entry| entry.kind == "house.keep").unwrap();
        let mut tx = app.store.begin().await.unwrap();
        assert!(entry.announce(&mut tx, None, app.clock.now(), &app.chance).await.unwrap().is_first);
        tx.commit().await.unwrap();
        run_twice(&app, &app.context, Queue::System, how).await;
        // What the second one could not do while the first was at it, it does when it runs again.
        app.pass(Duration::seconds(5)).await;
        let days: Vec<String> = sqlx::query_scalar(
            "select inhrelid::regclass::text from pg_inherits where inhparent = 'events'::regclass order by 1",
        )
        .fetch_all(app.store.pool())
        .await
        .unwrap();
        let expected: Vec<String> = (10..=18).map(|day| format!("events_202604{day}")).collect();
        assert_eq!(days, expected, "{how:?}");
    }
}

#[tokio::test]
async fn a_mail_that_is_recorded_as_sent_is_not_sent_again() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let api = Receiver::start(Reply::delay(OVERLAP, Reply::ok().with_body("{}")));
    let mut context = app.context.clone();
    let (key, url) = (SecretString::from("re_key"), format!("http://{}", api.address()));
    context.mailer = Arc::new(Mailer::resend(&key, &url, "no-reply@mail.example").unwrap());
    for how in BOTH {
        let letter = domain::mail::Letter {
            kind: "story.told",
            subject: "S".into(),
            text: "T".into(),
            html: "<p>H</p>".into(),
            unsubscribe: None,
            image: None,
        };
        let new = domain::mail::NewMail::new(org.id, letter, format!("{how:?}"), "ann@acme.example".parse().unwrap());
        let mut tx = app.store.begin().await.unwrap();
        jobs::mail::post(&mut tx, &new, app.clock.now(), &app.chance).await.unwrap();
        tx.commit().await.unwrap();
        let before = api.received().len();
        run_twice(&app, &context, Queue::Mail, how).await;
        let sent = api.received().split_off(before);
        assert_eq!(sent.len(), if how == Twice::Together { 2 } else { 1 }, "{how:?}");
        // Where both were on their way, the receiver knows them for one.
        assert!(sent.iter().all(|mail| mail.header("idempotency-key") == sent[0].header("idempotency-key")));
    }
    assert!(app.mails().await.iter().all(|mail| mail.state == domain::mail::State::Sent));
    // And a job that is there twice, as after an operator's retry of one that had ended.
    let mail_id = app.mails().await[0].id;
    let mut tx = app.store.begin().await.unwrap();
    let again = NewJob::new(org.id, &SendMail { mail_id }, app.clock.now(), &app.chance);
    queue::enqueue(&mut tx, again).await.unwrap();
    tx.commit().await.unwrap();
    let before = api.received().len();
    run_twice(&app, &context, Queue::Mail, Twice::InTurn).await;
    assert_eq!(api.received().len(), before);
}

#[tokio::test]
async fn a_replay_sends_each_delivery_once_more_in_total() {
    for how in BOTH {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        let receiver = Receiver::start(Reply::ok());
        let endpoint = app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
        app.patch_endpoint(&org, &endpoint, json!({"enabled": false})).await;
        for n in 0..5 {
            app.publish(&org, "qr.created", json!({"n": n})).await;
        }
        app.clock.advance(Duration::seconds(1));
        app.patch_endpoint(&org, &endpoint, json!({"enabled": true})).await;
        let path = format!("/api/webhooks/endpoints/{}/replay", text(&endpoint["id"]));
        let replay = app.owner(&org, "POST", &path, Some(json!({"perSecond": 2}))).await.expect(202);
        let replay = format!("/api/webhooks/replays/{}", text(&replay["id"]));

        // The first two seconds' worth, each by two runs of which the second is one too many.
        for replayed in [2, 4] {
            run_twice(&app, &app.context, Queue::System, how).await;
            assert_eq!(app.owner(&org, "GET", &replay, None).await.expect(200)["replayed"], replayed, "{how:?}");
            app.clock.advance(Duration::seconds(1));
        }
        // A process dies in the middle: what it had done is rolled back with its transaction, and done by another.
        let mut dying = Process::start(&app).await;
        let job = dying.claim(&app, Queue::System).await;
        let mut tx = app.store.begin().await.unwrap();
        let held = app.deliveries(&org, &endpoint).await.last().unwrap()["id"].as_str().unwrap().parse().unwrap();
        let (now, chance) = (app.clock.now(), &app.chance);
        let again = Again { reason: "half done", priority: Priority::Low, replay_id: None, steps: None };
        resend(&mut tx, org.id, &[held], again, now, chance).await.unwrap();
        drop(tx);
        assert_eq!(job.attempt, 1);
        dying.session.close(&mut dying.conn, app.clock.now()).await.unwrap();
        app.drain().await;
        app.pass(Duration::seconds(1)).await;

        let done = app.owner(&org, "GET", &replay, None).await.expect(200);
        assert_eq!((&done["state"], &done["replayed"]), (&json!("done"), &json!(5)), "{how:?}");
        let number = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["payload"]["n"].as_i64().unwrap();
        let mut seen: Vec<i64> = receiver.received().iter().map(|request| number(&request.body)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4], "{how:?}");
    }
}

#[tokio::test]
async fn an_import_makes_each_link_once() {
    for how in BOTH {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        // More than one portion.
        let data =
            (0..250).fold("url,slug\n".to_owned(), |data, n| data + &format!("https://shop.example/{n},s-{n}\n"));
        let body = json!({"format": "csv", "data": data, "updateExisting": true});
        let import = app.owner(&org, "POST", "/api/imports", Some(body)).await.expect(202);
        run_twice(&app, &app.context, Queue::System, how).await;
        let path = format!("/api/imports/{}", text(&import["id"]));
        let done = app.owner(&org, "GET", &path, None).await.expect(200);
        let counts = (&done["state"], &done["created"], &done["updated"], &done["skipped"]);
        assert_eq!(counts, (&json!("done"), &json!(250), &json!(0), &json!(0)), "{how:?}");
        let links: i64 = sqlx::query_scalar("select count(*) from links").fetch_one(app.store.pool()).await.unwrap();
        assert_eq!(links, 250, "{how:?}");
    }
}

#[tokio::test]
async fn the_session_issuers_keys_are_the_same_however_often_they_are_fetched() {
    let app = TestApp::start().await;
    let issuer = SessionIssuer::from_pem(&SecretString::from(SESSION_KEY), "stories", None).unwrap();
    let published = serde_json::to_string(&issuer.jwks()).unwrap();
    assert!(SessionKeys::from_jwks(&issuer.jwks()).is_ok());
    let server = Receiver::start(Reply::ok().with_header("content-type", "application/json").with_body(published));
    let mut context = app.context.clone();
    let mut settings = (*context.settings).clone();
    settings.session_jwks_url = Some(server.url());
    context.settings = Arc::new(settings);
    for how in BOTH {
        let mut tx = app.store.begin().await.unwrap();
        let job = NewJob::new(domain::id::OrgId::SYSTEM, &FetchSessionKeys {}, app.clock.now(), &app.chance);
        queue::enqueue(&mut tx, job).await.unwrap();
        tx.commit().await.unwrap();
        run_twice(&app, &context, Queue::System, how).await;
        let kept: i64 =
            sqlx::query_scalar("select count(*) from session_keys").fetch_one(app.store.pool()).await.unwrap();
        assert_eq!(kept, 1, "{how:?}");
    }
    assert_eq!(server.received().len(), 4);
}

#[tokio::test]
async fn a_visit_is_counted_once() {
    for how in BOTH {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        let body = json!({"destination": "https://shop.example/", "slug": "summer"});
        let link = app.owner(&org, "POST", "/api/links", Some(body)).await.expect(201);
        for n in 0..5 {
            let headers = [("x-visitor", format!("10.0.0.{n}")), ("user-agent", "Tea/1".to_owned())];
            let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
            app.send("GET", "/r/summer", &headers, None).await;
        }
        app.store_visits().await;
        app.clock.advance(Duration::seconds(1));
        run_twice(&app, &app.context, Queue::System, how).await;
        app.pass(Duration::seconds(5)).await;
        let stats = format!("/api/links/{}/stats", text(&link["id"]));
        let stats = app.owner(&org, "GET", &stats, None).await.expect(200);
        assert_eq!((&stats["visits"], &stats["uniques"], &stats["totalVisits"]), (&json!(5), &json!(5), &json!(5)));
        let kept: i64 = sqlx::query_scalar("select count(*) from visits").fetch_one(app.store.pool()).await.unwrap();
        assert_eq!(kept, 5, "{how:?}");
    }
}

#[tokio::test]
async fn a_look_at_a_domain_is_taken_once_and_makes_one_more() {
    for how in BOTH {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        let body = json!({"name": "go.acme.example"});
        let domain = app.owner(&org, "POST", "/api/domains", Some(body)).await.expect(201);
        run_twice(&app, &app.context, Queue::System, how).await;
        let path = format!("/api/domains/{}", text(&domain["id"]));
        let seen = app.owner(&org, "GET", &path, None).await.expect(200);
        assert_eq!(seen["nextCheckAt"], "2026-03-02T12:01:00.000Z", "{how:?}: {seen}");
        assert_eq!(app.pass(Duration::minutes(1)).await, 1, "{how:?}: one job looks again");
        app.leaves_jobs("domain.verify");
    }
}

#[tokio::test]
async fn what_expired_is_told_once() {
    for how in BOTH {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        let receiver = Receiver::start(Reply::ok());
        app.endpoint(&org, "inkode", &receiver.url(), &["link.expired"]).await;
        for n in 0..5 {
            let body = json!({"destination": "https://shop.example", "expiresAt": format!("2026-03-02T12:0{n}:00Z")});
            app.owner(&org, "POST", "/api/links", Some(body)).await.expect(201);
        }
        app.clock.advance(Duration::hours(1));
        let mut tx = app.store.begin().await.unwrap();
        let entry = jobs::schedule::entry("codes.expire").unwrap();
        entry.announce(&mut tx, None, app.clock.now(), &app.chance).await.unwrap();
        tx.commit().await.unwrap();
        run_twice(&app, &app.context, Queue::System, how).await;
        let told: (i64, i64) = sqlx::query_as("select count(*), count(distinct data) from events")
            .fetch_one(app.store.pool())
            .await
            .unwrap();
        assert_eq!(told, (5, 5), "{how:?}");
        app.drain().await;
    }
}

#[tokio::test]
async fn a_destination_is_asked_once_for_one_check() {
    for how in BOTH {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        let shop = Receiver::start(Reply::delay(OVERLAP, Reply::status(200)));
        let body = json!({"destination": shop.url(), "healthCheck": true});
        let link = app.owner(&org, "POST", "/api/links", Some(body)).await.expect(201);
        let mut tx = app.store.begin().await.unwrap();
        let entry = jobs::schedule::entry("link_health.sweep").unwrap();
        entry.announce(&mut tx, None, app.clock.now(), &app.chance).await.unwrap();
        tx.commit().await.unwrap();
        run_twice(&app, &app.context, Queue::System, how).await;
        // Two sweeps, two jobs for the host: the second ends at once. One of them, run twice itself:
        let one = "delete from jobs where id = (select max(id::text)::uuid from jobs having count(*) > 1)";
        assert_eq!(sqlx::query(one).execute(app.store.pool()).await.unwrap().rows_affected(), 1, "{how:?}");
        run_twice(&app, &app.context, Queue::System, how).await;
        app.pass(Duration::seconds(5)).await;
        assert_eq!(shop.received().len(), 1, "{how:?}");
        let path = format!("/api/links/{}", text(&link["id"]));
        assert_eq!(app.owner(&org, "GET", &path, None).await.expect(200)["health"]["state"], "healthy", "{how:?}");
    }
}

#[tokio::test]
async fn an_alert_is_told_once() {
    for how in BOTH {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        let link = app.owner(&org, "POST", "/api/links", Some(json!({"destination": "https://shop.example"}))).await;
        let body = json!({"targetId": link.expect(201)["id"], "kind": "silence", "hours": 1});
        app.owner(&org, "POST", "/api/alerts", Some(body)).await.expect(201);
        app.clock.advance(Duration::hours(2));
        announce(&app, "alerts.check").await;
        run_twice(&app, &app.context, Queue::System, how).await;
        app.drain().await;
        assert_eq!(app.mails().await.len(), 1, "{how:?}");
    }
}

/// Announces an entry's slot.
async fn announce(app: &TestApp, kind: &str) {
    let mut tx = app.store.begin().await.unwrap();
    let entry = jobs::schedule::entry(kind).unwrap();
    entry.announce(&mut tx, None, app.clock.now(), &app.chance).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_plan_that_is_exceeded_is_told_once() {
    for how in BOTH {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        for _ in 0..4 {
            app.endpoint(&org, "inkode", "http://127.0.0.1:9/", &[]).await;
        }
        let mut tx = app.store.begin().await.unwrap();
        jobs::plan::change(&mut tx, org.id, domain::plan::Plan::Free, app.clock.now(), &app.chance).await.unwrap();
        tx.commit().await.unwrap();
        run_twice(&app, &app.context, Queue::System, how).await;
        app.drain().await;
        let kinds: Vec<String> = app.mails().await.into_iter().map(|mail| mail.kind).collect();
        assert_eq!(kinds, ["plan.exceeded"], "{how:?}");
        announce(&app, "plans.audit").await;
        run_twice(&app, &app.context, Queue::System, how).await;
        app.drain().await;
        assert_eq!(app.mails().await.len(), 1, "{how:?}");
    }
}

#[tokio::test]
async fn marketing_has_nothing_to_send_however_often() {
    for how in BOTH {
        for kind in ["marketing.start_campaigns", "marketing.send_queue"] {
            let app = TestApp::start().await;
            announce(&app, kind).await;
            run_twice(&app, &app.context, Queue::System, how).await;
            assert_eq!(app.mails().await.len(), 0, "{how:?}");
        }
    }
}

#[tokio::test]
async fn what_happened_is_told_by_one_mail() {
    for how in BOTH {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        for n in 0..3 {
            let body = json!({"destination": "https://shop.example", "expiresAt": format!("2026-03-02T12:0{n}:30Z")});
            app.owner(&org, "POST", "/api/links", Some(body)).await.expect(201);
        }
        app.clock.advance(Duration::hours(1));
        announce(&app, "codes.expire").await;
        run_twice(&app, &app.context, Queue::System, how).await;
        let notifications = "select count(*) from notifications";
        let stored: i64 = sqlx::query_scalar(notifications).fetch_one(app.store.pool()).await.unwrap();
        assert_eq!(stored, 1, "{how:?}");
        app.clock.advance(Duration::days(1));
        announce(&app, "notifications.deliver").await;
        run_twice(&app, &app.context, Queue::System, how).await;
        app.drain().await;
        let mails = app.mails().await;
        let mut to: Vec<&str> = mails.iter().map(|mail| mail.recipient.as_str()).collect();
        to.sort_unstable();
        assert_eq!(to, ["member@acme.example", "owner@acme.example"], "{how:?}");
    }
}

/// An organisation whose customer at Stripe has a subscription, and an invoice whose payment failed; and a hook that hears
/// of both.
async fn subscriber(app: &TestApp, stripe: &Stripe) -> Receiver {
    let org = app.org("acme").await;
    let receiver = crate::billing::hook(app, &org).await;
    stripe.customer("cus_1", Some(&org));
    stripe.subscription("sub_1", "cus_1", "price_business", "active", json!({}));
    stripe.invoice("in_1", "cus_1", json!({}));
    stripe.fail("in_1", 1, false);
    receiver
}

#[tokio::test]
async fn what_stripe_says_is_taken_once() {
    for how in BOTH {
        let mut app = TestApp::start().await;
        let stripe = Stripe::start(&mut app);
        let hook = subscriber(&app, &stripe).await;
        // The walk finds the invoice, and whose it is.
        announce(&app, "billing.backfill_invoices").await;
        run_twice(&app, &app.context, Queue::System, how).await;
        // All there is of the customer is asked for, by one job.
        run_twice(&app, &app.context, Queue::System, how).await;
        app.drain().await;
        assert_eq!(crate::billing::types(&hook), ["subscription.payment_failed", "subscription.created"], "{how:?}");
        app.clock.advance(Duration::hours(1));
        stripe.change("sub_1", json!({"status": "past_due"}));
        announce(&app, "billing.sync_snapshots").await;
        run_twice(&app, &app.context, Queue::System, how).await;
        stripe.pay("in_1", "pi_1");
        crate::support::stripe::deliver(&app, &stripe.event("invoice.paid", "in_1")).await.expect(200);
        run_twice(&app, &app.context, Queue::System, how).await;
        app.drain().await;
        // Both on their way at once.
        let mut told = crate::billing::types(&hook).split_off(2);
        told.sort();
        assert_eq!(told, ["subscription.payment_succeeded", "subscription.updated"], "{how:?}");
        let plan: String =
            sqlx::query_scalar("select plan from organizations").fetch_one(app.store.pool()).await.unwrap();
        assert_eq!(plan, "business", "{how:?}");
    }
}

#[tokio::test]
async fn a_digest_is_noted_once_and_sent_once() {
    for how in BOTH {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        let body = json!({"destination": "https://shop.example", "slug": "summer"});
        app.owner(&org, "POST", "/api/links", Some(body)).await.expect(201);
        app.send("GET", "/r/summer", &[("x-visitor", "10.0.0.1"), ("user-agent", "Tea/1")], None).await;
        app.store_visits().await;
        app.pass(Duration::seconds(5)).await;
        app.clock.advance("2026-03-09T08:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - app.clock.now());
        announce(&app, "digest.sweep").await;
        run_twice(&app, &app.context, Queue::System, how).await;
        let noted: i64 = sqlx::query_scalar("select count(*) from digests where settled_at is null")
            .fetch_one(app.store.pool())
            .await
            .unwrap();
        assert_eq!(noted, 2, "{how:?}");
        // The one job that the sweep made.
        run_twice(&app, &app.context, Queue::System, how).await;
        app.drain().await;
        assert_eq!(app.mails().await.len(), 2, "{how:?}");
    }
}

#[tokio::test]
async fn a_reminder_is_sent_once_and_a_plan_is_suspended_once() {
    for how in BOTH {
        let mut app = TestApp::start().await;
        let stripe = Stripe::start(&mut app);
        let _hook = subscriber(&app, &stripe).await;
        stripe.tell(&app, "invoice.payment_failed", "in_1").await;
        let now = app.clock.now().timestamp();
        let trial = json!({"status": "trialing", "trial_start": now, "trial_end": now + 14 * 86_400});
        stripe.change("sub_1", trial);
        stripe.tell(&app, "customer.subscription.updated", "sub_1").await;
        for (day, kind) in [
            (0, "dunning.sweep"),
            (7, "trial.sweep"),
            (10, "dunning.sweep"),
            (14, "dunning.sweep"),
            (15, "trial.sweep"),
        ] {
            app.clock.set(chrono::DateTime::from_timestamp(now, 0).unwrap() + Duration::days(day));
            announce(&app, kind).await;
            run_twice(&app, &app.context, Queue::System, how).await;
            run_twice(&app, &app.context, Queue::System, how).await;
            app.drain().await;
        }
        let mails: Vec<String> = app.mails().await.into_iter().rev().map(|mail| mail.subject).collect();
        let expected = [
            "A payment did not work: acme",
            "Your trial ends in 7 days: acme",
            "Last reminder before your plan is suspended: acme",
            "Your plan is suspended: acme",
            "Your trial has ended: acme",
        ];
        assert_eq!(mails, expected, "{how:?}");
    }
}
