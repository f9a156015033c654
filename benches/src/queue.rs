//! The queue beside its peers, all on the same database server, one after the other, in several rounds.
//!
//! Every system is a program behind one command line (`benches/peers/README.md`); ours is `benches ours`. Each gets an
//! empty database per round. Medians of the rounds are printed, and ratios to the best peer.

pub mod growth;
pub mod ours;
pub mod scale;

use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::{
    program::{Postgres, tree_cpu_s},
    report::{median, section},
    words::Words,
};

/// Ours first, as the table shows them.
const SYSTEMS: [&str; 6] =
    ["inkfleet", "graphile_worker", "graphile-worker", "pg-boss", "apalis-postgres", "apalis-postgres-tuned"];
/// As it comes it finishes some hundred jobs per second of a large table, so it gets fewer.
const SLOW: (&str, usize) = ("apalis-postgres", 10_000);

/// A figure: its name, its unit, whether more is better, and how many times the best peer ours is to reach.
struct Figure {
    name: &'static str,
    title: &'static str,
    more_is_better: bool,
}

const FIGURES: [Figure; 12] = [
    Figure {
        name: "enqueue-1",
        title: "enqueued in the caller's transaction, 1 caller, per second",
        more_is_better: true,
    },
    Figure { name: "enqueue-8", title: "… 8 callers", more_is_better: true },
    Figure { name: "enqueue-32", title: "… 32 callers", more_is_better: true },
    Figure { name: "bulk", title: "enqueued in bulk (1,000 at a time), per second", more_is_better: true },
    Figure { name: "process", title: "no-op jobs processed, one process, per second", more_is_better: true },
    Figure { name: "process-postgres", title: "… CPU of Postgres per job, µs", more_is_better: false },
    Figure { name: "process-worker", title: "… CPU of the worker per job, µs", more_is_better: false },
    Figure { name: "idle-p50", title: "enqueue to start, idle queue, p50, ms", more_is_better: false },
    Figure { name: "idle-p99", title: "… p99, ms", more_is_better: false },
    Figure { name: "paced-p50", title: "enqueue to start, 1,000 jobs per second, p50, ms", more_is_better: false },
    Figure { name: "paced-p99", title: "… p99, ms", more_is_better: false },
    Figure { name: "paced-postgres", title: "… Postgres, cores", more_is_better: false },
];

/// A system under test and the server that it runs on.
pub struct System<'a> {
    name: &'static str,
    postgres: &'a Postgres,
    database: String,
}

impl<'a> System<'a> {
    /// A system in an empty database of its own.
    pub async fn new(name: &'static str, postgres: &'a Postgres) -> anyhow::Result<Self> {
        let database = format!("bench_{}", name.replace('-', "_"));
        let mut conn = postgres.connect().await?;
        for statement in
            [format!("drop database if exists {database} with (force)"), format!("create database {database}")]
        {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut conn).await?;
        }
        let system = Self { name, postgres, database };
        system.run(&["setup"]).await?;
        Ok(system)
    }

    /// Its database.
    pub fn url(&self) -> String {
        self.postgres.url_of(&self.database)
    }

    /// Runs one scenario to its end.
    pub async fn run(&self, words: &[&str]) -> anyhow::Result<Value> {
        let mut command = if self.name == SYSTEMS[0] {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("ours");
            command
        } else {
            let mut command = Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers/run"));
            command.arg(self.name);
            command
        };
        command.args(words).args(["--url", &self.url()]).stderr(Stdio::inherit()).kill_on_drop(true);
        let out = command.output().await?;
        ensure!(out.status.success(), "{} {} failed", self.name, words.join(" "));
        serde_json::from_slice(&out.stdout).with_context(|| format!("{} {}: no JSON", self.name, words.join(" ")))
    }

    /// Starts a worker of ours that runs until it is [ended](end).
    pub fn start_worker(&self) -> anyhow::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["ours", "worker", "--url", &self.url()]).kill_on_drop(true);
        Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
    }

    /// Waits until no job is left.
    pub async fn wait_until_empty(&self) -> anyhow::Result<()> {
        let mut conn = <sqlx::PgConnection as sqlx::Connection>::connect(&self.url()).await?;
        while sqlx::query_scalar("select exists (select from jobs)").fetch_one(&mut conn).await? {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Flushes what the scenario before has left to be written, so that nobody pays for another's.
    pub async fn checkpoint(&self) -> anyhow::Result<()> {
        let mut conn = <sqlx::PgConnection as sqlx::Connection>::connect(&self.url()).await?;
        sqlx::raw_sql("checkpoint").execute(&mut conn).await?;
        Ok(())
    }

    /// Runs a scenario and tells Postgres's CPU seconds as well.
    pub async fn measured(&self, words: &[&str]) -> anyhow::Result<(Value, f64)> {
        self.checkpoint().await?;
        let before = tree_cpu_s(self.postgres.pid()?)?;
        let answer = self.run(words).await?;
        Ok((answer, tree_cpu_s(self.postgres.pid()?)? - before))
    }
}

/// Ends a worker; how many runs it has started.
pub async fn end(mut worker: Child) -> anyhow::Result<usize> {
    drop(worker.stdin.take());
    let answer: Value = serde_json::from_slice(&worker.wait_with_output().await?.stdout)?;
    Ok(answer["started"].as_u64().context("started")? as usize)
}

type Figures = BTreeMap<&'static str, f64>;

async fn round(system: &System<'_>, count: usize, seconds: u32) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    let number = |value: &Value, name: &str| value[name].as_f64().with_context(|| format!("no {name} in {value}"));
    for (name, callers, jobs) in
        [("enqueue-1", "1", "3000"), ("enqueue-8", "8", "10000"), ("enqueue-32", "32", "16000")]
    {
        let answer = system.measured(&["enqueue", "--callers", callers, "--count", jobs]).await?.0;
        figures.insert(name, number(&answer, "per_second")?);
    }
    // An empty table again.
    let system = System::new(system.name, system.postgres).await?;
    let count = if system.name == SLOW.0 { SLOW.1 } else { count };
    let jobs = count.to_string();
    if system.name == SYSTEMS[0] {
        let bare = system.measured(&["bulk-bare", "--count", &jobs, "--chunk", "1000"]).await?.0;
        figures.insert("bulk-bare", number(&bare, "per_second")?);
        let mut conn = <sqlx::PgConnection as sqlx::Connection>::connect(&system.url()).await?;
        sqlx::raw_sql("truncate jobs").execute(&mut conn).await?;
    }
    let bulk = system.measured(&["bulk", "--count", &jobs, "--chunk", "1000"]).await?.0;
    figures.insert("bulk", number(&bulk, "per_second")?);
    let (process, cpu) = system.measured(&["process", "--count", &jobs]).await?;
    figures.insert("process", number(&process, "per_second")?);
    figures.insert("process-postgres", cpu * 1e6 / count as f64);
    figures.insert("process-worker", number(&process, "worker_cpu_s")? * 1e6 / count as f64);
    let idle = system.measured(&["latency", "--count", "300", "--gap-ms", "20"]).await?.0;
    figures.insert("idle-p50", number(&idle, "p50_ms")?);
    figures.insert("idle-p99", number(&idle, "p99_ms")?);
    let (paced, cpu) = system.measured(&["paced", "--rate", "1000", "--seconds", &seconds.to_string()]).await?;
    figures.insert("paced-p50", number(&paced, "p50_ms")?);
    figures.insert("paced-p99", number(&paced, "p99_ms")?);
    figures.insert("paced-postgres", cpu / f64::from(seconds));
    Ok(figures)
}

/// Runs the rounds and prints the table.
pub async fn run(words: &Words) -> anyhow::Result<()> {
    let (rounds, count, seconds) = (words.or("rounds", 3), words.or("count", 100_000), words.or("seconds", 10));
    let only: Option<String> = words.value("only");
    let systems: Vec<&str> = SYSTEMS
        .into_iter()
        .filter(|name| only.as_ref().is_none_or(|only| only.split(',').any(|o| o == *name)))
        .collect();
    let postgres = Postgres::start().await?;
    let mut all: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for n in 0..rounds {
        for turn in 0..systems.len() {
            // Each round begins with another, so that none always has the warm or the cold server.
            let name = systems[(turn + n) % systems.len()];
            eprintln!("round {} of {rounds}: {name}", n + 1);
            let system = System::new(name, &postgres).await?;
            for (figure, value) in round(&system, count, seconds).await? {
                all.entry((figure, name)).or_default().push(value);
            }
        }
    }
    let mut table =
        format!("| | {} | ratio to the best peer |\n|---|{}\n", systems.join(" | "), "---|".repeat(systems.len() + 1));
    for figure in FIGURES {
        let mut row: Vec<f64> = vec![];
        for name in &systems {
            row.push(all.get_mut(&(figure.name, *name)).map_or(f64::NAN, |values| median(values)));
        }
        let best = row[1..].iter().copied().reduce(if figure.more_is_better { f64::max } else { f64::min });
        let ratio = best.map_or(f64::NAN, |best| row[0] / best);
        let cells: Vec<String> = row.iter().map(|value| shown(*value)).collect();
        table.push_str(&format!("| {} | {} | {ratio:.2} |\n", figure.title, cells.join(" | ")));
    }
    let median_of = |figure| all.get(&(figure, SYSTEMS[0])).map_or(f64::NAN, |values| median(&mut values.clone()));
    let bare = median_of("bulk-bare");
    table.push_str(&format!(
        "\nA bare UNNEST insert of the same rows: {} per second; ours reaches {:.2} of it.\n",
        shown(bare),
        median_of("bulk") / bare
    ));
    section(
        "queue",
        &format!("{table}\nMedians of {rounds} rounds; {count} jobs processed ({} by apalis-postgres).", SLOW.1),
        words.has("write"),
    )
}

/// A figure as people read it.
pub fn shown(value: f64) -> String {
    match value {
        value if value >= 1000.0 => {
            let digits = format!("{value:.0}");
            let head = digits.len() % 3;
            let parts = digits.as_bytes()[head..].chunks(3).map(|part| String::from_utf8_lossy(part).into_owned());
            let first = (head > 0).then(|| digits[..head].to_owned());
            first.into_iter().chain(parts).collect::<Vec<_>>().join(",")
        }
        value if value >= 20.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}
