//! `/api/webhooks/endpoints`.

mod shape;

use domain::{
    dialect::{DIALECTS, Overlap},
    downgrade,
    endpoint::{self, Endpoint},
    plan::Quota,
};
use poem::Request;
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};

use self::shape::{
    EventType, EventTypeList, SecretRotation, SecretRotationInput, WebhookDialect, WebhookEndpoint,
    WebhookEndpointInput, WebhookEndpointPage, WebhookEndpointPatch, WebhookTest, WebhookTestInput,
};
use super::NAMES;
use crate::{
    app::App,
    auth::{Auth, Session},
    failure::Failure,
    idempotency::{Created, Once},
    input::{Input, OptionalInput},
    page,
    server::{Tag, request_id},
    surface::{Failed, Own},
    text::{self, Text},
    webhook::{self, Draft, Patch},
};

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
        let (rows, next_cursor) = page::turn(rows, limit, |row| row.public_id());
        let edge = downgrade::edge(&mut conn, auth.0.org_id, Quota::Endpoints).await?;
        let items = rows.into_iter().map(|row| WebhookEndpoint::known(row, edge)).collect();
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
        Ok(Json(shown(&self.0, find(&self.0, &auth.0, &id.0).await?).await?))
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
        Ok(Json(shown(&self.0, endpoint).await?))
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

async fn shown(app: &App, endpoint: Endpoint) -> Result<WebhookEndpoint, Failure> {
    let mut conn = app.store.pool().acquire().await?;
    let edge = downgrade::edge(&mut conn, endpoint.org_id, Quota::Endpoints).await?;
    Ok(WebhookEndpoint::known(endpoint, edge))
}
