//! What an organisation had in some days: in all, and which of its links and codes had most of it. From the sums alone: who
//! asks for days that are over asks [`is_counted`] before.

use std::collections::{BTreeMap, HashMap};

use chrono::{Days, NaiveDate, NaiveTime};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{Sum, Tally, count::ALL};
use crate::{
    id::{OrgId, floor_uuid},
    routing::Routing,
};

/// Whole days (UTC), both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first.
    pub first: NaiveDate,
    /// The last.
    pub last: NaiveDate,
}

impl Span {
    /// So many days from `first` on.
    pub fn days_from(first: NaiveDate, days: u64) -> Self {
        Self { first, last: first + Days::new(days - 1) }
    }
}

/// A link or QR code with its visits.
#[derive(Debug, Clone)]
pub struct Ranked {
    /// Its id.
    pub id: Uuid,
    /// What it is called; may be empty.
    pub name: String,
    /// The domain of its code; empty for the installation's own.
    pub domain: String,
    /// Its code.
    pub code: String,
    /// Visits of people.
    pub visits: i64,
}

/// Whether all visits of before `day` (UTC) are in the sums, as far as they were stored.
pub async fn is_counted(conn: &mut PgConnection, day: NaiveDate) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select not exists (select from visit_batches where id < $1) as "counted!""#,
        floor_uuid(day.and_time(NaiveTime::MIN).and_utc()),
    )
    .fetch_one(conn)
    .await
}

/// What an organisation had on each of some days; days without visits are left out.
pub async fn days(conn: &mut PgConnection, org_id: OrgId, span: Span) -> Result<BTreeMap<NaiveDate, Sum>, sqlx::Error> {
    let rows = sqlx::query!(
        "select day, visits, uniques from visit_days where org_id = $1 and target_id = $2 and day between $3 and $4",
        org_id.0,
        ALL,
        span.first,
        span.last,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.day, Sum { visits: row.visits, uniques: row.uniques })).collect())
}

/// How many scans the QR codes of an organisation had.
pub async fn scans(conn: &mut PgConnection, org_id: OrgId, span: Span) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select coalesce(sum(v.visits), 0)::bigint as "scans!"
           from qr_codes q join visit_days v on v.target_id = q.id and v.org_id = q.org_id
           where q.org_id = $1 and v.day between $2 and $3"#,
        org_id.0,
        span.first,
        span.last,
    )
    .fetch_one(conn)
    .await
}

/// The links of an organisation that had most visits, those first.
pub async fn top_links(
    conn: &mut PgConnection,
    org_id: OrgId,
    span: Span,
    limit: i64,
) -> Result<Vec<Ranked>, sqlx::Error> {
    sqlx::query_as!(
        Ranked,
        r#"select l.id, l.title as name, l.domain, l.slug as code, sum(v.visits)::bigint as "visits!"
           from links l join visit_days v on v.target_id = l.id and v.org_id = l.org_id
           where l.org_id = $1 and v.day between $2 and $3
           group by l.id having sum(v.visits) > 0 order by 5 desc, l.id limit $4"#,
        org_id.0,
        span.first,
        span.last,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// The dynamic QR codes of an organisation that had most scans, those first.
pub async fn top_codes(
    conn: &mut PgConnection,
    org_id: OrgId,
    span: Span,
    limit: i64,
) -> Result<Vec<Ranked>, sqlx::Error> {
    sqlx::query_as!(
        Ranked,
        r#"select q.id, q.name, coalesce(q.domain, '') as "domain!", coalesce(q.short_code, '') as "code!",
                  sum(v.visits)::bigint as "visits!"
           from qr_codes q join visit_days v on v.target_id = q.id and v.org_id = q.org_id
           where q.org_id = $1 and v.day between $2 and $3
           group by q.id having sum(v.visits) > 0 order by 5 desc, q.id limit $4"#,
        org_id.0,
        span.first,
        span.last,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// The links of an organisation with an A/B test that had most visits, those first.
pub async fn tested_links(
    conn: &mut PgConnection,
    org_id: OrgId,
    span: Span,
    limit: i64,
) -> Result<Vec<(Ranked, Routing)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select l.id, l.title as name, l.domain, l.slug as code, l.routing as "routing!: Json<Routing>",
                  sum(v.visits)::bigint as "visits!"
           from links l join visit_days v on v.target_id = l.id and v.org_id = l.org_id
           where l.org_id = $1 and jsonb_array_length(l.routing -> 'variants') > 0 and v.day between $2 and $3
           group by l.id having sum(v.visits) > 0 order by 6 desc, l.id limit $4"#,
        org_id.0,
        span.first,
        span.last,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let ranked = rows.into_iter().map(|row| {
        let ranked = Ranked { id: row.id, name: row.name, domain: row.domain, code: row.code, visits: row.visits };
        (ranked, row.routing.0)
    });
    Ok(ranked.collect())
}

/// The visits of each of some links, by the rule or variant that led the visitor on.
pub async fn branches(
    conn: &mut PgConnection,
    org_id: OrgId,
    targets: &[Uuid],
    span: Span,
) -> Result<HashMap<(Uuid, String), Sum>, sqlx::Error> {
    let rows = sqlx::query!(
        "select target_id, facets from visit_days where org_id = $1 and target_id = any($2) and day between $3 and $4",
        org_id.0,
        targets,
        span.first,
        span.last,
    )
    .fetch_all(conn)
    .await?;
    let mut branches: HashMap<(Uuid, String), Sum> = HashMap::new();
    for row in rows {
        let tally = Tally::read(Sum::default(), 0, &row.facets)?;
        for (branch, sum) in tally.facets.get("branch") {
            *branches.entry((row.target_id, branch.to_string())).or_default() += *sum;
        }
    }
    Ok(branches)
}
