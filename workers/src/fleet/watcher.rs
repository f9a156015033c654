//! Watches the other sessions, frees the jobs of those that died, and keeps the table small.

use std::time::Duration;

use jobs::{
    job::Queue,
    queue::{self, Session},
};
use sqlx::{ConnectOptions, PgPool, postgres::PgConnectOptions};
use tokio::time::Instant;

use super::keeper::{Keeper, within};
use crate::context::Context;

/// A session that looks dead twice in a row is: one whose connection broke has this long to take it up again.
const LOOK: Duration = Duration::from_millis(600);
/// The time from look to look while nobody works.
const LOOK_IDLE: Duration = Duration::from_secs(10);
/// After a break, and after a restart of Postgres, the others may have lost their connections too: they get this long to
/// come back.
const PATIENCE: Duration = Duration::from_secs(5);
const VACUUM: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);

/// Watches until it is aborted.
pub async fn watch(context: Context, pool: PgPool, keeper: Keeper) {
    let mut watcher = Watcher { context, pool, keeper, silent: vec![] };
    let (mut seen, mut active, mut looked) = (0, Instant::now(), Instant::now());
    let mut others_work = false;
    loop {
        tokio::time::sleep(LOOK).await;
        let session = watcher.keeper.session().await;
        let activity = watcher.keeper.activity();
        if activity != seen {
            (seen, active) = (activity, Instant::now());
        }
        let near = others_work || !watcher.silent.is_empty() || active.elapsed() < PATIENCE;
        if !near && looked.elapsed() < LOOK_IDLE {
            continue;
        }
        looked = Instant::now();
        match within(ANSWER, watcher.look(session)).await {
            Ok(work) => others_work = work,
            Err(error) => {
                watcher.silent.clear();
                tracing::debug!(%error, "could not look at the other sessions");
            }
        }
    }
}

struct Watcher {
    context: Context,
    pool: PgPool,
    keeper: Keeper,
    /// The sessions that looked dead at the last look.
    silent: Vec<i32>,
}

impl Watcher {
    /// Frees the jobs of sessions that look dead for the second time; `true` while other sessions hold jobs.
    async fn look(&mut self, session: Session) -> Result<bool, sqlx::Error> {
        let mut conn = self.pool.acquire().await?;
        let now = self.context.clock.now();
        let others = queue::others(&mut conn, session, now).await?;
        let up = (now - others.server_since).to_std().unwrap_or_default();
        if up.min(self.keeper.back_since().unwrap_or(up)) < PATIENCE {
            return Ok(true);
        }
        let (again, first): (Vec<i32>, Vec<i32>) = others.silent.iter().partition(|id| self.silent.contains(id));
        self.silent = first;
        if !again.is_empty() {
            let reaped = queue::reap(&mut conn, session, &again, now).await?;
            if reaped.sessions > 0 {
                tracing::warn!(
                    sessions = reaped.sessions,
                    freed = reaped.freed,
                    dead = reaped.dead,
                    "took over the jobs of worker processes that died or fell silent"
                );
                metrics::counter!("inkfleet_sessions_reaped_total").increment(reaped.sessions as u64);
                for queue in Queue::ALL {
                    self.context.store.bell().ring(queue);
                }
            }
        }
        Ok(others.hold_jobs)
    }
}

/// Vacuums the table every few seconds while the process works, on a connection of its own, until it is aborted: one
/// vacuum may take longer than a lease.
pub async fn vacuum(direct: PgConnectOptions, keeper: Keeper) {
    let (mut seen, mut wait) = (0, VACUUM);
    loop {
        tokio::time::sleep(wait).await;
        let activity = keeper.activity();
        if activity == seen {
            continue;
        }
        seen = activity;
        let started = Instant::now();
        let vacuumed = async { queue::vacuum(&mut direct.connect().await?).await };
        if let Err(error) = vacuumed.await {
            tracing::debug!(%error, "could not vacuum the queue");
        }
        // At most a tenth of the time.
        wait = VACUUM.max(started.elapsed() * 9);
    }
}
