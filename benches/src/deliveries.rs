//! Deliveries end to end: events in through the API, signed requests out to a receiver, attempts recorded in Postgres.

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    program::{Postgres, Program, client},
    receiver::Receiver,
    report::section,
};

const PORT: u16 = 18123;
/// Events of the throughput run.
const EVENTS: usize = 30_000;
/// Events per batch request.
const BATCH: usize = 500;

/// Runs it.
pub async fn run(words: &[String]) -> anyhow::Result<()> {
    let postgres = Postgres::start().await?;
    let receiver = Receiver::start().await?;
    let program = Program::new(&postgres.url())?.with("INKFLEET_ENDPOINT_CONCURRENCY", 256);
    program.run(&["migrate"]).await?;
    let keys = program.organisation("bench").await?;
    let (_web, _worker) = (program.serve(PORT).await?, program.work()?);
    let (http, url) = (client()?, format!("http://127.0.0.1:{PORT}"));
    let endpoint = http.post(format!("{url}/api/v1/webhook/endpoints")).header("api-key", &keys.inklink);
    endpoint.json(&json!({"url": receiver.url()})).send().await?.error_for_status()?;
    let start = Instant::now();
    for batch in 0..EVENTS / BATCH {
        let event = |n: usize| json!({"type": "kyc.result.approved", "data": {"inquiry_id": format!("{batch}_{n}")}});
        let events: Vec<Value> = (0..BATCH).map(event).collect();
        let request = http.post(format!("{url}/api/v1/events/batch")).header("x-api-key", &keys.ink);
        request.json(&json!({"events": events})).send().await?.error_for_status()?;
    }
    receiver.wait_for(EVENTS, Duration::from_secs(120)).await?;
    let rate = EVENTS as f64 / start.elapsed().as_secs_f64();
    ensure!(receiver.count() == EVENTS, "every event arrives once: {} of {EVENTS}", receiver.count());
    section("deliveries", &format!("| delivered per second |\n|---|\n| {rate:.0} |"), words.contains(&"--write".into()))
}
