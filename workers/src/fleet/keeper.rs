//! Keeps the process's session, watches the other sessions, and keeps the table small.
//!
//! One direct connection holds the session lock. When it breaks, claiming pauses until the session is taken up again or
//! replaced; running jobs go on, and their outcomes count if nobody took the jobs over in the meantime.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jobs::{
    job::Queue,
    queue::{self, Session},
    store::CHANNEL,
};
use sqlx::{
    ConnectOptions, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgListener},
};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::Options;
use crate::context::Context;

const LOOK: Duration = Duration::from_secs(1);
const RENEW: Duration = Duration::from_secs(10);
const VACUUM: Duration = Duration::from_secs(5);
/// After a broken connection the others may have lost theirs too: they get this long to come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// A handle on the process's session.
#[derive(Debug, Clone)]
pub struct Keeper {
    session: watch::Receiver<Option<Session>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Set while Postgres does not answer, so that it is said once.
    away: AtomicBool,
    /// Bumped by every claim that found something and by every ring.
    activity: AtomicU64,
    close: Mutex<Option<oneshot::Sender<oneshot::Sender<()>>>>,
}

impl Keeper {
    /// The present session; waits while there is none.
    pub async fn session(&self) -> Session {
        let mut session = self.session.clone();
        loop {
            if let Some(session) = *session.borrow_and_update() {
                return session;
            }
            if session.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Tells that the fleet has work, so that the sessions of others are watched closely.
    pub fn note_activity(&self) {
        self.shared.activity.fetch_add(1, Ordering::Relaxed);
    }

    /// Says once that Postgres is away, and waits a little.
    pub async fn database_failed(&self, error: &sqlx::Error) {
        if !self.shared.away.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "Postgres does not answer; the worker goes on when it is back");
        }
        // Half a second, spread so that a fleet does not knock all at once.
        let spread = Duration::from_millis(std::process::id() as u64 % 250);
        tokio::time::sleep(Duration::from_millis(350) + spread).await;
    }

    fn database_answers(&self) {
        if self.shared.away.swap(false, Ordering::Relaxed) {
            tracing::info!("Postgres answers again");
        }
    }

    /// Gives back what is still held and ends the session; bounded, because Postgres may be away.
    pub async fn close(&self) {
        let Some(close) = self.shared.close.lock().expect("no panic under the lock").take() else { return };
        let (done, closed) = oneshot::channel();
        if close.send(done).is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(5), closed).await;
        }
    }
}

/// Opens the session and keeps it until [`Keeper::close`].
pub fn start(context: Context, options: &Options) -> Keeper {
    let (session, watched) = watch::channel(None);
    let (close, mut closing) = oneshot::channel::<oneshot::Sender<()>>();
    let shared =
        Arc::new(Shared { away: AtomicBool::new(false), activity: AtomicU64::new(0), close: Mutex::new(Some(close)) });
    let keeper = Keeper { session: watched, shared };
    let handle = keeper.clone();
    let (direct, name) = (options.direct.clone(), options.name.clone());
    tokio::spawn(async move {
        let mut keeping = Keeping { context, direct, name, keeper: handle, session, last: None, first: true };
        let done = tokio::select! {
            done = &mut closing => done,
            () = keeping.run() => return,
        };
        // With this the lock's connection ends too.
        let Ok(done) = done else { return };
        keeping.end().await;
        let _ = done.send(());
    });
    keeper
}

struct Keeping {
    context: Context,
    direct: PgConnectOptions,
    name: String,
    keeper: Keeper,
    session: watch::Sender<Option<Session>>,
    last: Option<Session>,
    first: bool,
}

impl Keeping {
    async fn run(&mut self) {
        loop {
            let error = match self.keep().await {
                Ok(()) => continue,
                Err(error) => error,
            };
            self.session.send_replace(None);
            self.first = false;
            self.keeper.database_failed(&error).await;
        }
    }

    /// Holds one connection and one session until either is lost.
    async fn keep(&mut self) -> Result<(), sqlx::Error> {
        let mut conn = self.direct.connect().await?;
        self.context.clock.follow(&mut conn).await?;
        let session = self.open(&mut conn).await?;
        self.last = Some(session);
        self.session.send_replace(Some(session));
        self.keeper.database_answers();
        tracing::info!(worker.session = session.id, worker.name = self.name, "worker session open");

        let (mut renewed, mut vacuumed, mut looked) = (Instant::now(), Instant::now(), Instant::now());
        let watch_from = if self.first { Instant::now() } else { Instant::now() + PATIENCE };
        let (mut seen, mut active, mut busy) = (0, Instant::now(), false);
        loop {
            tokio::time::sleep(LOOK).await;
            let activity = self.keeper.shared.activity.load(Ordering::Relaxed);
            if activity != seen {
                (seen, active) = (activity, Instant::now());
            }
            if renewed.elapsed() >= RENEW {
                renewed = Instant::now();
                self.context.clock.follow(&mut conn).await?;
                if !session.renew(&mut conn, self.context.clock.now()).await? {
                    tracing::warn!(
                        worker.session = session.id,
                        "another process took this session over; opening a new one"
                    );
                    self.session.send_replace(None);
                    self.last = None;
                    return Ok(());
                }
            }
            // Others are watched closely while anybody works, and now and then otherwise.
            let near = busy || active.elapsed() < PATIENCE;
            if Instant::now() >= watch_from && (near || looked.elapsed() >= RENEW) {
                looked = Instant::now();
                busy = self.look(&mut conn, session).await?;
            }
            if active.elapsed() < VACUUM && vacuumed.elapsed() >= VACUUM {
                vacuumed = Instant::now();
                queue::vacuum(&mut conn).await?;
            }
        }
    }

    async fn open(&self, conn: &mut PgConnection) -> Result<Session, sqlx::Error> {
        let now = self.context.clock.now();
        if let Some(last) = self.last
            && last.resume(conn, now).await?
        {
            return Ok(last);
        }
        Session::open(conn, &self.name, now).await
    }

    /// Frees the jobs of dead sessions; `true` while other sessions hold jobs.
    async fn look(&self, conn: &mut PgConnection, session: Session) -> Result<bool, sqlx::Error> {
        let reaped = queue::reap(conn, session, self.context.clock.now()).await?;
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
        Ok(reaped.held_elsewhere > 0)
    }

    async fn end(&mut self) {
        let Some(session) = self.last else { return };
        self.session.send_replace(None);
        let closing = async {
            let mut conn = self.direct.connect().await?;
            session.close(&mut conn, self.context.clock.now()).await
        };
        match tokio::time::timeout(Duration::from_secs(4), closing).await {
            Ok(Ok(0)) => {}
            Ok(Ok(given)) => {
                tracing::info!(given, "unfinished jobs given back");
                for queue in Queue::ALL {
                    self.context.store.bell().ring(queue);
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "could not give jobs back; they run again when the lease ends"),
            Err(_) => tracing::warn!("could not give jobs back in time; they run again when the lease ends"),
        }
    }
}

/// Hears Postgres's notifications and passes them on within the process.
pub async fn listen(context: Context, pool: PgPool, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let heard: Result<(), sqlx::Error> = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(CHANNEL).await?;
            loop {
                // `None`: the connection broke, and something may have been missed.
                match listener.try_recv().await? {
                    Some(notice) => {
                        if let Some(queue) = Queue::by_name(notice.payload()) {
                            context.store.bell().hear(queue);
                        }
                    }
                    None => Queue::ALL.into_iter().for_each(|queue| context.store.bell().hear(queue)),
                }
            }
        }
        .await;
        if heard.is_err() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
