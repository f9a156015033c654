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
    failure::Failure,
    idempotency::{Begun, Created, begin},
    input::Input,
    page,
    server::{Tag, request_id},
    surface::{Failed, Own},
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
    #[oai(validator(max_length = 2000))]
    url: String,
    /// What it subscribes to.
    #[oai(validator(min_items = 1, unique_items))]
    events: Vec<String>,
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
struct InkrEndpointPatch {
    /// Where it is.
    #[oai(validator(max_length = 2000))]
    url: Option<String>,
    /// What it subscribes to.
    #[oai(validator(min_items = 1, unique_items))]
    events: Option<Vec<String>>,
    /// Switched on.
    enabled: Option<bool>,
}

/// An endpoint.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct InkrEndpoint {
    /// Its id.
    id: String,
    /// Where it is.
    url: String,
    /// What it subscribes to.
    events: Vec<String>,
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
            id: endpoint.public_id(),
            events: webhook::subscriptions(&endpoint),
            enabled: endpoint.takes_deliveries(),
            failing: endpoint.health != Health::Active,
            disabled_reason: endpoint.health_reason.filter(|_| off),
            url: endpoint.url,
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
    id: String,
    /// Its type.
    #[oai(rename = "type")]
    event_type: String,
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
struct InkrTestInput {
    /// The event type; the first that the endpoint subscribes to if not given.
    event: Option<String>,
}

/// A test under way.
#[derive(Debug, Object)]
struct InkrTest {
    /// The event that was made for it.
    event_id: String,
    /// Its delivery.
    delivery_id: String,
}

/// The answer to a test.
#[derive(Debug, ApiResponse)]
enum TestAccepted {
    /// On its way.
    #[oai(status = 202)]
    Accepted(Json<InkrTest>),
}

/// The answer to a deletion.
#[derive(Debug, ApiResponse)]
enum Deleted {
    /// Gone.
    #[oai(status = 204)]
    Gone,
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
        starting_after: Query<Option<String>>,
    ) -> Result<Json<InkrEndpointPage>, Failed<Own>> {
        webhook::authorise_read(&auth.0)?;
        let limit = page::limit(limit.0)?;
        let after = starting_after.0.as_deref().map(endpoint::read_id).transpose();
        let after = after.map_err(|_| Failure::field("starting_after", "must be the last id of a page before"))?;
        let mut conn = self.0.store.pool().acquire().await?;
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
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 255))]
        key: Header<Option<String>>,
        input: Input<InkrEndpointInput>,
    ) -> Result<Created<InkrEndpoint>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        let InkrEndpointInput { url, events } = input.value;
        let draft = Draft { url, events: Some(events), name: String::new(), enabled: true, secret: None };
        let checked = webhook::check(app, caller, DIALECT, draft, NAMES).await?;
        let mut creation = match begin(app, caller, "createInkrEndpoint", key.0.as_deref(), &input.hash).await? {
            Begun::Before(answer) => return Ok(answer),
            Begun::Fresh(creation) => creation,
        };
        let (endpoint, secret) = webhook::create(app, caller, &checked, &mut creation.tx).await?;
        Ok(creation.finish(&InkrEndpoint::new(endpoint, secret)).await?)
    }

    /// Get an Inkr endpoint
    #[oai(path = "/webhook_endpoints/:id", method = "get", operation_id = "getInkrEndpoint")]
    async fn get(
        &self,
        auth: Auth<InkrKey>,
        /// The endpoint.
        id: Path<String>,
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
        id: Path<String>,
        input: Input<InkrEndpointPatch>,
    ) -> Result<Json<InkrEndpoint>, Failed<Own>> {
        let InkrEndpointPatch { url, events, enabled } = input.value;
        let endpoint = self.find(&auth.0, &id.0).await?;
        let patch = Patch { url, events, name: None, enabled, secret: None };
        let endpoint = webhook::update(&self.0, &auth.0, endpoint, patch, NAMES).await?;
        Ok(Json(InkrEndpoint::new(endpoint, None)))
    }

    /// Delete an Inkr endpoint
    #[oai(path = "/webhook_endpoints/:id", method = "delete", operation_id = "deleteInkrEndpoint")]
    async fn delete(
        &self,
        auth: Auth<InkrKey>,
        /// The endpoint.
        id: Path<String>,
    ) -> Result<Deleted, Failed<Own>> {
        let endpoint = self.find(&auth.0, &id.0).await?;
        webhook::delete(&self.0, &auth.0, &endpoint).await?;
        Ok(Deleted::Gone)
    }

    /// Test an Inkr endpoint
    ///
    /// Sends an event with sample data to this endpoint, once, even if it is disabled.
    #[oai(path = "/webhook_endpoints/:id/test", method = "post", operation_id = "testInkrEndpoint")]
    async fn test(
        &self,
        auth: Auth<InkrKey>,
        /// The endpoint.
        id: Path<String>,
        input: Input<InkrTestInput>,
        request: &Request,
    ) -> Result<TestAccepted, Failed<Own>> {
        let endpoint = self.find(&auth.0, &id.0).await?;
        let id = request_id(request);
        let (event, delivery) =
            webhook::test(&self.0, &auth.0, &endpoint, input.value.event, "event", id.as_deref()).await?;
        let test = InkrTest { event_id: event.to_string(), delivery_id: delivery.to_string() };
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
        id: Path<String>,
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
        starting_after: Query<Option<String>>,
    ) -> Result<Json<InkrEventPage>, Failed<Own>> {
        auth.0.require_scope(Scope::EventsRead)?;
        let limit = page::limit(limit.0)?;
        let after = starting_after.0.as_deref().map(str::parse::<EventId>).transpose();
        let after = after.map_err(|_| Failure::field("starting_after", "must be the last id of a page before"))?;
        let types: Vec<&str> = Dialect::by_name(DIALECT).catalogue.to_vec();
        let mut conn = self.0.store.pool().acquire().await?;
        let rows = event::list(&mut conn, auth.0.org_id, &types, after, limit + 1).await?;
        let (rows, has_more) = page::split(rows, limit);
        let data = rows
            .into_iter()
            .map(|row| InkrEvent {
                id: row.id.to_string(),
                event_type: row.event_type,
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
        let id = endpoint::read_id(id).map_err(|_| webhook::no_endpoint())?;
        let mut conn = self.0.store.pool().acquire().await?;
        endpoint::find(&mut conn, caller.org_id, id, Some(DIALECT)).await?.ok_or_else(webhook::no_endpoint)
    }
}
