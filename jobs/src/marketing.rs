//! E-mail marketing on a schedule. There is nothing to send yet: both end with that word.

use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue};

/// Starts the campaigns whose time has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StartCampaigns {}

impl Job for StartCampaigns {
    const KIND: &'static str = "marketing.start_campaigns";
    const QUEUE: Queue = Queue::System;
}

/// Sends what campaigns have queued.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SendQueued {}

impl Job for SendQueued {
    const KIND: &'static str = "marketing.send_queue";
    const QUEUE: Queue = Queue::System;
}
