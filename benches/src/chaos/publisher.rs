//! Events in: singly and in batches, sent again under the same id until the answer says that they are stored.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use domain::id::read_any;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};
use uuid::Uuid;

use super::cast::{ORGS, TYPES};
use crate::program::Keys;

/// Requests under way.
const CALLERS: usize = 16;
/// How long a publisher waits for an answer before it asks again.
const ANSWER: Duration = Duration::from_secs(8);
/// How long it asks.
const PATIENCE: Duration = Duration::from_secs(150);

/// An event that a publisher has: its own id and its type.
#[derive(Debug, Clone)]
pub struct Intent {
    /// The client's id.
    pub id: String,
    /// One of [`TYPES`].
    pub event_type: &'static str,
}

/// One request's events.
#[derive(Debug)]
pub struct Order {
    /// The organisation.
    pub org: usize,
    /// One, or many in a batch.
    pub events: Vec<Intent>,
}

/// Draws orders of `events` events in all.
pub fn draw(rng: &mut StdRng, events: usize) -> Vec<Order> {
    let (mut orders, mut left, mut number) = (vec![], events, 0);
    while left > 0 {
        // A third of the events come singly.
        let size = if rng.random_bool(0.95) { 1 } else { rng.random_range(20..60) }.min(left);
        let org = rng.random_range(0..ORGS);
        let event = |_| {
            number += 1;
            let (event_type, _) = *TYPES.choose_weighted(rng, |(_, weight)| *weight).expect("weights are positive");
            Intent { id: format!("client-{number}"), event_type }
        };
        orders.push(Order { org, events: (0..size).map(event).collect() });
        left -= size;
    }
    orders
}

/// What was accepted: the events' ids by organisation and client id.
#[derive(Debug, Default)]
pub struct Accepted {
    /// (organisation, client id) → event.
    pub events: HashMap<(usize, String), Uuid>,
    /// Requests that had to be made again.
    pub repeated: usize,
    /// Two different answers for one client id: a promise broken.
    pub contradictions: Vec<String>,
}

/// Publishes `orders` evenly over `flow`, to one of `urls` after the other; returns when all are accepted.
pub async fn publish(
    orders: Arc<Vec<Order>>,
    keys: &[Keys],
    urls: Vec<String>,
    flow: Duration,
) -> anyhow::Result<Accepted> {
    let start = Instant::now();
    let total = orders.len();
    let (next, urls) = (Arc::new(AtomicUsize::new(0)), Arc::new(urls));
    let keys: Arc<Vec<String>> = Arc::new(keys.iter().map(|key| key.ink.clone()).collect());
    let accepted = Arc::new(Mutex::new(Accepted::default()));
    let mut callers: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for _ in 0..CALLERS {
        let (next, orders, urls, keys) = (next.clone(), orders.clone(), urls.clone(), keys.clone());
        let (accepted, http) = (accepted.clone(), crate::program::client()?);
        callers.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(order) = orders.get(n) else { return Ok(()) };
                tokio::time::sleep_until(start + flow.mul_f64(n as f64 / total as f64)).await;
                deliver(&http, order, n, &urls, &keys[order.org], &accepted).await?;
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.context("a publisher panicked")??;
    }
    Ok(std::mem::take(&mut *accepted.lock().expect("no panic under the lock")))
}

/// Sends every `nth` order once more: the first answers must come again, and nothing new.
pub async fn publish_again(
    orders: &[Order],
    nth: usize,
    keys: &[Keys],
    url: &str,
    accepted: Accepted,
) -> anyhow::Result<Accepted> {
    let http = crate::program::client()?;
    let accepted = Mutex::new(accepted);
    for order in orders.iter().step_by(nth.max(1)) {
        let (path, body) = order.request();
        let request = http.post(format!("{url}{path}")).header("x-api-key", &keys[order.org].ink);
        let answer = request.timeout(ANSWER).json(&body).send().await?.error_for_status()?;
        note(&accepted, order, &answer.json().await?, 0)?;
    }
    Ok(accepted.into_inner().expect("no panic under the lock"))
}

impl Order {
    /// The path and the body of its request.
    fn request(&self) -> (&'static str, Value) {
        let event = |e: &Intent| json!({"type": e.event_type, "id": e.id, "data": {"number": e.id, "quota": 7}});
        match &self.events[..] {
            [one] => ("/api/v1/events", event(one)),
            many => ("/api/v1/events/batch", json!({"events": many.iter().map(event).collect::<Vec<_>>()})),
        }
    }
}

/// Sends one order until it is accepted.
async fn deliver(
    http: &reqwest::Client,
    order: &Order,
    n: usize,
    urls: &[String],
    key: &str,
    accepted: &Mutex<Accepted>,
) -> anyhow::Result<()> {
    let (path, body) = order.request();
    let end = Instant::now() + PATIENCE;
    let (mut last, mut may_be_stored) = (String::new(), false);
    for try_number in 0.. {
        if Instant::now() > end {
            bail!("an event is not accepted after {PATIENCE:?}: {last}");
        }
        let url = format!("{}{path}", urls[(n + try_number) % urls.len()]);
        let request = http.post(url).header("x-api-key", key).timeout(ANSWER).json(&body);
        let answer = async {
            let answer = request.send().await?;
            Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.json::<Value>().await?))
        };
        match answer.await {
            Ok((status @ (200 | 202), body)) => {
                note(accepted, order, &body, try_number)?;
                if status == 200 && !may_be_stored {
                    bail!("{} was stored, and the answer before said that nothing was: {last}", order.events[0].id);
                }
                return Ok(());
            }
            Ok((status, body)) if status >= 500 => {
                last = format!("{status} {body}");
                may_be_stored |= !last.contains("nothing was stored");
            }
            Ok((status, body)) => bail!("an event was refused: {status} {body}"),
            Err(error) => (last, may_be_stored) = (error.to_string(), true),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn note(accepted: &Mutex<Accepted>, order: &Order, body: &Value, try_number: usize) -> anyhow::Result<()> {
    let results = body["results"].as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
    let mut accepted = accepted.lock().expect("no panic under the lock");
    accepted.repeated += usize::from(try_number > 0);
    if results.len() != order.events.len() {
        bail!("{} results for {} events", results.len(), order.events.len());
    }
    for (event, result) in order.events.iter().zip(results) {
        let id = read_any(result["id"].as_str().context("an id")?)?;
        if let Some(other) = accepted.events.insert((order.org, event.id.clone()), id)
            && other != id
        {
            accepted.contradictions.push(format!("{} is {other} and {id}", event.id));
        }
    }
    Ok(())
}
