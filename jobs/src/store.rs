//! The pool, and transactions that ring for the workers once they have committed.
//!
//! `NOTIFY` inside a transaction takes a lock of the whole cluster at commit and would cap the rate of all producers.
//! So a transaction notes the queues it enqueued on; after the commit the [`Bell`] sends one `NOTIFY` per queue and few
//! milliseconds, on its own connection. A ring that is lost costs a poll's wait, never a job.

use std::{
    io,
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection, Executor, PgConnection, PgPool, Postgres, Transaction, postgres::PgPoolOptions};
use tokio::sync::{Notify, watch};

use crate::{job::Queue, queue::POLL};

/// The channel on which workers listen; the payload is a queue's name.
pub const CHANNEL: &str = "inkfleet_jobs";

/// At most one `NOTIFY` per queue in this time.
const RING_EVERY: Duration = Duration::from_millis(2);
/// The wait before a `NOTIFY` that failed is tried again.
const RING_AGAIN: Duration = Duration::from_millis(500);

/// How long Postgres may take over a short transaction. A connection that broke without a word would keep its user
/// waiting for a quarter of an hour, and everybody whose work is batched with his.
pub const ANSWER: Duration = Duration::from_secs(15);
/// How long a connection that comes back to the pool may take to show that it is well.
const WELL: Duration = Duration::from_secs(5);

/// Waits for an answer no longer than `limit`.
pub async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(limit, answer)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time").into()))
}

/// What the server is told about every connection, for the case that it cannot hear its user any more: a transaction that
/// nobody goes on with ends after 5 s and lets its row locks go, and a machine that vanished is noticed within a minute.
pub const LEFT_ALONE: [(&str, &str); 4] = [
    ("idle_in_transaction_session_timeout", "5s"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// Options for a pool that outlives silent connections: none of them holds its place for ever.
pub fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new()
        .after_connect(|conn, _| {
            Box::pin(async move {
                // By statements and not at the start, because poolers refuse parameters that they do not know.
                let statements = LEFT_ALONE.map(|(name, value)| format!("set {name} = '{value}'")).join(";");
                conn.execute(sqlx::AssertSqlSafe(statements)).await.map(drop)
            })
        })
        // The pool itself would wait for ever, and the connection's place with it.
        .after_release(|conn, _| Box::pin(async move { Ok(within(WELL, conn.ping()).await.is_ok()) }))
}

/// The database of this process, and its bell. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    bell: Bell,
}

impl Store {
    /// A store over `pool`, with its bell running until the store and its clones are gone.
    pub fn new(pool: PgPool) -> Self {
        Self { bell: Bell::start(pool.clone()), pool }
    }

    /// The pool, for reads that need no transaction.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<Tx, sqlx::Error> {
        Ok(Tx { tx: self.pool.begin().await?, bell: self.bell.clone(), queues: 0 })
    }

    /// A transaction on a connection of another pool that rings this store's bell.
    pub async fn begin_on(&self, pool: &PgPool) -> Result<Tx, sqlx::Error> {
        Ok(Tx { tx: pool.begin().await?, bell: self.bell.clone(), queues: 0 })
    }

    /// The bell, for a fleet in the same process that wants to hear it without the way through Postgres.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }
}

/// A transaction of rows and their jobs. Dropped without [`Tx::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct Tx {
    tx: Transaction<'static, Postgres>,
    bell: Bell,
    queues: u32,
}

impl Tx {
    /// Commits, then wakes the workers of the queues that got jobs.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        let committed = self.tx.commit().await;
        // Also after an error: it may be only the answer that was lost.
        self.bell.ring_mask(self.queues);
        committed
    }

    /// Something of `queue` is due at `at`. What is further away than two polls needs no ring: every worker looks before.
    pub(crate) fn note(&mut self, queue: Queue, at: DateTime<Utc>, now: DateTime<Utc>) {
        if is_near(at, now) {
            self.queues |= bit(queue);
        }
    }
}

impl Deref for Tx {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.tx
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

/// Whether idle workers must be told of a job that is due at `at`, because they may not look before that.
pub(crate) fn is_near(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    at - now <= TimeDelta::seconds(2 * POLL.as_secs() as i64)
}

/// Tells workers, of this process and of others, that a queue has something new.
#[derive(Debug, Clone)]
pub struct Bell(Arc<Rope>);

#[derive(Debug, Default)]
struct Rope {
    pending: AtomicU32,
    pulled: Notify,
    /// Every listener has an ear of its own: a ring reaches all of them, also those that are not listening right now.
    heard: [watch::Sender<()>; Queue::ALL.len()],
}

/// Hears the rings for one queue.
#[derive(Debug)]
pub struct Ear(watch::Receiver<()>);

impl Ear {
    /// Resolves when the queue was rung for since the last call. May be dropped while it waits.
    pub async fn heard(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn bit(queue: Queue) -> u32 {
    1 << queue as u32
}

impl Bell {
    fn start(pool: PgPool) -> Self {
        let rope = Arc::new(Rope::default());
        let weak = Arc::downgrade(&rope);
        tokio::spawn(async move {
            loop {
                let Some(rope) = weak.upgrade() else { return };
                // Wakes now and then to see whether the store is gone.
                let _ = tokio::time::timeout(Duration::from_secs(5), rope.pulled.notified()).await;
                let pending = rope.pending.swap(0, Ordering::AcqRel);
                drop(rope);
                if pending == 0 {
                    continue;
                }
                let names: Vec<&str> =
                    Queue::ALL.into_iter().filter(|q| pending & bit(*q) != 0).map(Queue::name).collect();
                let rung = sqlx::query("select pg_notify($1, q) from unnest($2::text[]) q")
                    .bind(CHANNEL)
                    .bind(&names)
                    .execute(&pool);
                let rung = within(WELL, rung).await;
                if rung.is_ok() {
                    tokio::time::sleep(RING_EVERY).await;
                } else if pool.is_closed() {
                    return;
                } else if let Some(rope) = weak.upgrade() {
                    // No job is lost without it, because every worker polls as well; but it would start late.
                    rope.pending.fetch_or(pending, Ordering::AcqRel);
                    rope.pulled.notify_one();
                    drop(rope);
                    tokio::time::sleep(RING_AGAIN).await;
                }
            }
        });
        Self(rope)
    }

    /// Rings for `queue`.
    pub fn ring(&self, queue: Queue) {
        self.ring_mask(bit(queue));
    }

    fn ring_mask(&self, queues: u32) {
        if queues == 0 {
            return;
        }
        for queue in Queue::ALL.into_iter().filter(|q| queues & bit(*q) != 0) {
            self.0.heard[queue as usize].send_replace(());
        }
        self.0.pending.fetch_or(queues, Ordering::AcqRel);
        self.0.pulled.notify_one();
    }

    /// Wakes this process's workers of `queue` only (a notification from Postgres arrived).
    pub fn hear(&self, queue: Queue) {
        self.0.heard[queue as usize].send_replace(());
    }

    /// An ear for `queue`; what was rung for before does not reach it.
    pub fn ear(&self, queue: Queue) -> Ear {
        Ear(self.0.heard[queue as usize].subscribe())
    }
}
