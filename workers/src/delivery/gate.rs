//! A cap on the requests in flight to one endpoint, so that one that hangs takes no more than its share of the slots.
//!
//! A delivery that finds the gate full waits in line if its turn comes at once: behind an endpoint that answers within
//! milliseconds, a backlog flows without going back to the queue. Otherwise it is put off to when its turn is expected:
//! the gate books turns ahead, one every (usual duration ÷ cap). Without bookings a backlog behind a slow endpoint would
//! knock again and again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::EndpointId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

/// The cap where an endpoint has been failing.
const DEGRADED_CAP: usize = 4;
/// The weight of the newest duration in the usual one.
const WEIGHT: f64 = 0.2;
/// What a request is taken to need before the endpoint has answered any, in seconds.
const GUESS_S: f64 = 0.02;
/// From here on an endpoint is slow, and its gate keeps what it knows while nobody uses it, in seconds.
const SLOW_S: f64 = 1.0;
/// The longest wait in line. It is also how long after an answer an endpoint counts as answering: one that falls silent
/// holds those who have just lined up for this time, once, and nobody after them.
const LINE: Duration = Duration::from_millis(200);
/// How far ahead turns are booked, at least and at most; then booking begins anew. A backlog that needs longer knocks
/// more than once, spread over this time, because the endpoint may have become fast in the meantime.
const AHEAD: (TimeDelta, TimeDelta) = (TimeDelta::minutes(1), TimeDelta::hours(1));
/// How many deliveries per second may knock in vain; a longer backlog is spread over a longer time.
const KNOCKS_PER_S: f64 = 100.0;

/// The gates of one process.
#[derive(Debug, Clone)]
pub struct Gates {
    cap: usize,
    gates: Arc<Mutex<HashMap<EndpointId, Gate>>>,
}

#[derive(Debug)]
struct Gate {
    free: Arc<Semaphore>,
    /// Those in flight and those in line.
    users: usize,
    in_line: usize,
    usual_s: f64,
    answered: Instant,
    booked_until: DateTime<Utc>,
    ahead: TimeDelta,
    /// Those that came at a booked turn in vain, since a time.
    in_vain: (u32, DateTime<Utc>),
}

/// A place at an endpoint, free again when dropped.
#[derive(Debug)]
pub struct Place {
    // Before the visit, whose end may forget the gate.
    _permit: OwnedSemaphorePermit,
    visit: Visit,
}

/// Somebody in flight or in line, counted until dropped.
#[derive(Debug)]
struct Visit {
    endpoint: EndpointId,
    gates: Gates,
}

impl Gates {
    /// Gates that let `cap` requests through at a time.
    pub fn new(cap: usize) -> Self {
        Self { cap: cap.max(1), gates: Arc::default() }
    }

    /// A place at `endpoint`, perhaps after a short wait in line, or when to come again. `again` is whether the delivery
    /// comes at a turn that was booked for it.
    pub async fn enter(
        &self,
        endpoint: EndpointId,
        degraded: bool,
        again: bool,
        now: DateTime<Utc>,
    ) -> Result<Place, DateTime<Utc>> {
        // Fewer get in where each takes more of the room.
        let room = if degraded { self.cap.div_ceil(DEGRADED_CAP) } else { 1 };
        let (visit, free) = {
            let mut gates = self.gates.lock().expect("no panic under the lock");
            let gate = gates.entry(endpoint).or_insert_with(|| Gate::new(self.cap, now));
            let free = gate.free.clone();
            match free.clone().try_acquire_many_owned(room as u32) {
                Ok(permit) => return Ok(Place { _permit: permit, visit: self.visit(endpoint, gate) }),
                Err(_) if gate.is_flowing(room, self.cap) => {}
                Err(_) => return Err(gate.book(room, self.cap, again, now)),
            }
            gate.in_line += 1;
            (self.visit(endpoint, gate), free)
        };
        let line = Line(&visit);
        let entered = timeout(LINE, free.acquire_many_owned(room as u32)).await;
        drop(line);
        if let Ok(Ok(permit)) = entered {
            return Ok(Place { _permit: permit, visit });
        }
        let mut gates = self.gates.lock().expect("no panic under the lock");
        let gate = gates.get_mut(&endpoint).expect("a gate stays while it has users");
        gate.usual_s = gate.usual_s.max(gate.answered.elapsed().as_secs_f64());
        Err(gate.book(room, self.cap, again, now + LINE))
    }

    fn visit(&self, endpoint: EndpointId, gate: &mut Gate) -> Visit {
        gate.users += 1;
        Visit { endpoint, gates: self.clone() }
    }
}

impl Gate {
    fn new(cap: usize, now: DateTime<Utc>) -> Self {
        Self {
            free: Arc::new(Semaphore::new(cap)),
            users: 0,
            in_line: 0,
            usual_s: GUESS_S,
            answered: Instant::now(),
            booked_until: now,
            ahead: AHEAD.0,
            in_vain: (0, now),
        }
    }

    /// From turn to turn, in seconds.
    fn step_s(&self, room: usize, cap: usize) -> f64 {
        self.usual_s * room as f64 / cap as f64
    }

    /// Whether the end of the line gets its turn soon.
    fn is_flowing(&self, room: usize, cap: usize) -> bool {
        let wait = self.step_s(room, cap) * (self.in_line + 1) as f64;
        wait < LINE.as_secs_f64() && self.answered.elapsed() < LINE
    }

    /// The next turn that nobody has.
    fn book(&mut self, room: usize, cap: usize, again: bool, now: DateTime<Utc>) -> DateTime<Utc> {
        self.in_vain.0 += u32::from(again);
        let since = now - self.in_vain.1;
        // Judged once per round, because those that were booked before still come at their turns.
        if since >= self.ahead {
            let share = f64::from(self.in_vain.0) / since.as_seconds_f64() / KNOCKS_PER_S;
            let ahead = TimeDelta::milliseconds((self.ahead.as_seconds_f64() * share * 1e3) as i64);
            (self.ahead, self.in_vain) = (ahead.clamp(AHEAD.0, AHEAD.1), (0, now));
        }
        let step = TimeDelta::microseconds((self.step_s(room, cap) * 1e6).max(1000.0) as i64);
        let turn = self.booked_until.max(now) + step;
        self.booked_until = if turn > now + self.ahead { now + step } else { turn };
        self.booked_until
    }
}

impl Place {
    /// Learns how long a request took.
    pub fn took(&self, duration: Duration) {
        let mut gates = self.visit.gates.gates.lock().expect("no panic under the lock");
        if let Some(gate) = gates.get_mut(&self.visit.endpoint) {
            gate.usual_s += (duration.as_secs_f64() - gate.usual_s) * WEIGHT;
            gate.answered = Instant::now();
        }
    }
}

/// Somebody in line.
struct Line<'a>(&'a Visit);

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let mut gates = self.0.gates.gates.lock().expect("no panic under the lock");
        if let Some(gate) = gates.get_mut(&self.0.endpoint) {
            gate.in_line -= 1;
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut gates = self.gates.gates.lock().expect("no panic under the lock");
        if let Some(gate) = gates.get_mut(&self.endpoint) {
            gate.users -= 1;
            // Idle gates are forgotten, so that the map holds only endpoints in use; a slow one keeps its figure.
            if gate.users == 0 && gate.usual_s < SLOW_S {
                gates.remove(&self.endpoint);
            }
        }
    }
}
