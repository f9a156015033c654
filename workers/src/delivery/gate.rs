//! A cap on the requests in flight to one endpoint, so that one that hangs takes no more than its share of the slots.
//!
//! A delivery that finds the gate full is put off to when its turn is expected: the gate books turns ahead, one every
//! (usual duration ÷ cap). Without bookings a backlog behind a slow endpoint would knock again and again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::EndpointId;

/// The cap where an endpoint has been failing.
const DEGRADED_CAP: usize = 4;
/// The weight of the newest duration in the usual one.
const WEIGHT: f64 = 0.2;
/// How far ahead turns are booked; then booking begins anew. A backlog that needs longer knocks more than once, spread
/// over this time, because the endpoint may have become fast in the meantime.
const BOOKED_AHEAD: TimeDelta = TimeDelta::seconds(60);

/// The gates of one process.
#[derive(Debug, Clone)]
pub struct Gates {
    cap: usize,
    gates: Arc<Mutex<HashMap<EndpointId, Gate>>>,
}

#[derive(Debug)]
struct Gate {
    in_flight: usize,
    usual_s: f64,
    booked_until: DateTime<Utc>,
}

/// A place at an endpoint, free again when dropped.
#[derive(Debug)]
pub struct Place {
    endpoint: EndpointId,
    gates: Gates,
}

impl Gates {
    /// Gates that let `cap` requests through at a time.
    pub fn new(cap: usize) -> Self {
        Self { cap: cap.max(1), gates: Arc::default() }
    }

    /// A place at `endpoint`, or when to come again.
    pub fn enter(&self, endpoint: EndpointId, degraded: bool, now: DateTime<Utc>) -> Result<Place, DateTime<Utc>> {
        let cap = if degraded { DEGRADED_CAP.min(self.cap) } else { self.cap };
        let mut gates = self.gates.lock().expect("no panic under the lock");
        let gate = gates.entry(endpoint).or_insert(Gate { in_flight: 0, usual_s: 0.1, booked_until: now });
        if gate.in_flight < cap {
            gate.in_flight += 1;
            return Ok(Place { endpoint, gates: self.clone() });
        }
        let step = TimeDelta::microseconds((gate.usual_s * 1e6 / cap as f64).max(1000.0) as i64);
        let turn = gate.booked_until.max(now) + step;
        gate.booked_until = if turn > now + BOOKED_AHEAD { now + step } else { turn };
        Err(gate.booked_until)
    }
}

impl Place {
    /// Learns how long a request took.
    pub fn took(&self, duration: Duration) {
        let mut gates = self.gates.gates.lock().expect("no panic under the lock");
        if let Some(gate) = gates.get_mut(&self.endpoint) {
            gate.usual_s += (duration.as_secs_f64() - gate.usual_s) * WEIGHT;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut gates = self.gates.gates.lock().expect("no panic under the lock");
        if let Some(gate) = gates.get_mut(&self.endpoint) {
            gate.in_flight -= 1;
            // Idle gates are forgotten, so that the map holds only endpoints in use; a slow one keeps its figure.
            if gate.in_flight == 0 && gate.usual_s < 1.0 {
                gates.remove(&self.endpoint);
            }
        }
    }
}
