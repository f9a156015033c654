//! What every handler may use.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use domain::{billing::Prices, chance::Chance, clock::Clock, sealed::SealingKeys};
use jobs::store::Store;
use sqlx::PgPool;

use crate::{delivery::Deliveries, dns::Dns, http::Client, mail::Mailer, stripe::Stripe};

/// The fleet's tools. One pointer: every run of a job has a clone.
#[derive(Debug, Clone)]
pub struct Context(Arc<Tools>);

/// What a [`Context`] leads to.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The database and its bell.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    /// Guarded outbound HTTP.
    pub http: Client,
    /// Looks up what names hold.
    pub dns: Dns,
    /// Opens sealed secrets.
    pub sealing: Arc<SealingKeys>,
    /// Sends mail.
    pub mailer: Arc<Mailer>,
    /// Reads the operator's account at Stripe, where there is one.
    pub stripe: Option<Arc<Stripe>>,
    /// Loads and records webhook attempts in batches.
    pub deliveries: Deliveries,
    /// What the operator set.
    pub settings: Arc<Settings>,
}

/// What the operator set, as far as handlers need it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Requests in flight to one endpoint, per process.
    pub endpoint_concurrency: usize,
    /// Whether endpoints may be plain http (development); asked again before each request.
    pub allow_http_targets: bool,
    /// How many days events, deliveries and attempts are kept.
    pub retention_days: u32,
    /// Where the session issuer publishes its keys.
    pub session_jwks_url: Option<String>,
    /// Where this installation is reached, for links in mails; without a trailing slash.
    pub public_url: String,
    /// Where codes are reached, without a trailing slash.
    pub short_url: String,
    /// Which of Stripe's prices is which plan.
    pub stripe_prices: Prices,
}

impl Context {
    /// A context over `store` that speaks HTTP through `http` and mail through `mailer`; `pinned` is a pool like
    /// [`crate::fleet::pinned_pool`], for what runs all the time.
    #[expect(clippy::too_many_arguments, reason = "each is a tool of its own, put together in one place")]
    pub fn new(
        store: Store,
        pinned: PgPool,
        clock: Clock,
        chance: Chance,
        http: Client,
        sealing: SealingKeys,
        mailer: Mailer,
        settings: Settings,
    ) -> Self {
        // For reqwest, which is built without a choice of its own; a second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let deliveries = Deliveries::start(store.clone(), pinned, clock.clone(), chance.clone(), &settings);
        Self(Arc::new(Tools {
            store,
            clock,
            chance,
            http,
            dns: Dns::default(),
            sealing: Arc::new(sealing),
            mailer: Arc::new(mailer),
            stripe: None,
            deliveries,
            settings: Arc::new(settings),
        }))
    }
}

impl Deref for Context {
    type Target = Tools;
    fn deref(&self) -> &Tools {
        &self.0
    }
}

/// Changes this clone alone.
impl DerefMut for Context {
    fn deref_mut(&mut self) -> &mut Tools {
        Arc::make_mut(&mut self.0)
    }
}
