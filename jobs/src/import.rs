//! The job of an import: it makes the links of its lines, some at a time.

use std::time::Duration;

use domain::id::ImportId;
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue};

/// Makes the links of the lines that have not ended yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunImport {
    /// Which import.
    pub import_id: ImportId,
}

impl Job for RunImport {
    const KIND: &'static str = "import.run";
    const QUEUE: Queue = Queue::System;
    const TIMEOUT: Duration = Duration::from_secs(600);
}
