//! The weekly digest: a sweep finds the members whose Monday morning it is, and one job per organisation writes to them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue};

/// Finds who is due to get a digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepDigests {}

impl Job for SweepDigests {
    const KIND: &'static str = "digest.sweep";
    const QUEUE: Queue = Queue::System;
    const TIMEOUT: Duration = Duration::from_secs(600);
}

/// Writes the digests of the job's organisation that are due.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SendDigests {}

impl Job for SendDigests {
    const KIND: &'static str = "digest.send";
    const QUEUE: Queue = Queue::System;
}
