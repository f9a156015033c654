//! Our queue behind the command line that the peers speak: `benches ours <scenario> --url …` (see `benches/peers`).

use std::{
    str::FromStr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use domain::{
    address::{Guard, Policy, SystemResolver},
    chance::Chance,
    clock::Clock,
    id::OrgId,
    sealed::SealingKeys,
};
use inkfleet::{migrate, telemetry};
use jobs::{
    job::{Job, NewJob, Queue},
    queue,
    store::{Store, pool_options},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use workers::{
    context::{self, Context},
    fleet::{self, Options},
    http::Client,
    mail::Mailer,
    registry::{Outcome, Registry},
};

use crate::{program::cpu_s, report::quantile, words::Words};

/// Jobs of a latency run that come before the clock starts, as with the peers.
const WARM: usize = 20;
/// Jobs at a time in the worker process that is measured.
const CONCURRENCY: usize = 1024;

/// A job that does nothing but count.
#[derive(Debug, Serialize, Deserialize)]
struct Noop {
    n: u64,
}

impl Job for Noop {
    const KIND: &'static str = "bench.noop";
    const QUEUE: Queue = Queue::System;
    const HISTORY: bool = false;
}

/// Runs that were started.
static STARTED: AtomicUsize = AtomicUsize::new(0);
/// When each job of a latency run was enqueued and started, in nanoseconds after [`base`]; 0 for not yet.
static ENQUEUED: OnceLock<Vec<AtomicU64>> = OnceLock::new();
static STARTS: OnceLock<Vec<AtomicU64>> = OnceLock::new();

fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}

fn stamp(times: &OnceLock<Vec<AtomicU64>>, n: u64) {
    if let Some(time) = times.get().and_then(|times| times.get(n as usize)) {
        time.store(base().elapsed().as_nanos() as u64, Ordering::Relaxed);
    }
}

/// Runs one scenario and prints its figures as one JSON object.
pub async fn run(words: &Words) -> anyhow::Result<()> {
    let url: String = words.value("url").context("--url")?;
    let answer = match words.0.first().map(String::as_str) {
        Some("setup") => setup(&url).await?,
        Some("enqueue") => enqueue(&url, words, true).await?,
        Some("enqueue-alone") => enqueue(&url, words, false).await?,
        Some("bulk") => bulk(&url, words).await?,
        Some("process") => process(&url, words).await?,
        Some("worker") => worker(&url).await?,
        Some("bulk-bare") => bulk_bare(&url, words).await?,
        Some("latency") => latency(&url, words).await?,
        Some("paced") => paced(&url, words).await?,
        other => bail!("no scenario is called {other:?}"),
    };
    println!("{answer}");
    Ok(())
}

async fn store(url: &str, connections: u32) -> anyhow::Result<(Store, Clock)> {
    let options = PgConnectOptions::from_str(url)?;
    let pool = pool_options().max_connections(connections).connect_with(options).await?;
    let clock = Clock::system();
    clock.follow(&mut *pool.acquire().await?).await?;
    Ok((Store::new(pool), clock))
}

/// Jobs of as many organisations as a busy installation has, so that every lane is used.
fn job(n: u64, clock: &Clock, chance: &Chance) -> NewJob {
    NewJob::new(OrgId(uuid::Uuid::from_u128(u128::from(n % 1000))), &Noop { n }, clock.now(), chance)
}

async fn setup(url: &str) -> anyhow::Result<Value> {
    migrate::run(url, Clock::system().now()).await?;
    let pool = PgPool::connect(url).await?;
    sqlx::raw_sql("create table if not exists orders (id bigint generated always as identity primary key, note text)")
        .execute(&pool)
        .await?;
    Ok(json!({}))
}

async fn enqueue(url: &str, words: &Words, with_row: bool) -> anyhow::Result<Value> {
    let (callers, count) = (words.or("callers", 8_u64), words.or("count", 10_000_u64));
    let (store, clock) = store(url, callers as u32 + 1).await?;
    let chance = Chance::system();
    let mut conns = vec![];
    for _ in 0..callers {
        conns.push(store.pool().acquire().await?.detach());
    }
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for (caller, mut conn) in (0..).zip(conns) {
        let (store, clock, chance) = (store.clone(), clock.clone(), chance.clone());
        tasks.spawn(async move {
            for n in (caller..count).step_by(callers as usize) {
                let mut tx = store.begin_on(&mut conn).await?;
                if with_row {
                    sqlx::query("insert into orders (note) values ('an order')").execute(&mut *tx).await?;
                }
                queue::enqueue(&mut tx, job(n, &clock, &chance)).await?;
                tx.commit().await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(json!({"per_second": count as f64 / started.elapsed().as_secs_f64()}))
}

async fn bulk(url: &str, words: &Words) -> anyhow::Result<Value> {
    let (count, chunk) = (words.or("count", 100_000_u64), words.or("chunk", 1000_u64));
    let due = words.value::<i64>("due-ms").and_then(chrono::DateTime::from_timestamp_millis);
    let (store, clock) = store(url, 2).await?;
    let chance = Chance::system();
    let started = Instant::now();
    for first in (0..count).step_by(chunk as usize) {
        let jobs: Vec<NewJob> = (first..count.min(first + chunk))
            .map(|n| {
                let job = job(n, &clock, &chance);
                match due {
                    Some(due) => job.at(due),
                    None => job,
                }
            })
            .collect();
        let mut tx = store.begin().await?;
        queue::enqueue_many(&mut tx, &jobs).await?;
        tx.commit().await?;
    }
    Ok(json!({"per_second": count as f64 / started.elapsed().as_secs_f64()}))
}

/// A fleet in this process, as `inkfleet work` runs it, for the no-op jobs.
async fn start_fleet(url: &str, store: &Store, clock: &Clock) -> anyhow::Result<Running> {
    let _ = telemetry::metrics();
    let chance = Chance::system();
    let sealing = SealingKeys::parse(&SealingKeys::generate(&chance))?;
    let guard = Guard::new(Policy { allow_private: true }, Arc::new(SystemResolver));
    let settings = context::Settings {
        endpoint_concurrency: 1,
        allow_http_targets: true,
        retention_days: 30,
        session_jwks_url: None,
        short_url: String::new(),
        stripe_prices: domain::billing::Prices::default(),
        public_url: "http://127.0.0.1".into(),
    };
    let pinned = fleet::pinned_pool(PgConnectOptions::from_str(url)?, 0);
    let context = Context::new(
        store.clone(),
        pinned,
        clock.clone(),
        chance,
        Client::new(guard)?,
        sealing,
        Mailer::Mailbox,
        settings,
    );
    let registry = Registry::empty().on(|_: Context, job: Noop, _| async move {
        stamp(&STARTS, job.n);
        STARTED.fetch_add(1, Ordering::Relaxed);
        Ok(Outcome::Done)
    });
    let options = Options {
        name: "bench".into(),
        queues: vec![Queue::System],
        concurrency: CONCURRENCY,
        grace: Duration::from_secs(5),
        scheduler: false,
        direct: PgConnectOptions::from_str(url)?,
    };
    let stop = CancellationToken::new();
    let fleet = tokio::spawn(fleet::run_with(registry, context, options, stop.clone()));
    Ok(Running { stop, fleet })
}

/// A fleet and its end.
struct Running {
    stop: CancellationToken,
    fleet: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Ends it; the outcomes of all of its runs are stored then.
    async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.fleet.await?
    }
}

async fn process(url: &str, words: &Words) -> anyhow::Result<Value> {
    let count = words.or("count", 100_000_usize);
    let (store, clock) = store(url, 4).await?;
    let pid = std::process::id();
    let (started, cpu) = (Instant::now(), cpu_s(pid)?);
    let fleet = start_fleet(url, &store, &clock).await?;
    while STARTED.load(Ordering::Relaxed) < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    fleet.end().await?;
    let (seconds, worker_cpu_s) = (started.elapsed().as_secs_f64(), cpu_s(pid)? - cpu);
    // What waits for later stays.
    let left = "select count(*) from jobs where state = 1 or run_at <= clock_timestamp()";
    let left: i64 = sqlx::query_scalar(left).fetch_one(store.pool()).await?;
    anyhow::ensure!(left == 0, "{left} jobs are not done");
    anyhow::ensure!(STARTED.load(Ordering::Relaxed) == count, "a job ran twice");
    Ok(json!({"per_second": count as f64 / seconds, "seconds": seconds, "worker_cpu_s": worker_cpu_s}))
}

/// A worker process until its standard input ends; tells how many runs it started.
async fn worker(url: &str) -> anyhow::Result<Value> {
    let (store, clock) = store(url, 4).await?;
    let fleet = start_fleet(url, &store, &clock).await?;
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    fleet.end().await?;
    Ok(json!({"started": STARTED.load(Ordering::Relaxed)}))
}

/// The least that storing such rows can cost: the insert of `bulk` alone, its arrays made beforehand.
async fn bulk_bare(url: &str, words: &Words) -> anyhow::Result<Value> {
    let (count, chunk) = (words.or("count", 100_000_usize), words.or("chunk", 1000_usize));
    let (store, clock) = store(url, 2).await?;
    let mut conn = store.pool().acquire().await?;
    let (now, chance) = (clock.now(), Chance::system());
    let id = || domain::id::JobId::new(now, &chance).0;
    let ids: Vec<Vec<uuid::Uuid>> = (0..count / chunk).map(|_| (0..chunk).map(|_| id()).collect()).collect();
    let orgs: Vec<uuid::Uuid> = (0..chunk).map(|n| uuid::Uuid::from_u128(n as u128)).collect();
    let lanes: Vec<i16> = (0..chunk).map(|n| 448 + n as i16 % 32).collect();
    let payloads: Vec<Value> = (0..chunk).map(|n| json!({"n": n})).collect();
    let (texts, kinds) = (vec!["system"; chunk], vec![Noop::KIND; chunk]);
    let (most, times) = (vec![10_i16; chunk], vec![now; chunk]);
    let started = Instant::now();
    for ids in &ids {
        sqlx::query(
            "insert into jobs (id, org_id, queue, lane, kind, payload, max_attempts, run_at, request_id, created_at)
             select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::smallint[], $5::text[], $6::jsonb[],
                                  $7::smallint[], $8::timestamptz[], $9::text[], $10::timestamptz[])",
        )
        .bind(ids)
        .bind(&orgs)
        .bind(&texts)
        .bind(&lanes)
        .bind(&kinds)
        .bind(&payloads)
        .bind(&most)
        .bind(&times)
        .bind(vec![None::<String>; chunk])
        .bind(&times)
        .execute(&mut *conn)
        .await?;
    }
    Ok(json!({"per_second": (ids.len() * chunk) as f64 / started.elapsed().as_secs_f64()}))
}

fn prepare(count: usize) {
    let _ = base();
    let _ = ENQUEUED.set((0..count).map(|_| AtomicU64::new(0)).collect());
    let _ = STARTS.set((0..count).map(|_| AtomicU64::new(0)).collect());
}

fn waits() -> anyhow::Result<Vec<f64>> {
    let (enqueued, starts) = (ENQUEUED.get().context("set")?, STARTS.get().context("set")?);
    let waits = enqueued.iter().zip(starts).skip(WARM).map(|(from, to)| {
        let (from, to) = (from.load(Ordering::Relaxed), to.load(Ordering::Relaxed));
        (to as f64 - from as f64) / 1e6
    });
    Ok(waits.collect())
}

async fn enqueue_one(store: &Store, clock: &Clock, chance: &Chance, n: u64) -> anyhow::Result<()> {
    stamp(&ENQUEUED, n);
    let mut tx = store.begin().await?;
    queue::enqueue(&mut tx, job(n, clock, chance)).await?;
    tx.commit().await?;
    Ok(())
}

async fn latency(url: &str, words: &Words) -> anyhow::Result<Value> {
    let (count, gap) = (words.or("count", 300_usize) + WARM, Duration::from_millis(words.or("gap-ms", 20)));
    let (fleet_store, clock) = store(url, 4).await?;
    // A store of its own, as in a web process: the fleet hears of its jobs through Postgres.
    let (store, chance) = (store(url, 4).await?.0, Chance::system());
    prepare(count);
    let fleet = start_fleet(url, &fleet_store, &clock).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // In a task, as in a server: what the program itself waits for comes back over another thread.
    let enqueuing = tokio::spawn(async move {
        for n in 0..count {
            enqueue_one(&store, &clock, &chance, n as u64).await?;
            while STARTED.load(Ordering::Relaxed) <= n {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            tokio::time::sleep(gap).await;
        }
        anyhow::Ok(())
    });
    enqueuing.await??;
    fleet.end().await?;
    let mut waits = waits()?;
    Ok(json!({"p50_ms": quantile(&mut waits, 0.5), "p99_ms": quantile(&mut waits, 0.99)}))
}

async fn paced(url: &str, words: &Words) -> anyhow::Result<Value> {
    let (rate, seconds) = (words.or("rate", 1000_u64), words.or("seconds", 20_u64));
    let count = (rate * seconds) as usize + WARM;
    let (fleet_store, clock) = store(url, 4).await?;
    let (store, chance) = (store(url, 16).await?.0, Chance::system());
    prepare(count);
    let fleet = start_fleet(url, &fleet_store, &clock).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (pid, begun) = (std::process::id(), Instant::now());
    let cpu = cpu_s(pid)?;
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
    let mut tasks = JoinSet::new();
    for n in 0..count as u64 {
        tick.tick().await;
        let (store, clock, chance) = (store.clone(), clock.clone(), chance.clone());
        tasks.spawn(async move { enqueue_one(&store, &clock, &chance, n).await });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let end = Instant::now() + Duration::from_secs(30);
    while STARTED.load(Ordering::Relaxed) < count && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let cores = (cpu_s(pid)? - cpu) / begun.elapsed().as_secs_f64();
    fleet.end().await?;
    let started = STARTED.load(Ordering::Relaxed);
    anyhow::ensure!(started == count, "{started} of {count} jobs started");
    let mut waits = waits()?;
    Ok(
        json!({"p50_ms": quantile(&mut waits, 0.5), "p99_ms": quantile(&mut waits, 0.99), "started": started, "worker_cores": cores}),
    )
}
