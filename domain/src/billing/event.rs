//! What Stripe sends by itself: kept once, and taken by a job.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgConnection;

use super::{
    moment,
    stripe::{Checkout, Customer, Dispute, Invoice, Subscription},
};

/// An event as it arrives.
#[derive(Debug, Deserialize)]
pub struct Arrived {
    /// Its id.
    pub id: String,
    /// What happened, such as `invoice.paid`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When, in seconds.
    pub created: i64,
    /// To what.
    pub data: Data,
}

/// What an event is about.
#[derive(Debug, Deserialize)]
pub struct Data {
    /// The object as it was then.
    pub object: Value,
}

/// What an event is about, where it concerns us.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A subscription.
    Subscription(Subscription),
    /// An invoice.
    Invoice(Box<Invoice>),
    /// A disputed payment.
    Dispute(Dispute),
    /// A customer, who may say whose they are.
    Customer(Customer),
    /// A checkout, which says for whom the customer paid.
    Checkout(Checkout),
}

type Read = fn(Value) -> Result<Subject, serde_json::Error>;

/// Which events concern us, by the beginning of their types; the first row that fits counts.
const KINDS: [(&str, Option<Read>); 6] = [
    // A draft that nobody has to pay yet has no id even.
    ("invoice.upcoming", None),
    ("invoice.", Some(|object| serde_json::from_value(object).map(|of| Subject::Invoice(Box::new(of))))),
    ("customer.subscription.", Some(|object| serde_json::from_value(object).map(Subject::Subscription))),
    ("charge.dispute.", Some(|object| serde_json::from_value(object).map(Subject::Dispute))),
    ("checkout.session.completed", Some(|object| serde_json::from_value(object).map(Subject::Checkout))),
    ("customer.", Some(|object| serde_json::from_value(object).map(Subject::Customer))),
];

impl Subject {
    /// What an event of the type `kind` is about; `None` where it does not concern us.
    pub fn read(kind: &str, object: Value) -> Option<Result<Self, serde_json::Error>> {
        // Of a customer's own, only the customer itself: their sources, discounts and tax ids are theirs.
        if kind.starts_with("customer.") && kind.matches('.').count() > 1 && !kind.starts_with("customer.subscription.")
        {
            return None;
        }
        let (_, read) = KINDS.iter().find(|(start, _)| kind.starts_with(start))?;
        read.map(|read| read(object))
    }

    /// What is kept of it.
    fn kept(&self) -> Value {
        let kept = match self {
            Self::Subscription(of) => serde_json::to_value(of),
            Self::Invoice(of) => serde_json::to_value(of),
            Self::Dispute(of) => serde_json::to_value(of),
            Self::Customer(of) => serde_json::to_value(of),
            Self::Checkout(of) => serde_json::to_value(of),
        };
        kept.expect("plain structs of texts and numbers")
    }
}

/// An event that was kept.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub kind: String,
    /// What it is about.
    pub object: Value,
    /// When it happened.
    pub created_at: DateTime<Utc>,
}

/// Keeps an event; `false` when it was there before.
pub async fn insert(
    conn: &mut PgConnection,
    arrived: &Arrived,
    subject: &Subject,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into billing_events (event_id, kind, object, created_at, received_at) values ($1, $2, $3, $4, $5)
         on conflict do nothing",
        arrived.id,
        arrived.kind,
        subject.kept(),
        moment(arrived.created),
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// An event, for the worker that takes it.
pub async fn find(conn: &mut PgConnection, event_id: &str) -> Result<Option<Event>, sqlx::Error> {
    sqlx::query_as!(Event, "select kind, object, created_at from billing_events where event_id = $1", event_id)
        .fetch_optional(conn)
        .await
}

/// Forgets events that arrived before `before`; Stripe repeats one for three days at most.
pub async fn forget(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from billing_events where received_at < $1", before).execute(conn).await?;
    Ok(())
}
