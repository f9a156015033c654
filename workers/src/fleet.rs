//! A worker process: it claims, runs and completes jobs until it is told to stop.
//!
//! The keeper holds the session, the watcher looks after those of others, a claimer takes jobs for one queue, the apalis
//! backend hands them to apalis, and the completer writes outcomes back in batches. Each of them outlives a Postgres that
//! goes away.

mod backend;
mod claimer;
mod completer;
mod keeper;
mod scheduler;
mod watcher;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use apalis::prelude::{Monitor, WorkerBuilder};
use futures::FutureExt;
use jobs::{
    batch::Batcher,
    job::Queue,
    lane::LaneSet,
    queue::{self, Ended, Lanes, Session},
    store::pool_options,
};
use sqlx::{PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{context::Context, registry::Registry};
use backend::{JobSource, Slot};

/// How a worker process works.
#[derive(Debug, Clone)]
pub struct Options {
    /// The process's name in `job_workers` and the logs.
    pub name: String,
    /// The queues it serves.
    pub queues: Vec<Queue>,
    /// Jobs at a time, per queue.
    pub concurrency: usize,
    /// How long running jobs may go on after the stop signal.
    pub grace: Duration,
    /// Whether it announces the slots of the schedule.
    pub scheduler: bool,
    /// A direct way to Postgres (no transaction pooler): for LISTEN, the session lock and pinned plans.
    pub direct: PgConnectOptions,
}

/// Runs the fleet until `stop` is cancelled: then it claims no more, lets running jobs end for the grace period and
/// gives the rest back.
pub async fn run(context: Context, options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    run_with(Registry::complete(), context, options, stop).await
}

/// [`run`] with other handlers.
pub async fn run_with(
    registry: Registry,
    context: Context,
    options: Options,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let registry = Arc::new(registry);
    let pool = pinned_pool(options.direct.clone(), options.queues.len());
    let completer = completer::start(context.clone(), pool.clone());
    let (keeper, closer) = keeper::start(context.clone(), &options);
    let mut beside = JoinSet::new();
    beside.spawn(watcher::watch(context.clone(), pool.clone(), keeper.clone()));
    beside.spawn(watcher::vacuum(options.direct.clone(), keeper.clone()));
    if options.scheduler {
        beside.spawn(scheduler::tick(context.clone(), stop.clone()));
    }
    // Whoever drops this future stops the claimers too.
    let claiming = stop.child_token();
    let _dropped = claiming.clone().drop_guard();
    let broken = CancellationToken::new();

    let mut monitor = Monitor::new().shutdown_timeout(options.grace);
    for queue in options.queues.clone() {
        let tokens = (claiming.clone(), broken.clone());
        let jobs = claimer::start(context.clone(), pool.clone(), queue, options.concurrency, keeper.clone(), tokens);
        let source = JobSource::new(jobs);
        let (context, registry, completer) = (context.clone(), registry.clone(), completer.clone());
        let name = format!("{}:{}", options.name, queue.name());
        monitor = monitor.register(move |_| {
            let (context, registry, completer) = (context.clone(), registry.clone(), completer.clone());
            WorkerBuilder::new(name.as_str()).backend(source.clone()).build(move |slot: Slot| {
                // A task of its own: the runtime spreads them over its threads. One that is given up, because the grace
                // period is over, stops and does not go on unseen.
                let run = tokio::spawn(run_one(context.clone(), registry.clone(), completer.clone(), slot));
                AbortOnDropHandle::new(run).map(drop)
            })
        });
    }
    let ending = claiming.clone();
    let outcome = monitor
        .run_with_signal(async {
            tokio::select! {
                () = stop.cancelled() => {}
                // Half a fleet would hold jobs that nobody runs: better to end and be started anew.
                () = broken.cancelled() => ending.cancel(),
            }
            Ok(())
        })
        .await;
    let was_asked = stop.is_cancelled();
    stop.cancel();
    beside.shutdown().await;
    closer.close().await;
    outcome.context("the fleet did not stop cleanly")?;
    anyhow::ensure!(was_asked, "a worker of the fleet ended by itself");
    Ok(())
}

/// Runs a job and has its outcome written.
async fn run_one(context: Context, registry: Arc<Registry>, completer: Batcher<Ended, ()>, slot: Slot) {
    let (job, place, hold) = slot.take();
    let ended = registry.run(&context, job).await;
    // The place is free once the work is over; its outcome is written with others.
    drop(place);
    if let Some(ended) = ended
        && let Err(error) = completer.call(ended).await
    {
        tracing::error!(%error, "the outcome of a job is lost; it runs again when this process ends");
    }
    drop(hold);
}

/// Runs everything that is due, in this task, with the same claims, handlers and completions as [`run`], until nothing
/// is left; returns how many runs that were. For tests and for `inkfleet work --once`.
pub async fn drain(context: &Context, queues: &[Queue], pool: &PgPool) -> anyhow::Result<usize> {
    let mut conn = pool.acquire().await?;
    let drained = drain_on(context, queues, &mut conn).await;
    if drained.is_err() {
        // The session may be open still, and goes with its connection.
        conn.close_on_drop();
    }
    drained
}

async fn drain_on(context: &Context, queues: &[Queue], conn: &mut PgConnection) -> anyhow::Result<usize> {
    let registry = Registry::complete();
    let session = Session::open(&mut *conn, "drain", context.clock.now()).await?;
    let mut runs = 0;
    loop {
        let mut idle = true;
        for queue in queues {
            let (claimed, _) =
                queue::claim(&mut *conn, &mut Lanes::new(*queue), LaneSet::ALL, session.id, 64, context.clock.now())
                    .await?;
            idle &= claimed.is_empty();
            runs += claimed.len();
            let ended: Vec<Ended> =
                futures::future::join_all(claimed.into_iter().map(|job| registry.run(context, job)))
                    .await
                    .into_iter()
                    .flatten()
                    .collect();
            queue::complete(&mut *conn, &ended, context.clock.now()).await?;
        }
        if idle {
            break;
        }
    }
    session.close(&mut *conn, context.clock.now()).await?;
    Ok(runs)
}

/// Connections whose plans stay on the queue's indexes. A generic plan made while the table was empty would scan it
/// once it is full; figures in `docs/decisions/0003-queue.md`.
pub fn pinned_pool(direct: PgConnectOptions, queues: usize) -> PgPool {
    let pinned = direct.options([
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_bitmapscan", "off"),
        ("enable_sort", "off"),
        // A join by hash or merge would read an index from end to end.
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("jit", "off"),
    ]);
    pool_options()
        .max_connections(u32::try_from(queues).unwrap_or(4) + 4)
        .min_connections(0)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(pinned)
}
