//! The operator's view of the queue: list, show, retry, cancel, purge, and figures for the metrics.

use chrono::{DateTime, Utc};
use domain::id::{JobId, OrgId};
use sqlx::PgConnection;

use crate::{job::Queue, lane::Lane, store::CHANNEL};

/// A job as operators see it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub org_id: OrgId,
    /// Where it waits.
    pub queue: String,
    /// What it is.
    pub kind: String,
    /// `waiting`, `running` or `dead`.
    pub state: String,
    /// How often it started.
    pub attempt: i16,
    /// The last start that is allowed.
    pub max_attempts: i16,
    /// When it is, or was, due.
    pub run_at: DateTime<Utc>,
    /// The session that runs it.
    pub worker: Option<i32>,
    /// Why it failed last.
    pub last_error: Option<String>,
    /// The HTTP request that caused it.
    pub request_id: Option<String>,
    /// The stored payload.
    pub payload: serde_json::Value,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            JobRow,
            r#"select id as "id: JobId", org_id as "org_id: OrgId", queue as "queue!", kind as "kind!",
                      case state when 0 then 'waiting' when 1 then 'running' else 'dead' end as "state!",
                      attempt, max_attempts, run_at, worker, last_error, request_id, payload, created_at
               from jobs "# + $tail,
            $($arg),*
        )
    };
}

/// Jobs, oldest first, of one queue, kind or state (`waiting`, `running`, `dead`) if given.
pub async fn list(
    conn: &mut PgConnection,
    queue: Option<&str>,
    kind: Option<&str>,
    state: Option<&str>,
    limit: i64,
) -> Result<Vec<JobRow>, sqlx::Error> {
    select!(
        "where ($1::text is null or queue = $1) and ($2::text is null or kind = $2)
           and ($3::text is null or state = case $3 when 'waiting' then 0 when 'running' then 1 else 3 end)
         order by id limit $4",
        queue,
        kind,
        state,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// One job.
pub async fn find(conn: &mut PgConnection, id: JobId) -> Result<Option<JobRow>, sqlx::Error> {
    select!("where id = $1", id.0).fetch_optional(conn).await
}

/// Makes a dead or waiting job due at once, its attempts counted anew; `false` if there is none (or it runs).
pub async fn retry(conn: &mut PgConnection, id: JobId, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    // The notification is part of the statement, because an operator's process ends before its bell rings.
    let rung = sqlx::query!(
        "with again as (update jobs set state = 0, attempt = 0, run_at = $2,
                               lane = case when lane < 0 then -1 - lane else lane end
                        where id = $1 and state <> 1 returning queue)
         select pg_notify($3, queue) from again",
        id.0,
        now,
        CHANNEL,
    )
    .fetch_all(conn)
    .await?;
    Ok(rung.len() == 1)
}

/// Removes a dead or waiting job; `false` if there is none (or it runs).
pub async fn cancel(conn: &mut PgConnection, id: JobId) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!("delete from jobs where id = $1 and state <> 1", id.0).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}

/// Removes dead jobs from before `before`; returns how many.
pub async fn purge_dead(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("delete from jobs where state = 3 and created_at < $1", before).execute(conn).await?;
    Ok(done.rows_affected())
}

/// Forgets occasions and history from before the given times.
pub async fn forget(
    conn: &mut PgConnection,
    occasions_before: DateTime<Utc>,
    history_before: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from job_occasions where created_at < $1", occasions_before).execute(&mut *conn).await?;
    sqlx::query!("delete from job_history where finished_at < $1", history_before).execute(conn).await?;
    Ok(())
}

/// How full a queue is. Counting stops at [`COUNT_MAX`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Depth {
    /// Which queue.
    pub queue: Queue,
    /// Jobs that are due and wait.
    pub due: i64,
    /// Jobs that wait for their time.
    pub scheduled: i64,
    /// Jobs that run.
    pub running: i64,
    /// Dead jobs.
    pub dead: i64,
    /// How long the oldest due job has waited, in seconds.
    pub oldest_due_s: f64,
}

/// Where counting stops: a figure that large says enough, and the look stays cheap.
pub const COUNT_MAX: i64 = 100_000;

/// The depth of every queue.
pub async fn depths(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<Depth>, sqlx::Error> {
    let mut depths = vec![];
    for queue in Queue::ALL {
        let lanes: Vec<i16> = Lane::of(queue).map(|lane| lane.0).collect();
        let graves: Vec<i16> = lanes.iter().map(|lane| Lane::buried(*lane)).collect();
        // Those that run are the oldest of their lanes, so counting a lane's first ones finds them.
        let row = sqlx::query!(
            r#"select
                 count(*) filter (where seen.state = 0) as "due!",
                 count(*) filter (where seen.state = 1) as "running!",
                 min(seen.run_at) filter (where seen.state = 0) as oldest,
                 (select count(*) from (
                    select from unnest($1::smallint[]) as l(n)
                    cross join lateral (select from jobs where lane = l.n and run_at > $3 and state = 0 limit $4) x
                    limit $4) y) as "scheduled!",
                 (select count(*) from (select from jobs where lane = any($2) limit $4) x) as "dead!"
               from (select due.state, due.run_at from unnest($1::smallint[]) as l(n)
                     cross join lateral (select state, run_at from jobs where lane = l.n and run_at <= $3
                                         order by run_at limit $5) due) seen"#,
            &lanes,
            &graves,
            now,
            COUNT_MAX,
            COUNT_MAX / 64,
        )
        .fetch_one(&mut *conn)
        .await?;
        let oldest_due_s = row.oldest.map_or(0.0, |at| (now - at).num_milliseconds() as f64 / 1000.0);
        depths.push(Depth {
            queue,
            due: row.due,
            scheduled: row.scheduled,
            running: row.running,
            dead: row.dead,
            oldest_due_s,
        });
    }
    Ok(depths)
}

/// How many jobs wait or run, and when the next one is due: for tests and graceful ends.
pub async fn unfinished(conn: &mut PgConnection) -> Result<Vec<JobRow>, sqlx::Error> {
    select!("where state in (0, 1) order by run_at limit 1000",).fetch_all(conn).await
}

/// How many worker processes are alive.
pub async fn count_workers(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"select count(*) as "n!" from job_workers where lease_until >= $1"#, now)
        .fetch_one(conn)
        .await
}
