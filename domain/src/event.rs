//! Events: facts that happened once, stored with the bytes around which every webhook body is built.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    id::{EventId, OrgId},
    json::JsonText,
};

/// The most characters of a client's own event id.
pub const CLIENT_ID_MAX: usize = 255;
/// The most bytes of one event as it arrives.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;
/// The most events of one batch.
pub const BATCH_MAX: usize = 500;

/// An event that is about to be stored.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Its id; the day of its partition is in it.
    pub id: EventId,
    /// Whose it is.
    pub org_id: OrgId,
    /// Its type, known to at least one dialect.
    pub event_type: String,
    /// Its data, as `JSON.stringify` prints it.
    pub data: JsonText,
    /// The producer's own id: the same one twice is one event.
    pub client_id: Option<String>,
    /// When it happened, as bodies show it.
    pub created_at: DateTime<Utc>,
}

/// The first answer to a client's own event id.
#[derive(Debug, Clone)]
pub struct Known {
    /// Whose it is.
    pub org_id: OrgId,
    /// The client's id.
    pub client_id: String,
    /// The event that was stored then.
    pub event_id: EventId,
    /// Its type.
    pub event_type: String,
    /// To how many endpoints it went.
    pub deliveries: i32,
}

/// Stores events.
pub async fn insert_many(conn: &mut PgConnection, events: &[&NewEvent]) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into events (id, org_id, type, data, client_id, created_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])",
        &events.iter().map(|e| e.id.0).collect::<Vec<_>>(),
        &events.iter().map(|e| e.org_id.0).collect::<Vec<_>>(),
        &events.iter().map(|e| e.event_type.as_str()).collect::<Vec<_>>() as &[&str],
        &events.iter().map(|e| e.data.as_str()).collect::<Vec<_>>() as &[&str],
        &events.iter().map(|e| e.client_id.clone()).collect::<Vec<_>>() as &[Option<String>],
        &events.iter().map(|e| e.created_at).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Reserves the clients' own ids; returns the `(org, client id)` pairs that were new. Waits for a transaction that is
/// about to store the same id. `known` must be sorted by `(org_id, client_id)`, so that two callers never wait for each
/// other.
pub async fn reserve_client_ids(
    conn: &mut PgConnection,
    known: &[Known],
    now: DateTime<Utc>,
) -> Result<Vec<(OrgId, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        "insert into event_client_ids (org_id, client_id, event_id, type, deliveries, created_at)
         select f.*, $6 from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::int[]) as f
         on conflict do nothing returning org_id, client_id",
        &known.iter().map(|k| k.org_id.0).collect::<Vec<_>>(),
        &known.iter().map(|k| k.client_id.as_str()).collect::<Vec<_>>() as &[&str],
        &known.iter().map(|k| k.event_id.0).collect::<Vec<_>>(),
        &known.iter().map(|k| k.event_type.as_str()).collect::<Vec<_>>() as &[&str],
        &known.iter().map(|k| k.deliveries).collect::<Vec<_>>(),
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (OrgId(row.org_id), row.client_id)).collect())
}

/// The first answers to clients' own ids.
pub async fn find_known(conn: &mut PgConnection, ids: &[(OrgId, String)]) -> Result<Vec<Known>, sqlx::Error> {
    sqlx::query_as!(
        Known,
        r#"select c.org_id as "org_id: OrgId", c.client_id, c.event_id as "event_id: EventId", c.type as event_type,
                  c.deliveries
           from unnest($1::uuid[], $2::text[]) as f(org_id, client_id)
           join event_client_ids c on c.org_id = f.org_id and c.client_id = f.client_id"#,
        &ids.iter().map(|id| id.0.0).collect::<Vec<_>>(),
        &ids.iter().map(|id| id.1.as_str()).collect::<Vec<_>>() as &[&str],
    )
    .fetch_all(conn)
    .await
}

/// Forgets clients' ids from before `before`; returns how many.
pub async fn forget_client_ids(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("delete from event_client_ids where created_at < $1", before).execute(conn).await?;
    Ok(done.rows_affected())
}

/// An event as operators see it.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub event_type: String,
    /// Its data, JSON text.
    pub data: String,
    /// When it happened.
    pub created_at: DateTime<Utc>,
}

/// One event of an organisation.
pub async fn find(conn: &mut PgConnection, org_id: OrgId, id: EventId) -> Result<Option<Event>, sqlx::Error> {
    sqlx::query_as!(
        Event,
        r#"select id as "id: EventId", type as event_type, data, created_at from events where org_id = $1 and id = $2"#,
        org_id.0,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// An organisation's events of the given types, newest first, from before `before`.
pub async fn list(
    conn: &mut PgConnection,
    org_id: OrgId,
    types: &[&str],
    before: Option<EventId>,
    limit: i64,
) -> Result<Vec<Event>, sqlx::Error> {
    let before = before.map_or(Uuid::max(), |id| id.0);
    sqlx::query_as!(
        Event,
        r#"select id as "id: EventId", type as event_type, data, created_at from events
           where org_id = $1 and id < $2 and type = any($3) order by id desc limit $4"#,
        org_id.0,
        before,
        types as &[&str],
        limit,
    )
    .fetch_all(conn)
    .await
}
