//! Takes due jobs for one queue: as many as can start now, and no more.

use std::{sync::Arc, time::Duration};

use jobs::{
    job::Queue,
    queue::{self, Lanes},
};
use sqlx::PgPool;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{backend::Slot, keeper::Keeper};
use crate::context::Context;

/// The most jobs of one claim: larger ones gain little and keep the first job waiting for the last.
const BATCH: usize = 256;
/// The net below LISTEN and the timer.
const POLL: Duration = Duration::from_secs(10);
/// How long a queue must be quiet before the next due time is looked up.
const QUIET: Duration = Duration::from_millis(20);

/// Starts claiming for `queue` until `stop`; the jobs come out of the receiver, each with its place among `concurrency`.
pub fn start(
    context: Context,
    pool: PgPool,
    queue: Queue,
    concurrency: usize,
    keeper: Keeper,
    stop: CancellationToken,
) -> mpsc::Receiver<Slot> {
    let (out, jobs) = mpsc::channel(concurrency);
    tokio::spawn(async move {
        let claiming = Claimer {
            places: Arc::new(Semaphore::new(concurrency)),
            lanes: Lanes::new(),
            context,
            pool,
            queue,
            keeper,
            out,
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = claiming.run() => {}
        }
    });
    jobs
}

struct Claimer {
    context: Context,
    pool: PgPool,
    queue: Queue,
    keeper: Keeper,
    places: Arc<Semaphore>,
    lanes: Lanes,
    out: mpsc::Sender<Slot>,
}

impl Claimer {
    async fn run(mut self) {
        loop {
            match self.round().await {
                Ok(true) => {}
                Ok(false) => self.wait().await,
                Err(error) => self.keeper.database_failed(&error).await,
            }
        }
    }

    /// One claim; `true` when another may find more at once.
    async fn round(&mut self) -> Result<bool, sqlx::Error> {
        let session = self.keeper.session().await;
        let first = self.places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let more = self.places.available_permits().min(BATCH - 1);
        let mut conn = self.pool.acquire().await?;
        let now = self.context.clock.now();
        let (claimed, more) = queue::claim(&mut conn, self.queue, &mut self.lanes, session.id, 1 + more, now).await?;
        metrics::counter!("inkfleet_claims_total", "queue" => self.queue.name()).increment(1);
        metrics::counter!("inkfleet_claimed_jobs_total", "queue" => self.queue.name()).increment(claimed.len() as u64);
        if claimed.is_empty() {
            return Ok(false);
        }
        self.keeper.note_activity();
        let mut place = Some(first);
        for job in claimed {
            let place = match place.take() {
                Some(place) => place,
                None => self.places.clone().acquire_owned().await.expect("the semaphore is never closed"),
            };
            metrics::histogram!("inkfleet_job_wait_seconds", "queue" => self.queue.name())
                .record((now - job.run_at).as_seconds_f64().max(0.0));
            if self.out.send(Slot::new(job, place)).await.is_err() {
                // The worker has closed; what is held goes back with the session.
                return Ok(false);
            }
        }
        Ok(more)
    }

    /// Until something is rung for, a known job comes due, or the poll's time is up.
    async fn wait(&self) {
        let bell = self.context.store.bell();
        tokio::select! {
            () = bell.heard(self.queue) => return self.keeper.note_activity(),
            () = tokio::time::sleep(QUIET) => {}
        }
        let wait = match self.until_next().await {
            Ok(wait) => wait,
            Err(error) => return self.keeper.database_failed(&error).await,
        };
        tokio::select! {
            () = bell.heard(self.queue) => self.keeper.note_activity(),
            () = tokio::time::sleep(wait) => {}
        }
    }

    async fn until_next(&self) -> Result<Duration, sqlx::Error> {
        let mut conn = self.pool.acquire().await?;
        let now = self.context.clock.now();
        let next = queue::next_due(&mut conn, self.queue, now).await?;
        let wait = next.map_or(POLL, |at| (at - now).to_std().unwrap_or_default());
        // Never early: Postgres's clock has microseconds, the timer milliseconds.
        Ok((wait + Duration::from_millis(1)).min(POLL))
    }
}
