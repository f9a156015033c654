//! Subscriptions and their payments. iloveQR alone has events of them; its document shows the names and no bodies.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    Change::{Cancelled, Created, Paid, Unpaid, Updated},
    Happened, Row, Subject, integer, millis, present,
};
use crate::{dialect::DialectName::Iloveqr, plan::Plan};

/// What a subscription is, and what was paid for it where that is what happened.
#[derive(Debug, Clone)]
pub struct SubscriptionState {
    /// Its id at the payment service.
    pub id: String,
    /// What it pays for.
    pub plan: Plan,
    /// How it stands, in the payment service's word.
    pub status: Option<String>,
    /// `day`, `week`, `month` or `year`.
    pub interval: Option<String>,
    /// For how many members.
    pub seats: Option<i32>,
    /// When the period ends that is paid for.
    pub period_end: Option<DateTime<Utc>>,
    /// When its trial ends or ended.
    pub trial_end: Option<DateTime<Utc>>,
    /// Whether it ends with the period.
    pub cancel_at_period_end: bool,
    /// The payment.
    pub payment: Option<Payment>,
}

/// A payment that worked, or did not.
#[derive(Debug, Clone)]
pub struct Payment {
    /// The invoice.
    pub invoice_id: String,
    /// In the currency's smallest unit.
    pub amount: i64,
    /// ISO 4217, in lower case.
    pub currency: String,
    /// How often it was tried by schedule.
    pub attempts: i32,
    /// When it is tried again.
    pub next_attempt_at: Option<DateTime<Utc>>,
}

impl Subject for SubscriptionState {
    const TABLE: &'static [Row<Self>] = &[
        Row::new(Created, Iloveqr, "subscription.created", told),
        Row::new(Updated, Iloveqr, "subscription.updated", told),
        Row::new(Cancelled, Iloveqr, "subscription.cancelled", told),
        Row::new(Paid, Iloveqr, "subscription.payment_succeeded", payment),
        Row::new(Unpaid, Iloveqr, "subscription.payment_failed", payment),
    ];
}

fn state(of: &SubscriptionState) -> Value {
    let plain = json!({
        "id": of.id, "plan": of.plan.name(), "interval": of.interval, "status": of.status, "seats": of.seats,
        "currentPeriodEnd": of.period_end.map(millis), "trialEnd": of.trial_end.map(millis),
        "cancelAtPeriodEnd": of.cancel_at_period_end,
    });
    present(plain)
}

fn told(happened: &Happened<SubscriptionState>) -> Option<Value> {
    Some(json!({"subscription": state(&happened.subject)}))
}

fn payment(happened: &Happened<SubscriptionState>) -> Option<Value> {
    let payment = happened.subject.payment.as_ref()?;
    let told = json!({
        "invoiceId": payment.invoice_id, "amount": integer(payment.amount), "currency": payment.currency.to_uppercase(),
        "attempts": payment.attempts, "nextAttemptAt": payment.next_attempt_at.map(millis),
    });
    Some(json!({"subscription": state(&happened.subject), "payment": present(told)}))
}
