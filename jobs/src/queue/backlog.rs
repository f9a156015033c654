//! How much of a bulk work still waits, so that whoever makes its jobs can stay a little ahead of the workers and no more.

use chrono::{DateTime, Utc};
use domain::id::OrgId;
use sqlx::PgConnection;

use crate::job::{Priority, Queue, lane};

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

/// Counts the jobs that wait, the first `most` of them in the order of their turn.
pub async fn backlog(
    conn: &mut PgConnection,
    waiting: &Waiting,
    soon: DateTime<Utc>,
    most: i64,
) -> Result<Backlog, sqlx::Error> {
    sqlx::query_as!(
        Backlog,
        r#"select count(*) as "all!", count(*) filter (where run_at <= $6) as "soon!", min(run_at) as first
           from (select run_at from jobs
                 where queue = $1 and lane = $2 and state = 0 and run_at >= $3 and org_id = $4 and payload @> $5
                 order by run_at, id limit $7) waiting"#,
        waiting.queue.name(),
        lane(waiting.priority, waiting.org_id.0),
        waiting.from,
        waiting.org_id.0,
        waiting.holding,
        soon,
        most,
    )
    .fetch_one(conn)
    .await
}
