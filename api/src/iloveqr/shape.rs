//! iloveQR's webhooks and their log on the wire.

use domain::{delivery::Delivery, dialect::Health, endpoint::Endpoint};
use poem_openapi::{Enum, Object, types::Example};
use serde::Deserialize;

use crate::{
    inkode::DeliveryState,
    text::{self, Text},
    timestamp::Timestamp,
    webhook,
};

/// A new webhook.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
pub(super) struct IloveqrWebhookInput {
    /// Where it is: https, no private address.
    pub(super) url: Text<text::Target>,
    /// What it subscribes to.
    #[oai(validator(min_items = 1, unique_items))]
    pub(super) events: Vec<Text<text::IloveqrEventType>>,
    /// Your own signing secret: 8 to 255 printable ASCII characters.
    pub(super) secret: Text<text::IloveqrSecret>,
}

impl Example for IloveqrWebhookInput {
    fn example() -> Self {
        Self {
            url: "https://hooks.example.com/iloveqr".into(),
            events: vec!["qr.scanned".into(), "qr.created".into()],
            secret: "a-secret-of-your-own".into(),
        }
    }
}

/// A webhook's settings anew; what is not given stays.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
pub(super) struct IloveqrWebhookUpdate {
    /// Where it is.
    pub(super) url: Option<Text<text::Target>>,
    /// What it subscribes to.
    #[oai(validator(min_items = 1, unique_items))]
    pub(super) events: Option<Vec<Text<text::IloveqrEventType>>>,
    /// A new signing secret.
    pub(super) secret: Option<Text<text::IloveqrSecret>>,
    /// Switched on.
    pub(super) enabled: Option<bool>,
}

impl Example for IloveqrWebhookUpdate {
    fn example() -> Self {
        Self { url: None, events: Some(vec!["qr.scanned".into()]), secret: None, enabled: Some(true) }
    }
}

/// How a webhook does.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
pub(super) enum IloveqrStatus {
    /// It takes deliveries.
    Active,
    /// It fails; its owner was told.
    Degraded,
    /// Switched off, by its owner or after too many failures.
    Disabled,
}

/// A webhook.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct IloveqrWebhook {
    /// Its id.
    id: Text<text::IloveqrWebhookId>,
    /// The organisation.
    organization_id: Text<text::OrgId>,
    /// Where it is.
    url: Text<text::Url>,
    /// What it subscribes to.
    events: Vec<Text<text::IloveqrEventType>>,
    /// Your switch.
    enabled: bool,
    /// How it does.
    status: IloveqrStatus,
    /// The last request.
    last_delivery_at: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
    /// When its settings last changed.
    updated_at: Timestamp,
}

impl From<Endpoint> for IloveqrWebhook {
    fn from(endpoint: Endpoint) -> Self {
        let status = match endpoint.health {
            _ if !endpoint.takes_deliveries() => IloveqrStatus::Disabled,
            Health::Degraded => IloveqrStatus::Degraded,
            _ => IloveqrStatus::Active,
        };
        Self {
            id: endpoint.public_id().into(),
            organization_id: endpoint.org_id.to_string().into(),
            events: webhook::subscriptions(&endpoint),
            url: endpoint.url.into(),
            enabled: endpoint.enabled,
            status,
            last_delivery_at: endpoint.last_delivery_at.map(Into::into),
            created_at: endpoint.created_at.into(),
            updated_at: endpoint.updated_at.into(),
        }
    }
}

/// A page of webhooks, newest first.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct IloveqrWebhookPage {
    /// The webhooks.
    pub(super) data: Vec<IloveqrWebhook>,
    /// The `cursor` of the next page; absent on the last.
    pub(super) next_cursor: Option<Text<text::IloveqrWebhookId>>,
}

/// A delivery, as the log shows it.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct IloveqrLogEntry {
    /// The delivery.
    id: Text<text::DeliveryId>,
    /// The event it carries.
    event_id: Text<text::EventId>,
    /// The event's type.
    event: Text<text::IloveqrEventType>,
    /// Where it stands.
    status: DeliveryState,
    /// Why.
    message: String,
    /// Requests made.
    attempts: i32,
    /// When the next attempt is due.
    next_attempt_at: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
}

impl From<Delivery> for IloveqrLogEntry {
    fn from(row: Delivery) -> Self {
        Self {
            id: row.id.to_string().into(),
            event_id: row.event_id.to_string().into(),
            event: row.event_type.into(),
            status: row.state.into(),
            message: row.reason,
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at.map(Into::into),
            created_at: row.created_at.into(),
        }
    }
}

/// A page of the log, newest first.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct IloveqrLogPage {
    /// The deliveries.
    pub(super) data: Vec<IloveqrLogEntry>,
    /// The `cursor` of the next page; absent on the last.
    pub(super) next_cursor: Option<Text<text::DeliveryId>>,
}

/// What a test sends.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
pub(super) struct IloveqrTestInput {
    /// The event type; the first that the webhook subscribes to if not given.
    pub(super) event: Option<Text<text::IloveqrEventType>>,
}

impl Example for IloveqrTestInput {
    fn example() -> Self {
        Self { event: Some("qr.scanned".into()) }
    }
}

/// A test under way.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct IloveqrTest {
    /// The event that was made for it.
    pub(super) event_id: Text<text::EventId>,
    /// Its delivery, as the log shows it.
    pub(super) delivery_id: Text<text::DeliveryId>,
}
