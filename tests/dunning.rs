//! An invoice that stays unpaid: reminders by a ladder, by day, once; then the plan is suspended, which takes nothing away;
//! and whatever ends the debt ends all of that at once.

mod word;

use chrono::{DateTime, Duration, Utc};
use domain::dunning::{LADDER, step};
use serde_json::{Value, json};

use crate::{
    billing::{billing, customer, run},
    support::{
        Reply, Stripe, TestApp, TestOrg,
        stripe::{days, deliver},
    },
    trial::{expected, owner_lives, pass, sweep, told},
};

/// An invoice whose payment fails now.
async fn fail(app: &TestApp, stripe: &Stripe, id: &str) {
    stripe.invoice(id, "cus_1", json!({}));
    stripe.fail(id, 1, false);
    stripe.tell(app, "invoice.payment_failed", id).await;
}

async fn suspended(app: &TestApp, org: &TestOrg) -> bool {
    billing(app, org).await["suspended"] == true
}

#[test]
fn the_ladder_is_climbed_by_day_and_nobody_is_suspended_without_a_last_warning() {
    let since: DateTime<Utc> = "2026-03-02T12:00:00Z".parse().unwrap();
    let at = |days: i64, warned: Option<i64>| {
        let day = |days| since + Duration::days(days);
        step(since, warned.map(day), day(days)).map(|step| step.name)
    };
    for (day, warned, expected) in [
        (-1, None, None),
        (0, None, Some("first")),
        (2, None, Some("first")),
        (3, None, Some("second")),
        (7, None, Some("third")),
        (10, None, Some("final")),
        (14, Some(10), Some("suspended")),
        (300, Some(10), Some("suspended")),
        // Known only when it was old, or nothing ran: first the warning, and then its four days.
        (300, None, Some("final")),
        (303, Some(300), Some("final")),
        (304, Some(300), Some("suspended")),
    ] {
        assert_eq!(at(day, warned), expected, "{day} {warned:?}");
    }
    assert!(LADDER.is_sorted_by_key(|step| step.day));
}

#[tokio::test]
async fn ninety_days_of_an_invoice_that_fails_recovers_and_fails_again() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    stripe.subscription("sub_1", "cus_1", "price_pro", "active", json!({}));
    stripe.tell(&app, "customer.subscription.created", "sub_1").await;
    fail(&app, &stripe, "in_1").await;
    pass(&app, 4, 24).await;
    // It recovers: nothing more of it.
    stripe.pay("in_1", "pi_1");
    stripe.tell(&app, "invoice.paid", "in_1").await;
    pass(&app, 26, 104).await;
    let mut seen = vec![
        ("2026-03-02T12:00:00Z", "A payment did not work: acme"),
        ("2026-03-05T12:00:00Z", "An invoice is still unpaid: acme"),
    ];
    assert_eq!(told(&app).await, expected(&seen));

    // The next one fails on 1 April, and nobody pays: up to the suspension.
    stripe.change("sub_1", json!({"status": "past_due"}));
    stripe.tell(&app, "customer.subscription.updated", "sub_1").await;
    fail(&app, &stripe, "in_2").await;
    pass(&app, 14, 24).await;
    assert!(!suspended(&app, &org).await);
    sweep(&app).await;
    assert!(suspended(&app, &org).await);
    assert_eq!(billing(&app, &org).await["plan"], "pro", "it is suspended and not taken");
    seen.extend([
        ("2026-04-01T12:00:00Z", "A payment did not work: acme"),
        ("2026-04-04T12:00:00Z", "An invoice is still unpaid: acme"),
        ("2026-04-08T12:00:00Z", "An invoice is still unpaid: acme"),
        ("2026-04-11T12:00:00Z", "Last reminder before your plan is suspended: acme"),
        ("2026-04-15T12:00:00Z", "Your plan is suspended: acme"),
    ]);
    assert_eq!(told(&app).await, expected(&seen));
    let warning = app.mails().await.into_iter().find(|mail| mail.subject.starts_with("Last")).unwrap();
    for words in ["19.00 EUR", "https://invoice.stripe.example/in_2", "15 April 2026, 12:00 UTC", "nothing is deleted"]
    {
        assert!(warning.text.contains(words), "{words}: {}", warning.text);
    }
    pass(&app, 10, 48).await;
    assert_eq!(told(&app).await.len(), seen.len(), "there is nothing after that");

    // Paid: within seconds all is as before.
    stripe.pay("in_2", "pi_2");
    deliver(&app, &stripe.event("invoice.paid", "in_2")).await.expect(200);
    app.drain().await;
    assert!(!suspended(&app, &org).await);
    seen.push(("2026-04-25T12:00:00Z", "Your plan is back: acme"));
    assert_eq!(told(&app).await, expected(&seen));
    // And it fails once more, until it is voided.
    pass(&app, 20, 96).await;
    fail(&app, &stripe, "in_3").await;
    pass(&app, 1, 12).await;
    stripe.change("in_3", json!({"status": "void", "status_transitions": {"voided_at": app.clock.now().timestamp()}}));
    stripe.tell(&app, "invoice.voided", "in_3").await;
    pass(&app, 15, 24).await;
    seen.push(("2026-05-15T12:00:00Z", "A payment did not work: acme"));
    assert_eq!(told(&app).await, expected(&seen));
    assert_eq!(app.clock.now().to_rfc3339(), "2026-05-31T12:00:00+00:00", "ninety days");
    assert!(stripe.asked().iter().all(|path| !path.contains("/pay")), "nobody was charged");
}

#[tokio::test]
async fn reminders_come_by_day_where_owners_live_also_when_clocks_are_set() {
    // The day before a change at ten in the evening, and three days later.
    for (zone, failed, first, second) in [
        ("Europe/Berlin", "2026-03-27T21:00:00Z", "2026-03-28T08:00:00Z", "2026-03-31T07:00:00Z"),
        ("America/New_York", "2026-03-07T03:00:00Z", "2026-03-07T14:00:00Z", "2026-03-10T13:00:00Z"),
        ("Pacific/Auckland", "2026-04-03T09:00:00Z", "2026-04-03T20:00:00Z", "2026-04-06T21:00:00Z"),
    ] {
        let mut app = TestApp::start().await;
        let stripe = Stripe::start(&mut app);
        let org = customer(&app, &stripe, "acme", "cus_1").await;
        owner_lives(&app, &org, zone).await;
        app.clock.set(failed.parse().unwrap());
        fail(&app, &stripe, "in_1").await;
        pass(&app, 5, 24).await;
        let seen = expected(&[(first, "A payment did not work: acme"), (second, "An invoice is still unpaid: acme")]);
        assert_eq!(told(&app).await, seen, "{zone}");
    }
}

#[tokio::test]
async fn every_owner_is_told_and_no_other_member() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    owner_lives(&app, &org, "Europe/Berlin").await;
    let promote = "update members set role = 'owner' from users u where u.id = user_id and u.name = 'member'";
    sqlx::query(promote).execute(app.store.pool()).await.unwrap();
    app.sql("update users set time_zone = 'America/Los_Angeles' where name = 'member'").await;
    fail(&app, &stripe, "in_1").await;
    pass(&app, 1, 12).await;
    let mut seen: Vec<(String, String)> =
        crate::trial::mails(&app).await.into_iter().map(|(at, to, _)| (at, to)).collect();
    seen.sort();
    // It is four in the morning in Los Angeles.
    assert_eq!(
        seen,
        expected(&[("2026-03-02T12:00:00Z", "owner@acme.example"), ("2026-03-02T17:00:00Z", "member@acme.example")])
    );
}

#[tokio::test]
async fn after_an_outage_only_the_rung_that_is_right_is_told_and_a_clock_behind_repeats_none() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    fail(&app, &stripe, "in_1").await;
    // Twelve hours of nothing, over the first rung's time.
    app.clock.advance(Duration::hours(12));
    sweep(&app).await;
    app.live(Duration::hours(12)).await;
    let mut seen = vec![("2026-03-03T09:00:00Z", "A payment did not work: acme")];
    assert_eq!(told(&app).await, expected(&seen));
    // Twelve hours back, and as Stripe's clock is not.
    app.clock.advance(-Duration::hours(12));
    stripe.ahead(Duration::hours(12));
    pass(&app, 1, 12).await;
    assert_eq!(told(&app).await, expected(&seen));
    app.clock.advance(Duration::hours(12));
    stripe.ahead(Duration::zero());
    // Away for weeks: the last warning, whose four days count from now.
    app.clock.advance(Duration::days(26));
    sweep(&app).await;
    seen.push(("2026-03-30T12:00:00Z", "Last reminder before your plan is suspended: acme"));
    assert_eq!(told(&app).await, expected(&seen));
    assert!(app.mails().await[0].text.contains("until 3 April 2026, 12:00 UTC"));
    app.clock.advance(-Duration::hours(12));
    pass(&app, 4, 12).await;
    assert!(!suspended(&app, &org).await);
    pass(&app, 1, 12).await;
    assert!(suspended(&app, &org).await);
    seen.push(("2026-04-03T12:00:00Z", "Your plan is suspended: acme"));
    assert_eq!(told(&app).await, expected(&seen));
    // The payment is known by asking only, from a clock that is behind.
    app.clock.advance(-Duration::hours(12));
    stripe.ahead(Duration::hours(12));
    stripe.pay("in_1", "pi_1");
    run(&app, "invoice-records-backfill").await;
    assert!(!suspended(&app, &org).await);
}

#[tokio::test]
async fn what_ends_a_debt_before_the_morning_ends_its_reminder() {
    for how in ["paid", "void", "disputed"] {
        let mut app = TestApp::start().await;
        let stripe = Stripe::start(&mut app);
        let org = customer(&app, &stripe, "acme", "cus_1").await;
        owner_lives(&app, &org, "Pacific/Auckland").await;
        fail(&app, &stripe, "in_1").await;
        sweep(&app).await;
        match how {
            "paid" => stripe.pay("in_1", "pi_1"),
            "void" => stripe.change("in_1", json!({"status": "void"})),
            _ => stripe.paid_partly("in_1", "pi_1"),
        }
        let dispute = json!({"object": "dispute", "status": "needs_response", "charge": null, "payment_intent": "pi_1",
                             "created": app.clock.now().timestamp()});
        let event = match how {
            "disputed" => stripe.event_of("charge.dispute.created", dispute),
            _ => stripe.event("invoice.updated", "in_1"),
        };
        deliver(&app, &event).await.expect(200);
        pass(&app, 15, 24).await;
        assert!(told(&app).await.is_empty(), "{how}");
        assert!(!suspended(&app, &org).await, "{how}");
    }
}

#[tokio::test]
async fn an_invoice_that_is_sent_counts_from_the_day_by_which_it_was_to_be_paid() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    customer(&app, &stripe, "acme", "cus_1").await;
    let due = app.clock.now().timestamp() + days(30);
    stripe.invoice("in_1", "cus_1", json!({"collection_method": "send_invoice", "due_date": due}));
    stripe.tell(&app, "invoice.finalized", "in_1").await;
    pass(&app, 30, 24).await;
    assert!(told(&app).await.is_empty());
    pass(&app, 4, 24).await;
    assert_eq!(
        told(&app).await,
        expected(&[
            ("2026-04-01T12:00:00Z", "An invoice is due: acme"),
            ("2026-04-04T12:00:00Z", "An invoice is still unpaid: acme"),
        ])
    );
}

#[tokio::test]
async fn while_a_plan_is_suspended_nothing_is_made_and_nothing_is_lost() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    let other = app.org("other").await;
    let body = || json!({"destination": "https://shop.example", "slug": "summer"});
    let link = app.owner(&org, "POST", "/api/links", Some(body())).await.expect(201);
    let path = format!("/api/links/{}", link["id"].as_str().unwrap());
    fail(&app, &stripe, "in_1").await;
    pass(&app, 14, 24).await;
    sweep(&app).await;

    let is_locked = |reply: Reply| {
        assert_eq!(reply.status, 402, "{}", reply.text);
        reply.json
    };
    let session = async |method: &str, path: &str, body: Value| app.owner(&org, method, path, Some(body)).await;
    let problem = is_locked(session("POST", "/api/links", json!({"destination": "https://shop.example"})).await);
    assert_eq!(problem["code"], "plan_suspended");
    assert!(problem["detail"].as_str().unwrap().contains("/api/org/{orgId}/billing"));
    is_locked(session("PATCH", &path, json!({"title": "x"})).await);
    is_locked(session("PUT", "/api/conversion-origins", json!({"origins": []})).await);
    let key = |header: &str, prefix: &str| format!("{header}: {}", org.key(prefix));
    is_locked(app.post("/api/v1/events", &key("x-api-key", "ink_"), json!({"type": "qr.created", "data": {}})).await);
    let endpoint = json!({"url": "https://hooks.example"});
    let inklink = app.post("/api/v1/webhook/endpoints", &key("api-key", "secret_live_"), endpoint.clone()).await;
    assert!(is_locked(inklink)["error"]["message"].as_str().unwrap().contains("suspended"));
    let bearer = |prefix: &str| format!("authorization: Bearer {}", org.key(prefix));
    is_locked(app.post("/v1/webhook_endpoints", &bearer("inkr_"), endpoint.clone()).await);
    is_locked(app.post("/api/v1/webhooks/", &bearer("smk_"), endpoint).await);
    // What reads, what only looks, and what codes do goes on.
    app.owner(&org, "GET", "/api/links", None).await.expect(200);
    app.owner(&org, "GET", &path, None).await.expect(200);
    session("POST", &format!("{path}/explain"), json!({})).await.expect(200);
    assert_eq!(app.send("GET", "/r/summer", &[], None).await.status, 302);
    app.store_visits().await;
    assert_eq!(billing(&app, &org).await["suspendedAt"], "2026-03-16T12:00:00.000Z");
    // Another workspace has nothing to do with it.
    app.owner(&other, "POST", "/api/links", Some(json!({"destination": "https://shop.example"}))).await.expect(201);
    assert_eq!(app.owner(&org, "DELETE", &path, None).await.status, 204);

    // Two debts: only when both are paid.
    fail(&app, &stripe, "in_2").await;
    for (invoice, status) in [("in_1", 402), ("in_2", 201)] {
        stripe.pay(invoice, &format!("pi_{invoice}"));
        stripe.tell(&app, "invoice.paid", invoice).await;
        assert_eq!(session("POST", "/api/links", body()).await.status, status, "{invoice}");
    }
}

#[tokio::test]
async fn what_is_owed_for_something_else_or_written_off_takes_no_plan() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    stripe.subscription("sub_1", "cus_1", "price_pro", "active", json!({}));
    stripe.tell(&app, "customer.subscription.created", "sub_1").await;
    // Of a subscription that was, and of none.
    let old = json!({"type": "subscription_details",
                     "subscription_details": {"subscription": "sub_old", "metadata": {}}});
    stripe.invoice("in_old", "cus_1", json!({"parent": old}));
    stripe.invoice("in_once", "cus_1", json!({"parent": null}));
    for id in ["in_old", "in_once"] {
        stripe.fail(id, 1, false);
        stripe.tell(&app, "invoice.payment_failed", id).await;
    }
    pass(&app, 20, 24).await;
    assert!(!suspended(&app, &org).await);
    let told = told(&app).await;
    assert_eq!(told.len(), 8, "both are reminded of up to the last warning: {told:?}");

    // The plan's own suspends it, until it is written off.
    fail(&app, &stripe, "in_1").await;
    pass(&app, 15, 24).await;
    assert!(suspended(&app, &org).await);
    stripe.change("in_1", json!({"status": "uncollectible"}));
    stripe.tell(&app, "invoice.marked_uncollectible", "in_1").await;
    assert!(!suspended(&app, &org).await);
}
