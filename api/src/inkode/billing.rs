//! `/api/org/{orgId}/billing`: what a workspace's plan is, and what Stripe says of its subscription and invoices.

use domain::{
    billing::{invoice, subscription},
    id::OrgId,
    org,
    plan::Plan,
};
use poem_openapi::{Enum, Object, OpenApi, param::Path, payload::Json};

use crate::{
    app::App,
    auth::{Auth, Session},
    failure::Failure,
    server::Tag,
    surface::{Failed, Own},
    text::{self, Text},
    timestamp::Timestamp,
};

/// How many invoices are shown.
const INVOICES: i64 = 24;

/// A plan.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
pub(super) enum PlanName {
    /// Costs nothing.
    Free,
    /// The first paid one.
    Starter,
    /// For professionals.
    Pro,
    /// For teams.
    Business,
    /// The largest.
    Enterprise,
}

impl From<Plan> for PlanName {
    fn from(plan: Plan) -> Self {
        match plan {
            Plan::Free => Self::Free,
            Plan::Starter => Self::Starter,
            Plan::Pro => Self::Pro,
            Plan::Business => Self::Business,
            Plan::Enterprise => Self::Enterprise,
        }
    }
}

/// How an invoice stands.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
enum InvoiceStatus {
    /// It is to be paid.
    Open,
    /// It is paid.
    Paid,
    /// It is owed, and nobody tries to collect it any more.
    Uncollectible,
    /// It counts for nothing.
    Void,
}

impl From<invoice::Status> for InvoiceStatus {
    fn from(status: invoice::Status) -> Self {
        match status {
            invoice::Status::Open => Self::Open,
            invoice::Status::Paid => Self::Paid,
            invoice::Status::Uncollectible => Self::Uncollectible,
            invoice::Status::Void => Self::Void,
        }
    }
}

/// A workspace's plan, its subscription and its newest invoices, as the payment service last said.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct Billing {
    /// The workspace.
    org_id: Text<text::OrgId>,
    /// The plan.
    plan: PlanName,
    /// Whether the plan is suspended because an invoice stayed unpaid: nothing can be made or changed until it is paid.
    suspended: bool,
    /// Since when.
    suspended_at: Option<Timestamp>,
    /// The subscription; absent where the plan is not paid for by one.
    subscription: Option<Subscription>,
    /// The newest invoices, newest first, 24 at most.
    invoices: Vec<Invoice>,
}

/// What pays for a plan.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct Subscription {
    /// How it stands, in Stripe's word: `active`, `trialing`, `past_due`, `unpaid`, `paused`, `incomplete`, `canceled` or
    /// `incomplete_expired`.
    status: String,
    /// For how many members.
    seats: i32,
    /// How often it is paid: `day`, `week`, `month` or `year`.
    interval: Option<String>,
    /// When the present period began.
    period_start: Option<Timestamp>,
    /// When it ends.
    period_end: Option<Timestamp>,
    /// When the trial ends or ended, where there is or was one.
    trial_end: Option<Timestamp>,
    /// Whether it ends with the period.
    cancel_at_period_end: bool,
    /// When it ended.
    ended_at: Option<Timestamp>,
}

/// An invoice. Amounts are in the currency's smallest unit, such as cents.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct Invoice {
    /// Its id at the payment service.
    id: String,
    /// Its number.
    number: Option<String>,
    /// How it stands.
    status: InvoiceStatus,
    /// ISO 4217.
    currency: String,
    /// What is due.
    amount_due: i64,
    /// What was paid.
    amount_paid: i64,
    /// What is left to pay.
    amount_remaining: i64,
    /// How often a payment was tried.
    attempts: i32,
    /// When it is tried again.
    next_attempt_at: Option<Timestamp>,
    /// Where it can be paid and read.
    url: Option<String>,
    /// When it was made.
    created_at: Timestamp,
    /// By when it is to be paid, where it is not charged.
    due_at: Option<Timestamp>,
    /// When it was paid.
    paid_at: Option<Timestamp>,
    /// When a payment failed for the first time.
    failed_at: Option<Timestamp>,
}

impl From<subscription::Subscription> for Subscription {
    fn from(of: subscription::Subscription) -> Self {
        Self {
            status: of.status,
            seats: of.seats,
            interval: of.interval,
            period_start: of.period_start.map(Into::into),
            period_end: of.period_end.map(Into::into),
            trial_end: of.trial_end.map(Into::into),
            cancel_at_period_end: of.cancel_at_period_end,
            ended_at: of.ended_at.map(Into::into),
        }
    }
}

impl From<invoice::Invoice> for Invoice {
    fn from(of: invoice::Invoice) -> Self {
        Self {
            id: of.invoice_id,
            number: of.number,
            status: of.status.into(),
            currency: of.currency.to_uppercase(),
            amount_due: of.amount_due,
            amount_paid: of.amount_paid,
            amount_remaining: of.amount_remaining,
            attempts: of.attempt_count,
            next_attempt_at: of.next_payment_attempt.map(Into::into),
            url: of.hosted_invoice_url,
            created_at: of.created_at.into(),
            due_at: of.due_at.map(Into::into),
            paid_at: of.paid_at.map(Into::into),
            failed_at: of.failed_at.map(Into::into),
        }
    }
}

/// The routes of billing.
#[derive(Debug)]
pub struct BillingApi(pub App);

#[OpenApi(prefix_path = "/api/org", tag = "Tag::Workspace")]
impl BillingApi {
    /// Get a workspace's plan and invoices
    #[oai(path = "/:orgId/billing", method = "get", operation_id = "getBilling")]
    async fn get(
        &self,
        auth: Auth<Session>,
        /// The workspace.
        #[oai(name = "orgId")]
        org_id: Path<Text<text::OrgId>>,
    ) -> Result<Json<Billing>, Failed<Own>> {
        let mut conn = self.0.store.pool().acquire().await?;
        let org = org::find(&mut conn, auth.0.org_id).await?;
        let named =
            |org: &org::Org| org_id.parse::<OrgId>() == Ok(org.id) || org.external_id.as_deref() == Some(&org_id.0);
        let org = org.filter(named).ok_or_else(no_workspace)?;
        let subscription = subscription::find(&mut conn, org.id).await?.map(|held| held.subscription.into());
        let invoices = invoice::list(&mut conn, org.id, INVOICES).await?.into_iter().map(Into::into).collect();
        Ok(Json(Billing {
            org_id: org.id.to_string().into(),
            plan: org.plan.into(),
            suspended: org.suspended_at.is_some(),
            suspended_at: org.suspended_at.map(Into::into),
            subscription,
            invoices,
        }))
    }
}

fn no_workspace() -> Failure {
    Failure::not_found("workspace of yours")
}
