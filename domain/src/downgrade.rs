//! Downgrades: an organisation that uses more than its plan includes is warned, has two weeks, and then cannot change what
//! is beyond the plan. Nothing is deleted, and nothing stops leading on.
//!
//! What is beyond is a rule and no mark: of the things that are in use the oldest are within the plan, as many as it
//! includes. So a larger plan, or an older thing that is put away, frees others at once.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    id::OrgId,
    plan::{Plan, Quota},
};

/// How long everything can still be changed after a warning.
pub const GRACE: TimeDelta = TimeDelta::days(14);
/// What is locked when there is too much of it.
pub const LOCKED: [Quota; 4] = [Quota::Links, Quota::DynamicCodes, Quota::Barcodes, Quota::Endpoints];

/// An organisation that uses more than its plan includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Downgrade {
    /// The plan.
    pub plan: Plan,
    /// When it was found out.
    pub found_at: DateTime<Utc>,
    /// When the time to tidy up ends.
    pub locks_at: DateTime<Utc>,
    /// Since when what is beyond the plan cannot be changed.
    pub locked_at: Option<DateTime<Utc>>,
}

/// What is to be done about one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing, or nothing yet.
    Wait,
    /// The organisation is warned, and its time begins.
    Warn,
    /// The time is over.
    Lock,
    /// The plan is large enough again.
    End,
}

/// What is to be done about an organisation on `plan` that does or does not use more than that includes.
pub fn step(known: Option<Downgrade>, plan: Plan, is_over: bool, now: DateTime<Utc>) -> Step {
    match known {
        None if is_over => Step::Warn,
        None => Step::Wait,
        Some(_) if !is_over => Step::End,
        Some(known) if known.plan != plan => Step::Warn,
        Some(known) if known.locked_at.is_none() && known.locks_at <= now => Step::Lock,
        Some(_) => Step::Wait,
    }
}

/// How much of something is in use, of how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Of what.
    pub quota: Quota,
    /// How many the plan includes; `None` for as many as one likes.
    pub most: Option<i64>,
    /// How many there are.
    pub used: i64,
}

impl Use {
    /// Whether it is more than the plan includes.
    pub fn is_over(&self) -> bool {
        self.most.is_some_and(|most| self.used > most)
    }
}

/// How much is in use of everything in [`LOCKED`], in that order.
pub async fn uses(conn: &mut PgConnection, org_id: OrgId, plan: Plan) -> Result<[Use; LOCKED.len()], sqlx::Error> {
    let row = sqlx::query!(
        r#"select (select count(*) from links where org_id = $1 and archived_at is null) as "links!",
                  (select count(*) from qr_codes
                   where org_id = $1 and short_code is not null and archived_at is null) as "codes!",
                  (select count(*) from barcodes where org_id = $1 and archived_at is null) as "barcodes!",
                  (select count(*) from endpoints where org_id = $1 and deleted_at is null) as "endpoints!""#,
        org_id.0,
    )
    .fetch_one(conn)
    .await?;
    let used = [row.links, row.codes, row.barcodes, row.endpoints];
    let mut used = used.into_iter();
    Ok(LOCKED.map(|quota| Use { quota, most: plan.includes(quota), used: used.next().unwrap_or_default() }))
}

/// What is known of an organisation; `None` where it keeps to its plan.
pub async fn find(conn: &mut PgConnection, org_id: OrgId) -> Result<Option<Downgrade>, sqlx::Error> {
    sqlx::query_as!(
        Downgrade,
        r#"select plan as "plan: Plan", found_at, locks_at, locked_at from downgrades where org_id = $1"#,
        org_id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Notes that an organisation was found to use more than `plan` includes.
pub async fn begin(conn: &mut PgConnection, org_id: OrgId, plan: Plan, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into downgrades (org_id, plan, found_at, locks_at) values ($1, $2, $3, $4)
         on conflict (org_id) do update
           set plan = excluded.plan, found_at = excluded.found_at, locks_at = excluded.locks_at, locked_at = null",
        org_id.0,
        plan.name(),
        now,
        now + GRACE,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Has what is beyond the plan locked from `now` on.
pub async fn lock(conn: &mut PgConnection, org_id: OrgId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!("update downgrades set locked_at = $2 where org_id = $1", org_id.0, now).execute(conn).await?;
    Ok(())
}

/// Forgets that an organisation used more than its plan includes.
pub async fn end(conn: &mut PgConnection, org_id: OrgId) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from downgrades where org_id = $1", org_id.0).execute(conn).await?;
    Ok(())
}

/// A thing is beyond the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "The plan includes {most} {}, and this is beyond the oldest {most}: it goes on working and can be put away or deleted, \
     but not changed.",
    .quota.title()
)]
pub struct Beyond {
    /// Of what.
    pub quota: Quota,
    /// How many the plan includes.
    pub most: i64,
}

/// Where the plan ends.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    /// The oldest thing that is beyond it, and everything that was made later.
    first: Uuid,
    beyond: Beyond,
}

impl Edge {
    /// Refuses a change of a thing that is beyond the edge.
    pub fn check(&self, id: Uuid) -> Result<(), Beyond> {
        if id < self.first { Ok(()) } else { Err(self.beyond) }
    }
}

/// Whether a thing that is in use is beyond the plan that ends at `edge`.
pub fn is_beyond(edge: Option<Edge>, id: Uuid) -> bool {
    edge.is_some_and(|edge| edge.check(id).is_err())
}

/// Where the plan of an organisation ends for what counts towards `quota`; `None` where everything can be changed.
pub async fn edge(conn: &mut PgConnection, org_id: OrgId, quota: Quota) -> Result<Option<Edge>, sqlx::Error> {
    let plan = sqlx::query_scalar!(
        r#"select o.plan as "plan: Plan" from downgrades d join organizations o on o.id = d.org_id
           where d.org_id = $1 and d.locked_at is not null"#,
        org_id.0,
    );
    let plan = plan.fetch_optional(&mut *conn).await?;
    let Some(most) = plan.and_then(|plan| plan.includes(quota)) else { return Ok(None) };
    // Ids are made in the order of time.
    let first = match quota {
        Quota::Links => {
            sqlx::query_scalar!(
                "select id from links where org_id = $1 and archived_at is null order by id offset $2 limit 1",
                org_id.0,
                most,
            )
            .fetch_optional(conn)
            .await?
        }
        Quota::DynamicCodes => {
            sqlx::query_scalar!(
                "select id from qr_codes where org_id = $1 and short_code is not null and archived_at is null
             order by id offset $2 limit 1",
                org_id.0,
                most,
            )
            .fetch_optional(conn)
            .await?
        }
        Quota::Barcodes => {
            sqlx::query_scalar!(
                "select id from barcodes where org_id = $1 and archived_at is null order by id offset $2 limit 1",
                org_id.0,
                most,
            )
            .fetch_optional(conn)
            .await?
        }
        Quota::Endpoints => {
            sqlx::query_scalar!(
                "select id from endpoints where org_id = $1 and deleted_at is null order by id offset $2 limit 1",
                org_id.0,
                most,
            )
            .fetch_optional(conn)
            .await?
        }
        Quota::Contacts | Quota::Seats | Quota::MonthlyScans => None,
    };
    Ok(first.map(|first| Edge { first, beyond: Beyond { quota, most } }))
}
