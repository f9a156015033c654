//! InkLink's webhooks: `/api/v1/webhook/endpoints`, opened by a `secret_live_` key; snake case, and its own error body.

use domain::{
    caller::Caller,
    dialect::DialectName,
    endpoint::{self, Endpoint},
};
use poem_openapi::{
    Enum, Object, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};
use serde::Deserialize;

use crate::{
    app::App,
    auth::{Auth, InklinkKey},
    deleted::Deleted,
    failure::Failure,
    idempotency::{Created, Once},
    input::Input,
    page,
    server::Tag,
    surface::{Failed, Inklink},
    text::{self, Text},
    timestamp::Timestamp,
    webhook::{self, Draft, Names, Patch},
};

const NAMES: Names = Names { events: "event_types", name: "name" };
const DIALECT: DialectName = DialectName::Inklink;

/// A new endpoint.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
struct InklinkEndpointInput {
    /// Where it is: https, no private address.
    url: Text<text::Target>,
    /// What you call it, at most 120 characters.
    name: Option<Text<text::ShortName>>,
    /// Switched on; `true` if not given.
    enabled: Option<bool>,
    /// What it subscribes to; all ten types if not given.
    #[oai(validator(min_items = 1, unique_items))]
    event_types: Option<Vec<Text<text::InklinkEventType>>>,
}

impl poem_openapi::types::Example for InklinkEndpointInput {
    fn example() -> Self {
        Self {
            url: "https://hooks.example.com/inklink".into(),
            name: Some("Onboarding".into()),
            enabled: Some(true),
            event_types: Some(vec!["kyc.result.approved".into(), "kyc.result.rejected".into()]),
        }
    }
}

/// What changes in an endpoint; what is not given stays.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
struct InklinkEndpointPatch {
    /// Where it is.
    url: Option<Text<text::Target>>,
    /// What you call it.
    name: Option<Text<text::ShortName>>,
    /// Switched on.
    enabled: Option<bool>,
    /// What it subscribes to.
    #[oai(validator(min_items = 1, unique_items))]
    event_types: Option<Vec<Text<text::InklinkEventType>>>,
}

impl poem_openapi::types::Example for InklinkEndpointPatch {
    fn example() -> Self {
        Self {
            url: None,
            name: Some("Onboarding, staging".into()),
            enabled: Some(true),
            event_types: Some(vec!["kyc.result.approved".into()]),
        }
    }
}

/// How an endpoint does.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
enum InklinkStatus {
    /// It answers.
    Active,
    /// It fails; its owner was told.
    Degraded,
    /// It failed for too long: deliveries are held.
    Disabled,
}

/// An endpoint.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct InklinkEndpoint {
    /// Its id, `wh_end_…`.
    id: Text<text::InklinkEndpointId>,
    /// Where it is.
    url: Text<text::Url>,
    /// What you call it.
    name: String,
    /// Your switch.
    enabled: bool,
    /// What it subscribes to.
    event_types: Vec<Text<text::InklinkEventType>>,
    /// What its answers say of it.
    status: InklinkStatus,
    /// The signing secret, `whsec_…`: in the answer that made it, and never again.
    secret: Option<String>,
    /// When it was made.
    created_at: Timestamp,
    /// When its settings last changed.
    updated_at: Timestamp,
}

impl InklinkEndpoint {
    fn new(endpoint: Endpoint, secret: Option<String>) -> Self {
        Self {
            id: endpoint.public_id().into(),
            event_types: webhook::subscriptions(&endpoint),
            url: endpoint.url.into(),
            name: endpoint.name,
            enabled: endpoint.enabled,
            status: match endpoint.health {
                domain::dialect::Health::Active => InklinkStatus::Active,
                domain::dialect::Health::Degraded => InklinkStatus::Degraded,
                domain::dialect::Health::Disabled => InklinkStatus::Disabled,
            },
            secret,
            created_at: endpoint.created_at.into(),
            updated_at: endpoint.updated_at.into(),
        }
    }
}

/// A page of endpoints, newest first.
#[derive(Debug, Object)]
struct InklinkEndpointPage {
    /// The endpoints.
    data: Vec<InklinkEndpoint>,
    /// The first id of the page; null where it is empty.
    #[oai(nullable)]
    first_id: Option<Text<text::InklinkEndpointId>>,
    /// The last id of the page, the `after_id` of the next one; null where it is empty.
    #[oai(nullable)]
    last_id: Option<Text<text::InklinkEndpointId>>,
    /// Whether a page follows.
    has_more: bool,
}

/// InkLink's routes.
#[derive(Debug)]
pub struct InklinkApi(pub App);

#[OpenApi(tag = "Tag::Inklink")]
impl InklinkApi {
    /// List InkLink endpoints
    #[oai(path = "/api/v1/webhook/endpoints", method = "get", operation_id = "listInklinkEndpoints")]
    async fn list(
        &self,
        auth: Auth<InklinkKey>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `last_id` of the page before.
        after_id: Query<Option<Text<text::InklinkEndpointId>>>,
    ) -> Result<Json<InklinkEndpointPage>, Failed<Inklink>> {
        webhook::authorise_read(&auth.0)?;
        let limit = page::limit(limit.0)?;
        let mut conn = self.0.store.pool().acquire().await?;
        let after = webhook::position(&mut conn, &auth.0, Some(DIALECT), after_id.0.as_deref(), || {
            Failure::field("after_id", "INVALID_AFTER_ID")
        })
        .await?;
        let rows = endpoint::list(&mut conn, auth.0.org_id, Some(DIALECT), after, limit + 1).await?;
        let (rows, has_more) = page::split(rows, limit);
        Ok(Json(InklinkEndpointPage {
            first_id: rows.first().map(|row| row.public_id().into()),
            last_id: rows.last().map(|row| row.public_id().into()),
            data: rows.into_iter().map(|row| InklinkEndpoint::new(row, None)).collect(),
            has_more,
        }))
    }

    /// Create an InkLink endpoint
    #[oai(path = "/api/v1/webhook/endpoints", method = "post", operation_id = "createInklinkEndpoint")]
    async fn create(
        &self,
        auth: Auth<InklinkKey>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<InklinkEndpointInput>,
    ) -> Result<Created<InklinkEndpoint>, Failed<Inklink>> {
        let (app, caller) = (&self.0, &auth.0);
        let InklinkEndpointInput { url, name, enabled, event_types } = input.value;
        let draft = Draft {
            url: url.into(),
            events: event_types.map(text::plain),
            name: name.map(Into::into).unwrap_or_default(),
            enabled: enabled.unwrap_or(true),
            secret: None,
        };
        let once = Once { operation: "createInklinkEndpoint", key: key.0.as_deref(), hash: &input.hash };
        Ok(webhook::register(app, caller, DIALECT, draft, NAMES, once, InklinkEndpoint::new).await?)
    }

    /// Get an InkLink endpoint
    #[oai(path = "/api/v1/webhook/endpoints/:id", method = "get", operation_id = "getInklinkEndpoint")]
    async fn get(
        &self,
        auth: Auth<InklinkKey>,
        /// The endpoint.
        id: Path<Text<text::InklinkEndpointId>>,
    ) -> Result<Json<InklinkEndpoint>, Failed<Inklink>> {
        webhook::authorise_read(&auth.0)?;
        Ok(Json(InklinkEndpoint::new(self.find(&auth.0, &id.0).await?, None)))
    }

    /// Update an InkLink endpoint
    #[oai(path = "/api/v1/webhook/endpoints/:id", method = "patch", operation_id = "updateInklinkEndpoint")]
    async fn update(
        &self,
        auth: Auth<InklinkKey>,
        /// The endpoint.
        id: Path<Text<text::InklinkEndpointId>>,
        input: Input<InklinkEndpointPatch>,
    ) -> Result<Json<InklinkEndpoint>, Failed<Inklink>> {
        let InklinkEndpointPatch { url, name, enabled, event_types } = input.value;
        let endpoint = self.find(&auth.0, &id.0).await?;
        let patch = Patch {
            url: url.map(Into::into),
            events: event_types.map(text::plain),
            name: name.map(Into::into),
            enabled,
            ..Patch::default()
        };
        let endpoint = webhook::update(&self.0, &auth.0, endpoint, patch, NAMES).await?;
        Ok(Json(InklinkEndpoint::new(endpoint, None)))
    }

    /// Delete an InkLink endpoint
    #[oai(path = "/api/v1/webhook/endpoints/:id", method = "delete", operation_id = "deleteInklinkEndpoint")]
    async fn delete(
        &self,
        auth: Auth<InklinkKey>,
        /// The endpoint.
        id: Path<Text<text::InklinkEndpointId>>,
    ) -> Result<Deleted, Failed<Inklink>> {
        let endpoint = self.find(&auth.0, &id.0).await?;
        webhook::delete(&self.0, &auth.0, &endpoint).await?;
        Ok(Deleted::Gone)
    }

    /// Rotate the secret of an InkLink endpoint
    ///
    /// The old secret is void at once. An unknown endpoint and a missing permission are both answered with 500, as
    /// InkLink documents for this route.
    #[oai(path = "/api/v1/webhook/endpoints/:id/rotate-secret", method = "post", operation_id = "rotateInklinkSecret")]
    async fn rotate(
        &self,
        auth: Auth<InklinkKey>,
        /// The endpoint.
        id: Path<Text<text::InklinkEndpointId>>,
    ) -> Result<Json<InklinkEndpoint>, Failed<Inklink>> {
        let endpoint = self.find(&auth.0, &id.0).await.map_err(|failure| Failure {
            status: match failure.status {
                poem::http::StatusCode::NOT_FOUND => poem::http::StatusCode::INTERNAL_SERVER_ERROR,
                status => status,
            },
            ..failure
        })?;
        let (secret, rotated_at) = webhook::rotate(&self.0, &auth.0, &endpoint, 0).await?;
        Ok(Json(InklinkEndpoint::new(Endpoint { updated_at: rotated_at, ..endpoint }, Some(secret))))
    }
}

impl InklinkApi {
    async fn find(&self, caller: &Caller, id: &str) -> Result<Endpoint, Failure> {
        webhook::find(&self.0, caller, Some(DIALECT), id).await
    }
}
