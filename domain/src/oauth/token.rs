//! Tokens: an access token opens the API for some hours; a refresh token is exchanged for new ones of both. One that is
//! shown again after it was exchanged is in two hands, and ends its grant, unless the answer to the exchange was lost.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{ACCESS_S, GRACE_S, REFRESH_S, Refused, end_grant, hash, random, seconds};
use crate::{
    api_key::{Scope, scopes},
    chance::Chance,
    id::{GrantId, OauthClientId, OrgId, UserId},
    member::Role,
    plan::Plan,
};

const ACCESS_PREFIX: &str = "oat_";
const REFRESH_PREFIX: &str = "ort_";

/// Tokens as their program gets them.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Opens the API for [`ACCESS_S`].
    pub access: String,
    /// Is exchanged for new tokens within [`REFRESH_S`].
    pub refresh: String,
    /// What they may be used for, by name.
    pub scopes: Vec<String>,
}

/// What a request learns from a valid access token.
#[derive(Debug, Clone)]
pub struct Owner {
    /// Its grant.
    pub grant_id: GrantId,
    /// The workspace that it opens.
    pub org_id: OrgId,
    /// Who allowed it.
    pub user_id: UserId,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// The member's present role.
    pub role: Role,
    /// What the organisation has paid for.
    pub plan: Plan,
    /// Whether that is suspended.
    pub suspended: bool,
}

/// Whether a text looks like an access token.
pub fn is_access_token(text: &str) -> bool {
    text.starts_with(ACCESS_PREFIX)
}

/// Makes an access token and a refresh token of a grant.
pub(super) async fn issue(
    conn: &mut PgConnection,
    org_id: OrgId,
    grant_id: GrantId,
    scopes: Vec<String>,
    parent: Option<&[u8]>,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<Tokens, sqlx::Error> {
    let tokens = Tokens { access: random(ACCESS_PREFIX, chance), refresh: random(REFRESH_PREFIX, chance), scopes };
    sqlx::query!(
        "insert into oauth_tokens (hash, org_id, grant_id, kind, parent, expires_at)
         values ($1, $3, $4, 1, $5, $6), ($2, $3, $4, 2, $5, $7)",
        hash(&tokens.access),
        hash(&tokens.refresh),
        org_id.0,
        grant_id.0,
        parent,
        now + seconds(ACCESS_S),
        now + seconds(REFRESH_S),
    )
    .execute(conn)
    .await?;
    Ok(tokens)
}

/// Exchanges a refresh token. Commit either answer: one that is shown again ends its grant.
pub async fn refresh(
    conn: &mut PgConnection,
    client_id: OauthClientId,
    token: &str,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<Result<Tokens, Refused>, sqlx::Error> {
    let hash = hash(token);
    // Both rows are held: of two exchanges at once the second sees what the first did.
    let row = sqlx::query!(
        r#"select t.expires_at, t.used_at, g.id as "grant_id: GrantId", g.org_id as "org_id: OrgId", g.scopes, g.revoked_at
           from oauth_tokens t join oauth_grants g on g.id = t.grant_id
           where t.hash = $1 and t.kind = 2 and g.client_id = $2 for no key update of t, g"#,
        hash,
        client_id.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row.filter(|row| row.revoked_at.is_none() && row.expires_at > now) else {
        return Ok(Err(Refused("The refresh token is not valid, has expired or was revoked.")));
    };
    match row.used_at {
        None => {
            sqlx::query!("update oauth_tokens set used_at = $2 where hash = $1", hash, now).execute(&mut *conn).await?;
        }
        Some(at) if now - at <= seconds(GRACE_S) && !has_heirs(conn, &hash).await? => {}
        Some(_) => {
            end_grant(conn, row.org_id, row.grant_id, now).await?;
            return Ok(Err(Refused("The refresh token was used before; what it belonged to has ended.")));
        }
    }
    Ok(Ok(issue(conn, row.org_id, row.grant_id, row.scopes, Some(&hash), now, chance).await?))
}

/// Whether a token that this one was exchanged for was exchanged in turn: then its answer was not lost.
async fn has_heirs(conn: &mut PgConnection, hash: &[u8]) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from oauth_tokens where parent = $1 and used_at is not null) as "has!""#,
        hash,
    )
    .fetch_one(conn)
    .await
}

/// Whose access token this is: one query. `None` for one that is unknown, expired or revoked, and for one whose member is
/// no longer one.
pub async fn find_owner(
    conn: &mut PgConnection,
    token: &str,
    now: DateTime<Utc>,
) -> Result<Option<Owner>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select g.id as "grant_id: GrantId", g.org_id as "org_id: OrgId", g.user_id as "user_id: UserId", g.scopes,
                  m.role as "role: Role", o.plan as "plan: Plan", o.suspended_at is not null as "suspended!"
           from oauth_tokens t
           join oauth_grants g on g.id = t.grant_id
           join members m on m.org_id = g.org_id and m.user_id = g.user_id
           join organizations o on o.id = g.org_id
           where t.hash = $1 and t.kind = 1 and t.expires_at > $2 and g.revoked_at is null"#,
        hash(token),
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Owner {
        grant_id: row.grant_id,
        org_id: row.org_id,
        user_id: row.user_id,
        scopes: scopes(&row.scopes),
        role: row.role,
        plan: row.plan,
        suspended: row.suspended,
    }))
}

/// What a member sees of a grant.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The program's name.
    pub name: String,
    /// When it was let in.
    pub created_at: DateTime<Utc>,
}

/// A grant of an organisation, with its program.
pub async fn find_connection(
    conn: &mut PgConnection,
    org_id: OrgId,
    id: GrantId,
) -> Result<Option<Connection>, sqlx::Error> {
    sqlx::query_as!(
        Connection,
        "select c.name, g.created_at from oauth_grants g join oauth_clients c on c.id = g.client_id
         where g.org_id = $1 and g.id = $2",
        org_id.0,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Ends the grant of a token of either kind; one that is unknown has ended already. `false` where it is another program's.
pub async fn revoke(
    conn: &mut PgConnection,
    client_id: OauthClientId,
    token: &str,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let row = sqlx::query!(
        r#"select g.id as "grant_id: GrantId", g.org_id as "org_id: OrgId", g.client_id as "client_id: OauthClientId"
           from oauth_tokens t join oauth_grants g on g.id = t.grant_id where t.hash = $1"#,
        hash(token),
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(true) };
    if row.client_id != client_id {
        return Ok(false);
    }
    end_grant(conn, row.org_id, row.grant_id, now).await?;
    Ok(true)
}
