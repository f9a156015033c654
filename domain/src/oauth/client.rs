//! The programs that may ask members to let them in.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgConnection;
use subtle::ConstantTimeEq;

use super::{hash, random};
use crate::{
    chance::Chance,
    http_url::{HttpUrl, Rules},
    id::OauthClientId,
};

/// The longest name, in characters.
pub const NAME_MAX: usize = 100;
/// The most addresses that one program is sent back to.
pub const REDIRECTS_MAX: usize = 10;

/// A program.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its id, the `client_id` of the protocol.
    pub id: OauthClientId,
    /// What members read before they allow it anything.
    pub name: String,
    /// SHA-256 of its secret.
    pub secret_hash: Vec<u8>,
    /// Where members are sent back to: these addresses and no others, to the letter.
    pub redirect_uris: Vec<String>,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// Since when it may do nothing.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Client {
    /// Whether `given` is its secret, in a time that says nothing of it.
    pub fn is_secret(&self, given: &str) -> bool {
        hash(given).ct_eq(&self.secret_hash).into()
    }

    /// The address that a request names, or the only one where it names none.
    pub fn redirect(&self, named: Option<&str>) -> Option<&str> {
        match (named, &self.redirect_uris[..]) {
            (Some(named), known) => known.iter().find(|uri| *uri == named).map(String::as_str),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

/// The rule that an address to send members back to breaks, if it does: https, or http on this machine for development,
/// without a fragment (RFC 6749, 3.1.2).
pub fn check_redirect(uri: &str) -> Result<(), String> {
    let url = HttpUrl::parse(uri, Rules { allow_http: true, max_chars: 2000 }).map_err(|rule| rule.to_string())?;
    let here = ["localhost", "127.0.0.1"].contains(&url.host().to_string().as_str());
    if url.scheme() == "https" || here { Ok(()) } else { Err("must be an https:// URL".into()) }
}

/// Registers a program. Its secret is returned here and can never be read again.
pub async fn create_client(
    conn: &mut PgConnection,
    name: &str,
    redirect_uris: &[String],
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<(OauthClientId, SecretString), sqlx::Error> {
    let (id, secret) = (OauthClientId::new(now, chance), SecretString::from(random("ocs_", chance)));
    sqlx::query!(
        "insert into oauth_clients (id, name, secret_hash, redirect_uris, created_at) values ($1, $2, $3, $4, $5)",
        id.0,
        name,
        hash(secret.expose_secret()),
        redirect_uris,
        now,
    )
    .execute(conn)
    .await?;
    Ok((id, secret))
}

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Client,
            r#"select id as "id: OauthClientId", name, secret_hash, redirect_uris, created_at, revoked_at
               from oauth_clients "# + $tail,
            $($arg),*
        )
    };
}

/// The program of that id, if it may do anything.
pub async fn find_client(conn: &mut PgConnection, id: OauthClientId) -> Result<Option<Client>, sqlx::Error> {
    select!("where id = $1 and revoked_at is null", id.0).fetch_optional(conn).await
}

/// Every program, the newest first.
pub async fn list_clients(conn: &mut PgConnection) -> Result<Vec<Client>, sqlx::Error> {
    select!("order by id desc limit $1", 1000).fetch_all(conn).await
}

/// Ends a program and all that members allowed it; `false` when there is none that may do anything.
pub async fn revoke_client(
    conn: &mut PgConnection,
    id: OauthClientId,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!("update oauth_clients set revoked_at = $2 where id = $1 and revoked_at is null", id.0, now)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("update oauth_grants set revoked_at = $2 where client_id = $1 and revoked_at is null", id.0, now)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}
