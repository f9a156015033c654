//! Runs one scenario of the queue benchmark on one Rust rival and prints one JSON object: see `../README.md`.

mod apalis;
mod graphile;
mod meter;
mod queue;
mod scenario;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::Value;

use crate::{apalis::Apalis, graphile::Graphile, queue::Queue, scenario::Options};

#[derive(Parser)]
struct Arguments {
    system: System,
    scenario: Scenario,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "verbatim")]
enum System {
    #[value(name = "graphile_worker")]
    Graphile,
    #[value(name = "apalis-postgres")]
    Apalis,
    #[value(name = "apalis-postgres-tuned")]
    ApalisTuned,
}

#[derive(Clone, Copy, ValueEnum)]
enum Scenario {
    Setup,
    Clear,
    Enqueue,
    EnqueueAlone,
    Bulk,
    Process,
    Latency,
    Paced,
}

#[tokio::main]
async fn main() -> ExitCode {
    match answer(Arguments::parse()).await {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn answer(Arguments { system, scenario, options }: Arguments) -> anyhow::Result<Value> {
    match system {
        System::Graphile => run(&Graphile::connect(&options).await?, scenario, &options).await,
        System::Apalis => run(&Apalis::connect(&options, false).await?, scenario, &options).await,
        System::ApalisTuned => run(&Apalis::connect(&options, true).await?, scenario, &options).await,
    }
}

async fn run(queue: &impl Queue, scenario: Scenario, options: &Options) -> anyhow::Result<Value> {
    match scenario {
        Scenario::Setup => scenario::setup(queue).await,
        Scenario::Clear => scenario::clear(queue).await,
        Scenario::Enqueue => scenario::enqueue(queue, options).await,
        Scenario::EnqueueAlone => scenario::enqueue_alone(queue, options).await,
        Scenario::Bulk => scenario::bulk(queue, options).await,
        Scenario::Process => scenario::process(queue, options).await,
        Scenario::Latency => scenario::latency(queue, options).await,
        Scenario::Paced => scenario::paced(queue, options).await,
    }
}
