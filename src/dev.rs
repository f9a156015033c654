//! `inkfleet dev`: everything in one process, with a database of its own and a demo organisation to play with.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use chrono::Duration;
use clap::Args;
use domain::{
    api_key::{self, ApiKeyPrefix, NewApiKey, Scope},
    chance::Chance,
    member::{self, Role},
    org::{self, NewOrg, Org},
    plan::Plan,
    sealed::SealingKeys,
    session::{OrgClaim, SessionIssuer},
    user::{self, NewUser, User},
};
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use workers::fleet;

use crate::{
    config::{Purpose, Settings},
    migrate,
    postgres::{Cluster, Options},
    program::{OWN_ISSUER, Parts, Server, stop_signal},
    telemetry,
};

/// How long a printed session is valid.
const SESSION: Duration = Duration::days(30);
const SLUG: &str = "demo";

/// The arguments of `inkfleet dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Print what a script needs as one line of JSON, and nothing else on standard output.
    #[arg(long)]
    json: bool,
    /// Where the development database and its keys live.
    #[arg(long, default_value = ".inkfleet")]
    dir: PathBuf,
}

/// What a development installation keeps beside its database, readable by its owner only.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    secret_key: String,
    session_key: String,
    #[serde(default)]
    keys: std::collections::BTreeMap<String, String>,
}

/// Runs the development installation until a signal.
pub async fn run(args: DevArgs) -> anyhow::Result<()> {
    let mut settings = Settings::from_env(Purpose::Develop)?;
    let _traces = telemetry::log(&settings.log)?;
    let metrics = telemetry::metrics();
    let stop = stop_signal();
    fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    let cluster = match settings.database.url {
        Some(_) => None,
        None => Some(start_cluster(args.dir.join("postgres"), &mut settings).await?),
    };
    let mut kept = Kept::read_or_make(&args.dir.join("dev.json"), &Chance::system())?;
    kept.lend_to(&mut settings)?;
    settings.cron.open = true;
    settings.check(Purpose::Develop)?;

    let url = settings.database.url.clone().context("DATABASE_URL must be set")?;
    migrate::run(url.expose_secret(), domain::clock::Clock::system().now()).await?;
    let parts = Parts::new(settings, metrics).await?;
    let demo = Demo::find_or_make(&parts, &mut kept).await?;
    kept.write(&args.dir.join("dev.json"))?;

    let server = Server::bind("PORT", parts.settings.http.address()).await?;
    let public_url = parts.settings.http.public_url(server.address);
    let session = demo.session(&parts)?;
    demo.print(&parts.settings, args.json, &public_url, &session, &kept);
    let fleet = fleet::run(parts.context(public_url.clone())?, parts.fleet_options()?, stop.clone());
    let app = parts.app(public_url)?;
    parts.listen(&app)?;
    let served = server.run_api(app, stop.clone());
    let result = both(fleet, served, &stop).await;
    if let Some(cluster) = cluster {
        parts.store.pool().close().await;
        tokio::task::spawn_blocking(move || cluster.stop()).await??;
    }
    result
}

/// Waits for both; when one ends, the other is asked to.
pub async fn both(
    fleet: impl Future<Output = anyhow::Result<()>>,
    server: impl Future<Output = anyhow::Result<()>>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let ending = |result: anyhow::Result<()>| {
        stop.cancel();
        result
    };
    let (fleet, server) = tokio::join!(async { ending(fleet.await) }, async { ending(server.await) });
    fleet.and(server)
}

async fn start_cluster(dir: PathBuf, settings: &mut Settings) -> anyhow::Result<Cluster> {
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(&dir, Options { durable: true })).await??;
    if let Some(notice) = cluster.notice() {
        tracing::info!("{notice}");
    }
    settings.database.url = Some(SecretString::from(cluster.url()));
    Ok(cluster)
}

impl Kept {
    fn read_or_make(path: &Path, chance: &Chance) -> anyhow::Result<Self> {
        if let Ok(text) = fs::read_to_string(path) {
            return serde_json::from_str(&text)
                .with_context(|| format!("{} is damaged; remove it to start anew", path.display()));
        }
        // Half a second, once.
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048)?;
        let kept = Self {
            secret_key: SealingKeys::generate(chance).expose_secret().to_owned(),
            session_key: key.to_pkcs8_pem(LineEnding::LF)?.to_string(),
            keys: Default::default(),
        };
        kept.write(path)?;
        Ok(kept)
    }

    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// The kept keys, where the environment names no others.
    fn lend_to(&self, settings: &mut Settings) -> anyhow::Result<()> {
        let security = &mut settings.security;
        if security.secret_key.is_none() {
            security.secret_key = Some(SealingKeys::parse(&SecretString::from(self.secret_key.as_str()))?);
        }
        let named = security.session_jwks_url.is_some() || security.session_public_key.is_some();
        if !named && security.session_signing_key.is_none() {
            security.session_signing_key = Some(SecretString::from(self.session_key.as_str()));
        }
        Ok(())
    }
}

/// The organisation to play with: an owner, a member, and a key of each prefix.
struct Demo {
    org: Org,
    owner: User,
}

impl Demo {
    async fn find_or_make(parts: &Parts, kept: &mut Kept) -> anyhow::Result<Self> {
        let (now, chance) = (parts.clock.now(), &parts.chance);
        let mut tx = parts.store.begin().await?;
        let slug = SLUG.parse()?;
        let org = match org::find_by_slug(&mut tx, &slug).await? {
            Some(org) => org,
            None => {
                kept.keys.clear();
                let new = NewOrg { slug, name: "Demo".into(), plan: Plan::Pro, external_id: None };
                org::create(&mut tx, &new, now, chance).await?.context("the demo organisation")?
            }
        };
        let mut people = vec![];
        for (name, role) in [("owner", Role::Owner), ("member", Role::Member)] {
            let email = format!("{name}@demo.example").parse()?;
            let person = match user::find_by_email(&mut tx, &email).await? {
                Some(person) => person,
                None => {
                    let new = NewUser { email, name: format!("Demo {name}"), external_id: None };
                    user::create(&mut tx, &new, now, chance).await?.context("a demo user")?
                }
            };
            member::put(&mut tx, org.id, person.id, role, now).await?;
            people.push(person);
        }
        let owner = people.swap_remove(0);
        for prefix in ApiKeyPrefix::ALL {
            let name = prefix.text().trim_end_matches('_').to_owned();
            let known = match kept.keys.get(&name) {
                Some(key) => api_key::find_by_secret(&mut tx, key).await?.is_some(),
                None => false,
            };
            if !known {
                let new = NewApiKey {
                    org_id: org.id,
                    user_id: owner.id,
                    name: format!("Demo {name}"),
                    prefix,
                    scopes: Scope::ALL.to_vec(),
                };
                let (_, secret) = api_key::create(&mut tx, &new, now, chance).await?;
                kept.keys.insert(name, secret.expose_secret().to_owned());
            }
        }
        tx.commit().await?;
        Ok(Self { org, owner })
    }

    fn session(&self, parts: &Parts) -> anyhow::Result<Option<SecretString>> {
        let Some(pem) = &parts.settings.security.session_signing_key else { return Ok(None) };
        let issuer = parts.settings.security.session_issuer.as_deref().unwrap_or(OWN_ISSUER);
        let party = parts.settings.security.session_authorized_parties.first().map(String::as_str);
        let claim = OrgClaim {
            external_id: self.org.claim_id(),
            role: "owner".into(),
            slug: Some(self.org.slug.as_str().to_owned()),
        };
        let now = parts.clock.now();
        let issuer = SessionIssuer::from_pem(pem, issuer, party)?;
        Ok(Some(issuer.issue(&self.owner.subject(), Some(&claim), SESSION, now, &parts.chance)?))
    }

    fn print(&self, settings: &Settings, json: bool, url: &str, session: &Option<SecretString>, kept: &Kept) {
        let session = session.as_ref().map_or("", |token| token.expose_secret());
        if json {
            let line = json!({"url": url, "org_id": self.org.id, "session": session, "keys": kept.keys});
            println!("{line}");
            return;
        }
        let key = |name: &str| kept.keys.get(name).map_or("", String::as_str);
        let program = std::env::current_exe().map_or_else(|_| "inkfleet".into(), |path| path.display().to_string());
        let plan = self.org.plan.name();
        let database = settings.database.url.as_ref().map_or("", |url| url.expose_secret());
        println!("Inkfleet is ready at {url} (API: {url}/docs)\n");
        println!("  organisation   {}  (plan {plan}; owner@demo.example, member@demo.example)", self.org.id);
        for (name, secret) in &kept.keys {
            println!("  {name:<14} {secret}");
        }
        println!("  session        {session}");
        println!("  DATABASE_URL   {database} (for `inkfleet admin`)\n");
        println!("1. Create an endpoint; its answer shows the signing secret, whsec_…, once:\n");
        println!("  curl -X POST {url}/api/v1/webhook/endpoints -H 'api-key: {}' \\", key("secret_live"));
        println!("    -H 'Content-Type: application/json' -d '{{\"url\": \"http://127.0.0.1:9000/\"}}'\n");
        println!("2. Receive there, in another terminal, with that secret:\n");
        println!("  {program} listen --port 9000 --secret whsec_…\n");
        println!("3. Publish an event, and see it arrive verified:\n");
        println!("  curl -X POST {url}/api/v1/events -H 'X-API-Key: {}' \\", key("ink"));
        println!("    -H 'Content-Type: application/json' \\");
        println!(
            "    -d '{{\"type\": \"kyc.result.approved\", \"data\": {{\"inquiry_id\": \"kyc_1\", \"subject_id\": \"user_1\"}}}}'\n"
        );
    }
}
