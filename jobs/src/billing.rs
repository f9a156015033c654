//! The mirror of Stripe: what is asked of it and when, and how what it says is taken over. News and all that follows from
//! them (the plan, the events) commit together, and only if they are newer than what is known.

use chrono::{DateTime, Utc};
use domain::{
    billing::{
        NEWS,
        customer::{self, Found},
        invoice::{self, Invoice, Told},
        stated::Stated,
        subscription::{self, Held, Subscription},
    },
    chance::Chance,
    change::{Change, Happened, Payment, SubscriptionState},
    id::OrgId,
    org,
    plan::Plan,
};
use serde::{Deserialize, Serialize};

use crate::{
    change, dunning,
    job::{Job, NewJob, Priority, Queue},
    queue,
    store::Tx,
};

/// Walks over all invoices.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackfillInvoices {}

impl Job for BackfillInvoices {
    const KIND: &'static str = "billing.backfill_invoices";
    const QUEUE: Queue = Queue::System;
    const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(600);
}

/// Asks for the subscriptions of every customer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SyncSnapshots {}

impl Job for SyncSnapshots {
    const KIND: &'static str = "billing.sync_snapshots";
    const QUEUE: Queue = Queue::System;
    const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(600);
}

/// Asks for the subscriptions and the newest invoices of one organisation's customer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SyncCustomer {
    /// Whose.
    pub org_id: OrgId,
}

impl Job for SyncCustomer {
    const KIND: &'static str = "billing.sync_customer";
    const QUEUE: Queue = Queue::System;
    const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(120);
}

/// Takes one event of Stripe's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TakeEvent {
    /// Which.
    pub event_id: String,
}

impl Job for TakeEvent {
    const KIND: &'static str = "billing.take_event";
    const QUEUE: Queue = Queue::System;
    const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(120);
    // About a day at the queue's backoff: a key that does not work is an operator's to mend.
    const MAX_ATTEMPTS: i16 = 150;
}

/// The organisation of a customer, as [`customer::resolve`] finds it. Where they belong together only from now on, all that
/// there is of the customer is asked for.
pub async fn find_org(
    tx: &mut Tx<'_>,
    customer_id: &str,
    named: &[&str],
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<Option<OrgId>, sqlx::Error> {
    let Some(Found { org_id, is_new }) = customer::resolve(tx, customer_id, named, now).await? else { return Ok(None) };
    if is_new {
        tracing::info!(org = %org_id, customer = customer_id, "an organisation's customer is known from now on");
        ask_for(tx, org_id, now, chance).await?;
    }
    Ok(Some(org_id))
}

/// Has all that there is of an organisation's customer asked for.
pub async fn ask_for(tx: &mut Tx<'_>, org_id: OrgId, now: DateTime<Utc>, chance: &Chance) -> Result<(), sqlx::Error> {
    let job = NewJob::new(org_id, &SyncCustomer { org_id }, now, chance).priority(Priority::High);
    queue::enqueue(tx, job).await
}

/// Takes over what Stripe said of an organisation's subscription: `None` where its customer has none. The organisation's plan
/// follows, and who listens is told of what changed.
pub async fn take_subscription(
    tx: &mut Tx<'_>,
    org_id: OrgId,
    news: Option<Subscription>,
    stated: Stated,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<(), sqlx::Error> {
    customer::lock(tx, org_id).await?;
    let held = subscription::find(tx, org_id).await?;
    let counts = held.as_ref().is_none_or(|held| held.gives_way_to(news.as_ref(), stated));
    let (Some(org), true) = (org::find(tx, org_id).await?, counts) else { return Ok(()) };
    let stated_at = held.as_ref().map_or(stated.at, |held| held.stated_at.max(stated.at));
    let held = held.map(|held| held.subscription);
    let subscription = match (news, &held) {
        (Some(news), _) => news,
        // Stripe lists what has ended too; what it does not list was another mode's, or another account's.
        (None, Some(held)) if !held.state().is_over => held.gone(stated_at),
        // A customer who never subscribed: the plan is the operator's.
        (None, _) => return Ok(()),
    };
    if subscription.plan.is_none() {
        tracing::warn!(
            org = %org_id, subscription = subscription.subscription_id, price = subscription.price_id,
            "INKFLEET_STRIPE_PRICES does not say which plan a price pays for; the organisation keeps the one it has"
        );
    }
    let plan = subscription.plan_after(org.plan);
    // What an operator has said meanwhile counts until the subscription says something else than it did.
    let says_more = held.as_ref().is_none_or(|held| held.plan_after(org.plan) != plan);
    if plan != org.plan && says_more {
        tracing::info!(org = %org_id, before = org.plan.name(), after = plan.name(), "the plan follows the subscription");
        crate::plan::change(tx, org_id, plan, now, chance).await?;
    }
    let happened = happened(org_id, held.as_ref(), &subscription, plan, stated_at);
    subscription::put(tx, org_id, &Held { subscription, stated_at }, now).await?;
    change::publish(tx, &happened, None, now, chance).await?;
    // Another subscription may be the one that counts now, and what was owed for the last one no cause any more.
    dunning::settle(tx, org_id, now, chance).await
}

/// What happened to a subscription.
fn happened(
    org_id: OrgId,
    held: Option<&Subscription>,
    subscription: &Subscription,
    plan: Plan,
    at: DateTime<Utc>,
) -> Vec<Happened<SubscriptionState>> {
    let happened = |change, of: &Subscription, plan| Happened { org_id, change, at, subject: state(of, plan, None) };
    match held {
        Some(held) if held.subscription_id == subscription.subscription_id => {
            let (was_over, is_over) = (held.state().is_over, subscription.state().is_over);
            match (held == subscription, was_over, is_over) {
                (true, ..) | (false, true, true) => vec![],
                (false, false, true) => {
                    vec![happened(Change::Cancelled, subscription, subscription.plan.or(held.plan).unwrap_or(plan))]
                }
                (false, ..) => vec![happened(Change::Updated, subscription, plan)],
            }
        }
        held => {
            let before = held.filter(|held| !held.state().is_over);
            let before = before.map(|held| happened(Change::Cancelled, held, held.plan.unwrap_or(plan)));
            let is_news = !subscription.state().is_over && at - subscription.created_at < NEWS;
            before.into_iter().chain(is_news.then(|| happened(Change::Created, subscription, plan))).collect()
        }
    }
}

fn state(of: &Subscription, plan: Plan, payment: Option<Payment>) -> SubscriptionState {
    SubscriptionState {
        id: of.subscription_id.clone(),
        plan,
        status: Some(of.status.clone()),
        interval: of.interval.clone(),
        seats: Some(of.seats),
        period_end: of.period_end,
        trial_end: of.trial_end,
        cancel_at_period_end: of.cancel_at_period_end,
        payment,
    }
}

/// Takes over what Stripe said at `stated` of an organisation's invoices, tells who listens of payments, and ends a suspension whose
/// cause is gone.
pub async fn take_invoices(
    tx: &mut Tx<'_>,
    org_id: OrgId,
    news: Vec<Invoice>,
    stated: Stated,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<(), sqlx::Error> {
    customer::lock(tx, org_id).await?;
    let mut happened = vec![];
    for invoice in news {
        let held = invoice::find(tx, org_id, &invoice.invoice_id).await?;
        let news = match &held {
            Some(held) => invoice.over(held, stated),
            None => Some(invoice),
        };
        let Some(invoice) = news else { continue };
        if let Some(told) = invoice.told(held.as_ref()) {
            happened.extend(payment(tx, org_id, &invoice, told).await?);
        }
        invoice::put(tx, org_id, &invoice, now).await?;
    }
    change::publish(tx, &happened, None, now, chance).await?;
    dunning::settle(tx, org_id, now, chance).await
}

/// A payment for a subscription; `None` for one for anything else.
async fn payment(
    tx: &mut Tx<'_>,
    org_id: OrgId,
    invoice: &Invoice,
    told: Told,
) -> Result<Option<Happened<SubscriptionState>>, sqlx::Error> {
    let Some(subscription_id) = &invoice.subscription_id else { return Ok(None) };
    let Some(org) = org::find(tx, org_id).await? else { return Ok(None) };
    let (change, amount, at) = match told {
        Told::Paid => (Change::Paid, invoice.amount_paid, invoice.paid_at),
        Told::Failed => (Change::Unpaid, invoice.amount_remaining, None),
    };
    let payment = Payment {
        invoice_id: invoice.invoice_id.clone(),
        amount,
        currency: invoice.currency.clone(),
        attempts: invoice.attempt_count,
        next_attempt_at: invoice.next_payment_attempt,
    };
    let held = subscription::find(tx, org_id).await?.map(|held| held.subscription);
    let subject = match held.filter(|held| held.subscription_id == *subscription_id) {
        Some(held) => state(&held, held.plan.unwrap_or(org.plan), Some(payment)),
        None => SubscriptionState {
            id: subscription_id.clone(),
            plan: org.plan,
            status: None,
            interval: None,
            seats: None,
            period_end: None,
            trial_end: None,
            cancel_at_period_end: false,
            payment: Some(payment),
        },
    };
    Ok(Some(Happened { org_id, change, at: at.unwrap_or(invoice.stated_at), subject }))
}
