//! The daily partitions of events, deliveries and attempts: made ahead of time, dropped when they are old enough.
//!
//! A wait for a lock on one of the three tables is a wait for everybody who comes after it. Making a day takes no lock
//! that readers or writers mind (see `create_day`). Dropping one needs its table alone for some milliseconds; it does
//! not even ask while somebody is at the table for long, and never waits longer than [`PATIENCE`].

use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::{Connection, PgConnection};

/// How many days ahead partitions exist, so that a day without housekeeping stops nothing.
pub const DAYS_AHEAD: i64 = 7;
/// How long making a day waits for somebody else who makes or drops one; nobody else waits meanwhile.
const MAKING: &str = "500ms";
/// How long a drop waits for the ordinary short transactions of the moment, and the next ones behind it.
const PATIENCE: &str = "100ms";
/// How often one call is refused a lock before it leaves the rest to the next, and the pause after each refusal.
const REFUSALS: usize = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// Makes the partitions of `now`'s day, the day before and the days ahead; `false` when another change of partitions
/// stood in the way, and the next call has to try again.
pub async fn ensure(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let today = now.date_naive();
    let mut tx = conn.begin().await?;
    sqlx::query!("select set_config('lock_timeout', $1, true)", MAKING).fetch_one(&mut *tx).await?;
    let made = sqlx::query!(
        "select create_day(day::date) from generate_series($1::date, $2::date, interval '1 day') day",
        today - TimeDelta::days(1),
        today + TimeDelta::days(DAYS_AHEAD),
    )
    .fetch_all(&mut *tx)
    .await;
    match made {
        Ok(_) => tx.commit().await.map(|()| true),
        Err(error) if is_lock_timeout(&error) => tx.rollback().await.map(|()| false),
        Err(error) => Err(error),
    }
}

/// What became of the partitions past retention.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The names of those that are gone.
    pub gone: Vec<String>,
    /// How many are left for the next call, because somebody is at their tables.
    pub left: usize,
}

/// Drops the partitions of days before `before`, each in a transaction of its own. What is in use for long is left for
/// the next call.
pub async fn drop_before(conn: &mut PgConnection, before: NaiveDate) -> Result<Dropped, sqlx::Error> {
    let old = sqlx::query!(
        r#"select c.relname as "name!", p.relname as "parent!" from pg_inherits i
           join pg_class c on c.oid = i.inhrelid
           join pg_class p on p.oid = i.inhparent
           where p.relname in ('attempts', 'deliveries', 'events') and p.relkind = 'p'
             and to_date(right(c.relname, 8), 'YYYYMMDD') < $1
           order by p.relname, c.relname"#,
        before,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut parts: VecDeque<_> = old.into();
    let (mut dropped, mut refusals) = (Dropped::default(), 0);
    while let Some(part) = parts.pop_front() {
        if is_occupied(conn, &part.parent, &part.name).await? {
            dropped.left += 1;
        } else if drop_one(conn, &part.name).await? {
            dropped.gone.push(part.name);
        } else {
            parts.push_back(part);
            refusals += 1;
            if refusals == REFUSALS {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    dropped.left += parts.len();
    Ok(dropped)
}

/// Whether a transaction has been at a table, or at its partition, for so long that it may stay for much longer. One
/// whose age we may not see, another role's, counts as old.
async fn is_occupied(conn: &mut PgConnection, parent: &str, part: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from pg_locks l left join pg_stat_activity a on a.pid = l.pid
             where l.locktype = 'relation' and l.database = (select oid from pg_database where datname = current_database())
               and l.relation = any(array[to_regclass($1), to_regclass($2)]::oid[]) and l.pid <> pg_backend_pid()
               and coalesce(a.xact_start < clock_timestamp() - interval '1 second', true)) as "is!""#,
        parent,
        part,
    )
    .fetch_one(conn)
    .await
}

/// `false` if the locks were not to be had in time.
async fn drop_one(conn: &mut PgConnection, part: &str) -> Result<bool, sqlx::Error> {
    let mut tx = conn.begin().await?;
    sqlx::query!("select set_config('lock_timeout', $1, true)", PATIENCE).fetch_one(&mut *tx).await?;
    // The name comes from the catalogue and was made by create_day.
    match sqlx::raw_sql(sqlx::AssertSqlSafe(format!("drop table {part}"))).execute(&mut *tx).await {
        Ok(_) => tx.commit().await.map(|()| true),
        Err(error) if is_lock_timeout(&error) => tx.rollback().await.map(|()| false),
        Err(error) => Err(error),
    }
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("55P03"))
}
