//! All that one attempt needs to know, read for many deliveries at once.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::State;
use crate::{
    dialect::{DialectName, EventFacts, Health},
    id::{DeliveryId, EndpointId, EventId, OrgId},
};

/// A delivery with its event and its endpoint, as they are now.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The delivery.
    pub id: DeliveryId,
    /// Whose.
    pub org_id: OrgId,
    /// Where it stands.
    pub state: State,
    /// Made by hand, once.
    pub is_test: bool,
    /// Requests made in all.
    pub attempts: i32,
    /// Requests made since `scheduled_from`.
    pub tries: i32,
    /// Where the schedule starts.
    pub scheduled_from: DateTime<Utc>,
    /// When the next attempt is due.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// The event.
    pub event_id: EventId,
    /// Its type.
    pub event_type: String,
    /// Its data.
    pub data: String,
    /// When it happened.
    pub event_created_at: DateTime<Utc>,
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// How it is spoken to.
    pub dialect: DialectName,
    /// Where it is.
    pub url: String,
    /// The owner's switch.
    pub enabled: bool,
    /// Its health.
    pub health: Health,
    /// Whether it is gone.
    pub deleted: bool,
    /// Sealed.
    pub secret: Vec<u8>,
    /// Sealed.
    pub previous_secret: Option<Vec<u8>>,
    /// Until when the previous secret signs.
    pub previous_secret_until: Option<DateTime<Utc>>,
}

impl Plan {
    /// The event as envelopes and signatures want it.
    pub fn facts(&self) -> EventFacts<'_> {
        EventFacts {
            id: self.event_id,
            org_id: self.org_id,
            event_type: &self.event_type,
            created_at: self.event_created_at,
            data: &self.data,
        }
    }
}

/// Reads the plans of deliveries; one whose day was dropped by retention is missing from the answer.
pub async fn load_many(conn: &mut PgConnection, ids: &[(OrgId, DeliveryId)]) -> Result<Vec<Plan>, sqlx::Error> {
    sqlx::query_as!(
        Plan,
        r#"select d.id as "id: DeliveryId", d.org_id as "org_id: OrgId", d.state as "state: State", d.is_test,
                  d.attempts, d.tries, d.scheduled_from, d.next_attempt_at, d.event_id as "event_id: EventId",
                  ev.type as event_type, ev.data, ev.created_at as event_created_at,
                  d.endpoint_id as "endpoint_id: EndpointId", ep.dialect as "dialect: DialectName", ep.url, ep.enabled,
                  ep.health as "health: Health", (ep.deleted_at is not null) as "deleted!", ep.secret,
                  ep.previous_secret, ep.previous_secret_until
           from unnest($1::uuid[], $2::uuid[]) as f(org_id, id)
           join deliveries d on d.id = f.id and d.org_id = f.org_id
           join events ev on ev.id = d.event_id and ev.org_id = d.org_id
           join endpoints ep on ep.id = d.endpoint_id"#,
        &ids.iter().map(|id| id.0.0).collect::<Vec<_>>(),
        &ids.iter().map(|id| id.1.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await
}
