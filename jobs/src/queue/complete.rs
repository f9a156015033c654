//! Ending jobs: many at a time, and only those that the process still holds.
//!
//! Each statement names the run of every job: its session, its attempt and its time. A process that was taken for dead
//! finds none of its jobs and changes nothing; the ids that come back are the ones that were still its own. A row that
//! waits as it did before the claim is one of them too: a crash of Postgres may forget the last claims, because these are
//! not flushed, and then the work is done all the same.
//!
//! Most jobs only go. They are looked for where they lay when they were claimed, and by their keys only if they are not
//! there: that halves what the end of a job costs (`docs/decisions/0025-one-index.md`).

use std::{
    collections::{BTreeMap, HashSet},
    hash::{Hash, Hasher},
};

use chrono::{DateTime, Utc};
use domain::id::JobId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Claimed;
use crate::{
    job::Queue,
    lane::{Lane, LaneSet},
    store::{Tx, is_near},
};

/// The most characters of a reason that are kept.
const REASON_MAX: usize = 2000;

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

/// What names one run of a job. The attempt alone would not: it is given back or counted anew when a job is put off, and
/// then the next run of the same session has it again, but never the same time.
#[derive(Debug, Clone, Copy)]
pub struct JobKey {
    /// The job.
    pub id: JobId,
    /// Where it is filed.
    pub lane: Lane,
    /// The session that holds it.
    pub worker: i32,
    /// The start, from 1.
    pub attempt: i16,
    /// When it was due.
    pub run_at: DateTime<Utc>,
    /// Where its row lies.
    pub row_at: RowAt,
}

impl PartialEq for JobKey {
    // Where the row lies names nothing: it may be found elsewhere by then.
    fn eq(&self, other: &Self) -> bool {
        let name = |key: &Self| (key.id, key.worker, key.attempt, key.run_at);
        name(self) == name(other)
    }
}

impl Eq for JobKey {}

impl Hash for JobKey {
    // Many runs of one job at a time are rare, and a job's id is as good as random.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl Claimed {
    /// The key of this run.
    pub fn key(&self) -> JobKey {
        let Self { id, lane, worker, attempt, run_at, row_at, .. } = *self;
        JobKey { id, lane, worker, attempt, run_at, row_at }
    }
}

/// Where a row lay in its table when it was claimed: block and line (Postgres's `ctid`). It stays there as long as it is
/// held, unless somebody writes the whole table anew (`VACUUM FULL`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowAt(u32, u16);

impl RowAt {
    /// Reads Postgres's `(block,line)`; of anything else, a place where no row is.
    pub(super) fn read(written: &str) -> Self {
        let parts =
            written.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).and_then(|rest| rest.split_once(','));
        let read = parts.and_then(|(block, line)| Some(Self(block.parse().ok()?, line.parse().ok()?)));
        read.unwrap_or(Self(0, 0))
    }

    fn written(self) -> String {
        format!("({},{})", self.0, self.1)
    }
}

struct Keys {
    ids: Vec<Uuid>,
    lanes: Vec<i16>,
    workers: Vec<i32>,
    attempts: Vec<i16>,
    dues: Vec<DateTime<Utc>>,
}

impl Keys {
    fn of<'a>(keys: impl Iterator<Item = &'a JobKey> + Clone) -> Self {
        Self {
            ids: keys.clone().map(|key| key.id.0).collect(),
            lanes: keys.clone().map(|key| key.lane.0).collect(),
            workers: keys.clone().map(|key| key.worker).collect(),
            attempts: keys.clone().map(|key| key.attempt).collect(),
            dues: keys.map(|key| key.run_at).collect(),
        }
    }
}

/// What became of a batch of endings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completed {
    /// How many of the jobs were still held.
    pub held: usize,
    /// Where jobs run again soon, by queue: idle workers must be told.
    pub soon: BTreeMap<Queue, LaneSet>,
}

/// Ends `ended` in one statement per kind of ending.
pub async fn complete(conn: &mut PgConnection, ended: &[Ended], now: DateTime<Utc>) -> Result<Completed, sqlx::Error> {
    let mut completed = Completed::default();
    let gone = ended.iter().filter(|e| matches!(e.ending, Ending::Done | Ending::Cancelled(_)));
    let (kept, gone): (Vec<&Ended>, Vec<&Ended>) = gone.partition(|e| e.history || e.ending != Ending::Done);
    if !gone.is_empty() {
        let keys: Vec<JobKey> = gone.iter().map(|e| e.job).collect();
        completed.held += delete_running(conn, &keys).await?.len();
    }
    if !kept.is_empty() {
        completed.held += finish(conn, &kept, now).await?;
    }
    let later: Vec<Later> = ended
        .iter()
        .filter_map(|e| match &e.ending {
            Ending::Retry(at, error) => Some(Later { job: &e.job, at: *at, refund: 0, error: Some(storable(error)) }),
            Ending::Snooze(at) => Some(Later { job: &e.job, at: *at, refund: 1, error: None }),
            _ => None,
        })
        .collect();
    if !later.is_empty() {
        let again = put_off(conn, &later).await?;
        completed.held += again.len();
        for (lane, _) in again.into_iter().filter(|(_, at)| is_near(*at, now)) {
            if let Some(queue) = lane.queue() {
                completed.soon.entry(queue).or_default().add(lane.place());
            }
        }
    }
    let dead: Vec<(&Ended, String)> = ended
        .iter()
        .filter_map(|e| if let Ending::Dead(reason) = &e.ending { Some((e, storable(reason))) } else { None })
        .collect();
    if !dead.is_empty() {
        completed.held += bury(conn, &dead).await?;
    }
    Ok(completed)
}

/// Reasons come from anywhere. Postgres refuses a NUL, and one refused reason would hold up the whole batch for ever.
fn storable(reason: &str) -> String {
    reason.chars().take(REASON_MAX).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

/// Ends jobs whose end is kept.
async fn finish(conn: &mut PgConnection, gone: &[&Ended], now: DateTime<Utc>) -> Result<usize, sqlx::Error> {
    let keys = Keys::of(gone.iter().map(|e| &e.job));
    let outcomes: Vec<&str> =
        gone.iter().map(|e| if e.ending == Ending::Done { "done" } else { "cancelled" }).collect();
    let reasons: Vec<Option<String>> = gone
        .iter()
        .map(|e| if let Ending::Cancelled(reason) = &e.ending { Some(storable(reason)) } else { None })
        .collect();
    let count = sqlx::query_scalar!(
        r#"with f as (select * from unnest($1::uuid[], $2::int[], $3::smallint[], $4::timestamptz[], $5::smallint[],
                                           $6::text[], $7::text[])
                                    as f(id, worker, attempt, run_at, lane, outcome, reason)),
           d as (delete from jobs j using f
                 where j.lane = f.lane and j.run_at = f.run_at and j.id = f.id
                   and (j.worker = f.worker and j.attempt = f.attempt or j.state = 0 and j.attempt = f.attempt - 1)
                 returning j.id, j.org_id, j.queue, j.kind, f.outcome, f.reason, f.attempt),
           h as (insert into job_history (id, org_id, queue, kind, outcome, reason, attempt, finished_at)
                 select id, org_id, queue, kind, outcome, reason, attempt, $8 from d
                 on conflict do nothing)
           select count(*) as "n!" from d"#,
        &keys.ids,
        &keys.workers,
        &keys.attempts,
        &keys.dues,
        &keys.lanes,
        &outcomes as &[&str],
        &reasons as &[Option<String>],
        now,
    )
    .fetch_one(conn)
    .await?;
    Ok(count as usize)
}

/// A job that waits again.
struct Later<'a> {
    job: &'a JobKey,
    at: DateTime<Utc>,
    /// Attempts that do not count.
    refund: i16,
    error: Option<String>,
}

async fn put_off(conn: &mut PgConnection, later: &[Later<'_>]) -> Result<Vec<(Lane, DateTime<Utc>)>, sqlx::Error> {
    let keys = Keys::of(later.iter().map(|l| l.job));
    let rows = sqlx::query!(
        "update jobs j set state = 0, worker = null, run_at = f.again_at, attempt = f.attempt - f.refund,
                last_error = coalesce(f.error, j.last_error)
         from unnest($1::uuid[], $2::int[], $3::smallint[], $4::timestamptz[], $5::smallint[], $6::timestamptz[],
                     $7::smallint[], $8::text[]) as f(id, worker, attempt, run_at, lane, again_at, refund, error)
         where j.lane = f.lane and j.run_at = f.run_at and j.id = f.id
           and (j.worker = f.worker and j.attempt = f.attempt or j.state = 0 and j.attempt = f.attempt - 1)
         returning j.lane, j.run_at",
        &keys.ids,
        &keys.workers,
        &keys.attempts,
        &keys.dues,
        &keys.lanes,
        &later.iter().map(|l| l.at).collect::<Vec<_>>(),
        &later.iter().map(|l| l.refund).collect::<Vec<_>>(),
        &later.iter().map(|l| l.error.clone()).collect::<Vec<_>>() as &[Option<String>],
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (Lane(row.lane), row.run_at)).collect())
}

async fn bury(conn: &mut PgConnection, dead: &[(&Ended, String)]) -> Result<usize, sqlx::Error> {
    let keys = Keys::of(dead.iter().map(|(e, _)| &e.job));
    let done = sqlx::query!(
        "update jobs j set state = 3, worker = null, attempt = f.attempt, last_error = f.error, lane = -1 - j.lane
         from unnest($1::uuid[], $2::int[], $3::smallint[], $4::timestamptz[], $5::smallint[], $6::text[])
              as f(id, worker, attempt, run_at, lane, error)
         where j.lane = f.lane and j.run_at = f.run_at and j.id = f.id
           and (j.worker = f.worker and j.attempt = f.attempt or j.state = 0 and j.attempt = f.attempt - 1)",
        &keys.ids,
        &keys.workers,
        &keys.attempts,
        &keys.dues,
        &keys.lanes,
        &dead.iter().map(|(_, error)| error.clone()).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() as usize)
}

/// Removes the jobs that are still held, without history, inside a transaction that also records their effect; returns
/// their ids. What is missing was taken over by another process, and its effect must not be recorded twice.
pub async fn delete_running(conn: &mut PgConnection, keys: &[JobKey]) -> Result<HashSet<JobId>, sqlx::Error> {
    let mut ended = HashSet::with_capacity(keys.len());
    if let Some(JobKey { worker, .. }) = keys.first()
        && keys.iter().all(|key| key.worker == *worker)
    {
        ended.extend(delete_where_they_lay(conn, *worker, keys).await?);
    }
    if ended.len() == keys.len() {
        return Ok(ended);
    }
    let keys = Keys::of(keys.iter().filter(|key| !ended.contains(&key.id)));
    let ids = sqlx::query_scalar!(
        "delete from jobs j using unnest($1::uuid[], $2::int[], $3::smallint[], $4::timestamptz[], $5::smallint[])
                                  as f(id, worker, attempt, run_at, lane)
         where j.lane = f.lane and j.run_at = f.run_at and j.id = f.id
           and (j.worker = f.worker and j.attempt = f.attempt or j.state = 0 and j.attempt = f.attempt - 1)
         returning j.id",
        &keys.ids,
        &keys.workers,
        &keys.attempts,
        &keys.dues,
        &keys.lanes,
    )
    .fetch_all(conn)
    .await?;
    ended.extend(ids.into_iter().map(JobId));
    Ok(ended)
}

async fn delete_where_they_lay(
    conn: &mut PgConnection,
    worker: i32,
    keys: &[JobKey],
) -> Result<impl Iterator<Item = JobId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "delete from jobs j using unnest($1::text[]::tid[], $2::uuid[], $3::smallint[], $4::timestamptz[])
                                  as f(row_at, id, attempt, run_at)
         where j.ctid = f.row_at and j.id = f.id and j.attempt = f.attempt and j.run_at = f.run_at and j.worker = $5
         returning j.id",
        &keys.iter().map(|key| key.row_at.written()).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.id.0).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.attempt).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.run_at).collect::<Vec<_>>(),
        worker,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(JobId))
}

/// Puts the jobs that are still held back to wait, each until its own time and with its attempts counted anew, inside a
/// transaction that also records their effect; returns their ids.
pub async fn reschedule_running(
    tx: &mut Tx<'_>,
    keys: &[(JobKey, DateTime<Utc>)],
    now: DateTime<Utc>,
) -> Result<HashSet<JobId>, sqlx::Error> {
    let times: Vec<DateTime<Utc>> = keys.iter().map(|(_, at)| *at).collect();
    let keys = Keys::of(keys.iter().map(|(key, _)| key));
    let rows = sqlx::query!(
        "update jobs j set state = 0, worker = null, attempt = 0, run_at = f.again_at, last_error = null
         from unnest($1::uuid[], $2::int[], $3::smallint[], $4::timestamptz[], $5::smallint[], $6::timestamptz[])
              as f(id, worker, attempt, run_at, lane, again_at)
         where j.lane = f.lane and j.run_at = f.run_at and j.id = f.id
           and (j.worker = f.worker and j.attempt = f.attempt or j.state = 0 and j.attempt = f.attempt - 1)
         returning j.id, j.lane, j.run_at",
        &keys.ids,
        &keys.workers,
        &keys.attempts,
        &keys.dues,
        &keys.lanes,
        &times,
    )
    .fetch_all(&mut **tx)
    .await?;
    for row in &rows {
        tx.note(Lane(row.lane), row.run_at, now);
    }
    Ok(rows.into_iter().map(|row| JobId(row.id)).collect())
}
