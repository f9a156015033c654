//! Organisations: what owns endpoints, events and keys, and what a plan is bought for.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    chance::Chance,
    id::OrgId,
    plan::{Plan, Quota},
    user::EmailAddress,
};

/// The name of an organisation in addresses: 1 to 63 of `a` to `z`, digits and `-`, not beginning with `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, sqlx::Type, serde::Serialize)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct Slug(String);

/// A text that is no slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 63 lower-case letters, digits or hyphens, and begin with a letter or digit")]
pub struct InvalidSlug;

impl Slug {
    /// The slug's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = InvalidSlug;

    fn from_str(text: &str) -> Result<Self, InvalidSlug> {
        let fits = (1..=63).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits { Ok(Self(text.into())) } else { Err(InvalidSlug) }
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An organisation.
#[derive(Debug, Clone)]
pub struct Org {
    /// Its id.
    pub id: OrgId,
    /// Its name in addresses.
    pub slug: Slug,
    /// Its name for people.
    pub name: String,
    /// What it has paid for.
    pub plan: Plan,
    /// Its id at the session issuer.
    pub external_id: Option<String>,
    /// Since when its plan is suspended, because an invoice stayed unpaid.
    pub suspended_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Org {
    /// Its id in sessions: the issuer's, or ours where the issuer has none.
    pub fn claim_id(&self) -> String {
        self.external_id.clone().unwrap_or_else(|| self.id.to_string())
    }
}

/// An organisation that is about to be stored.
#[derive(Debug, Clone)]
pub struct NewOrg {
    /// Its name in addresses.
    pub slug: Slug,
    /// Its name for people, 1 to 200 characters.
    pub name: String,
    /// What it has paid for.
    pub plan: Plan,
    /// Its id at the session issuer.
    pub external_id: Option<String>,
}

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Org,
            r#"select id as "id: OrgId", slug as "slug: Slug", name, plan as "plan: Plan", external_id, suspended_at, created_at
               from organizations "# + $tail,
            $($arg),*
        )
    };
}

/// Stores an organisation; `None` when the slug or the external id is taken.
pub async fn create(
    conn: &mut PgConnection,
    new: &NewOrg,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<Option<Org>, sqlx::Error> {
    sqlx::query_as!(
        Org,
        r#"insert into organizations (id, slug, name, plan, external_id, created_at) values ($1, $2, $3, $4, $5, $6)
           on conflict do nothing
           returning id as "id: OrgId", slug as "slug: Slug", name, plan as "plan: Plan", external_id, suspended_at,
                     created_at"#,
        OrgId::new(now, chance).0,
        new.slug.as_str(),
        new.name,
        new.plan.name(),
        new.external_id.as_deref(),
        now,
    )
    .fetch_optional(conn)
    .await
}

/// The organisation with that id.
pub async fn find(conn: &mut PgConnection, id: OrgId) -> Result<Option<Org>, sqlx::Error> {
    select!("where id = $1", id.0).fetch_optional(conn).await
}

/// The organisation with that id, held against other changes until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: OrgId) -> Result<Option<Org>, sqlx::Error> {
    select!("where id = $1 for no key update", id.0).fetch_optional(conn).await
}

/// Organisations with ids greater than `after` whose plan limits them or did when they were last looked at, by id.
pub async fn limited(conn: &mut PgConnection, after: OrgId, limit: i64) -> Result<Vec<OrgId>, sqlx::Error> {
    let endless: Vec<&str> = Plan::ALL
        .into_iter()
        .filter(|plan| Quota::ALL.iter().all(|of| plan.includes(*of).is_none()))
        .map(Plan::name)
        .collect();
    sqlx::query_scalar!(
        r#"select id as "id: OrgId" from organizations o
           where id > $1 and (plan <> all($2) or exists (select from downgrades d where d.org_id = o.id))
           order by id limit $3"#,
        after.0,
        &endless as &[&str],
        limit,
    )
    .fetch_all(conn)
    .await
}

/// The organisation with that slug.
pub async fn find_by_slug(conn: &mut PgConnection, slug: &Slug) -> Result<Option<Org>, sqlx::Error> {
    select!("where slug = $1", slug.as_str()).fetch_optional(conn).await
}

/// The organisation that the session issuer knows by that id.
pub async fn find_by_external_id(conn: &mut PgConnection, external_id: &str) -> Result<Option<Org>, sqlx::Error> {
    select!("where external_id = $1", external_id).fetch_optional(conn).await
}

/// The ids of organisations behind one, in their order.
pub async fn list_behind(conn: &mut PgConnection, behind: OrgId, limit: i64) -> Result<Vec<OrgId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select id as "id: OrgId" from organizations where id > $1 order by id limit $2"#,
        behind.0,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Puts an organisation on another plan; `false` when there is none of that id.
pub async fn set_plan(conn: &mut PgConnection, id: OrgId, plan: Plan) -> Result<bool, sqlx::Error> {
    let done =
        sqlx::query!("update organizations set plan = $2 where id = $1", id.0, plan.name()).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}

/// Suspends an organisation's plan; `false` when it is suspended already.
pub async fn suspend(conn: &mut PgConnection, id: OrgId, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let done =
        sqlx::query!("update organizations set suspended_at = $2 where id = $1 and suspended_at is null", id.0, now)
            .execute(conn)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends the suspension of an organisation's plan.
pub async fn resume(conn: &mut PgConnection, id: OrgId) -> Result<(), sqlx::Error> {
    sqlx::query!("update organizations set suspended_at = null where id = $1", id.0).execute(conn).await?;
    Ok(())
}

/// Where the organisation's mail goes: to the owner of longest standing.
pub async fn owner_email(conn: &mut PgConnection, id: OrgId) -> Result<Option<EmailAddress>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select u.email as "email: EmailAddress" from members m join users u on u.id = m.user_id
           where m.org_id = $1 and m.role = 'owner'
           order by m.created_at, m.user_id limit 1"#,
        id.0,
    )
    .fetch_optional(conn)
    .await
}
