//! How long an event waits: from the 202 to the first byte at the receiver, at a rate that leaves the machine idle time.

use std::time::Duration;

use anyhow::{Context, ensure};
use domain::clock::Clock;
use serde_json::json;
use tokio::{task::JoinSet, time::interval};

use super::{
    head, row, spread,
    stage::{Stage, data},
};
use crate::report::median;

const PORT: u16 = 18124;
/// Events per second.
const RATE: usize = 200;
const SECONDS: usize = 20;

/// The table.
pub async fn measure(rounds: usize) -> anyhow::Result<String> {
    let mut stage = Stage::set(PORT, &[]).await?;
    stage.endpoint(&stage.receiver.url("1", "paced"), "link.created").await?;
    stage.start_worker().await?;
    let (mut middles, mut tails, mut most, mut calls) = (vec![], vec![], vec![], vec![]);
    // The first second of a process is spent on connections and plans.
    run(&stage, 1).await?;
    for _ in 0..rounds {
        let meter = super::meter::Meter::start(&stage).await?;
        let (p50, p99, max) = spread(run(&stage, SECONDS).await?);
        let cost = meter.stop().await?;
        cost.explain(RATE * SECONDS);
        eprintln!("paced: p50 {p50:.1} ms, p99 {p99:.1} ms, most {max:.1} ms");
        middles.push(p50);
        tails.push(p99);
        most.push(max);
        calls.push(cost.calls as f64 / (RATE * SECONDS) as f64);
    }
    let columns = ["accept to first byte at the receiver", "p50", "p99", "longest", "round trips each"];
    let title = format!("{RATE} single events per second for {SECONDS} s, one endpoint, 1 KiB, default settings:");
    let ms = |values: &mut Vec<f64>| format!("{:.1} ms", median(values));
    Ok(head(&title, &columns)
        + &row([String::new(), ms(&mut middles), ms(&mut tails), ms(&mut most), format!("{:.1}", median(&mut calls))]))
}

/// Sends for some seconds; returns the waits in milliseconds.
async fn run(stage: &Stage, seconds: usize) -> anyhow::Result<Vec<f64>> {
    stage.clear().await?;
    let clock = Clock::system();
    let mut tick = interval(Duration::from_micros(1_000_000 / RATE as u64));
    let mut requests = JoinSet::new();
    for n in 0..RATE * seconds {
        tick.tick().await;
        let body = json!({"type": "link.created", "data": data(1024, n)}).to_string();
        let request = stage.http.post(format!("{}/api/v1/events", stage.url)).header("x-api-key", &stage.keys.ink);
        let request = request.header("content-type", "application/json").body(body);
        let clock = clock.clone();
        requests.spawn(async move {
            let answer: serde_json::Value = request.send().await?.error_for_status()?.json().await?;
            anyhow::Ok((answer["id"].as_str().context("an id")?.to_owned(), clock.now()))
        });
    }
    let accepted = requests.join_all().await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    stage.receiver.wait_for((RATE * seconds) as u64, Duration::from_secs(30)).await?;
    stage.wait_until_recorded(Duration::from_secs(30)).await?;
    let (arrivals, seen) = stage.receiver.arrivals().await?;
    ensure!(seen == RATE * seconds, "every event arrives once: {seen}");
    let path = "/1/paced".to_owned();
    accepted
        .into_iter()
        .map(|(id, at)| {
            let arrived = arrivals.get(&(path.clone(), id)).context("every event arrives")?;
            // A request may leave before its 202 has been read.
            Ok((*arrived - at).as_seconds_f64().max(0.0) * 1000.0)
        })
        .collect()
}
