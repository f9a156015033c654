//! Claiming: up to N due jobs in one statement, spread over organisations.
//!
//! A claim visits lanes in turn, beginning behind the one where the last claim stopped, and takes an equal share from each
//! that is known to have a backlog. Most claims are narrow: they visit the lanes that were rung for and those with a
//! backlog. Every [`WIDE_EVERY`] one visits all lanes, for jobs whose time has come by itself; what was rung for does not
//! wait for that one.
//!
//! Each lane has a low-water mark: how far this process has read it. A claim reads from there and not through the index
//! entries of jobs that ran before, which pile up while an old snapshot somewhere forbids vacuum to remove them. A mark
//! stays [`MARGIN`] behind the present, because a job is stored with a time from before its transaction commits. What a
//! transaction of longer than that commits, and what somebody else had locked, is found by a sweep: now and then a lane
//! is read from its beginning. All lanes in one claim, unless that takes long; then a few in each.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::{JobId, OrgId};
use serde_json::value::RawValue;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::RowAt;
use crate::{
    job::Queue,
    lane::{BEFORE_BULK, Lane, LaneSet, PER_QUEUE},
};

/// How long a transaction may take to commit its jobs without their waiting for a sweep.
const MARGIN: TimeDelta = TimeDelta::seconds(1);
/// The time between two claims that visit all lanes, while jobs keep coming.
const WIDE_EVERY: TimeDelta = TimeDelta::milliseconds(25);
/// The least time between two sweeps of a lane.
const SWEEP_EVERY: TimeDelta = TimeDelta::seconds(1);
/// How much longer sweeping may make a claim, as far as one lane's cost allows.
const SWEEP_MOST: Duration = Duration::from_millis(20);
/// Sweeps, and looks for the next due time, get one part in so many of the time.
const SHARE: u32 = 20;
const ALL: usize = PER_QUEUE as usize;
const START: Mark = (DateTime::UNIX_EPOCH, Uuid::nil());

type Mark = (DateTime<Utc>, Uuid);

/// A job that this process holds and must end.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its id.
    pub id: JobId,
    /// Where it is filed.
    pub lane: Lane,
    /// Whose it is; [`OrgId::SYSTEM`] for the installation's own.
    pub org_id: OrgId,
    /// What it is, `noun.verb`.
    pub kind: String,
    /// The stored payload, as JSON.
    pub payload: Box<RawValue>,
    /// Which start this is, from 1.
    pub attempt: i16,
    /// The last start that is allowed.
    pub max_attempts: i16,
    /// When it was due.
    pub run_at: DateTime<Utc>,
    /// Where its row lies.
    pub row_at: RowAt,
    /// The session that holds it; with `attempt` it guards every outcome.
    pub worker: i32,
    /// The request that caused it.
    pub request_id: Option<String>,
}

/// What one process remembers of a queue's lanes between claims.
#[derive(Debug)]
pub struct Lanes {
    queue: Queue,
    marks: Vec<Mark>,
    swept: Vec<DateTime<Utc>>,
    /// When the last claim swept, and how long none does after that.
    swept_at: DateTime<Utc>,
    sweep_rest: TimeDelta,
    /// How long a claim takes without sweeping, and what a lane's sweep added to the last two that swept.
    plain: Duration,
    sweep_costs: [Duration; 2],
    looked: DateTime<Utc>,
    look_every: TimeDelta,
    widened: DateTime<Utc>,
    /// That the last claim would have been wide, had it not been rung for.
    put_off: bool,
    /// Where there may be more than the last visit took.
    busy: LaneSet,
    /// Where the last wide visit did not come to, because it had enough before.
    owed: LaneSet,
    turn: usize,
    /// How many jobs of bulk work may be taken.
    bulk: usize,
}

impl Lanes {
    /// The lanes of a queue, nothing known of them yet.
    pub fn new(queue: Queue) -> Self {
        Self {
            queue,
            marks: vec![START; ALL],
            swept: vec![START.0; ALL],
            swept_at: START.0,
            sweep_rest: TimeDelta::zero(),
            plain: Duration::ZERO,
            sweep_costs: [Duration::ZERO; 2],
            looked: START.0,
            look_every: SWEEP_EVERY,
            widened: START.0,
            put_off: false,
            busy: LaneSet::NONE,
            owed: LaneSet::NONE,
            turn: 0,
            bulk: usize::MAX,
        }
    }

    /// From now on, a claim takes about `most` jobs of bulk work ([`Priority::Low`](crate::job::Priority::Low)) or fewer;
    /// none, and does not even look for any, if that is zero.
    pub fn allow_bulk(&mut self, most: usize) {
        self.bulk = most;
    }

    /// How many lanes are looked at.
    fn open(&self) -> usize {
        if self.bulk == 0 { BEFORE_BULK } else { ALL }
    }

    /// How many of some places are known to have a backlog, one at least.
    fn busy(&self, places: std::ops::Range<usize>) -> usize {
        places.filter(|place| self.busy.has(*place)).count().max(1)
    }

    /// Plans a visit for `want` jobs. Each priority's lanes come in an order of their own, rotated.
    fn plan(&mut self, rung: LaneSet, want: usize, now: DateTime<Utc>) -> Visit {
        self.busy.extend(rung);
        let per = Lane::PER_PRIORITY;
        let all = (0..self.open()).map(|n| Lane::first_of_priority(n) + (n + self.turn) % per);
        let narrow: Vec<usize> = all.clone().filter(|place| self.busy.has(*place) || self.owed.has(*place)).collect();
        let late = is_over(WIDE_EVERY, self.widened, now);
        let wide = narrow.is_empty() || (late && (rung.is_empty() || self.put_off));
        if wide {
            self.widened = now;
        }
        self.put_off = late && !wide;
        let places = if wide { all.collect() } else { narrow };
        let mut sweeps = self.sweeps(now);
        let sweep = |place: &usize| {
            let sweep = sweeps > 0 && is_over(SWEEP_EVERY, self.swept[*place], now);
            sweeps -= usize::from(sweep);
            // Who knows nothing of a lane reads it from its beginning anyway.
            sweep || self.marks[*place] == START
        };
        let swept = places.iter().map(sweep).collect();
        let share = want.div_ceil(self.busy(0..self.open()));
        let bulk = share.min(self.bulk.div_ceil(self.busy(BEFORE_BULK..ALL))).max(1);
        let quotas = places.iter().map(|place| if *place < BEFORE_BULK { share } else { bulk }).collect();
        Visit { wide, places, swept, quotas, want }
    }

    /// How many lanes may be swept now.
    fn sweeps(&self, now: DateTime<Utc>) -> usize {
        let most = SWEEP_MOST.as_nanos().checked_div(self.sweep_cost().as_nanos());
        match is_over(self.sweep_rest, self.swept_at, now) {
            true => most.map_or(ALL, |most| (most as usize).clamp(1, ALL)),
            false => 0,
        }
    }

    /// What a lane's sweep costs; the lower of two, because a claim may also have waited for something else.
    fn sweep_cost(&self) -> Duration {
        self.sweep_costs[0].min(self.sweep_costs[1])
    }

    /// Learns how long a visit took.
    fn time(&mut self, visit: &Visit, took: Duration, now: DateTime<Utc>) {
        let lanes = visit.swept.iter().filter(|swept| **swept).count() as u32;
        if lanes == 0 {
            self.plain = took;
            return;
        }
        self.swept_at = now;
        let cost = took.saturating_sub(self.plain) / lanes;
        let before = if self.sweep_costs[1].is_zero() { cost } else { self.sweep_costs[1] };
        self.sweep_costs = [before, cost];
        self.sweep_rest = in_time(self.sweep_cost() * lanes * SHARE);
    }

    /// Learns from the `rows` of a visit; returns whether another may find more at once.
    fn learn(&mut self, visit: &Visit, rows: &[Row], now: DateTime<Utc>) -> bool {
        let mut taken = vec![0_usize; ALL];
        let mut last = vec![START; ALL];
        for row in rows {
            let place = Lane(row.lane).place();
            taken[place] += 1;
            last[place] = last[place].max((row.run_at, row.id));
        }
        let stopped = visit.places.iter().rposition(|place| taken[*place] > 0);
        // A full claim did not look at the lanes behind the one that filled it: they stay as they were.
        let full = rows.len() >= visit.want;
        let visited = if full { stopped.map_or(0, |n| n + 1) } else { visit.places.len() };
        let newest = (now - MARGIN, Uuid::nil());
        for (n, place) in visit.places[..visited].iter().enumerate() {
            let cut = taken[*place] >= visit.quotas[n] || (full && Some(n) == stopped);
            self.marks[*place] = if cut { last[*place].min(newest) } else { newest };
            self.owed.remove(*place);
            match cut {
                true => self.busy.add(*place),
                false => self.busy.remove(*place),
            }
            if visit.swept[n] {
                // Also if it was cut short: the next visit goes on from the mark, and what it may have missed is behind it.
                self.swept[*place] = now;
            }
        }
        if visit.wide {
            visit.places[visited..].iter().for_each(|place| self.owed.add(*place));
        }
        if let Some(n) = stopped {
            self.turn = visit.places[n] % Lane::PER_PRIORITY + 1;
        }
        let more_bulk = taken[BEFORE_BULK..].iter().sum::<usize>() < self.bulk;
        let worth = if more_bulk { self.open() } else { BEFORE_BULK };
        full || self.put_off || (0..worth).any(|place| self.busy.has(place) || self.owed.has(place))
    }
}

/// Whether `every` has passed since `last`. Either way, so that a clock that was set back does not put it off.
fn is_over(every: TimeDelta, last: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (now - last).abs() >= every
}

/// A span as chrono has it.
fn in_time(span: Duration) -> TimeDelta {
    TimeDelta::from_std(span).unwrap_or(SWEEP_EVERY)
}

/// What one claim is going to look at.
struct Visit {
    wide: bool,
    places: Vec<usize>,
    swept: Vec<bool>,
    quotas: Vec<usize>,
    want: usize,
}

struct Row {
    id: Uuid,
    lane: i16,
    org_id: Uuid,
    kind: String,
    payload: Json<Box<RawValue>>,
    attempt: i16,
    max_attempts: i16,
    run_at: DateTime<Utc>,
    request_id: Option<String>,
    row_at: String,
}

/// Takes up to `want` due jobs of the queue of `lanes` for the session `worker`; none if that session is gone. `rung` are
/// the lanes that were rung for since the last claim. The second value says whether another claim may find more at once.
pub async fn claim(
    conn: &mut PgConnection,
    lanes: &mut Lanes,
    rung: LaneSet,
    worker: i32,
    want: usize,
    now: DateTime<Utc>,
) -> Result<(Vec<Claimed>, bool), sqlx::Error> {
    let visit = lanes.plan(rung, want, now);
    let marks = visit.places.iter().zip(&visit.swept);
    let marks: Vec<Mark> = marks.map(|(place, swept)| if *swept { START } else { lanes.marks[*place] }).collect();
    let started = Instant::now();
    let mut rows = sqlx::query_as!(
        Row,
        r#"update jobs set state = 1, worker = $1, attempt = attempt + 1
           where ctid = any(array(
             select due.ctid
             from unnest($2::smallint[], $3::timestamptz[], $4::uuid[], $6::bigint[])
                  as visit(lane, mark_at, mark_id, quota)
             cross join lateral (
               select ctid from jobs
               where lane = visit.lane and (run_at, id) > (visit.mark_at, visit.mark_id) and run_at <= $5 and state = 0
               order by run_at, id limit visit.quota for update skip locked) due
             limit $7))
             and exists (select from job_workers where id = $1 for key share)
           returning id, lane, org_id, kind, payload as "payload: Json<Box<RawValue>>", attempt, max_attempts, run_at,
                     request_id, ctid::text as "row_at!""#,
        worker,
        &visit.places.iter().map(|place| Lane::at(lanes.queue, *place).0).collect::<Vec<_>>(),
        &marks.iter().map(|mark| mark.0).collect::<Vec<_>>(),
        &marks.iter().map(|mark| mark.1).collect::<Vec<_>>(),
        now,
        &visit.quotas.iter().map(|quota| *quota as i64).collect::<Vec<_>>(),
        want as i64,
    )
    .fetch_all(conn)
    .await?;
    lanes.time(&visit, started.elapsed(), now);
    let more = lanes.learn(&visit, &rows, now);
    rows.sort_by_key(|row| (row.run_at, row.id));
    let claimed = rows
        .into_iter()
        .map(|row| Claimed {
            id: JobId(row.id),
            lane: Lane(row.lane),
            org_id: OrgId(row.org_id),
            kind: row.kind,
            payload: row.payload.0,
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            run_at: row.run_at,
            row_at: RowAt::read(&row.row_at),
            worker,
            request_id: row.request_id,
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

/// Looks for the earliest waiting job of a queue. The next claim visits all lanes, and if the job is due already and
/// claims have passed it by, reads them from the beginning.
pub async fn next_due(conn: &mut PgConnection, lanes: &mut Lanes, now: DateTime<Utc>) -> Result<Next, sqlx::Error> {
    let rest = (lanes.look_every - (now - lanes.looked).abs()).to_std().ok();
    let again = rest.filter(|rest| !rest.is_zero());
    let places: Vec<i16> = Lane::of(lanes.queue).take(lanes.open()).map(|lane| lane.0).collect();
    let marks: Vec<DateTime<Utc>> =
        lanes.marks[..lanes.open()].iter().map(|mark| if again.is_some() { mark.0 } else { START.0 }).collect();
    let started = Instant::now();
    let at = sqlx::query_scalar!(
        "select min(due.run_at) from unnest($1::smallint[], $2::timestamptz[]) as visit(lane, mark_at)
         cross join lateral (
           select run_at from jobs where lane = visit.lane and run_at > visit.mark_at and state = 0
           order by run_at, id limit 1) due",
        &places,
        &marks,
    )
    .fetch_one(conn)
    .await?;
    lanes.widened = START.0;
    if again.is_none() {
        lanes.looked = now;
        lanes.look_every = SWEEP_EVERY.max(in_time(started.elapsed() * SHARE));
        if at.is_some_and(|at| lanes.marks.iter().any(|mark| at <= mark.0)) {
            lanes.marks.fill(START);
        }
    }
    Ok(Next { at, again })
}
