//! Reading: the sums, together with what was stored and nobody has counted yet.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{Counted, Sum, Tally, Visit, batch::Row, count::ALL, pace::Pace, store::firsts, tally::Total};
use crate::id::OrgId;

/// The visits of one target, or of all that an organisation has.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// By day (UTC); days without visits are left out.
    pub days: BTreeMap<NaiveDate, Tally>,
    /// Since the beginning; for a whole organisation only what nobody has counted yet.
    pub total: Total,
}

/// The visits of the days from `from` to `to`, both included, of one target, or of all of the organisation's where there is
/// none: to the last one that was stored.
pub async fn traffic(
    conn: &mut PgConnection,
    org_id: OrgId,
    target: Option<Uuid>,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<Traffic, sqlx::Error> {
    // One view of everything, so that no visit is seen twice or never while its batch is being counted.
    let mut tx = conn.begin_with("begin isolation level repeatable read, read only").await?;
    let target = target.unwrap_or(ALL);
    let stored = sqlx::query!(
        "select day, visits, uniques, bots, facets from visit_days
         where org_id = $1 and target_id = $2 and day between $3 and $4",
        org_id.0,
        target,
        from,
        to,
    )
    .fetch_all(&mut *tx)
    .await?;
    let waiting = waiting(&mut tx, org_id, target).await?;
    let mut total = totals(&mut tx, org_id, &[target]).await?.remove(&target).unwrap_or_default();
    tx.commit().await?;

    let mut days: BTreeMap<NaiveDate, Tally> = BTreeMap::new();
    for row in stored {
        let sum = Sum { visits: row.visits, uniques: row.uniques };
        days.insert(row.day, Tally::read(sum, row.bots, &row.facets)?);
    }
    for visit in &waiting {
        total.count(visit);
        let day = visit.at.date_naive();
        if (from..=to).contains(&day) {
            days.entry(day).or_default().count(visit);
        }
    }
    Ok(Traffic { days, total })
}

/// The visits that were stored and that nobody has counted yet, of an organisation's target or of all that it has.
async fn waiting(conn: &mut PgConnection, org_id: OrgId, target: Uuid) -> Result<Vec<Counted>, sqlx::Error> {
    let mut visits = vec![];
    for batch in sqlx::query_file_as!(Row, "src/visit/waiting.sql").fetch_all(&mut *conn).await? {
        let wanted = |visit: &Visit| visit.org_id == org_id && (target == ALL || visit.target_id == target);
        visits.extend(batch.read()?.into_iter().filter(wanted));
    }
    let firsts = firsts(conn, &visits, &mut Pace::Haste).await?;
    Ok(visits.into_iter().map(|visit| Counted::new(visit, &firsts)).collect())
}

/// How many visits of people each of these organisations has had since `from` (UTC), as far as they were counted.
pub async fn since(conn: &mut PgConnection, orgs: &[OrgId], from: NaiveDate) -> Result<Vec<(OrgId, i64)>, sqlx::Error> {
    let orgs: Vec<Uuid> = orgs.iter().map(|org| org.0).collect();
    let rows = sqlx::query!(
        r#"select org_id as "org_id: OrgId", sum(visits)::bigint as "visits!" from visit_days
           where org_id = any($1) and target_id = $2 and day >= $3 group by 1"#,
        &orgs,
        ALL,
        from,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.org_id, row.visits)).collect())
}

/// How many visits of people each of these targets has had in each hour since the day `from` (UTC), as far as they were
/// counted; hours without visits are left out.
pub async fn hours(
    conn: &mut PgConnection,
    targets: &[(OrgId, Uuid)],
    from: NaiveDate,
) -> Result<HashMap<(OrgId, Uuid), BTreeMap<DateTime<Utc>, i64>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select org_id as "org_id: OrgId", target_id, day, facets from visit_days
           where (target_id, org_id) in (select * from unnest($1::uuid[], $2::uuid[])) and day >= $3"#,
        &targets.iter().map(|(_, target)| *target).collect::<Vec<_>>(),
        &targets.iter().map(|(org, _)| org.0).collect::<Vec<_>>(),
        from,
    )
    .fetch_all(conn)
    .await?;
    let mut hours: HashMap<_, BTreeMap<_, _>> = HashMap::new();
    for row in rows {
        let tally = Tally::read(Sum::default(), 0, &row.facets)?;
        let known = hours.entry((row.org_id, row.target_id)).or_default();
        known.extend(tally.hours(row.day).map(|(hour, sum)| (hour, sum.visits)));
    }
    Ok(hours)
}

/// What each of `targets` has had in all, as far as it was counted.
pub async fn totals(
    conn: &mut PgConnection,
    org_id: OrgId,
    targets: &[Uuid],
) -> Result<HashMap<Uuid, Total>, sqlx::Error> {
    let rows = sqlx::query!(
        "select target_id, visits, uniques, bots, last_at from visit_totals where org_id = $1 and target_id = any($2)",
        org_id.0,
        targets,
    )
    .fetch_all(conn)
    .await?;
    let total = |visits, uniques, bots, last_at| Total { sum: Sum { visits, uniques }, bots, last_at };
    Ok(rows.into_iter().map(|row| (row.target_id, total(row.visits, row.uniques, row.bots, row.last_at))).collect())
}
