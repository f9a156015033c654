//! iloveQR's webhooks: `/api/v1/organizations/{orgId}/webhooks`, opened by an `ilqr_` key; camelCase.

mod shape;

use domain::{
    caller::Caller,
    delivery::{self, Filter},
    dialect::DialectName,
    endpoint::{self, Endpoint},
    id::OrgId,
};
use poem::Request;
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};

use self::shape::{
    IloveqrLogPage, IloveqrTest, IloveqrTestInput, IloveqrWebhook, IloveqrWebhookInput, IloveqrWebhookPage,
    IloveqrWebhookUpdate,
};
use crate::{
    app::App,
    auth::{Auth, IloveqrKey},
    deleted::Deleted,
    failure::Failure,
    idempotency::{Created, Once},
    input::{Input, OptionalInput},
    page,
    server::{Tag, request_id},
    surface::{Failed, Iloveqr},
    text::{self, Text},
    webhook::{self, Draft, Names, Patch},
};

const NAMES: Names = Names { events: "events", name: "name" };
const DIALECT: DialectName = DialectName::Iloveqr;

/// The answer to a test.
#[derive(Debug, ApiResponse)]
enum TestAccepted {
    /// On its way.
    #[oai(status = 202)]
    Accepted(Json<IloveqrTest>),
}

/// iloveQR's routes.
#[derive(Debug)]
pub struct IloveqrApi(pub App);

#[OpenApi(tag = "Tag::Iloveqr")]
impl IloveqrApi {
    /// List iloveQR webhooks
    #[oai(path = "/api/v1/organizations/:org_id/webhooks", method = "get", operation_id = "listIloveqrWebhooks")]
    async fn list(
        &self,
        auth: Auth<IloveqrKey>,
        /// The organisation, the key's own.
        org_id: Path<Text<text::OrgId>>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<Text<text::IloveqrWebhookId>>>,
    ) -> Result<Json<IloveqrWebhookPage>, Failed<Iloveqr>> {
        check_org(&auth.0, &org_id.0)?;
        webhook::authorise_read(&auth.0)?;
        let limit = page::limit(limit.0)?;
        let mut conn = self.0.store.pool().acquire().await?;
        let before =
            webhook::position(&mut conn, &auth.0, Some(DIALECT), cursor.0.as_deref(), page::wrong_cursor).await?;
        let rows = endpoint::list(&mut conn, auth.0.org_id, Some(DIALECT), before, limit + 1).await?;
        let (rows, next_cursor) = page::turn(rows, limit, |row| row.public_id());
        Ok(Json(IloveqrWebhookPage { data: rows.into_iter().map(Into::into).collect(), next_cursor }))
    }

    /// Register an iloveQR webhook
    #[oai(path = "/api/v1/organizations/:org_id/webhooks", method = "post", operation_id = "createIloveqrWebhook")]
    async fn create(
        &self,
        auth: Auth<IloveqrKey>,
        /// The organisation, the key's own.
        org_id: Path<Text<text::OrgId>>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<IloveqrWebhookInput>,
    ) -> Result<Created<IloveqrWebhook>, Failed<Iloveqr>> {
        let (app, caller) = (&self.0, &auth.0);
        check_org(caller, &org_id.0)?;
        let IloveqrWebhookInput { url, events, secret } = input.value;
        let draft = Draft {
            url: url.into(),
            events: Some(text::plain(events)),
            name: String::new(),
            enabled: true,
            secret: Some(secret.into()),
        };
        let once = Once { operation: "createIloveqrWebhook", key: key.0.as_deref(), hash: &input.hash };
        Ok(webhook::register(app, caller, DIALECT, draft, NAMES, once, |endpoint, _| endpoint.into()).await?)
    }

    /// Get an iloveQR webhook
    #[oai(
        path = "/api/v1/organizations/:org_id/webhooks/:webhook_id",
        method = "get",
        operation_id = "getIloveqrWebhook"
    )]
    async fn get(
        &self,
        auth: Auth<IloveqrKey>,
        /// The organisation, the key's own.
        org_id: Path<Text<text::OrgId>>,
        /// The webhook.
        webhook_id: Path<Text<text::IloveqrWebhookId>>,
    ) -> Result<Json<IloveqrWebhook>, Failed<Iloveqr>> {
        webhook::authorise_read(&auth.0)?;
        Ok(Json(self.find(&auth.0, &org_id.0, &webhook_id.0).await?.into()))
    }

    /// Update an iloveQR webhook
    #[oai(
        path = "/api/v1/organizations/:org_id/webhooks/:webhook_id",
        method = "put",
        operation_id = "updateIloveqrWebhook"
    )]
    async fn update(
        &self,
        auth: Auth<IloveqrKey>,
        /// The organisation, the key's own.
        org_id: Path<Text<text::OrgId>>,
        /// The webhook.
        webhook_id: Path<Text<text::IloveqrWebhookId>>,
        input: Input<IloveqrWebhookUpdate>,
    ) -> Result<Json<IloveqrWebhook>, Failed<Iloveqr>> {
        let IloveqrWebhookUpdate { url, events, secret, enabled } = input.value;
        let endpoint = self.find(&auth.0, &org_id.0, &webhook_id.0).await?;
        let patch = Patch {
            url: url.map(Into::into),
            events: events.map(text::plain),
            enabled,
            secret: secret.map(Into::into),
            ..Patch::default()
        };
        Ok(Json(webhook::update(&self.0, &auth.0, endpoint, patch, NAMES).await?.into()))
    }

    /// Delete an iloveQR webhook
    #[oai(
        path = "/api/v1/organizations/:org_id/webhooks/:webhook_id",
        method = "delete",
        operation_id = "deleteIloveqrWebhook"
    )]
    async fn delete(
        &self,
        auth: Auth<IloveqrKey>,
        /// The organisation, the key's own.
        org_id: Path<Text<text::OrgId>>,
        /// The webhook.
        webhook_id: Path<Text<text::IloveqrWebhookId>>,
    ) -> Result<Deleted, Failed<Iloveqr>> {
        let endpoint = self.find(&auth.0, &org_id.0, &webhook_id.0).await?;
        webhook::delete(&self.0, &auth.0, &endpoint).await?;
        Ok(Deleted::Gone)
    }

    /// Send a test event to an iloveQR webhook
    ///
    /// With sample data, once, even if the webhook is disabled.
    #[oai(
        path = "/api/v1/organizations/:org_id/webhooks/:webhook_id/test",
        method = "post",
        operation_id = "sendIloveqrTest"
    )]
    async fn test(
        &self,
        auth: Auth<IloveqrKey>,
        /// The organisation, the key's own.
        org_id: Path<Text<text::OrgId>>,
        /// The webhook.
        webhook_id: Path<Text<text::IloveqrWebhookId>>,
        input: OptionalInput<IloveqrTestInput>,
        request: &Request,
    ) -> Result<TestAccepted, Failed<Iloveqr>> {
        let endpoint = self.find(&auth.0, &org_id.0, &webhook_id.0).await?;
        let id = request_id(request);
        let (event, delivery) =
            webhook::test(&self.0, &auth.0, &endpoint, input.value.event.map(Into::into), "event", id.as_deref())
                .await?;
        let test = IloveqrTest { event_id: event.to_string().into(), delivery_id: delivery.to_string().into() };
        Ok(TestAccepted::Accepted(Json(test)))
    }

    /// List the log of an iloveQR webhook
    #[oai(
        path = "/api/v1/organizations/:org_id/webhooks/:webhook_id/logs",
        method = "get",
        operation_id = "listIloveqrWebhookLogs"
    )]
    async fn logs(
        &self,
        auth: Auth<IloveqrKey>,
        /// The organisation, the key's own.
        org_id: Path<Text<text::OrgId>>,
        /// The webhook.
        webhook_id: Path<Text<text::IloveqrWebhookId>>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<Text<text::DeliveryId>>>,
    ) -> Result<Json<IloveqrLogPage>, Failed<Iloveqr>> {
        webhook::authorise_read(&auth.0)?;
        let limit = page::limit(limit.0)?;
        let filter = Filter { before: page::cursor(cursor.0.as_deref())?, ..Filter::default() };
        let endpoint = self.find(&auth.0, &org_id.0, &webhook_id.0).await?;
        let mut conn = self.0.store.pool().acquire().await?;
        let rows = delivery::list(&mut conn, auth.0.org_id, endpoint.id, &filter, limit + 1).await?;
        let (rows, next_cursor) = page::turn(rows, limit, |row| row.id.to_string());
        Ok(Json(IloveqrLogPage { data: rows.into_iter().map(Into::into).collect(), next_cursor }))
    }
}

impl IloveqrApi {
    async fn find(&self, caller: &Caller, org_id: &str, id: &str) -> Result<Endpoint, Failure> {
        check_org(caller, org_id)?;
        webhook::find(&self.0, caller, Some(DIALECT), id).await
    }
}

/// Another organisation's address holds nothing, as far as this caller can tell.
fn check_org(caller: &Caller, org_id: &str) -> Result<(), Failure> {
    if org_id.parse() == Ok::<OrgId, domain::id::InvalidId>(caller.org_id) {
        return Ok(());
    }
    Err(Failure::not_found("organization of this API key"))
}
