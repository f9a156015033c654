//! Event intake: `POST /api/v1/events`, one or many; the 202 follows the commit.

mod raw;

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
    store::{ANSWER, Store, within},
};
use poem::{IntoResponse, Request, Response, http::StatusCode};
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::Header,
    registry::{MetaResponses, Registry},
    types::{Any, ToJSON, Type},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use self::raw::Raw;
use crate::{
    app::App,
    auth::{AnyKey, Auth},
    failure::{Failure, FieldError},
    idempotency::{Begun, Created, Once},
    input::{Input, parse},
    server::{Tag, request_id},
    surface::{Failed, Own},
    text::{self, Text},
    timestamp,
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
            let published = within(ANSWER, publish_all(&store, &clock, &chance, &events, request_id.as_deref()))
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
    event_type: Text<text::AnyEventType>,
    /// What happened, as JSON; at most 256 KiB with the rest of the event. Integers beyond ±(2^53 − 1) must be texts.
    data: Raw<Any<Value>>,
    /// Your own id of it. The same id twice (within 30 days) is one event.
    id: Option<Text<text::ClientId>>,
    /// When it happened (RFC 3339); the present if not given.
    #[serde(default, deserialize_with = "timestamp::read")]
    timestamp: Option<DateTime<Utc>>,
}

impl poem_openapi::types::Example for EventInput {
    fn example() -> Self {
        let data = RawValue::from_string(r#"{"inquiry_id":"kyc_iq_81","subject_id":"user_123"}"#.into());
        Self {
            event_type: "kyc.result.approved".into(),
            data: data.expect("the example is JSON").into(),
            id: Some("kyc-81-approved".into()),
            timestamp: None,
        }
    }
}

/// Events that happened, at most 500.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
pub struct EventBatchInput {
    /// The events; each is judged on its own, so that what is wrong in one hides nothing in another, but either all are stored or none.
    #[oai(validator(min_items = 1, max_items = 500))]
    events: Vec<Raw<EventInput>>,
}

impl poem_openapi::types::Example for EventBatchInput {
    fn example() -> Self {
        let event = RawValue::from_string(EventInput::example().to_json_string());
        Self { events: vec![event.expect("the example is JSON").into()] }
    }
}

/// An event that was accepted: it is stored and on its way.
#[derive(Debug, Object)]
pub struct EventAccepted {
    /// Our id of it.
    id: Text<text::EventId>,
    /// Its type.
    #[oai(rename = "type")]
    event_type: Text<text::AnyEventType>,
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
        Self {
            id: published.id.to_string().into(),
            event_type: published.event_type.into(),
            deliveries: published.deliveries,
        }
    }
}

/// The answer to one event: 202, and 200 where the same `id` was accepted before.
#[derive(Debug)]
struct Accepted(Created<EventAccepted, 202>);

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl ApiResponse for Accepted {
    fn meta() -> MetaResponses {
        let mut meta = Created::<EventAccepted, 200>::meta();
        for response in &mut meta.responses {
            response.description = "The same `id` was accepted before; this is the first answer.";
        }
        meta.responses.extend(Created::<EventAccepted, 202>::meta().responses);
        meta
    }

    fn register(registry: &mut Registry) {
        EventAccepted::register(registry);
    }
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
        /// Makes a repeated request safe: the same key within a day gets the same answer. An `id` in the event does the
        /// same for longer, and is cheaper.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<EventInput, { EVENT_BYTES_MAX }>,
        request: &Request,
    ) -> Result<Accepted, Failed<Own>> {
        auth.0.require_scope(Scope::EventsWrite)?;
        let event = self.event(&auth.0, input.value, "").map_err(Failure::invalid)?;
        let once = Once { operation: "publishEvent", key: key.0.as_deref(), hash: &input.hash };
        let answer = |mut published: Vec<Published>| {
            let published = published.remove(0);
            let status = if published.repeated { StatusCode::OK } else { StatusCode::ACCEPTED };
            (status, published.into())
        };
        Ok(Accepted(self.publish(&auth.0, once, vec![event], request_id(request), answer).await?))
    }

    /// Publish many events
    ///
    /// Up to 500 events in one transaction: either all are stored or none. An event whose `id` was accepted before, or
    /// earlier in the same batch, gets the first answer.
    #[oai(path = "/api/v1/events/batch", method = "post", operation_id = "publishEvents")]
    async fn publish_events(
        &self,
        auth: Auth<AnyKey>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<EventBatchInput, { BATCH_BYTES_MAX }>,
        request: &Request,
    ) -> Result<Created<EventBatchAccepted, 202>, Failed<Own>> {
        auth.0.require_scope(Scope::EventsWrite)?;
        let count = input.value.events.len();
        if !(1..=BATCH_MAX).contains(&count) {
            return Err(Failure::field("events", format!("must have 1 to {BATCH_MAX} items, not {count}")).into());
        }
        let (mut events, mut wrong) = (Vec::with_capacity(count), vec![]);
        for (n, event) in input.value.events.into_iter().enumerate() {
            match self.event_of_batch(&auth.0, &event, n) {
                Ok(event) => events.push(event),
                Err(errors) => wrong.extend(errors),
            }
        }
        if !wrong.is_empty() {
            return Err(Failure::invalid(wrong).into());
        }
        let once = Once { operation: "publishEvents", key: key.0.as_deref(), hash: &input.hash };
        let answer = |published: Vec<Published>| {
            let results = published.into_iter().map(EventAccepted::from).collect();
            (StatusCode::ACCEPTED, EventBatchAccepted { results })
        };
        Ok(self.publish(&auth.0, once, events, request_id(request), answer).await?)
    }
}

impl IntakeApi {
    /// Publishes events, once if the request says so; `answer` makes the status and the body of what became of them.
    async fn publish<T: ToJSON>(
        &self,
        caller: &Caller,
        once: Once<'_>,
        events: Vec<NewEvent>,
        request_id: Option<String>,
        answer: impl FnOnce(Vec<Published>) -> (StatusCode, T),
    ) -> Result<Created<T, 202>, Failure> {
        let app = &self.0;
        if once.key.is_none() {
            let (status, body) = answer(app.intake.call((events, request_id)).await?);
            return Ok(Created::new(status, &body));
        }
        // The answer is stored with the events, in a transaction of their own: it cannot be that of the group.
        let mut creation = match once.begin(app, caller).await? {
            Begun::Before(before) => return Ok(before),
            Begun::Fresh(creation) => creation,
        };
        let now = app.clock.now();
        let published = publish(&mut creation.tx, &events, request_id.as_deref(), now, &app.chance).await?;
        let (status, body) = answer(published);
        creation.finish_as(status, &body).await
    }

    /// The `n`-th event of a batch, or every rule that it breaks.
    fn event_of_batch(&self, caller: &Caller, raw: &Raw<EventInput>, n: usize) -> Result<NewEvent, Vec<FieldError>> {
        let place = format!("events[{n}]");
        if raw.text().len() > EVENT_BYTES_MAX {
            return Err(vec![FieldError::new(place, format!("must be at most {EVENT_BYTES_MAX} bytes"))]);
        }
        let input = parse(raw.text().as_bytes()).map_err(|failure| {
            let inside = |field: &str| if field.is_empty() { place.clone() } else { format!("{place}.{field}") };
            failure.fields.iter().map(|e| FieldError::new(inside(&e.field), &*e.message)).collect::<Vec<_>>()
        })?;
        self.event(caller, input, &format!("{place}."))
    }

    /// The event that is stored, or every rule that the input breaks; `at` stands before the names of its fields.
    fn event(&self, caller: &Caller, input: EventInput, at: &str) -> Result<NewEvent, Vec<FieldError>> {
        let mut wrong = vec![];
        if !dialect::is_known_type(&input.event_type) {
            wrong.push(FieldError::new(format!("{at}type"), "is not in the catalogue of any dialect"));
        }
        if let Some(id) = &input.id
            && !(1..=CLIENT_ID_MAX).contains(&id.chars().count())
        {
            wrong.push(FieldError::new(format!("{at}id"), format!("must be 1 to {CLIENT_ID_MAX} characters")));
        }
        if input.id.as_ref().is_some_and(|id| id.contains('\0')) {
            wrong.push(FieldError::new(format!("{at}id"), "must not contain a NUL character"));
        }
        let data = JsonText::parse(input.data.text()).map_err(|error| {
            let dot = if error.path.is_empty() || error.path.starts_with('[') { "" } else { "." };
            wrong.push(FieldError::new(format!("{at}data{dot}{}", error.path), error.rule));
        });
        let (true, Ok(data)) = (wrong.is_empty(), data) else { return Err(wrong) };
        let now = self.0.clock.now();
        Ok(NewEvent {
            id: EventId::new(now, &self.0.chance),
            org_id: caller.org_id,
            event_type: input.event_type.into(),
            data,
            client_id: input.id.map(Into::into),
            created_at: input.timestamp.unwrap_or(now),
        })
    }
}
