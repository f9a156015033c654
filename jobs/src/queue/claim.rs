//! Claiming: up to N due jobs in one statement, spread over organisations.
//!
//! The organisations of a priority share 64 lanes. A claim visits the lanes in turn, beginning behind the lane where the
//! last one stopped, and takes an equal share from each that is known to have a backlog. A job waits for at most one visit
//! per such lane, however long the backlogs are.
//!
//! Each lane has a low-water mark: how far this process has read it. A claim reads from there and not through the index
//! entries of jobs that ran before, which pile up while an old snapshot somewhere forbids vacuum to remove them. A mark
//! stays [`MARGIN`] behind the present, because a job is stored with a time from before its transaction commits. What a
//! transaction of longer than that commits, and what somebody else had locked, is found by a sweep: now and then a lane
//! is read from its beginning.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::{JobId, OrgId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::job::{LANES, Priority, Queue};

/// How long a transaction may take to commit its jobs without their waiting for a sweep.
const MARGIN: TimeDelta = TimeDelta::seconds(1);
/// The least time between two sweeps of a lane; slow sweeps take at most a twentieth of the time.
const SWEEP_EVERY: TimeDelta = TimeDelta::seconds(1);
const ALL: usize = LANES as usize * (Priority::Low as usize + 1);
const START: Mark = (DateTime::UNIX_EPOCH, Uuid::nil());

type Mark = (DateTime<Utc>, Uuid);

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
    /// Whether it is bulk work ([`Priority::Low`]).
    pub bulk: bool,
}

/// The lanes of everything but bulk work; those of bulk work come behind them.
const BEFORE_BULK: usize = LANES as usize * Priority::Low as usize;

/// What one process remembers of a queue's lanes between claims.
#[derive(Debug)]
pub struct Lanes {
    marks: Vec<Mark>,
    swept: Vec<DateTime<Utc>>,
    sweep_every: TimeDelta,
    looked: DateTime<Utc>,
    /// Where there was more than the last visit took.
    busy: Vec<bool>,
    turn: usize,
    /// How many jobs of bulk work may be taken.
    bulk: usize,
}

impl Lanes {
    /// The lanes of the three priorities, nothing known of them yet.
    pub fn new() -> Self {
        Self {
            marks: vec![START; ALL],
            swept: vec![START.0; ALL],
            sweep_every: SWEEP_EVERY,
            looked: START.0,
            busy: vec![false; ALL],
            turn: 0,
            bulk: usize::MAX,
        }
    }

    /// From now on, a claim takes about `most` jobs of bulk work ([`Priority::Low`]) or fewer; none, and does not even look
    /// for any, if that is zero.
    pub fn allow_bulk(&mut self, most: usize) {
        self.bulk = most;
    }

    /// How many lanes are looked at.
    fn open(&self) -> usize {
        if self.bulk == 0 { BEFORE_BULK } else { ALL }
    }

    /// Lanes in the order of this visit: each priority's own, rotated.
    fn order(&self) -> Vec<usize> {
        let per = LANES as usize;
        (0..self.open()).map(|n| n - n % per + (n + self.turn) % per).collect()
    }

    /// How many jobs each lane of `order` may give, of `want` in all.
    fn quotas(&self, order: &[usize], want: usize) -> Vec<usize> {
        let busy = |lanes: &[bool]| lanes.iter().filter(|busy| **busy).count().max(1);
        let share = want.div_ceil(busy(&self.busy)).max(1);
        let bulk = share.min(self.bulk.div_ceil(busy(&self.busy[BEFORE_BULK..]))).max(1);
        order.iter().map(|lane| if *lane < BEFORE_BULK { share } else { bulk }).collect()
    }

    /// How long it is until what was read from the beginning at `last` is read so again; zero or less from then on.
    fn rest(&self, last: DateTime<Utc>, now: DateTime<Utc>) -> TimeDelta {
        // Absolute, so that a clock that was set back does not put it off.
        self.sweep_every - (now - last).abs()
    }

    fn swept_in(&mut self, took: Duration) {
        self.sweep_every = SWEEP_EVERY.max(TimeDelta::from_std(took * 20).unwrap_or(SWEEP_EVERY));
    }

    /// Learns from the `rows` of a visit; returns whether a lane may hold more than was taken.
    fn learn(&mut self, visit: &Visit, rows: &[Row], now: DateTime<Utc>) -> bool {
        let mut taken = vec![0_usize; ALL];
        let mut last = vec![START; ALL];
        for row in rows {
            let lane = row.lane as usize;
            taken[lane] += 1;
            last[lane] = last[lane].max((row.run_at, row.id));
        }
        let stopped = visit.order.iter().rposition(|lane| taken[*lane] > 0);
        // A full claim did not look at the lanes behind the one that filled it.
        let full = rows.len() >= visit.want;
        let visited = if full { stopped.map_or(0, |n| n + 1) } else { visit.order.len() };
        let newest = (now - MARGIN, Uuid::nil());
        let more_bulk = taken[BEFORE_BULK..].iter().sum::<usize>() < self.bulk;
        let mut more = full;
        for (n, lane) in visit.order[..visited].iter().enumerate() {
            let cut = taken[*lane] >= visit.quotas[n] || (full && Some(n) == stopped);
            self.marks[*lane] = if cut { last[*lane].min(newest) } else { newest };
            self.busy[*lane] = cut;
            more |= cut && (*lane < BEFORE_BULK || more_bulk);
            if visit.swept[*lane] {
                // Also if it was cut short: the next visit goes on from the mark, and what it may have missed is behind it.
                self.swept[*lane] = now;
            }
        }
        if let Some(n) = stopped {
            self.turn = visit.order[n] % LANES as usize + 1;
        }
        more
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self::new()
    }
}

/// What one claim is going to look at.
struct Visit {
    order: Vec<usize>,
    swept: Vec<bool>,
    quotas: Vec<usize>,
    want: usize,
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

/// Takes up to `want` due jobs of `queue` for the session `worker`; none if that session is gone. The second value says
/// whether more may be waiting.
pub async fn claim(
    conn: &mut PgConnection,
    queue: Queue,
    lanes: &mut Lanes,
    worker: i32,
    want: usize,
    now: DateTime<Utc>,
) -> Result<(Vec<Claimed>, bool), sqlx::Error> {
    let order = lanes.order();
    let visit = Visit {
        quotas: lanes.quotas(&order, want),
        order,
        swept: lanes.swept.iter().map(|last| lanes.rest(*last, now) <= TimeDelta::zero()).collect(),
        want,
    };
    let marks: Vec<Mark> =
        visit.order.iter().map(|lane| if visit.swept[*lane] { START } else { lanes.marks[*lane] }).collect();
    let started = Instant::now();
    let mut rows = sqlx::query_as!(
        Row,
        r#"update jobs set state = 1, worker = $1, attempt = attempt + 1
           where ctid = any(array(
             select due.ctid
             from unnest($2::smallint[], $3::timestamptz[], $4::uuid[], $7::bigint[]) as visit(lane, mark_at, mark_id, quota)
             cross join lateral (
               select ctid from jobs
               where queue = $5 and state = 0 and lane = visit.lane
                 and (run_at, id) > (visit.mark_at, visit.mark_id) and run_at <= $6
               order by run_at, id limit visit.quota for update skip locked) due
             limit $8))
             and exists (select from job_workers where id = $1 for key share)
           returning id, org_id, lane, kind, payload, attempt, max_attempts, run_at, request_id"#,
        worker,
        &visit.order.iter().map(|lane| *lane as i16).collect::<Vec<_>>(),
        &marks.iter().map(|mark| mark.0).collect::<Vec<_>>(),
        &marks.iter().map(|mark| mark.1).collect::<Vec<_>>(),
        queue.name(),
        now,
        &visit.quotas.iter().map(|quota| *quota as i64).collect::<Vec<_>>(),
        want as i64,
    )
    .fetch_all(conn)
    .await?;
    if visit.swept.contains(&true) {
        lanes.swept_in(started.elapsed());
    }
    let more = lanes.learn(&visit, &rows, now);
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
            bulk: row.lane as usize >= BEFORE_BULK,
        })
        .collect();
    Ok((claimed, more))
}

/// What a look at the waiting jobs shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// When the earliest that was seen is, or was, due.
    pub at: Option<DateTime<Utc>>,
    /// After what time to look again, because this look did not read from the beginning; `None` if it did.
    pub again: Option<Duration>,
}

/// Looks for the earliest waiting job of `queue`. If it is due already and claims have passed it by, the next claim sweeps.
pub async fn next_due(
    conn: &mut PgConnection,
    queue: Queue,
    lanes: &mut Lanes,
    now: DateTime<Utc>,
) -> Result<Next, sqlx::Error> {
    let again = lanes.rest(lanes.looked, now).to_std().ok().filter(|rest| !rest.is_zero());
    let order: Vec<i16> = (0..lanes.open() as i16).collect();
    let marks: Vec<DateTime<Utc>> =
        lanes.marks[..lanes.open()].iter().map(|mark| if again.is_some() { mark.0 } else { START.0 }).collect();
    let started = Instant::now();
    let at = sqlx::query_scalar!(
        "select min(due.run_at) from unnest($1::smallint[], $2::timestamptz[]) as visit(lane, mark_at)
         cross join lateral (
           select run_at from jobs where queue = $3 and state = 0 and lane = visit.lane and run_at > visit.mark_at
           order by run_at, id limit 1) due",
        &order,
        &marks,
        queue.name(),
    )
    .fetch_one(conn)
    .await?;
    if again.is_none() {
        lanes.looked = now;
        lanes.swept_in(started.elapsed());
        if at.is_some_and(|at| lanes.marks.iter().any(|mark| at <= mark.0)) {
            lanes.swept.fill(START.0);
        }
    }
    Ok(Next { at, again })
}
