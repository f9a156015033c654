//! All that one attempt needs to know, read for many deliveries at once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::State;
use crate::{
    dialect::{DialectName, EventFacts, Health},
    event::Event,
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
    /// What it carries; deliveries of one event that are loaded together share it.
    pub event: Arc<Event>,
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
            id: self.event.id,
            org_id: self.org_id,
            event_type: &self.event.event_type,
            created_at: self.event.created_at,
            data: &self.event.data,
        }
    }
}

/// Reads the plans of deliveries; one whose day was dropped by retention is missing from the answer.
///
/// Events are read by themselves, because one that goes to many endpoints need be read only once. The bounds of the ids
/// are there for Postgres: they leave it one or two days' partitions to look at.
pub async fn load_many(conn: &mut PgConnection, ids: &[(OrgId, DeliveryId)]) -> Result<Vec<Plan>, sqlx::Error> {
    let wanted: HashSet<&(OrgId, DeliveryId)> = ids.iter().collect();
    let uuids: Vec<Uuid> = ids.iter().map(|id| id.1.0).collect();
    let (least, most) = bounds(&uuids);
    let rows = sqlx::query!(
        r#"select d.id as "id: DeliveryId", d.org_id as "org_id: OrgId", d.state as "state: State", d.is_test,
                  d.attempts, d.tries, d.scheduled_from, d.next_attempt_at, d.event_id as "event_id: EventId",
                  d.endpoint_id as "endpoint_id: EndpointId", ep.dialect as "dialect: DialectName", ep.url, ep.enabled,
                  ep.health as "health: Health", (ep.deleted_at is not null) as "deleted!", ep.secret,
                  ep.previous_secret, ep.previous_secret_until
           from deliveries d join endpoints ep on ep.id = d.endpoint_id
           where d.id = any($1) and d.id between $2 and $3"#,
        &uuids,
        least,
        most,
    )
    .fetch_all(&mut *conn)
    .await?;
    let events: HashSet<EventId> = rows.iter().map(|row| row.event_id).collect();
    let events = load_events(conn, events.iter().map(|id| id.0).collect()).await?;
    Ok(rows
        .into_iter()
        .filter(|row| wanted.contains(&(row.org_id, row.id)))
        .filter_map(|row| {
            let event = events.get(&row.event_id)?;
            Some(Plan {
                id: row.id,
                org_id: row.org_id,
                state: row.state,
                is_test: row.is_test,
                attempts: row.attempts,
                tries: row.tries,
                scheduled_from: row.scheduled_from,
                next_attempt_at: row.next_attempt_at,
                event: event.clone(),
                endpoint_id: row.endpoint_id,
                dialect: row.dialect,
                url: row.url,
                enabled: row.enabled,
                health: row.health,
                deleted: row.deleted,
                secret: row.secret,
                previous_secret: row.previous_secret,
                previous_secret_until: row.previous_secret_until,
            })
        })
        .collect())
}

async fn load_events(conn: &mut PgConnection, ids: Vec<Uuid>) -> Result<HashMap<EventId, Arc<Event>>, sqlx::Error> {
    let (least, most) = bounds(&ids);
    let events = sqlx::query_as!(
        Event,
        r#"select id as "id: EventId", type as event_type, data, created_at from events
           where id = any($1) and id between $2 and $3"#,
        &ids,
        least,
        most,
    )
    .fetch_all(conn)
    .await?;
    Ok(events.into_iter().map(|event| (event.id, Arc::new(event))).collect())
}

fn bounds(ids: &[Uuid]) -> (Uuid, Uuid) {
    (ids.iter().min().copied().unwrap_or_default(), ids.iter().max().copied().unwrap_or_default())
}
