//! The daily partitions of events, deliveries and attempts: made ahead of time, dropped when they are old enough.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::PgConnection;

/// How many days ahead partitions exist, so that a day without housekeeping stops nothing.
pub const DAYS_AHEAD: i64 = 7;

/// Makes the partitions of `now`'s day, the day before and the days ahead.
pub async fn ensure(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let today = now.date_naive();
    sqlx::query!(
        "select create_day(day::date) from generate_series($1::date, $2::date, interval '1 day') day",
        today - TimeDelta::days(1),
        today + TimeDelta::days(DAYS_AHEAD),
    )
    .fetch_all(conn)
    .await?;
    Ok(())
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
        // The names come from the catalogue and were made by create_day.
        let statement = format!("set lock_timeout = '500ms'; drop table {}; set lock_timeout = default", part.name);
        match sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *conn).await {
            Ok(_) => dropped.push(part.name),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55P03") => {
                sqlx::raw_sql("set lock_timeout = default").execute(&mut *conn).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(dropped)
}
