//! By which word of Stripe's somebody is reminded or suspended, and from when on a warning counts.

use chrono::{DateTime, Duration, Utc};
use serde_json::json;

use super::fail;
use crate::{
    billing::customer,
    support::{Stripe, TestApp, TestOrg},
    trial::{expected, owner_lives, pass, sweep, told},
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Since when the plan is suspended.
async fn suspended_at(app: &TestApp, org: &TestOrg) -> Option<DateTime<Utc>> {
    let found = "select suspended_at from organizations where id = $1";
    sqlx::query_scalar(found).bind(org.id.0).fetch_one(app.store.pool()).await.unwrap()
}

#[tokio::test]
async fn who_paid_while_stripe_could_not_be_asked_is_neither_reminded_nor_suspended() {
    for status in [401, 500] {
        let mut app = TestApp::start().await;
        let stripe = Stripe::start(&mut app);
        let org = customer(&app, &stripe, "acme", "cus_1").await;
        fail(&app, &stripe, "in_1").await;
        pass(&app, 2, 24).await;
        stripe.shut(Some(status));
        stripe.pay("in_1", "pi_1");
        pass(&app, 20, 24).await;
        assert_eq!(told(&app).await.len(), 1, "{status}: the first, when it was true");
        stripe.shut(None);
        pass(&app, 5, 24).await;
        assert_eq!((told(&app).await.len(), suspended_at(&app, &org).await), (1, None), "{status}");
    }
}

#[tokio::test]
async fn what_waited_for_stripe_goes_on_with_the_rung_that_is_right_then() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    for n in 1..=9 {
        fail(&app, &stripe, &format!("in_{n}")).await;
    }
    pass(&app, 2, 24).await;
    let asked = stripe.asked().len();
    stripe.shut(Some(500));
    pass(&app, 18, 24).await;
    assert_eq!(told(&app).await.len(), 9);
    assert!(stripe.asked().len() - asked <= 18 * 4, "who says nothing is not asked for all");
    stripe.shut(None);
    let rest: Vec<String> = (2..=9).map(|n| format!("in_{n}")).collect();
    rest.iter().for_each(|id| stripe.pay(id, id));
    pass(&app, 4, 24).await;
    assert_eq!(suspended_at(&app, &org).await, None);
    sweep(&app).await;
    assert_eq!(
        told(&app).await[9..],
        expected(&[
            ("2026-03-22T12:00:00Z", "Last reminder before your plan is suspended: acme"),
            ("2026-03-26T12:00:00Z", "Your plan is suspended: acme"),
        ])
    );
    assert_eq!(suspended_at(&app, &org).await, Some(at("2026-03-26T12:00:00Z")));
}

#[tokio::test]
async fn a_reminder_that_waited_for_the_morning_asks_again() {
    for is_paid in [true, false] {
        let mut app = TestApp::start().await;
        let stripe = Stripe::start(&mut app);
        customer(&app, &stripe, "acme", "cus_1").await;
        app.clock.set(at("2026-03-02T18:00:00Z"));
        fail(&app, &stripe, "in_1").await;
        sweep(&app).await;
        stripe.shut(Some(500));
        app.live(Duration::hours(16)).await;
        assert!(told(&app).await.is_empty());
        if is_paid {
            stripe.pay("in_1", "pi_1");
        }
        stripe.shut(None);
        app.live(Duration::hours(4)).await;
        let seen = [("2026-03-03T11:00:00Z", "A payment did not work: acme")];
        assert_eq!(told(&app).await, expected(if is_paid { &[] } else { &seen }));
    }
}

#[tokio::test]
async fn without_a_key_what_events_said_counts_however_long_ago() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    app.context.stripe = None;
    fail(&app, &stripe, "in_1").await;
    pass(&app, 15, 24).await;
    assert_eq!(suspended_at(&app, &org).await, Some(at("2026-03-16T12:00:00Z")));
    assert_eq!(told(&app).await.len(), 5);
}

#[tokio::test]
async fn the_four_days_of_the_last_warning_count_from_when_it_was_posted() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    app.clock.set(at("2026-03-02T18:00:00Z"));
    fail(&app, &stripe, "in_1").await;
    pass(&app, 10, 24).await;
    sweep(&app).await;
    assert_eq!(told(&app).await.len(), 3, "the last is begun, and it is evening");
    // Whoever posts it is away for days; whoever suspends is not.
    app.sql("update jobs set run_at = '2026-03-16 09:00Z' where kind = 'dunning.remind'").await;
    pass(&app, 7, 6).await;
    assert_eq!(suspended_at(&app, &org).await, None);
    let warning = app.mails().await.remove(0);
    assert!(warning.subject.starts_with("Last reminder"), "{}", warning.subject);
    assert_eq!(warning.created_at, at("2026-03-16T09:00:00Z"));
    assert!(warning.text.contains("until 20 March 2026, 09:00 UTC"), "{}", warning.text);
    app.live(Duration::hours(14)).await;
    sweep(&app).await;
    assert_eq!(suspended_at(&app, &org).await, None, "an hour before");
    app.clock.advance(Duration::hours(1));
    sweep(&app).await;
    assert_eq!(suspended_at(&app, &org).await, Some(at("2026-03-20T09:00:00Z")));
}

#[tokio::test]
async fn a_warning_that_is_never_posted_suspends_nobody() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    app.clock.set(at("2026-03-02T18:00:00Z"));
    fail(&app, &stripe, "in_1").await;
    pass(&app, 10, 24).await;
    sweep(&app).await;
    app.sql("update jobs set run_at = '2026-12-01' where kind = 'dunning.remind'").await;
    pass(&app, 30, 24).await;
    assert_eq!((told(&app).await.len(), suspended_at(&app, &org).await), (3, None));
    app.leaves_jobs("dunning.remind");
}

#[tokio::test]
async fn who_became_an_owner_before_the_last_warning_was_posted_is_warned() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    owner_lives(&app, &org, "Pacific/Auckland").await;
    fail(&app, &stripe, "in_1").await;
    pass(&app, 10, 24).await;
    sweep(&app).await;
    // It is one in the morning there, and another one owns the workspace before it is day.
    app.sql(
        "update members set role = case u.name when 'member' then 'owner' else 'member' end from users u where u.id = user_id",
    )
    .await;
    app.live(Duration::hours(8)).await;
    assert_eq!(told(&app).await.len(), 3, "the person is no owner any more");
    app.clock.set(at("2026-03-13T10:00:00Z"));
    sweep(&app).await;
    let (when, to, about) = crate::trial::mails(&app).await.pop().unwrap();
    assert_eq!((when.as_str(), to.as_str()), ("2026-03-13T10:00:00Z", "member@acme.example"));
    assert!(about.starts_with("Last reminder"), "{about}");
    for hours in [95, 1] {
        assert_eq!(suspended_at(&app, &org).await, None);
        app.clock.advance(Duration::hours(hours));
        sweep(&app).await;
    }
    assert_eq!(suspended_at(&app, &org).await, Some(at("2026-03-17T10:00:00Z")));
}

#[tokio::test]
async fn a_workspace_without_an_owner_is_suspended_all_the_same() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    app.sql("delete from members where role = 'owner'").await;
    fail(&app, &stripe, "in_1").await;
    pass(&app, 15, 24).await;
    assert_eq!(suspended_at(&app, &org).await, Some(at("2026-03-16T12:00:00Z")));
    assert!(told(&app).await.is_empty());
    // One who comes then has the plan back by paying.
    stripe.change("in_1", json!({"status": "void"}));
    stripe.tell(&app, "invoice.voided", "in_1").await;
    assert_eq!(suspended_at(&app, &org).await, None);
}
