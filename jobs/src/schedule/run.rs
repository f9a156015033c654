//! How entries ran last: noted by the worker that ran them, read by operators and metrics.

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::{JobId, OrgId};
use serde::Serialize;
use sqlx::PgConnection;

use super::{ENTRIES, Entry};

/// A run that has ended, one way or another.
#[derive(Debug, Clone)]
pub struct Ended<'a> {
    /// The entry's kind.
    pub kind: &'a str,
    /// The job.
    pub job_id: JobId,
    /// Which start of the job it was, from 1.
    pub attempt: i16,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub took: TimeDelta,
    /// How it ended, as the metrics have it: `done`, `cancelled`, `retry`, `snooze`, `dead` or `recorded`.
    pub outcome: &'a str,
    /// Why it was cancelled, failed or died.
    pub reason: Option<&'a str>,
}

impl Ended<'_> {
    /// Whether it did all that there was to do. One that was cancelled had nothing to do, and says why.
    fn is_success(&self) -> bool {
        matches!(self.outcome, "done" | "cancelled" | "recorded")
    }
}

/// Notes how a run ended. Of two runs of one entry, the one that began later counts.
pub async fn note(conn: &mut PgConnection, run: &Ended<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into schedule_runs as s (kind, job_id, attempt, started_at, took_ms, outcome, reason, succeeded_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (kind) do update
           set job_id = excluded.job_id, attempt = excluded.attempt, started_at = excluded.started_at,
               took_ms = excluded.took_ms, outcome = excluded.outcome, reason = excluded.reason,
               succeeded_at = coalesce(excluded.succeeded_at, s.succeeded_at)
           where s.started_at <= excluded.started_at",
        run.kind,
        run.job_id.0,
        run.attempt,
        run.started_at,
        run.took.num_milliseconds(),
        run.outcome,
        run.reason,
        run.is_success().then(|| run.started_at + run.took),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What is known of an entry.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// The entry's kind.
    pub kind: &'static str,
    /// The time from slot to slot, in seconds.
    pub every_seconds: i64,
    /// The beginning of the last slot that somebody announced.
    pub last_slot: Option<String>,
    /// That slot's job.
    pub last_job: Option<JobId>,
    /// When a run last began.
    pub last_started_at: Option<DateTime<Utc>>,
    /// How long that run took, in milliseconds.
    pub took_ms: Option<i64>,
    /// How it ended.
    pub last_result: Option<String>,
    /// Why it was cancelled, failed or died.
    pub reason: Option<String>,
    /// When a run last ended well.
    pub last_success_at: Option<DateTime<Utc>>,
    /// When the next slot begins.
    pub next_slot: DateTime<Utc>,
}

/// What is known of every entry, in the order of the schedule.
pub async fn list(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<Known>, sqlx::Error> {
    let kinds: Vec<String> = ENTRIES.iter().map(|entry| entry.kind.to_owned()).collect();
    // Slots are written so that the later is the greater text.
    let rows = sqlx::query!(
        r#"select k.kind as "kind!", o.key as "last_slot?", o.job_id as "last_job?: JobId",
                  r.started_at as "started_at?", r.took_ms as "took_ms?", r.outcome as "outcome?", r.reason,
                  r.succeeded_at
           from unnest($2::text[]) as k(kind)
           left join lateral (select key, job_id from job_occasions
                              where org_id = $1 and kind = k.kind order by key desc limit 1) o on true
           left join schedule_runs r on r.kind = k.kind"#,
        OrgId::SYSTEM.0,
        &kinds,
    )
    .fetch_all(conn)
    .await?;
    let known = |entry: &'static Entry| {
        let row = rows.iter().find(|row| row.kind == entry.kind);
        Known {
            kind: entry.kind,
            every_seconds: entry.every.num_seconds(),
            last_slot: row.and_then(|row| row.last_slot.clone()),
            last_job: row.and_then(|row| row.last_job),
            last_started_at: row.and_then(|row| row.started_at),
            took_ms: row.and_then(|row| row.took_ms),
            last_result: row.and_then(|row| row.outcome.clone()),
            reason: row.and_then(|row| row.reason.clone()),
            last_success_at: row.and_then(|row| row.succeeded_at),
            next_slot: entry.slot(now) + entry.every,
        }
    };
    Ok(ENTRIES.iter().map(known).collect())
}
