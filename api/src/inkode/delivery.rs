//! `/api/webhooks/deliveries`, and the deliveries of one endpoint.

use domain::{
    api_key::Scope,
    attempt::{self, Attempt},
    delivery::{self, Delivery, Filter, State},
    dialect::Dialect,
    endpoint, event,
    id::DeliveryId,
};
use jobs::{
    event::{Again, resend},
    job::Priority,
};
use poem_openapi::{
    ApiResponse, Enum, Object, OpenApi,
    param::{Path, Query},
    payload::Json,
    types::Any,
};

use super::endpoint::find as find_endpoint;
use crate::{
    app::App,
    auth::{Auth, Session},
    failure::Failure,
    page,
    server::Tag,
    surface::{Failed, Own},
    text::{self, Text},
    timestamp::Timestamp,
    webhook,
};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, Enum, PartialEq, Eq, serde::Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// An attempt is scheduled or under way.
    Pending,
    /// The endpoint answered 2xx.
    Delivered,
    /// Every attempt of the schedule failed.
    Failed,
    /// Came due while its endpoint was disabled; can be replayed.
    Held,
    /// Its endpoint was deleted.
    Cancelled,
}

impl From<State> for DeliveryState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Delivered => Self::Delivered,
            State::Failed => Self::Failed,
            State::Held => Self::Held,
            State::Cancelled => Self::Cancelled,
        }
    }
}

impl From<DeliveryState> for State {
    fn from(state: DeliveryState) -> Self {
        Self::ALL[state as usize]
    }
}

/// A delivery.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct WebhookDelivery {
    /// Its id.
    id: Text<text::DeliveryId>,
    /// The event it carries.
    event_id: Text<text::EventId>,
    /// The event's type.
    event_type: Text<text::AnyEventType>,
    /// The endpoint it goes to.
    endpoint_id: Text<text::EndpointId>,
    /// Where it stands.
    state: DeliveryState,
    /// Which rule decided that, in a sentence.
    why: String,
    /// Sent by hand to try the endpoint.
    test: bool,
    /// Requests made.
    attempts: i32,
    /// When the next attempt is due, while pending.
    next_attempt_at: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
    /// When it reached a final state.
    finished_at: Option<Timestamp>,
}

impl WebhookDelivery {
    fn new(delivery: Delivery, endpoint_id: String) -> Self {
        Self {
            id: delivery.id.to_string().into(),
            event_id: delivery.event_id.to_string().into(),
            event_type: delivery.event_type.into(),
            endpoint_id: endpoint_id.into(),
            state: delivery.state.into(),
            why: delivery.reason,
            test: delivery.is_test,
            attempts: delivery.attempts,
            next_attempt_at: delivery.next_attempt_at.map(Into::into),
            created_at: delivery.created_at.into(),
            finished_at: delivery.finished_at.map(Into::into),
        }
    }
}

/// A page of deliveries, newest first.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct WebhookDeliveryPage {
    /// The deliveries.
    items: Vec<WebhookDelivery>,
    /// The `cursor` of the next page; absent on the last.
    next_cursor: Option<Text<text::DeliveryId>>,
}

/// One request and what came back.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct WebhookAttempt {
    /// Which request of the delivery, from 1.
    number: i32,
    /// Whether the receiver took it: any 2xx.
    succeeded: bool,
    /// When it left.
    started_at: Timestamp,
    /// How long it took, in milliseconds.
    duration_ms: i32,
    /// The status that came back.
    response_status: Option<i32>,
    /// The beginning of the answer, at most 16 KiB.
    response_body: String,
    /// What went wrong.
    error: Option<String>,
    /// The address that was dialled.
    remote_address: Option<String>,
}

impl From<Attempt> for WebhookAttempt {
    fn from(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            succeeded: attempt.succeeded(),
            started_at: attempt.started_at.into(),
            duration_ms: attempt.duration_ms,
            response_status: attempt.status,
            response_body: attempt.response_body,
            error: (!attempt.error.is_empty()).then_some(attempt.error),
            remote_address: attempt.remote_addr,
        }
    }
}

/// A delivery with everything that is known of it.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct WebhookDeliveryDetail {
    /// The delivery.
    delivery: WebhookDelivery,
    /// Its requests, first to last.
    attempts: Vec<WebhookAttempt>,
    /// The body that is sent, the same on every attempt.
    body: Option<Any<serde_json::Value>>,
}

/// The answer to a retry.
#[derive(Debug, ApiResponse)]
enum RetryAccepted {
    /// An attempt follows at once; the schedule starts anew.
    #[oai(status = 202)]
    Accepted(Json<WebhookDelivery>),
}

/// The routes of deliveries.
#[derive(Debug)]
pub struct DeliveryApi(pub App);

#[OpenApi(prefix_path = "/api/webhooks", tag = "Tag::InkodeWebhooks")]
impl DeliveryApi {
    /// List the deliveries of a webhook endpoint
    #[oai(path = "/endpoints/:id/deliveries", method = "get", operation_id = "listWebhookDeliveries")]
    #[allow(clippy::too_many_arguments)]
    async fn list(
        &self,
        auth: Auth<Session>,
        /// The endpoint.
        id: Path<Text<text::EndpointId>>,
        /// Only deliveries in this state.
        state: Query<Option<DeliveryState>>,
        /// Only deliveries of events of this type.
        #[oai(name = "eventType")]
        event_type: Query<Option<Text<text::AnyEventType>>>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<Text<text::DeliveryId>>>,
    ) -> Result<Json<WebhookDeliveryPage>, Failed<Own>> {
        auth.0.require_scope(Scope::DeliveriesRead)?;
        let limit = page::limit(limit.0)?;
        let before = page::cursor(cursor.0.as_deref())?;
        let endpoint = find_endpoint(&self.0, &auth.0, &id.0).await?;
        if let Some(event_type) = &event_type.0 {
            webhook::check_type(endpoint.row(), event_type, "eventType")?;
        }
        let filter = Filter { state: state.0.map(Into::into), event_type: event_type.0.map(Into::into), before };
        let mut conn = self.0.store.pool().acquire().await?;
        let rows = delivery::list(&mut conn, auth.0.org_id, endpoint.id, &filter, limit + 1).await?;
        let (rows, next_cursor) = page::turn(rows, limit, |row| row.id.to_string());
        let items = rows.into_iter().map(|row| WebhookDelivery::new(row, endpoint.public_id())).collect();
        Ok(Json(WebhookDeliveryPage { items, next_cursor }))
    }

    /// Get a delivery
    ///
    /// With its attempts, the body that is sent, and why it stands as it does.
    #[oai(path = "/deliveries/:id", method = "get", operation_id = "getWebhookDelivery")]
    async fn get(
        &self,
        auth: Auth<Session>,
        /// The delivery.
        id: Path<Text<text::DeliveryId>>,
    ) -> Result<Json<WebhookDeliveryDetail>, Failed<Own>> {
        auth.0.require_scope(Scope::DeliveriesRead)?;
        let row = self.find(&auth.0, &id.0).await?;
        let mut conn = self.0.store.pool().acquire().await?;
        let attempts = attempt::of_delivery(&mut conn, auth.0.org_id, row.id).await?;
        let dialect = self.dialect(&mut conn, &row).await?;
        let event = event::find(&mut conn, auth.0.org_id, row.event_id).await?;
        let body = event.map(|event| {
            let facts = domain::dialect::EventFacts {
                id: event.id,
                org_id: auth.0.org_id,
                event_type: &event.event_type,
                created_at: event.created_at,
                data: &event.data,
            };
            let text = domain::dialect::body(dialect, &facts);
            // A body that serde cannot read (a lone surrogate) is shown as the text it is.
            Any(serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
        });
        let delivery = WebhookDelivery::new(row.clone(), dialect.endpoint_id(row.endpoint_id));
        Ok(Json(WebhookDeliveryDetail { delivery, attempts: attempts.into_iter().map(Into::into).collect(), body }))
    }

    /// Retry a delivery
    ///
    /// Makes an attempt at once and starts the schedule anew. A delivery that is pending has its next attempt brought
    /// forward instead.
    #[oai(path = "/deliveries/:id/retry", method = "post", operation_id = "retryWebhookDelivery")]
    async fn retry(
        &self,
        auth: Auth<Session>,
        /// The delivery.
        id: Path<Text<text::DeliveryId>>,
    ) -> Result<RetryAccepted, Failed<Own>> {
        auth.0.require_scope(Scope::DeliveriesWrite)?;
        auth.0.require_manager()?;
        let row = self.find(&auth.0, &id.0).await?;
        if row.state == State::Pending {
            return Err(Failure::conflict(
                "delivery_pending",
                "The delivery is pending: an attempt is scheduled already.",
            )
            .into());
        }
        if row.state == State::Cancelled {
            return Err(Failure::conflict("endpoint_deleted", "The delivery's endpoint was deleted.").into());
        }
        let now = self.0.clock.now();
        let mut tx = self.0.store.begin().await?;
        let again =
            Again { reason: "Due at once: retried by hand.", priority: Priority::High, replay_id: None, steps: None };
        resend(&mut tx, auth.0.org_id, &[row.id], again, now, &self.0.chance).await?;
        tx.commit().await?;
        let row = self.find(&auth.0, &id.0).await?;
        let mut conn = self.0.store.pool().acquire().await?;
        let dialect = self.dialect(&mut conn, &row).await?;
        let endpoint_id = dialect.endpoint_id(row.endpoint_id);
        Ok(RetryAccepted::Accepted(Json(WebhookDelivery::new(row, endpoint_id))))
    }
}

impl DeliveryApi {
    async fn find(&self, caller: &domain::caller::Caller, id: &str) -> Result<Delivery, Failure> {
        let missing = || Failure::not_found("delivery");
        let id: DeliveryId = id.parse().map_err(|_| missing())?;
        let mut conn = self.0.store.pool().acquire().await?;
        delivery::find(&mut conn, caller.org_id, id).await?.ok_or_else(missing)
    }

    async fn dialect(&self, conn: &mut sqlx::PgConnection, row: &Delivery) -> Result<&'static Dialect, Failure> {
        let dialect = endpoint::dialect_of(conn, row.org_id, row.endpoint_id).await?;
        Ok(Dialect::by_name(dialect.ok_or_else(|| Failure::not_found("delivery"))?))
    }
}
