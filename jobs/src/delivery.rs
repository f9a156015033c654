//! The job of one delivery. It lives as long as the delivery is pending: each attempt that fails puts it off to the next
//! slot of the dialect's schedule, in the transaction that records the attempt.

use std::time::Duration;

use domain::id::DeliveryId;
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue};

/// Makes the next attempt of a delivery.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttemptDelivery {
    /// Which delivery.
    pub delivery_id: DeliveryId,
}

impl Job for AttemptDelivery {
    const KIND: &'static str = "delivery.attempt";
    const QUEUE: Queue = Queue::Deliveries;
    // Counts only what is ours to fail (the database away, the process killed); the dialect's schedule counts the rest.
    const MAX_ATTEMPTS: i16 = 25;
    // Longer than any dialect's time-out for the request.
    const TIMEOUT: Duration = Duration::from_secs(60);
    // The attempts are the log.
    const HISTORY: bool = false;
}
