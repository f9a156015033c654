//! Quotas: whether a plan has room for more, and which thresholds of a month's use were told already.
//!
//! Room is asked for where something is made or taken back from the archive, and nowhere else: what exists goes on
//! whatever the plan.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use sqlx::PgConnection;

use crate::{
    downgrade::Use,
    id::OrgId,
    plan::{Plan, Quota},
};

/// The shares of a month's quota that are told, in per cent.
pub const THRESHOLDS: [i16; 2] = [75, 100];

/// The shares of a quota that whoever manages the organisation is told of, in per cent.
pub const WRITTEN: [i16; 2] = [80, 100];

/// The first day of the month (UTC) in which `at` is.
pub fn month(at: DateTime<Utc>) -> NaiveDate {
    at.date_naive().with_day(1).unwrap_or_default()
}

/// The plan has no room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The plan includes {most} {}, and {used} are in use.", .quota.title())]
pub struct Full {
    /// Of what.
    pub quota: Quota,
    /// How many the plan includes.
    pub most: i64,
    /// How many there are.
    pub used: i64,
}

/// How many of something an organisation's plan includes, `None` for as many as it likes. Where there is a limit, the
/// organisation is held until the transaction ends, so that of two who take the last place one is second: whoever counts
/// must do so after this, in a statement of its own that sees what the first one stored.
pub async fn lock(
    conn: &mut PgConnection,
    org_id: OrgId,
    plan: Plan,
    quota: Quota,
) -> Result<Option<i64>, sqlx::Error> {
    if plan.includes(quota).is_none() {
        return Ok(None);
    }
    let plan = sqlx::query_scalar!(
        r#"select plan as "plan: Plan" from organizations where id = $1 for no key update"#,
        org_id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(plan.and_then(|plan| plan.includes(quota)))
}

/// How many of `adding` there is room for beside `used`; [`Full`] where it is none of at least one.
pub fn room(quota: Quota, most: i64, used: i64, adding: i64) -> Result<i64, Full> {
    let room = (most - used).clamp(0, adding);
    if room == 0 && adding > 0 { Err(Full { quota, most, used }) } else { Ok(room) }
}

/// A threshold that was reached for the first time in a month.
#[derive(Debug, Clone, Copy)]
pub struct Threshold {
    /// Whose quota.
    pub org_id: OrgId,
    /// The plan.
    pub plan: Plan,
    /// The share, one of [`THRESHOLDS`].
    pub percent: i16,
}

/// Notes the thresholds of `quota` that the uses of `month` (its first day) have reached; returns those that were not
/// noted before. Organisations whose plan sets no limit reach none.
pub async fn note_thresholds(
    conn: &mut PgConnection,
    quota: Quota,
    month: NaiveDate,
    used: &[(OrgId, i64)],
    now: DateTime<Utc>,
) -> Result<Vec<Threshold>, sqlx::Error> {
    let limited: Vec<(Plan, i64)> =
        Plan::ALL.into_iter().filter_map(|plan| Some((plan, plan.includes(quota)?))).collect();
    sqlx::query_as!(
        Threshold,
        r#"with reached as (
             insert into quota_notices (org_id, quota, month, percent, created_at)
             select o.id, $1, $2, t.percent, $8
             from unnest($3::uuid[], $4::bigint[]) as u(org_id, used)
             join organizations o on o.id = u.org_id
             join unnest($5::text[], $6::bigint[]) as p(plan, most) on p.plan = o.plan
             join unnest($7::smallint[]) as t(percent) on u.used * 100 >= p.most * t.percent
             order by o.id, t.percent
             on conflict do nothing
             returning org_id, percent
           )
           select r.org_id as "org_id: OrgId", o.plan as "plan: Plan", r.percent
           from reached r join organizations o on o.id = r.org_id order by r.org_id, r.percent"#,
        quota.name(),
        month,
        &used.iter().map(|(org_id, _)| org_id.0).collect::<Vec<_>>(),
        &used.iter().map(|(_, used)| *used).collect::<Vec<_>>(),
        &limited.iter().map(|(plan, _)| plan.name()).collect::<Vec<_>>() as &[&str],
        &limited.iter().map(|(_, most)| *most).collect::<Vec<_>>(),
        &THRESHOLDS[..],
        now,
    )
    .fetch_all(conn)
    .await
}

/// Notes which of [`WRITTEN`] the use of something has reached in `month` (its first day), and which it has left; returns
/// the greatest that is to be told. That is once a month at the most, and of what is not counted by the month only when use
/// was below it since it was told last: who stays at a share is not told of it each month.
pub async fn note_written(
    conn: &mut PgConnection,
    org_id: OrgId,
    of: Use,
    month: NaiveDate,
    now: DateTime<Utc>,
) -> Result<Option<i16>, sqlx::Error> {
    let is_reached = |percent: &i16| of.most.is_some_and(|most| of.used * 100 >= most * i64::from(*percent));
    let (reached, left): (Vec<i16>, Vec<i16>) = WRITTEN.into_iter().partition(is_reached);
    // Beside the events that tell of the same quota at shares of their own.
    let name = format!("{}:mail", of.quota.name());
    sqlx::query!(
        "update quota_notices set left_at = $4 where org_id = $1 and quota = $2 and percent = any($3) and left_at is null",
        org_id.0,
        name,
        &left,
        now,
    )
    .execute(&mut *conn)
    .await?;
    let noted = sqlx::query_scalar!(
        "insert into quota_notices (org_id, quota, month, percent, created_at)
         select $1, $2, $3, p.percent, $5 from unnest($4::smallint[]) as p(percent)
         where $6 or not exists (select from quota_notices n where n.org_id = $1 and n.quota = $2
                                   and n.percent = p.percent and n.left_at is null)
         on conflict do nothing returning percent",
        org_id.0,
        name,
        month,
        &reached,
        now,
        of.quota.is_monthly(),
    )
    .fetch_all(conn)
    .await?;
    Ok(noted.into_iter().max())
}
