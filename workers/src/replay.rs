//! Replays: some deliveries at a time, at the replay's rate, and never far ahead of those who send them.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    endpoint,
    id::{DeliveryId, EndpointId},
    replay::{self, Replay, State},
};
use jobs::{
    event::{Again, resend},
    queue::{delete_running, reschedule_running},
    replay::{MOST_WAITING, PRIORITY, RunReplay, backlog},
    store::Tx,
};
use uuid::Uuid;

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// A run sends a tenth of a second's worth, within these bounds: its transaction stays short, and its job runs seldom
/// enough to cost little.
const PORTION: (i32, i32) = (50, 500);
/// The deliveries of a portion become due a fiftieth of a second's worth at a time, but not fewer than these: what came
/// all at once would make live deliveries wait behind it in every batch.
const TOGETHER: i32 = 10;
/// How many looks a run takes where few deliveries are wanted, and how many each reads. The first reads twice what is to
/// be sent, because most often nearly all are wanted.
const LOOK: (usize, usize) = (20, 1000);
/// How many looks a run takes to count on ahead.
const COUNT: usize = 10;
/// The wait where as much waits to be sent as may.
const HOLD: TimeDelta = TimeDelta::milliseconds(100);

/// Sends the next deliveries of a replay again.
///
/// Safe twice: the cursor, the deliveries, their jobs and the end of this run commit together, under a lock on the
/// replay's row; each delivery is sent once more in total, whatever dies in between.
pub async fn run(context: Context, job: RunReplay, run: Run) -> anyhow::Result<Outcome> {
    let now = context.clock.now();
    let mut tx = context.store.begin().await?;
    let Some(mut replay) = replay::lock(&mut tx, run.org_id, job.replay_id).await? else {
        return Ok(Outcome::Cancel("the replay is gone".into()));
    };
    if replay.state != State::Running || replay.run != job.run {
        return Ok(Outcome::Cancel(format!("the replay is {}", replay.state.name())));
    }
    let endpoints = endpoint::keep_many(&mut tx, run.org_id, &replay.endpoint_ids).await?;
    if endpoints.is_empty() {
        replay::set_state(&mut tx, replay.id, State::Cancelled, now).await?;
        tx.commit().await?;
        return Ok(Outcome::Cancel("its endpoints were deleted".into()));
    }
    // Sending to the others would only hold everything again.
    let taking: Vec<EndpointId> = endpoints.iter().filter(|e| e.takes_deliveries()).map(|e| e.id).collect();
    if taking.is_empty() {
        replay::set_state(&mut tx, replay.id, State::Paused, now).await?;
        tx.commit().await?;
        return Ok(Outcome::Cancel("paused: its endpoints do not take deliveries".into()));
    }
    replay::count(&mut tx, &mut replay, COUNT).await?;
    let waiting = backlog(&mut tx, &replay, now).await?;
    let waiting_from = waiting.first.unwrap_or(now);
    let next = if waiting.soon >= ahead(&replay) || waiting.all >= MOST_WAITING {
        replay::advance(&mut tx, replay.id, replay.cursor_id, 0, waiting_from, now).await?;
        Some(now + HOLD)
    } else {
        let portion = next_portion(&mut tx, &replay, &taking).await?;
        let reason = format!("Due at once: replay {}.", replay.id);
        let steps = Some(steps(&replay));
        let again = Again { reason: &reason, priority: PRIORITY, replay_id: Some(replay.id), steps };
        let sent = resend(&mut tx, run.org_id, &portion.ids, again, now, &context.chance).await?;
        replay::advance(&mut tx, replay.id, portion.cursor, sent.len() as i64, waiting_from, now).await?;
        (!portion.end).then(|| on_time(&replay, run.key.run_at, sent.len(), now))
    };
    let held = if let Some(at) = next {
        reschedule_running(&mut tx, &[(run.key, at)], now).await?
    } else {
        replay::set_state(&mut tx, replay.id, State::Done, now).await?;
        delete_running(&mut tx, &[run.key]).await?
    };
    if held.contains(&run.job_id) {
        tx.commit().await?;
    }
    Ok(Outcome::Recorded)
}

/// How many deliveries may wait to be sent: half a second's worth, so that a pause or a cancel is soon felt, but two
/// portions at least, so that nobody waits for the next.
fn ahead(replay: &Replay) -> i64 {
    i64::from((replay.per_second / 2).max(2 * portion(replay)))
}

/// How many deliveries a run sends.
fn portion(replay: &Replay) -> i32 {
    (replay.per_second / 10).clamp(PORTION.0, PORTION.1).min(replay.per_second)
}

/// How many of them become due together, and how long after them the next.
fn steps(replay: &Replay) -> (usize, TimeDelta) {
    let together = (replay.per_second / 50).max(TOGETHER);
    let gap = i64::from(together) * 1_000_000 / i64::from(replay.per_second);
    (usize::try_from(together).unwrap_or(1), TimeDelta::microseconds(gap))
}

/// When the next portion is due after `sent` deliveries that were due at `due`. What was late is not made up for beyond
/// the time of one portion: after an outage nobody should get a burst.
fn on_time(replay: &Replay, due: DateTime<Utc>, sent: usize, now: DateTime<Utc>) -> DateTime<Utc> {
    let took = TimeDelta::microseconds(sent as i64 * 1_000_000 / i64::from(replay.per_second));
    // Never the same time again: it tells this run of the job from the next.
    (due + took.max(TimeDelta::milliseconds(1))).max(now)
}

/// What a run sends.
struct Portion {
    ids: Vec<DeliveryId>,
    cursor: Uuid,
    /// Whether nothing is left after it.
    end: bool,
}

async fn next_portion(tx: &mut Tx<'_>, replay: &Replay, endpoints: &[EndpointId]) -> Result<Portion, sqlx::Error> {
    let most = usize::try_from(portion(replay)).unwrap_or(1);
    // Not beyond what is counted: what was sent again could no longer be.
    let to = replay.counted_id.map_or(replay.to_id, |id| Uuid::from_u128(id.as_u128().saturating_add(1)));
    let mut portion = Portion { ids: Vec::with_capacity(most), cursor: replay.cursor_id, end: false };
    for n in 0..LOOK.0 {
        let size = if n == 0 { (2 * most).max(100) } else { LOOK.1 };
        let found = replay::look(tx, replay, endpoints, portion.cursor, to, size).await?;
        let room = most - portion.ids.len();
        portion.ids.extend(found.wanted.iter().take(room));
        if found.wanted.len() > room {
            portion.cursor = portion.ids.last().map_or(portion.cursor, |id| id.0);
            break;
        }
        portion.cursor = found.until;
        if found.end {
            portion.end = replay.counted_id.is_none();
            break;
        }
        if portion.ids.len() == most {
            break;
        }
    }
    Ok(portion)
}
