//! Lanes: how the organisations of a queue take turns.
//!
//! Claims visit lanes in turn, so a backlog in one does not stand in the way of another. Each priority of a queue has
//! [`ORDINARY`] lanes, into which organisations fall by a hash, and as many beside them for those whose jobs come in a
//! flood: what shares a lane with somebody else waits behind that one's backlog, so who makes a backlog leaves the
//! ordinary lanes to the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use chrono::{DateTime, Utc};
use domain::id::OrgId;

use crate::job::{Priority, Queue};

/// The lanes of one priority that organisations fall into by a hash; a flood has as many of its own.
const ORDINARY: i16 = 32;
/// The lanes of one priority.
const PER_PRIORITY: i16 = 2 * ORDINARY;
/// The lanes of one queue.
pub const PER_QUEUE: i16 = PER_PRIORITY * Priority::ALL.len() as i16;
/// How many lanes of a queue come before those of bulk work ([`Priority::Low`]).
pub const BEFORE_BULK: usize = PER_PRIORITY as usize * Priority::Low as usize;
/// All lanes.
pub const LANES: i16 = PER_QUEUE * Queue::ALL.len() as i16;

/// A lane's number: by queue, then priority, then kind, then hash. The stored number of a dead job is [`Lane::buried`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(pub i16);

impl Lane {
    /// The lane of an organisation that is not flooding. The last byte of a UUIDv7 is random, so it serves as the hash.
    pub fn new(queue: Queue, priority: Priority, org_id: OrgId) -> Self {
        let hash = i16::from(org_id.0.as_bytes()[15]) % ORDINARY;
        Self(queue as i16 * PER_QUEUE + priority as i16 * PER_PRIORITY + hash)
    }

    /// The same organisation's lane for a flood.
    #[must_use]
    pub fn flooded(self) -> Self {
        if self.0 % PER_PRIORITY < ORDINARY { Self(self.0 + ORDINARY) } else { self }
    }

    /// Where the lane's dead jobs are filed: below zero, out of every claim's way.
    pub const fn buried(number: i16) -> i16 {
        -1 - number
    }

    /// The lanes of a queue, in claiming order.
    pub fn of(queue: Queue) -> impl Iterator<Item = Self> {
        let first = queue as i16 * PER_QUEUE;
        (first..first + PER_QUEUE).map(Self)
    }

    /// The queue; `None` for a number that no lane has.
    pub fn queue(self) -> Option<Queue> {
        Queue::ALL.get(usize::try_from(self.0 / PER_QUEUE).ok()?).copied().filter(|_| self.0 >= 0)
    }

    /// The place among the lanes of its queue, from 0.
    pub fn place(self) -> usize {
        self.0.rem_euclid(PER_QUEUE) as usize
    }

    /// The lane at `place` of a queue.
    pub fn at(queue: Queue, place: usize) -> Self {
        Self(queue as i16 * PER_QUEUE + place as i16)
    }

    /// Whether it is for bulk work ([`Priority::Low`]).
    pub fn is_bulk(self) -> bool {
        self.place() >= BEFORE_BULK
    }

    /// The lanes of an organisation: the ordinary one and the one for a flood.
    pub fn both(queue: Queue, priority: Priority, org_id: OrgId) -> [Self; 2] {
        let lane = Self::new(queue, priority, org_id);
        [lane, lane.flooded()]
    }

    /// The priority's first place, for the lanes of a queue in turn.
    pub fn first_of_priority(place: usize) -> usize {
        place - place % PER_PRIORITY as usize
    }

    /// How many lanes a priority has.
    pub const PER_PRIORITY: usize = PER_PRIORITY as usize;
}

/// Some lanes of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneSet([u64; WORDS]);

const WORDS: usize = (PER_QUEUE as usize).div_ceil(64);

impl LaneSet {
    /// None.
    pub const NONE: Self = Self([0; WORDS]);
    /// All.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// Adds the lane at `place`.
    pub fn add(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    /// Takes the lane at `place` out.
    pub fn remove(&mut self, place: usize) {
        self.0[place / 64] &= !(1 << (place % 64));
    }

    /// Whether the lane at `place` is one of them.
    pub fn has(&self, place: usize) -> bool {
        self.0[place / 64] & (1 << (place % 64)) != 0
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, more)| *word |= more);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// How a notification writes it: places with a space before each; nothing for all of them.
    pub(crate) fn written(&self) -> String {
        if *self == Self::ALL {
            return String::new();
        }
        (0..PER_QUEUE as usize).filter(|place| self.has(*place)).map(|place| format!(" {place}")).collect()
    }

    /// Reads what [`Self::written`] wrote. What it does not understand, from another version, means all lanes.
    pub(crate) fn read(text: &str) -> Self {
        let mut set = Self::NONE;
        for word in text.split_whitespace() {
            match word.parse::<usize>() {
                Ok(place) if place < PER_QUEUE as usize => set.add(place),
                _ => return Self::ALL,
            }
        }
        if set.is_empty() { Self::ALL } else { set }
    }
}

/// Jobs that an organisation may enqueue through one process at once without its being a flood.
const BURST: f64 = 256.0;
/// And in the long run, per second.
const PER_SECOND: f64 = 32.0;
/// How many organisations are remembered; beyond that, those that have been quiet are forgotten.
const REMEMBERED: usize = 4096;

/// Tells which organisations are flooding: a token bucket for each, in this process.
#[derive(Debug, Clone, Default)]
pub struct Floods(Arc<Mutex<HashMap<OrgId, Bucket>>>);

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: DateTime<Utc>,
}

impl Bucket {
    fn refilled(&self, now: DateTime<Utc>) -> f64 {
        (self.left + (now - self.at).as_seconds_f64().max(0.0) * PER_SECOND).min(BURST)
    }
}

impl Floods {
    /// Whether `count` jobs more of `org_id` are part of a flood.
    pub fn meet(&self, org_id: OrgId, count: usize, now: DateTime<Utc>) -> bool {
        let mut buckets = self.0.lock().expect("no panic under the lock");
        if buckets.len() >= REMEMBERED {
            buckets.retain(|_, bucket| bucket.refilled(now) < BURST);
        }
        let bucket = buckets.entry(org_id).or_insert(Bucket { left: BURST, at: now });
        let left = bucket.refilled(now) - count as f64;
        // Not below zero: a flood that has ended is forgotten within seconds.
        *bucket = Bucket { left: left.max(0.0), at: now };
        left < 0.0
    }
}
