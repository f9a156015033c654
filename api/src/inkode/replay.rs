//! Replays: past deliveries of an endpoint sent once more.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    api_key::Scope,
    caller::Caller,
    delivery::{self, ReplayRange, State as DeliveryRowState},
    dialect::Dialect,
    id::ReplayId,
    replay::{self, NewReplay, REPLAYABLE, Replay, State},
};
use jobs::{job::NewJob, queue, replay::RunReplay};
use poem_openapi::{
    ApiResponse, Enum, Object, OpenApi,
    param::{Path, Query},
    payload::Json,
};
use serde::Deserialize;

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
    /// Where it stands.
    state: ReplayState,
    /// Deliveries in these states are taken.
    states: Vec<DeliveryState>,
    /// Only events of these types.
    event_types: Option<Vec<Text<text::AnyEventType>>>,
    /// Deliveries in its range when it began.
    total: i64,
    /// Deliveries sent again so far.
    replayed: i64,
    /// Deliveries per second.
    per_second: i32,
    /// When it began.
    created_at: Timestamp,
    /// When it ended.
    finished_at: Option<Timestamp>,
}

impl From<Replay> for WebhookReplay {
    fn from(replay: Replay) -> Self {
        Self {
            id: replay.id.to_string().into(),
            state: match replay.state {
                State::Running => ReplayState::Running,
                State::Paused => ReplayState::Paused,
                State::Cancelled => ReplayState::Cancelled,
                State::Done => ReplayState::Done,
            },
            states: replay
                .delivery_states
                .iter()
                .filter_map(|name| DeliveryRowState::by_name(name).map(Into::into))
                .collect(),
            event_types: replay.event_types.map(|types| types.into_iter().map(Into::into).collect()),
            total: replay.total,
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
        let (app, caller, now) = (&self.0, &auth.0, self.0.clock.now());
        authorise(caller)?;
        let endpoint = find_endpoint(app, caller, &id.0).await?;
        let (range, per_second) = range(endpoint.row(), input.value, now)?;
        if !endpoint.takes_deliveries() {
            return Err(Failure::conflict("endpoint_disabled", "The endpoint is disabled: enable it first.").into());
        }
        let mut tx = app.store.begin().await?;
        let total = delivery::count_range(&mut tx, caller.org_id, endpoint.id, &range).await?;
        let new = NewReplay {
            id: ReplayId::new(now, &app.chance),
            org_id: caller.org_id,
            endpoint_id: endpoint.id,
            range: &range,
            per_second,
            total,
            created_by: caller.user_id,
        };
        replay::insert(&mut tx, &new, now).await?;
        queue::enqueue(&mut tx, NewJob::new(caller.org_id, &RunReplay { replay_id: new.id, run: 1 }, now, &app.chance))
            .await?;
        let row = replay::find(&mut tx, caller.org_id, new.id).await?.ok_or_else(missing)?;
        tx.commit().await?;
        Ok(ReplayAccepted::Accepted(Json(row.into())))
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
        let limit = page::limit(limit.0)?;
        let before = page::cursor(cursor.0.as_deref())?;
        let endpoint = find_endpoint(&self.0, &auth.0, &id.0).await?;
        let mut conn = self.0.store.pool().acquire().await?;
        let rows = replay::list(&mut conn, auth.0.org_id, endpoint.id, before, limit + 1).await?;
        let (rows, more) = page::split(rows, limit);
        let next_cursor = rows.last().filter(|_| more).map(|row| row.id.to_string().into());
        Ok(Json(WebhookReplayPage { items: rows.into_iter().map(Into::into).collect(), next_cursor }))
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
        Ok(Json(row.into()))
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
        tx.commit().await?;
        Ok(row.into())
    }
}

fn authorise(caller: &Caller) -> Result<(), Failure> {
    caller.require_scope(Scope::DeliveriesWrite)?;
    Ok(caller.require_manager()?)
}

fn missing() -> Failure {
    Failure::not_found("replay")
}

fn range(dialect: &Dialect, input: ReplayInput, now: DateTime<Utc>) -> Result<(ReplayRange, i32), Failure> {
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
        webhook::check_types(dialect, types, NAMES)?;
    }
    let (from, to) = (input.from.unwrap_or(now - TimeDelta::days(30)), input.to.unwrap_or(now));
    if from >= to {
        return Err(Failure::field("from", "must be before `to`"));
    }
    let range = ReplayRange { states: states.into_iter().map(Into::into).collect(), event_types, from, to };
    Ok((range, per_second))
}
