//! An organisation's invoices, as Stripe last said. Drafts are nobody's business yet.

use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{NEWS, moment, stated::Stated, stripe};
use crate::id::OrgId;

/// How an invoice stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Status {
    /// It is to be paid.
    Open,
    /// It is paid.
    Paid,
    /// Nobody expects it to be paid, and nobody is reminded of it.
    Uncollectible,
    /// It counts for nothing.
    Void,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Open, Self::Paid, Self::Uncollectible, Self::Void];

    /// Stripe's word for it, and that in rows and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Uncollectible => "uncollectible",
            Self::Void => "void",
        }
    }
}

/// Some ways to pay take days to say whether they worked, and until then Stripe's object looks as if they had failed: only
/// after so long it is believed without an event that says so.
const UNDECIDED: TimeDelta = TimeDelta::days(7);

/// An invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Its id at Stripe.
    pub invoice_id: String,
    /// What it is for.
    pub subscription_id: Option<String>,
    /// What customers know it by.
    pub number: Option<String>,
    /// How it stands.
    pub status: Status,
    /// Whether Stripe charges by itself; otherwise the customer pays by `due_at`.
    pub collects: bool,
    /// ISO 4217, in lower case.
    pub currency: String,
    /// In the currency's smallest unit, as are the next two.
    pub amount_due: i64,
    /// What was paid.
    pub amount_paid: i64,
    /// What is left.
    pub amount_remaining: i64,
    /// How often Stripe's schedule has tried to charge it.
    pub attempt_count: i32,
    /// When it tries again.
    pub next_payment_attempt: Option<DateTime<Utc>>,
    /// Where the customer can pay.
    pub hosted_invoice_url: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// By when it is to be paid.
    pub due_at: Option<DateTime<Utc>>,
    /// When it was paid.
    pub paid_at: Option<DateTime<Utc>>,
    /// When it was voided.
    pub voided_at: Option<DateTime<Utc>>,
    /// When a payment failed for the first time.
    pub failed_at: Option<DateTime<Utc>>,
    /// When a bank took a payment back.
    pub disputed_at: Option<DateTime<Utc>>,
    /// When Stripe said so, by its clock.
    pub stated_at: DateTime<Utc>,
}

/// What is told of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It was paid.
    Paid,
    /// A payment failed.
    Failed,
}

impl Invoice {
    /// What Stripe's object says, as of `stated_at`; `None` for a draft. `failed_at` is given where an event said that a
    /// payment had failed.
    pub fn of(from: &stripe::Invoice, failed_at: Option<DateTime<Utc>>, stated_at: DateTime<Utc>) -> Option<Self> {
        let status = Status::ALL.into_iter().find(|status| Some(status.name()) == from.status.as_deref())?;
        let mut invoice = Self {
            invoice_id: from.id.clone(),
            subscription_id: from.subscription_id().map(str::to_owned),
            number: from.number.clone(),
            status,
            collects: from.collection_method.as_deref() != Some("send_invoice"),
            currency: from.currency.clone(),
            amount_due: from.amount_due,
            amount_paid: from.amount_paid,
            amount_remaining: from.amount_remaining,
            attempt_count: from.attempt_count,
            next_payment_attempt: from.next_payment_attempt.map(moment),
            hosted_invoice_url: from.hosted_invoice_url.clone(),
            created_at: moment(from.created),
            due_at: from.due_date.map(moment),
            paid_at: from.status_transitions.paid_at.map(moment),
            voided_at: from.status_transitions.voided_at.map(moment),
            failed_at: None,
            disputed_at: None,
            stated_at,
        };
        if invoice.is_unpaid() && invoice.collects {
            // The first attempt is made when the invoice is finalised.
            let tried_at = from.status_transitions.finalized_at.map_or(invoice.created_at, moment);
            let decided = from.next_payment_attempt.is_some() || stated_at - tried_at >= UNDECIDED;
            let again = from.attempt_count > 1 || from.attempt_count == 1 && decided;
            invoice.failed_at = failed_at.or(again.then_some(tried_at));
        }
        Some(invoice)
    }

    /// Whether something is left to be paid.
    pub fn is_unpaid(&self) -> bool {
        self.status == Status::Open && self.amount_remaining > 0
    }

    /// Whether a payment failed, and none has worked.
    fn is_failing(&self) -> bool {
        self.is_unpaid() && self.failed_at.is_some()
    }

    /// How far it has come; Stripe never leads one back.
    fn progress(&self) -> (u8, i32) {
        let status = match self.status {
            Status::Open => 0,
            Status::Uncollectible => 1,
            Status::Paid | Status::Void => 2,
        };
        (status, self.attempt_count)
    }

    /// These news, said at `stated`, over what was known: what Stripe's object does not say is kept. `None` if they are older,
    /// or would lead back where nobody can tell which is older.
    pub fn over(self, held: &Self, stated: Stated) -> Option<Self> {
        let counts = match stated.order(held.stated_at) {
            Ordering::Less => false,
            Ordering::Equal => self.progress() >= held.progress(),
            Ordering::Greater => true,
        };
        counts.then(|| Self {
            failed_at: held.failed_at.or(self.failed_at),
            disputed_at: self.disputed_at.or(held.disputed_at),
            stated_at: self.stated_at.max(held.stated_at),
            ..self
        })
    }

    /// What is to be told of it, `held` being what was known before.
    pub fn told(&self, held: Option<&Self>) -> Option<Told> {
        let is_news = |at: Option<DateTime<Utc>>| held.is_some() || at.is_none_or(|at| self.stated_at - at < NEWS);
        let was_paid = held.is_some_and(|held| held.status == Status::Paid);
        if self.status == Status::Paid && !was_paid && self.amount_paid > 0 && is_news(self.paid_at) {
            return Some(Told::Paid);
        }
        let more = held.is_none_or(|held| !held.is_failing() || self.attempt_count > held.attempt_count);
        (self.is_failing() && more && is_news(self.failed_at)).then_some(Told::Failed)
    }
}

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Invoice,
            r#"select invoice_id, subscription_id, number, status as "status: Status", collects, currency, amount_due,
                      amount_paid, amount_remaining, attempt_count, next_payment_attempt, hosted_invoice_url, created_at,
                      due_at, paid_at, voided_at, failed_at, disputed_at, stated_at
               from invoices "# + $tail,
            $($arg),*
        )
    };
}

/// An invoice of an organisation.
pub async fn find(conn: &mut PgConnection, org_id: OrgId, invoice_id: &str) -> Result<Option<Invoice>, sqlx::Error> {
    select!("where org_id = $1 and invoice_id = $2", org_id.0, invoice_id).fetch_optional(conn).await
}

/// An organisation's invoices, newest first.
pub async fn list(conn: &mut PgConnection, org_id: OrgId, limit: i64) -> Result<Vec<Invoice>, sqlx::Error> {
    select!("where org_id = $1 order by created_at desc, invoice_id desc limit $2", org_id.0, limit)
        .fetch_all(conn)
        .await
}

/// Invoices of anybody that are owed and of which nothing was said since `before`, in the order of their ids behind `after`.
pub async fn unheard(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "select distinct invoice_id from invoices
         where owed_since is not null and stated_at < $1 and ($2::text is null or invoice_id > $2)
         order by invoice_id limit $3",
        before,
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Stores what Stripe said of an invoice; behind [`super::customer::lock`].
pub async fn put(conn: &mut PgConnection, org_id: OrgId, of: &Invoice, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into invoices (org_id, invoice_id, subscription_id, number, status, collects, currency, amount_due,
                               amount_paid, amount_remaining, attempt_count, next_payment_attempt, hosted_invoice_url,
                               created_at, due_at, paid_at, voided_at, failed_at, disputed_at, stated_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
         on conflict (org_id, invoice_id) do update set
           subscription_id = excluded.subscription_id, number = excluded.number, status = excluded.status,
           collects = excluded.collects, currency = excluded.currency, amount_due = excluded.amount_due,
           amount_paid = excluded.amount_paid, amount_remaining = excluded.amount_remaining,
           attempt_count = excluded.attempt_count, next_payment_attempt = excluded.next_payment_attempt,
           hosted_invoice_url = excluded.hosted_invoice_url, created_at = excluded.created_at, due_at = excluded.due_at,
           paid_at = excluded.paid_at, voided_at = excluded.voided_at, failed_at = excluded.failed_at,
           disputed_at = excluded.disputed_at, stated_at = excluded.stated_at, updated_at = excluded.updated_at",
        org_id.0,
        of.invoice_id,
        of.subscription_id,
        of.number,
        of.status.name(),
        of.collects,
        of.currency,
        of.amount_due,
        of.amount_paid,
        of.amount_remaining,
        of.attempt_count,
        of.next_payment_attempt,
        of.hosted_invoice_url,
        of.created_at,
        of.due_at,
        of.paid_at,
        of.voided_at,
        of.failed_at,
        of.disputed_at,
        of.stated_at,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a bank took an invoice's payment back, or that it has left it in the end.
pub async fn dispute(
    conn: &mut PgConnection,
    org_id: OrgId,
    invoice_id: &str,
    disputed_at: Option<DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update invoices set disputed_at = $3 where org_id = $1 and invoice_id = $2",
        org_id.0,
        invoice_id,
        disputed_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}
