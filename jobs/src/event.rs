//! Publishing: events, their deliveries and their jobs, in the producer's transaction.
//!
//! The number of statements is the same for one event or five hundred, and for one subscriber or a thousand.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    chance::Chance,
    delivery::{self, NewDelivery},
    dialect,
    endpoint::{self, Audience, Subscriber},
    event::{self, Known, NewEvent},
    id::{DeliveryId, EndpointId, EventId, OrgId, ReplayId},
};

use crate::{
    delivery::AttemptDelivery,
    job::{NewJob, Priority},
    queue,
    store::Tx,
};

/// What became of an event that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The event: a new one, or the one that the same client id made before.
    pub id: EventId,
    /// Its type.
    pub event_type: String,
    /// To how many endpoints it goes.
    pub deliveries: i32,
    /// Whether it existed already.
    pub repeated: bool,
}

/// Stores `events` and what follows from them; the answers come in the same order. `request_id` goes with the jobs.
pub async fn publish(
    tx: &mut Tx<'_>,
    events: &[NewEvent],
    request_id: Option<&str>,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<Vec<Published>, sqlx::Error> {
    let wanted = subscribers_of(tx, events).await?;
    let known = sort_out_repeats(tx, events, &wanted, now).await?;
    let fresh: Vec<&NewEvent> = events.iter().filter(|event| !known.contains_key(&event.id)).collect();
    event::insert_many(tx, &fresh).await?;
    let mut deliveries = vec![];
    for event in &fresh {
        for subscriber in wanted_by(&wanted, event) {
            deliveries.push(NewDelivery {
                id: DeliveryId::new(now, chance),
                org_id: event.org_id,
                event_id: event.id,
                endpoint_id: subscriber.id,
                live: subscriber.live,
                is_test: false,
            });
        }
    }
    send(tx, &deliveries, request_id, now, chance).await?;
    Ok(events
        .iter()
        .map(|event| match known.get(&event.id) {
            Some(first) => Published {
                id: first.event_id,
                event_type: first.event_type.clone(),
                deliveries: first.deliveries,
                repeated: true,
            },
            None => Published {
                id: event.id,
                event_type: event.event_type.clone(),
                deliveries: wanted_by(&wanted, event).len() as i32,
                repeated: false,
            },
        })
        .collect())
}

/// Stores an event for one endpoint only, whatever it subscribes to: somebody tries the endpoint out.
pub async fn publish_test(
    tx: &mut Tx<'_>,
    event: &NewEvent,
    endpoint_id: EndpointId,
    request_id: Option<&str>,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<DeliveryId, sqlx::Error> {
    event::insert_many(tx, &[event]).await?;
    let delivery = NewDelivery {
        id: DeliveryId::new(now, chance),
        org_id: event.org_id,
        event_id: event.id,
        endpoint_id,
        live: true,
        is_test: true,
    };
    send(tx, &[delivery], request_id, now, chance).await?;
    Ok(delivery.id)
}

/// Why and how deliveries are sent again.
#[derive(Debug, Clone, Copy)]
pub struct Again<'a> {
    /// The sentence that says why.
    pub reason: &'a str,
    /// Before or behind the others.
    pub priority: Priority,
    /// The replay that they belong to.
    pub replay_id: Option<ReplayId>,
    /// How many become due together, and how long after them the next ones; all at once without it.
    pub steps: Option<(usize, TimeDelta)>,
}

/// Sends finished or held deliveries again, their schedules starting anew; returns those that were not pending already.
pub async fn resend(
    tx: &mut Tx<'_>,
    org_id: OrgId,
    ids: &[DeliveryId],
    again: Again<'_>,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<Vec<DeliveryId>, sqlx::Error> {
    let mut reopened = delivery::reopen(tx, org_id, ids, again.reason, now).await?;
    // Oldest first.
    reopened.sort_unstable();
    let due = |n: usize| again.steps.map_or(now, |(together, gap)| now + gap * (n / together.max(1)) as i32);
    let jobs: Vec<NewJob> = reopened
        .iter()
        .map(|id| AttemptDelivery { delivery_id: *id, replay_id: again.replay_id })
        .enumerate()
        .map(|(n, job)| NewJob::new(org_id, &job, now, chance).priority(again.priority).at(due(n)))
        .collect();
    queue::enqueue_many(tx, &jobs).await?;
    Ok(reopened)
}

/// Stores deliveries and the jobs of those that go out now.
pub(crate) async fn send(
    tx: &mut Tx<'_>,
    deliveries: &[NewDelivery],
    request_id: Option<&str>,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<(), sqlx::Error> {
    delivery::insert_many(tx, deliveries, now).await?;
    let jobs: Vec<NewJob> = deliveries
        .iter()
        .filter(|delivery| delivery.live)
        .map(|delivery| {
            NewJob::new(delivery.org_id, &AttemptDelivery::of(delivery.id), now, chance)
                .request(request_id.map(str::to_owned))
        })
        .collect();
    queue::enqueue_many(tx, &jobs).await
}

type Wanted = HashMap<(OrgId, String), Vec<Subscriber>>;

fn wanted_by<'a>(wanted: &'a Wanted, event: &NewEvent) -> &'a [Subscriber] {
    wanted.get(&(event.org_id, event.event_type.clone())).map_or(&[], Vec::as_slice)
}

/// Who wants the events, asked once per organisation and type.
async fn subscribers_of(tx: &mut Tx<'_>, events: &[NewEvent]) -> Result<Wanted, sqlx::Error> {
    let mut keys: Vec<(OrgId, String)> = events.iter().map(|e| (e.org_id, e.event_type.clone())).collect();
    keys.sort_unstable();
    keys.dedup();
    let audiences: Vec<Audience> = keys
        .iter()
        .enumerate()
        .flat_map(|(n, (org_id, event_type))| {
            dialect::dialects_of(event_type).map(move |dialect| Audience {
                n: n as i32,
                org_id: *org_id,
                event_type: event_type.clone(),
                dialect: dialect.name,
            })
        })
        .collect();
    let mut wanted = Wanted::new();
    for subscriber in endpoint::subscribers(tx, &audiences).await? {
        wanted.entry(keys[subscriber.n as usize].clone()).or_default().push(subscriber);
    }
    Ok(wanted)
}

/// The events that a client's own id names as repeats, with their first answers.
async fn sort_out_repeats(
    tx: &mut Tx<'_>,
    events: &[NewEvent],
    wanted: &Wanted,
    now: DateTime<Utc>,
) -> Result<HashMap<EventId, Known>, sqlx::Error> {
    let mut named: Vec<Known> = events
        .iter()
        .filter_map(|event| {
            event.client_id.as_ref().map(|client_id| Known {
                org_id: event.org_id,
                client_id: client_id.clone(),
                event_id: event.id,
                event_type: event.event_type.clone(),
                deliveries: wanted_by(wanted, event).len() as i32,
            })
        })
        .collect();
    if named.is_empty() {
        return Ok(HashMap::new());
    }
    // Sorted, so that two transactions take the ids in one order; a stable sort, so that the first of equals wins.
    named.sort_by(|a, b| (a.org_id, &a.client_id).cmp(&(b.org_id, &b.client_id)));
    let mut first = named.clone();
    first.dedup_by(|a, b| (a.org_id, &a.client_id) == (b.org_id, &b.client_id));
    let fresh = event::reserve_client_ids(tx, &first, now).await?;
    if fresh.len() == named.len() {
        return Ok(HashMap::new());
    }
    let ids: Vec<(OrgId, String)> = first.iter().map(|k| (k.org_id, k.client_id.clone())).collect();
    let stored: HashMap<(OrgId, String), Known> =
        event::find_known(tx, &ids).await?.into_iter().map(|k| ((k.org_id, k.client_id.clone()), k)).collect();
    Ok(named
        .into_iter()
        .filter_map(|k| {
            let first = stored.get(&(k.org_id, k.client_id.clone()))?;
            (first.event_id != k.event_id).then(|| (k.event_id, first.clone()))
        })
        .collect())
}
