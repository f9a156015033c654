//! Writes outcomes back in batches.

use std::{sync::Arc, time::Duration};

use jobs::{
    batch::Batcher,
    job::Queue,
    lane::LaneSet,
    line::Line,
    queue::{self, Ended},
};
use sqlx::PgPool;
use tokio::sync::Mutex;

use crate::context::Context;

/// The most outcomes that are written together.
const BATCH: usize = 1000;
const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_MOST: Duration = Duration::from_secs(2);

/// Starts writing: a call returns when its outcome is stored. Tries again until Postgres takes it, because the work is
/// done; an outcome that was stored already, and only the answer lost, changes nothing the second time.
pub fn start(context: Context, pool: PgPool) -> Batcher<Ended, ()> {
    // Batches come one at a time, so nobody waits for the lock.
    let line = Arc::new(Mutex::new(Line::new(pool)));
    Batcher::start(BATCH, Duration::ZERO, move |ended: Vec<Ended>| {
        let (context, line) = (context.clone(), line.clone());
        async move {
            let mut line = line.lock().await;
            let (mut wait, mut again) = (WAIT_FIRST, false);
            loop {
                match line.ask(async |conn| queue::complete(conn, &ended, context.clock.now()).await).await {
                    Ok(completed) => {
                        if completed.held < ended.len() {
                            let lost = ended.len() - completed.held;
                            tracing::warn!(
                                lost,
                                "outcomes dropped: stored before, or another process took the jobs over"
                            );
                        }
                        // What a repetition finds done already may be due soon as well.
                        for queue in Queue::ALL {
                            let soon = completed.soon.get(&queue).copied().unwrap_or_default();
                            context.store.bell().ring(queue, if again { LaneSet::ALL } else { soon });
                        }
                        return Ok::<_, sqlx::Error>(vec![(); ended.len()]);
                    }
                    Err(error) => {
                        tracing::debug!(%error, waiting = ended.len(), "outcomes wait for Postgres");
                        tokio::time::sleep(wait).await;
                        (wait, again) = ((wait * 2).min(WAIT_MOST), true);
                    }
                }
            }
        }
    })
}
