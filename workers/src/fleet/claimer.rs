//! Takes due jobs for one queue: as many as can start now, and no more. While Postgres looks for the next ones, the last
//! are handed out.
//!
//! Bulk work has a part of the places only. What happens now has priority, but that alone would not spare it the wait for
//! a place that bulk work has taken before.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, Utc};
use jobs::{
    job::Queue,
    line::{ANSWER, Line},
    queue::{self, Claimed, Lanes, POLL, SEARCH, Session},
    store::Ear,
};
use sqlx::{PgConnection, PgPool};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    backend::{Held, Slot},
    keeper::Keeper,
};
use crate::context::Context;

/// The most jobs of one claim: larger ones gain little and keep the first job waiting for the last.
const BATCH: usize = 512;
/// How long a queue must be quiet before the next due time is looked up.
const QUIET: Duration = Duration::from_millis(20);
/// The wait for a due job that a claim did not get, because somebody else has it locked.
const LOCKED: Duration = Duration::from_millis(250);
/// The wait between two searches for jobs that a lost claim may have left.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Bulk work has one place in so many. Once it has them all, it gets the next when so many parts of them are free, because
/// a claim for each would cost more than the wait.
const BULK: (usize, usize) = (4, 4);

/// Starts claiming for `queue` until `stop`; the jobs come out of the receiver, each with its place among `concurrency`.
/// If the receiver goes away, so that nobody runs the queue's jobs any more, `broken` is cancelled.
pub fn start(
    context: Context,
    pool: PgPool,
    queue: Queue,
    concurrency: usize,
    keeper: Keeper,
    (stop, broken): (CancellationToken, CancellationToken),
) -> mpsc::Receiver<Slot> {
    let (out, jobs) = mpsc::channel(concurrency);
    let closed = out.clone();
    tokio::spawn(async move {
        let bulk = (concurrency / BULK.0).max(1);
        let claiming = Claimer {
            figures: Figures::of(queue),
            places: Arc::new(Semaphore::new(concurrency)),
            bulk: Arc::new(Semaphore::new(bulk)),
            bulk_again: u32::try_from(bulk / BULK.1).unwrap_or(1).max(1),
            bulk_full: false,
            held: Arc::new(Mutex::default()),
            waiting: Vec::new(),
            lanes: Lanes::new(queue),
            ear: context.store.bell().ear(queue),
            context,
            line: Line::new(pool).for_claims(),
            doubt: None,
            claimed_at: None,
            queue,
            keeper,
            out,
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = closed.closed() => broken.cancel(),
            () = claiming.run() => {}
        }
    });
    jobs
}

/// The queue's metrics, looked up once.
struct Figures {
    claims: metrics::Counter,
    claimed: metrics::Counter,
    wait: metrics::Histogram,
}

impl Figures {
    fn of(queue: Queue) -> Self {
        let queue = queue.name();
        Self {
            claims: metrics::counter!("inkfleet_claims_total", "queue" => queue),
            claimed: metrics::counter!("inkfleet_claimed_jobs_total", "queue" => queue),
            wait: metrics::histogram!("inkfleet_job_wait_seconds", "queue" => queue),
        }
    }
}

/// The answer to a claim was lost: it may hold jobs that nobody here knows of.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    since: Instant,
    /// When these were looked for.
    looked: Option<Instant>,
}

struct Claimer {
    figures: Figures,
    context: Context,
    line: Line,
    /// Whether an answer to a claim was lost.
    doubt: Option<Doubt>,
    claimed_at: Option<DateTime<Utc>>,
    queue: Queue,
    keeper: Keeper,
    places: Arc<Semaphore>,
    /// The places of bulk work, how many must be free for it to go on once it had them all, and whether it has.
    bulk: Arc<Semaphore>,
    bulk_again: u32,
    bulk_full: bool,
    held: Held,
    /// Claimed and not handed out yet.
    waiting: Vec<Slot>,
    lanes: Lanes,
    ear: Ear,
    out: mpsc::Sender<Slot>,
}

impl Claimer {
    async fn run(mut self) {
        loop {
            let outcome = match self.round().await {
                Ok(true) => continue,
                Ok(false) => {
                    hand_out(&self.out, std::mem::take(&mut self.waiting)).await;
                    self.wait().await
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => {}
                Err(error) => {
                    self.doubt = Some(Doubt { since: Instant::now(), looked: None });
                    if self.line.is_new() {
                        self.keeper.database_failed(&error).await;
                    }
                }
            }
        }
    }

    /// One claim; `true` when another may find more at once.
    async fn round(&mut self) -> Result<bool, sqlx::Error> {
        let mut places = match self.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                // Nothing is asked for until one of these is done.
                hand_out(&self.out, std::mem::take(&mut self.waiting)).await;
                self.places.clone().acquire_owned().await.expect("the semaphore is never closed")
            }
        };
        let more = self.places.available_permits().min(BATCH - 1) as u32;
        if let Ok(more) = self.places.clone().try_acquire_many_owned(more) {
            places.merge(more);
        }
        let bulk = self.bulk.available_permits();
        self.lanes.allow_bulk(bulk);
        let (out, waiting) = (self.out.clone(), std::mem::take(&mut self.waiting));
        let claiming = async {
            let session = self.keeper.session().await;
            self.claim(session, places.num_permits()).await
        };
        let (answer, ()) = tokio::join!(claiming, hand_out(&out, waiting));
        let (claimed, more) = answer?;
        self.bulk_full = claimed.iter().filter(|job| job.lane.is_bulk()).count() >= bulk;
        self.keeper.database_answers();
        self.figures.claims.increment(1);
        self.figures.claimed.increment(claimed.len() as u64);
        if claimed.is_empty() {
            return Ok(false);
        }
        self.keeper.note_activity();
        let now = self.context.clock.now();
        let all = claimed.len();
        for job in claimed {
            let place = places.split(1).expect("a claim brings no more than it was asked for");
            self.figures.wait.record((now - job.run_at).as_seconds_f64().max(0.0));
            // There may be a few more than its places, a share from each lane: they start all the same.
            let bulk = if job.lane.is_bulk() { self.bulk.clone().try_acquire_owned().ok() } else { None };
            self.waiting.extend(Slot::new(job, (place, bulk), &self.held));
        }
        let again = all - self.waiting.len();
        if again > 0 {
            tracing::info!(
                queue = self.queue.name(),
                again,
                "claimed again what Postgres forgot; it runs here already"
            );
            // Such a run may have told its end just before, to a row that was not claimed yet.
            self.doubt = Some(Doubt { since: Instant::now(), looked: None });
        }
        Ok(more)
    }

    async fn claim(&mut self, session: Session, want: usize) -> Result<(Vec<Claimed>, bool), sqlx::Error> {
        let now = self.context.clock.now();
        if let Some(doubt) = self.doubt
            && doubt.looked.is_none_or(|looked| looked.elapsed() > LOOK_AGAIN)
        {
            let known: Vec<_> = self.held.lock().expect("no panic under the lock").iter().map(|run| run.id).collect();
            let disown = async |conn: &mut PgConnection| session.disown(conn, self.queue, &known, now).await;
            let given = self.line.ask_for(SEARCH, disown).await?;
            if given > 0 {
                tracing::warn!(queue = self.queue.name(), given, "gave back jobs whose claim was not answered");
            }
            // Until then the lost statement may still be running on the server.
            let over = doubt.since.elapsed() > ANSWER;
            self.doubt = (!over).then(|| Doubt { looked: Some(Instant::now()), ..doubt });
        }
        self.claimed_at = Some(now);
        let (lanes, ear) = (&mut self.lanes, &mut self.ear);
        self.line.ask(async |conn| queue::claim(conn, lanes, ear.take(), session.id, want, now).await).await
    }

    /// Until something is rung for, a waiting job comes due, bulk work has places again, or the poll's time is up and has
    /// shown a due job.
    async fn wait(&mut self) -> Result<(), sqlx::Error> {
        let room = room(self.bulk.clone(), self.bulk_full.then_some(self.bulk_again));
        let search = search(self.doubt.is_some());
        tokio::pin!(room, search);
        if self.bulk_full {
            // What waits of it is not looked at: it is due, and would be claimed in vain again and again.
            self.lanes.allow_bulk(0);
        }
        tokio::select! {
            () = self.ear.heard() => { self.keeper.note_activity(); return Ok(()) }
            () = &mut room => return Ok(()),
            () = &mut search => return Ok(()),
            () = tokio::time::sleep(QUIET) => {}
        }
        loop {
            let next = self.look().await?;
            let now = self.context.clock.now();
            let until = |at: DateTime<Utc>| match self.claimed_at {
                // Due at the last claim already, and still there.
                Some(claimed) if at <= claimed && next.again.is_some() => LOCKED,
                // Never early: Postgres's clock has microseconds, the timer milliseconds.
                _ if at > now => (at - now).to_std().unwrap_or_default() + Duration::from_millis(1),
                _ => Duration::ZERO,
            };
            let due = next.at.map(until);
            let look = next.again.unwrap_or(POLL).min(POLL);
            tokio::select! {
                () = self.ear.heard() => { self.keeper.note_activity(); return Ok(()) }
                () = &mut room => return Ok(()),
                () = &mut search => return Ok(()),
                () = tokio::time::sleep(due.unwrap_or(look).min(look)) => {}
            }
            if due.is_some_and(|due| due <= look) {
                self.keeper.note_activity();
                return Ok(());
            }
        }
    }

    async fn look(&mut self) -> Result<queue::Next, sqlx::Error> {
        let (lanes, now) = (&mut self.lanes, self.context.clock.now());
        self.line.ask(async |conn| queue::next_due(conn, lanes, now).await).await
    }
}

/// Resolves when it is time to look again for what a lost claim may have left; never without a doubt.
async fn search(doubt: bool) {
    match doubt {
        true => tokio::time::sleep(LOOK_AGAIN).await,
        false => std::future::pending().await,
    }
}

/// Gives claimed jobs to those who run them. If these are gone, what is held goes back with the session.
async fn hand_out(out: &mpsc::Sender<Slot>, slots: Vec<Slot>) {
    for slot in slots {
        if out.send(slot).await.is_err() {
            return;
        }
    }
}

/// Resolves when `again` places are free; never without a number.
async fn room(places: Arc<Semaphore>, again: Option<u32>) {
    match again {
        Some(again) => drop(places.acquire_many(again).await),
        None => std::future::pending().await,
    }
}
