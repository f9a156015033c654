//! The pool, and transactions that ring for the workers once they have committed.
//!
//! `NOTIFY` inside a transaction takes a lock of the whole cluster at commit and would cap the rate of all producers.
//! So a transaction notes the queues it enqueued on; after the commit the [`Bell`] sends one `NOTIFY` per queue and few
//! milliseconds, in a statement of its own. A ring that is lost costs a poll's wait, never a job.

use std::{
    io,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection, Executor, PgConnection, PgPool, Postgres, Row, Transaction, postgres::PgPoolOptions};
use tokio::sync::Notify;

use crate::{
    job::Queue,
    lane::{Floods, Lane, LaneSet},
    queue::POLL,
};

/// The channel on which workers listen; the payload is a queue's name and the places of the lanes, all where there are
/// none: `deliveries 66 71`.
pub const CHANNEL: &str = "inkfleet_jobs";

/// At most one `NOTIFY` per queue in this time.
const RING_EVERY: Duration = Duration::from_millis(2);
/// The wait before a `NOTIFY` that failed is tried again.
const RING_AGAIN: Duration = Duration::from_millis(500);

/// How long Postgres may take over a short transaction. A connection that broke without a word would keep its user
/// waiting for a quarter of an hour, and everybody whose work is batched with his.
pub const ANSWER: Duration = Duration::from_secs(15);
/// How long a connection may take to show that it is well.
pub const WELL: Duration = Duration::from_secs(5);

/// How long a connection may have been idle without being asked whether it still works.
pub const ASK_AFTER: Duration = Duration::from_secs(1);

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

/// Ends whatever transaction a connection may have, warns of none, and asks for a word. A `begin` whose caller went away
/// before it was answered (a client that hung up, a handler that took too long) has begun all the same, and sqlx knows nothing
/// of it: what the next caller did in one statement would be part of that transaction, and gone with it. Until sqlx has it
/// released (<https://github.com/transact-rs/sqlx/pull/4394>).
///
/// Nor does sqlx know of the answers that a `copy` still has to get whose caller went away: the next caller would take them
/// for its own. So the word must come back; where something else does, the connection is closed.
const CLEAR: &str = "begin; rollback; select 'clear'";

/// Whether a connection can be used by the next one.
async fn clear(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let words = sqlx::raw_sql(CLEAR).fetch_all(conn).await?;
    Ok(matches!(&words[..], [row] if row.try_get::<&str, _>(0)? == "clear"))
}

/// Options for a pool that outlives silent connections: none of them holds its place for ever.
pub fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new()
        // A question at every use would be a fifth of a small transaction; who was away for longer is asked.
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                if meta.idle_for >= ASK_AFTER {
                    conn.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(|conn, _| {
            Box::pin(async move {
                // By statements and not at the start, because poolers refuse parameters that they do not know.
                let statements = LEFT_ALONE.map(|(name, value)| format!("set {name} = '{value}'")).join(";");
                conn.execute(sqlx::AssertSqlSafe(statements)).await.map(drop)
            })
        })
        // The pool itself would wait for ever, and the connection's place with it.
        .after_release(|conn, _| Box::pin(async move { Ok(within(WELL, clear(conn)).await.is_ok_and(|clear| clear)) }))
}

/// The database of this process, and its bell. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    bell: Bell,
    floods: Floods,
}

impl Store {
    /// A store over `pool`, with its bell running until the store and its clones are gone.
    pub fn new(pool: PgPool) -> Self {
        Self { bell: Bell::start(pool.clone()), floods: Floods::default(), pool }
    }

    /// The pool, for reads that need no transaction.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<Tx<'static>, sqlx::Error> {
        Ok(self.tx(self.pool.begin().await?))
    }

    /// Begins a transaction on a connection of the caller's own.
    pub async fn begin_on<'c>(&self, conn: &'c mut PgConnection) -> Result<Tx<'c>, sqlx::Error> {
        Ok(self.tx(conn.begin().await?))
    }

    fn tx<'c>(&self, tx: Transaction<'c, Postgres>) -> Tx<'c> {
        Tx { tx, bell: self.bell.clone(), floods: self.floods.clone(), rung: Rung::default() }
    }

    /// The bell, for a fleet in the same process that wants to hear it without the way through Postgres.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }
}

/// Which lanes of each queue were enqueued on.
type Rung = [LaneSet; Queue::ALL.len()];

/// A transaction of rows and their jobs. Dropped without [`Tx::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct Tx<'c> {
    tx: Transaction<'c, Postgres>,
    bell: Bell,
    floods: Floods,
    rung: Rung,
}

impl Tx<'_> {
    /// Commits, then wakes the workers of the queues that got jobs.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        let committed = self.tx.commit().await;
        // Also after an error: it may be only the answer that was lost.
        for (queue, lanes) in Queue::ALL.into_iter().zip(self.rung) {
            self.bell.ring(queue, lanes);
        }
        committed
    }

    /// Something of `lane` is due at `at`. What is further away than two polls needs no ring: every worker looks before.
    pub(crate) fn note(&mut self, lane: Lane, at: DateTime<Utc>, now: DateTime<Utc>) {
        if is_near(at, now)
            && let Some(queue) = lane.queue()
        {
            self.rung[queue as usize].add(lane.place());
        }
    }

    /// Who is flooding.
    pub(crate) fn floods(&self) -> &Floods {
        &self.floods
    }
}

impl Deref for Tx<'_> {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.tx
    }
}

impl DerefMut for Tx<'_> {
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
    /// What other processes are to be told.
    pending: Mutex<Rung>,
    pulled: Notify,
    /// Every listener has an ear of its own: a ring reaches all of them, also those that are not listening right now.
    ears: Mutex<Vec<Weak<Drum>>>,
}

/// What an ear has heard and not told yet.
#[derive(Debug)]
struct Drum {
    queue: Queue,
    heard: Mutex<LaneSet>,
    struck: Notify,
}

/// Hears the rings for one queue.
#[derive(Debug)]
pub struct Ear(Arc<Drum>);

impl Ear {
    /// Resolves when the queue was rung for since the lanes were last taken. May be dropped while it waits.
    pub async fn heard(&mut self) {
        while self.0.heard.lock().expect("no panic under the lock").is_empty() {
            self.0.struck.notified().await;
        }
    }

    /// The lanes that were rung for since the last call.
    pub fn take(&mut self) -> LaneSet {
        std::mem::take(&mut self.0.heard.lock().expect("no panic under the lock"))
    }
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
                let pending = std::mem::take(&mut *rope.pending.lock().expect("no panic under the lock"));
                drop(rope);
                let words: Vec<String> = Queue::ALL
                    .into_iter()
                    .zip(&pending)
                    .filter(|(_, lanes)| !lanes.is_empty())
                    .map(|(queue, lanes)| format!("{}{}", queue.name(), lanes.written()))
                    .collect();
                if words.is_empty() {
                    continue;
                }
                let rung = within(WELL, tell(&pool, &words)).await;
                if rung.is_ok() {
                    tokio::time::sleep(RING_EVERY).await;
                } else if pool.is_closed() {
                    return;
                } else if let Some(rope) = weak.upgrade() {
                    // No job is lost without it, because every worker polls as well; but it would start late.
                    rope.pull(&pending);
                    drop(rope);
                    tokio::time::sleep(RING_AGAIN).await;
                }
            }
        });
        Self(rope)
    }

    /// Rings for `lanes` of `queue`, in this process and in others; for none, does nothing.
    pub fn ring(&self, queue: Queue, lanes: LaneSet) {
        if lanes.is_empty() {
            return;
        }
        self.strike(queue, lanes);
        let mut pending = Rung::default();
        pending[queue as usize] = lanes;
        self.0.pull(&pending);
    }

    /// Wakes this process's workers only: `word` is what a notification from Postgres says. Nothing means everything.
    pub fn hear(&self, word: &str) {
        let (name, lanes) = word.split_once(' ').unwrap_or((word, ""));
        match Queue::by_name(name) {
            Some(queue) => self.strike(queue, LaneSet::read(lanes)),
            None => Queue::ALL.into_iter().for_each(|queue| self.strike(queue, LaneSet::ALL)),
        }
    }

    fn strike(&self, queue: Queue, lanes: LaneSet) {
        let mut ears = self.0.ears.lock().expect("no panic under the lock");
        ears.retain(|ear| {
            let Some(ear) = ear.upgrade() else { return false };
            if ear.queue == queue {
                ear.heard.lock().expect("no panic under the lock").extend(lanes);
                ear.struck.notify_one();
            }
            true
        });
    }

    /// An ear for `queue`; what was rung for before does not reach it.
    pub fn ear(&self, queue: Queue) -> Ear {
        let drum = Arc::new(Drum { queue, heard: Mutex::default(), struck: Notify::new() });
        self.0.ears.lock().expect("no panic under the lock").push(Arc::downgrade(&drum));
        Ear(drum)
    }
}

/// Sends a notification for each of `words`.
async fn tell(pool: &PgPool, words: &[String]) -> Result<(), sqlx::Error> {
    for word in words {
        // Without a flush, which would be most of its time: what a crash may forget of it is a ring for workers that have
        // to connect anew, and these look by themselves.
        sqlx::query("select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(word)
            .execute(pool)
            .await?;
    }
    Ok(())
}

impl Rope {
    fn pull(&self, lanes: &Rung) {
        let mut pending = self.pending.lock().expect("no panic under the lock");
        pending.iter_mut().zip(lanes).for_each(|(set, more)| set.extend(*more));
        drop(pending);
        self.pulled.notify_one();
    }
}
