//! Workspace sessions: JSON Web Tokens (RFC 7519) as Clerk writes them, signed with RS256.
//!
//! Here a token is judged by its text, the issuer's public keys and the time that is passed in; who the subject is in
//! our tables, and what they may do there, is [`crate::member`]'s answer. Cookies and `Origin` are the API's business.
//! Claims: <https://clerk.com/docs/backend-requests/resources/session-tokens>, versions 1 and 2.

mod issuer;
mod keys;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

pub use issuer::{InvalidPrivateKey, SessionIssuer, Signing};
pub use keys::{InvalidKey, SessionKeys, StoreKeysError, load_keys, store_keys};

/// How far the issuer's clock and ours may be apart, in seconds.
const SKEW_S: f64 = 5.0;
/// Cookies end at 4 KiB, so an honest token is far shorter.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
const MAX_KID_BYTES: usize = 128;

/// What a session token must satisfy.
#[derive(Debug, Clone)]
pub struct SessionVerifier {
    /// The issuer's public keys.
    pub keys: SessionKeys,
    /// The `iss` that is wanted; `None` takes any, for installations that pinned a key by PEM.
    pub issuer: Option<String>,
    /// The origins (`azp`) that sessions may be made for; where there are any, a token must name one of them.
    pub authorized_parties: Vec<String>,
}

/// What a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionClaims {
    /// The person (`sub`), by the issuer's id.
    pub subject: String,
    /// The session (`sid`), by the issuer's id.
    pub session_id: String,
    /// The organisation that is active in the session.
    pub org: Option<OrgClaim>,
    /// Who issued it.
    pub issuer: Option<String>,
    /// The origin it was made for.
    pub authorized_party: Option<String>,
    /// Who really acts, where somebody acts as the subject. To be logged.
    pub impersonator: Option<String>,
}

/// The active organisation of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgClaim {
    /// The issuer's id of it, or our own `org_…`.
    pub external_id: String,
    /// The role at the issuer, without its `org:`. For information: the present row in `members` decides.
    pub role: String,
    /// The slug at the issuer.
    pub slug: Option<String>,
}

/// Why a token is refused. The texts are for logs; a caller is told only that the session is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Not a session token at all.
    #[error("the token is not a session token: {0}")]
    Malformed(&'static str),
    /// Not RS256.
    #[error("the token is not signed with RS256")]
    Algorithm,
    /// Signed with a key that is not in the table: it may be new, so the table is worth a refresh.
    #[error("the token names the unknown key {0:?}")]
    UnknownKey(String),
    /// The signature is not the key's.
    #[error("the token's signature is wrong")]
    Signature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is still to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iss` is another.
    #[error("the token comes from another issuer")]
    Issuer,
    /// `azp` is missing or not one of ours.
    #[error("the token was made for another origin")]
    Party,
    /// `sts` says that the sign-in is not complete.
    #[error("the session is not active")]
    Pending,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    sid: Option<String>,
    iss: Option<String>,
    azp: Option<String>,
    sts: Option<String>,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    act: Option<Actor>,
    o: Option<OrgV2>,
    org_id: Option<String>,
    org_role: Option<String>,
    org_slug: Option<String>,
}

#[derive(Deserialize)]
struct Actor {
    sub: String,
}

#[derive(Deserialize)]
struct OrgV2 {
    id: String,
    rol: Option<String>,
    slg: Option<String>,
}

impl SessionVerifier {
    /// Checks a token's signature and claims at the moment `now`.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<SessionClaims, SessionError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(SessionError::Malformed("too long"));
        }
        let key = self.keys.find(&read_kid(token)?)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &signature_only()).map_err(refusal)?.claims;
        check_times(&claims, now)?;
        if self.issuer.is_some() && claims.iss != self.issuer {
            return Err(SessionError::Issuer);
        }
        let party_fits = |party: &String| self.authorized_parties.contains(party);
        if !self.authorized_parties.is_empty() && !claims.azp.as_ref().is_some_and(party_fits) {
            return Err(SessionError::Party);
        }
        // Absent in older tokens. A state that is not known to be good is taken for bad.
        if claims.sts.as_deref().is_some_and(|state| state != "active") {
            return Err(SessionError::Pending);
        }
        claims.try_into()
    }
}

/// The token's `kid`, after everything in its header that needs no key has been checked.
fn read_kid(token: &str) -> Result<Option<String>, SessionError> {
    let header = jsonwebtoken::decode_header(token).map_err(refusal)?;
    if header.alg != Algorithm::RS256 {
        return Err(SessionError::Algorithm);
    }
    // OAuth access tokens (`at+jwt`) are signed with the same keys and are not sessions.
    if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err(SessionError::Malformed("its type is not JWT"));
    }
    // RFC 7515, 4.1.11: what is critical and not understood must be refused.
    if header.crit.is_some() {
        return Err(SessionError::Malformed("it has critical extensions"));
    }
    if header.kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
        return Err(SessionError::Malformed("its key id is too long"));
    }
    Ok(header.kid)
}

/// The library checks the signature and no claim: its clock is the machine's and not ours.
fn signature_only() -> Validation {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

fn check_times(claims: &Claims, now: DateTime<Utc>) -> Result<(), SessionError> {
    let now_s = now.timestamp_micros() as f64 / 1e6;
    if claims.exp <= now_s - SKEW_S {
        return Err(SessionError::Expired);
    }
    let to_come = |at: Option<f64>| at.is_some_and(|at| at > now_s + SKEW_S);
    if to_come(claims.nbf) || to_come(claims.iat) {
        return Err(SessionError::NotYetValid);
    }
    Ok(())
}

fn refusal(error: jsonwebtoken::errors::Error) -> SessionError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => SessionError::Signature,
        ErrorKind::InvalidAlgorithm => SessionError::Algorithm,
        ErrorKind::Json(_) => SessionError::Malformed("its header or claims are not those of a session"),
        _ => SessionError::Malformed("not three parts of base64url"),
    }
}

impl TryFrom<Claims> for SessionClaims {
    type Error = SessionError;

    fn try_from(claims: Claims) -> Result<Self, SessionError> {
        if claims.sub.is_empty() {
            return Err(SessionError::Malformed("it has no subject"));
        }
        // Tokens made from templates carry the same issuer and key, and no session.
        let session_id =
            claims.sid.filter(|sid| !sid.is_empty()).ok_or(SessionError::Malformed("it has no session id"))?;
        let org = match (claims.o, claims.org_id) {
            (Some(o), _) => Some((o.id, o.rol, o.slg)),
            (None, Some(id)) => Some((id, claims.org_role, claims.org_slug)),
            (None, None) => None,
        };
        Ok(Self {
            subject: claims.sub,
            session_id,
            org: org.map(|(external_id, role, slug)| OrgClaim {
                external_id,
                role: role.map(|role| role.strip_prefix("org:").unwrap_or(&role).into()).unwrap_or_default(),
                slug,
            }),
            issuer: claims.iss,
            authorized_party: claims.azp,
            impersonator: claims.act.map(|actor| actor.sub),
        })
    }
}
