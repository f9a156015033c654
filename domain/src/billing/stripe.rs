//! Stripe's objects, as far as they are read: members are named as Stripe names them, and all others are read past.
//!
//! Both shapes are read, those before the version 2025-03-31.basil and those since: the worker's requests name a version,
//! but events come in that of the operator's account. What is here is also what is kept of an event, so it holds nothing
//! of a person. <https://docs.stripe.com/api>

use serde::{Deserialize, Serialize};

/// What an operator's own program wrote onto an object.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Metadata {
    /// The organisation: our id of it, or the session issuer's.
    #[serde(rename = "orgId")]
    pub org_id: Option<String>,
}

/// Another object: its id, or the object itself where the request asked for that.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reference {
    /// Its id.
    Id(String),
    /// The object.
    Object {
        /// Its id.
        id: String,
        /// What was written onto it.
        #[serde(default)]
        metadata: Option<Metadata>,
    },
}

impl Reference {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Self::Id(id) | Self::Object { id, .. } => id,
        }
    }

    fn org_id(&self) -> Option<&str> {
        match self {
            Self::Id(_) => None,
            Self::Object { metadata, .. } => metadata.as_ref()?.org_id.as_deref(),
        }
    }
}

fn org_of(metadata: Option<&Metadata>) -> Option<&str> {
    metadata?.org_id.as_deref()
}

/// A page of a list.
#[derive(Debug, Clone, Deserialize)]
pub struct List<T> {
    /// The objects, newest first.
    pub data: Vec<T>,
    /// Whether there are older ones.
    #[serde(default)]
    pub has_more: bool,
}

/// A subscription.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub customer: Reference,
    /// How it stands.
    pub status: String,
    /// What was written onto it.
    pub metadata: Option<Metadata>,
    /// When it was made.
    pub created: i64,
    /// What is subscribed to.
    pub items: Items,
    /// The period that is paid for, before basil.
    pub current_period_start: Option<i64>,
    /// Its end.
    pub current_period_end: Option<i64>,
    /// When its trial began.
    pub trial_start: Option<i64>,
    /// When it ends.
    pub trial_end: Option<i64>,
    /// Whether it ends with the period.
    #[serde(default)]
    pub cancel_at_period_end: bool,
    /// When it is to end.
    pub cancel_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
}

/// The items of a subscription.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Items {
    /// The first of them, which are all but of the oddest subscriptions.
    pub data: Vec<Item>,
}

/// One thing that is subscribed to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Item {
    /// What it costs.
    pub price: Price,
    /// How many.
    pub quantity: Option<i64>,
    /// The period that is paid for, since basil.
    pub current_period_start: Option<i64>,
    /// Its end.
    pub current_period_end: Option<i64>,
}

/// A price.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Price {
    /// Its id.
    pub id: String,
    /// How often it is paid.
    pub recurring: Option<Recurring>,
}

/// How often a price is paid.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recurring {
    /// `day`, `week`, `month` or `year`.
    pub interval: String,
}

impl Subscription {
    /// Who says whose it is: what was written onto it, and onto its customer.
    pub fn named(&self) -> Vec<&str> {
        [org_of(self.metadata.as_ref()), self.customer.org_id()].into_iter().flatten().collect()
    }
}

/// An invoice.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Invoice {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub customer: Option<Reference>,
    /// `draft`, `open`, `paid`, `uncollectible` or `void`.
    pub status: Option<String>,
    /// What customers know it by.
    pub number: Option<String>,
    /// ISO 4217, in lower case.
    pub currency: String,
    /// What is due, in the currency's smallest unit.
    pub amount_due: i64,
    /// What was paid.
    pub amount_paid: i64,
    /// What is left.
    pub amount_remaining: i64,
    /// How often Stripe's own schedule has tried to charge it.
    #[serde(default)]
    pub attempt_count: i32,
    /// When it tries again.
    pub next_payment_attempt: Option<i64>,
    /// `charge_automatically` or `send_invoice`.
    pub collection_method: Option<String>,
    /// Where the customer can pay.
    pub hosted_invoice_url: Option<String>,
    /// When it was made.
    pub created: i64,
    /// By when it is to be paid, where the customer is sent it.
    pub due_date: Option<i64>,
    /// When it came to be what it is.
    #[serde(default)]
    pub status_transitions: Transitions,
    /// What was written onto it.
    pub metadata: Option<Metadata>,
    /// The subscription, before basil.
    pub subscription: Option<Reference>,
    /// What was written onto that.
    pub subscription_details: Option<Details>,
    /// What it comes from, since basil.
    pub parent: Option<Parent>,
}

/// When an invoice came to be what it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Transitions {
    /// When it ceased to be a draft.
    pub finalized_at: Option<i64>,
    /// When it was paid.
    pub paid_at: Option<i64>,
    /// When it was voided.
    pub voided_at: Option<i64>,
}

/// What an invoice comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parent {
    /// A subscription, if it is one.
    pub subscription_details: Option<Details>,
}

/// The subscription that an invoice comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Details {
    /// Which, since basil.
    pub subscription: Option<Reference>,
    /// What was written onto it when the invoice was made.
    pub metadata: Option<Metadata>,
}

impl Invoice {
    /// The subscription that it comes from.
    pub fn subscription_id(&self) -> Option<&str> {
        let parent =
            self.parent.as_ref().and_then(|parent| parent.subscription_details.as_ref()?.subscription.as_ref());
        self.subscription.as_ref().or(parent).map(Reference::id)
    }

    /// Who says whose it is: what was written onto it, onto its subscription and onto its customer.
    pub fn named(&self) -> Vec<&str> {
        let details = self.subscription_details.as_ref();
        let parent = self.parent.as_ref().and_then(|parent| parent.subscription_details.as_ref());
        [
            org_of(self.metadata.as_ref()),
            details.and_then(|details| org_of(details.metadata.as_ref())),
            parent.and_then(|details| org_of(details.metadata.as_ref())),
            self.customer.as_ref().and_then(Reference::org_id),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A customer; where only their id is left of them, they were deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Customer {
    /// Their id.
    pub id: String,
    /// What was written onto them.
    pub metadata: Option<Metadata>,
}

/// A checkout that was completed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checkout {
    /// Who paid.
    pub customer: Option<Reference>,
    /// For whom, as the operator's own program said.
    pub client_reference_id: Option<String>,
    /// What was written onto it.
    pub metadata: Option<Metadata>,
}

/// A payment that its customer's bank takes back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dispute {
    /// `won`, `lost`, or how far it is.
    pub status: String,
    /// The payment's charge.
    pub charge: Option<Reference>,
    /// The payment.
    pub payment_intent: Option<Reference>,
    /// When it began.
    pub created: i64,
}

impl Dispute {
    /// Whether the bank has left the money where it is.
    pub fn is_settled(&self) -> bool {
        matches!(self.status.as_str(), "won" | "warning_closed")
    }
}

/// A charge, before basil.
#[derive(Debug, Clone, Deserialize)]
pub struct Charge {
    /// What it paid.
    pub invoice: Option<Reference>,
}

/// What a payment paid, since basil.
#[derive(Debug, Clone, Deserialize)]
pub struct InvoicePayment {
    /// The invoice.
    pub invoice: Reference,
}
