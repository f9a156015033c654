//! Walks over invoices: where each is, so that it goes on there, whatever ended it.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

/// How far a walk over all invoices goes behind the beginning of the one before: Stripe tries to charge an invoice for two
/// months at the longest. What is owed for longer is asked for one by one when the walk is over.
pub const OVERLAP: TimeDelta = TimeDelta::days(70);

/// What Stripe said so shortly before a walk began counts as said in it: its clock and ours need not agree.
const ABOUT: TimeDelta = TimeDelta::minutes(10);

/// A walk that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// Invoices from then on; all where it is the first.
    pub from_at: Option<DateTime<Utc>>,
    /// Behind this one, going from newer to older; `None` at the beginning.
    pub after_id: Option<String>,
    /// When it began.
    pub begun_at: DateTime<Utc>,
}

impl Walk {
    /// Of what nothing was said since then, the walk has not told.
    pub fn heard_since(&self) -> DateTime<Utc> {
        self.begun_at - ABOUT
    }
}

/// The walk that is under way, or a new one.
pub async fn begin(conn: &mut PgConnection, name: &str, now: DateTime<Utc>) -> Result<Walk, sqlx::Error> {
    sqlx::query_as!(
        Walk,
        "insert into billing_walks as w (name, from_at, after_id, under_way, begun_at) values ($1, null, null, true, $2)
         on conflict (name) do update set
           from_at = case when w.under_way then w.from_at else w.begun_at - make_interval(days => $3) end,
           after_id = case when w.under_way then w.after_id end,
           begun_at = case when w.under_way then w.begun_at else $2 end,
           under_way = true
         returning from_at, after_id, begun_at",
        name,
        now,
        OVERLAP.num_days() as i32,
    )
    .fetch_one(conn)
    .await
}

/// Notes where a walk is, in the transaction of what was found up to there: `None` when it is over. `false` when it is not
/// where it was any more, because somebody else goes the same way.
pub async fn step(
    conn: &mut PgConnection,
    name: &str,
    walk: &Walk,
    after_id: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update billing_walks set after_id = $4, under_way = $4::text is not null,
                finished_at = case when $4::text is null then $5 else finished_at end
         where name = $1 and under_way and begun_at = $2 and after_id is not distinct from $3",
        name,
        walk.begun_at,
        walk.after_id,
        after_id,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Begins a walk over what `walk` has not told, which is over; its beginning counts on. In the transaction of its last step.
pub async fn follow(conn: &mut PgConnection, name: &str, walk: &Walk) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into billing_walks (name, from_at, after_id, under_way, begun_at) values ($1, null, null, true, $2)
         on conflict (name) do update set after_id = null, under_way = true, begun_at = $2",
        name,
        walk.begun_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The walk that is under way.
pub async fn find(conn: &mut PgConnection, name: &str) -> Result<Option<Walk>, sqlx::Error> {
    sqlx::query_as!(Walk, "select from_at, after_id, begun_at from billing_walks where name = $1 and under_way", name)
        .fetch_optional(conn)
        .await
}

/// Lets a walk begin anew: the invoice behind which it was to go on is gone.
pub async fn restart(conn: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("update billing_walks set after_id = null where name = $1", name).execute(conn).await?;
    Ok(())
}
