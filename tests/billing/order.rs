//! Which of two words of Stripe's counts, whatever order they come in.

use std::cmp::Ordering;

use chrono::{DateTime, Duration};
use domain::billing::{stated::Stated, subscription::Subscription};
use proptest::prelude::*;
use serde_json::json;

use super::{billing, customer, run, subscriber, types};
use crate::support::{
    Stripe, TestApp,
    receiver::Reply,
    stripe::{deliver, prices},
};

#[tokio::test]
async fn of_events_of_one_second_none_leads_back() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    app.context.stripe = None;
    // Nothing of this takes a second.
    stripe.subscription("sub_1", "cus_1", "price_pro", "incomplete", json!({}));
    let created = stripe.event("customer.subscription.created", "sub_1");
    stripe.invoice("in_1", "cus_1", json!({}));
    let finalized = stripe.event("invoice.finalized", "in_1");
    stripe.fail("in_1", 1, false);
    let failed = stripe.event("invoice.payment_failed", "in_1");
    stripe.pay("in_1", "pi_1");
    let paid = stripe.event("invoice.paid", "in_1");
    stripe.change("sub_1", json!({"status": "active"}));
    let active = stripe.event("customer.subscription.updated", "sub_1");
    stripe.invoice("in_2", "cus_1", json!({}));
    let open = stripe.event("invoice.finalized", "in_2");
    stripe.change("in_2", json!({"status": "void"}));
    let void = stripe.event("invoice.voided", "in_2");
    for event in [&active, &created, &paid, &failed, &finalized, &void, &open] {
        deliver(&app, event).await.expect(200);
        app.drain().await;
    }
    let shown = billing(&app, &org).await;
    assert_eq!((&shown["plan"], &shown["subscription"]["status"]), (&json!("pro"), &json!("active")));
    let statuses: Vec<_> = shown["invoices"].as_array().unwrap().iter().map(|of| of["status"].clone()).collect();
    assert_eq!(statuses, [json!("void"), json!("paid")]);

    let updated = stripe.event("customer.subscription.updated", "sub_1");
    stripe.change("sub_1", json!({"status": "canceled", "ended_at": stripe.now()}));
    let deleted = stripe.event("customer.subscription.deleted", "sub_1");
    for event in [&deleted, &updated] {
        deliver(&app, event).await.expect(200);
        app.drain().await;
    }
    assert_eq!(billing(&app, &org).await["plan"], "free");
}

#[tokio::test]
async fn an_answer_that_took_long_is_older_than_one_that_was_asked_for_meanwhile() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    stripe.subscription("sub_1", "cus_1", "price_pro", "active", json!({}));
    let client = stripe.client(crate::support::stripe::KEY);
    // What it says was so when it was asked.
    let date = app.clock.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let page = json!({"data": [stripe.event("x", "sub_1")["data"]["object"]]}).to_string();
    let reply = Reply::status(200).with_header("Date", &date).with_body(page);
    stripe.instead(Reply::delay(std::time::Duration::from_millis(2_100), reply));
    let slow = client.subscriptions_of("cus_1").await.unwrap();
    stripe.change("sub_1", json!({"items": {"data": [{"price": {"id": "price_business"}, "quantity": 7}]}}));
    let fast = client.subscriptions_of("cus_1").await.unwrap();
    for answer in [fast, slow] {
        let subscription = Subscription::choose(&answer.value.data, &prices());
        let mut tx = app.store.begin().await.unwrap();
        let (now, chance) = (app.clock.now(), &app.chance);
        jobs::billing::take_subscription(&mut tx, org.id, subscription, answer.stated, now, chance).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(billing(&app, &org).await["plan"], "business");
    app.drain().await;
}

#[tokio::test]
async fn after_an_outage_a_clock_that_is_behind_loses_nothing_and_repeats_nothing() {
    let mut app = TestApp::start().await;
    let (stripe, org, hook) = subscriber(&mut app).await;
    let works = ["billing-snapshot-sync", "invoice-records-backfill"];
    app.clock.advance(Duration::hours(1));
    for work in works {
        run(&app, work).await;
    }
    assert_eq!(types(&hook), ["subscription.created"]);
    // It was away for three days, and believes that it was two and a half; Stripe knows better.
    app.clock.advance(Duration::days(3) - Duration::hours(12));
    stripe.ahead(Duration::hours(12));
    stripe.pay("in_1", "pi_1");
    for work in works {
        run(&app, work).await;
    }
    stripe.change("sub_1", json!({"status": "canceled", "ended_at": stripe.now()}));
    // And once more, after Postgres had said the right time for a while.
    app.clock.advance(Duration::hours(12));
    stripe.ahead(Duration::zero());
    for work in works {
        run(&app, work).await;
    }
    let told = ["subscription.created", "subscription.payment_succeeded", "subscription.cancelled"];
    assert_eq!(types(&hook), told);
    app.clock.advance(-Duration::hours(12));
    stripe.ahead(Duration::hours(12));
    for _ in 0..5 {
        for work in works {
            run(&app, work).await;
        }
        app.clock.advance(Duration::hours(3));
    }
    assert_eq!(types(&hook), told);
    let shown = billing(&app, &org).await;
    assert_eq!((&shown["plan"], &shown["invoices"][0]["status"]), (&json!("free"), &json!("paid")));
}

/// What an answer states that was asked for at `begun` and sent `sent` later, in milliseconds; it came `back` after that.
fn answered(begun: i64, sent: i64, back: i64) -> Stated {
    let date = DateTime::from_timestamp((begun + sent).div_euclid(1000), 0).unwrap();
    Stated::by_answer(date, Duration::milliseconds(sent + back))
}

proptest! {
    #[test]
    fn an_answer_never_claims_to_be_newer_than_its_asking(begun in 0..10_000_i64, sent in 0..30_000_i64, back in 0..5_000_i64) {
        let asked = DateTime::from_timestamp_millis(begun).unwrap();
        prop_assert!(answered(begun, sent, back).at <= asked);
    }

    #[test]
    fn what_was_asked_for_later_is_never_older(
        first in (0..10_000_i64, 0..3_000_i64, 0..20_i64), after in 0..3_000_i64, second in (0..3_000_i64, 0..20_i64),
    ) {
        let (begun, sent, back) = first;
        let held = answered(begun, sent, back);
        let news = answered(begun + sent + back + after, second.0, 0);
        prop_assert_ne!(news.order(held.at), Ordering::Less);
    }

    #[test]
    fn of_events_the_seconds_decide(one in 0..100_i64, other in 0..100_i64) {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        prop_assert_eq!(Stated::by_event(at(one)).order(at(other)), one.cmp(&other));
    }
}
