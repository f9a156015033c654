//! Visits: counted once, however they are noted.

use chrono::TimeDelta;
use domain::visit::count_batches;
use jobs::visit::CountVisits;

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// How long a run waits where another counts.
const TURN: TimeDelta = TimeDelta::seconds(1);

/// Counts the visits that were noted, portion by portion, until none is left.
///
/// Safe twice: a batch leaves in the transaction that counts it, and is never counted again. Of two runs at the same time
/// one waits.
pub async fn count(context: Context, _: CountVisits, _: Run) -> anyhow::Result<Outcome> {
    loop {
        let mut tx = context.store.begin().await?;
        let Some(visits) = count_batches(&mut tx).await? else {
            return Ok(Outcome::Snooze(context.clock.now() + TURN));
        };
        tx.commit().await?;
        if visits.is_empty() {
            return Ok(Outcome::Done);
        }
        metrics::counter!("inkfleet_visits_counted_total").increment(visits.len() as u64);
    }
}
