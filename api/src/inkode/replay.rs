//! Replays: past deliveries of one endpoint or of several sent once more.

mod shape;

use std::collections::HashMap;

use domain::{
    api_key::Scope,
    caller::Caller,
    dialect::Dialect,
    endpoint::{self, Endpoint},
    id::{EndpointId, ReplayId},
    replay::{self, NewReplay, Replay, State},
};
use jobs::{job::NewJob, queue, replay::RunReplay};
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Path, Query},
    payload::Json,
};
use sqlx::PgConnection;

use self::shape::{EndpointsReplayInput, ReplayInput, ReplayUpdate, WebhookReplay, WebhookReplayPage};
use super::endpoint::find as find_endpoint;
use crate::{
    app::App,
    auth::{Auth, Session},
    failure::Failure,
    input::{Input, OptionalInput},
    page,
    server::Tag,
    surface::{Failed, Own},
    text::{self, Text},
};

/// The most endpoints of one replay.
const ENDPOINTS_MAX: usize = 1000;

/// The answer to a replay that begins.
#[derive(Debug, ApiResponse)]
enum ReplayAccepted {
    /// It is under way.
    #[oai(status = 202)]
    Accepted(Json<WebhookReplay>),
}

/// The routes of replays.
#[derive(Debug)]
pub struct ReplayApi(pub App);

#[OpenApi(prefix_path = "/api/webhooks", tag = "Tag::InkodeWebhooks")]
impl ReplayApi {
    /// Replay deliveries of a webhook endpoint
    ///
    /// Sends past deliveries once more, oldest first, as a durable job. The endpoint must be enabled.
    #[oai(path = "/endpoints/:id/replay", method = "post", operation_id = "createWebhookReplay")]
    async fn create(
        &self,
        auth: Auth<Session>,
        /// The endpoint.
        id: Path<Text<text::EndpointId>>,
        input: OptionalInput<ReplayInput>,
    ) -> Result<ReplayAccepted, Failed<Own>> {
        authorise(&auth.0)?;
        let endpoint = find_endpoint(&self.0, &auth.0, &id.0).await?;
        Ok(ReplayAccepted::Accepted(Json(self.begin(&auth.0, &[endpoint], input.value).await?)))
    }

    /// Replay deliveries of several webhook endpoints
    ///
    /// Sends past deliveries to all enabled endpoints, or to those that are named, once more as one durable job, oldest
    /// first. Named endpoints must be enabled. One that is disabled meanwhile is passed over; its deliveries can be
    /// replayed later.
    #[oai(path = "/replays", method = "post", operation_id = "createWebhooksReplay")]
    async fn create_for_many(
        &self,
        auth: Auth<Session>,
        input: OptionalInput<EndpointsReplayInput>,
    ) -> Result<ReplayAccepted, Failed<Own>> {
        authorise(&auth.0)?;
        let EndpointsReplayInput { endpoint_ids, states, event_types, from, to, per_second } = input.value;
        let endpoints = self.endpoints(&auth.0, endpoint_ids.map(text::plain)).await?;
        let input = ReplayInput { states, event_types, from, to, per_second };
        Ok(ReplayAccepted::Accepted(Json(self.begin(&auth.0, &endpoints, input).await?)))
    }

    /// List replays
    #[oai(path = "/replays", method = "get", operation_id = "listWebhooksReplays")]
    async fn list_all(
        &self,
        auth: Auth<Session>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<Text<text::ReplayId>>>,
    ) -> Result<Json<WebhookReplayPage>, Failed<Own>> {
        auth.0.require_scope(Scope::DeliveriesRead)?;
        Ok(Json(self.page(&auth.0, None, limit.0, cursor.0.as_deref()).await?))
    }

    /// List the replays of a webhook endpoint
    #[oai(path = "/endpoints/:id/replays", method = "get", operation_id = "listWebhookReplays")]
    async fn list(
        &self,
        auth: Auth<Session>,
        /// The endpoint.
        id: Path<Text<text::EndpointId>>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<Text<text::ReplayId>>>,
    ) -> Result<Json<WebhookReplayPage>, Failed<Own>> {
        auth.0.require_scope(Scope::DeliveriesRead)?;
        let endpoint = find_endpoint(&self.0, &auth.0, &id.0).await?;
        Ok(Json(self.page(&auth.0, Some(endpoint.id), limit.0, cursor.0.as_deref()).await?))
    }

    /// Get a replay
    #[oai(path = "/replays/:id", method = "get", operation_id = "getWebhookReplay")]
    async fn get(
        &self,
        auth: Auth<Session>,
        /// The replay.
        id: Path<Text<text::ReplayId>>,
    ) -> Result<Json<WebhookReplay>, Failed<Own>> {
        auth.0.require_scope(Scope::DeliveriesRead)?;
        let id: ReplayId = id.0.parse().map_err(|_| missing())?;
        let mut conn = self.0.store.pool().acquire().await?;
        let row = replay::find(&mut conn, auth.0.org_id, id).await?.ok_or_else(missing)?;
        Ok(Json(show(&mut conn, &auth.0, row).await?))
    }

    /// Change the rate of a replay
    ///
    /// One that runs goes on at the new rate within a second.
    #[oai(path = "/replays/:id", method = "patch", operation_id = "updateWebhookReplay")]
    async fn update(
        &self,
        auth: Auth<Session>,
        /// The replay.
        id: Path<Text<text::ReplayId>>,
        input: Input<ReplayUpdate>,
    ) -> Result<Json<WebhookReplay>, Failed<Own>> {
        authorise(&auth.0)?;
        let wish = input.value.per_second.map(shape::rate).transpose()?;
        let mut tx = self.0.store.begin().await?;
        let row = standing(&mut tx, &auth.0, &id.0, &[State::Running, State::Paused]).await?;
        let per_second = wish.unwrap_or(row.per_second);
        replay::set_rate(&mut tx, row.id, per_second, self.0.clock.now()).await?;
        let shown = show(&mut tx, &auth.0, Replay { per_second, ..row }).await?;
        tx.commit().await?;
        Ok(Json(shown))
    }

    /// Pause a replay
    #[oai(path = "/replays/:id/pause", method = "post", operation_id = "pauseWebhookReplay")]
    async fn pause(
        &self,
        auth: Auth<Session>,
        /// The replay.
        id: Path<Text<text::ReplayId>>,
    ) -> Result<Json<WebhookReplay>, Failed<Own>> {
        Ok(Json(self.turn(&auth.0, &id.0, &[State::Running], State::Paused).await?))
    }

    /// Resume a replay
    #[oai(path = "/replays/:id/resume", method = "post", operation_id = "resumeWebhookReplay")]
    async fn resume(
        &self,
        auth: Auth<Session>,
        /// The replay.
        id: Path<Text<text::ReplayId>>,
    ) -> Result<Json<WebhookReplay>, Failed<Own>> {
        Ok(Json(self.turn(&auth.0, &id.0, &[State::Paused], State::Running).await?))
    }

    /// Cancel a replay
    ///
    /// What it has sent again already stays under way.
    #[oai(path = "/replays/:id/cancel", method = "post", operation_id = "cancelWebhookReplay")]
    async fn cancel(
        &self,
        auth: Auth<Session>,
        /// The replay.
        id: Path<Text<text::ReplayId>>,
    ) -> Result<Json<WebhookReplay>, Failed<Own>> {
        Ok(Json(self.turn(&auth.0, &id.0, &[State::Running, State::Paused], State::Cancelled).await?))
    }
}

impl ReplayApi {
    /// The endpoints that a replay names, or all that are enabled.
    async fn endpoints(&self, caller: &Caller, ids: Option<Vec<String>>) -> Result<Vec<Endpoint>, Failure> {
        let too_many = || Failure::field("endpointIds", format!("must be at most {ENDPOINTS_MAX} endpoints"));
        if ids.as_ref().is_some_and(|ids| ids.len() > ENDPOINTS_MAX) {
            return Err(too_many());
        }
        let mut conn = self.0.store.pool().acquire().await?;
        let mut all = endpoint::list(&mut conn, caller.org_id, None, None, i64::MAX).await?;
        let Some(ids) = ids else {
            all.retain(Endpoint::takes_deliveries);
            return if all.len() > ENDPOINTS_MAX { Err(too_many()) } else { Ok(all) };
        };
        if ids.is_empty() {
            return Err(Failure::field("endpointIds", "must have at least one endpoint"));
        }
        let mut known: HashMap<String, Endpoint> = all.into_iter().map(|row| (row.public_id(), row)).collect();
        let mut named = Vec::with_capacity(ids.len());
        for (n, id) in ids.iter().enumerate() {
            if ids[..n].contains(id) {
                return Err(Failure::field(format!("endpointIds[{n}]"), "is there twice"));
            }
            let unknown = || Failure::field(format!("endpointIds[{n}]"), "is none of your endpoints");
            named.push(known.remove(id).ok_or_else(unknown)?);
        }
        Ok(named)
    }

    /// Stores a replay of `endpoints` with its first job, and begins to count.
    async fn begin(
        &self,
        caller: &Caller,
        endpoints: &[Endpoint],
        input: ReplayInput,
    ) -> Result<WebhookReplay, Failure> {
        let (app, now) = (&self.0, self.0.clock.now());
        if endpoints.is_empty() {
            return Err(Failure::conflict("endpoint_disabled", "No endpoint is enabled: enable one first."));
        }
        let (range, per_second) = shape::range(endpoints, input, now)?;
        if let Some(off) = endpoints.iter().find(|endpoint| !endpoint.takes_deliveries()) {
            let message = format!("The endpoint {} is disabled: enable it first.", off.public_id());
            return Err(Failure::conflict("endpoint_disabled", message));
        }
        let mut tx = app.store.begin().await?;
        let id = ReplayId::new(now, &app.chance);
        let new = NewReplay { id, org_id: caller.org_id, range: &range, per_second, created_by: caller.user_id };
        replay::insert(&mut tx, &new, now).await?;
        let mut row = replay::find(&mut tx, caller.org_id, id).await?.ok_or_else(missing)?;
        // One look; where there is more, the job counts on.
        replay::count(&mut tx, &mut row, 1).await?;
        let job = NewJob::new(caller.org_id, &RunReplay { replay_id: id, run: 1 }, now, &app.chance);
        queue::enqueue(&mut tx, job).await?;
        let shown = show(&mut tx, caller, row).await?;
        tx.commit().await?;
        Ok(shown)
    }

    async fn page(
        &self,
        caller: &Caller,
        endpoint_id: Option<EndpointId>,
        limit: Option<i64>,
        cursor: Option<&str>,
    ) -> Result<WebhookReplayPage, Failure> {
        let limit = page::limit(limit)?;
        let before = page::cursor(cursor)?;
        let mut conn = self.0.store.pool().acquire().await?;
        let rows = replay::list(&mut conn, caller.org_id, endpoint_id, before, limit + 1).await?;
        let (rows, next_cursor) = page::turn(rows, limit, |row| row.id.to_string());
        let ids: Vec<EndpointId> = rows.iter().flat_map(|row| row.endpoint_ids.iter().copied()).collect();
        let spelled = spell(&mut conn, caller, &ids).await?;
        let items = rows.into_iter().map(|row| WebhookReplay::new(row, &spelled)).collect();
        Ok(WebhookReplayPage { items, next_cursor })
    }

    /// Turns a replay that stands in one of `from` to `to`.
    async fn turn(&self, caller: &Caller, id: &str, from: &[State], to: State) -> Result<WebhookReplay, Failure> {
        authorise(caller)?;
        let (app, now) = (&self.0, self.0.clock.now());
        let mut tx = app.store.begin().await?;
        let id = standing(&mut tx, caller, id, from).await?.id;
        let run = replay::set_state(&mut tx, id, to, now).await?;
        if to == State::Running {
            let job = NewJob::new(caller.org_id, &RunReplay { replay_id: id, run }, now, &app.chance);
            queue::enqueue(&mut tx, job).await?;
        }
        let row = replay::find(&mut tx, caller.org_id, id).await?.ok_or_else(missing)?;
        let shown = show(&mut tx, caller, row).await?;
        tx.commit().await?;
        Ok(shown)
    }
}

/// A replay that stands in one of `states`, locked.
async fn standing(conn: &mut PgConnection, caller: &Caller, id: &str, states: &[State]) -> Result<Replay, Failure> {
    let id: ReplayId = id.parse().map_err(|_| missing())?;
    let row = replay::lock(conn, caller.org_id, id).await?.ok_or_else(missing)?;
    match states.contains(&row.state) {
        true => Ok(row),
        false => Err(Failure::conflict("replay_state", format!("The replay is {}.", row.state.name()))),
    }
}

async fn show(conn: &mut PgConnection, caller: &Caller, row: Replay) -> Result<WebhookReplay, Failure> {
    let spelled = spell(conn, caller, &row.endpoint_ids).await?;
    Ok(WebhookReplay::new(row, &spelled))
}

/// The ids of endpoints as their dialects spell them.
async fn spell(
    conn: &mut PgConnection,
    caller: &Caller,
    ids: &[EndpointId],
) -> Result<HashMap<EndpointId, String>, Failure> {
    let dialects = endpoint::dialects_of(conn, caller.org_id, ids).await?;
    Ok(dialects.into_iter().map(|(id, dialect)| (id, Dialect::by_name(dialect).endpoint_id(id))).collect())
}

fn authorise(caller: &Caller) -> Result<(), Failure> {
    caller.require_scope(Scope::DeliveriesWrite)?;
    Ok(caller.require_manager()?)
}

fn missing() -> Failure {
    Failure::not_found("replay")
}
