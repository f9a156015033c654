//! Trials: who owns the workspace is told 7, 3 and 1 days before the end and at the end, by day, once; and not at all where
//! the trial was moved or paid for meanwhile.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::json;

use crate::{
    billing::customer,
    support::{Stripe, TestApp, TestOrg, stripe::days},
};

/// Lets days pass; every so many hours all reminders that are due are looked for.
pub async fn pass(app: &TestApp, days: i64, every: i64) {
    for _ in 0..days * 24 / every {
        announce(app).await;
        app.live(Duration::hours(every)).await;
    }
}

async fn announce(app: &TestApp) {
    let mut tx = app.store.begin().await.unwrap();
    for kind in ["trial.sweep", "dunning.sweep"] {
        let entry = jobs::schedule::entry(kind).unwrap();
        entry.announce(&mut tx, None, app.clock.now(), &app.chance).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// Looks for reminders that are due.
pub async fn sweep(app: &TestApp) {
    announce(app).await;
    app.drain().await;
}

/// Every mail so far, oldest first: when, to whom, and what it is about.
pub async fn mails(app: &TestApp) -> Vec<(String, String, String)> {
    let mails = app.mails().await.into_iter().rev();
    let at = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    mails.map(|mail| (at(mail.created_at), mail.recipient, mail.subject)).collect()
}

/// The same without the recipients.
pub async fn told(app: &TestApp) -> Vec<(String, String)> {
    mails(app).await.into_iter().map(|(at, _, subject)| (at, subject)).collect()
}

pub fn expected(mails: &[(&str, &str)]) -> Vec<(String, String)> {
    mails.iter().map(|(at, subject)| ((*at).to_owned(), (*subject).to_owned())).collect()
}

/// Where an organisation's owner lives.
pub async fn owner_lives(app: &TestApp, org: &TestOrg, zone: &str) {
    let mut conn = app.store.pool().acquire().await.unwrap();
    domain::user::set_time_zone(&mut conn, org.owner, zone.parse().unwrap()).await.unwrap();
}

/// A trial of the plan Pro that has just begun.
async fn begin(app: &TestApp, stripe: &Stripe, length: i64) {
    let now = app.clock.now().timestamp();
    let trial = json!({"trial_start": now, "trial_end": now + days(length)});
    stripe.subscription("sub_1", "cus_1", "price_pro", "trialing", trial);
    stripe.tell(app, "customer.subscription.created", "sub_1").await;
}

#[tokio::test]
async fn a_trial_that_ends_is_told_four_times_to_its_owner_alone() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    begin(&app, &stripe, 14).await;
    assert_eq!(crate::billing::billing(&app, &org).await["plan"], "pro");
    pass(&app, 14, 24).await;
    let ended = json!({"status": "canceled", "ended_at": app.clock.now().timestamp()});
    stripe.change("sub_1", ended);
    stripe.tell(&app, "customer.subscription.deleted", "sub_1").await;
    for hours in [1, 1, 4, 18] {
        sweep(&app).await;
        app.live(Duration::hours(hours)).await;
    }
    pass(&app, 75, 72).await;
    assert_eq!(
        told(&app).await,
        expected(&[
            ("2026-03-09T12:00:00Z", "Your trial ends in 7 days: acme"),
            ("2026-03-13T12:00:00Z", "Your trial ends in 3 days: acme"),
            ("2026-03-15T12:00:00Z", "Your trial ends in 1 day: acme"),
            // An hour later, which Stripe has to say what became of it.
            ("2026-03-16T13:00:00Z", "Your trial has ended: acme"),
        ])
    );
    assert!(mails(&app).await.iter().all(|(_, to, _)| to == "owner@acme.example"));
    let last = &app.mails().await[0];
    assert!(last.text.contains("Plan: free") && last.text.contains("Nothing was deleted"), "{}", last.text);
    assert!(last.unsubscribe.is_none() && last.text.contains("you own a workspace"));
}

#[tokio::test]
async fn a_trial_that_was_moved_or_paid_for_drops_what_was_begun() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    // One in the morning at dawn.
    owner_lives(&app, &org, "Pacific/Auckland").await;
    begin(&app, &stripe, 7).await;
    let end = app.clock.now() + Duration::days(7);
    app.clock.advance(Duration::days(4));
    sweep(&app).await;
    let waiting = "select count(*) from jobs where kind = 'trial.remind'";
    let waiting = async || sqlx::query_scalar::<_, i64>(waiting).fetch_one(app.store.pool()).await.unwrap();
    assert_eq!((waiting().await, told(&app).await.len()), (1, 0), "it is night there");
    // Before it is day, the trial is longer.
    stripe.change("sub_1", json!({"trial_end": (end + Duration::days(7)).timestamp()}));
    stripe.tell(&app, "customer.subscription.updated", "sub_1").await;
    app.live(Duration::hours(12)).await;
    assert_eq!((waiting().await, told(&app).await.len()), (0, 0));
    app.live(Duration::hours(84)).await;
    // The reminders of the new end come, until it is paid for.
    pass(&app, 2, 6).await;
    let seen = told(&app).await;
    assert_eq!(seen, expected(&[("2026-03-10T20:00:00Z", "Your trial ends in 6 days: acme")]));
    app.clock.set(end + Duration::days(4));
    sweep(&app).await;
    assert_eq!(waiting().await, 1);
    stripe.change("sub_1", json!({"status": "active", "trial_end": app.clock.now().timestamp()}));
    stripe.tell(&app, "customer.subscription.updated", "sub_1").await;
    pass(&app, 30, 24).await;
    assert_eq!((waiting().await, told(&app).await.len()), (0, 1));
}

#[tokio::test]
async fn after_an_outage_only_the_reminder_that_is_right_is_sent_and_a_clock_behind_repeats_none() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    customer(&app, &stripe, "acme", "cus_1").await;
    begin(&app, &stripe, 14).await;
    // Nothing ran from the second day to the twelfth.
    app.clock.advance(Duration::days(12));
    sweep(&app).await;
    let only = expected(&[("2026-03-14T12:00:00Z", "Your trial ends in 2 days: acme")]);
    assert_eq!(told(&app).await, only);
    // The machine that comes back is twelve hours behind.
    app.clock.advance(-Duration::hours(12));
    pass(&app, 1, 6).await;
    assert_eq!(told(&app).await, only);
    app.clock.advance(Duration::hours(12));
    sweep(&app).await;
    assert_eq!(told(&app).await[1..], expected(&[("2026-03-15T12:00:00Z", "Your trial ends in 1 day: acme")]));
    // Away over the end, and for so long that nobody wants to hear of it.
    app.clock.advance(Duration::days(5));
    sweep(&app).await;
    assert_eq!(told(&app).await.len(), 2);
}

#[tokio::test]
async fn a_short_trial_is_not_told_of_what_it_began_with() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    customer(&app, &stripe, "acme", "cus_1").await;
    begin(&app, &stripe, 2).await;
    pass(&app, 1, 12).await;
    assert!(told(&app).await.is_empty());
    sweep(&app).await;
    assert_eq!(told(&app).await, expected(&[("2026-03-03T12:00:00Z", "Your trial ends in 1 day: acme")]));
}

#[tokio::test]
async fn nobody_is_told_that_a_trial_has_ended_before_stripe_says_what_became_of_it() {
    // The key is revoked before the end, and mended so many days after it.
    for (becomes, days, end) in
        [("active", 2, None), ("canceled", 2, Some("2026-03-18T12:00:00Z")), ("canceled", 4, None)]
    {
        let mut app = TestApp::start().await;
        let stripe = Stripe::start(&mut app);
        customer(&app, &stripe, "acme", "cus_1").await;
        begin(&app, &stripe, 14).await;
        pass(&app, 13, 24).await;
        sweep(&app).await;
        let before = told(&app).await;
        assert_eq!(before.len(), 3);
        stripe.shut(Some(401));
        app.clock.advance(Duration::days(1));
        stripe.change("sub_1", json!({"status": becomes, "ended_at": stripe.now()}));
        pass(&app, days, 6).await;
        assert_eq!(told(&app).await, before, "{becomes}: nobody knows");
        stripe.shut(None);
        sweep(&app).await;
        let end: Vec<_> = end.into_iter().map(|at| (at, "Your trial has ended: acme")).collect();
        assert_eq!(told(&app).await[3..], expected(&end), "{becomes} {days}");
    }
}

#[tokio::test]
async fn a_reminder_waits_for_a_word_that_is_not_days_old() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    customer(&app, &stripe, "acme", "cus_1").await;
    begin(&app, &stripe, 14).await;
    let end = app.clock.now() + Duration::days(14);
    stripe.shut(Some(500));
    pass(&app, 8, 24).await;
    assert!(told(&app).await.is_empty());
    // It was moved meanwhile, and no event came.
    stripe.change("sub_1", json!({"trial_end": (end + Duration::days(7)).timestamp()}));
    stripe.shut(None);
    pass(&app, 7, 24).await;
    assert_eq!(told(&app).await, expected(&[("2026-03-16T12:00:00Z", "Your trial ends in 7 days: acme")]));

    // One that was begun at night is asked for in the morning.
    app.clock.set(end + Duration::days(4) + Duration::hours(6));
    sweep(&app).await;
    assert_eq!(told(&app).await.len(), 1, "it is evening");
    stripe.shut(Some(500));
    app.live(Duration::hours(16)).await;
    assert_eq!(told(&app).await.len(), 1, "Stripe says nothing");
    stripe.change("sub_1", json!({"status": "active"}));
    stripe.shut(None);
    app.live(Duration::hours(8)).await;
    assert_eq!(told(&app).await.len(), 1, "it is paid for");
}

#[tokio::test]
async fn without_a_key_the_last_event_counts_and_an_end_needs_one() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    customer(&app, &stripe, "acme", "cus_1").await;
    begin(&app, &stripe, 14).await;
    app.context.stripe = None;
    pass(&app, 15, 24).await;
    sweep(&app).await;
    assert_eq!(told(&app).await.len(), 3);
    let ended = app.clock.now() - Duration::days(1);
    stripe.change("sub_1", json!({"status": "canceled", "ended_at": ended.timestamp()}));
    stripe.tell(&app, "customer.subscription.deleted", "sub_1").await;
    pass(&app, 1, 1).await;
    assert_eq!(told(&app).await[3..], expected(&[("2026-03-17T13:00:00Z", "Your trial has ended: acme")]));
}
