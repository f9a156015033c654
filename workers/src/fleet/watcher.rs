//! Watches the other sessions, frees the jobs of those that died, and keeps the table small.

use std::{collections::HashMap, time::Duration};

use jobs::{
    job::Queue,
    lane::LaneSet,
    line::Line,
    queue::{self, SEARCH, Session},
    store::within,
};
use sqlx::{ConnectOptions, PgPool, postgres::PgConnectOptions};
use tokio::time::Instant;

use super::keeper::Keeper;
use crate::context::Context;

const LOOK: Duration = Duration::from_millis(400);
/// A session that looks dead for so long is: one whose connection broke has the time to take it up again.
const DEAD_AFTER: Duration = Duration::from_millis(1200);
/// The time from look to look while nobody works.
const LOOK_IDLE: Duration = Duration::from_secs(10);
/// After a break, and after a restart of Postgres, the others may have lost their connections too: they get this long to
/// come back.
const PATIENCE: Duration = Duration::from_secs(5);
const VACUUM: Duration = Duration::from_secs(5);
/// More than any vacuum of this table takes; then its connection is lost.
const VACUUM_MOST: Duration = Duration::from_secs(600);

/// Watches until it is aborted.
pub async fn watch(context: Context, pool: PgPool, keeper: Keeper) {
    let mut watcher = Watcher { context, line: Line::new(pool), keeper, silent: HashMap::new() };
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
        match watcher.look(session).await {
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
    line: Line,
    keeper: Keeper,
    /// The sessions that looked dead at the last look, and since when.
    silent: HashMap<i32, Instant>,
}

impl Watcher {
    /// Frees the jobs of sessions that have looked dead for long enough; `true` while other sessions hold jobs.
    async fn look(&mut self, session: Session) -> Result<bool, sqlx::Error> {
        let now = self.context.clock.now();
        let others = self.line.ask(async |conn| queue::others(conn, session, now).await).await?;
        // Absolute: after Postgres's clock was set back, its start is in the future, and that is no restart.
        let up = (now - others.server_since).abs().to_std().unwrap_or_default();
        if up.min(self.keeper.steady_for()) < PATIENCE {
            self.silent.clear();
            return Ok(true);
        }
        self.silent =
            others.silent.iter().map(|id| (*id, self.silent.get(id).copied().unwrap_or_else(Instant::now))).collect();
        let dead: Vec<i32> =
            self.silent.iter().filter(|(_, since)| since.elapsed() >= DEAD_AFTER).map(|(id, _)| *id).collect();
        if !dead.is_empty() {
            let reaped = self.line.ask_for(SEARCH, async |conn| queue::reap(conn, session, &dead, now).await).await?;
            if reaped.sessions > 0 {
                tracing::warn!(
                    sessions = reaped.sessions,
                    freed = reaped.freed,
                    dead = reaped.dead,
                    "took over the jobs of worker processes that died or fell silent"
                );
                metrics::counter!("inkfleet_sessions_reaped_total").increment(reaped.sessions as u64);
                for queue in Queue::ALL {
                    self.context.store.bell().ring(queue, LaneSet::ALL);
                }
            }
        }
        Ok(others.work)
    }
}

/// Vacuums the table every few seconds while the process works, on a connection of its own, until it is aborted: one
/// vacuum may take longer than a lease.
pub async fn vacuum(direct: PgConnectOptions, keeper: Keeper) {
    // That another process is at it is not worth a warning.
    let direct = direct.options([("client_min_messages", "error")]);
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
        if let Err(error) = within(VACUUM_MOST, vacuumed).await {
            tracing::debug!(%error, "could not vacuum the queue");
        }
        // At most a tenth of the time.
        wait = VACUUM.max(started.elapsed() * 9);
    }
}
