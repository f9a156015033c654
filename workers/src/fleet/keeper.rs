//! Keeps the process's session, and hears what Postgres has to tell.
//!
//! One direct connection holds the session lock and listens, so that its end is noticed at once. Claiming pauses then
//! until the session is taken up again or replaced; running jobs go on, and their outcomes count if nobody took the jobs
//! over in the meantime.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jobs::{
    queue::Session,
    store::{CHANNEL, within},
};
use sqlx::{
    Acquire, ConnectOptions, PgConnection,
    postgres::{PgConnectOptions, PgListener, PgNotification, PgPoolOptions},
};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use super::Options;
use crate::context::Context;

const RENEW: Duration = Duration::from_secs(10);
/// How long the session's connection may take to answer; well below the lease.
const ANSWER: Duration = Duration::from_secs(5);

/// A handle on the process's session.
#[derive(Debug, Clone)]
pub struct Keeper {
    session: watch::Receiver<Option<Held>>,
    shared: Arc<Shared>,
}

/// A session and since when this process has it without a break.
#[derive(Debug, Clone, Copy)]
struct Held {
    session: Session,
    since: Instant,
    /// Whether it replaced or took up an earlier one.
    again: bool,
}

#[derive(Debug, Default)]
struct Shared {
    /// Set while Postgres does not answer, so that it is said once.
    away: AtomicBool,
    /// Bumped by every claim that found something and by every ring.
    activity: AtomicU64,
}

/// Ends the session. Dropped instead, it ends the connection only, and others find the jobs.
#[derive(Debug)]
pub struct Closer(oneshot::Sender<oneshot::Sender<()>>);

impl Closer {
    /// Gives back what is still held and ends the session; bounded, because Postgres may be away.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.0.send(done).is_ok() {
            let _ = tokio::time::timeout(ANSWER + Duration::from_secs(1), closed).await;
        }
    }
}

impl Keeper {
    /// The present session; waits while there is none.
    pub async fn session(&self) -> Session {
        self.held().await.session
    }

    /// How long the process has had its session without a break; nothing while it has none, for ever if it never had one.
    pub fn steady_for(&self) -> Duration {
        match *self.session.borrow() {
            None => Duration::ZERO,
            Some(held) if held.again => held.since.elapsed(),
            Some(_) => Duration::MAX,
        }
    }

    async fn held(&self) -> Held {
        let mut session = self.session.clone();
        loop {
            if let Some(held) = *session.borrow_and_update() {
                return held;
            }
            if session.changed().await.is_err() {
                // The fleet is closing.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Tells that the fleet has work, so that the sessions of others are watched closely.
    pub fn note_activity(&self) {
        self.shared.activity.fetch_add(1, Ordering::Relaxed);
    }

    /// A number that grows with activity.
    pub fn activity(&self) -> u64 {
        self.shared.activity.load(Ordering::Relaxed)
    }

    /// Says once that Postgres is away, and waits a little.
    pub async fn database_failed(&self, error: &sqlx::Error) {
        if !self.shared.away.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "Postgres does not answer; the worker goes on when it is back");
        }
        // Half a second, spread so that a fleet does not knock all at once.
        let spread = Duration::from_millis(u64::from(std::process::id()) % 250);
        tokio::time::sleep(Duration::from_millis(350) + spread).await;
    }

    /// Says once that Postgres is back.
    pub fn database_answers(&self) {
        if self.shared.away.load(Ordering::Relaxed) && self.shared.away.swap(false, Ordering::Relaxed) {
            tracing::info!("Postgres answers again");
        }
    }
}

/// Opens the session and keeps it until it is closed.
pub fn start(context: Context, options: &Options) -> (Keeper, Closer) {
    let (session, watched) = watch::channel(None);
    let (close, mut closing) = oneshot::channel::<oneshot::Sender<()>>();
    let keeper = Keeper { session: watched, shared: Arc::default() };
    let handle = keeper.clone();
    let (direct, name) = (options.direct.clone(), options.name.clone());
    tokio::spawn(async move {
        let mut keeping = Keeping { context, direct, name, keeper: handle, session, last: None };
        let done = tokio::select! {
            done = &mut closing => done,
            () = keeping.run() => return,
        };
        // With this the lock's connection ends too.
        let Ok(done) = done else { return };
        keeping.end().await;
        let _ = done.send(());
    });
    (keeper, Closer(close))
}

struct Keeping {
    context: Context,
    direct: PgConnectOptions,
    name: String,
    keeper: Keeper,
    session: watch::Sender<Option<Held>>,
    last: Option<Session>,
}

impl Keeping {
    async fn run(&mut self) {
        loop {
            let Err(error) = self.keep().await else { continue };
            let had_it = self.session.send_replace(None).is_some();
            if had_it {
                // At once, before anybody takes this process for dead.
                tracing::warn!(%error, "the worker session's connection broke; nothing is claimed until it is open again");
            } else {
                self.keeper.database_failed(&error).await;
            }
        }
    }

    /// Holds one connection and one session until either is lost; `Ok` when another process took the session over.
    async fn keep(&mut self) -> Result<(), sqlx::Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ANSWER)
            .test_before_acquire(false)
            .max_lifetime(None)
            .connect_lazy_with(self.direct.clone());
        let mut wire = PgListener::connect_with(&pool).await?;
        wire.eager_reconnect(false);
        let session = within(ANSWER, self.open(wire.acquire().await?)).await?;
        let again = self.last.replace(session).is_some();
        within(ANSWER, wire.listen(CHANNEL)).await?;
        // Something may have been rung for while nobody listened.
        self.hear(None);
        self.session.send_replace(Some(Held { session, since: Instant::now(), again }));
        self.keeper.database_answers();
        tracing::info!(worker.session = session.id, worker.name = self.name, "worker session open");

        let mut renew = tokio::time::interval_at(Instant::now() + RENEW, RENEW);
        loop {
            let notice = tokio::select! {
                notice = wire.try_recv() => notice?,
                _ = renew.tick() => {
                    if !within(ANSWER, self.renew(wire.acquire().await?, session)).await? {
                        tracing::warn!(worker.session = session.id, "another process took this session over");
                        self.session.send_replace(None);
                        self.last = None;
                        return Ok(());
                    }
                    continue;
                }
            };
            let Some(notice) = notice else {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server closed it").into());
            };
            self.hear(Some(&notice));
        }
    }

    async fn open(&self, conn: &mut PgConnection) -> Result<Session, sqlx::Error> {
        self.follow(conn).await?;
        let now = self.context.clock.now();
        if let Some(last) = self.last
            && let Some(session) = last.resume(conn, now).await?
        {
            return Ok(session);
        }
        Session::open(conn, &self.name, now).await
    }

    async fn follow(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let ahead = self.context.clock.follow(conn).await?;
        metrics::gauge!("inkfleet_clock_ahead_seconds").set(ahead.as_seconds_f64());
        Ok(())
    }

    async fn renew(&self, conn: &mut PgConnection, session: Session) -> Result<bool, sqlx::Error> {
        self.follow(conn).await?;
        session.renew(conn, self.context.clock.now()).await
    }

    /// Passes a notification on within the process; without one, rings for everything.
    fn hear(&self, notice: Option<&PgNotification>) {
        let bell = self.context.store.bell();
        bell.hear(notice.map_or("", PgNotification::payload));
    }

    async fn end(&mut self) {
        let Some(session) = self.last else { return };
        self.session.send_replace(None);
        let closing = async {
            let mut conn = self.direct.connect().await?;
            session.close(&mut conn, self.context.clock.now()).await
        };
        match within(ANSWER, closing).await {
            Ok(0) => {}
            Ok(given) => tracing::info!(given, "unfinished jobs given back"),
            Err(error) => tracing::warn!(%error, "could not give jobs back; others find them"),
        }
    }
}
