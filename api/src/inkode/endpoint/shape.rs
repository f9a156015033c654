//! Endpoints on the wire.

use domain::{
    dialect::DialectName,
    downgrade::{Edge, is_beyond},
    endpoint::Endpoint,
};
use poem_openapi::{Enum, Object};
use serde::Deserialize;

use crate::{
    input,
    text::{self, Text},
    timestamp::Timestamp,
};

/// How an endpoint is spoken to.
#[derive(Debug, Clone, Copy, Enum, Deserialize, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub(super) enum WebhookDialect {
    /// Inkode.
    Inkode,
    /// iloveQR.
    Iloveqr,
    /// InkLink.
    Inklink,
    /// Inkr.
    Inkr,
    /// QR Code Agency.
    Qrstudio,
}

impl From<WebhookDialect> for DialectName {
    fn from(dialect: WebhookDialect) -> Self {
        Self::ALL[dialect as usize]
    }
}

impl From<DialectName> for WebhookDialect {
    fn from(name: DialectName) -> Self {
        match name {
            DialectName::Inkode => Self::Inkode,
            DialectName::Iloveqr => Self::Iloveqr,
            DialectName::Inklink => Self::Inklink,
            DialectName::Inkr => Self::Inkr,
            DialectName::Qrstudio => Self::Qrstudio,
        }
    }
}

/// A new endpoint.
#[derive(Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookEndpointInput {
    /// Where it is: https, at most 2,000 characters, no private address.
    pub(super) url: Text<text::Target>,
    /// How it is spoken to; `inkode` if not given.
    #[serde(default, deserialize_with = "input::word")]
    pub(super) dialect: Option<WebhookDialect>,
    /// What you call it.
    pub(super) name: Option<Text<text::Name>>,
    /// What it subscribes to, of the dialect's catalogue; all of it if not given.
    #[oai(validator(min_items = 1, unique_items))]
    pub(super) event_types: Option<Vec<Text<text::AnyEventType>>>,
    /// Switched on; `true` if not given.
    pub(super) enabled: Option<bool>,
    /// Your own signing secret, where the dialect takes one (inkode may, iloveqr must).
    pub(super) secret: Option<Text<text::OwnSecret>>,
}

impl poem_openapi::types::Example for WebhookEndpointInput {
    fn example() -> Self {
        Self {
            url: "https://hooks.example.com/inkode".into(),
            dialect: Some(WebhookDialect::Inkode),
            name: Some("Order service".into()),
            event_types: Some(vec!["qr.created".into(), "qr.expired".into()]),
            enabled: Some(true),
            secret: None,
        }
    }
}

/// What changes in an endpoint; what is not given stays.
#[derive(Debug, Object, Deserialize)]
#[oai(example, rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookEndpointPatch {
    /// Where it is.
    pub(super) url: Option<Text<text::Target>>,
    /// What you call it.
    pub(super) name: Option<Text<text::Name>>,
    /// What it subscribes to.
    #[oai(validator(min_items = 1, unique_items))]
    pub(super) event_types: Option<Vec<Text<text::AnyEventType>>>,
    /// Switched on. Switching on an endpoint that its failures had disabled starts its health anew.
    pub(super) enabled: Option<bool>,
}

impl poem_openapi::types::Example for WebhookEndpointPatch {
    fn example() -> Self {
        Self {
            url: None,
            name: Some("Order service, staging".into()),
            event_types: Some(vec!["qr.created".into()]),
            enabled: Some(true),
        }
    }
}

/// How an endpoint does.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
pub(super) enum EndpointHealth {
    /// It answers.
    Active,
    /// It fails; its owner was told.
    Degraded,
    /// It failed for too long: deliveries are held.
    Disabled,
}

/// An endpoint.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct WebhookEndpoint {
    /// Its id.
    pub(super) id: Text<text::EndpointId>,
    /// How it is spoken to.
    pub(super) dialect: WebhookDialect,
    /// Where it is.
    pub(super) url: Text<text::Url>,
    /// What you call it.
    pub(super) name: String,
    /// What it subscribes to; absent for all of the dialect's catalogue.
    pub(super) event_types: Option<Vec<Text<text::AnyEventType>>>,
    /// Your switch.
    pub(super) enabled: bool,
    /// What its answers say of it.
    pub(super) health: EndpointHealth,
    /// Why its health is not `active`.
    pub(super) health_reason: Option<String>,
    /// When its health last changed.
    pub(super) health_changed_at: Option<Timestamp>,
    /// Failed attempts since the last success.
    pub(super) failures_in_row: i32,
    /// The last 2xx.
    pub(super) last_success_at: Option<Timestamp>,
    /// The last request.
    pub(super) last_delivery_at: Option<Timestamp>,
    /// What it answered last.
    pub(super) last_response_status: Option<i32>,
    /// The signing secret: in the answer that made it, and never again.
    pub(super) secret: Option<String>,
    /// Whether it is beyond the plan: it takes deliveries, and can be switched off and deleted, but not changed.
    pub(super) locked: bool,
    /// When it was made.
    pub(super) created_at: Timestamp,
    /// When its settings last changed.
    pub(super) updated_at: Timestamp,
}

impl WebhookEndpoint {
    /// A new endpoint, which the plan had room for.
    pub(super) fn new(endpoint: Endpoint, secret: Option<String>) -> Self {
        Self {
            id: endpoint.public_id().into(),
            dialect: endpoint.dialect.into(),
            url: endpoint.url.into(),
            name: endpoint.name,
            event_types: endpoint.event_types.map(|types| types.into_iter().map(Into::into).collect()),
            enabled: endpoint.enabled,
            health: match endpoint.health {
                domain::dialect::Health::Active => EndpointHealth::Active,
                domain::dialect::Health::Degraded => EndpointHealth::Degraded,
                domain::dialect::Health::Disabled => EndpointHealth::Disabled,
            },
            health_reason: endpoint.health_reason,
            health_changed_at: endpoint.health_changed_at.map(Into::into),
            failures_in_row: endpoint.failures_in_row,
            last_success_at: endpoint.last_success_at.map(Into::into),
            last_delivery_at: endpoint.last_delivery_at.map(Into::into),
            last_response_status: endpoint.last_response_status,
            secret,
            locked: false,
            created_at: endpoint.created_at.into(),
            updated_at: endpoint.updated_at.into(),
        }
    }

    /// One that was there before, where the plan ends at `edge`.
    pub(super) fn known(endpoint: Endpoint, edge: Option<Edge>) -> Self {
        let locked = is_beyond(edge, endpoint.id.0);
        Self { locked, ..Self::new(endpoint, None) }
    }
}

/// A page of endpoints, newest first.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct WebhookEndpointPage {
    /// The endpoints.
    pub(super) items: Vec<WebhookEndpoint>,
    /// The `cursor` of the next page; absent on the last.
    pub(super) next_cursor: Option<Text<text::EndpointId>>,
}

/// How a secret is rotated.
#[derive(Debug, Object, Deserialize)]
#[oai(example, rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(super) struct SecretRotationInput {
    /// For how many seconds the old secret signs beside the new one, where the dialect can: 0 to 604,800 (a week).
    #[oai(validator(minimum(value = "0"), maximum(value = "604800")))]
    pub(super) overlap_seconds: Option<i64>,
}

impl poem_openapi::types::Example for SecretRotationInput {
    fn example() -> Self {
        Self { overlap_seconds: Some(86_400) }
    }
}

/// A new secret.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct SecretRotation {
    /// The endpoint.
    pub(super) id: Text<text::EndpointId>,
    /// The new secret, shown now and never again.
    pub(super) secret: String,
    /// When it was made.
    pub(super) rotated_at: Timestamp,
}

/// What a test sends.
#[derive(Debug, Object, Deserialize)]
#[oai(example, rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookTestInput {
    /// The event type; the first that the endpoint subscribes to if not given.
    pub(super) event_type: Option<Text<text::AnyEventType>>,
}

impl poem_openapi::types::Example for WebhookTestInput {
    fn example() -> Self {
        Self { event_type: Some("qr.created".into()) }
    }
}

/// A test under way.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct WebhookTest {
    /// The event that was made for it.
    pub(super) event_id: Text<text::EventId>,
    /// Its delivery: `GET /api/webhooks/deliveries/{id}` shows what came of it.
    pub(super) delivery_id: Text<text::DeliveryId>,
}

/// An event type and the dialects that know it.
#[derive(Debug, Object)]
pub(super) struct EventType {
    /// Its name.
    #[oai(rename = "type")]
    pub(super) name: Text<text::AnyEventType>,
    /// The dialects whose catalogues have it.
    pub(super) dialects: Vec<WebhookDialect>,
}

/// Every event type.
#[derive(Debug, Object)]
pub(super) struct EventTypeList {
    /// The types, by name.
    pub(super) items: Vec<EventType>,
}
