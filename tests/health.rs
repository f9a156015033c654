//! The health of endpoints: who is told, and when the door shuts and opens again.

use chrono::{DateTime, Duration, Utc};
use domain::mail::Mail;
use serde_json::{Value, json};

use crate::support::{
    Receiver, TestApp, TestOrg,
    receiver::{Received, Reply, Script},
    webhook::{moment, text, type_of},
};

/// An endpoint whose receiver answers with a status that the story turns.
struct Patient {
    app: TestApp,
    org: TestOrg,
    receiver: Receiver,
    endpoint: Value,
    dialect: &'static str,
    status: std::sync::Arc<std::sync::atomic::AtomicU16>,
}

impl Patient {
    async fn of(dialect: &'static str) -> Self {
        let app = TestApp::start().await;
        let org = app.org("acme").await;
        let status = std::sync::Arc::new(std::sync::atomic::AtomicU16::new(500));
        let told = status.clone();
        let receiver = Receiver::start(Script::by(move |_, _: &Received| {
            Reply::status(told.load(std::sync::atomic::Ordering::SeqCst))
        }));
        let endpoint = app.endpoint(&org, dialect, &receiver.url(), &[]).await;
        Self { app, org, receiver, endpoint, dialect, status }
    }

    fn answers(&self, status: u16) {
        self.status.store(status, std::sync::atomic::Ordering::SeqCst);
    }

    /// Publishes an event and lets its first attempt happen, and whatever else is due.
    async fn event(&self) {
        self.app.clock.advance(Duration::milliseconds(1));
        self.app.partitions().await;
        self.app.publish(&self.org, type_of(self.dialect), json!({})).await;
        self.app.drain().await;
    }

    async fn health(&self) -> String {
        text(&self.app.endpoint_now(&self.org, &self.endpoint).await["health"]).to_owned()
    }

    /// The mails so far, oldest first, of one kind.
    async fn mails(&self, kind: &str) -> Vec<Mail> {
        let mut mails = self.app.mails().await;
        mails.retain(|mail| mail.kind == kind);
        mails.reverse();
        mails
    }

    /// Lets the endpoint fail until it is degraded, by one event after the other.
    async fn degrade(&self, failures: usize) -> DateTime<Utc> {
        let sent = self.receiver.received().len();
        for _ in sent..sent + failures - 1 {
            self.event().await;
        }
        assert_eq!(self.health().await, "active");
        self.event().await;
        assert_eq!(self.health().await, "degraded");
        self.app.clock.now()
    }
}

#[tokio::test]
async fn so_many_failures_in_a_row_degrade_and_the_owner_is_told_when_the_door_will_shut() {
    for (dialect, failures, shuts) in [
        ("inkode", 5, "7 March 2026"),
        ("iloveqr", 5, "7 March 2026"),
        ("inklink", 5, "7 March 2026"),
        ("qrstudio", 5, "3 March 2026"),
        ("inkr", 8, "9 March 2026"),
    ] {
        let it = Patient::of(dialect).await;
        it.degrade(failures).await;
        let endpoint = it.app.endpoint_now(&it.org, &it.endpoint).await;
        assert_eq!(endpoint["failuresInRow"], failures);
        assert_eq!(endpoint["healthReason"], format!("{failures} failures in a row"));
        let mails = it.mails("webhook.degraded").await;
        assert_eq!(mails.len(), 1, "{dialect}");
        assert_eq!(mails[0].recipient, "owner@acme.example");
        assert_eq!(mails[0].state, domain::mail::State::Sent);
        let line = format!("Will be switched off: {shuts}, 12:00 UTC");
        assert!(mails[0].text.contains(&line), "{dialect}: {}", mails[0].text);
        assert!(mails[0].text.contains(text(&it.endpoint["id"])));
        assert!(mails[0].text.contains("HTTP 500"));
        // One more failure is no second letter.
        it.event().await;
        assert_eq!(it.app.mails().await.len(), 1, "{dialect}");
        it.app.leaves_jobs("delivery.attempt");
        it.app.leaves_jobs("endpoint.check");
    }
}

#[tokio::test]
async fn inkr_tells_the_owner_of_the_api_key_that_made_the_endpoint() {
    let app = TestApp::build().keeping_days(12).start().await;
    let org = app.org("acme").await;
    // The plain member's key does not manage endpoints; an admin's does, and is not the owner's.
    let mut conn = app.store.pool().acquire().await.unwrap();
    domain::member::put(&mut conn, org.id, org.member, domain::member::Role::Admin, app.clock.now()).await.unwrap();
    let receiver = Receiver::start(Reply::status(500));
    let auth = format!("authorization: Bearer {}", org.member_key("inkr_"));
    let body = json!({"url": receiver.url(), "events": ["submission.sent"]});
    app.post("/v1/webhook_endpoints", &auth, body).await.expect(201);
    for _ in 0..8 {
        app.publish(&org, "submission.sent", json!({})).await;
    }
    app.drain().await;
    let mails = app.mails().await;
    assert_eq!(mails.len(), 1);
    assert_eq!((mails[0].kind.as_str(), mails[0].recipient.as_str()), ("webhook.degraded", "member@acme.example"));

    // Once they have left, it is the organisation's owner who is told.
    domain::member::remove(&mut conn, org.id, org.member).await.unwrap();
    app.live(Duration::days(8)).await;
    let mails = app.mails().await;
    assert_eq!(mails.len(), 2);
    assert_eq!((mails[0].kind.as_str(), mails[0].recipient.as_str()), ("webhook.disabled", "owner@acme.example"));
    assert!(mails[0].text.contains("held for 12 days"), "{}", mails[0].text);
}

#[tokio::test]
async fn a_success_makes_a_degraded_endpoint_active_again_and_says_so() {
    let it = Patient::of("qrstudio").await;
    it.degrade(5).await;
    it.answers(200);
    it.event().await;
    let endpoint = it.app.endpoint_now(&it.org, &it.endpoint).await;
    assert_eq!((&endpoint["health"], &endpoint["failuresInRow"]), (&json!("active"), &json!(0)));
    assert_eq!(endpoint["healthReason"], json!(null));
    assert_eq!(it.mails("webhook.recovered").await.len(), 1);
    // Degraded once more is an occasion of its own.
    it.answers(500);
    it.degrade(5).await;
    assert_eq!(it.mails("webhook.degraded").await.len(), 2);
    it.app.leaves_jobs("delivery.attempt");
}

#[tokio::test]
async fn qrstudio_is_disabled_by_the_first_failure_after_a_day_of_nothing_else() {
    let it = Patient::of("qrstudio").await;
    let began = it.app.clock.now();
    it.degrade(5).await;
    it.app.clock.set(began + Duration::hours(23));
    it.event().await;
    assert_eq!(it.health().await, "degraded");
    it.app.clock.set(began + Duration::hours(24) + Duration::seconds(1));
    it.event().await;
    assert_eq!(it.health().await, "disabled");
    let endpoint = it.app.endpoint_now(&it.org, &it.endpoint).await;
    assert_eq!(endpoint["healthReason"], "Every attempt failed for 24 hours.");
    let (warned, shut) = (it.mails("webhook.degraded").await, it.mails("webhook.disabled").await);
    assert_eq!((warned.len(), shut.len()), (1, 1));
    assert!(warned[0].sent_at.unwrap() + Duration::hours(1) <= shut[0].sent_at.unwrap());
    assert!(shut[0].text.contains("Every attempt failed for 24 hours."));
    assert!(shut[0].text.contains("held for 30 days"));

    // What happens and comes due from now on is held.
    let sent = it.receiver.received().len();
    it.event().await;
    it.app.pass(Duration::hours(3)).await;
    it.app.pass(Duration::hours(3)).await;
    assert_eq!(it.receiver.received().len(), sent);
    let states = it.app.states(&it.org, &it.endpoint).await;
    assert!(states.iter().all(|state| ["held", "failed"].contains(&state.as_str())), "{states:?}");
    assert_eq!(states.last().unwrap(), "held");
}

#[tokio::test]
async fn inkode_is_disabled_after_five_days_of_failures_and_not_before() {
    let it = Patient::of("inkode").await;
    let began = it.app.clock.now();
    it.degrade(5).await;
    it.app.clock.set(began + Duration::days(5) - Duration::minutes(1));
    it.event().await;
    assert_eq!(it.health().await, "degraded");
    it.app.clock.set(began + Duration::days(5) + Duration::seconds(1));
    it.event().await;
    assert_eq!(it.health().await, "disabled");
    it.app.pass(Duration::hours(1)).await;
}

#[tokio::test]
async fn without_traffic_only_inkr_shuts_the_door_seven_days_after_the_first_failure() {
    for (dialect, failures, disabled) in [("inkr", 8, true), ("inklink", 5, false)] {
        let it = Patient::of(dialect).await;
        let began = it.app.clock.now();
        it.degrade(failures).await;
        // Whatever retries there are end within three days, and then nothing happens any more.
        it.app.live(began + Duration::days(7) - Duration::seconds(1) - it.app.clock.now()).await;
        assert_eq!(it.health().await, "degraded", "{dialect}");
        let sent = it.receiver.received().len();
        it.app.clock.set(began + Duration::days(7) + Duration::seconds(1));
        it.app.drain().await;
        assert_eq!(it.health().await == "disabled", disabled, "{dialect}");
        assert_eq!(it.receiver.received().len(), sent);
        assert_eq!(it.mails("webhook.disabled").await.len(), usize::from(disabled));
    }
}

#[tokio::test]
async fn inkr_forgets_the_day_of_the_door_when_a_success_comes_before() {
    let it = Patient::of("inkr").await;
    it.degrade(8).await;
    it.app.live(Duration::days(2)).await;
    it.answers(200);
    it.event().await;
    assert_eq!(it.health().await, "active");
    it.app.live(Duration::days(10)).await;
    assert_eq!(it.health().await, "active");
    assert!(it.mails("webhook.disabled").await.is_empty());
}

#[tokio::test]
async fn gone_disables_at_once_in_every_dialect() {
    for dialect in ["inkode", "iloveqr", "inklink", "inkr", "qrstudio"] {
        let it = Patient::of(dialect).await;
        it.answers(410);
        it.event().await;
        assert_eq!(it.health().await, "disabled", "{dialect}");
        let endpoint = it.app.endpoint_now(&it.org, &it.endpoint).await;
        assert_eq!(endpoint["healthReason"], "The receiver answered 410 Gone.");
        let mails = it.app.mails().await;
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].kind, "webhook.disabled");
        // The retry that was planned is held and not sent.
        it.app.pass(Duration::hours(2)).await;
        assert_eq!(it.receiver.received().len(), 1, "{dialect}");
        assert_eq!(it.app.states(&it.org, &it.endpoint).await, ["held"]);
    }
}

#[tokio::test]
async fn switched_on_again_a_disabled_endpoint_starts_anew_and_what_was_held_is_replayed() {
    let it = Patient::of("inkode").await;
    it.answers(410);
    it.event().await;
    it.event().await;
    it.event().await;
    it.app.pass(Duration::minutes(2)).await;
    assert_eq!(it.app.states(&it.org, &it.endpoint).await, ["held"; 3]);
    it.answers(200);
    let endpoint = it.app.patch_endpoint(&it.org, &it.endpoint, json!({"enabled": true})).await;
    assert_eq!((&endpoint["health"], &endpoint["failuresInRow"]), (&json!("active"), &json!(0)));
    let path = format!("/api/webhooks/endpoints/{}/replay", text(&it.endpoint["id"]));
    it.app.clock.advance(Duration::seconds(1));
    let replay = it.app.owner(&it.org, "POST", &path, Some(json!({"states": ["held"]}))).await.expect(202);
    assert_eq!(replay["total"], 3);
    it.app.drain().await;
    assert_eq!(it.app.states(&it.org, &it.endpoint).await, ["delivered"; 3]);
    assert_eq!(it.receiver.received().len(), 4);
}

#[tokio::test]
async fn failures_from_before_an_endpoint_was_switched_off_do_not_count_when_it_is_on_again() {
    for (dialect, failures) in [("qrstudio", 5), ("inkr", 8)] {
        let it = Patient::of(dialect).await;
        it.degrade(failures).await;
        it.app.patch_endpoint(&it.org, &it.endpoint, json!({"enabled": false})).await;
        it.app.live(Duration::days(10)).await;
        assert!(it.mails("webhook.disabled").await.is_empty(), "{dialect}: the owner knows that it is off");
        let endpoint = it.app.patch_endpoint(&it.org, &it.endpoint, json!({"enabled": true})).await;
        assert_eq!((&endpoint["health"], &endpoint["failuresInRow"]), (&json!("active"), &json!(0)), "{dialect}");
        it.event().await;
        assert_eq!(it.health().await, "active", "{dialect}");
        it.app.leaves_jobs("delivery.attempt");
    }
}

#[tokio::test]
async fn inkr_reactivates_and_qrstudio_switches_on_by_status() {
    let it = Patient::of("inkr").await;
    it.degrade(8).await;
    let id = text(&it.endpoint["id"]);
    let auth = format!("authorization: Bearer {}", it.org.key("inkr_"));
    let seen = it.app.get(&format!("/v1/webhook_endpoints/{id}"), &auth).await.expect(200);
    assert_eq!(seen["failing"], true);
    let path = format!("/v1/webhook_endpoints/{id}/reactivate");
    let seen = it.app.call("POST", &path, &auth, None).await.expect(200);
    assert_eq!(seen["failing"], false);
    assert_eq!(it.health().await, "active");
    it.app.leaves_jobs("delivery.attempt");
    it.app.leaves_jobs("endpoint.check");

    let it = Patient::of("qrstudio").await;
    it.answers(410);
    it.event().await;
    let auth = format!("authorization: Bearer {}", it.org.session(&it.app));
    let list = it.app.get("/api/v1/webhooks/", &auth).await.expect(200);
    let number = list.pointer("/0/id").or(list.pointer("/results/0/id")).unwrap().clone();
    let body = json!({"status": "active"});
    it.app.call("PATCH", &format!("/api/v1/webhooks/{number}/"), &auth, Some(body)).await.expect(200);
    assert_eq!(it.health().await, "active");
    it.app.pass(Duration::minutes(2)).await;
    it.app.leaves_jobs("delivery.attempt");
}

#[tokio::test]
async fn iloveqr_mails_about_deliveries_that_were_given_up_once_per_endpoint_and_hour() {
    let it = Patient::of("iloveqr").await;
    it.app.publish(&it.org, "member.joined", json!({})).await;
    it.app.publish(&it.org, "member.left", json!({})).await;
    it.app.drain().await;
    for gap in [61, 301, 1801, 7201] {
        it.app.pass(Duration::seconds(gap)).await;
        assert!(it.mails("webhook.delivery_failed").await.is_empty());
    }
    it.app.pass(Duration::seconds(86_401)).await;
    assert_eq!(it.app.states(&it.org, &it.endpoint).await, ["failed"; 2]);
    let mails = it.mails("webhook.delivery_failed").await;
    assert_eq!(mails.len(), 1, "one for both");
    assert_eq!(mails[0].recipient, "owner@acme.example");
    assert!(mails[0].text.contains("Attempts: 6"), "{}", mails[0].text);
    let at = moment(&it.app.deliveries(&it.org, &it.endpoint).await[0]["finishedAt"]);
    assert_eq!(at, it.app.clock.now());
    assert!(!it.app.mails().await.iter().any(|mail| mail.kind == "webhook.disabled"));
}
