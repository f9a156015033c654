//! The daily partitions of events, deliveries, attempts and visits: made ahead of time, dropped when they are old enough.
//!
//! A wait for a lock on one of the three tables is a wait for everybody who comes after it. Making a day takes no lock
//! that readers or writers mind (see `create_day`). Dropping one needs its table alone, for as long as detaching takes:
//! some milliseconds. It does not even ask while somebody is at the table for long, and never waits longer than
//! [`PATIENCE`]. What was detached is nobody's any more, and is dropped without any hurry.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::{Connection, PgConnection};

/// How many days ahead partitions exist, so that a day without housekeeping stops nothing.
pub const DAYS_AHEAD: i64 = 7;
/// How long making a day waits for somebody else who makes or drops one; nobody else waits meanwhile.
const MAKING: &str = "500ms";
/// How long a drop waits for the ordinary short transactions of the moment, and the next ones behind it.
const PATIENCE: &str = "100ms";
/// How often one call goes round what is left, with a pause in between.
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(1);
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

/// A partition past retention.
struct Part {
    name: String,
    /// The table that it is a part of; `None` if an earlier call detached it and could not drop it.
    parent: Option<String>,
}

/// Drops the partitions of days before `before`. What is in use for long is left for the next call.
pub async fn drop_before(conn: &mut PgConnection, before: NaiveDate) -> Result<Dropped, sqlx::Error> {
    let mut rest = sqlx::query_as!(
        Part,
        r#"select c.relname as "name!", p.relname as "parent?" from pg_class c
           left join pg_inherits i on i.inhrelid = c.oid
           left join pg_class p on p.oid = i.inhparent
           where c.relkind = 'r' and c.relname ~ '^(attempts|deliveries|events|visits)_[0-9]{8}$' and pg_table_is_visible(c.oid)
             and to_date(right(c.relname, 8), 'YYYYMMDD') < $1
           order by c.relname"#,
        before,
    )
    .fetch_all(&mut *conn)
    .await?;
    let (mut dropped, mut refusals) = (Dropped::default(), 0);
    for round in 0..ROUNDS {
        if round > 0 && !rest.is_empty() {
            tokio::time::sleep(ROUND).await;
        }
        for mut part in std::mem::take(&mut rest) {
            if refusals == REFUSALS || is_occupied(conn, &part).await? {
                rest.push(part);
            } else if detach_and_drop(conn, &mut part).await? {
                dropped.gone.push(part.name);
            } else {
                rest.push(part);
                refusals += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    dropped.left = rest.len();
    Ok(dropped)
}

/// Whether a transaction has been at a table, or at its partition, for so long that it may stay for much longer. One
/// whose age we may not see, another role's, counts as old.
async fn is_occupied(conn: &mut PgConnection, part: &Part) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from pg_locks l left join pg_stat_activity a on a.pid = l.pid
             where l.locktype = 'relation' and l.database = (select oid from pg_database where datname = current_database())
               and l.relation = any(array[to_regclass($1), to_regclass($2)]::oid[]) and l.pid <> pg_backend_pid()
               and coalesce(a.xact_start < clock_timestamp() - interval '1 second', true)) as "is!""#,
        part.parent,
        part.name,
    )
    .fetch_one(conn)
    .await
}

/// `false` if a lock was not to be had in time; what was detached by then stays so.
async fn detach_and_drop(conn: &mut PgConnection, part: &mut Part) -> Result<bool, sqlx::Error> {
    if let Some(parent) = &part.parent {
        if !at_once(conn, format!("alter table {parent} detach partition {}", part.name)).await? {
            return Ok(false);
        }
        part.parent = None;
    }
    at_once(conn, format!("drop table {}", part.name)).await
}

/// Runs a statement with a short wait for its locks; `false` if they were not to be had. The names in it come from the
/// catalogue and have the form that create_day gives them.
async fn at_once(conn: &mut PgConnection, statement: String) -> Result<bool, sqlx::Error> {
    // Several statements in one message are one transaction, so that the locks are held over no round trip. Nor over a
    // wait for the disk: should a crash undo it, it is done again.
    let message = format!("set local lock_timeout = '{PATIENCE}'; set local synchronous_commit = off; {statement}");
    match sqlx::raw_sql(sqlx::AssertSqlSafe(message)).execute(conn).await {
        Ok(_) => Ok(true),
        Err(error) if is_lock_timeout(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("55P03"))
}
