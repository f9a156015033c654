//! Checks of links' destinations: a sweep finds the hosts that something is due for, and one job per host asks it, one
//! request after the other.

use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue};

/// Finds what is due.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepLinkHealth {}

impl Job for SweepLinkHealth {
    const KIND: &'static str = "link_health.sweep";
    const QUEUE: Queue = Queue::System;
}

/// Makes one request to a host, and comes back for the next one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AskHost {
    /// The host's name, in the form of URLs.
    pub host: String,
}

impl Job for AskHost {
    const KIND: &'static str = "link_health.ask";
    const QUEUE: Queue = Queue::System;
    const HISTORY: bool = false;
}
