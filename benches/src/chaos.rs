//! Rounds of faults under load, and a ledger of what was promised: `bin/chaos`.
//!
//! Each round publishes events to an installation of several processes while faults chosen by the round's seed happen to
//! it, lets everything come to its end, and compares what publishers were told, what receivers got and what the database
//! holds. The promises are those of `docs/reliability.md`. Everything stays on loopback.

mod cast;
mod database;
mod evidence;
mod fault;
mod fleet;
mod ledger;
mod proxy;
mod publisher;
mod receiver;
mod round;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use domain::{chance::Chance, clock::Clock};
use tokio::time::Instant;

use self::{database::Database, round::Stage};
use crate::program::Program;

/// The database with the cast and no event, which every round copies.
const TEMPLATE: &str = "prepared";

/// What was asked for.
struct Asked {
    rounds: usize,
    events: usize,
    seed: Option<u64>,
    only: Option<String>,
}

impl Asked {
    fn read(words: &[String]) -> anyhow::Result<Self> {
        let mut asked = Self { rounds: 200, events: 10_000, seed: None, only: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().with_context(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--rounds" => asked.rounds = value.parse().context("--rounds")?,
                "--events" => asked.events = value.parse().context("--events")?,
                "--seed" => asked.seed = Some(value.parse().context("--seed")?),
                "--only" => asked.only = Some(value.clone()),
                other => {
                    bail!("{other} is not known: bin/chaos [--rounds 200] [--events 10000] [--seed N] [--only FAULT]")
                }
            }
        }
        Ok(asked)
    }
}

/// Runs the rounds; the first broken promise ends them.
pub async fn run(words: &[String]) -> anyhow::Result<()> {
    let asked = Asked::read(words)?;
    #[expect(clippy::disallowed_methods, reason = "bin/chaos names the library")]
    let faketime = std::env::var("CHAOS_FAKETIME").context("CHAOS_FAKETIME must name libfaketime: use bin/chaos")?;
    let mut database = Database::start(faketime.into()).await?;
    let clock = Clock::system();
    let program = program(&database)?;
    let (keys, endpoints) = prepare(&database, &program, &clock).await?;
    let stage = Stage { program, clock, keys, endpoints, only: asked.only };

    let first = asked.seed.unwrap_or_else(|| u64::from_le_bytes(Chance::system().bytes()) % 1_000_000);
    let started = Instant::now();
    for n in 0..asked.rounds {
        let seed = first + n as u64;
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/chaos").join(seed.to_string());
        let begun = Instant::now();
        println!("round {} of {}: seed {seed}", n + 1, asked.rounds);
        match round::play(&stage, &mut database, seed, asked.events, &dir).await {
            Ok(line) => {
                println!("  {line}; {:.1} s", begun.elapsed().as_secs_f64());
                std::fs::remove_dir_all(&dir)?;
            }
            Err(error) => {
                println!("  BROKEN after {:.1} s: {error:#}", begun.elapsed().as_secs_f64());
                println!("  logs, requests and the database's rows are in target/chaos/{seed}");
                bail!("seed {seed} broke a promise");
            }
        }
    }
    let took = Duration::from_secs(started.elapsed().as_secs());
    println!("{} rounds of {} events passed in {took:?}", asked.rounds, asked.events);
    Ok(())
}

/// What all processes have in common.
fn program(database: &Database) -> anyhow::Result<Program> {
    Ok(Program::new(&database.url(database.port, TEMPLATE))?
        .with("INKFLEET_LOG", "info,apalis_core=warn,poem=warn,sqlx=warn")
        .with("DATABASE_POOL_SIZE", 8)
        // Longer than any dialect's time-out, so that a stop repeats nothing.
        .with("INKFLEET_GRACE_SECONDS", 12))
}

/// Makes the template: the schema, the organisations and their endpoints.
async fn prepare(
    database: &Database,
    program: &Program,
    clock: &Clock,
) -> anyhow::Result<(Vec<crate::program::Keys>, Vec<cast::Endpoint>)> {
    database.copy("template0", TEMPLATE).await?;
    program.clone().with("INKFLEET_LOG", "error").run(&["migrate"]).await?;
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let mut web = program.clone().with("INKFLEET_LOG", "error").serve(port).await?;
    let cast = cast::make(program, &format!("http://127.0.0.1:{port}"), clock).await?;
    web.stop().await?;
    Ok(cast)
}
