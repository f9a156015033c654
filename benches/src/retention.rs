//! Thirty days of twenty million attempts, dropped by the housekeeping job: how long it locks, and who feels it.

use std::time::Duration;

use anyhow::ensure;
use chrono::Days;
use domain::{chance::Chance, clock::Clock, id::OrgId};
use jobs::{housekeeping::KeepHouse, job::NewJob, queue, store::Store};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    program::{Postgres, Program, client},
    report::section,
    seed::{self, Day},
    tally::Tally,
    traffic::{Figures, Traffic},
};

const PORT: u16 = 18128;
const DAYS: u64 = 30;
const ATTEMPTS: i64 = 20_000_000;
/// Attempts of each delivery: fewer events and deliveries than attempts, to save the making.
const EACH: i32 = 5;
const LIVE: u32 = 200;
/// The tables whose partitions go.
const PARENTS: &str = "array['events'::regclass, 'deliveries'::regclass, 'attempts'::regclass]::oid[]";

/// Runs it. `--attempts n` changes the size.
pub async fn run(words: &[String]) -> anyhow::Result<()> {
    let value = words.iter().skip_while(|word| *word != "--attempts").nth(1);
    let attempts: i64 = value.map_or(Ok(ATTEMPTS), |text| text.parse())?;
    let postgres = Postgres::start().await?;
    let tally = Tally::start().await?;
    let program = Program::new(&postgres.url())?.with("INKFLEET_SCHEDULER", false);
    program.run(&["migrate"]).await?;
    let keys = program.organisation("bench").await?;
    let (http, url) = (client()?, format!("http://127.0.0.1:{PORT}"));
    let _web = program.serve(PORT).await?;
    let endpoint = http.post(format!("{url}/api/webhooks/endpoints")).bearer_auth(&keys.session);
    endpoint.json(&json!({"url": tally.url("live")})).send().await?.error_for_status()?.json::<Value>().await?;

    let mut conn = postgres.connect().await?;
    let (org_id, endpoint): (Uuid, Uuid) =
        sqlx::query_as("select org_id, id from endpoints").fetch_one(&mut conn).await?;
    let oldest = Clock::system().now().date_naive() - Days::new(31 + DAYS);
    let started = Instant::now();
    for n in 0..DAYS {
        let day = Day {
            day: oldest + Days::new(n),
            org_id,
            endpoints: &[endpoint],
            event_type: "qr.scanned",
            deliveries: attempts / i64::from(EACH) / DAYS as i64,
            attempts: EACH,
        };
        seed::fill(&mut conn, &day).await?;
    }
    // So that autovacuum is not at them later: what is a month old it has left alone for long.
    sqlx::raw_sql("vacuum analyze").execute(&mut conn).await?;
    sqlx::raw_sql("checkpoint").execute(&mut conn).await?;
    let size: String =
        sqlx::query_scalar("select pg_size_pretty(pg_database_size(current_database()))").fetch_one(&mut conn).await?;
    println!("seeded {size} in {:.0} s", started.elapsed().as_secs_f64());

    let _worker = program.work()?;
    sleep(Duration::from_secs(3)).await;
    let live = Traffic::start(&http, &url, &keys.ink, "link.clicked", "live", LIVE);
    sleep(Duration::from_secs(5)).await;
    let quiet = Instant::now();
    sleep(Duration::from_secs(20)).await;
    let quiet = (quiet, Instant::now());

    let house = House::open(&postgres.url()).await?;
    let watch = Watch::start(&postgres.url()).await?;
    let (mut dropping, mut took) = house.keep(&mut conn).await?;
    let mut hours = 1;
    // Where the machine is so busy that a transaction takes a second, some are left for the next hour.
    while old_days(&mut conn).await? > 0 {
        ensure!(hours < 5, "{} partitions are left", old_days(&mut conn).await?);
        let (span, more) = house.keep(&mut conn).await?;
        (dropping.1, took, hours) = (span.1, took + more, hours + 1);
    }
    let locks = watch.end().await?;

    // Somebody reads for long: nothing is dropped, days are made all the same, and nobody waits.
    seed_small(&mut conn, oldest, org_id, endpoint).await?;
    let tomorrow = (Clock::system().now().date_naive() + Days::new(7)).format("%Y%m%d");
    let ahead = format!("drop table events_{tomorrow}, deliveries_{tomorrow}, attempts_{tomorrow}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(ahead)).execute(&mut conn).await?;
    let mut reader = PgConnection::connect(&postgres.url()).await?;
    sqlx::raw_sql("begin; select count(*) from attempts; select count(*) from deliveries; select count(*) from events")
        .execute(&mut reader)
        .await?;
    sleep(Duration::from_secs(2)).await;
    let watch = Watch::start(&postgres.url()).await?;
    let (reading, _) = house.keep(&mut conn).await?;
    let beside = watch.end().await?;
    let made: bool = sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(format!("events_{tomorrow}"))
        .fetch_one(&mut conn)
        .await?;
    ensure!(made, "the day ahead was not made beside a reader");
    ensure!(old_days(&mut conn).await? == 3, "something was dropped under a reader");
    sqlx::raw_sql("rollback").execute(&mut reader).await?;
    house.keep(&mut conn).await?;
    ensure!(old_days(&mut conn).await? == 0, "not dropped after the reader left");
    live.end(&tally).await?;

    let figures = |span| live.figures(&tally, &[span]);
    let text = format!(
        "{DAYS} days of {attempts} attempts ({} deliveries and events; {size} in all), {} partitions, dropped by \
         `house.keep` in {:.0} ms ({hours} run{}). An ACCESS EXCLUSIVE lock was held on one of the three tables for {:.0} ms in all, \
         at most {:.1} ms at a time, and waited for during {:.0} ms. Beside a transaction that had been reading them for \
         two seconds: held {:.0} ms, waited for {:.0} ms; the coming days were made, and the old ones dropped once it \
         had ended.\n\n{}",
        attempts / i64::from(EACH),
        DAYS * 3,
        took.as_secs_f64() * 1e3,
        if hours == 1 { "" } else { "s" },
        locks.held * 1e3,
        locks.longest * 1e3,
        locks.waited * 1e3,
        beside.held * 1e3,
        beside.waited * 1e3,
        table(&[
            ("before", figures(quiet)),
            ("while dropping", figures(dropping)),
            ("beside a reader", figures(reading))
        ]),
    );
    ensure!(locks.held < 1.0, "locked for {:.2} s", locks.held);
    section("retention", &text, words.contains(&"--write".into()))
}

fn table(rows: &[(&str, Figures)]) -> String {
    let mut text = String::from(
        "| live events, 200 per second | answered, p50 / p99 / longest ms | first byte, p50 / p99 / longest ms |\n|---|---|---|\n",
    );
    for (when, Figures { count, answer, arrival }) in rows {
        text += &format!(
            "| {when} ({count}) | {:.1} / {:.1} / {:.1} | {:.1} / {:.1} / {:.1} |\n",
            answer[0], answer[1], answer[2], arrival[0], arrival[1], arrival[2],
        );
    }
    text
}

/// Partitions past retention.
async fn old_days(conn: &mut PgConnection) -> anyhow::Result<i64> {
    let count = "select count(*) from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
                 where p.relkind = 'p' and to_date(right(c.relname, 8), 'YYYYMMDD') < current_date - 30";
    Ok(sqlx::query_scalar(count).fetch_one(conn).await?)
}

async fn seed_small(conn: &mut PgConnection, day: chrono::NaiveDate, org: Uuid, endpoint: Uuid) -> anyhow::Result<()> {
    let day =
        Day { day, org_id: org, endpoints: &[endpoint], event_type: "qr.scanned", deliveries: 1000, attempts: EACH };
    seed::fill(conn, &day).await
}

/// Stores the housekeeping's job, as a cron slot does.
struct House {
    store: Store,
    clock: Clock,
    chance: Chance,
}

impl House {
    async fn open(url: &str) -> anyhow::Result<Self> {
        Ok(Self { store: Store::new(PgPool::connect(url).await?), clock: Clock::system(), chance: Chance::system() })
    }

    /// Has the house kept by the worker; the span until a second after it, and how long the job took.
    async fn keep(&self, conn: &mut PgConnection) -> anyhow::Result<((Instant, Instant), Duration)> {
        let start = Instant::now();
        let mut tx = self.store.begin().await?;
        let job = NewJob::new(OrgId::SYSTEM, &KeepHouse {}, self.clock.now(), &self.chance);
        queue::enqueue(&mut tx, job).await?;
        tx.commit().await?;
        while sqlx::query_scalar("select exists (select from jobs where kind = 'house.keep')")
            .fetch_one(&mut *conn)
            .await?
        {
            ensure!(start.elapsed() < Duration::from_secs(60), "the house is not kept within a minute");
            sleep(Duration::from_millis(2)).await;
        }
        let took = start.elapsed();
        sleep(Duration::from_secs(1)).await;
        Ok(((start, Instant::now()), took))
    }
}

/// How long ACCESS EXCLUSIVE locks on the tables were seen, in seconds.
#[derive(Debug, Default, Clone, Copy)]
struct Locks {
    held: f64,
    longest: f64,
    waited: f64,
}

/// Looks at the locks without a pause.
struct Watch {
    stop: CancellationToken,
    watching: JoinHandle<anyhow::Result<Locks>>,
}

impl Watch {
    async fn start(url: &str) -> anyhow::Result<Self> {
        let mut conn = PgConnection::connect(url).await?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let look = format!(
            "select coalesce(bool_or(granted), false), coalesce(bool_or(not granted), false) from pg_locks
             where mode = 'AccessExclusiveLock' and relation = any({PARENTS})"
        );
        let watching = tokio::spawn(async move {
            let (mut locks, mut run, mut last) = (Locks::default(), 0.0, Instant::now());
            while !stopped.is_cancelled() {
                let query = sqlx::query_as::<_, (bool, bool)>(sqlx::AssertSqlSafe(look.clone()));
                let (held, waits) = query.fetch_one(&mut conn).await?;
                let passed = last.elapsed().as_secs_f64();
                last = Instant::now();
                run = if held { run + passed } else { 0.0 };
                locks.held += if held { passed } else { 0.0 };
                locks.waited += if waits { passed } else { 0.0 };
                locks.longest = locks.longest.max(run);
            }
            Ok(locks)
        });
        Ok(Self { stop, watching })
    }

    async fn end(self) -> anyhow::Result<Locks> {
        self.stop.cancel();
        self.watching.await?
    }
}
