//! Inkr's webhooks: `/v1/webhook_endpoints` and `/v1/events`, opened by an `inkr_` key; snake case, errors as our own.

use domain::{
    api_key::Scope,
    caller::Caller,
    dialect::{Dialect, DialectName, Health},
    endpoint::{self, Endpoint},
    event,
    id::EventId,
};
use poem::Request;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
    types::Any,
};
use serde::Deserialize;

use crate::{
    app::App,
    auth::{Auth, InkrKey},
    deleted::Deleted,
    failure::Failure,
    idempotency::{Created, Once},
    input::{Input, OptionalInput},
    page,
    server::{Tag, request_id},
    surface::{Failed, Own},
    text::{self, Text},
    timestamp::Timestamp,
    webhook::{self, Draft, Names, Patch},
};

const NAMES: Names = Names { events: "events", name: "description" };
const DIALECT: DialectName = DialectName::Inkr;

/// A new endpoint.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
struct InkrEndpointInput {
    /// Where it is: https, no private address.
    url: Text<text::Target>,
    /// What it subscribes to.
    #[oai(validator(min_items = 1, unique_items))]
    events: Vec<Text<text::InkrEventType>>,
}

impl poem_openapi::types::Example for InkrEndpointInput {
    fn example() -> Self {
        Self {
            url: "https://hooks.example.com/inkr".into(),
            events: vec!["submission.completed".into(), "submission.declined".into()],
        }
    }
}

/// What changes in an endpoint; what is not given stays.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
struct InkrEndpointPatch {
    /// Where it is.
    url: Option<Text<text::Target>>,
    /// What it subscribes to.
    #[oai(validator(min_items = 1, unique_items))]
    events: Option<Vec<Text<text::InkrEventType>>>,
    /// Switched on.
    enabled: Option<bool>,
}

impl poem_openapi::types::Example for InkrEndpointPatch {
    fn example() -> Self {
        Self { url: None, events: Some(vec!["submission.completed".into()]), enabled: Some(true) }
    }
}

/// An endpoint.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct InkrEndpoint {
    /// Its id.
    id: Text<text::InkrEndpointId>,
    /// Where it is.
    url: Text<text::Url>,
    /// What it subscribes to.
    events: Vec<Text<text::InkrEventType>>,
    /// Whether it takes deliveries.
    enabled: bool,
    /// Whether it failed eight times in a row and has not succeeded since.
    failing: bool,
    /// Why it was switched off, if its failures did that.
    disabled_reason: Option<String>,
    /// The signing secret, `whsec_…`: in the answer that made it, and never again.
    secret: Option<String>,
    /// When it was made.
    created_at: Timestamp,
    /// When its settings last changed.
    updated_at: Timestamp,
}

impl InkrEndpoint {
    fn new(endpoint: Endpoint, secret: Option<String>) -> Self {
        let off = endpoint.health == Health::Disabled;
        Self {
            id: endpoint.public_id().into(),
            events: webhook::subscriptions(&endpoint),
            enabled: endpoint.takes_deliveries(),
            failing: endpoint.health != Health::Active,
            disabled_reason: endpoint.health_reason.filter(|_| off),
            url: endpoint.url.into(),
            secret,
            created_at: endpoint.created_at.into(),
            updated_at: endpoint.updated_at.into(),
        }
    }
}

/// A page of endpoints, newest first.
#[derive(Debug, Object)]
struct InkrEndpointPage {
    /// The endpoints.
    data: Vec<InkrEndpoint>,
    /// Whether a page follows: ask with `starting_after` = the last id.
    has_more: bool,
}

/// An event of the organisation, as its webhook bodies show it.
#[derive(Debug, Object)]
struct InkrEvent {
    /// Its id.
    id: Text<text::EventId>,
    /// Its type.
    #[oai(rename = "type")]
    event_type: Text<text::InkrEventType>,
    /// When it happened.
    created_at: Timestamp,
    /// What happened.
    data: InkrEventData,
}

/// What happened.
#[derive(Debug, Object)]
struct InkrEventData {
    /// The thing it happened to.
    object: Any<serde_json::Value>,
}

/// A page of events, newest first.
#[derive(Debug, Object)]
struct InkrEventPage {
    /// The events.
    data: Vec<InkrEvent>,
    /// Whether a page follows: ask with `starting_after` = the last id.
    has_more: bool,
}

/// What a test sends.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
struct InkrTestInput {
    /// The event type; the first that the endpoint subscribes to if not given.
    event: Option<Text<text::InkrEventType>>,
}

impl poem_openapi::types::Example for InkrTestInput {
    fn example() -> Self {
        Self { event: Some("submission.completed".into()) }
    }
}

/// A test under way.
#[derive(Debug, Object)]
struct InkrTest {
    /// The event that was made for it.
    event_id: Text<text::EventId>,
    /// Its delivery.
    delivery_id: Text<text::DeliveryId>,
}

/// The answer to a test.
#[derive(Debug, ApiResponse)]
enum TestAccepted {
    /// On its way.
    #[oai(status = 202)]
    Accepted(Json<InkrTest>),
}

/// Inkr's routes.
#[derive(Debug)]
pub struct InkrApi(pub App);

#[OpenApi(prefix_path = "/v1", tag = "Tag::Inkr")]
impl InkrApi {
    /// List Inkr endpoints
    #[oai(path = "/webhook_endpoints", method = "get", operation_id = "listInkrEndpoints")]
    async fn list(
        &self,
        auth: Auth<InkrKey>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The last id of the page before.
        starting_after: Query<Option<Text<text::InkrEndpointId>>>,
    ) -> Result<Json<InkrEndpointPage>, Failed<Own>> {
        webhook::authorise_read(&auth.0)?;
        let limit = page::limit(limit.0)?;
        let mut conn = self.0.store.pool().acquire().await?;
        let after =
            webhook::position(&mut conn, &auth.0, Some(DIALECT), starting_after.0.as_deref(), wrong_position).await?;
        let rows = endpoint::list(&mut conn, auth.0.org_id, Some(DIALECT), after, limit + 1).await?;
        let (rows, has_more) = page::split(rows, limit);
        let data = rows.into_iter().map(|row| InkrEndpoint::new(row, None)).collect();
        Ok(Json(InkrEndpointPage { data, has_more }))
    }

    /// Create an Inkr endpoint
    #[oai(path = "/webhook_endpoints", method = "post", operation_id = "createInkrEndpoint")]
    async fn create(
        &self,
        auth: Auth<InkrKey>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<InkrEndpointInput>,
    ) -> Result<Created<InkrEndpoint>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        let InkrEndpointInput { url, events } = input.value;
        let draft = Draft {
            url: url.into(),
            events: Some(text::plain(events)),
            name: String::new(),
            enabled: true,
            secret: None,
        };
        let once = Once { operation: "createInkrEndpoint", key: key.0.as_deref(), hash: &input.hash };
        Ok(webhook::register(app, caller, DIALECT, draft, NAMES, once, InkrEndpoint::new).await?)
    }

    /// Get an Inkr endpoint
    #[oai(path = "/webhook_endpoints/:id", method = "get", operation_id = "getInkrEndpoint")]
    async fn get(
        &self,
        auth: Auth<InkrKey>,
        /// The endpoint.
        id: Path<Text<text::InkrEndpointId>>,
    ) -> Result<Json<InkrEndpoint>, Failed<Own>> {
        webhook::authorise_read(&auth.0)?;
        Ok(Json(InkrEndpoint::new(self.find(&auth.0, &id.0).await?, None)))
    }

    /// Update an Inkr endpoint
    #[oai(path = "/webhook_endpoints/:id", method = "patch", operation_id = "updateInkrEndpoint")]
    async fn update(
        &self,
        auth: Auth<InkrKey>,
        /// The endpoint.
        id: Path<Text<text::InkrEndpointId>>,
        input: Input<InkrEndpointPatch>,
    ) -> Result<Json<InkrEndpoint>, Failed<Own>> {
        let InkrEndpointPatch { url, events, enabled } = input.value;
        let endpoint = self.find(&auth.0, &id.0).await?;
        let patch = Patch { url: url.map(Into::into), events: events.map(text::plain), enabled, ..Patch::default() };
        let endpoint = webhook::update(&self.0, &auth.0, endpoint, patch, NAMES).await?;
        Ok(Json(InkrEndpoint::new(endpoint, None)))
    }

    /// Delete an Inkr endpoint
    #[oai(path = "/webhook_endpoints/:id", method = "delete", operation_id = "deleteInkrEndpoint")]
    async fn delete(
        &self,
        auth: Auth<InkrKey>,
        /// The endpoint.
        id: Path<Text<text::InkrEndpointId>>,
    ) -> Result<Deleted, Failed<Own>> {
        let endpoint = self.find(&auth.0, &id.0).await?;
        webhook::delete(&self.0, &auth.0, &endpoint).await?;
        Ok(Deleted::Gone)
    }

    /// Send a test event to an Inkr endpoint
    ///
    /// With sample data, once, even if the endpoint is disabled.
    #[oai(path = "/webhook_endpoints/:id/test", method = "post", operation_id = "sendInkrTest")]
    async fn test(
        &self,
        auth: Auth<InkrKey>,
        /// The endpoint.
        id: Path<Text<text::InkrEndpointId>>,
        input: OptionalInput<InkrTestInput>,
        request: &Request,
    ) -> Result<TestAccepted, Failed<Own>> {
        let endpoint = self.find(&auth.0, &id.0).await?;
        let id = request_id(request);
        let (event, delivery) =
            webhook::test(&self.0, &auth.0, &endpoint, input.value.event.map(Into::into), "event", id.as_deref())
                .await?;
        let test = InkrTest { event_id: event.to_string().into(), delivery_id: delivery.to_string().into() };
        Ok(TestAccepted::Accepted(Json(test)))
    }

    /// Reactivate an Inkr endpoint
    ///
    /// Switches it on and forgets its failures.
    #[oai(path = "/webhook_endpoints/:id/reactivate", method = "post", operation_id = "reactivateInkrEndpoint")]
    async fn reactivate(
        &self,
        auth: Auth<InkrKey>,
        /// The endpoint.
        id: Path<Text<text::InkrEndpointId>>,
    ) -> Result<Json<InkrEndpoint>, Failed<Own>> {
        let endpoint = self.find(&auth.0, &id.0).await?;
        let endpoint = webhook::reactivate(&self.0, &auth.0, endpoint, NAMES).await?;
        Ok(Json(InkrEndpoint::new(endpoint, None)))
    }

    /// List Inkr events
    #[oai(path = "/events", method = "get", operation_id = "listInkrEvents")]
    async fn events(
        &self,
        auth: Auth<InkrKey>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The last id of the page before.
        starting_after: Query<Option<Text<text::EventId>>>,
    ) -> Result<Json<InkrEventPage>, Failed<Own>> {
        auth.0.require_scope(Scope::EventsRead)?;
        let limit = page::limit(limit.0)?;
        let after = starting_after.0.as_deref().map(str::parse::<EventId>).transpose();
        let after = after.map_err(|_| wrong_position())?;
        let types: Vec<&str> = Dialect::by_name(DIALECT).catalogue.to_vec();
        let mut conn = self.0.store.pool().acquire().await?;
        let rows = event::list(&mut conn, auth.0.org_id, &types, after, limit + 1).await?;
        let (rows, has_more) = page::split(rows, limit);
        let data = rows
            .into_iter()
            .map(|row| InkrEvent {
                id: row.id.to_string().into(),
                event_type: row.event_type.into(),
                created_at: row.created_at.into(),
                data: InkrEventData {
                    object: Any(serde_json::from_str(&row.data).unwrap_or(serde_json::Value::String(row.data))),
                },
            })
            .collect();
        Ok(Json(InkrEventPage { data, has_more }))
    }
}

impl InkrApi {
    async fn find(&self, caller: &Caller, id: &str) -> Result<Endpoint, Failure> {
        webhook::find(&self.0, caller, Some(DIALECT), id).await
    }
}

fn wrong_position() -> Failure {
    Failure::field("starting_after", "must be the last id of a page before")
}
