//! The job of one delivery. It lives as long as the delivery is pending: each attempt that fails puts it off to the next
//! slot of the dialect's schedule, in the transaction that records the attempt.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{
    delivery::{self, Change, State},
    id::{DeliveryId, ReplayId},
};
use serde::{Deserialize, Serialize};

use sqlx::PgConnection;

use crate::{
    job::{Job, Queue},
    queue::admin::JobRow,
};

/// Makes the next attempt of a delivery.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttemptDelivery {
    /// Which delivery.
    pub delivery_id: DeliveryId,
    /// The replay that sends it again, which counts how many of its jobs still wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_id: Option<ReplayId>,
}

impl AttemptDelivery {
    /// The first time, or by hand.
    pub const fn of(delivery_id: DeliveryId) -> Self {
        Self { delivery_id, replay_id: None }
    }
}

impl Job for AttemptDelivery {
    const KIND: &'static str = "delivery.attempt";
    const QUEUE: Queue = Queue::Deliveries;
    // Counts only what is ours to fail (the database away, the process killed); the dialect's schedule counts the rest.
    const MAX_ATTEMPTS: i16 = 25;
    // The request has its dialect's time-out. What may take longer is recording it while Postgres is away, and giving up
    // on that would repeat a request whose outcome is known.
    const TIMEOUT: Duration = Duration::from_secs(3600);
    // The attempts are the log.
    const HISTORY: bool = false;
}

/// Gives up the delivery whose job an operator removed, so that it does not look pending for ever and can be retried.
/// A job of another kind changes nothing.
pub async fn give_up(conn: &mut PgConnection, job: &JobRow, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let (true, Ok(AttemptDelivery { delivery_id, .. })) =
        (job.kind == AttemptDelivery::KIND, serde_json::from_value(job.payload.clone()))
    else {
        return Ok(());
    };
    let change = Change {
        id: delivery_id,
        org_id: job.org_id,
        state: State::Failed,
        made: 0,
        next_attempt_at: None,
        reason: "Failed: given up by an operator, who removed its job.".into(),
    };
    delivery::change_many(conn, &[&change], now).await
}
