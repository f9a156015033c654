//! What Stripe tells by itself: proven, taken once, in any order.

use chrono::Duration;
use domain::billing::signature::{Refused, verify};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{billing, count, customer, heard, subscriber, types};
use crate::support::{
    Stripe, TestApp,
    app::STRIPE_SECRET,
    stripe::{deliver, signature},
};

const PATH: &str = "/api/webhooks/stripe";

#[test]
fn a_signature_is_believed_if_any_fits_and_its_time_is_near() {
    let now = "2026-03-02T12:00:00Z".parse().unwrap();
    let (body, secret) = (r#"{"id":"evt_1"}"#, SecretString::from("whsec_new"));
    let told = |header: &str| verify(header, body.as_bytes(), &secret, now);
    let good = signature(body, "whsec_new", now);
    let v1 = good.split_once(",v1=").unwrap().1;
    assert_eq!(told(&good), Ok(()));
    // While a secret is being replaced Stripe signs with both.
    let old = signature(body, "whsec_old", now);
    assert_eq!(told(&format!("{old},v1={v1}")), Ok(()));
    assert_eq!(told(&format!("{good},v1={},v0=x", "00".repeat(32))), Ok(()));
    assert_eq!(told(&old), Err(Refused::Wrong));
    assert_eq!(told(&good.replace("v1=", "v0=")), Err(Refused::Malformed));
    for header in ["", "t=", "v1=ab", "t=x,v1=ab", "t=1772452800", "t=1772452800,v1=", "t=1772452800,v1=zz"] {
        assert!(told(header).is_err(), "{header}");
    }
    for (seconds, fits) in [(300, true), (-300, true), (301, false), (-301, false)] {
        let at = now - Duration::seconds(seconds);
        assert_eq!(told(&signature(body, "whsec_new", at)).is_ok(), fits, "{seconds}");
    }
    let extreme = format!("t={},v1={v1}", i64::MIN);
    assert_eq!(told(&extreme), Err(Refused::Wrong));
}

#[tokio::test]
async fn what_stripe_did_not_sign_is_refused_and_leaves_nothing() {
    let app = TestApp::start().await;
    let event = json!({"id": "evt_1", "type": "customer.created", "created": 1, "data": {"object": {"id": "cus_1"}}});
    let body = event.to_string();
    let stale = signature(&body, STRIPE_SECRET, app.clock.now() - Duration::minutes(6));
    let other = signature(&body, "whsec_another", app.clock.now());
    for header in [None, Some("nonsense"), Some(stale.as_str()), Some(other.as_str())] {
        let headers: Vec<(&str, &str)> = header.map(|value| ("stripe-signature", value)).into_iter().collect();
        let refused = app.send("POST", PATH, &headers, Some(body.clone())).await;
        assert_eq!(
            (refused.status, &refused.json["errors"][0]["field"]),
            (400, &json!("Stripe-Signature")),
            "{header:?}"
        );
    }
    for broken in
        ["", "{", "[]", "7", r#"{"id": 7}"#, r#"{"id": "", "type": "a", "created": 1, "data": {"object": {}}}"#]
    {
        let header = signature(broken, STRIPE_SECRET, app.clock.now());
        let refused = app.send("POST", PATH, &[("stripe-signature", &header)], Some(broken.into())).await;
        assert_eq!((refused.status, &refused.json["code"]), (400, &json!("validation_failed")), "{broken}");
    }
    // A kind that concerns us in a shape that nobody knows: Stripe repeats it, and shows the operator why.
    let odd = json!({"id": "evt_1", "type": "invoice.paid", "created": 1, "data": {"object": {"id": 7}}});
    assert_eq!(deliver(&app, &odd).await.expect(400)["errors"][0]["field"], "data.object");
    let large = " ".repeat(1024 * 1024 + 1);
    let header = signature(&large, STRIPE_SECRET, app.clock.now());
    assert_eq!(app.send("POST", PATH, &[("stripe-signature", &header)], Some(large)).await.status, 413);
    let get = app.get(PATH, "").await;
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    assert_eq!(count(&app, "select (select count(*) from jobs) + (select count(*) from billing_events)").await, 0);

    let closed = TestApp::build().without_stripe().start().await;
    assert_eq!(deliver(&closed, &event).await.expect(503)["code"], "not_configured");
}

#[tokio::test]
async fn an_event_is_taken_once_and_one_that_does_not_concern_us_is_accepted() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    for kind in ["product.updated", "customer.tax_id.created", "invoice.upcoming", "payment_intent.succeeded", ""] {
        let event = stripe.event_of(kind, json!({"object": "anything"}));
        assert_eq!(deliver(&app, &event).await.expect(200), json!({"received": true}), "{kind}");
    }
    assert_eq!(count(&app, "select count(*) from jobs").await, 0);
    stripe.subscription("sub_1", "cus_1", "price_pro", "active", json!({}));
    let event = stripe.event("customer.subscription.created", "sub_1");
    for _ in 0..3 {
        deliver(&app, &event).await.expect(200);
    }
    assert_eq!(count(&app, "select count(*) from jobs where kind = 'billing.take_event'").await, 1);
    app.drain().await;
    assert_eq!(billing(&app, &org).await["plan"], "pro");
    // Nothing of a person is kept of what came.
    stripe.invoice("in_1", "cus_1", json!({}));
    stripe.tell(&app, "invoice.finalized", "in_1").await;
    assert_eq!(count(&app, "select count(*) from billing_events where object::text like '%@%'").await, 0);
}

#[tokio::test]
async fn payments_are_told_once_each_whatever_order_their_events_come_in() {
    let mut app = TestApp::start().await;
    let (stripe, org, hook) = subscriber(&mut app).await;
    let finalized = stripe.event("invoice.finalized", "in_1");
    stripe.fail("in_1", 1, false);
    let failed = stripe.event("invoice.payment_failed", "in_1");
    // The last is first: each asks for the present.
    for event in [&failed, &finalized, &stripe.event("customer.subscription.created", "sub_1")] {
        deliver(&app, event).await.expect(200);
        app.drain().await;
    }
    assert_eq!(types(&hook), ["subscription.payment_failed", "subscription.created"]);
    let payment = &heard(&hook)[0]["data"]["payment"];
    let next = app.clock.now() + Duration::days(3);
    let expected = json!({"invoiceId": "in_1", "amount": 1900, "currency": "EUR", "attempts": 1,
                          "nextAttemptAt": next.format("%Y-%m-%dT%H:%M:%S.000Z").to_string()});
    assert_eq!(payment, &expected);
    let shown = billing(&app, &org).await;
    assert_eq!(shown["invoices"][0]["failedAt"], "2026-03-02T12:00:00.000Z");

    app.clock.advance(Duration::days(3));
    stripe.fail("in_1", 2, true);
    stripe.tell(&app, "invoice.payment_failed", "in_1").await;
    stripe.tell(&app, "invoice.updated", "in_1").await;
    app.clock.advance(Duration::hours(1));
    stripe.pay("in_1", "pi_1");
    for kind in ["invoice.paid", "invoice.payment_succeeded", "invoice.updated"] {
        stripe.tell(&app, kind, "in_1").await;
    }
    assert_eq!(types(&hook)[2..], ["subscription.payment_failed", "subscription.payment_succeeded"]);
    let told = heard(&hook).pop().unwrap();
    assert_eq!(
        (&told["data"]["payment"]["amount"], &told["data"]["subscription"]["plan"]),
        (&json!(1900), &json!("pro"))
    );
    // An invoice of nothing, as of a trial's beginning, is no payment.
    stripe.invoice("in_0", "cus_1", json!({"status": "paid", "amount_due": 0, "amount_remaining": 0}));
    stripe.tell(&app, "invoice.paid", "in_0").await;
    assert_eq!(types(&hook).len(), 4);
}

#[tokio::test]
async fn a_payment_that_is_still_on_its_way_has_not_failed() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    // A direct debit: tried, and nobody knows for days.
    stripe.invoice("in_1", "cus_1", json!({"attempt_count": 1, "attempted": true}));
    stripe.tell(&app, "invoice.updated", "in_1").await;
    assert!(billing(&app, &org).await["invoices"][0]["failedAt"].is_null());
    app.clock.advance(Duration::days(8));
    super::run(&app, "invoice-records-backfill").await;
    assert_eq!(billing(&app, &org).await["invoices"][0]["failedAt"], "2026-03-02T12:00:00.000Z", "now it is believed");
}

#[tokio::test]
async fn without_a_key_the_events_themselves_count_and_older_ones_change_nothing() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    app.context.stripe = None;
    stripe.subscription("sub_1", "cus_1", "price_starter", "active", json!({}));
    let first = stripe.event("customer.subscription.created", "sub_1");
    stripe.invoice("in_1", "cus_1", json!({}));
    stripe.fail("in_1", 1, false);
    let failed = stripe.event("invoice.payment_failed", "in_1");
    app.clock.advance(Duration::seconds(2));
    stripe.pay("in_1", "pi_1");
    let paid = stripe.event("invoice.paid", "in_1");
    stripe.change("sub_1", json!({"items": {"data": [{"price": {"id": "price_business"}, "quantity": 1}]}}));
    let second = stripe.event("customer.subscription.updated", "sub_1");
    let ended = stripe.event_of(
        "customer.subscription.deleted",
        json!({"id": "sub_0", "customer": "cus_1", "status": "canceled", "created": 1, "items": {"data": []}}),
    );
    for event in [&second, &first, &paid, &failed, &ended] {
        deliver(&app, event).await.expect(200);
        app.drain().await;
    }
    let shown = billing(&app, &org).await;
    assert_eq!(shown["plan"], "business");
    assert_eq!((&shown["invoices"][0]["status"], &shown["subscription"]["seats"]), (&json!("paid"), &json!(1)));
}

#[tokio::test]
async fn a_workspace_is_found_by_what_the_operators_program_wrote() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let (one, two, three) = (app.org("one").await, app.org("two").await, app.org("three").await);
    sqlx::query("update organizations set external_id = 'org_clerk_two' where slug = 'two'")
        .execute(app.store.pool())
        .await
        .unwrap();
    for (n, customer) in [(1, "cus_1"), (2, "cus_2"), (3, "cus_3")] {
        stripe.customer(customer, None);
        stripe.subscription(&format!("sub_{n}"), customer, "price_business", "active", json!({}));
    }
    // By the checkout, by what stands on the subscription, and by an operator's word.
    let checkout =
        json!({"object": "checkout.session", "customer": "cus_1", "client_reference_id": one.id.to_string()});
    deliver(&app, &stripe.event_of("checkout.session.completed", checkout)).await.expect(200);
    stripe.change("sub_2", json!({"metadata": {"orgId": "org_clerk_two"}}));
    stripe.tell(&app, "customer.subscription.updated", "sub_2").await;
    stripe.tell(&app, "customer.subscription.updated", "sub_3").await;
    let plan = async |org| billing(&app, org).await["plan"].as_str().unwrap().to_owned();
    assert_eq!([plan(&one).await, plan(&two).await, plan(&three).await], ["business", "business", "pro"]);
    let bind = async |org: &crate::support::TestOrg, customer: &str| {
        let mut tx = app.store.begin().await.unwrap();
        let bound = domain::billing::customer::bind(&mut tx, org.id, customer, app.clock.now()).await.unwrap();
        if bound {
            jobs::billing::ask_for(&mut tx, org.id, app.clock.now(), &app.chance).await.unwrap();
            tx.commit().await.unwrap();
        }
        app.drain().await;
        bound
    };
    assert!(!bind(&three, "cus_1").await, "it is another's");
    assert!(bind(&three, "cus_3").await);
    assert_eq!(plan(&three).await, "business");
    // What is written later takes nobody's customer away.
    stripe.customer("cus_4", Some(&three));
    stripe.tell(&app, "customer.updated", "cus_4").await;
    let known: Vec<Value> =
        sqlx::query_scalar("select to_jsonb(customer_id) from billing_customers order by customer_id")
            .fetch_all(app.store.pool())
            .await
            .unwrap();
    assert_eq!(known, [json!("cus_1"), json!("cus_2"), json!("cus_3")]);
}

#[tokio::test]
async fn a_disputed_payment_is_noted_on_its_invoice() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    customer(&app, &stripe, "acme", "cus_1").await;
    stripe.invoice("in_1", "cus_1", json!({}));
    stripe.pay("in_1", "pi_1");
    let dispute = |status: &str| {
        json!({"object": "dispute", "status": status, "charge": "ch_1", "payment_intent": "pi_1",
               "created": app.clock.now().timestamp()})
    };
    let disputed = "select count(*) from invoices where disputed_at is not null";
    deliver(&app, &stripe.event_of("charge.dispute.created", dispute("needs_response"))).await.expect(200);
    app.drain().await;
    assert_eq!(count(&app, disputed).await, 1);
    deliver(&app, &stripe.event_of("charge.dispute.closed", dispute("won"))).await.expect(200);
    app.drain().await;
    assert_eq!(count(&app, disputed).await, 0);
}

#[tokio::test]
async fn news_wait_for_a_stripe_that_is_away() {
    let mut app = TestApp::start().await;
    let stripe = Stripe::start(&mut app);
    let org = customer(&app, &stripe, "acme", "cus_1").await;
    stripe.subscription("sub_1", "cus_1", "price_pro", "active", json!({}));
    stripe.stumble();
    stripe.limit(Some(3));
    stripe.tell(&app, "customer.subscription.created", "sub_1").await;
    assert_eq!(billing(&app, &org).await["plan"], "free");
    app.pass(Duration::seconds(30)).await;
    assert_eq!(billing(&app, &org).await["plan"], "free");
    app.pass(Duration::seconds(3)).await;
    assert_eq!(billing(&app, &org).await["plan"], "pro");
}
