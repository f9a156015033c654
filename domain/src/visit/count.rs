//! Counting: batches become visits and sums.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Sum, Tally, Visit, batch::Row, tally::Total};
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
    /// Its id.
    pub id: Uuid,
    /// Whose code it was.
    pub org_id: OrgId,
    /// The link or QR code.
    pub target_id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether a program and no person came.
    pub is_bot: bool,
    /// Whether it was the visitor's first of the day and target.
    pub is_unique: bool,
    /// As in [`super::Visit`], and so on.
    pub device: String,
    /// The operating system.
    pub system: String,
    /// The browser.
    pub browser: String,
    /// The country.
    pub country: String,
    /// The region.
    pub region: String,
    /// The language.
    pub language: String,
    /// The host of the page that led here.
    pub referrer: String,
    /// Which rule or variant led on.
    pub branch: String,
}

impl Counted {
    /// A visit that is counted now.
    pub(super) fn new(visit: Visit, is_unique: bool) -> Self {
        let Visit {
            id,
            org_id,
            target_id,
            at,
            visitor: _,
            is_bot,
            device,
            system,
            browser,
            country,
            region,
            language,
            referrer,
            branch,
        } = visit;
        Self {
            id,
            org_id,
            target_id,
            at,
            is_bot,
            is_unique,
            device,
            system,
            browser,
            country,
            region,
            language,
            referrer,
            branch,
        }
    }
}

/// The newest batch that waits.
pub async fn last_batch(conn: &mut PgConnection) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!("select id from visit_batches order by id desc limit 1").fetch_optional(conn).await
}

/// Counts the oldest batches, some 20,000 visits, none newer than `last`; the visits that it counted, or `None` while another
/// counts. Part of the caller's transaction: two who count at once could both take a visitor for new.
pub async fn count_batches(conn: &mut PgConnection, last: Uuid) -> Result<Option<Vec<Counted>>, sqlx::Error> {
    let alone = sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "alone!""#, COUNTING);
    if !alone.fetch_one(&mut *conn).await? {
        return Ok(None);
    }
    let taken = sqlx::query_file_as!(Row, "src/visit/take.sql", PORTION, last).fetch_all(&mut *conn).await?;
    let mut noted = vec![];
    for batch in taken {
        noted.extend(batch.read()?);
    }
    let visits = store(conn, noted).await?;
    let mut days: HashMap<(OrgId, Uuid, NaiveDate), Tally> = HashMap::new();
    let mut totals: HashMap<(OrgId, Uuid), Total> = HashMap::new();
    for visit in &visits {
        for target in [visit.target_id, ALL] {
            days.entry((visit.org_id, target, visit.at.date_naive())).or_default().count(visit);
        }
        totals.entry((visit.org_id, visit.target_id)).or_default().count(visit);
    }
    add_days(conn, days).await?;
    add_totals(conn, totals).await?;
    Ok(Some(visits))
}

/// Stores visits one by one, and finds out which were their visitors' first.
async fn store(conn: &mut PgConnection, visits: Vec<Visit>) -> Result<Vec<Counted>, sqlx::Error> {
    if visits.is_empty() {
        return Ok(vec![]);
    }
    fn texts(visits: &[Visit], of: fn(&Visit) -> &str) -> Vec<&str> {
        visits.iter().map(of).collect()
    }
    let unique = sqlx::query_file_scalar!(
        "src/visit/count.sql",
        &visits.iter().map(|v| v.id).collect::<Vec<_>>(),
        &visits.iter().map(|v| v.org_id.0).collect::<Vec<_>>(),
        &visits.iter().map(|v| v.target_id).collect::<Vec<_>>(),
        &visits.iter().map(|v| v.at).collect::<Vec<_>>(),
        &visits.iter().map(|v| v.visitor).collect::<Vec<_>>(),
        &visits.iter().map(|v| v.is_bot).collect::<Vec<_>>(),
        &texts(&visits, |v| &v.device) as &[&str],
        &texts(&visits, |v| &v.system) as &[&str],
        &texts(&visits, |v| &v.browser) as &[&str],
        &texts(&visits, |v| &v.country) as &[&str],
        &texts(&visits, |v| &v.region) as &[&str],
        &texts(&visits, |v| &v.language) as &[&str],
        &texts(&visits, |v| &v.referrer) as &[&str],
        &texts(&visits, |v| &v.branch) as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let unique: HashSet<Uuid> = unique.into_iter().collect();
    let counted = visits.into_iter().map(|visit| {
        let is_unique = unique.contains(&visit.id);
        Counted::new(visit, is_unique)
    });
    Ok(counted.collect())
}

async fn add_days(
    conn: &mut PgConnection,
    mut days: HashMap<(OrgId, Uuid, NaiveDate), Tally>,
) -> Result<(), sqlx::Error> {
    let keys: Vec<_> = days.keys().copied().collect();
    let orgs: Vec<Uuid> = keys.iter().map(|(org, _, _)| org.0).collect();
    let targets: Vec<Uuid> = keys.iter().map(|(_, target, _)| *target).collect();
    let dates: Vec<NaiveDate> = keys.iter().map(|(_, _, day)| *day).collect();
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
        if let Some(tally) = days.get_mut(&(row.org_id, row.target_id, row.day)) {
            let fresh = std::mem::replace(tally, before);
            tally.merge(&fresh);
        }
    }
    let tallies: Vec<Tally> = keys.iter().filter_map(|key| days.remove(key)).collect();
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
        &tallies.iter().map(Tally::facets_bytes).collect::<Result<Vec<_>, _>>()?,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn add_totals(conn: &mut PgConnection, totals: HashMap<(OrgId, Uuid), Total>) -> Result<(), sqlx::Error> {
    let (keys, totals): (Vec<_>, Vec<_>) = totals.into_iter().unzip();
    sqlx::query!(
        "insert into visit_totals as t (org_id, target_id, visits, uniques, bots, last_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::timestamptz[])
         on conflict (target_id, org_id) do update
           set visits = t.visits + excluded.visits, uniques = t.uniques + excluded.uniques, bots = t.bots + excluded.bots,
               last_at = greatest(t.last_at, excluded.last_at)",
        &keys.iter().map(|(org, _)| org.0).collect::<Vec<_>>(),
        &keys.iter().map(|(_, target)| *target).collect::<Vec<_>>(),
        &totals.iter().map(|total| total.sum.visits).collect::<Vec<_>>(),
        &totals.iter().map(|total| total.sum.uniques).collect::<Vec<_>>(),
        &totals.iter().map(|total| total.bots).collect::<Vec<_>>(),
        &totals.iter().map(|total| total.last_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
    )
    .execute(conn)
    .await?;
    Ok(())
}
