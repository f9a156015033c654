//! Our own session issuer, for development and for `inkfleet admin session`: it writes the tokens that Clerk would, so
//! that the way a token is judged is the same everywhere.

use chrono::{DateTime, Duration, Utc};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, PublicKeyUse, ThumbprintHash},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Value, json};

use super::OrgClaim;
use crate::chance::Chance;

/// Signs session tokens with a private key. Printing it shows no key.
#[derive(Debug, Clone)]
pub struct SessionIssuer {
    key: EncodingKey,
    jwk: Jwk,
    kid: String,
    issuer: String,
    authorized_party: Option<String>,
}

/// A text that is not the PEM of an RSA private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not the PEM of an RSA private key")]
pub struct InvalidPrivateKey;

/// The key did not sign: claims that are no JSON, or a key that is too short for RS256.
#[derive(Debug, thiserror::Error)]
#[error("the session token could not be signed")]
pub struct Signing(#[from] jsonwebtoken::errors::Error);

impl SessionIssuer {
    /// An issuer with the key `pem` (PKCS #1 or #8) that calls itself `issuer` and writes `authorized_party` as `azp`.
    pub fn from_pem(
        pem: &SecretString,
        issuer: &str,
        authorized_party: Option<&str>,
    ) -> Result<Self, InvalidPrivateKey> {
        let key = EncodingKey::from_rsa_pem(pem.expose_secret().as_bytes()).map_err(|_| InvalidPrivateKey)?;
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256).map_err(|_| InvalidPrivateKey)?;
        // RFC 7638: the same key has the same id after every start.
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| InvalidPrivateKey)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { key, jwk, kid, issuer: issuer.into(), authorized_party: authorized_party.map(Into::into) })
    }

    /// The public key as a JSON Web Key Set, ready for [`super::store_keys`].
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk] })
    }

    /// A new session of `subject`, with `org` active, that ends `lifetime` after `now`. Claims of version 2.
    pub fn issue(
        &self,
        subject: &str,
        org: Option<&OrgClaim>,
        lifetime: Duration,
        now: DateTime<Utc>,
        chance: &Chance,
    ) -> Result<SecretString, Signing> {
        let mut claims = json!({
            "v": 2,
            "sub": subject,
            "sid": format!("sess_{}", chance.alphanumeric(27)),
            "iss": self.issuer,
            "sts": "active",
            "iat": now.timestamp(),
            "nbf": now.timestamp(),
            "exp": (now + lifetime).timestamp(),
        });
        if let Some(party) = &self.authorized_party {
            claims["azp"] = json!(party);
        }
        if let Some(org) = org {
            claims["o"] = json!({ "id": org.external_id, "rol": org.role, "slg": org.slug });
        }
        self.sign(&claims)
    }

    /// Signs claims as they are given.
    pub fn sign(&self, claims: &impl Serialize) -> Result<SecretString, Signing> {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.kid.clone());
        Ok(jsonwebtoken::encode(&header, claims, &self.key)?.into())
    }
}
