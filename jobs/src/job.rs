//! A job is a payload with constants. The payload is a stored format: it changes by addition only.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{
    chance::Chance,
    id::{JobId, OrgId},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};

use crate::lane::Lane;

/// Where a job waits. Workers can be split by queue (`inkfleet work --queues …`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// Webhook attempts.
    Deliveries,
    /// Mails.
    Mail,
    /// Sweeps, partitions, replays: the installation's own work.
    System,
}

impl Queue {
    /// Every queue, in the order in which they are listed to operators.
    pub const ALL: [Self; 3] = [Self::Deliveries, Self::Mail, Self::System];

    /// The name in rows, settings and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deliveries => "deliveries",
            Self::Mail => "mail",
            Self::System => "system",
        }
    }

    /// The queue of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.name() == name)
    }
}

/// Which jobs of one queue go first. Within a priority, organisations take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody waits for it.
    High = 0,
    /// The ordinary case.
    Normal = 1,
    /// Bulk work that may wait behind everything else.
    Low = 2,
}

impl Priority {
    /// Every priority, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];
}

/// A payload and what the queue must know of it.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The stored name, `noun.verb`. It never changes, whatever the Rust type is called.
    const KIND: &'static str;
    /// Where it waits.
    const QUEUE: Queue;
    /// How often it may start before it is dead, worker deaths included.
    const MAX_ATTEMPTS: i16 = 10;
    /// How long one run may take.
    const TIMEOUT: Duration = Duration::from_secs(60);
    /// Whether its end is kept for operators; `false` where the noun has a log of its own.
    const HISTORY: bool = true;
}

/// The wait before run `attempt + 1` (from 1): 1 s, doubled each time up to 10 min, and up to a quarter more by `chance`
/// (0 to 1) so that what failed together does not come back together.
pub fn backoff(attempt: i16, chance: f64) -> Duration {
    let doublings = u32::try_from(attempt.clamp(1, 12) - 1).unwrap_or(0);
    let base = (1_u64 << doublings).min(600) as f64;
    Duration::from_secs_f64(base * (1.0 + chance * 0.25))
}

/// A job that is about to be stored.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub(crate) id: JobId,
    pub(crate) org_id: OrgId,
    pub(crate) queue: Queue,
    pub(crate) lane: Lane,
    pub(crate) kind: &'static str,
    pub(crate) payload: Box<RawValue>,
    pub(crate) max_attempts: i16,
    pub(crate) run_at: DateTime<Utc>,
    pub(crate) request_id: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

impl NewJob {
    /// `job` for `org_id`, due at once.
    pub fn new<J: Job>(org_id: OrgId, job: &J, now: DateTime<Utc>, chance: &Chance) -> Self {
        Self {
            id: JobId::new(now, chance),
            org_id,
            queue: J::QUEUE,
            lane: Lane::new(J::QUEUE, Priority::Normal, org_id),
            kind: J::KIND,
            payload: to_raw_value(job).expect("payloads are plain structs of ids and texts"),
            max_attempts: J::MAX_ATTEMPTS,
            run_at: now,
            request_id: None,
            created_at: now,
        }
    }

    /// Due at `run_at` instead.
    #[must_use]
    pub fn at(mut self, run_at: DateTime<Utc>) -> Self {
        self.run_at = run_at;
        self
    }

    /// Before or behind the others of its queue.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.lane = Lane::new(self.queue, priority, self.org_id);
        self
    }

    /// The HTTP request that caused it, so that the logs of the job name it too.
    #[must_use]
    pub fn request(mut self, request_id: Option<String>) -> Self {
        self.request_id = request_id;
        self
    }

    /// The id it will have.
    pub fn id(&self) -> JobId {
        self.id
    }
}
