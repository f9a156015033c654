//! One, two, four and eight worker processes at the same backlog: what they reach together, and whether they get into each
//! other's way.

use std::time::Duration;

use anyhow::Context as _;
use domain::clock::Clock;
use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;

use super::{System, shown};
use crate::{program::Postgres, report::section, words::Words};

/// Runs it and prints the table.
pub async fn run(words: &Words) -> anyhow::Result<()> {
    let count: usize = words.or("count", 200_000);
    let postgres = Postgres::start().await?;
    let mut table = "| worker processes | jobs per second | claims per second | jobs per claim | a claim, ms | waits for locks | runs of a job twice |\n|---|---|---|---|---|---|---|\n".to_owned();
    for processes in [1, 2, 4, 8] {
        let system = System::new("inkfleet", &postgres).await?;
        let mut conn = PgConnection::connect(&system.url()).await?;
        sqlx::raw_sql("create extension if not exists pg_stat_statements").execute(&mut conn).await?;
        // All come due at one moment, when every process is up.
        let (now, preload) = (Clock::system().now(), Duration::from_millis(6000 + count as u64 / 30));
        let due = now + preload;
        system.run(&["bulk", "--count", &count.to_string(), "--due-ms", &due.timestamp_millis().to_string()]).await?;
        system.checkpoint().await?;
        let mut workers = vec![];
        for _ in 0..processes {
            workers.push(system.start_worker()?);
        }
        tokio::time::sleep((due - Clock::system().now()).to_std().context("loading took longer than was planned")?)
            .await;
        sqlx::query("select pg_stat_statements_reset()").execute(&mut conn).await?;
        let started = Instant::now();
        let (mut looks, mut waits) = (0, 0);
        while sqlx::query_scalar("select exists (select from jobs)").fetch_one(&mut conn).await? {
            // A sample of who waits for a lock.
            let waiting: i64 =
                sqlx::query_scalar("select count(*) from pg_stat_activity where wait_event_type in ('Lock', 'LWLock')")
                    .fetch_one(&mut conn)
                    .await?;
            (looks, waits) = (looks + 1, waits + waiting);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let took = started.elapsed().as_secs_f64();
        let (claims, mean_ms): (i64, f64) = sqlx::query_as(
            "select sum(calls)::bigint, sum(total_exec_time) / sum(calls) from pg_stat_statements
             where query like 'update jobs set state = % worker = % attempt = attempt +%' and dbid = (select oid from pg_database where datname = current_database())",
        )
        .fetch_one(&mut conn)
        .await?;
        let mut runs = 0;
        for worker in workers {
            runs += super::end(worker).await?;
        }
        table.push_str(&format!(
            "| {processes} | {} | {} | {:.0} | {mean_ms:.2} | {:.2} at a time | {} |\n",
            shown(count as f64 / took),
            shown(claims as f64 / took),
            count as f64 / claims as f64,
            waits as f64 / f64::from(looks.max(1)),
            runs.saturating_sub(count),
        ));
    }
    section("scale", &table, words.has("write"))
}
