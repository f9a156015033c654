//! The program: one file to copy, one word to choose.

use clap::{Parser, Subcommand};
use domain::clock::Clock;
use inkfleet::{
    admin::{self, AdminCommand},
    config::{Purpose, Settings},
    dev::{self, DevArgs},
    listen::{self, ListenArgs},
    migrate,
    program::{Parts, Server, stop_signal},
    telemetry,
};
use jobs::job::Queue;
use secrecy::ExposeSecret;
use workers::fleet;

/// Webhooks, links, codes and scheduled work: one program and one Postgres.
///
/// Settings come from the environment; .env.sample lists them.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API.
    Serve,
    /// Run the workers.
    Work {
        /// Only these queues, separated by commas; INKFLEET_QUEUES if not given.
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
    /// Print a sample of all settings.
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
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
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
            telemetry::log(&settings.log);
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
            print!("{}", api::openapi_yaml());
            Ok(())
        }
        Command::Settings => {
            print!("{}", inkfleet::config::env_sample());
            Ok(())
        }
        Command::Admin(command) => admin::run(command).await,
    }
}

async fn serve() -> anyhow::Result<()> {
    let settings = start(Purpose::Serve)?;
    let parts = Parts::new(settings, telemetry::metrics()).await?;
    let server = Server::bind(parts.settings.http.address()).await?;
    let app = parts.app(parts.settings.http.public_url(server.address))?;
    tracing::info!(address = %server.address, "serving");
    server.run(app, stop_signal()).await
}

async fn work(queues: Vec<Queue>, concurrency: Option<u16>) -> anyhow::Result<()> {
    let mut settings = start(Purpose::Work)?;
    if !queues.is_empty() {
        settings.workers.queues = queues;
    }
    if let Some(concurrency) = concurrency {
        settings.workers.concurrency = usize::from(concurrency);
    }
    let parts = Parts::new(settings, telemetry::metrics()).await?;
    let options = parts.fleet_options()?;
    let queues: Vec<&str> = options.queues.iter().map(|queue| queue.name()).collect();
    tracing::info!(worker.name = options.name, ?queues, concurrency = options.concurrency, "working");
    let public_url = parts.settings.http.public_url(parts.settings.http.address());
    fleet::run(parts.context(public_url)?, options, stop_signal()).await
}

fn start(purpose: Purpose) -> anyhow::Result<Settings> {
    let settings = Settings::from_env(purpose)?;
    telemetry::log(&settings.log);
    for warning in settings.warnings(purpose) {
        tracing::warn!("{warning}");
    }
    Ok(settings)
}
