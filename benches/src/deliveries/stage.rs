//! What every scenario stands on: a Postgres, a web process, a worker process, a receiver and an organisation.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tokio::time::Instant;

use crate::{
    program::{Keys, Postgres, Process, Program, client},
    receiver::Receiver,
};

/// The running parts. Dropped, all of them end.
#[derive(Debug)]
pub struct Stage {
    pub web: Process,
    worker: Option<Process>,
    pub receiver: Receiver,
    pub program: Program,
    pub keys: Keys,
    pub http: reqwest::Client,
    pub url: String,
    // The last, so that it outlives those who use it.
    pub postgres: Postgres,
}

impl Stage {
    /// Starts them, with `settings` beside the defaults, the web process on `port`. The worker comes later.
    pub async fn set(port: u16, settings: &[(&str, usize)]) -> anyhow::Result<Self> {
        let postgres = Postgres::start().await?;
        let receiver = Receiver::start().await?;
        let with = |program: Program, (name, value): &(&str, usize)| program.with(name, value);
        let program = settings.iter().fold(Program::new(&postgres.url())?, with);
        program.run(&["migrate"]).await?;
        // As many days' partitions as an installation has after a month: statements must not pay for each of them.
        sqlx::raw_sql("select create_day(current_date - n) from generate_series(1, 30) n")
            .execute(&mut postgres.connect().await?)
            .await?;
        let keys = program.organisation("bench").await?;
        let web = program.serve(port).await?;
        let url = format!("http://127.0.0.1:{port}");
        Ok(Self { web, worker: None, receiver, program, keys, http: client()?, url, postgres })
    }

    /// The worker, which must have been started.
    pub fn worker(&self) -> anyhow::Result<&Process> {
        self.worker.as_ref().context("the worker has been started")
    }

    /// Starts the worker, or starts it anew.
    pub async fn start_worker(&mut self) -> anyhow::Result<()> {
        self.stop_worker().await?;
        self.worker = Some(self.program.work()?);
        let mut conn = self.quiet().await?;
        for _ in 0..400 {
            let works: bool = sqlx::query_scalar("select exists(select from job_workers)").fetch_one(&mut conn).await?;
            if works {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        bail!("the worker does not work after ten seconds")
    }

    /// Stops the worker.
    pub async fn stop_worker(&mut self) -> anyhow::Result<()> {
        match self.worker.take() {
            Some(mut worker) => worker.stop().await,
            None => Ok(()),
        }
    }

    /// A connection whose statements `pg_stat_statements` does not count.
    pub async fn quiet(&self) -> anyhow::Result<PgConnection> {
        let options: PgConnectOptions = self.postgres.url().parse()?;
        Ok(options.options([("pg_stat_statements.track", "none")]).connect().await?)
    }

    /// Registers an Inkode endpoint for the events of one type.
    pub async fn endpoint(&self, url: &str, event_type: &str) -> anyhow::Result<()> {
        let request = self.http.post(format!("{}/api/webhooks/endpoints", self.url)).bearer_auth(&self.keys.session);
        request.json(&json!({"url": url, "eventTypes": [event_type]})).send().await?.error_for_status()?;
        Ok(())
    }

    /// Sends a batch of events; returns the ids of those that were accepted.
    pub async fn publish(&self, batch: String) -> anyhow::Result<Vec<String>> {
        let request = self.http.post(format!("{}/api/v1/events/batch", self.url)).header("x-api-key", &self.keys.ink);
        let request = request.header("content-type", "application/json").body(batch);
        let answer: serde_json::Value = request.send().await?.error_for_status()?.json().await?;
        let results = answer["results"].as_array().context("results")?;
        results.iter().map(|result| Ok(result["id"].as_str().context("an id")?.to_owned())).collect()
    }

    /// Waits until no delivery's job is left in the table: every attempt is recorded then.
    pub async fn wait_until_recorded(&self, patience: Duration) -> anyhow::Result<()> {
        let mut conn = self.quiet().await?;
        let end = Instant::now() + patience;
        loop {
            let left: bool = sqlx::query_scalar("select exists(select from jobs where queue = 'deliveries')")
                .fetch_one(&mut conn)
                .await?;
            if !left {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("deliveries' jobs are left after {patience:?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Forgets all events and what came of them, so that runs do not differ by what came before.
    pub async fn clear(&self) -> anyhow::Result<()> {
        let mut conn = self.quiet().await?;
        sqlx::raw_sql("truncate events, deliveries, attempts, jobs, job_history; checkpoint")
            .execute(&mut conn)
            .await?;
        self.receiver.reset().await
    }
}

/// A JSON value whose text is about `bytes` long, of the words and numbers that make up real events.
pub fn data(bytes: usize, seed: usize) -> serde_json::Value {
    let mut lines = vec![];
    let (mut length, mut state) = (64, seed as u64 + 1);
    while length < bytes {
        // A linear congruential generator (Knuth's MMIX): the same data in every run.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let line = json!({"sku": format!("{:08x}", state >> 32), "title": "Poster, matt, 50 × 70", "quantity": state >> 60, "price": (state >> 40) % 100_000});
        length += line.to_string().len() + 1;
        lines.push(line);
    }
    json!({"order": seed, "lines": lines})
}

/// The JSON text of a batch.
pub fn batch(events: &[serde_json::Value]) -> String {
    json!({"events": events}).to_string()
}
