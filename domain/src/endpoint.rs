//! Webhook endpoints: where an organisation wants its events, in which dialect, and how well they answer.

mod row;
mod subscriber;

use chrono::{DateTime, Utc};

pub use self::{
    row::{
        NewEndpoint, count, count_active, count_by_health, delete, dialect_of, dialects_of, find, find_by_number,
        insert, keep_many, list, lock, lock_many, rotate_secret, store_health, update,
    },
    subscriber::{Audience, Subscriber, subscribers},
};
use crate::{
    dialect::{DIALECTS, Dialect, DialectName, Health, HealthState},
    id::{EndpointId, InvalidId, OrgId, UserId},
};

/// An endpoint. Its secrets stay sealed in here; `sealed::SealingKeys` opens them with [`secret_context`].
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// The number that QR Code Agency's surface shows as id.
    pub number: i64,
    /// Whose it is.
    pub org_id: OrgId,
    /// How it is spoken to.
    pub dialect: DialectName,
    /// Where it is.
    pub url: String,
    /// What its owner calls it.
    pub name: String,
    /// What it subscribes to; `None` for every type of its dialect.
    pub event_types: Option<Vec<String>>,
    /// The owner's switch.
    pub enabled: bool,
    /// What its answers say of it.
    pub health: Health,
    /// Sealed.
    pub secret: Vec<u8>,
    /// Sealed; signs beside the present one until `previous_secret_until`.
    pub previous_secret: Option<Vec<u8>>,
    /// Until when the previous secret is used.
    pub previous_secret_until: Option<DateTime<Utc>>,
    /// Failed attempts since the last success.
    pub failures_in_row: i32,
    /// When the present row of failures began.
    pub first_failure_at: Option<DateTime<Utc>>,
    /// The last 2xx.
    pub last_success_at: Option<DateTime<Utc>>,
    /// The last request.
    pub last_delivery_at: Option<DateTime<Utc>>,
    /// What it answered last.
    pub last_response_status: Option<i32>,
    /// When `health` last changed.
    pub health_changed_at: Option<DateTime<Utc>>,
    /// Why it did.
    pub health_reason: Option<String>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When its settings last changed.
    pub updated_at: DateTime<Utc>,
}

impl Endpoint {
    /// Whether deliveries that come due now are sent and not held.
    pub fn takes_deliveries(&self) -> bool {
        self.enabled && self.health != Health::Disabled
    }

    /// The id as its dialect spells it.
    pub fn public_id(&self) -> String {
        self.row().endpoint_id(self.id)
    }

    /// Its dialect's row.
    pub fn row(&self) -> &'static Dialect {
        Dialect::by_name(self.dialect)
    }

    /// The health ladder's view of it.
    pub fn health_state(&self) -> HealthState {
        HealthState {
            health: self.health,
            failures_in_row: self.failures_in_row,
            first_failure_at: self.first_failure_at,
            last_success_at: self.last_success_at,
            changed_at: self.health_changed_at,
        }
    }

    /// Takes over what the health ladder decided.
    pub fn set_health(&mut self, state: HealthState) {
        self.health = state.health;
        self.failures_in_row = state.failures_in_row;
        self.first_failure_at = state.first_failure_at;
        self.last_success_at = state.last_success_at;
        self.health_changed_at = state.changed_at;
    }
}

/// Reads an endpoint's id, whatever the dialect's prefix.
pub fn read_id(text: &str) -> Result<EndpointId, InvalidId> {
    DIALECTS.iter().find_map(|dialect| dialect.read_endpoint_id(text).ok()).ok_or(InvalidId)
}

/// What seals and opens an endpoint's secrets besides the key.
pub fn secret_context(id: EndpointId) -> String {
    format!("endpoint:{}", id.0)
}
