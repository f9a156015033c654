//! Live traffic: single events at a steady rate, whatever the answers do, and how long each took.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, ensure};
use domain::id::EventId;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};

use crate::{report::quantile, tally::Tally};

/// An event that was sent to the API.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Instant,
    answered: Instant,
    id: u128,
}

/// A stream of events. Dropped, it ends.
pub struct Traffic {
    path: String,
    sent: Arc<Mutex<Vec<Sent>>>,
    refused: Arc<Mutex<Vec<String>>>,
    sender: JoinHandle<()>,
}

/// Milliseconds over the events of a span of time.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// How many events.
    pub count: usize,
    /// From the request to the API's answer: the middle value, the one that 99 of 100 do not exceed, and the longest.
    pub answer: [f64; 3],
    /// From the request to the first byte at the receiver, likewise.
    pub arrival: [f64; 3],
}

impl Traffic {
    /// Sends `per_second` events of `event_type` with the API key `key`; the receiver gets them under `path`.
    pub fn start(
        http: &reqwest::Client,
        url: &str,
        key: &str,
        event_type: &'static str,
        path: &str,
        per_second: u32,
    ) -> Self {
        let (sent, refused) = (Arc::<Mutex<Vec<Sent>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (http, url, key) = (http.clone(), format!("{url}/api/v1/events"), key.to_owned());
        let (log, wrong) = (sent.clone(), refused.clone());
        let sender = tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_secs(1) / per_second);
            for n in 0_u64.. {
                beat.tick().await;
                let body = json!({"type": event_type, "data": {"n": n, "text": "x".repeat(200)}});
                let request = http.post(&url).header("x-api-key", &key).json(&body);
                let (log, wrong) = (log.clone(), wrong.clone());
                tokio::spawn(async move {
                    let at = Instant::now();
                    match publish(request).await {
                        Ok(id) => {
                            let sent = Sent { at, answered: Instant::now(), id };
                            log.lock().expect("no panic under the lock").push(sent);
                        }
                        Err(error) => wrong.lock().expect("no panic under the lock").push(format!("{error:#}")),
                    }
                });
            }
        });
        Self { path: path.to_owned(), sent, refused, sender }
    }

    /// Ends it, and waits until everything has arrived; fails if something was refused or is missing.
    pub async fn end(&self, tally: &Tally) -> anyhow::Result<()> {
        self.sender.abort();
        let patience = Instant::now() + Duration::from_secs(30);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let refused = self.refused.lock().expect("no panic under the lock").clone();
        ensure!(refused.is_empty(), "{} events were refused: {:?}", refused.len(), refused.first());
        loop {
            let arrived = tally.arrivals(&self.path);
            let sent = self.sent.lock().expect("no panic under the lock").clone();
            let missing = sent.iter().filter(|sent| !arrived.contains_key(&sent.id)).count();
            if missing == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < patience, "{missing} accepted events of {} never arrived", sent.len());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The figures of the events that were sent from `from` to `to` and have arrived.
    pub fn figures(&self, tally: &Tally, spans: &[(Instant, Instant)]) -> Figures {
        let arrived = tally.arrivals(&self.path);
        let (mut answers, mut arrivals) = (vec![], vec![]);
        for sent in self.sent.lock().expect("no panic under the lock").iter() {
            if spans.iter().any(|(from, to)| sent.at >= *from && sent.at < *to) {
                answers.push((sent.answered - sent.at).as_secs_f64() * 1e3);
                let arrival = arrived.get(&sent.id).map_or(f64::INFINITY, |a| (a.first - sent.at).as_secs_f64() * 1e3);
                arrivals.push(arrival);
            }
        }
        let three = |values: &mut Vec<f64>| [0.5, 0.99, 1.0].map(|share| quantile(values, share));
        Figures { count: answers.len(), answer: three(&mut answers), arrival: three(&mut arrivals) }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

async fn publish(request: reqwest::RequestBuilder) -> anyhow::Result<u128> {
    let answer = request.send().await?.error_for_status()?.json::<Value>().await?;
    let id = answer["id"].as_str().context("an id")?.parse::<EventId>()?;
    Ok(id.0.as_u128())
}
