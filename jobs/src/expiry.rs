//! The end of what has expired, and how it is told.

use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue};

/// Switches off every link and QR code whose time is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExpireCodes {}

impl Job for ExpireCodes {
    const KIND: &'static str = "codes.expire";
    const QUEUE: Queue = Queue::System;
}
