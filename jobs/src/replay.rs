//! The job of a replay: it sends some deliveries at a time and puts itself off, as its rate has it.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{id::ReplayId, replay::Replay};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;

use crate::{
    job::{Job, Priority, Queue},
    queue::{self, Backlog, Waiting},
};

/// Takes the next deliveries of a replay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunReplay {
    /// Which replay.
    pub replay_id: ReplayId,
    /// Which run of it: a resume starts a new one.
    pub run: i32,
}

impl Job for RunReplay {
    const KIND: &'static str = "replay.run";
    const QUEUE: Queue = Queue::System;
}

/// The priority of deliveries that a replay sends again: behind those that happen now.
pub const PRIORITY: Priority = Priority::Low;
/// The most jobs of one replay in the queue, the retries of what failed included.
pub const MOST_WAITING: i64 = 50_000;
/// What is due within this time counts as due: a slow endpoint's deliveries are put off by up to a minute.
const SOON: TimeDelta = TimeDelta::seconds(60);

/// How many of a replay's deliveries wait to be sent.
pub async fn backlog(conn: &mut PgConnection, replay: &Replay, now: DateTime<Utc>) -> Result<Backlog, sqlx::Error> {
    let waiting = Waiting {
        queue: Queue::Deliveries,
        priority: PRIORITY,
        org_id: replay.org_id,
        holding: json!({"replay_id": replay.id}),
        from: replay.waiting_from.unwrap_or(replay.created_at),
    };
    queue::backlog(conn, &waiting, now + SOON, MOST_WAITING).await
}
