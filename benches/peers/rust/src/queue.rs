//! What the scenarios need of a queue. Each rival implements it with its own documented calls and nothing else.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::bail;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, Postgres, Transaction, postgres::PgPoolOptions};
use tokio::task::JoinSet;

/// The payload of every job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Noop {
    /// Its number within the run.
    pub n: u64,
}

/// What a handler does: it is called with the job's number, and that is all.
#[derive(Clone)]
pub struct Handler(Arc<dyn Fn(u64) + Send + Sync>);

impl Handler {
    /// One that does `work`.
    pub fn new(work: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(work))
    }

    /// Called by a job when it starts.
    pub fn handle(&self, job: &Noop) {
        (self.0)(job.n);
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handler")
    }
}

/// What a worker is for: a system may document other settings for the one than for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// A table full of due jobs.
    Backlog,
    /// Single jobs that should start at once.
    Trickle,
}

/// One process's worth of a system's workers, connected but not started.
pub struct Worker(pub Vec<BoxFuture<'static, anyhow::Result<()>>>);

impl Worker {
    /// Starts them. They end when the answer is dropped.
    pub fn start(self) -> Running {
        Running(self.0.into_iter().collect())
    }
}

/// Running workers.
pub struct Running(JoinSet<anyhow::Result<()>>);

impl Running {
    /// An error if one of them has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.0.try_join_next() {
            Some(end) => bail!("the worker has ended: {end:?}"),
            None => Ok(()),
        }
    }
}

/// A system under test.
pub trait Queue: Clone + Send + Sync + 'static {
    /// SQL that counts the jobs which are not finished.
    const UNFINISHED: &str;
    /// SQL that says whether one is left, and stops at the first that it finds.
    const ANY_UNFINISHED: &str;
    /// SQL that removes all jobs.
    const CLEAR: &str;

    /// The connections of those who enqueue.
    fn pool(&self) -> &PgPool;

    /// Creates or migrates its schema.
    fn setup(&self) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Adds one job in the caller's transaction.
    fn add_in(&self, tx: &mut Transaction<'_, Postgres>, n: u64) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Adds one job in the way that its documentation shows first.
    fn add(&self, n: u64) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Adds many at once.
    fn add_many(&self, numbers: Range<u64>) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Connects a worker.
    fn worker(&self, load: Load, handler: Handler) -> impl Future<Output = anyhow::Result<Worker>> + Send;
}

/// A pool of at most `size` connections. Without `ping`, sqlx asks no question before it hands a connection out, which
/// saves a round trip.
pub async fn pool(url: &str, size: u32, ping: bool) -> anyhow::Result<PgPool> {
    // A producer that waits for a connection is late, and that is measured: it is not an error.
    let patience = Duration::from_secs(120);
    let options = PgPoolOptions::new().max_connections(size).test_before_acquire(ping).acquire_timeout(patience);
    Ok(options.connect(url).await?)
}

/// Opens all of a pool's connections, so that no scenario measures this.
pub async fn warm(pool: &PgPool, size: usize) -> anyhow::Result<()> {
    let mut connections = Vec::new();
    for _ in 0..size {
        connections.push(pool.acquire().await?);
    }
    Ok(())
}

/// Waits until no job is left unfinished in the table.
pub async fn wait_until_finished<Q: Queue>(queue: &Q, running: &mut Running) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut connection = queue.pool().acquire().await?;
    while sqlx::query_scalar::<_, bool>(Q::ANY_UNFINISHED).fetch_one(&mut *connection).await? {
        running.check()?;
        if begin.elapsed() > Duration::from_secs(120) {
            bail!("jobs are left unfinished two minutes after their handlers ended");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
