//! The parts put together: from settings to a running API and a running fleet.

use std::{net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use api::{App, app, auth::Sessions, cron::Access, redirect::Places};
use domain::{
    address::{Guard, Policy, SystemResolver},
    chance::Chance,
    clock::Clock,
    sealed::SealingKeys,
    session::{SessionIssuer, SessionKeys},
};
use jobs::{
    job::Queue,
    store::{LEFT_ALONE, Store, pool_options},
};
use metrics_exporter_prometheus::PrometheusHandle;
use poem::{
    Endpoint, Response,
    listener::{Acceptor, Listener, TcpListener},
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio_util::sync::CancellationToken;
use workers::{context, fleet, http::Client, mail::Mailer, stripe::Stripe};

use crate::config::Settings;

/// The issuer's name where the program is its own (development).
pub const OWN_ISSUER: &str = "inkfleet";

/// What the API and the fleet share: database, time, chance, keys and the address guard.
pub struct Parts {
    /// The settings.
    pub settings: Settings,
    /// The database and its bell.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    sealing: SealingKeys,
    guard: Guard,
    metrics: Option<PrometheusHandle>,
}

impl Parts {
    /// Connects to Postgres and takes over its time. The settings were checked for their purpose.
    pub async fn new(settings: Settings, metrics: Option<PrometheusHandle>) -> anyhow::Result<Self> {
        let pool = pool(&settings).await?;
        let clock = Clock::system();
        once_it_answers(&pool, async |conn| clock.follow(conn).await).await?;
        let policy = Policy { allow_private: settings.webhooks.allow_private_targets };
        Ok(Self {
            store: Store::new(pool),
            clock,
            chance: Chance::system(),
            sealing: settings.security.secret_key.clone().context("INKFLEET_SECRET_KEY must be set")?,
            guard: Guard::new(policy, Arc::new(SystemResolver)),
            metrics,
            settings,
        })
    }

    /// The API, as it is reached at `public_url`.
    pub fn app(&self, public_url: String) -> anyhow::Result<App> {
        let security = &self.settings.security;
        let own = security.session_signing_key.as_ref();
        let keys = match own {
            Some(pem) => Some(SessionKeys::from_jwks(&SessionIssuer::from_pem(pem, OWN_ISSUER, None)?.jwks())?),
            None => security.session_public_key.clone(),
        };
        let issuer = security.session_issuer.clone().or(own.map(|_| OWN_ISSUER.to_owned()));
        let sessions = Sessions::new(keys, issuer, security.session_authorized_parties.clone());
        let (short_url, short_host) = self.settings.http.short(&public_url);
        let settings = app::Settings {
            public_url,
            short_url,
            short_host,
            address_header: self.settings.http.address_header.clone(),
            allow_http_targets: self.settings.webhooks.allow_http_targets,
            cron: match (&self.settings.cron.secret, self.settings.cron.open) {
                (Some(secret), _) => Access::Secret(secret.clone()),
                (None, true) => Access::Anybody,
                (None, false) => Access::Nobody,
            },
            stripe_webhook_secret: self.settings.billing.stripe_webhook_secret.clone(),
            development: self.settings.cron.open,
            rate_per_second: self.settings.limits.rate_limit_per_second,
            rate_burst: self.settings.limits.rate_limit_burst,
        };
        Ok(App::new(
            self.store.clone(),
            self.clock.clone(),
            self.chance.clone(),
            self.guard.clone(),
            self.sealing.clone(),
            sessions,
            self.places()?,
            self.metrics.clone(),
            settings,
        ))
    }

    fn places(&self) -> anyhow::Result<Places> {
        let set = &self.settings.places;
        Places::new(set.country_header.clone(), set.region_header.clone(), set.places_file.as_deref())
            .context("INKFLEET_PLACES_FILE must be a MaxMind DB file that can be read")
    }

    /// Lets an API that redirects hear what other processes change.
    pub fn listen(&self, app: &App) -> anyhow::Result<()> {
        let direct = self.direct()?.application_name("inkfleet-routes");
        app.routes.listen(pool_options().max_connections(1).connect_lazy_with(direct));
        Ok(())
    }

    /// The fleet's tools.
    pub fn context(&self, public_url: String) -> anyhow::Result<context::Context> {
        let settings = context::Settings {
            endpoint_concurrency: self.settings.webhooks.endpoint_concurrency,
            allow_http_targets: self.settings.webhooks.allow_http_targets,
            retention_days: u32::from(self.settings.webhooks.retention_days),
            session_jwks_url: self.settings.security.session_jwks_url.as_ref().map(|url| url.as_str().to_owned()),
            short_url: self.settings.http.short(&public_url).0,
            stripe_prices: self.settings.billing.stripe_prices.iter().cloned().collect(),
            public_url,
        };
        let mut context = context::Context::new(
            self.store.clone(),
            fleet::pinned_pool(self.direct()?, 0),
            self.clock.clone(),
            self.chance.clone(),
            Client::new(self.guard.clone())?,
            self.sealing.clone(),
            self.mailer()?,
            settings,
        );
        context.stripe = self.stripe()?.map(Arc::new);
        Ok(context)
    }

    fn stripe(&self) -> anyhow::Result<Option<Stripe>> {
        let billing = &self.settings.billing;
        let key = billing.stripe_secret_key.as_ref();
        Ok(key.map(|key| Stripe::new(key, &billing.stripe_base_url)).transpose()?)
    }

    fn mailer(&self) -> anyhow::Result<Mailer> {
        let mail = &self.settings.mail;
        let sender = mail.mail_from.clone().unwrap_or_default();
        Ok(match (&mail.smtp_url, &mail.resend_api_key) {
            (Some(url), _) => Mailer::smtp(url, &sender)?,
            (_, Some(key)) => Mailer::resend(key, mail.resend_base_url.as_str(), &sender)?,
            _ => Mailer::Mailbox,
        })
    }

    /// How the fleet of this process works.
    pub fn fleet_options(&self) -> anyhow::Result<fleet::Options> {
        let workers = &self.settings.workers;
        Ok(fleet::Options {
            name: format!("{}:{}", host_name(), std::process::id()),
            queues: if workers.queues.is_empty() { Queue::ALL.to_vec() } else { workers.queues.clone() },
            concurrency: workers.concurrency,
            grace: Duration::from_secs(workers.grace_seconds),
            scheduler: self.settings.cron.scheduler,
            direct: self.direct()?,
        })
    }

    fn direct(&self) -> anyhow::Result<PgConnectOptions> {
        let url = self.settings.database.direct_url().context("DATABASE_URL must be set")?;
        let direct = PgConnectOptions::from_str(url.expose_secret())?.application_name("inkfleet-worker");
        Ok(direct.options(LEFT_ALONE))
    }
}

/// A pool over `DATABASE_URL`. Waits for a Postgres that is still starting, a minute at most.
pub async fn pool(settings: &Settings) -> anyhow::Result<PgPool> {
    let url: &SecretString = settings.database.url.as_ref().context("DATABASE_URL must be set")?;
    let options = PgConnectOptions::from_str(url.expose_secret())?.application_name("inkfleet");
    let pool = pool_options()
        .max_connections(settings.database.pool_size)
        .acquire_timeout(Duration::from_secs(3))
        .connect_lazy_with(options);
    once_it_answers(&pool, async |conn| conn.ping().await).await?;
    Ok(pool)
}

/// The answer to `question`, which may be asked again while Postgres is starting, a minute at most.
async fn once_it_answers<T>(
    pool: &PgPool,
    question: impl AsyncFn(&mut PgConnection) -> Result<T, sqlx::Error>,
) -> anyhow::Result<T> {
    let mut attempt = 1;
    loop {
        match async { question(&mut *pool.acquire().await?).await }.await {
            Ok(answer) => return Ok(answer),
            Err(error) if attempt == 20 => bail!("DATABASE_URL: Postgres does not answer: {error}"),
            Err(error) if attempt == 1 => tracing::warn!(%error, "Postgres does not answer yet; waiting for it"),
            Err(_) => {}
        }
        attempt += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/etc/hostname").map_or_else(|_| "worker".to_owned(), |name| name.trim().to_owned())
}

/// The API on an open port, not yet serving.
pub struct Server {
    acceptor: poem::listener::TcpAcceptor,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Opens the port of the setting `name`.
    pub async fn bind(name: &str, address: SocketAddr) -> anyhow::Result<Self> {
        let acceptor = TcpListener::bind(address).into_acceptor().await;
        let acceptor = acceptor.with_context(|| format!("{name}: cannot listen on {address}"))?;
        let local = acceptor.local_addr().first().and_then(|a| a.as_socket_addr().copied());
        Ok(Self { acceptor, address: local.unwrap_or(address) })
    }

    /// Serves the whole API until `stop`, and then stores the visits that it noted, in ten seconds at most.
    pub async fn run_api(self, app: App, stop: CancellationToken) -> anyhow::Result<()> {
        let visits = app.visits.clone();
        let served = self.run(api::routes(app), stop).await;
        if tokio::time::timeout(Duration::from_secs(10), visits.flush()).await.is_err() {
            tracing::warn!("visits of the last moments are lost: Postgres does not answer");
        }
        served
    }

    /// Serves `routes` until `stop`, then lets running requests end, ten seconds at most.
    pub async fn run(
        self,
        routes: impl Endpoint<Output = Response> + 'static,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let signal = async move { stop.cancelled().await };
        let server = poem::Server::new_with_acceptor(self.acceptor);
        Ok(server.run_with_graceful_shutdown(routes, signal, Some(Duration::from_secs(10))).await?)
    }
}

/// A token that is cancelled by the first SIGINT or SIGTERM from now on; the second ends the program at once.
pub fn stop_signal() -> CancellationToken {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let token = stop.clone();
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return stop;
    };
    tokio::spawn(async move {
        for last in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if last {
                std::process::exit(130);
            }
            tracing::info!("stopping; a second signal stops at once");
            token.cancel();
        }
    });
    stop
}
