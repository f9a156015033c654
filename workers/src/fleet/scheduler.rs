//! Announces the slots of the schedule. Every worker process does; one job comes of each slot.

use std::time::Duration;

use jobs::{
    schedule::{ENTRIES, next_slot},
    store::{ANSWER, within},
};
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Announces the present slots, then each next one as it begins, until `stop`. A slot that nobody announced because
/// nothing ran is made up by the one that is under way.
pub async fn tick(context: Context, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let now = context.clock.now();
        let wait = match within(ANSWER, announce(&context)).await {
            Ok(()) => (next_slot(now) - now).to_std().unwrap_or_default() + Duration::from_millis(50),
            Err(error) => {
                tracing::debug!(%error, "the schedule waits for Postgres");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Announces every entry's present slot.
pub async fn announce(context: &Context) -> Result<(), sqlx::Error> {
    let now = context.clock.now();
    for entry in &ENTRIES {
        let mut tx = context.store.begin().await?;
        if entry.announce(&mut tx, None, now, &context.chance).await?.is_first {
            tracing::debug!(entry = entry.kind, slot = %entry.slot(now), "slot announced");
        }
        tx.commit().await?;
    }
    Ok(())
}
