//! Event intake: `POST /api/v1/events`, one or many; the 202 follows the commit.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{
    api_key::Scope,
    caller::Caller,
    chance::Chance,
    clock::Clock,
    dialect,
    event::{BATCH_MAX, CLIENT_ID_MAX, EVENT_BYTES_MAX, NewEvent},
    id::EventId,
    json::JsonText,
};
use jobs::{
    batch::Batcher,
    event::{Published, publish},
    store::Store,
};
use poem::Request;
use poem_openapi::{ApiResponse, Object, OpenApi, payload::Json, types::Any};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    app::App,
    auth::{AnyKey, Auth},
    failure::{Failure, FieldError},
    input::Input,
    server::{Tag, request_id},
    surface::{Failed, Own},
};

/// The most bytes of a batch. Five hundred events of the full size would be 125 MiB, more than one request should carry.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most calls that share one commit.
const SHARED_MAX: usize = 128;

/// Publishes the events of many callers in one transaction (group commit).
pub fn batcher(store: Store, clock: Clock, chance: Chance) -> Batcher<(Vec<NewEvent>, Option<String>), Vec<Published>> {
    Batcher::start(SHARED_MAX, Duration::ZERO, move |calls: Vec<(Vec<NewEvent>, Option<String>)>| {
        let (store, clock, chance) = (store.clone(), clock.clone(), chance.clone());
        async move {
            let counts: Vec<usize> = calls.iter().map(|(events, _)| events.len()).collect();
            let request_id = calls.first().and_then(|(_, id)| id.clone());
            let events: Vec<NewEvent> = calls.into_iter().flat_map(|(events, _)| events).collect();
            let published = publish_all(&store, &clock, &chance, &events, request_id.as_deref())
                .await
                .inspect_err(|error| tracing::warn!(%error, events = events.len(), "events not stored"))?;
            let mut published = published.into_iter();
            Ok::<_, sqlx::Error>(counts.into_iter().map(|n| published.by_ref().take(n).collect()).collect())
        }
    })
}

async fn publish_all(
    store: &Store,
    clock: &Clock,
    chance: &Chance,
    events: &[NewEvent],
    request_id: Option<&str>,
) -> Result<Vec<Published>, sqlx::Error> {
    let mut tx = store.begin().await?;
    let published = publish(&mut tx, events, request_id, clock.now(), chance).await?;
    tx.commit().await?;
    Ok(published)
}

/// An event that happened.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
pub struct EventInput {
    /// Its type, one that a dialect's catalogue has: `GET /api/webhooks/event-types` lists them.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    event_type: String,
    /// What happened, as JSON; at most 256 KiB with the rest of the event. Integers beyond ±(2^53 − 1) must be texts.
    data: RawData,
    /// Your own id of it. The same id twice (within 30 days) is one event.
    #[oai(validator(min_length = 1, max_length = 255))]
    id: Option<String>,
    /// When it happened (RFC 3339); the present if not given.
    timestamp: Option<DateTime<Utc>>,
}

impl poem_openapi::types::Example for EventInput {
    fn example() -> Self {
        let data = RawValue::from_string(r#"{"inquiry_id":"kyc_iq_81","subject_id":"user_123"}"#.into());
        Self {
            event_type: "kyc.result.approved".into(),
            data: RawData(data.expect("the example is JSON")),
            id: Some("kyc-81-approved".into()),
            timestamp: None,
        }
    }
}

/// Any JSON, kept as the text that arrived until it is brought into the form that `JSON.stringify` prints.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct RawData(Box<RawValue>);

impl poem_openapi::types::Type for RawData {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> std::borrow::Cow<'static, str> {
        "any".into()
    }

    fn schema_ref() -> poem_openapi::registry::MetaSchemaRef {
        Any::<serde_json::Value>::schema_ref()
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl poem_openapi::types::ParseFromJSON for RawData {
    fn parse_from_json(value: Option<serde_json::Value>) -> poem_openapi::types::ParseResult<Self> {
        let text = value.unwrap_or_default().to_string();
        RawValue::from_string(text).map(Self).map_err(poem_openapi::types::ParseError::custom)
    }
}

impl poem_openapi::types::ToJSON for RawData {
    fn to_json(&self) -> Option<serde_json::Value> {
        serde_json::from_str(self.0.get()).ok()
    }
}

/// Events that happened, at most 500.
#[derive(Debug, Object, Deserialize)]
pub struct EventBatchInput {
    /// The events; each is judged on its own, but either all are stored or none.
    #[oai(validator(min_items = 1, max_items = 500))]
    events: Vec<EventInput>,
}

/// An event that was accepted: it is stored and on its way.
#[derive(Debug, Object)]
pub struct EventAccepted {
    /// Our id of it.
    id: String,
    /// Its type.
    #[oai(rename = "type")]
    event_type: String,
    /// To how many endpoints it goes.
    deliveries: i32,
}

/// Accepted events, in the order they were sent.
#[derive(Debug, Object)]
pub struct EventBatchAccepted {
    /// One result per event.
    results: Vec<EventAccepted>,
}

impl From<Published> for EventAccepted {
    fn from(published: Published) -> Self {
        Self { id: published.id.to_string(), event_type: published.event_type, deliveries: published.deliveries }
    }
}

/// The answer to one event.
#[derive(Debug, ApiResponse)]
enum Accepted {
    /// The same `id` was accepted before; this is the first answer.
    #[oai(status = 200)]
    Before(Json<EventAccepted>),
    /// Stored, and on its way.
    #[oai(status = 202)]
    New(Json<EventAccepted>),
}

/// The answer to a batch.
#[derive(Debug, ApiResponse)]
enum BatchAccepted {
    /// All are stored, and on their way.
    #[oai(status = 202)]
    New(Json<EventBatchAccepted>),
}

/// The routes of event intake.
#[derive(Debug)]
pub struct IntakeApi(pub App);

#[OpenApi(tag = "Tag::Events")]
impl IntakeApi {
    /// Publish an event
    ///
    /// The event, its deliveries and their jobs are committed before the answer: what was accepted is delivered at least
    /// once to every endpoint whose dialect knows the type and that subscribes to it.
    #[oai(path = "/api/v1/events", method = "post", operation_id = "publishEvent")]
    async fn publish_event(
        &self,
        auth: Auth<AnyKey>,
        input: Input<EventInput, { EVENT_BYTES_MAX }>,
        request: &Request,
    ) -> Result<Accepted, Failed<Own>> {
        auth.0.require_scope(Scope::EventsWrite)?;
        let event = self.event(&auth.0, input.value, "").map_err(Failure::invalid)?;
        let published = self.0.intake.call((vec![event], request_id(request))).await?.remove(0);
        let repeated = published.repeated;
        let answer = Json(published.into());
        Ok(if repeated { Accepted::Before(answer) } else { Accepted::New(answer) })
    }

    /// Publish many events
    ///
    /// Up to 500 events in one transaction: either all are stored or none. An event whose `id` was accepted before, or
    /// earlier in the same batch, gets the first answer.
    #[oai(path = "/api/v1/events/batch", method = "post", operation_id = "publishEvents")]
    async fn publish_events(
        &self,
        auth: Auth<AnyKey>,
        input: Input<EventBatchInput, { BATCH_BYTES_MAX }>,
        request: &Request,
    ) -> Result<BatchAccepted, Failed<Own>> {
        auth.0.require_scope(Scope::EventsWrite)?;
        let count = input.value.events.len();
        if !(1..=BATCH_MAX).contains(&count) {
            return Err(Failure::field("events", format!("must have 1 to {BATCH_MAX} items, not {count}")).into());
        }
        let (mut events, mut wrong) = (Vec::with_capacity(count), vec![]);
        for (n, event) in input.value.events.into_iter().enumerate() {
            match self.event(&auth.0, event, &format!("events[{n}].")) {
                Ok(event) => events.push(event),
                Err(errors) => wrong.extend(errors),
            }
        }
        if !wrong.is_empty() {
            return Err(Failure::invalid(wrong).into());
        }
        let published = self.0.intake.call((events, request_id(request))).await?;
        let results = published.into_iter().map(EventAccepted::from).collect();
        Ok(BatchAccepted::New(Json(EventBatchAccepted { results })))
    }
}

impl IntakeApi {
    /// The event that is stored, or every rule that the input breaks; `at` stands before the names of its fields.
    fn event(&self, caller: &Caller, input: EventInput, at: &str) -> Result<NewEvent, Vec<FieldError>> {
        let mut wrong = vec![];
        if !dialect::is_known_type(&input.event_type) {
            wrong.push(FieldError::new(format!("{at}type"), "is not in the catalogue of any dialect"));
        }
        if input.data.0.get().len() > EVENT_BYTES_MAX {
            wrong.push(FieldError::new(format!("{at}data"), format!("must be at most {EVENT_BYTES_MAX} bytes")));
        }
        if let Some(id) = &input.id
            && !(1..=CLIENT_ID_MAX).contains(&id.chars().count())
        {
            wrong.push(FieldError::new(format!("{at}id"), format!("must be 1 to {CLIENT_ID_MAX} characters")));
        }
        if input.id.as_ref().is_some_and(|id| id.contains('\0')) {
            wrong.push(FieldError::new(format!("{at}id"), "must not contain a NUL character"));
        }
        let data = JsonText::parse(input.data.0.get()).map_err(|error| {
            let dot = if error.path.is_empty() || error.path.starts_with('[') { "" } else { "." };
            wrong.push(FieldError::new(format!("{at}data{dot}{}", error.path), error.rule));
        });
        let (true, Ok(data)) = (wrong.is_empty(), data) else { return Err(wrong) };
        let now = self.0.clock.now();
        Ok(NewEvent {
            id: EventId::new(now, &self.0.chance),
            org_id: caller.org_id,
            event_type: input.event_type,
            data,
            client_id: input.id,
            created_at: input.timestamp.unwrap_or(now),
        })
    }
}
