//! The sections. A doc comment here is what operators read in `.env.sample`.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::Args;
use domain::{http_url::HttpUrl, plan::Plan, sealed::SealingKeys, session::SessionKeys};
use jobs::job::Queue;
use secrecy::SecretString;

use super::rule;

/// Where the rows are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Database")]
pub struct Database {
    /// Postgres, as postgres://user:password@host:5432/name. May lead through pgbouncer in transaction mode.
    /// `inkfleet dev` brings its own database when this is not set.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = rule::postgres_url)]
    pub url: Option<SecretString>,
    /// The same database without pgbouncer, for LISTEN and session locks; DATABASE_URL where this is not set.
    #[arg(long, env = "DATABASE_DIRECT_URL", hide_env_values = true, value_parser = rule::postgres_url)]
    pub direct_url: Option<SecretString>,
    /// How many connections one process keeps at most.
    #[arg(long, env = "DATABASE_POOL_SIZE", default_value = "16", value_parser = rule::whole::<u32, 2, 1000>)]
    pub pool_size: u32,
}

impl Database {
    /// The address for LISTEN and session locks.
    pub fn direct_url(&self) -> Option<&SecretString> {
        self.direct_url.as_ref().or(self.url.as_ref())
    }
}

/// Where the API listens.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "HTTP")]
pub struct Http {
    /// The TCP port; 0 takes any free one.
    #[arg(long, env = "PORT", default_value = "8080", value_parser = rule::whole::<u16, 0, 65535>)]
    pub port: u16,
    /// The address to listen on (127.0.0.1 in `inkfleet dev`).
    #[arg(long, env = "BIND", default_value = "0.0.0.0", value_parser = rule::ip_address)]
    pub bind: IpAddr,
    /// How people reach this installation, such as https://fleet.example; for links in mails.
    #[arg(long, env = "INKFLEET_PUBLIC_URL", value_parser = rule::http_url)]
    pub public_url: Option<HttpUrl>,
    /// The short domain, such as https://ink.example, whose requests reach this program too: links and codes are
    /// https://ink.example/code then, and INKFLEET_PUBLIC_URL must be another host. Without it they are at /r/code of that.
    #[arg(long, env = "INKFLEET_SHORT_URL", value_parser = rule::http_url)]
    pub short_url: Option<HttpUrl>,
    /// The header in which the proxy in front tells a visitor's address, such as x-forwarded-for (of several, the last
    /// counts) or cf-connecting-ip. Set it only where every request comes through that proxy.
    #[arg(long, env = "INKFLEET_ADDRESS_HEADER", value_parser = rule::header_name)]
    pub address_header: Option<String>,
}

/// Where visitors of codes are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Places")]
pub struct Places {
    /// The header in which the proxy in front tells a visitor's country, such as cf-ipcountry. Set it only where every
    /// request comes through that proxy.
    #[arg(long, env = "INKFLEET_COUNTRY_HEADER", value_parser = rule::header_name)]
    pub country_header: Option<String>,
    /// The header in which it tells the region (CA or US-CA), such as cf-region-code.
    #[arg(long, env = "INKFLEET_REGION_HEADER", value_parser = rule::header_name)]
    pub region_header: Option<String>,
    /// A database of addresses (MaxMind DB, countries or cities), such as GeoLite2-City.mmdb, for what no header tells.
    /// Read at the start.
    #[arg(long, env = "INKFLEET_PLACES_FILE")]
    pub places_file: Option<PathBuf>,
}

impl Http {
    /// What to listen on.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }

    /// The address for people, without a slash at its end; `listening` (the port may have been 0) where none is set.
    pub fn public_url(&self, listening: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None if listening.ip().is_unspecified() => format!("http://localhost:{}", listening.port()),
            None => format!("http://{listening}"),
        }
    }

    /// Where codes are reached, without a slash at its end, and the host of the short domain if there is one.
    pub fn short(&self, public_url: &str) -> (String, Option<String>) {
        match &self.short_url {
            None => (format!("{public_url}/r"), None),
            Some(url) => {
                let text = url.as_str().trim_end_matches('/').to_owned();
                let host = text.split_once("://").map_or(text.as_str(), |(_, host)| host).to_ascii_lowercase();
                (text, Some(host))
            }
        }
    }
}

/// Keys and sessions.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Security")]
pub struct Security {
    /// Seals what must be read back, such as webhook secrets: 32 random bytes in base64 (`openssl rand -base64 32`).
    /// To rotate, id:base64 separated by commas: the first seals, all open. `inkfleet dev` makes its own.
    #[arg(long, env = "INKFLEET_SECRET_KEY", hide_env_values = true, value_parser = rule::sealing_keys)]
    pub secret_key: Option<SealingKeys>,
    /// Where the session issuer publishes its keys, such as https://clerk.example/.well-known/jwks.json.
    /// Set this or one of the two below.
    #[arg(long, env = "INKFLEET_SESSION_JWKS_URL", value_parser = rule::http_url)]
    pub session_jwks_url: Option<HttpUrl>,
    /// The session issuer's RSA public key as PEM; line ends may be written as \n.
    #[arg(long, env = "INKFLEET_SESSION_PUBLIC_KEY", value_parser = rule::public_key)]
    pub session_public_key: Option<SessionKeys>,
    /// An RSA private key as PEM with which this program issues sessions itself, for development and small
    /// installations; line ends may be written as \n.
    #[arg(long, env = "INKFLEET_SESSION_SIGNING_KEY", hide_env_values = true, value_parser = rule::private_key)]
    pub session_signing_key: Option<SecretString>,
    /// The `iss` that session tokens must name; needed with INKFLEET_SESSION_JWKS_URL.
    #[arg(long, env = "INKFLEET_SESSION_ISSUER", value_parser = rule::text)]
    pub session_issuer: Option<String>,
    /// The origins (`azp`) that sessions may be made for, such as https://app.example, separated by commas; empty
    /// takes any.
    #[arg(long, env = "INKFLEET_SESSION_AUTHORIZED_PARTIES", value_delimiter = ',', value_parser = rule::origin)]
    pub session_authorized_parties: Vec<String>,
}

/// Outgoing webhooks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Webhooks")]
pub struct Webhooks {
    /// Whether receivers may have loopback and private addresses (true in `inkfleet dev`).
    #[arg(
        long, env = "INKFLEET_ALLOW_PRIVATE_TARGETS",
        default_value = "false", action = clap::ArgAction::Set, value_parser = rule::switch
    )]
    pub allow_private_targets: bool,
    /// Whether receivers may be reached by plain http:// (true in `inkfleet dev`).
    #[arg(
        long, env = "INKFLEET_ALLOW_HTTP_TARGETS",
        default_value = "false", action = clap::ArgAction::Set, value_parser = rule::switch
    )]
    pub allow_http_targets: bool,
    /// How many requests to one endpoint may be under way in one process.
    #[arg(
        long, env = "INKFLEET_ENDPOINT_CONCURRENCY",
        default_value = "32", value_parser = rule::whole::<usize, 1, 10_000>
    )]
    pub endpoint_concurrency: usize,
    /// How many days events, deliveries and attempts are kept.
    #[arg(long, env = "INKFLEET_RETENTION_DAYS", default_value = "30", value_parser = rule::whole::<u16, 4, 3650>)]
    pub retention_days: u16,
}

/// The fleet.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Workers")]
pub struct Workers {
    /// The queues that a worker process takes jobs from, separated by commas; empty takes all.
    #[arg(long, env = "INKFLEET_QUEUES", value_delimiter = ',', value_parser = rule::queue)]
    pub queues: Vec<Queue>,
    /// How many jobs of each queue one process runs at a time.
    #[arg(long, env = "INKFLEET_CONCURRENCY", default_value = "256", value_parser = rule::whole::<usize, 1, 10_000>)]
    pub concurrency: usize,
    /// Where a worker process answers /healthz, /readyz and /metrics, such as 0.0.0.0:9100; nowhere where this is not set.
    #[arg(long, env = "INKFLEET_WORKER_PROBES", value_parser = rule::socket_address)]
    pub probes: Option<SocketAddr>,
    /// How many seconds running jobs have to end after SIGTERM; requests have ten.
    #[arg(long, env = "INKFLEET_GRACE_SECONDS", default_value = "25", value_parser = rule::whole::<u64, 0, 3600>)]
    pub grace_seconds: u64,
}

/// Outgoing mail.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Mail")]
pub struct Mail {
    /// A mail server, as smtps://user:password@host or smtp://user:password@host:587?tls=required.
    /// Set this or RESEND_API_KEY; with neither, mails stay in the mailbox table.
    #[arg(long, env = "SMTP_URL", hide_env_values = true, value_parser = rule::smtp_url)]
    pub smtp_url: Option<SecretString>,
    /// A key of Resend's HTTP API.
    #[arg(long, env = "RESEND_API_KEY", hide_env_values = true, value_parser = rule::secret)]
    pub resend_api_key: Option<SecretString>,
    /// Where Resend's API is.
    #[arg(long, env = "RESEND_BASE_URL", default_value = "https://api.resend.com", value_parser = rule::http_url)]
    pub resend_base_url: HttpUrl,
    /// The sender, as "Inkfleet <fleet@example.com>" or the bare address; needed with either transport.
    #[arg(long, env = "MAIL_FROM", value_parser = rule::sender)]
    pub mail_from: Option<String>,
}

/// Scheduled work.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Scheduled work")]
pub struct Cron {
    /// What a scheduler outside must know to ask for scheduled work (`/api/cron/…`), 16 to 255 characters without blanks.
    /// Without it those routes answer 503, and in `inkfleet dev` they take anybody.
    #[arg(long, env = "CRON_SECRET", hide_env_values = true, value_parser = rule::cron_secret)]
    pub secret: Option<SecretString>,
    /// Whether those routes take anybody where no secret is set.
    #[arg(skip)]
    pub open: bool,
    /// Whether worker processes tick by themselves. Safe beside an outside scheduler: a slot makes one job.
    #[arg(
        long, env = "INKFLEET_SCHEDULER",
        default_value = "true", action = clap::ArgAction::Set, value_parser = rule::switch
    )]
    pub scheduler: bool,
}

/// What organisations pay, as Stripe says.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Billing")]
pub struct Billing {
    /// A key of Stripe's API. It only ever reads: a restricted key that reads customers, subscriptions, invoices, invoice
    /// payments and charges is enough. Without it plans are what operators set.
    #[arg(long, env = "STRIPE_SECRET_KEY", hide_env_values = true, value_parser = rule::secret)]
    pub stripe_secret_key: Option<SecretString>,
    /// The signing secret (whsec_…) of the webhook endpoint at Stripe that leads to /api/webhooks/stripe, which answers
    /// 503 without it.
    #[arg(long, env = "STRIPE_WEBHOOK_SECRET", hide_env_values = true, value_parser = rule::secret)]
    pub stripe_webhook_secret: Option<SecretString>,
    /// Where Stripe's API is.
    #[arg(long, env = "STRIPE_BASE_URL", default_value = "https://api.stripe.com", value_parser = rule::api_url)]
    pub stripe_base_url: HttpUrl,
    /// Which price at Stripe is which plan: price_a=pro,price_b=business. The same plan may have several prices.
    #[arg(long, env = "INKFLEET_STRIPE_PRICES", value_delimiter = ',', value_parser = rule::price)]
    pub stripe_prices: Vec<(String, Plan)>,
}

/// What one key may ask for.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Requests per second of one API key or session, in the long run.
    #[arg(
        long, env = "INKFLEET_RATE_LIMIT_PER_SECOND",
        default_value = "1000", value_parser = rule::whole::<u32, 1, 1_000_000>
    )]
    pub rate_limit_per_second: u32,
    /// Requests that one API key or session may make at once.
    #[arg(
        long, env = "INKFLEET_RATE_LIMIT_BURST",
        default_value = "2000", value_parser = rule::whole::<u32, 1, 1_000_000>
    )]
    pub rate_limit_burst: u32,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Logs and traces.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs and traces")]
pub struct Log {
    /// What is logged: error, warn, info, debug or trace, or by module, as info,workers=debug.
    #[arg(long, env = "INKFLEET_LOG", default_value = "info,apalis_core=warn,poem=warn,sqlx=warn", value_parser = rule::log_filter)]
    pub filter: String,
    /// text for people, json for machines.
    #[arg(long, env = "INKFLEET_LOG_FORMAT", default_value = "text", value_parser = rule::log_format)]
    pub format: LogFormat,
    /// Where an OpenTelemetry collector takes traces by HTTP, such as http://localhost:4318.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = rule::http_url)]
    pub otel_exporter_otlp_endpoint: Option<HttpUrl>,
}
