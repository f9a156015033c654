//! One endpoint of a hundred that never answers, with half of the traffic: what do the other ninety-nine feel?
//!
//! All belong to one organisation, so that only the endpoints' gates keep them apart. It is compared with the same
//! traffic while the hundredth answers, and with the ninety-nine alone.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use domain::clock::Clock;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, interval},
};

use super::{
    head, meter, row, spread,
    stage::{Stage, batch, data},
};
use crate::report::median;

const PORT: u16 = 18125;
/// Nine endpoints each.
const TYPES: [&str; 11] = [
    "link.created",
    "link.updated",
    "link.deleted",
    "link.clicked",
    "link.expired",
    "link.health_failing",
    "link.health_recovered",
    "barcode.created",
    "barcode.updated",
    "barcode.deleted",
    "conversion.recorded",
];
const EACH: usize = 9;
/// Requests per second, each with one event for nine of the ninety-nine and, beside the hundredth, nine events for that.
const RATE: usize = 50;
const SECONDS: usize = 30;
/// Requests of the run at full speed.
const FULL: usize = 2_500;
const BATCH_AT_FULL: usize = 25;

/// Who the hundredth is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Hundredth {
    Absent,
    Answers,
    Hangs,
}

const ALL: [(Hundredth, &str, &str); 3] = [
    (Hundredth::Absent, "no traffic", ""),
    (Hundredth::Answers, "answers", "campaign.sent"),
    (Hundredth::Hangs, "hangs", "contact.suppressed"),
];

#[derive(Debug, Default)]
struct Figures {
    p50: Vec<f64>,
    p99: Vec<f64>,
    longest: Vec<f64>,
    paced: Vec<f64>,
    full: Vec<f64>,
}

/// The table.
pub async fn measure(rounds: usize) -> anyhow::Result<String> {
    let mut stage = Stage::set(PORT, &[]).await?;
    for (n, event_type) in TYPES.iter().enumerate() {
        for m in 0..EACH {
            stage.endpoint(&stage.receiver.url("1", &format!("{n}-{m}")), event_type).await?;
        }
    }
    stage.endpoint(&stage.receiver.url("1", "-"), ALL[1].2).await?;
    stage.endpoint(&stage.receiver.url("hang", "-"), ALL[2].2).await?;
    let mut figures: HashMap<Hundredth, Figures> = HashMap::new();
    for _ in 0..rounds {
        for (hundredth, name, event_type) in ALL {
            let figures = figures.entry(hundredth).or_default();
            fresh(&mut stage).await?;
            let meter = meter::Meter::start(&stage).await?;
            let (waits, rate) = paced(&stage, hundredth, event_type).await?;
            meter.stop().await?.explain(RATE * SECONDS * EACH);
            let (p50, p99, longest) = spread(waits);
            figures.p50.push(p50);
            figures.p99.push(p99);
            figures.longest.push(longest);
            figures.paced.push(rate);
            fresh(&mut stage).await?;
            let rate = full(&stage, hundredth, event_type).await?;
            figures.full.push(rate);
            eprintln!("the hundredth {name}: p50 {p50:.1} p99 {p99:.1} longest {longest:.1} ms; full {rate:.0}/s");
        }
    }
    stage.stop_worker().await?;
    let columns = [
        "the hundredth",
        "accept to arrival at the others, p50",
        "p99",
        "longest",
        "delivered to them per second (paced)",
        "at full speed",
    ];
    let title = format!(
        "Ninety-nine endpoints that answer in 1 ms and a hundredth, one organisation, default settings. Paced: {} \
         deliveries per second to them and as many to the hundredth, for {SECONDS} s. At full speed: {} each, sent at once:",
        RATE * EACH,
        FULL * EACH,
    );
    let mut text = head(&title, &columns);
    for (hundredth, name, _) in ALL {
        let figures = figures.get_mut(&hundredth).context("measured")?;
        text += &row([
            name.to_owned(),
            format!("{:.1} ms", median(&mut figures.p50)),
            format!("{:.1} ms", median(&mut figures.p99)),
            format!("{:.1} ms", median(&mut figures.longest)),
            format!("{:.0}", median(&mut figures.paced)),
            format!("{:.0}", median(&mut figures.full)),
        ]);
    }
    let ratio = |of: fn(&Figures) -> &Vec<f64>| {
        let of = |who| median(&mut of(&figures[&who]).clone());
        of(Hundredth::Hangs) / of(Hundredth::Answers)
    };
    text += &format!(
        "\nHanging in relation to answering: p99 × {:.2}, throughput paced {:.0} %, at full speed {:.0} %.\n",
        ratio(|f| &f.p99),
        ratio(|f| &f.paced) * 100.0,
        ratio(|f| &f.full) * 100.0,
    );
    Ok(text)
}

/// No backlog, endpoints in good health, and a worker that knows nothing of them.
async fn fresh(stage: &mut Stage) -> anyhow::Result<()> {
    stage.stop_worker().await?;
    stage.clear().await?;
    sqlx::query("update endpoints set health = 'active', failures_in_row = 0, first_failure_at = null, health_changed_at = null")
        .execute(&mut stage.quiet().await?)
        .await?;
    stage.start_worker().await
}

/// The events of one request.
fn events(n: usize, hundredth: Hundredth, event_type: &str) -> Vec<Value> {
    let beside = if hundredth == Hundredth::Absent { 0 } else { EACH };
    let other = std::iter::repeat_with(|| json!({"type": event_type, "data": data(1024, n)})).take(beside);
    std::iter::once(json!({"type": TYPES[n % TYPES.len()], "data": data(1024, n)})).chain(other).collect()
}

/// Even traffic; the waits of the ninety-nine in milliseconds, and how many deliveries per second they got.
async fn paced(stage: &Stage, hundredth: Hundredth, event_type: &str) -> anyhow::Result<(Vec<f64>, f64)> {
    let clock = Clock::system();
    let mut tick = interval(Duration::from_micros(1_000_000 / RATE as u64));
    let mut requests: JoinSet<anyhow::Result<(String, DateTime<Utc>)>> = JoinSet::new();
    let start = clock.now();
    for n in 0..RATE * SECONDS {
        tick.tick().await;
        let request =
            stage.http.post(format!("{}/api/v1/events/batch", stage.url)).header("x-api-key", &stage.keys.ink);
        let request = request.header("content-type", "application/json").body(batch(&events(n, hundredth, event_type)));
        let clock = clock.clone();
        requests.spawn(async move {
            let answer: Value = request.send().await?.error_for_status()?.json().await?;
            Ok((answer["results"][0]["id"].as_str().context("an id")?.to_owned(), clock.now()))
        });
    }
    let accepted = requests.join_all().await.into_iter().collect::<anyhow::Result<HashMap<_, _>>>()?;
    let arrivals = wait_for_all(stage, RATE * SECONDS * EACH).await?;
    let last = arrivals.values().max().context("something arrived")?;
    let rate = arrivals.len() as f64 / (*last - start).as_seconds_f64();
    let waits = arrivals.iter().map(|((_, id), at)| {
        let accepted = accepted.get(id).context("what arrives was accepted")?;
        Ok((*at - *accepted).as_seconds_f64().max(0.0) * 1000.0)
    });
    Ok((waits.collect::<anyhow::Result<_>>()?, rate))
}

/// As fast as it goes; deliveries per second to the ninety-nine.
async fn full(stage: &Stage, hundredth: Hundredth, event_type: &str) -> anyhow::Result<f64> {
    let batches: Vec<String> = (0..FULL / BATCH_AT_FULL)
        .map(|b| {
            let of = |n| events(b * BATCH_AT_FULL + n, hundredth, event_type);
            batch(&(0..BATCH_AT_FULL).flat_map(of).collect::<Vec<_>>())
        })
        .collect();
    let clock = Clock::system();
    let start = clock.now();
    for batch in batches {
        stage.publish(batch).await?;
    }
    let arrivals = wait_for_all(stage, FULL * EACH).await?;
    let last = arrivals.values().max().context("something arrived")?;
    Ok(arrivals.len() as f64 / (*last - start).as_seconds_f64())
}

/// The arrivals at the ninety-nine once there are `count`.
async fn wait_for_all(stage: &Stage, count: usize) -> anyhow::Result<crate::receiver::Arrivals> {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        // The hundredth is counted and not noted, so the counter says at least that it is worth looking.
        let (arrivals, noted) = stage.receiver.arrivals().await?;
        if arrivals.len() >= count {
            ensure!(noted == count, "every delivery arrives once: {noted} requests for {count}");
            return Ok(arrivals);
        }
        ensure!(Instant::now() < end, "only {} of {count} arrived", arrivals.len());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
