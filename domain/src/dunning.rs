//! Reminders of an invoice that stays unpaid, and what comes of it in the end: the plan is suspended, which locks what it
//! gives and takes nothing away. Nobody is ever charged from here: that is Stripe's, by its own schedule.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::{billing::RECENT, id::OrgId};

/// A rung of the ladder.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name in rows.
    pub name: &'static str,
    /// How many days after the first failed payment, or after the date by which it was to be paid.
    pub day: i64,
    /// Whether the plan is suspended.
    pub suspends: bool,
}

/// The ladder.
pub const LADDER: [Step; 5] = [
    Step { name: "first", day: 0, suspends: false },
    Step { name: "second", day: 3, suspends: false },
    Step { name: "third", day: 7, suspends: false },
    Step { name: FINAL, day: 10, suspends: false },
    Step { name: "suspended", day: 14, suspends: true },
];

/// The last warning.
pub const FINAL: &str = "final";
/// Nobody's plan is suspended sooner than this after the last warning was posted, however old the invoice is.
pub const WARNED: TimeDelta = TimeDelta::days(4);

/// The rung that is right at `now`: the last one that is due. `warned_at` is when the last warning was posted; until it is,
/// none comes behind it.
pub fn step(owed_since: DateTime<Utc>, warned_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<&'static Step> {
    let is_due = |step: &&Step| owed_since + TimeDelta::days(step.day) <= now;
    let may = |step: &&Step| !step.suspends || warned_at.is_some_and(|at| at + WARNED <= now);
    LADDER.iter().rev().filter(is_due).find(may)
}

/// When the plan is suspended, if nothing is paid before.
pub fn suspended_at(owed_since: DateTime<Utc>, warned_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
    let last = LADDER.iter().find(|step| step.suspends).map_or(0, |step| step.day);
    (owed_since + TimeDelta::days(last)).max(warned_at.unwrap_or(now) + WARNED)
}

/// An invoice that has come to a rung.
#[derive(Debug, Clone)]
pub struct Due {
    /// Whose.
    pub org_id: OrgId,
    /// Which.
    pub invoice_id: String,
    /// The rung's name.
    pub step: String,
    /// Since when it is owed.
    pub owed_since: DateTime<Utc>,
    /// When Stripe said so.
    pub stated_at: DateTime<Utc>,
}

/// Whether what Stripe said at `stated_at` is enough to remind or suspend somebody at `now`, where it can be asked again.
pub fn is_well_told(stated_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    stated_at >= now - RECENT
}

/// Invoices whose present rung was not begun, those first that are owed longest, behind `after`.
pub async fn due(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    after: Option<&Due>,
    limit: i64,
) -> Result<Vec<Due>, sqlx::Error> {
    sqlx::query_as!(
        Due,
        r#"select i.org_id as "org_id: OrgId", i.invoice_id, t.name as "step!", i.owed_since as "owed_since!", i.stated_at
           from invoices i
           left join dunning_steps f on f.org_id = i.org_id and f.invoice_id = i.invoice_id and f.step = $5
           cross join lateral (select name from unnest($2::text[], $3::bigint[], $4::bool[]) as u(name, day, suspends)
                               where i.owed_since + make_interval(days => day::int) <= $1
                                 and (not suspends or f.told_at + make_interval(days => $6) <= $1)
                               order by day desc limit 1) t
           where i.owed_since is not null
             and not exists (select from dunning_steps d
                             where d.org_id = i.org_id and d.invoice_id = i.invoice_id and d.step = t.name)
             and ($8::timestamptz is null or (i.owed_since, i.org_id, i.invoice_id) > ($8, $9, $10))
           order by i.owed_since, i.org_id, i.invoice_id limit $7"#,
        now,
        &LADDER.map(|step| step.name.to_owned()),
        &LADDER.map(|step| step.day),
        &LADDER.map(|step| step.suspends),
        FINAL,
        WARNED.num_days() as i32,
        limit,
        after.map(|due| due.owed_since),
        after.map(|due| due.org_id.0),
        after.map(|due| due.invoice_id.as_str()),
    )
    .fetch_all(conn)
    .await
}

/// Whether an organisation's plan depends on an invoice: it is of the subscription that counts, or none is known.
pub async fn is_of_plan(conn: &mut PgConnection, org_id: OrgId, invoice_id: &str) -> Result<bool, sqlx::Error> {
    let found = sqlx::query_scalar!(
        r#"select (s.org_id is null or i.subscription_id is not distinct from s.subscription_id) as "is_of_plan!"
           from invoices i left join subscriptions s on s.org_id = i.org_id
           where i.org_id = $1 and i.invoice_id = $2"#,
        org_id.0,
        invoice_id,
    );
    Ok(found.fetch_optional(conn).await?.unwrap_or(false))
}

/// Begins a rung, if the invoice is still owed; `false` when it is not, or the rung was begun before. Behind
/// [`crate::billing::customer::lock`].
pub async fn begin(
    conn: &mut PgConnection,
    org_id: OrgId,
    invoice_id: &str,
    step: &str,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into dunning_steps (org_id, invoice_id, step, created_at)
         select org_id, invoice_id, $3, $4 from invoices
         where org_id = $1 and invoice_id = $2 and owed_since is not null
         on conflict do nothing",
        org_id.0,
        invoice_id,
        step,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that an owner was told of a rung, or that there is none to be told; the first time counts.
pub async fn note_told(
    conn: &mut PgConnection,
    org_id: OrgId,
    invoice_id: &str,
    step: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update dunning_steps set told_at = $4
         where org_id = $1 and invoice_id = $2 and step = $3 and told_at is null",
        org_id.0,
        invoice_id,
        step,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets that a rung was begun, if nobody was told of it: it is begun anew, for whoever are owners then.
pub async fn forget_untold(
    conn: &mut PgConnection,
    org_id: OrgId,
    invoice_id: &str,
    step: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from dunning_steps where org_id = $1 and invoice_id = $2 and step = $3 and told_at is null",
        org_id.0,
        invoice_id,
        step,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An invoice's place on the ladder.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Since when it is owed; `None` if it is not.
    pub owed_since: Option<DateTime<Utc>>,
    /// When the last warning was posted.
    pub warned_at: Option<DateTime<Utc>>,
    /// When Stripe said so.
    pub stated_at: DateTime<Utc>,
}

impl Place {
    /// The rung that is right at `now`; `None` where nothing is owed.
    pub fn step(&self, now: DateTime<Utc>) -> Option<&'static Step> {
        step(self.owed_since?, self.warned_at, now)
    }
}

/// Where an invoice is.
pub async fn find(conn: &mut PgConnection, org_id: OrgId, invoice_id: &str) -> Result<Option<Place>, sqlx::Error> {
    sqlx::query_as!(
        Place,
        r#"select i.owed_since, f.told_at as "warned_at?", i.stated_at
           from invoices i
           left join dunning_steps f on f.org_id = i.org_id and f.invoice_id = i.invoice_id and f.step = $3
           where i.org_id = $1 and i.invoice_id = $2"#,
        org_id.0,
        invoice_id,
        FINAL,
    )
    .fetch_optional(conn)
    .await
}

/// Whether an organisation owes anything whose time has come, and which its plan depends on: an invoice of the subscription
/// that counts, or any where none is known.
pub async fn is_owing(conn: &mut PgConnection, org_id: OrgId, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (
             select from invoices i left join subscriptions s on s.org_id = i.org_id
             where i.org_id = $1 and i.owed_since <= $2
               and (s.org_id is null or i.subscription_id = s.subscription_id)) as "is_owing!""#,
        org_id.0,
        now,
    )
    .fetch_one(conn)
    .await
}
