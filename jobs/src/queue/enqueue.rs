//! Storing jobs, in the caller's transaction.

use std::collections::HashMap;

use domain::id::{JobId, OrgId};
use serde_json::value::RawValue;
use sqlx::types::Json;

use crate::{job::NewJob, lane::Lane, store::Tx};

/// Stores one job; it exists if and only if `tx` commits.
pub async fn enqueue(tx: &mut Tx<'_>, job: NewJob) -> Result<(), sqlx::Error> {
    let flooded = tx.floods().meet(job.org_id, 1, job.created_at);
    let lane = if flooded { job.lane.flooded() } else { job.lane };
    // Not the statement for many: Postgres would plan that one anew for every job.
    sqlx::query!(
        "insert into jobs (id, org_id, queue, lane, kind, payload, max_attempts, run_at, request_id, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        job.id.0,
        job.org_id.0,
        job.queue.name(),
        lane.0,
        job.kind,
        Json(&*job.payload) as Json<&RawValue>,
        job.max_attempts,
        job.run_at,
        job.request_id,
        job.created_at,
    )
    .execute(&mut **tx)
    .await?;
    tx.note(lane, job.run_at, job.created_at);
    Ok(())
}

/// Stores any number of jobs in one statement.
pub async fn enqueue_many(tx: &mut Tx<'_>, jobs: &[NewJob]) -> Result<(), sqlx::Error> {
    let Some(now) = jobs.first().map(|job| job.created_at) else { return Ok(()) };
    let mut counts: HashMap<OrgId, usize> = HashMap::new();
    for job in jobs {
        *counts.entry(job.org_id).or_default() += 1;
    }
    let floods: HashMap<OrgId, bool> =
        counts.into_iter().map(|(org_id, count)| (org_id, tx.floods().meet(org_id, count, now))).collect();
    let lanes: Vec<Lane> =
        jobs.iter().map(|job| if floods[&job.org_id] { job.lane.flooded() } else { job.lane }).collect();
    sqlx::query!(
        "insert into jobs (id, org_id, queue, lane, kind, payload, max_attempts, run_at, request_id, created_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::smallint[], $5::text[], $6::jsonb[],
                              $7::smallint[], $8::timestamptz[], $9::text[], $10::timestamptz[])",
        &jobs.iter().map(|job| job.id.0).collect::<Vec<_>>(),
        &jobs.iter().map(|job| job.org_id.0).collect::<Vec<_>>(),
        &jobs.iter().map(|job| job.queue.name()).collect::<Vec<_>>() as &[&str],
        &lanes.iter().map(|lane| lane.0).collect::<Vec<_>>(),
        &jobs.iter().map(|job| job.kind).collect::<Vec<_>>() as &[&str],
        &jobs.iter().map(|job| Json(&*job.payload)).collect::<Vec<_>>() as &[Json<&RawValue>],
        &jobs.iter().map(|job| job.max_attempts).collect::<Vec<_>>(),
        &jobs.iter().map(|job| job.run_at).collect::<Vec<_>>(),
        &jobs.iter().map(|job| job.request_id.clone()).collect::<Vec<_>>() as &[Option<String>],
        &jobs.iter().map(|job| job.created_at).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    for (job, lane) in jobs.iter().zip(lanes) {
        tx.note(lane, job.run_at, job.created_at);
    }
    Ok(())
}

/// What an occasion came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occasion {
    /// Its one job, also after that has ended; `None` where a version before migration 13 made it.
    pub job_id: Option<JobId>,
    /// Whether this call made the job.
    pub is_first: bool,
}

/// Stores `job` unless the occasion `key` of its kind was used before (by any process, for 30 days). Cron slots, sweeps
/// and reminder steps are such occasions.
pub async fn enqueue_once(tx: &mut Tx<'_>, job: NewJob, key: &str) -> Result<Occasion, sqlx::Error> {
    let first = sqlx::query!(
        "insert into job_occasions (org_id, kind, key, job_id, created_at) values ($1, $2, $3, $4, $5)
         on conflict do nothing",
        job.org_id.0,
        job.kind,
        key,
        job.id.0,
        job.created_at,
    )
    .execute(&mut **tx)
    .await?;
    if first.rows_affected() == 1 {
        let occasion = Occasion { job_id: Some(job.id), is_first: true };
        enqueue(tx, job).await?;
        return Ok(occasion);
    }
    let job_id = sqlx::query_scalar!(
        r#"select job_id as "job_id: JobId" from job_occasions where org_id = $1 and kind = $2 and key = $3"#,
        job.org_id.0,
        job.kind,
        key,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(Occasion { job_id: job_id.flatten(), is_first: false })
}
