//! The public keys of the session issuer: one PEM from the settings, or the table that the workers keep fresh from the
//! issuer's JSON Web Key Set (RFC 7517).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, Jwk},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::{MAX_KID_BYTES, SessionError};

/// RFC 7518, 3.3: RS256 needs 2048 bits or more.
const MIN_MODULUS_BYTES: usize = 2048 / 8;

/// The keys that a token may be signed with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionKeys(Arc<Source>);

#[derive(Debug)]
enum Source {
    /// One key for all tokens, whatever key id they name.
    Pem(DecodingKey),
    /// The keys by their ids.
    Table(HashMap<String, DecodingKey>),
}

/// Why a key or a set of keys cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not the PEM of an RSA public key of 2048 bits or more.
    #[error("is not the PEM of an RSA public key of 2048 bits or more")]
    Pem,
    /// The document is not a JSON Web Key Set.
    #[error("is not a JSON Web Key Set")]
    NotASet,
    /// None of the keys in the document signs with RS256.
    #[error("holds no RSA signing key with a key id and 2048 bits or more")]
    NoKeys,
}

/// What is kept of a key; a private part would be dropped here.
#[derive(Deserialize, Serialize)]
struct RsaJwk {
    kty: String,
    kid: String,
    n: String,
    e: String,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    purpose: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
}

impl RsaJwk {
    /// The key, if session tokens may be signed with it.
    fn read(&self) -> Option<DecodingKey> {
        let fits = self.kty == "RSA"
            && (1..=MAX_KID_BYTES).contains(&self.kid.len())
            && !self.kid.contains('\0')
            && self.purpose.as_ref().is_none_or(|purpose| purpose == "sig")
            && self.alg.as_ref().is_none_or(|alg| alg == "RS256");
        let key = fits.then(|| DecodingKey::from_rsa_components(&self.n, &self.e).ok())??;
        is_long_enough(&self.n).then_some(key)
    }
}

impl SessionKeys {
    /// Whether there is no key at all, so that no token can be verified.
    pub fn is_empty(&self) -> bool {
        matches!(&*self.0, Source::Table(keys) if keys.is_empty())
    }

    /// The one key of an installation that pins it (`-----BEGIN PUBLIC KEY-----`).
    pub fn from_pem(pem: &str) -> Result<Self, InvalidKey> {
        // The parser would take a private key too, and then refuse every token.
        if !pem.contains("PUBLIC KEY-----") {
            return Err(InvalidKey::Pem);
        }
        let key = DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| InvalidKey::Pem)?;
        let jwk = Jwk::from_decoding_key(&key, Some(Algorithm::RS256)).map_err(|_| InvalidKey::Pem)?;
        match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) if is_long_enough(&rsa.n) => Ok(Self(Arc::new(Source::Pem(key)))),
            _ => Err(InvalidKey::Pem),
        }
    }

    /// The usable keys of a JSON Web Key Set.
    pub fn from_jwks(document: &serde_json::Value) -> Result<Self, InvalidKey> {
        let keys = read_set(document)?.into_iter().filter_map(|(kid, jwk)| Some((kid, jwk.read()?))).collect();
        Ok(Self(Arc::new(Source::Table(keys))))
    }

    /// The key for a token's `kid`.
    pub(super) fn find(&self, kid: &Option<String>) -> Result<&DecodingKey, SessionError> {
        match (&*self.0, kid) {
            (Source::Pem(key), _) => Ok(key),
            (Source::Table(keys), Some(kid)) => keys.get(kid).ok_or_else(|| SessionError::UnknownKey(kid.clone())),
            (Source::Table(_), None) => Err(SessionError::Malformed("it names no key")),
        }
    }
}

/// Reads the table. It may be empty: then every token names an unknown key.
pub async fn load_keys(conn: &mut PgConnection) -> Result<SessionKeys, sqlx::Error> {
    let rows = sqlx::query_scalar!("select jwk from session_keys").fetch_all(conn).await?;
    let keys = rows
        .into_iter()
        .filter_map(|row| {
            let jwk: RsaJwk = serde_json::from_value(row).ok()?;
            let key = jwk.read()?;
            Some((jwk.kid, key))
        })
        .collect();
    Ok(SessionKeys(Arc::new(Source::Table(keys))))
}

/// Why the table was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum StoreKeysError {
    /// The document cannot be used.
    #[error("the session issuer's document {0}")]
    Document(#[from] InvalidKey),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Makes the table equal to the issuer's document, and says how many keys it holds. Keys that the issuer no longer
/// publishes are forgotten; a document without a usable key changes nothing.
pub async fn store_keys(
    conn: &mut PgConnection,
    document: &serde_json::Value,
    now: DateTime<Utc>,
) -> Result<usize, StoreKeysError> {
    let set = read_set(document)?;
    let kids: Vec<String> = set.keys().cloned().collect();
    let jwks: Vec<serde_json::Value> =
        set.values().map(|jwk| serde_json::to_value(jwk).expect("a key is a map of texts")).collect();
    sqlx::query!(
        "with gone as (delete from session_keys where kid <> all($1))
         insert into session_keys (kid, jwk, fetched_at) select kid, jwk, $3 from unnest($1, $2::jsonb[]) as f(kid, jwk)
         on conflict (kid) do update set jwk = excluded.jwk, fetched_at = excluded.fetched_at",
        &kids,
        &jwks,
        now,
    )
    .execute(conn)
    .await?;
    Ok(kids.len())
}

/// The usable keys of a document by their ids; others (of elliptic curves, for encryption) are passed over.
fn read_set(document: &serde_json::Value) -> Result<BTreeMap<String, RsaJwk>, InvalidKey> {
    let keys = document.get("keys").and_then(|keys| keys.as_array()).ok_or(InvalidKey::NotASet)?;
    let set: BTreeMap<String, RsaJwk> = keys
        .iter()
        .filter_map(|key| RsaJwk::deserialize(key).ok())
        .filter(|jwk| jwk.read().is_some())
        .map(|jwk| (jwk.kid.clone(), jwk))
        .collect();
    if set.is_empty() { Err(InvalidKey::NoKeys) } else { Ok(set) }
}

fn is_long_enough(modulus: &str) -> bool {
    URL_SAFE_NO_PAD.decode(modulus).is_ok_and(|n| n.iter().skip_while(|byte| **byte == 0).count() >= MIN_MODULUS_BYTES)
}
