//! Billing: a mirror of what Stripe says of the organisations that are its customers.
//!
//! Stripe decides what is paid; here it is only read, kept and followed. What is read of Stripe's objects is in
//! [`stripe`], whose organisation a customer is in [`customer`], and what is kept in [`subscription`] and [`invoice`].
//! Each row knows when Stripe said what it holds, by Stripe's clock, so that older news never overwrites newer ([`stated`]).

pub mod customer;
pub mod event;
pub mod invoice;
pub mod signature;
pub mod stated;
pub mod stripe;
pub mod subscription;
pub mod walk;

use chrono::{DateTime, TimeDelta, Utc};

use crate::plan::Plan;

/// What was seen for the first time is told as an event if it happened no longer ago; Stripe repeats its own news as long.
/// What is older is history, as in the first walk over all invoices.
pub const NEWS: TimeDelta = TimeDelta::days(3);

/// How old Stripe's last word may be where somebody is reminded or suspended by it, if Stripe can be asked for a newer one.
/// The walks ask more often than that while all is well.
pub const RECENT: TimeDelta = TimeDelta::hours(12);

/// Which of Stripe's prices is which plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prices(Vec<(String, Plan)>);

impl Prices {
    /// The plan that a price pays for.
    pub fn plan(&self, price_id: &str) -> Option<Plan> {
        self.0.iter().find(|(id, _)| id == price_id).map(|(_, plan)| *plan)
    }
}

impl FromIterator<(String, Plan)> for Prices {
    fn from_iter<T: IntoIterator<Item = (String, Plan)>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// A moment in Stripe's seconds.
fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}
