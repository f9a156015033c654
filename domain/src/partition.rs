//! The daily partitions of events, deliveries and attempts: made ahead of time, dropped when they are old enough.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::{Connection, PgConnection};

/// How many days ahead partitions exist, so that a day without housekeeping stops nothing.
pub const DAYS_AHEAD: i64 = 7;
/// How long a change of partitions waits for others, who then wait behind it.
const LOCK_TIMEOUT: &str = "500ms";

/// Makes the partitions of `now`'s day, the day before and the days ahead; `false` when a long transaction stood in the
/// way. A new partition needs its parent for itself for a moment, and everybody would queue behind a long wait for it,
/// so the wait is short and the next call tries again.
pub async fn ensure(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let today = now.date_naive();
    let mut tx = conn.begin().await?;
    sqlx::query!("select set_config('lock_timeout', $1, true)", LOCK_TIMEOUT).fetch_one(&mut *tx).await?;
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

/// Drops the partitions of days before `before`, each in a transaction of its own with a short wait for the lock, and
/// returns their names. What cannot be locked now is dropped by the next call.
pub async fn drop_before(conn: &mut PgConnection, before: NaiveDate) -> Result<Vec<String>, sqlx::Error> {
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
    let mut dropped = vec![];
    for part in old {
        let mut tx = conn.begin().await?;
        sqlx::query!("select set_config('lock_timeout', $1, true)", LOCK_TIMEOUT).fetch_one(&mut *tx).await?;
        // The names come from the catalogue and were made by create_day.
        let statement = format!("drop table {}", part.name);
        match sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *tx).await {
            Ok(_) => {
                tx.commit().await?;
                dropped.push(part.name);
            }
            Err(error) if is_lock_timeout(&error) => tx.rollback().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(dropped)
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("55P03"))
}
