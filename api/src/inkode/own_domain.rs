//! `/api/domains`: hosts of a workspace's own for its codes, proven by a record in their DNS.

use domain::{
    caller::Caller,
    id::OwnDomainId,
    own_domain::{self, DOMAINS_MAX, OwnDomain as Row, Refused, State, read_name},
};
use jobs::own_domain::look_again;
use poem::http::StatusCode;
use poem_openapi::{
    Enum, Object, OpenApi,
    param::{Header, Path},
    payload::Json,
};
use serde::Deserialize;

use crate::{
    app::App,
    auth::{Auth, Session},
    deleted::Deleted,
    failure::Failure,
    idempotency::{Begun, Created, Once},
    input::Input,
    server::Tag,
    surface::{Failed, Own},
    text::{self, Text},
    timestamp::Timestamp,
};

/// A domain to use.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
struct DomainInput {
    /// Its name, such as `go.example.com`.
    name: Text<text::DomainName>,
}

impl poem_openapi::types::Example for DomainInput {
    fn example() -> Self {
        Self { name: "go.example.com".into() }
    }
}

/// How far a domain is.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum DomainState {
    /// Its record is looked for, at most three days long.
    Pending,
    /// It is proven, and codes stand on it.
    Verified,
    /// Its record was not found in time, or another workspace came first.
    Failed,
}

/// The record that proves a domain.
#[derive(Debug, Object)]
struct DomainRecord {
    /// Its name.
    name: String,
    /// What it says, in a record of the type TXT.
    value: String,
}

/// A domain.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct Domain {
    /// Its id.
    id: Text<text::OwnDomainId>,
    /// Its name, in lower case and ASCII.
    name: Text<text::DomainName>,
    /// How far it is.
    state: DomainState,
    /// The record that proves it.
    record: DomainRecord,
    /// What the last look found wrong.
    problem: Option<String>,
    /// When it was looked for last.
    checked_at: Option<Timestamp>,
    /// When it will be.
    next_check_at: Option<Timestamp>,
    /// When it was proven.
    verified_at: Option<Timestamp>,
    /// When it was asked for.
    created_at: Timestamp,
}

impl From<Row> for Domain {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.to_string().into(),
            record: DomainRecord { name: row.record_name(), value: row.record_value() },
            name: row.name.into(),
            state: match row.state {
                State::Pending => DomainState::Pending,
                State::Verified => DomainState::Verified,
                State::Failed => DomainState::Failed,
            },
            problem: row.problem,
            checked_at: row.checked_at.map(Into::into),
            next_check_at: row.next_check_at.map(Into::into),
            verified_at: row.verified_at.map(Into::into),
            created_at: row.created_at.into(),
        }
    }
}

/// All domains, by name.
#[derive(Debug, Object)]
struct DomainList {
    /// Them.
    items: Vec<Domain>,
}

/// The routes of own domains.
#[derive(Debug)]
pub struct OwnDomainApi(pub App);

#[OpenApi(prefix_path = "/api", tag = "Tag::Workspace")]
impl OwnDomainApi {
    /// List own domains
    #[oai(path = "/domains", method = "get", operation_id = "listDomains")]
    async fn list(&self, auth: Auth<Session>) -> Result<Json<DomainList>, Failed<Own>> {
        let mut conn = self.0.store.pool().acquire().await?;
        let rows = own_domain::list(&mut conn, auth.0.org_id).await?;
        Ok(Json(DomainList { items: rows.into_iter().map(Into::into).collect() }))
    }

    /// Add an own domain
    #[oai(path = "/domains", method = "post", operation_id = "createDomain")]
    async fn create(
        &self,
        auth: Auth<Session>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<DomainInput>,
    ) -> Result<Created<Domain>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        caller.require_manager()?;
        let name = read(app, &input.value.name)?;
        let once = Once { operation: "createDomain", key: key.0.as_deref(), hash: &input.hash };
        let mut creation = match once.begin(app, caller).await? {
            Begun::Before(before) => return Ok(before),
            Begun::Fresh(creation) => creation,
        };
        let (tx, now) = (&mut creation.tx, app.clock.now());
        let made = own_domain::create(tx, caller.org_id, &name, now, &app.chance).await?;
        let domain = made.map_err(|refused| refusal(refused, &name))?;
        look_again(tx, caller.org_id, &domain, now, &app.chance).await?;
        Ok(creation.finish(&Domain::from(domain)).await?)
    }

    /// Get an own domain
    #[oai(path = "/domains/:id", method = "get", operation_id = "getDomain")]
    async fn get(
        &self,
        auth: Auth<Session>,
        /// The domain.
        id: Path<Text<text::OwnDomainId>>,
    ) -> Result<Json<Domain>, Failed<Own>> {
        let mut conn = self.0.store.pool().acquire().await?;
        let found = own_domain::find(&mut conn, auth.0.org_id, read_id(&id.0)?).await?;
        Ok(Json(found.ok_or_else(no_domain)?.into()))
    }

    /// Look for an own domain's record now
    #[oai(path = "/domains/:id/check", method = "post", operation_id = "checkDomain")]
    async fn check(
        &self,
        auth: Auth<Session>,
        /// The domain.
        id: Path<Text<text::OwnDomainId>>,
    ) -> Result<Json<Domain>, Failed<Own>> {
        auth.0.require_manager()?;
        Ok(Json(self.ask(&auth.0, read_id(&id.0)?).await?.into()))
    }

    /// Remove an own domain
    #[oai(path = "/domains/:id", method = "delete", operation_id = "deleteDomain")]
    async fn delete(
        &self,
        auth: Auth<Session>,
        /// The domain.
        id: Path<Text<text::OwnDomainId>>,
    ) -> Result<Deleted, Failed<Own>> {
        let (app, caller, id) = (&self.0, &auth.0, read_id(&id.0)?);
        caller.require_manager()?;
        let mut tx = app.store.begin().await?;
        let domain = own_domain::lock(&mut tx, caller.org_id, id).await?.ok_or_else(no_domain)?;
        if !own_domain::delete(&mut tx, caller.org_id, &domain).await? {
            let detail = format!("Links or codes stand on {}. Move or delete them first.", domain.name);
            return Err(Failure::conflict("domain_in_use", detail).into());
        }
        tx.commit().await?;
        app.routes.hosts.load().await;
        Ok(Deleted::Gone)
    }
}

impl OwnDomainApi {
    /// One that is proven already stays so.
    async fn ask(&self, caller: &Caller, id: OwnDomainId) -> Result<Row, Failure> {
        let (app, now) = (&self.0, self.0.clock.now());
        let mut tx = app.store.begin().await?;
        let mut domain = own_domain::lock(&mut tx, caller.org_id, id).await?.ok_or_else(no_domain)?;
        if domain.state != State::Verified {
            domain.ask(now);
            own_domain::store(&mut tx, caller.org_id, &domain).await?;
            look_again(&mut tx, caller.org_id, &domain, now, &app.chance).await?;
        }
        tx.commit().await?;
        Ok(domain)
    }
}

/// A name that may become an own domain: not the installation's own.
fn read(app: &App, text: &str) -> Result<String, Failure> {
    let wrong = |rule: &str| Failure::field("name", rule);
    let name = read_name(text).ok_or_else(|| wrong("must be a domain's name such as go.example.com"))?;
    if app.is_own_host(&name) { Err(wrong("is this installation's own")) } else { Ok(name) }
}

fn refusal(refused: Refused, name: &str) -> Failure {
    match refused {
        Refused::Taken => Failure::conflict("domain_taken", format!("The domain {name} is taken.")),
        Refused::TooMany => Failure::new(
            StatusCode::CONFLICT,
            "too_many_domains",
            format!("A workspace has at most {DOMAINS_MAX} domains."),
        ),
    }
}

fn read_id(id: &str) -> Result<OwnDomainId, Failure> {
    id.parse().map_err(|_| no_domain())
}

fn no_domain() -> Failure {
    Failure::not_found("domain")
}
