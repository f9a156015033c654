//! Replays on the wire, and what a range may be.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    delivery::State as DeliveryRowState,
    endpoint::Endpoint,
    id::EndpointId,
    replay::{REPLAYABLE, Range, Replay, State},
};
use poem_openapi::{Enum, Object};
use serde::Deserialize;

use crate::{
    failure::Failure,
    inkode::{NAMES, delivery::DeliveryState},
    input,
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
pub(super) struct ReplayInput {
    /// Deliveries in these states; `held` and `failed` if not given. Pending ones are never replayed.
    #[oai(validator(min_items = 1, unique_items))]
    #[serde(default, deserialize_with = "input::words")]
    pub(super) states: Option<Vec<ReplayableState>>,
    /// Only events of these types.
    #[oai(validator(min_items = 1, unique_items))]
    pub(super) event_types: Option<Vec<Text<text::AnyEventType>>>,
    /// Deliveries made at or after this time; 30 days ago if not given.
    #[serde(default, deserialize_with = "timestamp::read")]
    pub(super) from: Option<DateTime<Utc>>,
    /// Deliveries made before this time; now if not given.
    #[serde(default, deserialize_with = "timestamp::read")]
    pub(super) to: Option<DateTime<Utc>>,
    /// Deliveries per second, 1 to 10,000; 100 if not given.
    #[oai(validator(minimum(value = "1"), maximum(value = "10000")))]
    pub(super) per_second: Option<i32>,
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
pub(super) struct EndpointsReplayInput {
    /// To these endpoints, 1,000 at most; to all that are enabled if not given.
    #[oai(validator(min_items = 1, max_items = 1000, unique_items))]
    pub(super) endpoint_ids: Option<Vec<Text<text::EndpointId>>>,
    /// Deliveries in these states; `held` and `failed` if not given. Pending ones are never replayed.
    #[oai(validator(min_items = 1, unique_items))]
    #[serde(default, deserialize_with = "input::words")]
    pub(super) states: Option<Vec<ReplayableState>>,
    /// Only events of these types.
    #[oai(validator(min_items = 1, unique_items))]
    pub(super) event_types: Option<Vec<Text<text::AnyEventType>>>,
    /// Deliveries made at or after this time; 30 days ago if not given.
    #[serde(default, deserialize_with = "timestamp::read")]
    pub(super) from: Option<DateTime<Utc>>,
    /// Deliveries made before this time; now if not given.
    #[serde(default, deserialize_with = "timestamp::read")]
    pub(super) to: Option<DateTime<Utc>>,
    /// Deliveries per second to all of them together, 1 to 10,000; 100 if not given.
    #[oai(validator(minimum(value = "1"), maximum(value = "10000")))]
    pub(super) per_second: Option<i32>,
}

impl poem_openapi::types::Example for EndpointsReplayInput {
    fn example() -> Self {
        let ReplayInput { states, event_types, from, to, per_second } = ReplayInput::example();
        Self { endpoint_ids: None, states, event_types, from, to, per_second }
    }
}

/// What can be changed of a replay that has not ended.
#[derive(Debug, Object, Deserialize)]
#[oai(example, rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplayUpdate {
    /// Deliveries per second, 1 to 10,000.
    #[oai(validator(minimum(value = "1"), maximum(value = "10000")))]
    pub(super) per_second: Option<i32>,
}

impl poem_openapi::types::Example for ReplayUpdate {
    fn example() -> Self {
        Self { per_second: Some(500) }
    }
}

/// A state from which a delivery can be sent again.
#[derive(Debug, Clone, Copy, Enum, PartialEq, Eq, Hash, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub(super) enum ReplayableState {
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
pub(super) enum ReplayState {
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
pub(super) struct WebhookReplay {
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
    /// A row as its owner sees it; `spelled` are the ids of its endpoints.
    pub(super) fn new(replay: Replay, spelled: &HashMap<EndpointId, String>) -> Self {
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
pub(super) struct WebhookReplayPage {
    /// The replays.
    pub(super) items: Vec<WebhookReplay>,
    /// The `cursor` of the next page; absent on the last.
    pub(super) next_cursor: Option<Text<text::ReplayId>>,
}

/// The range that an input means, and the rate.
pub(super) fn range(endpoints: &[Endpoint], input: ReplayInput, now: DateTime<Utc>) -> Result<(Range, i32), Failure> {
    let per_second = rate(input.per_second.unwrap_or(PER_SECOND))?;
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

/// A rate that a replay may have.
pub(super) fn rate(per_second: i32) -> Result<i32, Failure> {
    match per_second {
        1..=10_000 => Ok(per_second),
        _ => Err(Failure::field("perSecond", "must be from 1 to 10000")),
    }
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
