//! `/api/webhooks/endpoints`.

use domain::{
    dialect::{DIALECTS, DialectName, Overlap},
    endpoint::{self, Endpoint},
};
use poem::Request;
use poem_openapi::{
    ApiResponse, Enum, Object, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};
use serde::Deserialize;

use super::NAMES;
use crate::{
    app::App,
    auth::{Auth, Session},
    failure::Failure,
    idempotency::{Created, Once},
    input::{self, Input, OptionalInput},
    page,
    server::{Tag, request_id},
    surface::{Failed, Own},
    text::{self, Text},
    timestamp::Timestamp,
    webhook::{self, Draft, Patch},
};

/// How an endpoint is spoken to.
#[derive(Debug, Clone, Copy, Enum, Deserialize, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum WebhookDialect {
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
struct WebhookEndpointInput {
    /// Where it is: https, at most 2,000 characters, no private address.
    url: Text<text::Target>,
    /// How it is spoken to; `inkode` if not given.
    #[serde(default, deserialize_with = "input::word")]
    dialect: Option<WebhookDialect>,
    /// What you call it.
    name: Option<Text<text::Name>>,
    /// What it subscribes to, of the dialect's catalogue; all of it if not given.
    #[oai(validator(min_items = 1, unique_items))]
    event_types: Option<Vec<Text<text::AnyEventType>>>,
    /// Switched on; `true` if not given.
    enabled: Option<bool>,
    /// Your own signing secret, where the dialect takes one (inkode may, iloveqr must).
    secret: Option<Text<text::OwnSecret>>,
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
struct WebhookEndpointPatch {
    /// Where it is.
    url: Option<Text<text::Target>>,
    /// What you call it.
    name: Option<Text<text::Name>>,
    /// What it subscribes to.
    #[oai(validator(min_items = 1, unique_items))]
    event_types: Option<Vec<Text<text::AnyEventType>>>,
    /// Switched on. Switching on an endpoint that its failures had disabled starts its health anew.
    enabled: Option<bool>,
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
enum EndpointHealth {
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
struct WebhookEndpoint {
    /// Its id.
    id: Text<text::EndpointId>,
    /// How it is spoken to.
    dialect: WebhookDialect,
    /// Where it is.
    url: Text<text::Url>,
    /// What you call it.
    name: String,
    /// What it subscribes to; absent for all of the dialect's catalogue.
    event_types: Option<Vec<Text<text::AnyEventType>>>,
    /// Your switch.
    enabled: bool,
    /// What its answers say of it.
    health: EndpointHealth,
    /// Why its health is not `active`.
    health_reason: Option<String>,
    /// When its health last changed.
    health_changed_at: Option<Timestamp>,
    /// Failed attempts since the last success.
    failures_in_row: i32,
    /// The last 2xx.
    last_success_at: Option<Timestamp>,
    /// The last request.
    last_delivery_at: Option<Timestamp>,
    /// What it answered last.
    last_response_status: Option<i32>,
    /// The signing secret: in the answer that made it, and never again.
    secret: Option<String>,
    /// When it was made.
    created_at: Timestamp,
    /// When its settings last changed.
    updated_at: Timestamp,
}

impl WebhookEndpoint {
    fn new(endpoint: Endpoint, secret: Option<String>) -> Self {
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
            created_at: endpoint.created_at.into(),
            updated_at: endpoint.updated_at.into(),
        }
    }
}

/// A page of endpoints, newest first.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct WebhookEndpointPage {
    /// The endpoints.
    items: Vec<WebhookEndpoint>,
    /// The `cursor` of the next page; absent on the last.
    next_cursor: Option<Text<text::EndpointId>>,
}

/// How a secret is rotated.
#[derive(Debug, Object, Deserialize)]
#[oai(example, rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct SecretRotationInput {
    /// For how many seconds the old secret signs beside the new one, where the dialect can: 0 to 604,800 (a week).
    #[oai(validator(minimum(value = "0"), maximum(value = "604800")))]
    overlap_seconds: Option<i64>,
}

impl poem_openapi::types::Example for SecretRotationInput {
    fn example() -> Self {
        Self { overlap_seconds: Some(86_400) }
    }
}

/// A new secret.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct SecretRotation {
    /// The endpoint.
    id: Text<text::EndpointId>,
    /// The new secret, shown now and never again.
    secret: String,
    /// When it was made.
    rotated_at: Timestamp,
}

/// What a test sends.
#[derive(Debug, Object, Deserialize)]
#[oai(example, rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct WebhookTestInput {
    /// The event type; the first that the endpoint subscribes to if not given.
    event_type: Option<Text<text::AnyEventType>>,
}

impl poem_openapi::types::Example for WebhookTestInput {
    fn example() -> Self {
        Self { event_type: Some("qr.created".into()) }
    }
}

/// A test under way.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct WebhookTest {
    /// The event that was made for it.
    event_id: Text<text::EventId>,
    /// Its delivery: `GET /api/webhooks/deliveries/{id}` shows what came of it.
    delivery_id: Text<text::DeliveryId>,
}

/// An event type and the dialects that know it.
#[derive(Debug, Object)]
struct EventType {
    /// Its name.
    #[oai(rename = "type")]
    name: Text<text::AnyEventType>,
    /// The dialects whose catalogues have it.
    dialects: Vec<WebhookDialect>,
}

/// Every event type.
#[derive(Debug, Object)]
struct EventTypeList {
    /// The types, by name.
    items: Vec<EventType>,
}

/// The answer to a test.
#[derive(Debug, ApiResponse)]
enum TestAccepted {
    /// On its way.
    #[oai(status = 202)]
    Accepted(Json<WebhookTest>),
}

/// The answer to a deletion.
#[derive(Debug, ApiResponse)]
enum Deleted {
    /// Gone; deliveries under way to it are cancelled.
    #[oai(status = 204)]
    Gone,
}

/// The routes of Inkode's webhook endpoints.
#[derive(Debug)]
pub struct EndpointApi(pub App);

#[OpenApi(prefix_path = "/api/webhooks", tag = "Tag::InkodeWebhooks")]
impl EndpointApi {
    /// List webhook endpoints
    #[oai(path = "/endpoints", method = "get", operation_id = "listWebhookEndpoints")]
    async fn list(
        &self,
        auth: Auth<Session>,
        /// Only endpoints of this dialect.
        dialect: Query<Option<WebhookDialect>>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<Text<text::EndpointId>>>,
    ) -> Result<Json<WebhookEndpointPage>, Failed<Own>> {
        webhook::authorise_read(&auth.0)?;
        let limit = page::limit(limit.0)?;
        let mut conn = self.0.store.pool().acquire().await?;
        let before = webhook::position(&mut conn, &auth.0, None, cursor.0.as_deref(), page::wrong_cursor).await?;
        let rows = endpoint::list(&mut conn, auth.0.org_id, dialect.0.map(Into::into), before, limit + 1).await?;
        let (rows, more) = page::split(rows, limit);
        let next_cursor = rows.last().filter(|_| more).map(|row| row.public_id().into());
        let items = rows.into_iter().map(|row| WebhookEndpoint::new(row, None)).collect();
        Ok(Json(WebhookEndpointPage { items, next_cursor }))
    }

    /// Create a webhook endpoint
    #[oai(path = "/endpoints", method = "post", operation_id = "createWebhookEndpoint")]
    async fn create(
        &self,
        auth: Auth<Session>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<WebhookEndpointInput>,
    ) -> Result<Created<WebhookEndpoint>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        let WebhookEndpointInput { url, dialect, name, event_types, enabled, secret } = input.value;
        let draft = Draft {
            url: url.into(),
            events: event_types.map(text::plain),
            name: name.map(Into::into).unwrap_or_default(),
            enabled: enabled.unwrap_or(true),
            secret: secret.map(Into::into),
        };
        let dialect = dialect.unwrap_or(WebhookDialect::Inkode).into();
        let once = Once { operation: "createWebhookEndpoint", key: key.0.as_deref(), hash: &input.hash };
        Ok(webhook::register(app, caller, dialect, draft, NAMES, once, WebhookEndpoint::new).await?)
    }

    /// Get a webhook endpoint
    #[oai(path = "/endpoints/:id", method = "get", operation_id = "getWebhookEndpoint")]
    async fn get(
        &self,
        auth: Auth<Session>,
        /// The endpoint.
        id: Path<Text<text::EndpointId>>,
    ) -> Result<Json<WebhookEndpoint>, Failed<Own>> {
        webhook::authorise_read(&auth.0)?;
        Ok(Json(WebhookEndpoint::new(find(&self.0, &auth.0, &id.0).await?, None)))
    }

    /// Update a webhook endpoint
    #[oai(path = "/endpoints/:id", method = "patch", operation_id = "updateWebhookEndpoint")]
    async fn update(
        &self,
        auth: Auth<Session>,
        /// The endpoint.
        id: Path<Text<text::EndpointId>>,
        input: Input<WebhookEndpointPatch>,
    ) -> Result<Json<WebhookEndpoint>, Failed<Own>> {
        let WebhookEndpointPatch { url, name, event_types, enabled } = input.value;
        let patch = Patch {
            url: url.map(Into::into),
            events: event_types.map(text::plain),
            name: name.map(Into::into),
            enabled,
            ..Patch::default()
        };
        let endpoint = find(&self.0, &auth.0, &id.0).await?;
        let endpoint = webhook::update(&self.0, &auth.0, endpoint, patch, NAMES).await?;
        Ok(Json(WebhookEndpoint::new(endpoint, None)))
    }

    /// Delete a webhook endpoint
    #[oai(path = "/endpoints/:id", method = "delete", operation_id = "deleteWebhookEndpoint")]
    async fn delete(
        &self,
        auth: Auth<Session>,
        /// The endpoint.
        id: Path<Text<text::EndpointId>>,
    ) -> Result<Deleted, Failed<Own>> {
        let endpoint = find(&self.0, &auth.0, &id.0).await?;
        webhook::delete(&self.0, &auth.0, &endpoint).await?;
        Ok(Deleted::Gone)
    }

    /// Rotate the secret of a webhook endpoint
    #[oai(path = "/endpoints/:id/rotate-secret", method = "post", operation_id = "rotateWebhookSecret")]
    async fn rotate(
        &self,
        auth: Auth<Session>,
        /// The endpoint.
        id: Path<Text<text::EndpointId>>,
        input: OptionalInput<SecretRotationInput>,
    ) -> Result<Json<SecretRotation>, Failed<Own>> {
        let overlap = input.value.overlap_seconds.unwrap_or(0);
        if !(0..=604_800).contains(&overlap) {
            return Err(Failure::field("overlapSeconds", "must be from 0 to 604800").into());
        }
        let endpoint = find(&self.0, &auth.0, &id.0).await?;
        if overlap > 0 && endpoint.row().signature.overlap == Overlap::Void {
            let rule = format!("must be 0 for {}: its old secret is void at once", endpoint.row().title);
            return Err(Failure::field("overlapSeconds", rule).into());
        }
        let (secret, rotated_at) = webhook::rotate(&self.0, &auth.0, &endpoint, overlap).await?;
        Ok(Json(SecretRotation { id: endpoint.public_id().into(), secret, rotated_at: rotated_at.into() }))
    }

    /// Send a test event to a webhook endpoint
    ///
    /// With sample data, once, even if the endpoint is disabled.
    #[oai(path = "/endpoints/:id/test", method = "post", operation_id = "sendWebhookTest")]
    async fn test(
        &self,
        auth: Auth<Session>,
        /// The endpoint.
        id: Path<Text<text::EndpointId>>,
        input: OptionalInput<WebhookTestInput>,
        request: &Request,
    ) -> Result<TestAccepted, Failed<Own>> {
        let endpoint = find(&self.0, &auth.0, &id.0).await?;
        let request_id = request_id(request);
        let (event, delivery) = webhook::test(
            &self.0,
            &auth.0,
            &endpoint,
            input.value.event_type.map(Into::into),
            "eventType",
            request_id.as_deref(),
        )
        .await?;
        Ok(TestAccepted::Accepted(Json(WebhookTest {
            event_id: event.to_string().into(),
            delivery_id: delivery.to_string().into(),
        })))
    }

    /// List event types
    #[oai(path = "/event-types", method = "get", operation_id = "listEventTypes")]
    async fn event_types(&self, auth: Auth<Session>) -> Result<Json<EventTypeList>, Failed<Own>> {
        webhook::authorise_read(&auth.0)?;
        let mut items: std::collections::BTreeMap<&str, Vec<WebhookDialect>> = std::collections::BTreeMap::new();
        for dialect in &DIALECTS {
            for name in dialect.catalogue {
                items.entry(name).or_default().push(dialect.name.into());
            }
        }
        let items = items.into_iter().map(|(name, dialects)| EventType { name: name.into(), dialects }).collect();
        Ok(Json(EventTypeList { items }))
    }
}

/// An endpoint of the caller's organisation, of whatever dialect.
pub async fn find(app: &App, caller: &domain::caller::Caller, id: &str) -> Result<Endpoint, Failure> {
    webhook::find(app, caller, None, id).await
}
