//! Limits: of what a plan includes, how much is in use, how much of that is locked, and when it begins anew.

use chrono::{DateTime, Months, NaiveTime, Utc};
use sqlx::PgConnection;

use crate::{
    downgrade::{self, Downgrade, LOCKED, Use},
    member,
    org::Org,
    plan::Quota,
    quota::month,
    visit,
};

/// A limit of an organisation's plan.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// How much there is, of how much.
    pub of: Use,
    /// How many are beyond the plan and cannot be changed.
    pub locked: i64,
    /// When it is counted from nought again, where it is counted by the month.
    pub resets_at: Option<DateTime<Utc>>,
}

/// The limits of an organisation, in the order of [`Quota::ALL`]; `known` is what is known of its downgrade.
pub async fn list(
    conn: &mut PgConnection,
    org: &Org,
    known: Option<Downgrade>,
    now: DateTime<Utc>,
) -> Result<Vec<Limit>, sqlx::Error> {
    let uses = downgrade::uses(conn, org.id, org.plan).await?;
    let seats = member::count(conn, org.id).await?;
    let scans = visit::since(conn, &[org.id], month(now)).await?.first().map_or(0, |(_, visits)| *visits);
    let is_locked = known.is_some_and(|known| known.locked_at.is_some());
    let next_month = (month(now) + Months::new(1)).and_time(NaiveTime::MIN).and_utc();
    let limit = |quota: Quota| {
        let counted = uses.iter().find(|of| of.quota == quota).map(|of| of.used);
        let used = counted.unwrap_or(match quota {
            Quota::Seats => seats,
            Quota::MonthlyScans => scans,
            // Nothing makes contacts yet, and the others are counted above.
            _ => 0,
        });
        let of = Use { quota, most: org.plan.includes(quota), used };
        let locks = is_locked && LOCKED.contains(&quota);
        let locked = of.most.filter(|_| locks).map_or(0, |most| (used - most).max(0));
        Limit { of, locked, resets_at: quota.is_monthly().then_some(next_month) }
    };
    Ok(Quota::ALL.map(limit).to_vec())
}
