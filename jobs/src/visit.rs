//! Counting visits: asked for by whoever stores some, and each minute by schedule, so that none waits for a process that
//! died between the two.

use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue};

/// Moves the visits that were noted into the sums.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CountVisits {}

impl Job for CountVisits {
    const KIND: &'static str = "visit.count";
    const QUEUE: Queue = Queue::System;
    const HISTORY: bool = false;
}
