//! What every handler may use.

use std::sync::Arc;

use domain::{address::Guard, chance::Chance, clock::Clock, event::NewEvent, sealed::SealingKeys};
use jobs::{batch::Batcher, event::Published, store::Store};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;

use crate::{
    auth::Sessions,
    public,
    rate::Limiter,
    redirect::{Places, Routes, Tries, Visits, access},
};

/// The API's tools. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The database and its bell.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    /// Refuses targets inside private networks.
    pub guard: Guard,
    /// Seals secrets.
    pub sealing: Arc<SealingKeys>,
    /// Verifies sessions.
    pub sessions: Sessions,
    /// Limits requests per key.
    pub limiter: Arc<Limiter>,
    /// Publishes events, many callers to a transaction.
    pub intake: Batcher<(Vec<NewEvent>, Option<String>), Vec<Published>>,
    /// Where codes lead.
    pub routes: Routes,
    /// Where visitors are.
    pub places: Arc<Places>,
    /// Takes notes of visits.
    pub visits: Visits,
    /// Who tries passwords of codes.
    pub tries: Arc<Tries>,
    /// Who tells conversions.
    pub tellers: Arc<Tries>,
    /// Renders the metrics.
    pub metrics: Option<PrometheusHandle>,
    /// What the operator set.
    pub settings: Arc<Settings>,
}

/// What the operator set, as far as the API needs it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where this installation is reached, without a trailing slash.
    pub public_url: String,
    /// Where codes are reached, without a trailing slash.
    pub short_url: String,
    /// The host of the short domain, where it is another than the API's: codes stand there right behind the slash.
    pub short_host: Option<String>,
    /// The header in which a proxy tells the visitor's address, where one is in front.
    pub address_header: Option<String>,
    /// Whether endpoints may be plain http (development).
    pub allow_http_targets: bool,
    /// Who may ask for scheduled work.
    pub cron: crate::cron::Access,
    /// What Stripe signs its webhooks with.
    pub stripe_webhook_secret: Option<SecretString>,
    /// Whether developers may look at mails (`/dev/…`).
    pub development: bool,
    /// Requests per second and key.
    pub rate_per_second: u32,
    /// Requests that a key may make at once.
    pub rate_burst: u32,
}

impl App {
    /// The tools of an API over `store`.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        store: Store,
        clock: Clock,
        chance: Chance,
        guard: Guard,
        sealing: SealingKeys,
        sessions: Sessions,
        places: Places,
        metrics: Option<PrometheusHandle>,
        settings: Settings,
    ) -> Self {
        let places = Arc::new(places);
        Self {
            intake: crate::intake::batcher(store.clone(), clock.clone(), chance.clone()),
            limiter: Arc::new(Limiter::new(settings.rate_per_second, settings.rate_burst)),
            routes: Routes::new(store.pool().clone()),
            tries: Arc::new(Tries::per_minute(access::TRIES)),
            tellers: Arc::new(Tries::per_minute(public::TELLS)),
            visits: Visits::start(store.clone(), places.clone(), clock.clone(), chance.clone()),
            places,
            store,
            clock,
            chance,
            guard,
            sealing: Arc::new(sealing),
            sessions,
            metrics,
            settings: Arc::new(settings),
        }
    }
}

impl App {
    /// Whether a name, in lower case, is a host of the installation itself.
    pub fn is_own_host(&self, name: &str) -> bool {
        let Settings { public_url, short_url, short_host, .. } = &*self.settings;
        let hosts = [public_url, short_url].map(|url| Some(url::Url::parse(url).ok()?.host_str()?.to_owned()));
        hosts.into_iter().flatten().any(|host| host == name) || short_host.as_deref() == Some(name)
    }

    /// Where a code of a domain is reached; of the installation's own, which is the empty text, too.
    pub fn short_url(&self, domain: &str, code: &str) -> String {
        domain::code::address(&self.settings.short_url, domain, code)
    }

    /// An app that only lends its types to the OpenAPI document: its database is never asked.
    pub(crate) fn for_document() -> Self {
        let chance = Chance::seeded(0);
        let nowhere = sqlx::postgres::PgConnectOptions::new_without_pgpass();
        let settings = Settings {
            public_url: String::new(),
            short_url: String::new(),
            short_host: None,
            address_header: None,
            allow_http_targets: false,
            cron: crate::cron::Access::Nobody,
            stripe_webhook_secret: None,
            development: false,
            rate_per_second: 1,
            rate_burst: 1,
        };
        Self::new(
            Store::new(sqlx::postgres::PgPoolOptions::new().connect_lazy_with(nowhere)),
            Clock::fixed(chrono::DateTime::UNIX_EPOCH),
            chance.clone(),
            Guard::new(domain::address::Policy::default(), Arc::new(domain::address::SystemResolver)),
            SealingKeys::parse(&SealingKeys::generate(&chance)).expect("a generated key is a key"),
            Sessions::new(None, None, vec![]),
            Places::default(),
            None,
            settings,
        )
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("settings", &self.settings).finish_non_exhaustive()
    }
}
