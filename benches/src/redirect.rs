//! Redirects: how many per second beside a bare handler that answers a constant 302, how long each takes at four fifths of
//! that, how soon an edit is seen by another process, and whether every redirect that was answered is a visit that was
//! counted, also when the worker is killed meanwhile.

mod load;
mod plain;
mod stats;

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::time::{Instant, sleep};

use self::load::{Answered, Load, Pace};
use crate::{
    program::{Keys, Postgres, Process, Program, client, cpu_s},
    report::{median, section},
};

const PORT: u16 = 18140;
const OTHER_PORT: u16 = 18141;
const PLAIN_PORT: u16 = 18142;
/// How many links there are.
const LINKS: usize = 100_000;
/// How long each measurement takes.
const SPAN: Duration = Duration::from_secs(10);
/// How many edits are timed.
const EDITS: usize = 50;

/// Four fifths of what every installation of two processors is to do, per second.
const STEADY: f64 = 16_000.0;

/// One round.
struct Round {
    plain: f64,
    ours: f64,
    /// At four fifths of `ours`: p50, p99, and the bare handler's at the same rate.
    paced: [f64; 2],
    plain_paced: [f64; 2],
    /// The same at [`STEADY`].
    steady: [f64; 2],
    plain_steady: [f64; 2],
    web_us: f64,
}

/// Measures them. `--rounds N` (3), `--write`; `stats` alone for the statistics, `plain PORT` is the bare handler.
pub async fn run(words: &[String]) -> anyhow::Result<()> {
    if let [first, port, ..] = words
        && first == "plain"
    {
        return plain::run(port.parse()?).await;
    }
    let value = |name: &str| words.iter().position(|word| word == name).and_then(|n| words.get(n + 1));
    let named = |name: &str| words.iter().any(|word| word == name);
    let mut text = String::new();
    if !named("stats") {
        text += &redirects(value("--rounds").map_or(Ok(3), |text| text.parse())?).await?;
    }
    if !named("redirects") {
        text += &stats::measure().await?;
    }
    section("redirects", &text, named("--write"))
}

async fn redirects(rounds: usize) -> anyhow::Result<String> {
    let postgres = Postgres::start().await?;
    let program = Program::new(&postgres.url())?.with("INKFLEET_ADDRESS_HEADER", "x-visitor");
    program.run(&["migrate"]).await?;
    let keys = program.organisation("bench").await?;
    let mut conn = postgres.connect().await?;
    make_links(&mut conn).await?;
    let web = program.serve(PORT).await?;
    let mut worker = program.work()?;
    let plain = plain::start(PLAIN_PORT).await?;
    let load = Load::new(LINKS);

    let mut answered = Answered::default();
    // Every process begins with no route: this is what a start costs, and is told apart.
    let cold = load.run(PORT, Pace::Full, SPAN / 3).await?;
    answered.add(&cold);
    let mut measured = vec![];
    for round in 0..rounds {
        let before = cpu_s(web.pid()?)?;
        let ours = load.run(PORT, Pace::Full, SPAN).await?;
        let web_us = (cpu_s(web.pid()?)? - before) * 1e6 / ours.redirects() as f64;
        let rate = ours.per_second(SPAN);
        let bare = load.run(PLAIN_PORT, Pace::Full, SPAN).await?;
        // What full speed left behind is not to be counted beside a steady load.
        answered.add(&ours);
        wait_until_counted(&mut conn, answered.redirects()).await?;
        let steady = load.run(PORT, Pace::PerSecond(STEADY), SPAN).await?;
        let plain_steady = load.run(PLAIN_PORT, Pace::PerSecond(STEADY), SPAN).await?;
        let pace = Pace::PerSecond(rate * 0.8);
        let killer = kill_after(&program, worker, SPAN / 2);
        let (paced, restarted) = tokio::join!(load.run(PORT, pace, SPAN), killer);
        worker = restarted?;
        let paced = paced?;
        let plain_paced = load.run(PLAIN_PORT, pace, SPAN).await?;
        eprintln!(
            "round {}: {rate:.0}/s, bare {:.0}/s, steady {:?}, paced {:?}",
            round + 1,
            bare.per_second(SPAN),
            steady.times(),
            paced.times()
        );
        measured.push(Round {
            plain: bare.per_second(SPAN),
            ours: rate,
            paced: paced.times(),
            plain_paced: plain_paced.times(),
            steady: steady.times(),
            plain_steady: plain_steady.times(),
            web_us,
        });
        answered.add(&steady);
        answered.add(&paced);
    }
    let counted = wait_until_counted(&mut conn, answered.redirects()).await?;
    drop(plain);
    let edits = edits(&program, &keys).await?;
    let of = |value: fn(&Round) -> f64| median(&mut measured.iter().map(value).collect::<Vec<_>>());
    let mut table = String::from("\n| | inkfleet | a bare poem handler | ratio |\n|---|---|---|---|\n");
    let mut row = |name: &str, ours: f64, plain: f64, digits: usize| {
        table += &format!("| {name} | {ours:.digits$} | {plain:.digits$} | {:.2} |\n", ours / plain);
    };
    row("redirects per second, 64 connections", of(|r| r.ours), of(|r| r.plain), 0);
    row("at 16,000 per second: p50, ms", of(|r| r.steady[0]), of(|r| r.plain_steady[0]), 2);
    row("… p99, ms", of(|r| r.steady[1]), of(|r| r.plain_steady[1]), 2);
    row("at 80 % of full speed: p50, ms", of(|r| r.paced[0]), of(|r| r.plain_paced[0]), 2);
    row("… p99, ms", of(|r| r.paced[1]), of(|r| r.plain_paced[1]), 2);
    table += &format!("| processor time of the web process per redirect, µs | {:.1} | | |\n", of(|r| r.web_us));
    table += &format!("| the first seconds after a start, per second | {:.0} | | |\n", cold.per_second(SPAN / 3));
    table += &format!(
        "| an edit is seen by another process, ms: p50, longest of {EDITS} | {:.1}, {:.1} | | |\n",
        edits.0, edits.1
    );
    table += &format!(
        "\n{} redirects were answered and {counted} visits counted, the worker killed with -9 and started anew once in each \
         round while the paced load ran. {LINKS} links, Zipf-distributed (exponent 1). Medians of {rounds} rounds of {} s; Postgres, \
         web, worker and the load share the two processors.\n",
        answered.redirects(),
        SPAN.as_secs(),
    );
    ensure!(counted == answered.redirects(), "{counted} visits for {} redirects", answered.redirects());
    Ok(table)
}

/// Links as the API makes them, but in one statement.
async fn make_links(conn: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "with l as (
           insert into links (id, org_id, domain, slug, destination, created_at, updated_at)
           select gen_random_uuid(), o.id, '', 'b' || n, 'https://shop.example/product/' || n || '?from=bench', now(), now()
           from generate_series(0, {LINKS} - 1) n, (select id from organizations where slug = 'bench') o
           returning id, org_id, slug)
         insert into codes (domain, code, org_id, kind, target_id) select '', slug, org_id, 1, id from l",
    )))
    .execute(&mut *conn)
    .await?;
    sqlx::raw_sql("vacuum analyze").execute(conn).await?;
    Ok(())
}

/// Kills the worker and starts another.
async fn kill_after(program: &Program, mut worker: Process, wait: Duration) -> anyhow::Result<Process> {
    sleep(wait).await;
    worker.0.kill().await?;
    program.work()
}

/// Waits until nothing is left to be counted; how many visits were.
async fn wait_until_counted(conn: &mut PgConnection, wanted: u64) -> anyhow::Result<u64> {
    let patience = Instant::now() + Duration::from_secs(180);
    loop {
        sleep(Duration::from_millis(500)).await;
        let query =
            "select coalesce(sum(visits + bots), 0)::bigint, (select count(*) from visit_batches) from visit_totals";
        let (counted, waiting): (i64, i64) = sqlx::query_as(query).fetch_one(&mut *conn).await?;
        if (waiting == 0 && counted.unsigned_abs() == wanted) || Instant::now() > patience {
            return Ok(counted.unsigned_abs());
        }
    }
}

/// How long after the answer to an edit another process leads elsewhere, in ms: the middle and the longest.
async fn edits(program: &Program, keys: &Keys) -> anyhow::Result<(f64, f64)> {
    let _other = program.serve(OTHER_PORT).await?;
    let http = client()?;
    let body = json!({"destination": "https://shop.example/0", "slug": "edited"});
    let url = format!("http://127.0.0.1:{PORT}/api/links");
    let made = http.post(&url).bearer_auth(&keys.session).json(&body).send().await?.error_for_status()?;
    let id = made.json::<Value>().await?["id"].as_str().context("an id")?.to_owned();
    let mut took = vec![];
    for n in 1..=EDITS {
        let destination = format!("https://shop.example/{n}");
        let change =
            http.patch(format!("{url}/{id}")).bearer_auth(&keys.session).json(&json!({"destination": destination}));
        change.send().await?.error_for_status()?;
        let changed = Instant::now();
        while load::location(OTHER_PORT, "edited").await? != destination {
            ensure!(changed.elapsed() < Duration::from_secs(70), "an edit was never seen");
        }
        took.push(changed.elapsed().as_secs_f64() * 1e3);
    }
    let longest = took.iter().copied().fold(0.0, f64::max);
    Ok((median(&mut took), longest))
}
