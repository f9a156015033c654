//! The installation's own housekeeping.

use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue};

/// Makes the coming days' partitions, drops those past retention, and forgets what is kept for a time only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeepHouse {}

impl Job for KeepHouse {
    const KIND: &'static str = "house.keep";
    const QUEUE: Queue = Queue::System;
}
