//! Thresholds of a month's scans: each is told once per month.

use chrono::{DateTime, Utc};
pub use domain::quota::month;
use domain::{
    chance::Chance,
    change::{Change, Happened, QuotaReached},
    id::OrgId,
    notification::{Kind, News},
    plan::Quota,
    quota,
};

use crate::{change, notification::notify, store::Tx};

/// Publishes the thresholds that organisations have reached with `used` scans in the present month, robots not counted, and
/// notifies members of them; returns how many. For whoever counts visits, in the transaction that counts them; the same figures twice tell nothing
/// twice.
pub async fn check_scans(
    tx: &mut Tx<'_>,
    used: &[(OrgId, i64)],
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<usize, sqlx::Error> {
    if used.is_empty() {
        return Ok(0);
    }
    let reached = quota::note_thresholds(tx, Quota::MonthlyScans, month(now), used, now).await?;
    let happened: Vec<Happened<QuotaReached>> = reached
        .iter()
        .filter_map(|threshold| {
            let (_, used) = used.iter().find(|(org_id, _)| *org_id == threshold.org_id)?;
            let most = threshold.plan.includes(Quota::MonthlyScans)?;
            let subject = QuotaReached { plan: threshold.plan, most, used: *used, threshold: threshold.percent };
            Some(Happened { org_id: threshold.org_id, change: Change::Reached, at: now, subject })
        })
        .collect();
    // Of the other shares the audit of plans tells members.
    let own = happened.iter().filter(|it| !quota::WRITTEN.contains(&it.subject.threshold));
    let news: Vec<News> = own.map(news).collect();
    notify(tx, &news, now, chance).await?;
    change::publish(tx, &happened, None, now, chance).await?;
    Ok(reached.len())
}

fn news(happened: &Happened<QuotaReached>) -> News {
    let QuotaReached { plan, most, used, threshold } = happened.subject;
    News {
        org_id: happened.org_id,
        kind: Kind::QuotaReached,
        title: format!("{threshold} % of this month's scans are used"),
        text: format!(
            "{used} of the {most} {} that the plan {} includes. Links and codes lead on.",
            Quota::MonthlyScans.title(),
            plan.name()
        ),
        path: "/billing".into(),
        maker: None,
        told: None,
    }
}
