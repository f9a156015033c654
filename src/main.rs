//! The program: one file to copy, one word to choose.

use clap::{Parser, Subcommand};
use domain::clock::Clock;
use inkfleet::{
    admin::{self, AdminCommand},
    config::{Purpose, Settings},
    dev::{self, DevArgs, both},
    listen::{self, ListenArgs},
    migrate,
    program::{Parts, Server, stop_signal},
    telemetry::{self, Traces},
    turn,
};
use jobs::job::Queue;
use secrecy::ExposeSecret;
use workers::fleet;

/// What is noted of a redirect is made by one thread and given back by another, a hundred thousand times a second: with the
/// system's allocator that was half of the time of storing visits.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Webhooks, links, codes and scheduled work: one program and one Postgres.
#[derive(Debug, Parser)]
#[command(version, about, after_help = "Settings come from the environment: `inkfleet settings` lists them.")]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API, on BIND and PORT.
    Serve,
    /// Run the workers.
    Work {
        /// Only these queues (deliveries, mail, system), separated by commas; INKFLEET_QUEUES if not given.
        #[arg(long, value_delimiter = ',', value_parser = queue)]
        queues: Vec<Queue>,
        /// Jobs at a time and per queue; INKFLEET_CONCURRENCY if not given.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=10_000))]
        concurrency: Option<u16>,
    },
    /// Bring the schema up to date.
    Migrate,
    /// Run everything in one process, with a database of its own and a demo organisation.
    Dev(DevArgs),
    /// Receive webhooks, print them and verify their signatures, in any dialect.
    Listen(ListenArgs),
    /// Print the OpenAPI file.
    Openapi,
    /// Print .env.sample: every setting, with what it means and its default.
    Settings,
    /// Organisations, people, keys, sessions, jobs and mails.
    #[command(subcommand)]
    Admin(AdminCommand),
}

fn queue(name: &str) -> Result<Queue, String> {
    let names: Vec<&str> = Queue::ALL.into_iter().map(Queue::name).collect();
    Queue::by_name(name).ok_or_else(|| format!("must be one of {}", names.join(", ")))
}

fn main() -> std::process::ExitCode {
    let program = Program::parse();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if matches!(program.command, Command::Serve) {
        runtime.on_thread_start(turn::shorten);
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(run(program.command)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> std::process::ExitCode {
    eprintln!("inkfleet: {error:#}");
    std::process::ExitCode::FAILURE
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve => serve().await,
        Command::Work { queues, concurrency } => work(queues, concurrency).await,
        Command::Migrate => {
            let settings = Settings::from_env(Purpose::Administer)?;
            let _traces = telemetry::log(&settings.log)?;
            let url = settings.database.direct_url().expect("the settings were checked for a database");
            migrate::run(url.expose_secret(), Clock::system().now()).await?;
            tracing::info!("the schema is up to date");
            Ok(())
        }
        Command::Dev(args) => dev::run(args).await,
        Command::Listen(args) => {
            let stop = stop_signal();
            Ok(listen::run(args, async move { stop.cancelled().await }).await?)
        }
        Command::Openapi => {
            print(&api::openapi_yaml());
            Ok(())
        }
        Command::Settings => {
            print(&inkfleet::config::env_sample());
            Ok(())
        }
        Command::Admin(command) => admin::run(command).await,
    }
}

/// A text on standard output. A reader that has seen enough (`| head`) is no error.
fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

async fn serve() -> anyhow::Result<()> {
    let (settings, _traces) = start(Purpose::Serve)?;
    let stop = stop_signal();
    let Some(parts) = stop.run_until_cancelled(Parts::new(settings, telemetry::metrics())).await else {
        return Ok(());
    };
    let parts = parts?;
    let server = Server::bind("PORT", parts.settings.http.address()).await?;
    let app = parts.app(parts.settings.http.public_url(server.address))?;
    parts.listen(&app)?;
    tracing::info!(address = %server.address, "serving");
    server.run_api(app, stop).await
}

async fn work(queues: Vec<Queue>, concurrency: Option<u16>) -> anyhow::Result<()> {
    let (mut settings, _traces) = start(Purpose::Work)?;
    if !queues.is_empty() {
        settings.workers.queues = queues;
    }
    if let Some(concurrency) = concurrency {
        settings.workers.concurrency = usize::from(concurrency);
    }
    let stop = stop_signal();
    let Some(parts) = stop.run_until_cancelled(Parts::new(settings, telemetry::metrics())).await else {
        return Ok(());
    };
    let parts = parts?;
    let options = parts.fleet_options()?;
    let queues: Vec<&str> = options.queues.iter().map(|queue| queue.name()).collect();
    tracing::info!(worker.name = options.name, ?queues, concurrency = options.concurrency, "working");
    let public_url = parts.settings.http.public_url(parts.settings.http.address());
    let fleet = fleet::run(parts.context(public_url.clone())?, options, stop.clone());
    match parts.settings.workers.probes {
        None => fleet.await,
        Some(address) => {
            let server = Server::bind("INKFLEET_WORKER_PROBES", address).await?;
            tracing::info!(address = %server.address, "probes answer");
            let probes = server.run(api::probe_routes(parts.app(public_url)?), stop.clone());
            both(fleet, probes, &stop).await
        }
    }
}

fn start(purpose: Purpose) -> anyhow::Result<(Settings, Traces)> {
    let settings = Settings::from_env(purpose)?;
    let traces = telemetry::log(&settings.log)?;
    for warning in settings.warnings(purpose) {
        tracing::warn!("{warning}");
    }
    Ok((settings, traces))
}
