//! The mirror of Stripe: what is there comes here, whatever fails on the way; older news never overwrite newer; and what
//! changed is told once.

mod customer;
mod order;
mod owed;
mod webhook;

use chrono::Duration;
use domain::plan::Plan;
use serde_json::{Value, json};

use crate::support::{Receiver, Stripe, TestApp, TestOrg, app::CRON_SECRET, receiver::Reply, stripe::days};

/// Has scheduled work done, in a slot of its own.
pub async fn run(app: &TestApp, work: &str) {
    app.send("POST", &format!("/api/cron/{work}"), &[("x-cron-secret", CRON_SECRET)], None).await.expect(202);
    app.drain().await;
}

/// The same, hours later.
async fn run_after(app: &TestApp, hours: i64, work: &str) {
    app.clock.advance(Duration::hours(hours));
    run(app, work).await;
}

/// What a workspace's owner sees.
pub async fn billing(app: &TestApp, org: &TestOrg) -> Value {
    app.owner(org, "GET", &format!("/api/org/{}/billing", org.id), None).await.expect(200)
}

/// A hook that iloveQR's events come to, and the types of those that came.
pub async fn hook(app: &TestApp, org: &TestOrg) -> Receiver {
    let receiver = Receiver::start(Reply::ok());
    let types = ["created", "updated", "cancelled", "payment_succeeded", "payment_failed"];
    let types = types.map(|kind| format!("subscription.{kind}"));
    app.endpoint(org, "iloveqr", &receiver.url(), &types.each_ref().map(String::as_str)).await;
    receiver
}

pub fn heard(receiver: &Receiver) -> Vec<Value> {
    receiver.received().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
}

pub fn types(receiver: &Receiver) -> Vec<String> {
    heard(receiver).iter().map(|body| body["event"].as_str().unwrap().to_owned()).collect()
}

/// An organisation whose customer is known, by what is written onto it.
pub async fn customer(app: &TestApp, stripe: &Stripe, slug: &str, id: &str) -> TestOrg {
    let org = TestOrg::make(app, slug, Plan::Free).await;
    stripe.customer(id, Some(&org));
    stripe.tell(app, "customer.created", id).await;
    org
}

/// A customer who subscribed and has an invoice, of which nobody here was told yet, and a hook that hears what comes of that.
async fn subscriber(app: &mut TestApp) -> (Stripe, TestOrg, Receiver) {
    let stripe = Stripe::start(app);
    let org = customer(app, &stripe, "acme", "cus_1").await;
    let hook = hook(app, &org).await;
    stripe.subscription("sub_1", "cus_1", "price_pro", "active", json!({}));
    stripe.invoice("in_1", "cus_1", json!({}));
    (stripe, org, hook)
}

async fn count(app: &TestApp, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(app.store.pool()).await.unwrap()
}

#[tokio::test]
async fn all_invoices_come_page_by_page_in_both_shapes_and_the_walk_goes_on_where_it_was() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = app.org("acme").await;
    let issuer = sqlx::query("update organizations set external_id = 'org_clerk' where id = $1").bind(org.id.0);
    issuer.execute(app.store.pool()).await.unwrap();
    let second = app.org("second").await;
    stripe.customer("cus_1", Some(&org));
    stripe.customer("cus_2", None);
    stripe.customer("cus_3", None);
    let made = |age: i64| app.clock.now().timestamp() - days(400) + age * 3600;
    for n in 0..250 {
        let id = format!("in_{n:03}");
        match n % 4 {
            // Before basil: the subscription stands on the invoice itself; and one that nobody here knows.
            0 => stripe.invoice(&id, "cus_1", json!({"created": made(n), "subscription": "sub_old", "parent": null})),
            1 => stripe.invoice(&id, "cus_1", json!({"created": made(n)})),
            2 => stripe.invoice(&id, "cus_3", json!({"created": made(n)})),
            // Known by what is written onto its subscription, here by the issuer's id of another workspace.
            _ => {
                let metadata = json!({"subscription_details": {"metadata": {"orgId": second.id.to_string()}}});
                stripe.invoice(&id, "cus_2", json!({"created": made(n), "parent": metadata}));
            }
        }
    }
    stripe.invoice("in_draft", "cus_1", json!({"status": "draft"}));

    // The second page comes late, and the process dies behind it.
    stripe.limit(Some(7));
    run(&app, "invoice-records-backfill").await;
    assert_eq!(count(&app, "select count(*) from invoices").await, 0);
    app.pass(Duration::seconds(6)).await;
    assert_eq!(stripe.asked().len(), 1, "it is left alone for as long as it says");
    app.clock.advance(Duration::seconds(1));
    app.drain().await;
    assert_eq!(
        count(&app, "select count(*) from invoices where org_id <> '00000000-0000-0000-0000-000000000000'").await,
        188
    );
    let pages: Vec<String> = stripe.asked().into_iter().filter(|path| path.contains("data.customer")).collect();
    assert_eq!(pages.len(), 4, "{pages:#?}");
    assert!(pages[1].contains("limit=100") && !pages[1].contains("starting_after") && !pages[1].contains("created"));
    assert!(pages[3].contains("starting_after=in_0"));
    let of = |shape: &'static str| count_of(&app, shape);
    assert_eq!(of("sub_old").await, 63);
    assert_eq!(of("sub_1").await, 125);
    let shown = billing(&app, &org).await;
    assert_eq!(shown["invoices"].as_array().unwrap().len(), 24);
    let newest = &shown["invoices"][0];
    assert_eq!(
        (&newest["id"], &newest["currency"], &newest["amountRemaining"], &newest["status"]),
        (&json!("in_249"), &json!("EUR"), &json!(1900), &json!("open"))
    );
    assert_eq!(billing(&app, &second).await["invoices"][0]["id"], "in_247");

    // Hours later only what can still have changed is looked at again.
    stripe.pay("in_001", "pi_1");
    stripe.invoice("in_new", "cus_1", json!({}));
    run_after(&app, 6, "invoice-records-backfill").await;
    let last = stripe.asked().pop().unwrap();
    let from = (app.clock.now() - Duration::hours(6) - Duration::seconds(7) - Duration::days(70)).timestamp();
    assert!(last.contains(&format!("created%5Bgte%5D={from}")), "{last}: {from}");
    assert_eq!(count(&app, "select count(*) from invoices").await, 189);
    let again = "select count(*) from invoices where stated_at > '2026-03-02 17:00Z'";
    assert_eq!(count(&app, again).await, 1, "what is far behind was left alone");
}

async fn count_of(app: &TestApp, subscription: &str) -> i64 {
    sqlx::query_scalar("select count(*) from invoices where subscription_id = $1 and invoice_id < 'in_2490'")
        .bind(subscription)
        .fetch_one(app.store.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_walk_whose_place_is_gone_begins_anew_and_one_that_stumbles_goes_on() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    for n in 0..150 {
        let created = app.clock.now().timestamp() - days(1) + n;
        stripe.invoice(&format!("in_{n:03}"), "cus_1", json!({"created": created}));
    }
    // As a process leaves it that died behind its first page.
    let left =
        "insert into billing_walks (name, after_id, under_way, begun_at) values ('invoices', 'in_050', true, now())";
    sqlx::query(left).execute(app.store.pool()).await.unwrap();
    stripe.stumble();
    run(&app, "invoice-records-backfill").await;
    assert_eq!(billing(&app, &org).await["invoices"], json!([]));
    app.pass(Duration::seconds(30)).await;
    assert_eq!(count(&app, "select count(*) from invoices").await, 50, "those behind it");

    let left =
        "update billing_walks set after_id = 'in_gone', under_way = true, from_at = null where name = 'invoices'";
    sqlx::query(left).execute(app.store.pool()).await.unwrap();
    run_after(&app, 6, "invoice-records-backfill").await;
    assert_eq!(count(&app, "select count(*) from invoices").await, 150);
    assert_eq!(count(&app, "select count(*) from billing_walks where under_way").await, 0);
}

#[tokio::test]
async fn the_plan_follows_the_subscription_and_its_end() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let (org, unpaid) = (customer(&app, &stripe, "acme", "cus_1").await, app.org("by-hand").await);
    assert_eq!(billing(&app, &org).await["plan"], "free", "a customer who never subscribed");
    let hook = hook(&app, &org).await;
    // Of several, the one that counts.
    stripe.subscription(
        "sub_0",
        "cus_1",
        "price_business",
        "canceled",
        json!({"ended_at": app.clock.now().timestamp()}),
    );
    stripe.subscription("sub_1", "cus_1", "price_pro", "active", json!({}));
    stripe.subscription("sub_2", "cus_1", "price_starter", "active", json!({}));
    run_after(&app, 1, "billing-snapshot-sync").await;
    let shown = billing(&app, &org).await;
    assert_eq!(shown["plan"], "pro");
    let expected = json!({
        "status": "active", "seats": 3, "interval": "month", "periodStart": "2026-03-02T12:00:00.000Z",
        "periodEnd": "2026-04-01T12:00:00.000Z", "cancelAtPeriodEnd": false,
    });
    assert_eq!(shown["subscription"], expected);
    assert_eq!(billing(&app, &unpaid).await["plan"], "pro", "who is no customer keeps what the operator gave");
    assert_eq!(types(&hook), ["subscription.created"]);
    let told = heard(&hook).remove(0);
    assert_eq!(told["data"]["subscription"]["plan"], "pro");
    assert_eq!(told["data"]["subscription"]["interval"], "month");

    // The same again tells nothing.
    run_after(&app, 1, "billing-snapshot-sync").await;
    assert_eq!(types(&hook).len(), 1);
    // The shape before basil, a price that no setting knows, and another number of seats.
    stripe.change("sub_2", json!({"status": "canceled"}));
    let item = json!({"quantity": 7, "price": {"id": "price_unknown", "recurring": {"interval": "year"}}});
    let (start, end) = (app.clock.now().timestamp(), app.clock.now().timestamp() + days(365));
    let change = json!({"items": {"data": [item]}, "current_period_start": start, "current_period_end": end});
    stripe.change("sub_1", change);
    run_after(&app, 1, "billing-snapshot-sync").await;
    let shown = billing(&app, &org).await;
    assert_eq!((&shown["plan"], &shown["subscription"]["seats"]), (&json!("pro"), &json!(7)), "it keeps its plan");
    assert_eq!(shown["subscription"]["periodEnd"], "2027-03-02T14:00:00.000Z");
    assert_eq!(types(&hook)[1..], ["subscription.updated"]);

    stripe.change("sub_1", json!({"status": "canceled", "ended_at": app.clock.now().timestamp()}));
    run_after(&app, 1, "billing-snapshot-sync").await;
    let shown = billing(&app, &org).await;
    assert_eq!((&shown["plan"], &shown["subscription"]["status"]), (&json!("free"), &json!("canceled")));
    assert_eq!(types(&hook)[2..], ["subscription.cancelled"]);
    run_after(&app, 1, "billing-snapshot-sync").await;
    assert_eq!(types(&hook).len(), 3);
}

#[tokio::test]
async fn many_customers_are_asked_for_in_portions_and_no_failure_takes_a_plan() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let insert = "with o as (insert into organizations (id, slug, name, plan, created_at)
                             select gen_random_uuid(), 'o' || n, 'o', 'starter', now() from generate_series(1, 250) n
                             returning id, slug)
                  insert into billing_customers select id, 'cus_' || slug, 'epoch', now() from o";
    sqlx::query(insert).execute(app.store.pool()).await.unwrap();
    for n in 1..=250 {
        let customer = format!("cus_o{n}");
        // Every tenth is another account's: Stripe does not know it.
        if n % 10 != 0 {
            stripe.customer(&customer, None);
            stripe.subscription(&format!("sub_{n}"), &customer, "price_business", "active", json!({}));
        }
    }
    stripe.limit(None);
    run(&app, "billing-snapshot-sync").await;
    app.pass(Duration::seconds(2)).await;
    let asked = stripe.asked();
    assert_eq!(asked.len(), 251, "each once, and one of them again");
    assert_eq!(count(&app, "select count(*) from organizations where plan = 'business'").await, 225);
    assert_eq!(count(&app, "select count(*) from organizations where plan = 'starter'").await, 25);
    // One that Stripe cannot answer for waits behind the others.
    app.clock.advance(Duration::hours(1));
    stripe.stumble();
    run(&app, "billing-snapshot-sync").await;
    assert_eq!(stripe.asked().len(), 255, "with those that were on their way");
    app.pass(Duration::seconds(30)).await;
    let asked = stripe.asked().split_off(251);
    assert_eq!(asked.len(), 251);
    let again = (0..251).rfind(|n| asked[..*n].contains(&asked[*n])).unwrap();
    assert!(again >= 247, "{again}: among the last");
}

#[tokio::test]
async fn a_key_that_stripe_refuses_is_the_operators_to_mend_and_is_not_shown() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    customer(&app, &stripe, "acme", "cus_1").await;
    app.context.stripe = Some(std::sync::Arc::new(stripe.client("sk_live_hunter2")));
    for work in ["billing-snapshot-sync", "invoice-records-backfill"] {
        run_after(&app, 1, work).await;
    }
    let errors: Vec<String> = sqlx::query_scalar("select last_error from jobs where kind like 'billing.%'")
        .fetch_all(app.store.pool())
        .await
        .unwrap();
    assert_eq!(errors.len(), 2);
    for error in errors {
        assert!(error.contains("STRIPE_SECRET_KEY") && !error.contains("hunter2"), "{error}");
    }
    app.leaves_jobs("billing.sync_snapshots");
    app.leaves_jobs("billing.backfill_invoices");
    assert!(!format!("{:?}", app.context.stripe).contains("hunter2"));
}

#[tokio::test]
async fn without_a_key_there_is_nothing_to_do() {
    let app = TestApp::start().await;
    for work in ["billing-snapshot-sync", "invoice-records-backfill"] {
        run(&app, work).await;
    }
    assert_eq!(count(&app, "select count(*) from job_history where kind like 'billing.%'").await, 2);
}

#[tokio::test]
async fn a_workspaces_billing_is_shown_to_its_members_alone() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    let other = app.org("other").await;
    let path = format!("/api/org/{}/billing", org.id);
    let member = format!("authorization: Bearer {}", org.member_session(&app));
    assert_eq!(app.get(&path, &member).await.expect(200)["plan"], "free");
    for id in [other.id.to_string(), "org_none".into(), "x".into(), "%00".into()] {
        let answer = app.owner(&org, "GET", &format!("/api/org/{id}/billing"), None).await;
        assert_eq!((answer.status, &answer.json["code"]), (404, &json!("not_found")), "{id}");
    }
    assert_eq!(app.get(&path, &format!("x-api-key: {}", org.key("ink_"))).await.status, 401);
    // By the session issuer's id too.
    sqlx::query("update organizations set external_id = 'org_2abc' where slug = 'acme'")
        .execute(app.store.pool())
        .await
        .unwrap();
    assert_eq!(
        app.owner(&org, "GET", "/api/org/org_2abc/billing", None).await.expect(200)["orgId"],
        org.id.to_string()
    );
}

#[tokio::test]
async fn what_an_operator_says_counts_until_the_subscription_says_something_else() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    stripe.subscription("sub_1", "cus_1", "price_pro", "active", json!({}));
    stripe.tell(&app, "customer.subscription.created", "sub_1").await;
    let mut tx = app.store.begin().await.unwrap();
    let plan = domain::plan::Plan::Enterprise;
    jobs::plan::change(&mut tx, org.id, plan, app.clock.now(), &app.chance).await.unwrap();
    tx.commit().await.unwrap();
    for _ in 0..3 {
        run_after(&app, 1, "billing-snapshot-sync").await;
    }
    assert_eq!(billing(&app, &org).await["plan"], "enterprise");
    stripe.change("sub_1", json!({"status": "canceled", "ended_at": app.clock.now().timestamp()}));
    run_after(&app, 1, "billing-snapshot-sync").await;
    assert_eq!(billing(&app, &org).await["plan"], "free");
}
