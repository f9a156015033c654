//! The subscription of an organisation: of several, the one that counts, as Stripe last said.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Prices, moment, stated::Stated, stripe};
use crate::{id::OrgId, plan::Plan};

/// What a subscription in some state does to the organisation's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The organisation has the plan that the price pays for.
    Plan,
    /// It has none.
    Free,
    /// It keeps what it has.
    Nothing,
}

/// One of Stripe's states of a subscription.
#[derive(Debug)]
pub struct Status {
    /// Stripe's word for it.
    pub name: &'static str,
    /// What becomes of the plan.
    pub effect: Effect,
    /// Whether it is the end.
    pub is_over: bool,
    /// Of several subscriptions, which counts: the largest number.
    rank: u8,
}

const fn status(name: &'static str, effect: Effect, is_over: bool, rank: u8) -> Status {
    Status { name, effect, is_over, rank }
}

/// Every state. What is unpaid keeps its plan: when that ends is the business of reminders, and of Stripe's own settings.
/// <https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses>
pub const STATUSES: [Status; 8] = [
    status("active", Effect::Plan, false, 6),
    status("trialing", Effect::Plan, false, 6),
    status("past_due", Effect::Plan, false, 5),
    status("unpaid", Effect::Plan, false, 4),
    // A trial that ended without a way to pay.
    status("paused", Effect::Free, false, 3),
    // A first payment that is still to come, or never came: no plan was ever had by it.
    status("incomplete", Effect::Nothing, false, 2),
    status("canceled", Effect::Free, true, 1),
    status("incomplete_expired", Effect::Nothing, true, 0),
];

/// A state that is newer than this program.
const UNKNOWN: Status = status("", Effect::Nothing, false, 0);

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its id at Stripe.
    pub subscription_id: String,
    /// What it costs.
    pub price_id: Option<String>,
    /// What that pays for; `None` where the operator's setting does not say.
    pub plan: Option<Plan>,
    /// How it stands, in Stripe's word.
    pub status: String,
    /// For how many members.
    pub seats: i32,
    /// `day`, `week`, `month` or `year`.
    pub interval: Option<String>,
    /// The period that is paid for.
    pub period_start: Option<DateTime<Utc>>,
    /// Its end.
    pub period_end: Option<DateTime<Utc>>,
    /// When its trial began.
    pub trial_start: Option<DateTime<Utc>>,
    /// When that ends or ended.
    pub trial_end: Option<DateTime<Utc>>,
    /// Whether it ends with the period.
    pub cancel_at_period_end: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// A subscription, and when Stripe said so.
#[derive(Debug, Clone)]
pub struct Held {
    /// The subscription.
    pub subscription: Subscription,
    /// By Stripe's clock.
    pub stated_at: DateTime<Utc>,
}

impl Held {
    /// Whether `news`, said at `stated`, are to be followed: they are newer, or, where nobody can tell, nothing that Stripe
    /// never does. `None` is that the customer has no subscription.
    pub fn gives_way_to(&self, news: Option<&Subscription>, stated: Stated) -> bool {
        match stated.order(self.stated_at) {
            Ordering::Less => false,
            Ordering::Equal => news.is_none_or(|news| !news.leads_back(&self.subscription)),
            Ordering::Greater => true,
        }
    }
}

impl Subscription {
    /// Whether it is the same one as `held` before it came to be that: none begins again, nor waits again for its first
    /// payment.
    fn leads_back(&self, held: &Self) -> bool {
        const BEGINS: &str = "incomplete";
        let again = held.state().is_over && !self.state().is_over || held.status != BEGINS && self.status == BEGINS;
        self.subscription_id == held.subscription_id && again
    }

    /// What Stripe's object says.
    pub fn of(from: &stripe::Subscription, prices: &Prices) -> Self {
        let items = &from.items.data;
        // Of several, the one that pays for a plan, and the largest plan; what is sold beside it has no say.
        let known = items.iter().filter_map(|item| Some((prices.plan(&item.price.id)?, item)));
        let paying = known.max_by_key(|(plan, _)| *plan);
        let item = paying.map(|(_, item)| item).or(items.first());
        let ends = |own: Option<i64>, of: fn(&stripe::Item) -> Option<i64>| own.or(item.and_then(of)).map(moment);
        Self {
            subscription_id: from.id.clone(),
            price_id: item.map(|item| item.price.id.clone()),
            plan: paying.map(|(plan, _)| plan),
            status: from.status.clone(),
            seats: item.and_then(|item| item.quantity).and_then(|n| i32::try_from(n).ok()).unwrap_or(1),
            interval: item.and_then(|item| Some(item.price.recurring.as_ref()?.interval.clone())),
            period_start: ends(from.current_period_start, |item| item.current_period_start),
            period_end: ends(from.current_period_end, |item| item.current_period_end),
            trial_start: from.trial_start.map(moment),
            trial_end: from.trial_end.map(moment),
            cancel_at_period_end: from.cancel_at_period_end || from.cancel_at.is_some(),
            created_at: moment(from.created),
            ended_at: from.ended_at.map(moment),
        }
    }

    /// Of all that a customer has and had, the one that counts.
    pub fn choose(all: &[stripe::Subscription], prices: &Prices) -> Option<Self> {
        all.iter().map(|from| Self::of(from, prices)).max_by(|one, other| one.weight().cmp(&other.weight()))
    }

    /// The same, ended: Stripe does not know it any more.
    pub fn gone(&self, at: DateTime<Utc>) -> Self {
        Self { status: "canceled".into(), ended_at: Some(self.ended_at.unwrap_or(at)), ..self.clone() }
    }

    /// How it stands.
    pub fn state(&self) -> &'static Status {
        STATUSES.iter().find(|status| status.name == self.status).unwrap_or(&UNKNOWN)
    }

    /// Of two, the larger counts.
    pub fn weight(&self) -> (u8, Option<Plan>, DateTime<Utc>, &str) {
        (self.state().rank, self.plan, self.created_at, &self.subscription_id)
    }

    /// What becomes of an organisation on the plan `present`.
    pub fn plan_after(&self, present: Plan) -> Plan {
        match self.state().effect {
            Effect::Plan => self.plan.unwrap_or(present),
            Effect::Free => Plan::Free,
            Effect::Nothing => present,
        }
    }
}

/// An organisation's subscription.
pub async fn find(conn: &mut PgConnection, org_id: OrgId) -> Result<Option<Held>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select subscription_id, price_id, plan as "plan: Plan", status, seats, billing_interval, period_start,
                  period_end, trial_start, trial_end, cancel_at_period_end, created_at, ended_at, stated_at
           from subscriptions where org_id = $1"#,
        org_id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Held {
        subscription: Subscription {
            subscription_id: row.subscription_id,
            price_id: row.price_id,
            plan: row.plan,
            status: row.status,
            seats: row.seats,
            interval: row.billing_interval,
            period_start: row.period_start,
            period_end: row.period_end,
            trial_start: row.trial_start,
            trial_end: row.trial_end,
            cancel_at_period_end: row.cancel_at_period_end,
            created_at: row.created_at,
            ended_at: row.ended_at,
        },
        stated_at: row.stated_at,
    }))
}

/// Stores what Stripe said of an organisation's subscription; behind [`super::customer::lock`].
pub async fn put(conn: &mut PgConnection, org_id: OrgId, held: &Held, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let Held { subscription: of, stated_at } = held;
    sqlx::query!(
        "insert into subscriptions (org_id, subscription_id, price_id, plan, status, seats, billing_interval, period_start,
                                    period_end, trial_start, trial_end, cancel_at_period_end, created_at, ended_at,
                                    stated_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         on conflict (org_id) do update set
           subscription_id = excluded.subscription_id, price_id = excluded.price_id, plan = excluded.plan,
           status = excluded.status, seats = excluded.seats, billing_interval = excluded.billing_interval,
           period_start = excluded.period_start, period_end = excluded.period_end, trial_start = excluded.trial_start,
           trial_end = excluded.trial_end, cancel_at_period_end = excluded.cancel_at_period_end,
           created_at = excluded.created_at, ended_at = excluded.ended_at, stated_at = excluded.stated_at,
           updated_at = excluded.updated_at",
        org_id.0,
        of.subscription_id,
        of.price_id,
        of.plan.map(Plan::name),
        of.status,
        of.seats,
        of.interval,
        of.period_start,
        of.period_end,
        of.trial_start,
        of.trial_end,
        of.cancel_at_period_end,
        of.created_at,
        of.ended_at,
        stated_at,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
