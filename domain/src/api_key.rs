//! API keys: `<prefix>` and 40 random letters and digits, shown once. The row keeps their SHA-256 and first twelve
//! characters, which is enough: 238 random bits need no slow hash.
//!
//! A key belongs to a person, and their present role in the organisation decides what it may do; when the membership
//! ends, the key ends with it.

mod scope;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use crate::{
    chance::Chance,
    id::{ApiKeyId, OrgId, UserId},
    member::Role,
    plan::Plan,
};

pub use scope::Scope;

const RANDOM_CHARS: usize = 40;
const START_CHARS: usize = 12;

/// Which surface a key is for: each document names its own prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiKeyPrefix {
    /// Inkode.
    Ink,
    /// iloveQR.
    Ilqr,
    /// InkLink.
    SecretLive,
    /// Inkr.
    Inkr,
    /// QR Code Agency.
    Smk,
}

const PREFIXES: [(ApiKeyPrefix, &str, &str); 5] = [
    (ApiKeyPrefix::Ink, "ink", "ink_"),
    (ApiKeyPrefix::Ilqr, "ilqr", "ilqr_"),
    (ApiKeyPrefix::SecretLive, "secret_live", "secret_live_"),
    (ApiKeyPrefix::Inkr, "inkr", "inkr_"),
    (ApiKeyPrefix::Smk, "smk", "smk_"),
];

impl ApiKeyPrefix {
    /// Every prefix.
    pub const ALL: [Self; 5] = [Self::Ink, Self::Ilqr, Self::SecretLive, Self::Inkr, Self::Smk];

    /// The name for operators and scripts: the prefix without its underscore at the end.
    pub const fn name(self) -> &'static str {
        PREFIXES[self as usize].1
    }

    /// What stands before the random part.
    pub const fn text(self) -> &'static str {
        PREFIXES[self as usize].2
    }

    /// The prefix of that name, with or without its underscore at the end.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|prefix| prefix.name() == name || prefix.text() == name)
    }

    /// The prefix of a whole key; `None` for what cannot be one.
    pub fn of_secret(secret: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|prefix| {
            secret
                .strip_prefix(prefix.text())
                .is_some_and(|random| random.len() == RANDOM_CHARS && random.bytes().all(|b| b.is_ascii_alphanumeric()))
        })
    }
}

/// A key's row.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its id; not the key.
    pub id: ApiKeyId,
    /// The organisation it opens.
    pub org_id: OrgId,
    /// Whose role decides.
    pub user_id: UserId,
    /// What its owner calls it.
    pub name: String,
    /// The surface it was made for.
    pub prefix: ApiKeyPrefix,
    /// Its first twelve characters, by which people tell keys apart.
    pub start: String,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when it opens nothing.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A key that is about to be made.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// The organisation it opens.
    pub org_id: OrgId,
    /// Whose role decides.
    pub user_id: UserId,
    /// What its owner calls it.
    pub name: String,
    /// The surface it is for.
    pub prefix: ApiKeyPrefix,
    /// What it may be used for; [`Scope::ALL`] unless its owner chose.
    pub scopes: Vec<Scope>,
}

/// What a request learns from a valid key.
#[derive(Debug, Clone)]
pub struct ApiKeyOwner {
    /// The key's row.
    pub key_id: ApiKeyId,
    /// The organisation it opens.
    pub org_id: OrgId,
    /// Whose key it is.
    pub user_id: UserId,
    /// The surface it was made for.
    pub prefix: ApiKeyPrefix,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// The owner's present role.
    pub role: Role,
    /// What the organisation has paid for.
    pub plan: Plan,
    /// Whether that is suspended.
    pub suspended: bool,
}

/// Makes a key and stores its row. The text is returned here and can never be read again.
pub async fn create(
    conn: &mut PgConnection,
    new: &NewApiKey,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<(ApiKey, SecretString), sqlx::Error> {
    let secret = SecretString::from(format!("{}{}", new.prefix.text(), chance.alphanumeric(RANDOM_CHARS)));
    let key = ApiKey {
        id: ApiKeyId::new(now, chance),
        org_id: new.org_id,
        user_id: new.user_id,
        name: new.name.clone(),
        prefix: new.prefix,
        start: secret.expose_secret()[..START_CHARS].into(),
        scopes: new.scopes.clone(),
        created_at: now,
        revoked_at: None,
    };
    sqlx::query!(
        "insert into api_keys (id, org_id, user_id, name, prefix, hash, start, scopes, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        key.id.0,
        key.org_id.0,
        key.user_id.0,
        key.name,
        key.prefix.text(),
        hash(secret.expose_secret()),
        key.start,
        &key.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>() as &[&str],
        now,
    )
    .execute(conn)
    .await?;
    Ok((key, secret))
}

/// Whose key this is: one query. `None` for a text that is no key, an unknown or revoked key, and a key whose owner is
/// no longer a member.
pub async fn find_by_secret(conn: &mut PgConnection, secret: &str) -> Result<Option<ApiKeyOwner>, sqlx::Error> {
    let Some(prefix) = ApiKeyPrefix::of_secret(secret) else { return Ok(None) };
    // The look-up is by the hash, so the time it takes says nothing of the key.
    let row = sqlx::query!(
        r#"select k.id as "id: ApiKeyId", k.org_id as "org_id: OrgId", k.user_id as "user_id: UserId", k.scopes,
                  m.role as "role: Role", o.plan as "plan: Plan", o.suspended_at is not null as "suspended!"
           from api_keys k
           join members m on m.org_id = k.org_id and m.user_id = k.user_id
           join organizations o on o.id = k.org_id
           where k.hash = $1 and k.revoked_at is null"#,
        hash(secret),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| ApiKeyOwner {
        key_id: row.id,
        org_id: row.org_id,
        user_id: row.user_id,
        prefix,
        scopes: scopes(&row.scopes),
        role: row.role,
        plan: row.plan,
        suspended: row.suspended,
    }))
}

/// What one key of an organisation is called, and when it was made.
pub async fn find_name(
    conn: &mut PgConnection,
    org_id: OrgId,
    id: ApiKeyId,
) -> Result<Option<(String, DateTime<Utc>)>, sqlx::Error> {
    let row = sqlx::query!("select name, created_at from api_keys where org_id = $1 and id = $2", org_id.0, id.0)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| (row.name, row.created_at)))
}

/// An organisation's keys, revoked ones too, the newest first.
pub async fn list(conn: &mut PgConnection, org_id: OrgId) -> Result<Vec<ApiKey>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select id as "id: ApiKeyId", org_id as "org_id: OrgId", user_id as "user_id: UserId", name, prefix, start,
                  scopes, created_at, revoked_at
           from api_keys where org_id = $1 order by created_at desc, id desc"#,
        org_id.0,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let prefix = ApiKeyPrefix::by_name(&row.prefix)
                .ok_or_else(|| sqlx::Error::Decode(format!("unknown API key prefix {:?}", row.prefix).into()))?;
            Ok(ApiKey {
                id: row.id,
                org_id: row.org_id,
                user_id: row.user_id,
                name: row.name,
                prefix,
                start: row.start,
                scopes: scopes(&row.scopes),
                created_at: row.created_at,
                revoked_at: row.revoked_at,
            })
        })
        .collect()
}

/// Ends a key from the next request on; `false` when the organisation has no such key that still works.
pub async fn revoke(
    conn: &mut PgConnection,
    org_id: OrgId,
    id: ApiKeyId,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update api_keys set revoked_at = $3 where org_id = $1 and id = $2 and revoked_at is null",
        org_id.0,
        id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

/// A scope that this version does not know gives nothing.
pub(crate) fn scopes(names: &[String]) -> Vec<Scope> {
    names.iter().filter_map(|name| Scope::by_name(name)).collect()
}
