//! Replays: past deliveries of one endpoint or of several sent once more.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    api_key::Scope,
    caller::Caller,
    delivery::State as DeliveryRowState,
    dialect::Dialect,
    endpoint::{self, Endpoint},
    id::{EndpointId, ReplayId},
    replay::{self, NewReplay, REPLAYABLE, Range, Replay, State},
};
use jobs::{job::NewJob, queue, replay::RunReplay};
use poem_openapi::{
    ApiResponse, Enum, Object, OpenApi,
    param::{Path, Query},
    payload::Json,
};
use serde::Deserialize;
use sqlx::PgConnection;

use super::{NAMES, delivery::DeliveryState, endpoint::find as find_endpoint};
use crate::{
    app::App,
    auth::{Auth, Session},
    failure::Failure,
    input::{self, OptionalInput},
    page,
    server::Tag,
    surface::{Failed, Own},
    text::{self, Text},
    timestamp::{self, Timestamp},
    webhook,
};

/// Deliveries per second where none is asked for.
const PER_SECOND: i32 = 100;
/// The most endpoints of one replay.
const ENDPOINTS_MAX: usize = 1000;

/// Which deliveries are sent again, and how fast.
#[derive(Debug, Object, Deserialize)]
#[oai(example, rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct ReplayInput {
    /// Deliveries in these states; `held` and `failed` if not given. Pending ones are never replayed.
    #[oai(validator(min_items = 1, unique_items))]
    #[serde(default, deserialize_with = "input::words")]
    states: Option<Vec<ReplayableState>>,
    /// Only events of these types.
    #[oai(validator(min_items = 1, unique_items))]
    event_types: Option<Vec<Text<text::AnyEventType>>>,
    /// Deliveries made at or after this time; 30 days ago if not given.
    #[serde(default, deserialize_with = "timestamp::read")]
    from: Option<DateTime<Utc>>,
    /// Deliveries made before this time; now if not given.
    #[serde(default, deserialize_with = "timestamp::read")]
    to: Option<DateTime<Utc>>,
    /// Deliveries per second, 1 to 10,000; 100 if not given.
    #[oai(validator(minimum(value = "1"), maximum(value = "10000")))]
    per_second: Option<i32>,
}

impl poem_openapi::types::Example for ReplayInput {
    fn example() -> Self {
        Self {
            states: Some(vec![ReplayableState::Held, ReplayableState::Failed]),
            event_types: Some(vec!["qr.created".into()]),
            from: DateTime::from_timestamp(1_772_409_600, 0),
            to: DateTime::from_timestamp(1_772_452_800, 0),
            per_second: Some(50),
        }
    }
}

/// Which endpoints' deliveries are sent again, which of them, and how fast.
#[derive(Debug, Object, Deserialize)]
#[oai(example, rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct EndpointsReplayInput {
    /// To these endpoints, 1,000 at most; to all that are enabled if not given.
    #[oai(validator(min_items = 1, max_items = 1000, unique_items))]
    endpoint_ids: Option<Vec<Text<text::EndpointId>>>,
    /// Deliveries in these states; `held` and `failed` if not given. Pending ones are never replayed.
    #[oai(validator(min_items = 1, unique_items))]
    #[serde(default, deserialize_with = "input::words")]
    states: Option<Vec<ReplayableState>>,
    /// Only events of these types.
    #[oai(validator(min_items = 1, unique_items))]
    event_types: Option<Vec<Text<text::AnyEventType>>>,
    /// Deliveries made at or after this time; 30 days ago if not given.
    #[serde(default, deserialize_with = "timestamp::read")]
    from: Option<DateTime<Utc>>,
    /// Deliveries made before this time; now if not given.
    #[serde(default, deserialize_with = "timestamp::read")]
    to: Option<DateTime<Utc>>,
    /// Deliveries per second to all of them together, 1 to 10,000; 100 if not given.
    #[oai(validator(minimum(value = "1"), maximum(value = "10000")))]
    per_second: Option<i32>,
}

impl poem_openapi::types::Example for EndpointsReplayInput {
    fn example() -> Self {
        let ReplayInput { states, event_types, from, to, per_second } = ReplayInput::example();
        Self { endpoint_ids: None, states, event_types, from, to, per_second }
    }
}

/// A state from which a delivery can be sent again.
#[derive(Debug, Clone, Copy, Enum, PartialEq, Eq, Hash, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
enum ReplayableState {
    /// Came due while the endpoint was disabled.
    Held,
    /// Given up.
    Failed,
    /// Taken before.
    Delivered,
}

impl From<ReplayableState> for DeliveryRowState {
    fn from(state: ReplayableState) -> Self {
        REPLAYABLE[state as usize]
    }
}

/// Where a replay stands.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
enum ReplayState {
    /// It sends.
    Running,
    /// It waits until it is resumed.
    Paused,
    /// Stopped for good.
    Cancelled,
    /// Everything was sent.
    Done,
}

/// A replay.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct WebhookReplay {
    /// Its id.
    id: Text<text::ReplayId>,
    /// The endpoints whose deliveries are taken.
    endpoint_ids: Vec<Text<text::EndpointId>>,
    /// Where it stands.
    state: ReplayState,
    /// Deliveries in these states are taken, if they have not been sent again since it began.
    states: Vec<DeliveryState>,
    /// Only events of these types.
    event_types: Option<Vec<Text<text::AnyEventType>>>,
    /// How many deliveries it takes; absent until they are counted, which is a matter of seconds where there are
    /// many.
    total: Option<i64>,
    /// Deliveries sent again so far.
    replayed: i64,
    /// Deliveries per second.
    per_second: i32,
    /// When it began.
    created_at: Timestamp,
    /// When it ended.
    finished_at: Option<Timestamp>,
}

impl WebhookReplay {
    fn new(replay: Replay, spelled: &HashMap<EndpointId, String>) -> Self {
        Self {
            id: replay.id.to_string().into(),
            endpoint_ids: replay.endpoint_ids.iter().filter_map(|id| Some(spelled.get(id)?.as_str().into())).collect(),
            state: match replay.state {
                State::Running => ReplayState::Running,
                State::Paused => ReplayState::Paused,
                State::Cancelled => ReplayState::Cancelled,
                State::Done => ReplayState::Done,
            },
            total: replay.total(),
            states: replay
                .delivery_states
                .iter()
                .filter_map(|name| DeliveryRowState::by_name(name).map(Into::into))
                .collect(),
            event_types: replay.event_types.map(|types| types.into_iter().map(Into::into).collect()),
            replayed: replay.replayed,
            per_second: replay.per_second,
            created_at: replay.created_at.into(),
            finished_at: replay.finished_at.map(Into::into),
        }
    }
}

/// A page of replays, newest first.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct WebhookReplayPage {
    /// The replays.
    items: Vec<WebhookReplay>,
    /// The `cursor` of the next page; absent on the last.
    next_cursor: Option<Text<text::ReplayId>>,
}

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
        let (range, per_second) = range(endpoints, input, now)?;
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
        let (rows, more) = page::split(rows, limit);
        let next_cursor = rows.last().filter(|_| more).map(|row| row.id.to_string().into());
        let ids: Vec<EndpointId> = rows.iter().flat_map(|row| row.endpoint_ids.iter().copied()).collect();
        let spelled = spell(&mut conn, caller, &ids).await?;
        let items = rows.into_iter().map(|row| WebhookReplay::new(row, &spelled)).collect();
        Ok(WebhookReplayPage { items, next_cursor })
    }

    /// Turns a replay that stands in one of `from` to `to`.
    async fn turn(&self, caller: &Caller, id: &str, from: &[State], to: State) -> Result<WebhookReplay, Failure> {
        authorise(caller)?;
        let (app, now) = (&self.0, self.0.clock.now());
        let id: ReplayId = id.parse().map_err(|_| missing())?;
        let mut tx = app.store.begin().await?;
        let row = replay::lock(&mut tx, caller.org_id, id).await?.ok_or_else(missing)?;
        if !from.contains(&row.state) {
            return Err(Failure::conflict("replay_state", format!("The replay is {}.", row.state.name())));
        }
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

fn range(endpoints: &[Endpoint], input: ReplayInput, now: DateTime<Utc>) -> Result<(Range, i32), Failure> {
    let per_second = input.per_second.unwrap_or(PER_SECOND);
    if !(1..=10_000).contains(&per_second) {
        return Err(Failure::field("perSecond", "must be from 1 to 10000"));
    }
    let states = input.states.unwrap_or(vec![ReplayableState::Held, ReplayableState::Failed]);
    if states.is_empty() {
        return Err(Failure::field("states", "must have at least one state"));
    }
    if let Some(n) = (1..states.len()).find(|&n| states[..n].contains(&states[n])) {
        return Err(Failure::field(format!("states[{n}]"), "is there twice"));
    }
    let event_types = input.event_types.map(text::plain);
    if let Some(types) = &event_types {
        check_types(endpoints, types)?;
    }
    let (from, to) = (input.from.unwrap_or(now - TimeDelta::days(30)), input.to.unwrap_or(now));
    if from >= to {
        return Err(Failure::field("from", "must be before `to`"));
    }
    let endpoint_ids = endpoints.iter().map(|endpoint| endpoint.id).collect();
    let range = Range { endpoint_ids, states: states.into_iter().map(Into::into).collect(), event_types, from, to };
    Ok((range, per_second))
}

/// Checks event types against the catalogues of the endpoints' dialects: one of them must know each.
fn check_types(endpoints: &[Endpoint], types: &[String]) -> Result<(), Failure> {
    if let [endpoint] = endpoints {
        return webhook::check_types(endpoint.row(), types, NAMES);
    }
    if types.is_empty() {
        return Err(Failure::field(NAMES.events, "must have at least one event type"));
    }
    for (n, name) in types.iter().enumerate() {
        if types[..n].contains(name) {
            return Err(Failure::field(format!("{}[{n}]", NAMES.events), "is there twice"));
        }
        if !endpoints.iter().any(|endpoint| endpoint.row().catalogue.contains(&name.as_str())) {
            return Err(Failure::field(
                format!("{}[{n}]", NAMES.events),
                "is unknown to the dialects of the endpoints",
            ));
        }
    }
    Ok(())
}
