//! Which endpoints want an event.

use sqlx::PgConnection;

use crate::{
    dialect::DialectName,
    id::{EndpointId, OrgId},
};

/// An event type of an organisation, with the dialects whose catalogues have it.
#[derive(Debug, Clone)]
pub struct Audience {
    /// The number by which the answer names this row.
    pub n: i32,
    /// Whose event.
    pub org_id: OrgId,
    /// The event's type.
    pub event_type: String,
    /// A dialect that knows it.
    pub dialect: DialectName,
}

/// An endpoint that wants an event.
#[derive(Debug, Clone, Copy)]
pub struct Subscriber {
    /// The audience's number.
    pub n: i32,
    /// The endpoint.
    pub id: EndpointId,
    /// Whether it takes deliveries now; otherwise they are held.
    pub live: bool,
}

/// The endpoints that subscribe to any of `audiences`, in one statement.
pub async fn subscribers(conn: &mut PgConnection, audiences: &[Audience]) -> Result<Vec<Subscriber>, sqlx::Error> {
    sqlx::query_as!(
        Subscriber,
        r#"select f.n as "n!", e.id as "id: EndpointId", (e.enabled and e.health <> 'disabled') as "live!"
           from unnest($1::int[], $2::uuid[], $3::text[], $4::text[]) as f(n, org_id, type, dialect)
           join endpoints e on e.org_id = f.org_id and e.dialect = f.dialect and e.deleted_at is null
            and (e.event_types is null or f.type = any(e.event_types))
           order by f.n, e.id"#,
        &audiences.iter().map(|a| a.n).collect::<Vec<_>>(),
        &audiences.iter().map(|a| a.org_id.0).collect::<Vec<_>>(),
        &audiences.iter().map(|a| a.event_type.as_str()).collect::<Vec<_>>() as &[&str],
        &audiences.iter().map(|a| a.dialect.as_str()).collect::<Vec<_>>() as &[&str],
    )
    .fetch_all(conn)
    .await
}
