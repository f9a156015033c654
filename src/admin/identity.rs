//! Organisations, people, keys and sessions.

use anyhow::{Context as _, bail};
use chrono::Duration;
use clap::Args;
use domain::{
    api_key::{self, ApiKeyPrefix, NewApiKey, Scope},
    chance::Chance,
    clock::Clock,
    member::{self, Role},
    org::{self, NewOrg, Org, Slug},
    plan::Plan,
    session::{OrgClaim, SessionIssuer},
    user::{self, EmailAddress, NewUser, User},
};
use jobs::store::{Store, Tx};
use secrecy::ExposeSecret;
use serde_json::json;

use super::print;
use crate::{config::Settings, program::OWN_ISSUER};

fn plan(text: &str) -> Result<Plan, String> {
    Plan::by_name(text).ok_or_else(|| "must be free, starter, pro, business or enterprise".into())
}

fn role(text: &str) -> Result<Role, String> {
    Role::by_name(text).ok_or_else(|| "must be owner, admin or member".into())
}

fn prefix(text: &str) -> Result<ApiKeyPrefix, String> {
    ApiKeyPrefix::by_name(text.trim_end_matches('_')).ok_or_else(|| {
        let names: Vec<&str> = ApiKeyPrefix::ALL.iter().map(|prefix| prefix.name()).collect();
        format!("must be one of {}", names.join(", "))
    })
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::by_name(text).ok_or_else(|| {
        let names: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
        format!("must be one of {}", names.join(", "))
    })
}

/// The arguments of `admin create-org`.
#[derive(Debug, Args)]
pub struct CreateOrg {
    /// The name in addresses: lower-case letters, digits and hyphens.
    #[arg(long)]
    slug: Slug,
    /// The name for people; the slug if not given.
    #[arg(long)]
    name: Option<String>,
    /// free, starter, pro, business or enterprise.
    #[arg(long, default_value = "free", value_parser = plan)]
    plan: Plan,
    /// The id at the session issuer.
    #[arg(long)]
    external_id: Option<String>,
}

impl CreateOrg {
    pub(super) async fn run(self, store: &Store, clock: &Clock) -> anyhow::Result<()> {
        let name = self.name.unwrap_or_else(|| self.slug.as_str().to_owned());
        let new = NewOrg { slug: self.slug, name, plan: self.plan, external_id: self.external_id };
        let mut tx = store.begin().await?;
        let org = org::create(&mut tx, &new, clock.now(), &Chance::system()).await?;
        let org = org.context("the slug or the external id is taken")?;
        tx.commit().await?;
        print(&json!({"id": org.id, "slug": org.slug.as_str(), "name": org.name, "plan": org.plan.name()}));
        Ok(())
    }
}

/// The arguments of `admin set-plan`.
#[derive(Debug, Args)]
pub struct SetPlan {
    /// The organisation's slug.
    #[arg(long)]
    org: Slug,
    /// free, starter, pro, business or enterprise.
    #[arg(long, value_parser = plan)]
    plan: Plan,
}

impl SetPlan {
    pub(super) async fn run(self, store: &Store, clock: &Clock) -> anyhow::Result<()> {
        let mut tx = store.begin().await?;
        let org = find_org(&mut tx, &self.org).await?;
        jobs::plan::change(&mut tx, org.id, self.plan, clock.now(), &Chance::system()).await?;
        tx.commit().await?;
        print(&json!({"id": org.id, "slug": org.slug.as_str(), "plan": self.plan.name()}));
        Ok(())
    }
}

/// The arguments of `admin create-user`.
#[derive(Debug, Args)]
pub struct CreateUser {
    /// The organisation's slug.
    #[arg(long)]
    org: Slug,
    /// The person's address.
    #[arg(long)]
    email: EmailAddress,
    /// What they are called.
    #[arg(long, default_value = "")]
    name: String,
    /// owner, admin or member.
    #[arg(long, default_value = "member", value_parser = role)]
    role: Role,
    /// The `sub` at the session issuer.
    #[arg(long)]
    external_id: Option<String>,
}

impl CreateUser {
    pub(super) async fn run(self, store: &Store, clock: &Clock) -> anyhow::Result<()> {
        let now = clock.now();
        let mut tx = store.begin().await?;
        let org = find_org(&mut tx, &self.org).await?;
        let person = match user::find_by_email(&mut tx, &self.email).await? {
            Some(person) => person,
            None => {
                let new = NewUser { email: self.email, name: self.name, external_id: self.external_id };
                let person = user::create(&mut tx, &new, now, &Chance::system()).await?;
                person.context("the external id is taken")?
            }
        };
        member::put(&mut tx, org.id, person.id, self.role, now).await?;
        tx.commit().await?;
        print(&json!({"id": person.id, "email": person.email.as_str(), "org_id": org.id, "role": self.role.name()}));
        Ok(())
    }
}

/// The arguments of `admin create-key`.
#[derive(Debug, Args)]
pub struct CreateKey {
    /// The organisation's slug.
    #[arg(long)]
    org: Slug,
    /// The address of the person who owns the key; their role decides what it may do.
    #[arg(long)]
    email: EmailAddress,
    /// ink, ilqr, secret_live, inkr or smk.
    #[arg(long, value_parser = prefix)]
    prefix: ApiKeyPrefix,
    /// What the key is for.
    #[arg(long, default_value = "made by an operator")]
    name: String,
    /// What it may be used for: events:, webhooks: or deliveries: with read or write, or library:read. May be repeated; everything if not
    /// given.
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<Scope>,
}

impl CreateKey {
    pub(super) async fn run(self, store: &Store, clock: &Clock) -> anyhow::Result<()> {
        let mut tx = store.begin().await?;
        let (org, person) = find_member(&mut tx, &self.org, &self.email).await?;
        let scopes = if self.scopes.is_empty() { Scope::ALL.to_vec() } else { self.scopes };
        let new = NewApiKey { org_id: org.id, user_id: person.id, name: self.name, prefix: self.prefix, scopes };
        let (key, secret) = api_key::create(&mut tx, &new, clock.now(), &Chance::system()).await?;
        tx.commit().await?;
        print(&json!({"id": key.id, "key": secret.expose_secret()}));
        Ok(())
    }
}

/// The arguments of `admin create-session`.
#[derive(Debug, Args)]
pub struct CreateSession {
    /// The organisation's slug.
    #[arg(long)]
    org: Slug,
    /// The person's address.
    #[arg(long)]
    email: EmailAddress,
    /// For how many minutes the session is valid.
    #[arg(long, default_value = "60", value_parser = clap::value_parser!(i64).range(1..=43200))]
    minutes: i64,
}

impl CreateSession {
    pub(super) async fn run(self, store: &Store, clock: &Clock, settings: &Settings) -> anyhow::Result<()> {
        let Some(pem) = &settings.security.session_signing_key else {
            bail!(
                "INKFLEET_SESSION_SIGNING_KEY must be set: sessions are signed by the sign-in service, unless this \
                 installation is its own issuer."
            );
        };
        let mut tx = store.begin().await?;
        let (org, person) = find_member(&mut tx, &self.org, &self.email).await?;
        let membership = member::find(&mut tx, org.id, person.id).await?.context("no member")?;
        let claim = OrgClaim {
            external_id: org.claim_id(),
            role: membership.role.name().to_owned(),
            slug: Some(org.slug.as_str().to_owned()),
        };
        let issuer = settings.security.session_issuer.as_deref().unwrap_or(OWN_ISSUER);
        let party = settings.security.session_authorized_parties.first().map(String::as_str);
        let token = SessionIssuer::from_pem(pem, issuer, party)?.issue(
            &person.subject(),
            Some(&claim),
            Duration::minutes(self.minutes),
            clock.now(),
            &Chance::system(),
        )?;
        print(&json!({"session": token.expose_secret()}));
        Ok(())
    }
}

pub(super) async fn find_org(tx: &mut Tx<'_>, slug: &Slug) -> anyhow::Result<Org> {
    org::find_by_slug(tx, slug).await?.with_context(|| format!("no organisation has the slug {}", slug.as_str()))
}

async fn find_member(tx: &mut Tx<'_>, slug: &Slug, email: &EmailAddress) -> anyhow::Result<(Org, User)> {
    let org = find_org(tx, slug).await?;
    let person = user::find_by_email(tx, email).await?;
    let person = person.with_context(|| format!("nobody has the address {}", email.as_str()))?;
    if member::find(tx, org.id, person.id).await?.is_none() {
        bail!("{} is no member of {}", email.as_str(), slug.as_str());
    }
    Ok((org, person))
}
