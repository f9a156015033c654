//! Deliveries end to end: events in through the API, signed requests out to a receiver, attempts recorded in Postgres.
//!
//! Everything runs on this machine as it would in production: `inkfleet serve` and `inkfleet work` as processes of their
//! own, Postgres with its default durability, the receiver in this process. `bin/bench` builds and runs it.

mod fleet;
mod receiver;

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, ensure};
use fleet::Fleet;
use receiver::Receiver;
use serde_json::json;
use tokio::time::Instant;

/// Events of the throughput run.
const EVENTS: usize = 30_000;
/// Events per batch request.
const BATCH: usize = 500;
/// The paced run: events per second, and for how long.
const RATE: u64 = 100;
const SECONDS: u64 = 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let receiver = Receiver::start().await?;
    let fleet = Fleet::start().await?;
    fleet.create_endpoint(&receiver.url()).await?;
    println!("| run | figure | value |\n|---|---|---|");
    throughput(&fleet, &receiver).await?;
    paced(&fleet, &receiver).await?;
    fleet.stop().await
}

/// How many signed deliveries per second leave while events come in as fast as batches are accepted.
async fn throughput(fleet: &Fleet, receiver: &Receiver) -> anyhow::Result<()> {
    // A first batch warms connections and plans.
    fleet.publish_batch(BATCH, 0).await?;
    receiver.wait_for(BATCH, Duration::from_secs(30)).await?;
    let before = receiver.count();
    let start = Instant::now();
    let mut accepted = Duration::ZERO;
    for n in 0..EVENTS / BATCH {
        fleet.publish_batch(BATCH, n + 1).await?;
        accepted = start.elapsed();
    }
    receiver.wait_for(before + EVENTS, Duration::from_secs(120)).await?;
    let took = start.elapsed();
    let recorded = fleet.wait_until_recorded(before + EVENTS).await?;
    let all = start.elapsed();
    ensure!(receiver.count() == before + EVENTS, "every event arrives once: {} of {EVENTS}", receiver.count() - before);
    println!(
        "| {EVENTS} events, batches of {BATCH} | accepted per second | {:.0} |",
        EVENTS as f64 / accepted.as_secs_f64()
    );
    println!("| | delivered per second | {:.0} |", EVENTS as f64 / took.as_secs_f64());
    println!("| | delivered and recorded per second | {:.0} |", EVENTS as f64 / all.as_secs_f64());
    println!("| | attempts recorded | {recorded} |");
    println!("| | worker resident memory | {} MB |", fleet.worker_memory_mb()?);
    Ok(())
}

/// How soon the request leaves after the event was accepted, at a steady rate of single events.
async fn paced(fleet: &Fleet, receiver: &Receiver) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / RATE));
    let mut calls = vec![];
    for n in 0..RATE * SECONDS {
        tick.tick().await;
        let fleet = fleet.clone();
        calls.push(tokio::spawn(async move {
            let id = fleet.publish(json!({"n": n})).await?;
            anyhow::Ok((id, Instant::now()))
        }));
    }
    let mut accepted = HashMap::new();
    for call in calls {
        let (id, at) = call.await??;
        accepted.insert(id, at);
    }
    receiver.wait_for(receiver.count(), Duration::from_secs(1)).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let arrivals = receiver.arrivals();
    let mut waits = vec![];
    for (id, at) in &accepted {
        let arrived = arrivals.get(id).with_context(|| format!("{id} never arrived"))?;
        // The request may overtake the 202 on its way to this process: that counts as no wait.
        waits.push(arrived.saturating_duration_since(*at).as_secs_f64() * 1000.0);
    }
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    println!("| {RATE} events/s, {SECONDS} s | accept to first byte p50 | {:.2} ms |", at(0.5));
    println!("| | p99 | {:.2} ms |", at(0.99));
    println!("| | worker resident memory | {} MB |", fleet.worker_memory_mb()?);
    Ok(())
}
