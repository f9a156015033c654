//! Whose customer is whose, and how often each is asked for.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex},
};

use chrono::Duration;
use domain::clock::Clock;
use futures::future::join_all;
use jobs::{
    job::Queue,
    lane::LaneSet,
    queue::{self, Lanes, Session},
};
use serde_json::json;
use workers::registry::Registry;

use super::{billing, customer, run, run_after};
use crate::{
    program::production,
    support::{Stripe, TestApp, killed::die_after},
    trial::{pass, sweep},
};

/// So many workspaces with customers that were never asked for.
async fn customers(app: &TestApp, stripe: &Stripe, n: u32) {
    let insert = "with o as (insert into organizations (id, slug, name, plan, created_at)
                             select gen_random_uuid(), 'o' || n, 'o', 'starter', now() from generate_series(1, $1) n
                             returning id, slug)
                  insert into billing_customers select id, 'cus_' || slug, 'epoch', now() from o";
    sqlx::query(insert).bind(n as i32).execute(app.store.pool()).await.unwrap();
    for n in 1..=n {
        stripe.customer(&format!("cus_o{n}"), None);
    }
}

/// How many different customers were asked for, and how many requests that took.
fn asked(stripe: &Stripe) -> (usize, usize) {
    let mut asked = stripe.asked();
    let requests = asked.len();
    asked.sort();
    asked.dedup();
    (asked.len(), requests)
}

#[tokio::test]
async fn a_run_ends_when_each_customer_was_asked_for_once_however_long_that_takes() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    customers(&app, &stripe, 250).await;
    // Eighty minutes in all.
    stripe.takes(Duration::seconds(20));
    run(&app, "billing-snapshot-sync").await;
    assert_eq!(asked(&stripe), (250, 250));
    run_after(&app, 1, "billing-snapshot-sync").await;
    assert_eq!(asked(&stripe), (250, 500), "the next slot asks for each again");
}

/// Has the customers asked for in the slot of now.
async fn announce(app: &TestApp) {
    let mut tx = app.store.begin().await.unwrap();
    let entry = jobs::schedule::entry("billing.sync_snapshots").unwrap();
    entry.announce(&mut tx, None, app.clock.now(), &app.chance).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn runs_of_two_slots_do_not_ask_for_the_same_customers() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    customers(&app, &stripe, 150).await;
    for _ in 0..2 {
        announce(&app).await;
        app.clock.advance(Duration::hours(1));
    }
    // Two processes at it at the same time.
    let mut conn = app.pinned().acquire().await.unwrap().detach();
    let session = Session::open(&mut conn, "story", app.clock.now()).await.unwrap();
    let (mut lanes, mut jobs) = (Lanes::new(Queue::System), vec![]);
    while jobs.len() < 2 {
        let claimed = queue::claim(&mut conn, &mut lanes, LaneSet::ALL, session.id, 10, app.clock.now()).await.unwrap();
        jobs.extend(claimed.0);
    }
    let registry = Registry::complete();
    let ended = join_all(jobs.into_iter().map(|job| registry.run(&app.context, job))).await;
    let ended: Vec<_> = ended.into_iter().flatten().collect();
    queue::complete(&mut conn, &ended, app.clock.now()).await.unwrap();
    session.close(&mut conn, app.clock.now()).await.unwrap();
    app.drain().await;
    assert_eq!(asked(&stripe), (150, 150));
}

#[tokio::test]
async fn whom_a_process_was_asking_for_when_it_died_the_next_try_asks_for() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    customers(&app, &stripe, 6).await;
    let registry = Registry::complete();
    for steps in 1..=24 {
        app.clock.advance(Duration::hours(1));
        announce(&app).await;
        let mut conn = app.pinned().acquire().await.unwrap().detach();
        let session = Session::open(&mut conn, "story", app.clock.now()).await.unwrap();
        let mut lanes = Lanes::new(Queue::System);
        let claim = queue::claim(&mut conn, &mut lanes, LaneSet::ALL, session.id, 10, app.clock.now());
        let job = claim.await.unwrap().0.remove(0);
        let before = stripe.asked().len();
        die_after(steps, registry.run(&app.context, job.clone())).await;
        let ended = registry.run(&app.context, job).await;
        let asked = stripe.asked().split_off(before).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(asked.len(), 6, "after {steps} steps: {asked:#?}");
        queue::complete(&mut conn, &ended.into_iter().collect::<Vec<_>>(), app.clock.now()).await.unwrap();
        session.close(&mut conn, app.clock.now()).await.unwrap();
    }
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_second_customer_that_names_a_workspace_is_told_to_the_operator() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    let (log, nobody) = (Log::default(), Log::default());
    let listen = |to: &Log| {
        let to = to.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || to.clone()).finish()
    };
    let listening = tracing::subscriber::set_default(listen(&nobody));
    stripe.customer("cus_3", None);
    stripe.tell(&app, "customer.created", "cus_3").await;
    drop(listening);
    let listening = tracing::subscriber::set_default(listen(&log));
    stripe.customer("cus_2", Some(&org));
    stripe.tell(&app, "customer.created", "cus_2").await;
    drop(listening);
    let text = |log: &Log| String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = text(&log).lines().find(|line| line.contains("WARN")).expect("a warning").to_owned();
    for word in ["cus_1", "cus_2", &org.id.to_string(), "bind-customer"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(!text(&nobody).contains("WARN"), "{}", text(&nobody));
}

#[tokio::test]
async fn another_customer_forgets_the_debts_of_the_one_before_and_what_came_of_them() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    let other = customer(&app, &stripe, "other", "cus_9").await;
    for (subscription, invoice, of) in [("sub_1", "in_1", "cus_1"), ("sub_9", "in_9", "cus_9")] {
        stripe.subscription(subscription, of, "price_pro", "past_due", json!({}));
        stripe.tell(&app, "customer.subscription.created", subscription).await;
        let parent = json!({"subscription_details": {"subscription": subscription, "metadata": {}}});
        stripe.invoice(invoice, of, json!({"parent": parent}));
        stripe.fail(invoice, 1, false);
        stripe.tell(&app, "invoice.payment_failed", invoice).await;
    }
    pass(&app, 14, 24).await;
    sweep(&app).await;
    assert_eq!(billing(&app, &org).await["suspended"], true);
    stripe.customer("cus_2", None);
    stripe.subscription("sub_2", "cus_2", "price_business", "active", json!({}));

    let words = ["admin", "bind-customer", "--org", "acme", "--customer"];
    let bind = |customer: &str| production(&app.database, &[&words[..], &[customer]].concat()).output().unwrap();
    let refused = bind("cus_9");
    assert!(!refused.status.success(), "it is another's");
    assert_eq!(billing(&app, &org).await["suspended"], true);
    let bound = bind("cus_2");
    assert!(bound.status.success(), "{}", String::from_utf8_lossy(&bound.stderr));
    let shown = billing(&app, &org).await;
    assert_eq!((&shown["suspended"], &shown["invoices"]), (&json!(false), &json!([])));
    assert!(shown["subscription"].is_null());
    assert_eq!(billing(&app, &other).await["suspended"], true, "another's debts are another's");
    // The program's day is today; there the rest is done.
    app.clock.set(Clock::system().now() + Duration::minutes(1));
    app.partitions().await;
    app.drain().await;
    let shown = billing(&app, &org).await;
    assert_eq!((&shown["plan"], &shown["subscription"]["status"]), (&json!("business"), &json!("active")));
    let back = app.mails().await.into_iter().filter(|mail| mail.subject == "Your plan is back: acme").count();
    assert_eq!(back, 1);
}
