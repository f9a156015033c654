//! Claiming: up to N due jobs in one statement, spread over organisations.
//!
//! The organisations of a priority share 64 lanes. A claim visits the lanes in turn, beginning behind the lane where the
//! last one stopped, and takes an equal share from each that has something. A job waits for at most one visit per busy
//! lane, however long another lane's backlog is.
//!
//! Each lane has a low-water mark: where this process found the lane empty or stopped reading. A claim reads from there
//! and not through the index entries of jobs that ran before, which pile up while an old snapshot somewhere forbids
//! vacuum to remove them. Everything that becomes due is stored with a later `run_at`, except by a transaction that
//! takes longer than [`MARGIN`] to commit; the sweep from the beginning finds those.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::{JobId, OrgId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::job::{LANES, Priority, Queue};

/// How long a transaction may take to commit its jobs without their waiting for a sweep.
const MARGIN: TimeDelta = TimeDelta::seconds(1);
/// The least time between two sweeps; slow sweeps come at most a twentieth of the time.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A job that this process holds and must end.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its id.
    pub id: JobId,
    /// Whose it is; [`OrgId::SYSTEM`] for the installation's own.
    pub org_id: OrgId,
    /// What it is, `noun.verb`.
    pub kind: String,
    /// The stored payload.
    pub payload: serde_json::Value,
    /// Which start this is, from 1.
    pub attempt: i16,
    /// The last start that is allowed.
    pub max_attempts: i16,
    /// When it was due.
    pub run_at: DateTime<Utc>,
    /// The session that holds it; with `attempt` it guards every outcome.
    pub worker: i32,
    /// The request that caused it.
    pub request_id: Option<String>,
}

/// What one process remembers of a queue's lanes between claims.
#[derive(Debug)]
pub struct Lanes {
    lanes: Vec<i16>,
    marks: Vec<(DateTime<Utc>, Uuid)>,
    turn: usize,
    busy: usize,
    swept: Option<(tokio::time::Instant, Duration)>,
}

impl Lanes {
    /// The lanes of the three priorities, nothing known of them yet.
    pub fn new() -> Self {
        let lanes: Vec<i16> = (0..LANES * (Priority::Low as i16 + 1)).collect();
        Self { marks: vec![(DateTime::UNIX_EPOCH, Uuid::nil()); lanes.len()], lanes, turn: 0, busy: 1, swept: None }
    }

    /// Lanes in the order of this visit: each priority's own, rotated.
    fn order(&self) -> Vec<i16> {
        let per = LANES as usize;
        self.lanes.chunks(per).flat_map(|level| (0..per).map(|n| level[(n + self.turn) % per])).collect()
    }

    fn sweep_is_due(&self) -> bool {
        match self.swept {
            None => true,
            Some((at, took)) => at.elapsed() >= SWEEP_EVERY.max(took * 20),
        }
    }

    /// Learns from a claim of `quota` per lane that returned `rows`; `complete` when every lane was visited to its end
    /// or its quota. Returns whether a lane may hold more than was taken.
    fn learn(&mut self, rows: &[Row], order: &[i16], quota: usize, complete: bool, now: DateTime<Utc>) -> bool {
        let mut taken = vec![0_usize; self.lanes.len()];
        let mut last = vec![(DateTime::UNIX_EPOCH, Uuid::nil()); self.lanes.len()];
        for row in rows {
            let lane = row.lane as usize;
            taken[lane] += 1;
            last[lane] = last[lane].max((row.run_at, row.id));
        }
        self.busy = taken.iter().filter(|n| **n > 0).count().max(1);
        let stopped = order.iter().rposition(|lane| taken[*lane as usize] > 0);
        let visited = if complete { order.len() } else { stopped.unwrap_or(0) };
        let mut more = !complete;
        for lane in &order[..visited] {
            let lane = *lane as usize;
            if taken[lane] >= quota {
                self.marks[lane] = last[lane];
                more = true;
            } else {
                self.marks[lane] = self.marks[lane].max((now - MARGIN, Uuid::nil()));
            }
        }
        if let Some(position) = stopped {
            self.turn = (order[position] % LANES) as usize + 1;
        }
        more
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self::new()
    }
}

struct Row {
    id: Uuid,
    org_id: Uuid,
    lane: i16,
    kind: String,
    payload: serde_json::Value,
    attempt: i16,
    max_attempts: i16,
    run_at: DateTime<Utc>,
    request_id: Option<String>,
}

/// Takes up to `want` due jobs of `queue` for the session `worker`. The second value says whether more may be waiting.
pub async fn claim(
    conn: &mut PgConnection,
    queue: Queue,
    lanes: &mut Lanes,
    worker: i32,
    want: usize,
    now: DateTime<Utc>,
) -> Result<(Vec<Claimed>, bool), sqlx::Error> {
    let sweep = lanes.sweep_is_due();
    let order = lanes.order();
    let floor = (DateTime::UNIX_EPOCH, Uuid::nil());
    let marks: Vec<_> = order.iter().map(|lane| if sweep { floor } else { lanes.marks[*lane as usize] }).collect();
    let quota = want.div_ceil(lanes.busy).max(1);
    let started = tokio::time::Instant::now();
    let mut rows = sqlx::query_as!(
        Row,
        r#"update jobs set state = 1, worker = $1, attempt = attempt + 1
           where ctid = any(array(
             select due.ctid
             from unnest($2::smallint[], $3::timestamptz[], $4::uuid[]) as visit(lane, mark_at, mark_id)
             cross join lateral (
               select ctid from jobs
               where queue = $5 and state = 0 and lane = visit.lane
                 and (run_at, id) > (visit.mark_at, visit.mark_id) and run_at <= $6
               order by run_at, id limit $7 for update skip locked) due
             limit $8))
           returning id, org_id, lane, kind, payload, attempt, max_attempts, run_at, request_id"#,
        worker,
        &order,
        &marks.iter().map(|mark| mark.0).collect::<Vec<_>>(),
        &marks.iter().map(|mark| mark.1).collect::<Vec<_>>(),
        queue.name(),
        now,
        quota as i64,
        want as i64,
    )
    .fetch_all(conn)
    .await?;
    if sweep {
        lanes.swept = Some((tokio::time::Instant::now(), started.elapsed()));
    }
    let more = lanes.learn(&rows, &order, quota, rows.len() < want, now);
    rows.sort_by_key(|row| (row.run_at, row.id));
    let claimed = rows
        .into_iter()
        .map(|row| Claimed {
            id: JobId(row.id),
            org_id: OrgId(row.org_id),
            kind: row.kind,
            payload: row.payload,
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            run_at: row.run_at,
            worker,
            request_id: row.request_id,
        })
        .collect();
    Ok((claimed, more))
}

/// When the next job of `queue` after `now` is due, if any waits.
pub async fn next_due(
    conn: &mut PgConnection,
    queue: Queue,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let lanes: Vec<i16> = (0..LANES * (Priority::Low as i16 + 1)).collect();
    sqlx::query_scalar!(
        "select min(due.run_at) from unnest($1::smallint[]) as visit(lane)
         cross join lateral (
           select run_at from jobs where queue = $2 and state = 0 and lane = visit.lane and run_at > $3
           order by run_at, id limit 1) due",
        &lanes,
        queue.name(),
        now,
    )
    .fetch_one(conn)
    .await
}
