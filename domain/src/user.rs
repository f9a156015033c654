//! People. A person belongs to organisations through [`crate::member`], and signs in at the session issuer.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::PgConnection;

use crate::{
    chance::Chance,
    id::{OrgId, UserId},
    member::Role,
};

/// An e-mail address that can be written to: one `@`, no white space or control characters, at most 254 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, sqlx::Type, serde::Serialize)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct EmailAddress(String);

/// A text that is no e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not an e-mail address")]
pub struct InvalidEmail;

impl EmailAddress {
    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EmailAddress {
    type Err = InvalidEmail;

    // What the world's mail servers take is wider than RFC 5322's grammar and narrower than its comments; only what
    // would break a header, an envelope or a look-up is refused here.
    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let text = text.trim();
        let (local, host) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        let bad = |c: char| c.is_whitespace() || c.is_control() || "<>(),;:\\\"[]@".contains(c);
        let labels_fit = host.split('.').all(|l| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-'));
        if local.is_empty()
            || local.len() > 64
            || text.len() > 254
            || local.contains(bad)
            || host.contains(bad)
            || !labels_fit
        {
            return Err(InvalidEmail);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A person.
#[derive(Debug, Clone)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Where they are written to; unique without regard to case.
    pub email: EmailAddress,
    /// What they are called; may be empty.
    pub name: String,
    /// The `sub` that the session issuer knows them by.
    pub external_id: Option<String>,
    /// When they were first seen.
    pub created_at: DateTime<Utc>,
}

impl User {
    /// The `sub` of their sessions: the issuer's id, or ours where the issuer has none.
    pub fn subject(&self) -> String {
        self.external_id.clone().unwrap_or_else(|| self.id.to_string())
    }
}

/// A person who is about to be stored.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Where they are written to.
    pub email: EmailAddress,
    /// What they are called; may be empty.
    pub name: String,
    /// The `sub` that the session issuer knows them by.
    pub external_id: Option<String>,
}

/// Stores a person; `None` when the address or the external id is taken.
pub async fn create(
    conn: &mut PgConnection,
    new: &NewUser,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        User,
        r#"insert into users (id, email, name, external_id, created_at) values ($1, $2, $3, $4, $5)
           on conflict do nothing
           returning id as "id: UserId", email as "email: EmailAddress", name, external_id, created_at"#,
        UserId::new(now, chance).0,
        new.email.as_str(),
        new.name,
        new.external_id.as_deref(),
        now,
    )
    .fetch_optional(conn)
    .await
}

/// The person with that id, if they belong to the organisation.
pub async fn find(conn: &mut PgConnection, org_id: OrgId, id: UserId) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        User,
        r#"select u.id as "id: UserId", u.email as "email: EmailAddress", u.name, u.external_id, u.created_at
           from users u join members m on m.user_id = u.id
           where m.org_id = $1 and u.id = $2"#,
        org_id.0,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Somebody who is written to.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// Who.
    pub user_id: UserId,
    /// Where to.
    pub email: EmailAddress,
    /// What they are called; may be empty.
    pub name: String,
    /// The time zone that they live by.
    pub time_zone: Tz,
}

/// The members of an organisation who hold one of `roles`, those of longest standing first.
async fn recipients(conn: &mut PgConnection, org_id: OrgId, roles: &[Role]) -> Result<Vec<Recipient>, sqlx::Error> {
    let roles: Vec<String> = roles.iter().map(|role| role.name().to_owned()).collect();
    let rows = sqlx::query!(
        r#"select u.id as "id: UserId", u.email as "email: EmailAddress", u.name, u.time_zone
           from members m join users u on u.id = m.user_id
           where m.org_id = $1 and m.role = any($2)
           order by m.created_at, m.user_id"#,
        org_id.0,
        &roles,
    )
    .fetch_all(conn)
    .await?;
    let recipients = rows.into_iter().map(|row| Recipient {
        user_id: row.id,
        email: row.email,
        name: row.name,
        time_zone: row.time_zone.parse().unwrap_or(Tz::UTC),
    });
    Ok(recipients.collect())
}

/// Who owns an organisation, those of longest standing first.
pub async fn owners(conn: &mut PgConnection, org_id: OrgId) -> Result<Vec<Recipient>, sqlx::Error> {
    recipients(conn, org_id, &[Role::Owner]).await
}

/// Who manages an organisation: its owners and admins, those of longest standing first.
pub async fn managers(conn: &mut PgConnection, org_id: OrgId) -> Result<Vec<Recipient>, sqlx::Error> {
    recipients(conn, org_id, &[Role::Owner, Role::Admin]).await
}

/// All members of an organisation, those of longest standing first.
pub async fn members(conn: &mut PgConnection, org_id: OrgId) -> Result<Vec<Recipient>, sqlx::Error> {
    recipients(conn, org_id, &Role::ALL).await
}

/// The time zone that a person lives by.
pub async fn time_zone(conn: &mut PgConnection, id: UserId) -> Result<Tz, sqlx::Error> {
    let name = sqlx::query_scalar!("select time_zone from users where id = $1", id.0).fetch_optional(conn).await?;
    Ok(name.and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC))
}

/// Notes the time zone that a person lives by.
pub async fn set_time_zone(conn: &mut PgConnection, id: UserId, time_zone: Tz) -> Result<(), sqlx::Error> {
    sqlx::query!("update users set time_zone = $2 where id = $1", id.0, time_zone.name()).execute(conn).await?;
    Ok(())
}

/// The person with that address, whatever its case. For operators: it looks beyond one organisation.
pub async fn find_by_email(conn: &mut PgConnection, email: &EmailAddress) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        User,
        r#"select id as "id: UserId", email as "email: EmailAddress", name, external_id, created_at
           from users where lower(email) = lower($1)"#,
        email.as_str(),
    )
    .fetch_optional(conn)
    .await
}

/// The person whom the session issuer knows by that id. For operators: it looks beyond one organisation.
pub async fn find_by_external_id(conn: &mut PgConnection, external_id: &str) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        User,
        r#"select id as "id: UserId", email as "email: EmailAddress", name, external_id, created_at
           from users where external_id = $1"#,
        external_id,
    )
    .fetch_optional(conn)
    .await
}
