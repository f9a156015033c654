//! `inkfleet admin`: what an operator does by hand. Answers are JSON on standard output, one object per line.

mod billing;
mod identity;
mod job;
mod oauth;

use clap::Subcommand;
use sqlx::PgPool;

use crate::config::{Purpose, Settings};

/// What an operator can do.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Create an organisation.
    CreateOrg(identity::CreateOrg),
    /// Put an organisation on another plan.
    SetPlan(identity::SetPlan),
    /// Say which customer at Stripe an organisation is; its plan follows the subscription from then on.
    BindCustomer(billing::BindCustomer),
    /// Create a person and make them a member of an organisation.
    CreateUser(identity::CreateUser),
    /// Create an API key; it is shown now and never again.
    CreateKey(identity::CreateKey),
    /// Sign a session token; needs INKFLEET_SESSION_SIGNING_KEY.
    CreateSession(identity::CreateSession),
    /// Register, list or end programs that members let in by OAuth, such as Canva.
    #[command(subcommand)]
    OauthClients(oauth::OauthCommand),
    /// List, show, retry, cancel or purge jobs.
    #[command(subcommand)]
    Jobs(job::JobCommand),
    /// Show what is scheduled: how each entry ran last, and when it is due next.
    Schedule,
    /// List the newest mails, sent or not: in development the mailbox.
    Mails(job::ListMails),
}

/// Runs one command.
pub async fn run(command: AdminCommand) -> anyhow::Result<()> {
    let settings = Settings::from_env(Purpose::Administer)?;
    let pool: PgPool = crate::program::pool(&settings).await?;
    let clock = domain::clock::Clock::system();
    clock.follow(&mut *pool.acquire().await?).await?;
    let store = jobs::store::Store::new(pool);
    match command {
        AdminCommand::CreateOrg(args) => args.run(&store, &clock).await,
        AdminCommand::SetPlan(args) => args.run(&store, &clock).await,
        AdminCommand::BindCustomer(args) => args.run(&store, &clock).await,
        AdminCommand::CreateUser(args) => args.run(&store, &clock).await,
        AdminCommand::CreateKey(args) => args.run(&store, &clock).await,
        AdminCommand::CreateSession(args) => args.run(&store, &clock, &settings).await,
        AdminCommand::OauthClients(command) => command.run(&store, &clock).await,
        AdminCommand::Jobs(command) => command.run(&store, &clock).await,
        AdminCommand::Schedule => job::schedule(&store, &clock).await,
        AdminCommand::Mails(args) => args.run(&store).await,
    }
}

/// One line on standard output. A reader that has seen enough (`| head`) is no error.
fn print(value: &serde_json::Value) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{value}");
}
