//! Codes: shown once by the program that they were made for, with the text behind the challenge of its request.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use subtle::ConstantTimeEq;

use super::{CODE_S, Refused, Tokens, end_grant, hash, random, seconds, token};
use crate::{
    api_key::Scope,
    chance::Chance,
    id::{GrantId, OauthClientId, OrgId, UserId},
};

/// What a member allowed a program, before it has its first tokens.
#[derive(Debug, Clone)]
pub struct NewCode {
    /// Whom.
    pub client_id: OauthClientId,
    /// In which workspace.
    pub org_id: OrgId,
    /// Who.
    pub user_id: UserId,
    /// The address that the request named, if it did.
    pub redirect_uri: Option<String>,
    /// What.
    pub scopes: Vec<Scope>,
    /// The challenge of the request: [`challenge_of`] a text that only the program has.
    pub challenge: String,
}

/// The challenge of a verifier (RFC 7636, 4.2, S256).
pub fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// Makes a code, which is returned here and can never be read again.
pub async fn issue_code(
    conn: &mut PgConnection,
    new: &NewCode,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<String, sqlx::Error> {
    let code = random("oac_", chance);
    sqlx::query!(
        "insert into oauth_codes (hash, client_id, org_id, user_id, redirect_uri, scopes, challenge, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        hash(&code),
        new.client_id.0,
        new.org_id.0,
        new.user_id.0,
        new.redirect_uri,
        &new.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>() as &[&str],
        new.challenge,
        now + seconds(CODE_S),
    )
    .execute(conn)
    .await?;
    Ok(code)
}

/// The first tokens of a grant. A code that is shown twice ends what came of it the first time; commit either answer.
pub async fn redeem(
    conn: &mut PgConnection,
    client_id: OauthClientId,
    code: &str,
    redirect_uri: Option<&str>,
    verifier: &str,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<Result<Tokens, Refused>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select org_id as "org_id: OrgId", user_id as "user_id: UserId", redirect_uri, scopes, challenge, expires_at,
                  grant_id as "grant_id: GrantId"
           from oauth_codes where hash = $1 and client_id = $2 for no key update"#,
        hash(code),
        client_id.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(Err(Refused("The code is not valid."))) };
    if let Some(grant_id) = row.grant_id {
        end_grant(conn, row.org_id, grant_id, now).await?;
        return Ok(Err(Refused("The code was used before; what came of it has ended.")));
    }
    if row.expires_at <= now {
        return Ok(Err(Refused("The code has expired.")));
    }
    if row.redirect_uri.as_deref() != redirect_uri {
        return Ok(Err(Refused("redirect_uri is not the one that the code was made for.")));
    }
    if !bool::from(challenge_of(verifier).as_bytes().ct_eq(row.challenge.as_bytes())) {
        return Ok(Err(Refused("code_verifier does not fit the code_challenge.")));
    }
    let grant_id = GrantId::new(now, chance);
    sqlx::query!(
        "insert into oauth_grants (id, client_id, org_id, user_id, scopes, created_at) values ($1, $2, $3, $4, $5, $6)",
        grant_id.0,
        client_id.0,
        row.org_id.0,
        row.user_id.0,
        &row.scopes,
        now,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("update oauth_codes set grant_id = $2 where hash = $1", hash(code), grant_id.0)
        .execute(&mut *conn)
        .await?;
    Ok(Ok(token::issue(conn, row.org_id, grant_id, row.scopes, None, now, chance).await?))
}
