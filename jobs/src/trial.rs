//! Reminders of trials.

use chrono::{DateTime, Utc};
use domain::id::{OrgId, UserId};
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue};

/// Finds trials that have come to a reminder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepTrials {}

impl Job for SweepTrials {
    const KIND: &'static str = "trial.sweep";
    const QUEUE: Queue = Queue::System;
    // Stripe may be asked many times.
    const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(600);
}

/// Reminds one owner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemindTrial {
    /// Whose trial.
    pub org_id: OrgId,
    /// When it ends.
    pub trial_end: DateTime<Utc>,
    /// Which reminder.
    pub step: String,
    /// Whom.
    pub user_id: UserId,
}

impl Job for RemindTrial {
    const KIND: &'static str = "trial.remind";
    const QUEUE: Queue = Queue::System;
}
