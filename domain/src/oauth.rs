//! OAuth 2.0 (RFC 6749), as the provider: programs that the operator registered get tokens of members who allowed it, by a
//! code with proof of possession (RFC 7636, S256 only) and then by refresh tokens that are exchanged at every use.
//!
//! Secrets, codes and tokens are random texts of 238 bits, of which only the SHA-256 is kept.

mod client;
mod code;
mod token;

use chrono::{DateTime, Duration, Utc};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

pub use self::{
    client::{
        Client, NAME_MAX, REDIRECTS_MAX, check_redirect, create_client, find_client, list_clients, revoke_client,
    },
    code::{NewCode, challenge_of, issue_code, redeem},
    token::{Connection, Owner, Tokens, find_connection, find_owner, is_access_token, refresh, revoke},
};
use crate::{
    api_key::Scope,
    chance::Chance,
    id::{GrantId, OrgId},
};

/// What a program can be allowed, and what it asks for unless it says.
pub const SCOPES: [Scope; 1] = [Scope::LibraryRead];
/// For how long a code is good, in seconds.
pub const CODE_S: i64 = 120;
/// For how long an access token is good, in seconds: four hours.
pub const ACCESS_S: i64 = 4 * 3600;
/// For how long a refresh token is good, in seconds: thirty days, and so is each that comes after it.
pub const REFRESH_S: i64 = 30 * 86_400;
/// For how long a refresh token that was exchanged can be exchanged once more, in seconds: the answer may have been lost.
pub const GRACE_S: i64 = 60;

const RANDOM_CHARS: usize = 40;

/// Why a code or a token gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub &'static str);

fn random(prefix: &str, chance: &Chance) -> String {
    format!("{prefix}{}", chance.alphanumeric(RANDOM_CHARS))
}

fn hash(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}

fn seconds(n: i64) -> Duration {
    Duration::seconds(n)
}

/// Ends a grant: none of its tokens opens anything from now on.
async fn end_grant(conn: &mut PgConnection, org_id: OrgId, id: GrantId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update oauth_grants set revoked_at = $3 where org_id = $1 and id = $2 and revoked_at is null",
        org_id.0,
        id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets codes and tokens whose time is long over, and grants without any. A refresh token that was exchanged is kept for
/// its time: whoever shows it again has it from somewhere.
pub async fn forget_old(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let yesterday = now - Duration::days(1);
    sqlx::query!("delete from oauth_codes where expires_at < $1", yesterday).execute(&mut *conn).await?;
    sqlx::query!("delete from oauth_tokens where expires_at < $1", yesterday).execute(&mut *conn).await?;
    sqlx::query!(
        "delete from oauth_grants g
         where g.created_at < $1 and not exists (select from oauth_tokens t where t.grant_id = g.id)",
        yesterday,
    )
    .execute(conn)
    .await?;
    Ok(())
}
