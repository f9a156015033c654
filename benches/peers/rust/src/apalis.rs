//! `apalis-postgres`, as it comes and with the settings that were found fastest.

use std::{ops::Range, time::Duration};

use ::apalis::prelude::*;
use ::apalis_postgres::{Config, PostgresStorage, queries::push_tasks};
use anyhow::anyhow;
use futures::FutureExt as _;
use sqlx::{PgPool, Postgres, Transaction};

use crate::{
    queue::{Handler, Load, Noop, Queue, Worker, pool},
    scenario::Options,
};

/// The system.
#[derive(Clone)]
pub struct Apalis {
    url: String,
    pool: PgPool,
    tuned: bool,
    storage: PostgresStorage<Noop>,
}

impl Apalis {
    /// Connects those who enqueue.
    pub async fn connect(options: &Options, tuned: bool) -> anyhow::Result<Self> {
        let pool = pool(&options.url, options.callers.max(16), !tuned).await?;
        let storage = PostgresStorage::new(&pool);
        Ok(Self { url: options.url.clone(), pool, tuned, storage })
    }
}

impl Queue for Apalis {
    const UNFINISHED: &str = "select count(*) from apalis.jobs where status <> 'Done'";
    const ANY_UNFINISHED: &str = "select exists (select from apalis.jobs where status <> 'Done')";
    const CLEAR: &str = "truncate apalis.jobs";

    fn pool(&self) -> &PgPool {
        &self.pool
    }

    async fn setup(&self) -> anyhow::Result<()> {
        Ok(PostgresStorage::<()>::setup(&self.pool).await?)
    }

    async fn add_in(&self, tx: &mut Transaction<'_, Postgres>, n: u64) -> anyhow::Result<()> {
        let task = TaskBuilder::new(serde_json::to_vec(&Noop { n })?).build();
        Ok(push_tasks(&mut **tx, self.storage.config().queue.as_ref(), vec![task]).await?)
    }

    async fn add(&self, n: u64) -> anyhow::Result<()> {
        Ok(self.storage.clone().push(Noop { n }).await?)
    }

    async fn add_many(&self, numbers: Range<u64>) -> anyhow::Result<()> {
        Ok(self.storage.clone().push_bulk(numbers.map(|n| Noop { n }).collect()).await?)
    }

    async fn worker(&self, load: Load, handler: Handler) -> anyhow::Result<Worker> {
        let pool = pool(&self.url, 10, !self.tuned).await?;
        let queue = self.storage.config().queue.to_string();
        let config = Config::default().queue(queue);
        let (workers, config, poll_ms) = match (self.tuned, load) {
            // The README's form with LISTEN, its poll of five seconds included.
            (false, _) => (1, config, 5000),
            (true, Load::Backlog) => (4, config.batch_size(5000).lock_tasks(false), 100),
            // Wake-ups are lost at a steady rate, so that the poll decides when many jobs start.
            (true, Load::Trickle) => (1, config.batch_size(100).lock_tasks(false), 20),
        };
        let interval = Duration::from_millis(poll_ms);
        let runs = (0..workers).map(|i| {
            let backend = PostgresStorage::<Noop>::new(&pool)
                .with_config(config.clone())
                .with_pubsub()
                .poll_with_interval(interval);
            // A name that came back within five minutes would own the jobs of the process before it.
            let name = format!("{}-{i}", std::process::id());
            let worker = WorkerBuilder::new(name).backend(backend).data(handler.clone()).build(run);
            async move { worker.run().await.map_err(|error| anyhow!("{error}")) }.boxed()
        });
        Ok(Worker(runs.collect()))
    }
}

async fn run(job: Noop, handler: Data<Handler>) -> Result<(), BoxDynError> {
    handler.handle(&job);
    Ok(())
}
