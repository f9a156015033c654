//! The scenarios, the same for every system.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use clap::{Args, value_parser};
use serde_json::{Value, json};
use sqlx::Acquire as _;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::{
    meter::{cpu_s, percentile_ms, round},
    queue::{Handler, Load, Queue, wait_until_finished, warm},
};

/// How long a worker may do nothing before a scenario gives up.
const STALL: Duration = Duration::from_secs(120);
/// Jobs that prepare statements and wake connections before latencies are measured.
const WARM_UP: u64 = 20;

/// What a scenario may be told.
#[derive(Debug, Args)]
pub struct Options {
    /// The address of the system's own database.
    #[arg(long)]
    pub url: String,
    /// How many jobs.
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u64).range(1..))]
    pub count: u64,
    /// How many callers enqueue at the same time.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    pub callers: u32,
    /// How many jobs one bulk insert has.
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(1..))]
    pub chunk: u64,
    /// Jobs per second.
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(1..))]
    pub rate: u64,
    /// How long.
    #[arg(long, default_value_t = 20, value_parser = value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// The pause before the next job.
    #[arg(long, default_value_t = 20)]
    pub gap_ms: u64,
}

/// Creates the system's schema and the table of the caller's own rows.
pub async fn setup(queue: &impl Queue) -> anyhow::Result<Value> {
    queue.setup().await?;
    let orders = "create table if not exists orders (id bigint generated always as identity primary key, note text)";
    sqlx::query(orders).execute(queue.pool()).await?;
    Ok(json!({}))
}

/// Removes all jobs, so that the next scenario begins with an empty table.
pub async fn clear<Q: Queue>(queue: &Q) -> anyhow::Result<Value> {
    sqlx::query(Q::CLEAR).execute(queue.pool()).await?;
    Ok(json!({}))
}

/// Jobs one by one, each in a transaction that also writes a row of the caller's.
pub async fn enqueue<Q: Queue>(queue: &Q, options: &Options) -> anyhow::Result<Value> {
    let next = Arc::new(AtomicU64::new(0));
    warm(queue.pool(), options.callers as usize).await?;
    let count = options.count;
    let took = concurrently(options.callers, || {
        let (queue, next) = (queue.clone(), Arc::clone(&next));
        async move {
            let mut connection = queue.pool().acquire().await?;
            while let Some(n) = take(&next, count) {
                let mut tx = connection.begin().await?;
                sqlx::query("insert into orders (note) values ($1)").bind("one of many").execute(&mut *tx).await?;
                queue.add_in(&mut tx, n).await?;
                tx.commit().await?;
            }
            Ok(())
        }
    });
    Ok(per_second(options.count, took.await?))
}

/// Jobs one by one, each in the library's usual way.
pub async fn enqueue_alone<Q: Queue>(queue: &Q, options: &Options) -> anyhow::Result<Value> {
    let next = Arc::new(AtomicU64::new(0));
    warm(queue.pool(), options.callers as usize).await?;
    let count = options.count;
    let took = concurrently(options.callers, || {
        let (queue, next) = (queue.clone(), Arc::clone(&next));
        async move {
            while let Some(n) = take(&next, count) {
                queue.add(n).await?;
            }
            Ok(())
        }
    });
    Ok(per_second(options.count, took.await?))
}

/// Jobs in chunks.
pub async fn bulk<Q: Queue>(queue: &Q, options: &Options) -> anyhow::Result<Value> {
    let chunks = options.count.div_ceil(options.chunk);
    let next = Arc::new(AtomicU64::new(0));
    warm(queue.pool(), options.callers as usize).await?;
    let (count, chunk) = (options.count, options.chunk);
    let took = concurrently(options.callers, || {
        let (queue, next) = (queue.clone(), Arc::clone(&next));
        async move {
            while let Some(i) = take(&next, chunks) {
                queue.add_many(i * chunk..((i + 1) * chunk).min(count)).await?;
            }
            Ok(())
        }
    });
    Ok(per_second(options.count, took.await?))
}

/// A backlog by one worker process, until the last job is finished in the database.
pub async fn process<Q: Queue>(queue: &Q, options: &Options) -> anyhow::Result<Value> {
    expect_unfinished(queue, options.count).await?;
    let handled = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&handled);
    let handler = Handler::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let worker = queue.worker(Load::Backlog, handler).await?;
    let (begin, cpu) = (Instant::now(), cpu_s()?);
    let mut running = worker.start();
    let mut last = (0, begin);
    loop {
        tokio::time::sleep(Duration::from_millis(2)).await;
        running.check()?;
        let now = handled.load(Ordering::Relaxed);
        if now >= options.count {
            break;
        }
        if now > last.0 {
            last = (now, Instant::now());
        }
        ensure!(last.1.elapsed() < STALL, "no job has started for two minutes, after {now} of {}", options.count);
    }
    wait_until_finished(queue, &mut running).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let worker_cpu_s = round(cpu_s()? - cpu);
    let rate = round(options.count as f64 / seconds);
    Ok(json!({ "per_second": rate, "seconds": round(seconds), "worker_cpu_s": worker_cpu_s }))
}

/// Single jobs into an idle worker, one after the other.
pub async fn latency<Q: Queue>(queue: &Q, options: &Options) -> anyhow::Result<Value> {
    expect_unfinished(queue, 0).await?;
    let (handler, mut starts) = channel();
    let mut running = queue.worker(Load::Trickle, handler).await?.start();
    let gap = Duration::from_millis(options.gap_ms);
    let mut times = Vec::new();
    for n in 0..WARM_UP + options.count {
        tokio::time::sleep(gap).await;
        running.check()?;
        let called = Instant::now();
        queue.add(n).await?;
        let started = start_of(n, &mut starts).await?;
        if n >= WARM_UP {
            times.push(started - called);
        }
    }
    wait_until_finished(queue, &mut running).await?;
    times.sort();
    Ok(json!({ "p50_ms": percentile_ms(&times, 50.0), "p99_ms": percentile_ms(&times, 99.0) }))
}

/// Single jobs into an idle worker, at a steady rate.
pub async fn paced<Q: Queue>(queue: &Q, options: &Options) -> anyhow::Result<Value> {
    expect_unfinished(queue, 0).await?;
    let (handler, mut starts) = channel();
    let mut running = queue.worker(Load::Trickle, handler).await?.start();
    for n in 0..WARM_UP {
        queue.add(n).await?;
        start_of(n, &mut starts).await?;
    }
    let count = options.rate * options.seconds;
    let mut adding = JoinSet::new();
    let begin = Instant::now();
    let mut made = 0;
    while made < count {
        let due = (begin.elapsed().as_secs_f64() * options.rate as f64) as u64 + 1;
        while made < due.min(count) {
            let (queue, n) = (queue.clone(), WARM_UP + made);
            adding.spawn(async move {
                let called = Instant::now();
                queue.add(n).await.map(|()| (n, called))
            });
            made += 1;
        }
        running.check()?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut calls = HashMap::new();
    while let Some(added) = adding.join_next().await {
        let (n, called) = added??;
        calls.insert(n, called);
    }
    let mut times = Vec::new();
    let deadline = Instant::now() + STALL;
    while !calls.is_empty() {
        let Ok(Some((n, at))) = timeout(deadline.saturating_duration_since(Instant::now()), starts.recv()).await else {
            break;
        };
        // A job that starts twice counts with its first start.
        times.extend(calls.remove(&n).map(|called| at - called));
    }
    let started = times.len() as u64;
    // A job that has not started by now counts with the time it has waited: it must not vanish from the percentiles.
    times.extend(calls.values().map(Instant::elapsed));
    times.sort();
    if started == count {
        wait_until_finished(queue, &mut running).await?;
    }
    let (p50, p99) = (percentile_ms(&times, 50.0), percentile_ms(&times, 99.0));
    Ok(json!({ "p50_ms": p50, "p99_ms": p99, "started": started }))
}

/// The next number below `end`.
fn take(next: &AtomicU64, end: u64) -> Option<u64> {
    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < end)
}

/// Runs `work` in as many tasks as there are callers, and how long they all took.
async fn concurrently<F, W>(callers: u32, work: W) -> anyhow::Result<Duration>
where
    W: Fn() -> F,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(work());
    }
    while let Some(end) = tasks.join_next().await {
        end??;
    }
    Ok(begin.elapsed())
}

fn per_second(count: u64, took: Duration) -> Value {
    json!({ "per_second": round(count as f64 / took.as_secs_f64()) })
}

async fn expect_unfinished<Q: Queue>(queue: &Q, count: u64) -> anyhow::Result<()> {
    let found: i64 = sqlx::query_scalar(Q::UNFINISHED).fetch_one(queue.pool()).await?;
    ensure!(found as u64 == count, "the table has {found} unfinished jobs and should have {count}: use `clear`");
    Ok(())
}

/// A handler that says when it starts.
fn channel() -> (Handler, mpsc::UnboundedReceiver<(u64, Instant)>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let handler = Handler::new(move |n| {
        // The receiver is gone only when the scenario is over.
        let _ = sender.send((n, Instant::now()));
    });
    (handler, receiver)
}

async fn start_of(n: u64, starts: &mut mpsc::UnboundedReceiver<(u64, Instant)>) -> anyhow::Result<Instant> {
    loop {
        match timeout(STALL, starts.recv()).await {
            Ok(Some((started, at))) if started == n => return Ok(at),
            Ok(Some(_)) => {}
            _ => bail!("job {n} has not started for two minutes"),
        }
    }
}
