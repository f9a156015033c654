//! Ending jobs: many at a time, and only those that the process still holds.
//!
//! Each statement names the session and the attempt of every job. A process that was taken for dead finds none of its
//! jobs and changes nothing; the ids that come back are the ones that were still its own.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use domain::id::JobId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Claimed;

/// What becomes of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// It did its work: the row goes.
    Done,
    /// Its work is no longer wanted: the row goes, the reason stays in the history.
    Cancelled(String),
    /// It failed and runs again at that time; the attempt counts.
    Retry(DateTime<Utc>, String),
    /// It waits until that time; the attempt does not count.
    Snooze(DateTime<Utc>),
    /// It failed for good: the row stays, visible, with the reason.
    Dead(String),
}

/// A job and its ending.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The job as it was claimed.
    pub job: JobKey,
    /// What becomes of it.
    pub ending: Ending,
    /// Whether its end is kept in the history.
    pub history: bool,
}

/// What names one run of a job: a later run of the same job has another attempt or session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobKey {
    /// The job.
    pub id: JobId,
    /// The session that holds it.
    pub worker: i32,
    /// The start, from 1.
    pub attempt: i16,
}

impl Claimed {
    /// The key of this run.
    pub fn key(&self) -> JobKey {
        JobKey { id: self.id, worker: self.worker, attempt: self.attempt }
    }
}

struct Keys {
    ids: Vec<Uuid>,
    workers: Vec<i32>,
    attempts: Vec<i16>,
}

impl Keys {
    fn of<'a>(keys: impl Iterator<Item = &'a JobKey> + Clone) -> Self {
        Self {
            ids: keys.clone().map(|key| key.id.0).collect(),
            workers: keys.clone().map(|key| key.worker).collect(),
            attempts: keys.map(|key| key.attempt).collect(),
        }
    }
}

/// Ends `ended` in one statement per kind of ending, in the caller's transaction. Returns how many were still held.
pub async fn complete(conn: &mut PgConnection, ended: &[Ended], now: DateTime<Utc>) -> Result<usize, sqlx::Error> {
    let mut held = 0;
    let gone: Vec<&Ended> = ended.iter().filter(|e| matches!(e.ending, Ending::Done | Ending::Cancelled(_))).collect();
    if !gone.is_empty() {
        held += finish(conn, &gone, now).await?;
    }
    let later: Vec<(&Ended, DateTime<Utc>, i16, Option<&str>)> = ended
        .iter()
        .filter_map(|e| match &e.ending {
            Ending::Retry(at, error) => Some((e, *at, 0, Some(error.as_str()))),
            Ending::Snooze(at) => Some((e, *at, 1, None)),
            _ => None,
        })
        .collect();
    if !later.is_empty() {
        held += put_off(conn, &later).await?;
    }
    let dead: Vec<(&Ended, &str)> = ended
        .iter()
        .filter_map(|e| if let Ending::Dead(reason) = &e.ending { Some((e, reason.as_str())) } else { None })
        .collect();
    if !dead.is_empty() {
        held += bury(conn, &dead).await?;
    }
    Ok(held)
}

async fn finish(conn: &mut PgConnection, gone: &[&Ended], now: DateTime<Utc>) -> Result<usize, sqlx::Error> {
    let keys = Keys::of(gone.iter().map(|e| &e.job));
    let outcomes: Vec<&str> =
        gone.iter().map(|e| if e.ending == Ending::Done { "done" } else { "cancelled" }).collect();
    let reasons: Vec<Option<String>> = gone
        .iter()
        .map(|e| if let Ending::Cancelled(reason) = &e.ending { Some(reason.clone()) } else { None })
        .collect();
    let kept: Vec<bool> = gone.iter().map(|e| e.history || e.ending != Ending::Done).collect();
    let count = sqlx::query_scalar!(
        r#"with f as (select * from unnest($1::uuid[], $2::int[], $3::smallint[], $4::text[], $5::text[], $6::bool[])
                      as f(id, worker, attempt, outcome, reason, kept)),
           d as (delete from jobs j using f where j.id = f.id and j.worker = f.worker and j.attempt = f.attempt
                 returning j.id, j.org_id, j.queue, j.kind, f.outcome, f.reason, j.attempt, f.kept),
           h as (insert into job_history (id, org_id, queue, kind, outcome, reason, attempt, finished_at)
                 select id, org_id, queue, kind, outcome, reason, attempt, $7 from d where kept
                 on conflict do nothing)
           select count(*) as "n!" from d"#,
        &keys.ids,
        &keys.workers,
        &keys.attempts,
        &outcomes as &[&str],
        &reasons as &[Option<String>],
        &kept,
        now,
    )
    .fetch_one(conn)
    .await?;
    Ok(count as usize)
}

async fn put_off(
    conn: &mut PgConnection,
    later: &[(&Ended, DateTime<Utc>, i16, Option<&str>)],
) -> Result<usize, sqlx::Error> {
    let keys = Keys::of(later.iter().map(|(e, ..)| &e.job));
    let done = sqlx::query!(
        "update jobs j set state = 0, worker = null, run_at = f.run_at, attempt = j.attempt - f.refund,
                last_error = coalesce(f.error, j.last_error)
         from unnest($1::uuid[], $2::int[], $3::smallint[], $4::timestamptz[], $5::smallint[], $6::text[])
              as f(id, worker, attempt, run_at, refund, error)
         where j.id = f.id and j.worker = f.worker and j.attempt = f.attempt",
        &keys.ids,
        &keys.workers,
        &keys.attempts,
        &later.iter().map(|(_, at, ..)| *at).collect::<Vec<_>>(),
        &later.iter().map(|(_, _, refund, _)| *refund).collect::<Vec<_>>(),
        &later.iter().map(|(.., error)| error.map(str::to_owned)).collect::<Vec<_>>() as &[Option<String>],
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() as usize)
}

async fn bury(conn: &mut PgConnection, dead: &[(&Ended, &str)]) -> Result<usize, sqlx::Error> {
    let keys = Keys::of(dead.iter().map(|(e, _)| &e.job));
    let done = sqlx::query!(
        "update jobs j set state = 3, worker = null, last_error = f.error
         from unnest($1::uuid[], $2::int[], $3::smallint[], $4::text[]) as f(id, worker, attempt, error)
         where j.id = f.id and j.worker = f.worker and j.attempt = f.attempt",
        &keys.ids,
        &keys.workers,
        &keys.attempts,
        &dead.iter().map(|(_, error)| *error).collect::<Vec<_>>() as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() as usize)
}

/// Removes the jobs that are still held, without history, inside a transaction that also records their effect; returns
/// their ids. What is missing was taken over by another process, and its effect must not be recorded twice.
pub async fn delete_running(conn: &mut PgConnection, keys: &[JobKey]) -> Result<HashSet<JobId>, sqlx::Error> {
    let keys = Keys::of(keys.iter());
    let ids = sqlx::query_scalar!(
        "delete from jobs j using unnest($1::uuid[], $2::int[], $3::smallint[]) as f(id, worker, attempt)
         where j.id = f.id and j.worker = f.worker and j.attempt = f.attempt returning j.id",
        &keys.ids,
        &keys.workers,
        &keys.attempts,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(JobId).collect())
}

/// Puts the jobs that are still held back to wait, each until its own time and with its attempts counted anew, inside a
/// transaction that also records their effect; returns their ids.
pub async fn reschedule_running(
    conn: &mut PgConnection,
    keys: &[(JobKey, DateTime<Utc>)],
) -> Result<HashSet<JobId>, sqlx::Error> {
    let times: Vec<DateTime<Utc>> = keys.iter().map(|(_, at)| *at).collect();
    let keys = Keys::of(keys.iter().map(|(key, _)| key));
    let ids = sqlx::query_scalar!(
        "update jobs j set state = 0, worker = null, attempt = 0, run_at = f.run_at, last_error = null
         from unnest($1::uuid[], $2::int[], $3::smallint[], $4::timestamptz[]) as f(id, worker, attempt, run_at)
         where j.id = f.id and j.worker = f.worker and j.attempt = f.attempt returning j.id",
        &keys.ids,
        &keys.workers,
        &keys.attempts,
        &times,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(JobId).collect())
}

/// Gives everything that `worker` still holds back to the others, at once and without counting the attempt.
pub async fn give_back(conn: &mut PgConnection, worker: i32, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "update jobs set state = 0, worker = null, attempt = greatest(attempt - 1, 0), run_at = $2 where worker = $1 and state = 1",
        worker,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
