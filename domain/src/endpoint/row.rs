//! The rows of endpoints.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Endpoint;
use crate::{
    dialect::{DialectName, Health},
    id::{EndpointId, OrgId, UserId},
};

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Endpoint,
            r#"select id as "id: EndpointId", number, org_id as "org_id: OrgId", dialect as "dialect: DialectName", url,
                      name, event_types, enabled, health as "health: Health", secret, previous_secret,
                      previous_secret_until, failures_in_row, first_failure_at, last_success_at, last_delivery_at,
                      last_response_status, health_changed_at, health_reason, created_by as "created_by: UserId",
                      created_at, updated_at
               from endpoints "# + $tail,
            $($arg),*
        )
    };
}

/// One endpoint of an organisation; `dialect` narrows it to a surface's own.
pub async fn find(
    conn: &mut PgConnection,
    org_id: OrgId,
    id: EndpointId,
    dialect: Option<DialectName>,
) -> Result<Option<Endpoint>, sqlx::Error> {
    select!(
        "where org_id = $1 and id = $2 and ($3::text is null or dialect = $3) and deleted_at is null",
        org_id.0,
        id.0,
        dialect.map(DialectName::as_str),
    )
    .fetch_optional(conn)
    .await
}

/// One endpoint by its number.
pub async fn find_by_number(
    conn: &mut PgConnection,
    org_id: OrgId,
    number: i64,
    dialect: DialectName,
) -> Result<Option<Endpoint>, sqlx::Error> {
    select!(
        "where org_id = $1 and number = $2 and dialect = $3 and deleted_at is null",
        org_id.0,
        number,
        dialect.as_str(),
    )
    .fetch_optional(conn)
    .await
}

/// An organisation's endpoints, newest first, from before `before`.
pub async fn list(
    conn: &mut PgConnection,
    org_id: OrgId,
    dialect: Option<DialectName>,
    before: Option<EndpointId>,
    limit: i64,
) -> Result<Vec<Endpoint>, sqlx::Error> {
    select!(
        "where org_id = $1 and ($2::text is null or dialect = $2) and id < $3 and deleted_at is null
         order by id desc limit $4",
        org_id.0,
        dialect.map(DialectName::as_str),
        before.map_or(Uuid::max(), |id| id.0),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// How many endpoints of a dialect are switched on. Locks the organisation's row, so that two creates at once cannot
/// both take the last place.
pub async fn count_active(conn: &mut PgConnection, org_id: OrgId, dialect: DialectName) -> Result<i64, sqlx::Error> {
    sqlx::query!("select id from organizations where id = $1 for no key update", org_id.0)
        .fetch_optional(&mut *conn)
        .await?;
    sqlx::query_scalar!(
        r#"select count(*) as "n!" from endpoints
           where org_id = $1 and dialect = $2 and enabled and health <> 'disabled' and deleted_at is null"#,
        org_id.0,
        dialect.as_str(),
    )
    .fetch_one(conn)
    .await
}

/// How many endpoints an organisation has, of all dialects, switched on or off.
pub async fn count(conn: &mut PgConnection, org_id: OrgId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from endpoints where org_id = $1 and deleted_at is null"#,
        org_id.0
    )
    .fetch_one(conn)
    .await
}

/// An endpoint that is about to be stored.
#[derive(Debug)]
pub struct NewEndpoint<'a> {
    /// Its id.
    pub id: EndpointId,
    /// Whose it is.
    pub org_id: OrgId,
    /// How it is spoken to.
    pub dialect: DialectName,
    /// Where it is; checked.
    pub url: &'a str,
    /// What its owner calls it.
    pub name: &'a str,
    /// What it subscribes to.
    pub event_types: Option<&'a [String]>,
    /// The owner's switch.
    pub enabled: bool,
    /// Sealed.
    pub secret: &'a [u8],
    /// Who makes it.
    pub created_by: UserId,
}

/// Stores an endpoint.
pub async fn insert(conn: &mut PgConnection, new: &NewEndpoint<'_>, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into endpoints (id, org_id, dialect, url, name, event_types, enabled, secret, created_by, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)",
        new.id.0,
        new.org_id.0,
        new.dialect.as_str(),
        new.url,
        new.name,
        new.event_types,
        new.enabled,
        new.secret,
        new.created_by.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores an endpoint's settings (address, name, subscriptions, switch) and health as they now stand in `endpoint`, which
/// came from [`lock`] in the same transaction: otherwise what a recorder noted meanwhile would be undone.
pub async fn update(conn: &mut PgConnection, endpoint: &Endpoint, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update endpoints set url = $3, name = $4, event_types = $5, enabled = $6, health = $7, failures_in_row = $8,
                first_failure_at = $9, health_changed_at = $10, health_reason = $11, updated_at = $12
         where org_id = $1 and id = $2",
        endpoint.org_id.0,
        endpoint.id.0,
        endpoint.url,
        endpoint.name,
        endpoint.event_types.as_deref(),
        endpoint.enabled,
        endpoint.health.as_str(),
        endpoint.failures_in_row,
        endpoint.first_failure_at,
        endpoint.health_changed_at,
        endpoint.health_reason,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores a new sealed secret; the old one signs beside it until `overlap_until`, if given.
pub async fn rotate_secret(
    conn: &mut PgConnection,
    org_id: OrgId,
    id: EndpointId,
    secret: &[u8],
    overlap_until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update endpoints set previous_secret = case when $4::timestamptz is null then null else secret end,
                previous_secret_until = $4, secret = $3, updated_at = $5
         where org_id = $1 and id = $2",
        org_id.0,
        id.0,
        secret,
        overlap_until,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks an endpoint as deleted; `false` when there was none. Its deliveries under way are cancelled by
/// [`crate::delivery::cancel_for_endpoint`] in the same transaction. Waits for a replay that reopens some right now.
pub async fn delete(
    conn: &mut PgConnection,
    org_id: OrgId,
    id: EndpointId,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "with locked as (select id from endpoints where org_id = $1 and id = $2 and deleted_at is null for update)
         update endpoints e set deleted_at = $3 from locked where e.id = locked.id",
        org_id.0,
        id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// One endpoint of an organisation, locked until the transaction ends, so that a change builds on what it now is.
pub async fn lock(conn: &mut PgConnection, org_id: OrgId, id: EndpointId) -> Result<Option<Endpoint>, sqlx::Error> {
    select!("where org_id = $1 and id = $2 and deleted_at is null for no key update", org_id.0, id.0)
        .fetch_optional(conn)
        .await
}

/// Reads endpoints and locks them, in the order of their ids so that two recorders never wait for each other; deleted
/// ones are missing from the answer. Whoever changes an endpoint's deliveries locks the endpoint before them.
pub async fn lock_many(conn: &mut PgConnection, ids: &[EndpointId]) -> Result<Vec<Endpoint>, sqlx::Error> {
    select!(
        "where id = any($1) and deleted_at is null order by id for no key update",
        &ids.iter().map(|id| id.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await
}

/// Endpoints of an organisation that are not deleted, kept from being deleted until the transaction ends. Recorders go on
/// meanwhile: what they lock is weaker than what a deletion locks.
pub async fn keep_many(
    conn: &mut PgConnection,
    org_id: OrgId,
    ids: &[EndpointId],
) -> Result<Vec<Endpoint>, sqlx::Error> {
    select!(
        "where org_id = $1 and id = any($2) and deleted_at is null order by id for key share",
        org_id.0,
        &ids.iter().map(|id| id.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await
}

/// Stores the health of locked endpoints.
pub async fn store_health(conn: &mut PgConnection, endpoints: &[&Endpoint]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update endpoints e set health = f.health, failures_in_row = f.failures, first_failure_at = f.first_failure_at,
                last_success_at = f.last_success_at, last_delivery_at = f.last_delivery_at,
                last_response_status = f.last_response_status, health_changed_at = f.changed_at,
                health_reason = f.reason
         from unnest($1::uuid[], $2::text[], $3::int[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
                     $7::int[], $8::timestamptz[], $9::text[])
              as f(id, health, failures, first_failure_at, last_success_at, last_delivery_at, last_response_status,
                   changed_at, reason)
         where e.id = f.id",
        &endpoints.iter().map(|e| e.id.0).collect::<Vec<_>>(),
        &endpoints.iter().map(|e| e.health.as_str()).collect::<Vec<_>>() as &[&str],
        &endpoints.iter().map(|e| e.failures_in_row).collect::<Vec<_>>(),
        &endpoints.iter().map(|e| e.first_failure_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &endpoints.iter().map(|e| e.last_success_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &endpoints.iter().map(|e| e.last_delivery_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &endpoints.iter().map(|e| e.last_response_status).collect::<Vec<_>>() as &[Option<i32>],
        &endpoints.iter().map(|e| e.health_changed_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &endpoints.iter().map(|e| e.health_reason.clone()).collect::<Vec<_>>() as &[Option<String>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The dialect of an endpoint, of a deleted one too.
pub async fn dialect_of(
    conn: &mut PgConnection,
    org_id: OrgId,
    id: EndpointId,
) -> Result<Option<DialectName>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select dialect as "dialect: DialectName" from endpoints where org_id = $1 and id = $2"#,
        org_id.0,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// The dialects of endpoints, of deleted ones too.
pub async fn dialects_of(
    conn: &mut PgConnection,
    org_id: OrgId,
    ids: &[EndpointId],
) -> Result<Vec<(EndpointId, DialectName)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select id as "id: EndpointId", dialect as "dialect: DialectName" from endpoints
           where org_id = $1 and id = any($2)"#,
        org_id.0,
        &ids.iter().map(|id| id.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.dialect)).collect())
}

/// How many endpoints there are of each health, for the metrics.
pub async fn count_by_health(conn: &mut PgConnection) -> Result<Vec<(Health, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select health as "health: Health", count(*) as "n!" from endpoints where deleted_at is null group by health"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.health, row.n)).collect())
}
