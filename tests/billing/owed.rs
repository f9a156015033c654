//! What is owed for longer than the walks go back, and is paid without anybody telling so.

use chrono::Duration;
use serde_json::json;

use super::{billing, count, customer, run, run_after};
use crate::{
    support::{Stripe, TestApp, stripe::days},
    trial::{pass, sweep},
};

/// The invoices that were asked for one by one, since the first `from` requests.
fn asked_for(stripe: &Stripe, from: usize) -> Vec<String> {
    let id = |path: String| Some(path.strip_prefix("/v1/invoices/")?.split('?').next()?.to_owned());
    stripe.asked().split_off(from).into_iter().filter_map(id).collect()
}

#[tokio::test]
async fn a_debt_that_is_older_than_the_walks_go_is_over_without_its_event() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    stripe.invoice("in_1", "cus_1", json!({}));
    stripe.fail("in_1", 1, false);
    stripe.tell(&app, "invoice.payment_failed", "in_1").await;
    pass(&app, 14, 24).await;
    sweep(&app).await;
    app.clock.advance(Duration::days(80));
    run(&app, "invoice-records-backfill").await;
    assert_eq!(billing(&app, &org).await["suspended"], true);
    stripe.pay("in_1", "pi_1");
    run_after(&app, 6, "invoice-records-backfill").await;
    let shown = billing(&app, &org).await;
    assert_eq!((&shown["suspended"], &shown["invoices"][0]["status"]), (&json!(false), &json!("paid")));
}

#[tokio::test]
async fn what_is_owed_for_long_is_asked_for_once_a_walk_and_goes_on_where_it_was() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    customer(&app, &stripe, "acme", "cus_1").await;
    let mut ids = vec![];
    for n in 0..130 {
        let (id, created) = (format!("in_{n:03}"), stripe.now() - days(100) + n);
        stripe.invoice(&id, "cus_1", json!({"created": created, "attempt_count": 2}));
        ids.push(id);
    }
    run(&app, "invoice-records-backfill").await;
    assert_eq!(count(&app, "select count(*) from invoices where owed_since is not null").await, 130);
    assert!(asked_for(&stripe, 0).is_empty(), "the first walk has told of all");
    let from = stripe.asked().len();
    run_after(&app, 6, "invoice-records-backfill").await;
    let mut asked = asked_for(&stripe, from);
    asked.sort();
    assert_eq!(asked, ids, "each once, in more than one run");
    assert_eq!(count(&app, "select count(*) from billing_walks where under_way").await, 0);

    // As a process leaves it that died on the way; and then Stripe is away for a while.
    app.sql("update billing_walks set under_way = true, after_id = 'in_099', begun_at = '2026-03-03 12:00Z' where name = 'owed'")
        .await;
    app.clock.set("2026-03-03T13:00:00Z".parse().unwrap());
    let from = stripe.asked().len();
    stripe.shut(Some(500));
    run(&app, "invoice-records-backfill").await;
    stripe.shut(None);
    app.pass(Duration::seconds(30)).await;
    let asked = asked_for(&stripe, from);
    assert!(asked.iter().take(4 + 30).all(|id| *id > ids[99]), "{asked:?}");
    // What was left, and then the walk of this slot with what it does not tell.
    assert_eq!(asked.len(), 4 + 30 + 100);
    assert_eq!(count(&app, "select count(*) from billing_walks where under_way").await, 0);
}
