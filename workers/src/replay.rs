//! Replays: a second's worth of deliveries at a time.

use chrono::TimeDelta;
use domain::{
    endpoint,
    id::DeliveryId,
    replay::{self, State},
};
use jobs::{
    event::resend,
    job::Priority,
    queue::{delete_running, reschedule_running},
    replay::RunReplay,
};

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// Sends the next deliveries of a replay again.
///
/// Safe twice: the cursor, the deliveries, their jobs and the end of this run commit together, under a lock on the
/// replay's row; each delivery is sent once more in total, whatever dies in between.
pub async fn run(context: Context, job: RunReplay, run: Run) -> anyhow::Result<Outcome> {
    let now = context.clock.now();
    let mut tx = context.store.begin().await?;
    let Some(replay) = replay::lock(&mut tx, run.org_id, job.replay_id).await? else {
        return Ok(Outcome::Cancel("the replay is gone".into()));
    };
    if replay.state != State::Running || replay.run != job.run {
        return Ok(Outcome::Cancel(format!("the replay is {}", replay.state.name())));
    }
    // Locked before its deliveries, as by everybody who changes several of them.
    let Some(endpoint) = endpoint::lock_many(&mut tx, &[replay.endpoint_id]).await?.pop() else {
        replay::set_state(&mut tx, replay.id, State::Cancelled, now).await?;
        tx.commit().await?;
        return Ok(Outcome::Cancel("the endpoint was deleted".into()));
    };
    if !endpoint.takes_deliveries() {
        // Sending on would only hold everything again.
        replay::set_state(&mut tx, replay.id, State::Paused, now).await?;
        tx.commit().await?;
        return Ok(Outcome::Cancel("paused: the endpoint does not take deliveries".into()));
    }
    let limit = i64::from(replay.per_second);
    let ids: Vec<DeliveryId> = replay::next_deliveries(&mut tx, &replay, limit).await?;
    let reason = format!("Due at once: replay {}.", replay.id);
    let sent = resend(&mut tx, run.org_id, &ids, &reason, Priority::Low, now, &context.chance).await?;
    if let Some(last) = ids.last() {
        replay::advance(&mut tx, replay.id, last.0, sent.len() as i64, now).await?;
    }
    let held = if (ids.len() as i64) < limit {
        replay::set_state(&mut tx, replay.id, State::Done, now).await?;
        delete_running(&mut tx, &[run.key]).await?
    } else {
        reschedule_running(&mut tx, &[(run.key, now + TimeDelta::seconds(1))], now).await?
    };
    if held.contains(&run.job_id) {
        tx.commit().await?;
    }
    Ok(Outcome::Recorded)
}
