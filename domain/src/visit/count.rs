//! Counting: batches become visits and sums.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Sum, Tally, Visit,
    batch::Row,
    pace::Pace,
    store::{firsts, insert},
    tally::Total,
};
use crate::id::OrgId;

/// The advisory lock of whoever counts: "INKV" in ASCII.
const COUNTING: i64 = 0x494e_4b56;
/// About so many visits are counted in one transaction.
const PORTION: i64 = 20_000;
/// The target of an organisation's own sums.
pub(super) const ALL: Uuid = Uuid::nil();

/// A visit that was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// As it was noted.
    pub visit: Visit,
    /// Whether it was the visitor's first of the day and target.
    pub is_unique: bool,
}

impl Counted {
    /// A visit that is counted now, where `firsts` are those that are their visitors' first.
    pub(super) fn new(visit: Visit, firsts: &HashSet<Uuid>) -> Self {
        Self { is_unique: firsts.contains(&visit.id), visit }
    }
}

impl std::ops::Deref for Counted {
    type Target = Visit;
    fn deref(&self) -> &Visit {
        &self.visit
    }
}

/// The newest batch that waits.
pub async fn last_batch(conn: &mut PgConnection) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!("select id from visit_batches order by id desc limit 1").fetch_optional(conn).await
}

/// What was counted at once.
#[derive(Debug)]
pub struct Portion {
    /// The visits.
    pub visits: Vec<Counted>,
    /// Whether it held the newest batch that was asked for, and with it the last one.
    pub is_last: bool,
}

/// Counts the oldest batches, some 20,000 visits, none newer than `last`; `None` while another counts. Part of the caller's
/// transaction: two who count at once could both take a visitor for new.
pub async fn count_batches(conn: &mut PgConnection, last: Uuid) -> Result<Option<Portion>, sqlx::Error> {
    let alone = sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "alone!""#, COUNTING);
    if !alone.fetch_one(&mut *conn).await? {
        return Ok(None);
    }
    let taken = sqlx::query_file_as!(Row, "src/visit/take.sql", PORTION, last).fetch_all(&mut *conn).await?;
    // All are gone, too, where nothing was found.
    let is_last = taken.is_empty() || taken.iter().any(|batch| batch.id == last);
    let mut noted = vec![];
    for batch in taken {
        noted.extend(batch.read()?);
    }
    let mut pace = if is_last { Pace::Ease(None) } else { Pace::Haste };
    let firsts = firsts(conn, &noted, &mut pace).await?;
    insert(conn, &noted, &firsts, &mut pace).await?;
    let visits: Vec<Counted> = noted.into_iter().map(|visit| Counted::new(visit, &firsts)).collect();
    let mut days: HashMap<Day, Tally> = HashMap::new();
    let mut totals: HashMap<(Uuid, OrgId), Total> = HashMap::new();
    for visit in &visits {
        for target in [visit.target_id, ALL] {
            days.entry((target, visit.at.date_naive(), visit.org_id)).or_default().count(visit);
        }
        totals.entry((visit.target_id, visit.org_id)).or_default().count(visit);
    }
    for some in in_order(days).chunks_mut(pace.size()) {
        pace.piece().await;
        add_days(conn, some).await?;
    }
    for some in in_order(totals).chunks(pace.size()) {
        pace.piece().await;
        add_totals(conn, some).await?;
    }
    Ok(Some(Portion { visits, is_last }))
}

/// A row of `visit_days`, in the order of its key.
type Day = (Uuid, NaiveDate, OrgId);

/// In the order of the index, in which neighbours are found together.
fn in_order<K: Ord, V>(sums: HashMap<K, V>) -> Vec<(K, V)> {
    let mut sums: Vec<(K, V)> = sums.into_iter().collect();
    sums.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    sums
}

/// Adds what was counted to the rows of some days. `days` are in order.
async fn add_days(conn: &mut PgConnection, days: &mut [(Day, Tally)]) -> Result<(), sqlx::Error> {
    let orgs: Vec<Uuid> = days.iter().map(|((_, _, org), _)| org.0).collect();
    let targets: Vec<Uuid> = days.iter().map(|((target, _, _), _)| *target).collect();
    let dates: Vec<NaiveDate> = days.iter().map(|((_, day, _), _)| *day).collect();
    let stored = sqlx::query!(
        r#"select d.org_id as "org_id: OrgId", d.target_id, d.day, d.visits, d.uniques, d.bots, d.facets
           from unnest($1::uuid[], $2::uuid[], $3::date[]) as k(org_id, target_id, day)
           join visit_days d on d.org_id = k.org_id and d.target_id = k.target_id and d.day = k.day"#,
        &orgs,
        &targets,
        &dates,
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in stored {
        let sum = Sum { visits: row.visits, uniques: row.uniques };
        let before = Tally::read(sum, row.bots, &row.facets)?;
        if let Ok(n) = days.binary_search_by_key(&(row.target_id, row.day, row.org_id), |(key, _)| *key) {
            let fresh = std::mem::replace(&mut days[n].1, before);
            days[n].1.merge(&fresh);
        }
    }
    let tallies: Vec<&Tally> = days.iter().map(|(_, tally)| tally).collect();
    sqlx::query!(
        "insert into visit_days (org_id, target_id, day, visits, uniques, bots, facets)
         select * from unnest($1::uuid[], $2::uuid[], $3::date[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[])
         on conflict (target_id, day, org_id) do update
           set visits = excluded.visits, uniques = excluded.uniques, bots = excluded.bots, facets = excluded.facets",
        &orgs,
        &targets,
        &dates,
        &tallies.iter().map(|tally| tally.sum.visits).collect::<Vec<_>>(),
        &tallies.iter().map(|tally| tally.sum.uniques).collect::<Vec<_>>(),
        &tallies.iter().map(|tally| tally.bots).collect::<Vec<_>>(),
        &tallies.iter().map(|tally| tally.facets_bytes()).collect::<Result<Vec<_>, _>>()?,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn add_totals(conn: &mut PgConnection, totals: &[((Uuid, OrgId), Total)]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into visit_totals as t (org_id, target_id, visits, uniques, bots, last_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::timestamptz[])
         on conflict (target_id, org_id) do update
           set visits = t.visits + excluded.visits, uniques = t.uniques + excluded.uniques, bots = t.bots + excluded.bots,
               last_at = greatest(t.last_at, excluded.last_at)",
        &totals.iter().map(|((_, org), _)| org.0).collect::<Vec<_>>(),
        &totals.iter().map(|((target, _), _)| *target).collect::<Vec<_>>(),
        &totals.iter().map(|(_, total)| total.sum.visits).collect::<Vec<_>>(),
        &totals.iter().map(|(_, total)| total.sum.uniques).collect::<Vec<_>>(),
        &totals.iter().map(|(_, total)| total.bots).collect::<Vec<_>>(),
        &totals.iter().map(|(_, total)| total.last_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
    )
    .execute(conn)
    .await?;
    Ok(())
}
