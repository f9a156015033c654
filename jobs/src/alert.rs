//! Alerts about visits.

use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue};

/// Looks at every alert that was not looked at lately, and tells owners of what holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckAlerts {}

impl Job for CheckAlerts {
    const KIND: &'static str = "alerts.check";
    const QUEUE: Queue = Queue::System;
}
