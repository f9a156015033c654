//! The real API and the real fleet in process, on a database of their own and a clock that is moved by hand.

use std::{
    collections::BTreeSet,
    str::FromStr,
    sync::{Arc, Mutex},
};

use api::{
    App,
    auth::Sessions,
    cron::Access,
    redirect::{Places, Routes, Visits},
};
use chrono::Duration;
use domain::{
    address::{Guard, Policy, Resolve, SystemResolver},
    chance::Chance,
    clock::Clock,
    mail::{self, Mail},
    plan::Plan,
    sealed::SealingKeys,
    session::{SessionIssuer, SessionKeys},
};
use inkfleet::program::Server;
use jobs::{
    job::{Job, Queue},
    queue::admin,
    store::{Store, pool_options},
    visit::CountVisits,
};
use secrecy::SecretString;
use serde_json::Value;
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio_util::sync::CancellationToken;
use workers::{context, dns::Dns, fleet, http::Client, mail::Mailer};

use super::{
    database::{Database, dawn},
    dns::NOBODY,
    killed,
    org::{SESSION_KEY, TestOrg},
};

/// What opens the routes of scheduled work.
pub const CRON_SECRET: &str = "a-secret-of-the-stories'-scheduler";
/// What the stories' Stripe signs its webhooks with.
pub const STRIPE_SECRET: &str = "whsec_of_the_stories";

/// The program under test. Dropping it fails the story if a job remains that the story did not name with
/// [`TestApp::leaves_jobs`].
pub struct TestApp {
    /// The database and its bell.
    pub store: Store,
    /// The story's time; it moves only by hand.
    pub clock: Clock,
    /// Seeded.
    pub chance: Chance,
    /// The fleet's tools.
    pub context: context::Context,
    /// What seals secrets, as the setting has it.
    pub secret_key: SecretString,
    /// Where the API is served.
    pub url: String,
    /// The story's database.
    pub database: Database,
    /// The routes that the program keeps.
    pub routes: Routes,
    visits: Visits,
    http: reqwest::Client,
    pinned: PgPool,
    stop: CancellationToken,
    may_remain: Mutex<BTreeSet<&'static str>>,
}

/// What a story may set before the program starts.
pub struct Build {
    policy: Policy,
    resolver: Arc<dyn Resolve>,
    rate: (u32, u32),
    development: bool,
    allow_http: bool,
    retention_days: u32,
    clock: Clock,
    cron: Access,
    public_url: Option<String>,
    stripe_secret: Option<SecretString>,
}

impl Build {
    /// Lets these ask for scheduled work.
    pub fn cron(mut self, access: Access) -> Self {
        self.cron = access;
        self
    }

    /// Takes no webhooks of Stripe's.
    pub fn without_stripe(mut self) -> Self {
        self.stripe_secret = None;
        self
    }

    /// Says that it is reached there, as behind a proxy.
    pub fn public_at(mut self, url: &str) -> Self {
        self.public_url = Some(url.to_owned());
        self
    }

    /// Shows developers what `inkfleet dev` shows them.
    pub fn in_development(mut self) -> Self {
        self.development = true;
        self
    }

    /// Takes place today, in real time, for stories of the running fleet.
    pub fn in_real_time(mut self) -> Self {
        self.clock = Clock::system();
        self
    }

    /// Keeps deliveries for so many days.
    pub fn keeping_days(mut self, days: u32) -> Self {
        self.retention_days = days;
        self
    }

    /// Refuses private targets, as in production; names are looked up by `resolver`.
    pub fn guarded(mut self, resolver: impl Resolve + 'static) -> Self {
        self.policy = Policy { allow_private: false };
        self.resolver = Arc::new(resolver);
        self
    }

    /// Refuses plain http, as in production.
    pub fn https_only(mut self) -> Self {
        self.allow_http = false;
        self
    }

    /// Limits each key.
    pub fn rate(mut self, per_second: u32, burst: u32) -> Self {
        self.rate = (per_second, burst);
        self
    }

    /// Starts the program.
    pub async fn start(self) -> TestApp {
        TestApp::start_with(self).await
    }
}

impl TestApp {
    /// The program as stories usually want it: loopback receivers over plain http are allowed.
    pub async fn start() -> Self {
        Self::build().start().await
    }

    /// The program with settings of the story's own.
    pub fn build() -> Build {
        Build {
            policy: Policy { allow_private: true },
            resolver: Arc::new(SystemResolver),
            rate: (100_000, 100_000),
            development: false,
            retention_days: 30,
            allow_http: true,
            clock: Clock::fixed(dawn()),
            cron: Access::Secret(CRON_SECRET.into()),
            public_url: None,
            stripe_secret: Some(STRIPE_SECRET.into()),
        }
    }

    async fn start_with(build: Build) -> Self {
        let database = Database::new().await;
        let options = PgConnectOptions::from_str(&database.url).unwrap();
        let pool = pool_options().max_connections(8).connect_lazy_with(options.clone());
        if !build.clock.is_fixed() {
            let days = "select create_day(current_date + n) from generate_series(-1, 1) n";
            sqlx::query(days).execute(&pool).await.unwrap();
        }
        let (store, clock, chance) = (Store::new(pool), build.clock, Chance::seeded(7));
        let secret_key = SealingKeys::generate(&chance);
        let sealing = SealingKeys::parse(&secret_key).unwrap();
        let guard = Guard::new(build.policy, build.resolver);
        let server = Server::bind("PORT", ([127, 0, 0, 1], 0).into()).await.unwrap();
        let url = format!("http://{}", server.address);
        let issuer = SessionIssuer::from_pem(&SecretString::from(SESSION_KEY), "stories", None).unwrap();
        let keys = SessionKeys::from_jwks(&issuer.jwks()).unwrap();
        let app = App::new(
            store.clone(),
            clock.clone(),
            chance.clone(),
            guard.clone(),
            sealing.clone(),
            Sessions::new(Some(keys), Some("stories".into()), vec![]),
            Places::new(Some("x-country".into()), Some("x-region".into()), None).unwrap(),
            None,
            api::app::Settings {
                public_url: build.public_url.unwrap_or_else(|| url.clone()),
                short_url: format!("{url}/r"),
                short_host: Some("ink.test".into()),
                address_header: Some("x-visitor".into()),
                allow_http_targets: build.allow_http,
                cron: build.cron,
                development: build.development,
                stripe_webhook_secret: build.stripe_secret,
                rate_per_second: build.rate.0,
                rate_burst: build.rate.1,
            },
        );
        let pinned = fleet::pinned_pool(options, 1);
        let mut context = context::Context::new(
            store.clone(),
            pinned.clone(),
            clock.clone(),
            chance.clone(),
            Client::new(guard).unwrap(),
            sealing,
            Mailer::Mailbox,
            context::Settings {
                endpoint_concurrency: 32,
                allow_http_targets: build.allow_http,
                retention_days: build.retention_days,
                session_jwks_url: None,
                public_url: url.clone(),
                short_url: format!("{url}/r"),
                stripe_prices: super::stripe::prices(),
            },
        );
        context.dns = Dns::at(NOBODY.address);
        let (stop, visits, routes) = (CancellationToken::new(), app.visits.clone(), app.routes.clone());
        tokio::spawn(server.run(api::routes(app), stop.clone()));
        #[expect(clippy::disallowed_methods, reason = "a story's own client, to the program under test")]
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        // Each visit asks for a count; what is not counted yet is in the statistics all the same.
        let may_remain = Mutex::new(BTreeSet::from([CountVisits::KIND]));
        Self {
            store,
            clock,
            chance,
            context,
            secret_key,
            url,
            database,
            routes,
            visits,
            http,
            pinned,
            stop,
            may_remain,
        }
    }

    /// An organisation on the plan Pro.
    pub async fn org(&self, slug: &str) -> TestOrg {
        TestOrg::make(self, slug, Plan::Pro).await
    }

    /// Runs the fleet's own runner until nothing is due; returns how many runs that were.
    pub async fn drain(&self) -> usize {
        if killed::workers_die() {
            return killed::drain(self).await;
        }
        fleet::drain(&self.context, &Queue::ALL, &self.pinned).await.unwrap()
    }

    /// Moves the clock on and runs what came due by then.
    pub async fn pass(&self, time: Duration) -> usize {
        self.clock.advance(time);
        self.drain().await
    }

    /// Names a kind of job that may remain when the story ends.
    pub fn leaves_jobs(&self, kind: &'static str) {
        self.may_remain.lock().unwrap().insert(kind);
    }

    /// Waits until the visits so far are stored, which takes no more than milliseconds.
    pub async fn store_visits(&self) {
        self.visits.flush().await;
    }

    /// Every mail so far, newest first.
    pub async fn mails(&self) -> Vec<Mail> {
        let mut conn = self.store.pool().acquire().await.unwrap();
        mail::list(&mut conn, &mail::Filter::default(), 1000).await.unwrap()
    }

    /// The pool of the fleet's own connections.
    pub fn pinned(&self) -> &PgPool {
        &self.pinned
    }

    /// A direct way to the story's database.
    pub fn direct(&self) -> PgConnectOptions {
        PgConnectOptions::from_str(&self.database.url).unwrap()
    }

    /// A request to the API: `auth` is a header line such as `api-key: secret_live_…`, or empty.
    pub async fn call(&self, method: &str, path: &str, auth: &str, body: Option<Value>) -> Reply {
        let headers: Vec<(&str, &str)> = auth.split_once(": ").into_iter().collect();
        self.send(method, path, &headers, body.map(|body| body.to_string())).await
    }

    /// A request with any headers and a body as it is.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Reply {
        let url = format!("{}{path}", self.url);
        let mut request = self.http.request(method.parse().unwrap(), url);
        if body.is_some() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.expect("the API answers");
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap_or("").to_owned()))
            .collect();
        let bytes = response.bytes().await.unwrap().to_vec();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Reply { status, headers, json: serde_json::from_str(&text).unwrap_or(Value::Null), text, bytes }
    }

    /// `GET` of a path.
    pub async fn get(&self, path: &str, auth: &str) -> Reply {
        self.call("GET", path, auth, None).await
    }

    /// `POST` of a body.
    pub async fn post(&self, path: &str, auth: &str, body: Value) -> Reply {
        self.call("POST", path, auth, Some(body)).await
    }

    /// Publishes an event with an `ink_` key; the answer's JSON.
    pub async fn publish(&self, org: &TestOrg, event_type: &str, data: Value) -> Value {
        let auth = format!("x-api-key: {}", org.key("ink_"));
        let body = serde_json::json!({"type": event_type, "data": data});
        self.post("/api/v1/events", &auth, body).await.expect(202)
    }

    /// Registers an endpoint of a dialect at `url` through Inkode's surface, for `types` or for all; the answer's JSON.
    pub async fn endpoint(&self, org: &TestOrg, dialect: &str, url: &str, types: &[&str]) -> Value {
        let mut body = serde_json::json!({"url": url, "dialect": dialect});
        if !types.is_empty() {
            body["eventTypes"] = serde_json::json!(types);
        }
        if dialect == "iloveqr" {
            body["secret"] = "a-secret-of-the-story".into();
        }
        let auth = format!("authorization: Bearer {}", org.session(self));
        self.post("/api/webhooks/endpoints", &auth, body).await.expect(201)
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
        let (url, may_remain) = (self.database.url.clone(), self.may_remain.lock().unwrap().clone());
        // A thread of its own: this may run inside the story's runtime.
        let left = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut conn = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.ok()?;
                admin::unfinished(&mut conn).await.ok()
            })
        });
        let left = left.join().ok().flatten().unwrap_or_default();
        self.database.remove();
        let left: Vec<String> = left
            .into_iter()
            .filter(|job| !may_remain.contains(job.kind.as_str()))
            .map(|job| {
                let error = job.last_error.as_deref().unwrap_or("none");
                format!("{} {} due {}, last error: {error}", job.kind, job.id, job.run_at)
            })
            .collect();
        if !left.is_empty() && !std::thread::panicking() {
            panic!("the story ends with jobs that it did not name: {left:#?}");
        }
    }
}

/// An answer of the API.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as JSON; null if it is none.
    pub json: Value,
    /// The body as text.
    pub text: String,
    /// The body.
    pub bytes: Vec<u8>,
}

impl Reply {
    /// The JSON, if the status is the expected one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}
