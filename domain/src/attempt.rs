//! Attempts: one row per HTTP request of a delivery.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::id::{DeliveryId, EndpointId, OrgId};

/// The most bytes of a receiver's answer that are kept.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// One HTTP request and what came back.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Which delivery.
    pub delivery_id: DeliveryId,
    /// Which request of it, from 1.
    pub number: i32,
    /// Whose.
    pub org_id: OrgId,
    /// To which endpoint.
    pub endpoint_id: EndpointId,
    /// When it left.
    pub started_at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub duration_ms: i32,
    /// The status that came back, if one did.
    pub status: Option<i32>,
    /// The beginning of the answer, at most 16 KiB.
    pub response_body: String,
    /// What went wrong, if something did; empty otherwise.
    pub error: String,
    /// The address that was dialled.
    pub remote_addr: Option<String>,
}

impl Attempt {
    /// Whether the receiver took it: any 2xx.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// Stores attempts.
pub async fn insert_many(conn: &mut PgConnection, attempts: &[&Attempt]) -> Result<(), sqlx::Error> {
    if attempts.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into attempts (delivery_id, number, org_id, endpoint_id, started_at, duration_ms, status, response_body, error, remote_addr)
         select * from unnest($1::uuid[], $2::int[], $3::uuid[], $4::uuid[], $5::timestamptz[], $6::int[], $7::int[],
                              $8::text[], $9::text[], $10::text[])",
        &attempts.iter().map(|a| a.delivery_id.0).collect::<Vec<_>>(),
        &attempts.iter().map(|a| a.number).collect::<Vec<_>>(),
        &attempts.iter().map(|a| a.org_id.0).collect::<Vec<_>>(),
        &attempts.iter().map(|a| a.endpoint_id.0).collect::<Vec<_>>(),
        &attempts.iter().map(|a| a.started_at).collect::<Vec<_>>(),
        &attempts.iter().map(|a| a.duration_ms).collect::<Vec<_>>(),
        &attempts.iter().map(|a| a.status).collect::<Vec<_>>() as &[Option<i32>],
        &attempts.iter().map(|a| a.response_body.as_str()).collect::<Vec<_>>() as &[&str],
        &attempts.iter().map(|a| a.error.as_str()).collect::<Vec<_>>() as &[&str],
        &attempts.iter().map(|a| a.remote_addr.clone()).collect::<Vec<_>>() as &[Option<String>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The attempts of one delivery, first to last.
pub async fn of_delivery(
    conn: &mut PgConnection,
    org_id: OrgId,
    delivery_id: DeliveryId,
) -> Result<Vec<Attempt>, sqlx::Error> {
    sqlx::query_as!(
        Attempt,
        r#"select delivery_id as "delivery_id: DeliveryId", number, org_id as "org_id: OrgId",
                  endpoint_id as "endpoint_id: EndpointId", started_at, duration_ms, status, response_body, error,
                  remote_addr
           from attempts where org_id = $1 and delivery_id = $2 order by number"#,
        org_id.0,
        delivery_id.0,
    )
    .fetch_all(conn)
    .await
}

/// An attempt with the type of its event, as an endpoint's log shows it.
#[derive(Debug, Clone)]
pub struct Logged {
    /// The event's type.
    pub event_type: String,
    /// Which delivery.
    pub delivery_id: DeliveryId,
    /// Which request of it, from 1.
    pub number: i32,
    /// When it left.
    pub started_at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub duration_ms: i32,
    /// The status that came back, if one did.
    pub status: Option<i32>,
    /// The beginning of the answer.
    pub response_body: String,
    /// What went wrong; empty otherwise.
    pub error: String,
}

/// One page of an endpoint's attempts, newest delivery first, and how many there are in all.
pub async fn log(
    conn: &mut PgConnection,
    org_id: OrgId,
    endpoint_id: EndpointId,
    offset: i64,
    limit: i64,
) -> Result<(Vec<Logged>, i64), sqlx::Error> {
    let count = sqlx::query_scalar!(
        r#"select coalesce(sum(attempts), 0)::bigint as "n!" from deliveries where org_id = $1 and endpoint_id = $2"#,
        org_id.0,
        endpoint_id.0,
    )
    .fetch_one(&mut *conn)
    .await?;
    let rows = sqlx::query_as!(
        Logged,
        r#"select e.type as event_type, a.delivery_id as "delivery_id: DeliveryId", a.number, a.started_at,
                  a.duration_ms, a.status, a.response_body, a.error
           from deliveries d
           join attempts a on a.org_id = d.org_id and a.delivery_id = d.id
           join events e on e.org_id = d.org_id and e.id = d.event_id
           where d.org_id = $1 and d.endpoint_id = $2
           order by d.id desc, a.number desc offset $3 limit $4"#,
        org_id.0,
        endpoint_id.0,
        offset,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok((rows, count))
}
