//! Idempotency keys: the answer to a create, stored in the create's own transaction and given again for a day.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::id::OrgId;

/// A stored answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// SHA-256 of the request's body.
    pub request_hash: Vec<u8>,
    /// The HTTP status.
    pub status: i16,
    /// The answer's media type.
    pub content_type: String,
    /// The answer's body, sealed because it may show a secret.
    pub answer: Vec<u8>,
}

/// What an attempt to take a key found.
#[derive(Debug)]
pub enum Taken {
    /// Nobody used the key; this transaction holds it now.
    Fresh,
    /// Another request with this key is under way.
    Running,
    /// It was answered before.
    Answered(Answer),
}

/// Takes `key` for `operation` within this transaction.
pub async fn take(conn: &mut PgConnection, org_id: OrgId, operation: &str, key: &str) -> Result<Taken, sqlx::Error> {
    // The lock lives as long as the transaction, so a second request is told at once instead of waiting.
    let locked = sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock(hashtextextended($1, 7)) as "locked!""#,
        format!("{}/{operation}/{key}", org_id.0),
    )
    .fetch_one(&mut *conn)
    .await?;
    if !locked {
        return Ok(Taken::Running);
    }
    Ok(find(conn, org_id, operation, key).await?.map_or(Taken::Fresh, Taken::Answered))
}

/// The answer stored under `key`, if there is one.
pub async fn find(
    conn: &mut PgConnection,
    org_id: OrgId,
    operation: &str,
    key: &str,
) -> Result<Option<Answer>, sqlx::Error> {
    sqlx::query_as!(
        Answer,
        "select request_hash, status, content_type, answer from idempotency_keys
         where org_id = $1 and operation = $2 and key = $3",
        org_id.0,
        operation,
        key,
    )
    .fetch_optional(conn)
    .await
}

/// Stores the answer under the key.
pub async fn store(
    conn: &mut PgConnection,
    org_id: OrgId,
    operation: &str,
    key: &str,
    answer: &Answer,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into idempotency_keys (org_id, key, operation, request_hash, status, content_type, answer, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        org_id.0,
        key,
        operation,
        answer.request_hash,
        answer.status,
        answer.content_type,
        answer.answer,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets answers from before `before`.
pub async fn forget(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("delete from idempotency_keys where created_at < $1", before).execute(conn).await?;
    Ok(done.rows_affected())
}
