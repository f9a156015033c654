//! The job of a replay: it sends a second's worth of deliveries at a time and puts itself off by a second.

use domain::id::ReplayId;
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue};

/// Takes the next deliveries of a replay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunReplay {
    /// Which replay.
    pub replay_id: ReplayId,
    /// Which run of it: a resume starts a new one.
    pub run: i32,
}

impl Job for RunReplay {
    const KIND: &'static str = "replay.run";
    const QUEUE: Queue = Queue::System;
}
