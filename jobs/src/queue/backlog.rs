//! How much of a bulk work still waits, so that whoever makes its jobs can stay a little ahead of the workers and no more.

use chrono::{DateTime, Utc};
use domain::id::OrgId;
use sqlx::PgConnection;

use crate::{
    job::{Priority, Queue},
    lane::Lane,
};

/// Which jobs are asked about.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Where they wait.
    pub queue: Queue,
    /// Among which.
    pub priority: Priority,
    /// Whose they are.
    pub org_id: OrgId,
    /// What their payloads hold among other things.
    pub holding: serde_json::Value,
    /// None of them is due before. Without it, the look would go through the index entries of all that have run since the
    /// last vacuum.
    pub from: DateTime<Utc>,
}

/// How many jobs wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// All of them, retries for later included; not more than were asked for.
    pub all: i64,
    /// Those that are due by the time that was asked for.
    pub soon: i64,
    /// When the first of them is due.
    pub first: Option<DateTime<Utc>>,
}

/// Counts the jobs that wait, about the first `most` of them in the order of their turn.
pub async fn backlog(
    conn: &mut PgConnection,
    waiting: &Waiting,
    soon: DateTime<Utc>,
    most: i64,
) -> Result<Backlog, sqlx::Error> {
    sqlx::query_as!(
        Backlog,
        r#"select count(*) as "all!", count(*) filter (where run_at <= $5) as "soon!", min(run_at) as first
           from (select due.run_at from unnest($1::smallint[]) as visit(lane)
                 cross join lateral (
                   select run_at from jobs
                   where lane = visit.lane and state = 0 and run_at >= $2 and org_id = $3 and payload @> $4
                   order by run_at, id limit $6) due
                 limit $6) waiting"#,
        &Lane::both(waiting.queue, waiting.priority, waiting.org_id).map(|lane| lane.0),
        waiting.from,
        waiting.org_id.0,
        waiting.holding,
        soon,
        most,
    )
    .fetch_one(conn)
    .await
}
