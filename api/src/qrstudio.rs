//! QR Code Agency's webhooks: `/api/v1/webhooks/`, opened by a session or an `smk_` key; integer ids, trailing slashes.

mod shape;

use domain::{
    attempt,
    caller::Caller,
    dialect::DialectName,
    endpoint::{self, Endpoint},
};
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};

use self::shape::{
    QrstudioDeliveryPage, QrstudioRotation, QrstudioSwitch, QrstudioWebhook, QrstudioWebhookCreated,
    QrstudioWebhookInput, QrstudioWebhookList, QrstudioWebhookPatch,
};
use crate::{
    app::App,
    auth::{Auth, QrstudioToken},
    failure::Failure,
    idempotency::{Created, Once},
    input::Input,
    page,
    server::Tag,
    surface::{Failed, Qrstudio},
    text::{self, Text},
    webhook::{self, Draft, Names, Patch},
};

const NAMES: Names = Names { events: "events", name: "description" };
const DIALECT: DialectName = DialectName::Qrstudio;
/// The document gives subscriptions no pages; this is more than anybody's.
const LIST_MAX: i64 = 1000;

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
