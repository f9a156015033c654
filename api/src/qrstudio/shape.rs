//! QR Code Agency's subscriptions and their deliveries on the wire.

use domain::{attempt::Logged, dialect::Health, endpoint::Endpoint};
use poem_openapi::{Enum, Object, types::Example};
use serde::Deserialize;

use crate::{
    input,
    text::{self, Text},
    timestamp::Timestamp,
    webhook,
};

/// How a subscription does.
#[derive(Debug, Clone, Copy, Enum, PartialEq, Eq, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub(super) enum QrstudioStatus {
    /// It takes deliveries.
    Active,
    /// It fails; its owner was told.
    Degraded,
    /// Switched off, by its owner or after a day of failures.
    Disabled,
}

/// What a subscription's status can be set to.
#[derive(Debug, Clone, Copy, Enum, PartialEq, Eq, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub(super) enum QrstudioSwitch {
    /// Takes deliveries.
    Active,
    /// Paused.
    Disabled,
}

/// A new subscription.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
pub(super) struct QrstudioWebhookInput {
    /// Where it is: https, at most 2,000 characters, no private address.
    pub(super) url: Text<text::Target>,
    /// What it is for, at most 200 characters.
    pub(super) description: Option<Text<text::Name>>,
    /// What it subscribes to: one or more of the five types.
    #[oai(validator(min_items = 1, max_items = 5, unique_items))]
    pub(super) events: Vec<Text<text::QrstudioEventType>>,
}

impl Example for QrstudioWebhookInput {
    fn example() -> Self {
        Self {
            url: "https://hooks.example.com/qrstudio".into(),
            description: Some("Scan statistics".into()),
            events: vec!["scan.created".into(), "quota.threshold_75".into()],
        }
    }
}

/// What changes in a subscription; what is not given stays.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
pub(super) struct QrstudioWebhookPatch {
    /// Where it is.
    pub(super) url: Option<Text<text::Target>>,
    /// What it is for.
    pub(super) description: Option<Text<text::Name>>,
    /// What it subscribes to.
    #[oai(validator(min_items = 1, max_items = 5, unique_items))]
    pub(super) events: Option<Vec<Text<text::QrstudioEventType>>>,
    /// `disabled` pauses it, `active` switches it on again.
    #[serde(default, deserialize_with = "input::word")]
    pub(super) status: Option<QrstudioSwitch>,
}

impl Example for QrstudioWebhookPatch {
    fn example() -> Self {
        Self {
            url: None,
            description: Some("Scan statistics, staging".into()),
            events: Some(vec!["scan.created".into()]),
            status: Some(QrstudioSwitch::Active),
        }
    }
}

/// A subscription.
#[derive(Debug, Object)]
pub(super) struct QrstudioWebhook {
    /// Its id.
    id: i64,
    /// Where it is.
    url: Text<text::Url>,
    /// What it is for.
    description: String,
    /// What it subscribes to.
    events: Vec<Text<text::QrstudioEventType>>,
    /// How it does.
    status: QrstudioStatus,
    /// Failed attempts since the last success.
    consecutive_failures: i32,
    /// The last request.
    #[oai(nullable)]
    last_delivery_at: Option<Timestamp>,
    /// What it answered last.
    #[oai(nullable)]
    last_response_status: Option<i32>,
    /// When it was made.
    created_at: Timestamp,
}

/// A subscription that was just made.
#[derive(Debug, Object)]
pub(super) struct QrstudioWebhookCreated {
    /// Its id.
    id: i64,
    /// Where it is.
    url: Text<text::Url>,
    /// What it is for.
    description: String,
    /// What it subscribes to.
    events: Vec<Text<text::QrstudioEventType>>,
    /// The signing secret, `whsec_…`: here, and never again.
    secret: String,
    /// How it does.
    status: QrstudioStatus,
    /// Failed attempts since the last success.
    consecutive_failures: i32,
    /// When it was made.
    created_at: Timestamp,
}

impl QrstudioWebhookCreated {
    pub(super) fn new(endpoint: Endpoint, secret: Option<String>) -> Self {
        let QrstudioWebhook { id, url, description, events, status, consecutive_failures, created_at, .. } =
            endpoint.into();
        let secret = secret.unwrap_or_default();
        Self { id, url, description, events, secret, status, consecutive_failures, created_at }
    }
}

impl From<Endpoint> for QrstudioWebhook {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            id: endpoint.number,
            events: webhook::subscriptions(&endpoint),
            status: match endpoint.health {
                _ if !endpoint.takes_deliveries() => QrstudioStatus::Disabled,
                Health::Degraded => QrstudioStatus::Degraded,
                _ => QrstudioStatus::Active,
            },
            url: endpoint.url.into(),
            description: endpoint.name,
            consecutive_failures: endpoint.failures_in_row,
            last_delivery_at: endpoint.last_delivery_at.map(Into::into),
            last_response_status: endpoint.last_response_status,
            created_at: endpoint.created_at.into(),
        }
    }
}

/// The subscriptions, newest first.
#[derive(Debug, Object)]
pub(super) struct QrstudioWebhookList {
    /// The subscriptions.
    pub(super) results: Vec<QrstudioWebhook>,
}

/// A new secret.
#[derive(Debug, Object)]
pub(super) struct QrstudioRotation {
    /// The subscription.
    pub(super) id: i64,
    /// The new secret; the old one is void.
    pub(super) secret: String,
    /// When it was made.
    pub(super) rotated_at: Timestamp,
}

/// One request to the subscription's URL.
#[derive(Debug, Object)]
pub(super) struct QrstudioDelivery {
    /// Its id.
    id: i64,
    /// The event's type.
    event: Text<text::QrstudioEventType>,
    /// The status that came back.
    #[oai(nullable)]
    response_status: Option<i32>,
    /// The beginning of the answer, at most 16 KiB.
    response_body: String,
    /// How long it took, in milliseconds.
    duration_ms: i32,
    /// What went wrong; empty otherwise.
    error: String,
    /// Whether the receiver took it: any 2xx.
    succeeded: bool,
    /// When it left.
    created_at: Timestamp,
}

impl From<Logged> for QrstudioDelivery {
    fn from(row: Logged) -> Self {
        // An integer that JavaScript can hold: 48 random bits of the delivery's id, and the number of the request.
        let random = row.delivery_id.0.as_u128() as i64 & 0xffff_ffff_ffff;
        Self {
            id: (random << 5) | i64::from(row.number & 0x1f),
            event: row.event_type.into(),
            succeeded: row.status.is_some_and(|status| (200..300).contains(&status)),
            response_status: row.status,
            response_body: row.response_body,
            duration_ms: row.duration_ms,
            error: row.error,
            created_at: row.started_at.into(),
        }
    }
}

/// A page of requests, newest first.
#[derive(Debug, Object)]
pub(super) struct QrstudioDeliveryPage {
    /// How many there are in all.
    pub(super) count: i64,
    /// The address of the next page.
    #[oai(nullable)]
    pub(super) next: Option<Text<text::Url>>,
    /// The address of the page before.
    #[oai(nullable)]
    pub(super) previous: Option<Text<text::Url>>,
    /// The requests.
    pub(super) results: Vec<QrstudioDelivery>,
}
