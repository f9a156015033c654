//! QR Code Agency's webhooks: `/api/v1/webhooks/`, opened by a session or an `smk_` key; integer ids, trailing slashes.

use domain::{
    attempt::{self, Logged},
    caller::Caller,
    dialect::{DialectName, Health},
    endpoint::{self, Endpoint},
};
use poem_openapi::{
    ApiResponse, Enum, Object, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};
use serde::Deserialize;

use crate::{
    app::App,
    auth::{Auth, QrstudioToken},
    failure::Failure,
    idempotency::{Created, Once},
    input::{self, Input},
    page,
    server::Tag,
    surface::{Failed, Qrstudio},
    text::{self, Text},
    timestamp::Timestamp,
    webhook::{self, Draft, Names, Patch},
};

const NAMES: Names = Names { events: "events", name: "description" };
const DIALECT: DialectName = DialectName::Qrstudio;
/// The document gives subscriptions no pages; this is more than anybody's.
const LIST_MAX: i64 = 1000;

/// How a subscription does.
#[derive(Debug, Clone, Copy, Enum, PartialEq, Eq, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
enum QrstudioStatus {
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
enum QrstudioSwitch {
    /// Takes deliveries.
    Active,
    /// Paused.
    Disabled,
}

/// A new subscription.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
struct QrstudioWebhookInput {
    /// Where it is: https, at most 2,000 characters, no private address.
    url: Text<text::Target>,
    /// What it is for, at most 200 characters.
    description: Option<Text<text::Name>>,
    /// What it subscribes to: one or more of the five types.
    #[oai(validator(min_items = 1, max_items = 5, unique_items))]
    events: Vec<Text<text::QrstudioEventType>>,
}

impl poem_openapi::types::Example for QrstudioWebhookInput {
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
struct QrstudioWebhookPatch {
    /// Where it is.
    url: Option<Text<text::Target>>,
    /// What it is for.
    description: Option<Text<text::Name>>,
    /// What it subscribes to.
    #[oai(validator(min_items = 1, max_items = 5, unique_items))]
    events: Option<Vec<Text<text::QrstudioEventType>>>,
    /// `disabled` pauses it, `active` switches it on again.
    #[serde(default, deserialize_with = "input::word")]
    status: Option<QrstudioSwitch>,
}

impl poem_openapi::types::Example for QrstudioWebhookPatch {
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
struct QrstudioWebhook {
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
struct QrstudioWebhookCreated {
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
    fn new(endpoint: Endpoint, secret: Option<String>) -> Self {
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
struct QrstudioWebhookList {
    /// The subscriptions.
    results: Vec<QrstudioWebhook>,
}

/// A new secret.
#[derive(Debug, Object)]
struct QrstudioRotation {
    /// The subscription.
    id: i64,
    /// The new secret; the old one is void.
    secret: String,
    /// When it was made.
    rotated_at: Timestamp,
}

/// One request to the subscription's URL.
#[derive(Debug, Object)]
struct QrstudioDelivery {
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
struct QrstudioDeliveryPage {
    /// How many there are in all.
    count: i64,
    /// The address of the next page.
    #[oai(nullable)]
    next: Option<Text<text::Url>>,
    /// The address of the page before.
    #[oai(nullable)]
    previous: Option<Text<text::Url>>,
    /// The requests.
    results: Vec<QrstudioDelivery>,
}

/// The answer to a deletion.
#[derive(Debug, ApiResponse)]
enum Deleted {
    /// Gone; deliveries under way are not retried.
    #[oai(status = 204)]
    Gone,
}

/// QR Code Agency's routes.
#[derive(Debug)]
pub struct QrstudioApi(pub App);

#[OpenApi(tag = "Tag::Qrstudio")]
impl QrstudioApi {
    /// List QR Code Agency subscriptions
    #[oai(path = "/api/v1/webhooks/", method = "get", operation_id = "listQrstudioWebhooks")]
    async fn list(&self, auth: Auth<QrstudioToken>) -> Result<Json<QrstudioWebhookList>, Failed<Qrstudio>> {
        webhook::authorise_read(&auth.0)?;
        let mut conn = self.0.store.pool().acquire().await?;
        let rows = endpoint::list(&mut conn, auth.0.org_id, Some(DIALECT), None, LIST_MAX).await?;
        let results = rows.into_iter().map(Into::into).collect();
        Ok(Json(QrstudioWebhookList { results }))
    }

    /// Create a QR Code Agency subscription
    #[oai(path = "/api/v1/webhooks/", method = "post", operation_id = "createQrstudioWebhook")]
    async fn create(
        &self,
        auth: Auth<QrstudioToken>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<QrstudioWebhookInput>,
    ) -> Result<Created<QrstudioWebhookCreated>, Failed<Qrstudio>> {
        let (app, caller) = (&self.0, &auth.0);
        let QrstudioWebhookInput { url, description, events } = input.value;
        let draft = Draft {
            url: url.into(),
            events: Some(text::plain(events)),
            name: description.map(Into::into).unwrap_or_default(),
            enabled: true,
            secret: None,
        };
        let once = Once { operation: "createQrstudioWebhook", key: key.0.as_deref(), hash: &input.hash };
        Ok(webhook::register(app, caller, DIALECT, draft, NAMES, once, QrstudioWebhookCreated::new).await?)
    }

    /// Update a QR Code Agency subscription
    #[oai(path = "/api/v1/webhooks/:id/", method = "patch", operation_id = "updateQrstudioWebhook")]
    async fn update(
        &self,
        auth: Auth<QrstudioToken>,
        /// The subscription.
        id: Path<Text<text::QrstudioWebhookId>>,
        input: Input<QrstudioWebhookPatch>,
    ) -> Result<Json<QrstudioWebhook>, Failed<Qrstudio>> {
        let QrstudioWebhookPatch { url, description, events, status } = input.value;
        let endpoint = self.find(&auth.0, &id.0).await?;
        let enabled = status.map(|status| status == QrstudioSwitch::Active);
        let patch = Patch {
            url: url.map(Into::into),
            events: events.map(text::plain),
            name: description.map(Into::into),
            enabled,
            ..Patch::default()
        };
        let endpoint = webhook::update(&self.0, &auth.0, endpoint, patch, NAMES).await?;
        Ok(Json(endpoint.into()))
    }

    /// Delete a QR Code Agency subscription
    #[oai(path = "/api/v1/webhooks/:id/", method = "delete", operation_id = "deleteQrstudioWebhook")]
    async fn delete(
        &self,
        auth: Auth<QrstudioToken>,
        /// The subscription.
        id: Path<Text<text::QrstudioWebhookId>>,
    ) -> Result<Deleted, Failed<Qrstudio>> {
        let endpoint = self.find(&auth.0, &id.0).await?;
        webhook::delete(&self.0, &auth.0, &endpoint).await?;
        Ok(Deleted::Gone)
    }

    /// Rotate the secret of a QR Code Agency subscription
    #[oai(path = "/api/v1/webhooks/:id/rotate/", method = "post", operation_id = "rotateQrstudioSecret")]
    async fn rotate(
        &self,
        auth: Auth<QrstudioToken>,
        /// The subscription.
        id: Path<Text<text::QrstudioWebhookId>>,
    ) -> Result<Json<QrstudioRotation>, Failed<Qrstudio>> {
        let endpoint = self.find(&auth.0, &id.0).await?;
        let (secret, rotated_at) = webhook::rotate(&self.0, &auth.0, &endpoint, 0).await?;
        Ok(Json(QrstudioRotation { id: endpoint.number, secret, rotated_at: rotated_at.into() }))
    }

    /// List the deliveries of a QR Code Agency subscription
    ///
    /// One entry per request that was made, kept for 30 days.
    #[oai(path = "/api/v1/webhooks/:id/deliveries/", method = "get", operation_id = "listQrstudioDeliveries")]
    async fn deliveries(
        &self,
        auth: Auth<QrstudioToken>,
        /// The subscription.
        id: Path<Text<text::QrstudioWebhookId>>,
        /// The page, from 1.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
        page: Query<Option<i64>>,
        /// The size of the page, 25 if not given.
        #[oai(name = "page_size", validator(minimum(value = "1"), maximum(value = "100")))]
        page_size: Query<Option<i64>>,
    ) -> Result<Json<QrstudioDeliveryPage>, Failed<Qrstudio>> {
        webhook::authorise_read(&auth.0)?;
        let (number, size) = (page.0.unwrap_or(1), page_size.0.unwrap_or(page::LIMIT));
        if !(1..=1_000_000).contains(&number) || !(1..=page::LIMIT_MAX).contains(&size) {
            return Err(Failure::field("page_size", "must be from 1 to 100, and page at least 1").into());
        }
        let endpoint = self.find(&auth.0, &id.0).await?;
        let mut conn = self.0.store.pool().acquire().await?;
        let (rows, count) = attempt::log(&mut conn, auth.0.org_id, endpoint.id, (number - 1) * size, size).await?;
        let address = |page: i64| {
            let base = &self.0.settings.public_url;
            format!("{base}/api/v1/webhooks/{}/deliveries/?page={page}&page_size={size}", endpoint.number)
        };
        Ok(Json(QrstudioDeliveryPage {
            count,
            next: (number * size < count).then(|| address(number + 1).into()),
            previous: (number > 1).then(|| address(number - 1).into()),
            results: rows.into_iter().map(Into::into).collect(),
        }))
    }
}

impl QrstudioApi {
    async fn find(&self, caller: &Caller, id: &str) -> Result<Endpoint, Failure> {
        let number: i64 = id.parse().map_err(|_| webhook::no_endpoint())?;
        let mut conn = self.0.store.pool().acquire().await?;
        endpoint::find_by_number(&mut conn, caller.org_id, number, DIALECT).await?.ok_or_else(webhook::no_endpoint)
    }
}
