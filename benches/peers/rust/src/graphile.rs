//! `graphile_worker`: for a backlog near its own benchmark (`benches/perf_test.rs` of the crate), for single jobs its
//! guide's "throughput-oriented worker".

use std::{ops::Range, sync::Arc, time::Duration};

use anyhow::anyhow;
use futures::FutureExt as _;
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, WorkerContext, WorkerOptions,
    WorkerUtils,
};
use serde_json::json;
use sqlx::{PgPool, Postgres, Transaction};

use crate::{
    queue::{Handler, Load, Noop, Queue, Worker, pool},
    scenario::Options,
};

impl TaskHandler for Noop {
    const IDENTIFIER: &'static str = "noop";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let handler = context.get_ext::<Handler>().ok_or("the worker has a handler")?;
        handler.handle(&self);
        Ok::<(), &'static str>(())
    }
}

/// The system.
#[derive(Clone)]
pub struct Graphile {
    url: String,
    pool: PgPool,
    utils: WorkerUtils,
}

impl Graphile {
    /// Connects those who enqueue.
    pub async fn connect(options: &Options) -> anyhow::Result<Self> {
        let pool = pool(&options.url, options.callers.max(16), false).await?;
        let utils = WorkerUtils::new(pool.clone(), "graphile_worker");
        Ok(Self { url: options.url.clone(), pool, utils })
    }
}

impl Queue for Graphile {
    const UNFINISHED: &str = "select count(*) from graphile_worker._private_jobs";
    const ANY_UNFINISHED: &str = "select exists (select from graphile_worker._private_jobs)";
    const CLEAR: &str = "truncate graphile_worker._private_jobs cascade";

    fn pool(&self) -> &PgPool {
        &self.pool
    }

    async fn setup(&self) -> anyhow::Result<()> {
        Ok(self.utils.migrate().await?)
    }

    async fn add_in(&self, tx: &mut Transaction<'_, Postgres>, n: u64) -> anyhow::Result<()> {
        self.utils.clone().with_executor(tx).add_job(Noop { n }, JobSpec::default()).await?;
        Ok(())
    }

    async fn add(&self, n: u64) -> anyhow::Result<()> {
        self.utils.add_job(Noop { n }, JobSpec::default()).await?;
        Ok(())
    }

    async fn add_many(&self, numbers: Range<u64>) -> anyhow::Result<()> {
        let job = |n| RawJobSpec {
            identifier: Noop::IDENTIFIER.to_owned(),
            payload: json!({ "n": n }),
            spec: JobSpec::default(),
        };
        self.utils.add_raw_jobs(&numbers.map(job).collect::<Vec<_>>()).await?;
        Ok(())
    }

    async fn worker(&self, load: Load, handler: Handler) -> anyhow::Result<Worker> {
        let options = WorkerOptions::default()
            .pg_pool(pool(&self.url, 40, false).await?)
            .listen_os_shutdown_signals(false)
            .add_extension(handler)
            .define_job::<Noop>();
        let local = LocalQueueConfig::default();
        let (concurrency, poll_ms, local) = match load {
            // The benchmark has one local queue of 5,000 and 500 places. Two of half the size fetch while the other
            // runs, and more places than these are only more tasks to wake.
            Load::Backlog => (100, 5, local.with_size(2500).with_queue_count(2)),
            Load::Trickle => (16, 500, local.with_size(100)),
        };
        let options = options
            .concurrency(concurrency)
            .poll_interval(Duration::from_millis(poll_ms))
            .complete_job_batch_delay(Duration::from_millis(5))
            .fail_job_batch_delay(Duration::from_millis(5))
            .local_queue(local);
        let worker = Arc::new(options.init().await?);
        let run = async move { worker.run().await.map_err(|error| anyhow!("{error}")) };
        Ok(Worker(vec![run.boxed()]))
    }
}
