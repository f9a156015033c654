//! How many deliveries per second, from the first event sent to the last attempt recorded, and what each costs.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use serde_json::json;
use tokio::{sync::Mutex, task::JoinSet, time::Instant};

use super::{
    bare, head,
    meter::{Cost, Meter},
    row,
    stage::{Stage, batch, data},
};
use crate::report::median;

const PORT: u16 = 18123;
/// Requests with events under way at a time.
const PRODUCERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(180);
/// Enough places for receivers that take 100 ms; the defaults would allow 32 requests to one endpoint, 320 per second.
const WIDE: [(&str, usize); 2] = [("INKFLEET_CONCURRENCY", 1024), ("INKFLEET_ENDPOINT_CONCURRENCY", 1024)];

/// One cell of the matrix.
#[derive(Debug, Clone, Copy)]
struct Case {
    fan_out: usize,
    bytes: usize,
    answer: &'static str,
    event_type: &'static str,
    events: usize,
}

const fn case(fan_out: usize, kib: usize, answer: &'static str, event_type: &'static str, events: usize) -> Case {
    Case { fan_out, bytes: kib * 1024, answer, event_type, events }
}

const CASES: [Case; 8] = [
    case(1, 1, "1", "link.created", 24_000),
    case(1, 20, "1", "link.created", 10_000),
    case(10, 1, "1", "link.updated", 3_000),
    case(10, 20, "1", "link.updated", 2_000),
    case(1, 1, "100", "link.deleted", 24_000),
    case(1, 20, "100", "link.deleted", 10_000),
    case(10, 1, "100", "link.clicked", 3_000),
    case(10, 20, "100", "link.clicked", 2_000),
];

struct Figures {
    rate: f64,
    bare: f64,
    cost: Cost,
}

/// The table.
pub async fn measure(rounds: usize) -> anyhow::Result<String> {
    let mut runs: Vec<Vec<Figures>> = CASES.iter().map(|_| vec![]).collect();
    for (answer, settings) in [("1", &[][..]), ("100", &WIDE[..])] {
        let mut stage = Stage::set(PORT, settings).await?;
        register(&stage).await?;
        stage.start_worker().await?;
        let warm = Case { events: 2_000, ..CASES[0] };
        run(&mut stage, warm).await?;
        for round in 0..rounds {
            for (n, case) in CASES.iter().enumerate().filter(|(_, case)| case.answer == answer) {
                let figures = run(&mut stage, *case).await?;
                let deliveries = case.events * case.fan_out;
                eprintln!("round {} {case:?}: {:.0}/s, bare {:.0}/s", round + 1, figures.rate, figures.bare);
                figures.cost.explain(deliveries);
                runs[n].push(figures);
            }
        }
        let (web, worker) = (stage.web.memory_mb()?, stage.worker()?.memory_mb()?);
        eprintln!("resident after the runs: web {web:.0} MB, worker {worker:.0} MB");
    }
    let columns = [
        "endpoints per event",
        "body",
        "receiver answers in",
        "deliveries/s",
        "bare loop/s",
        "ratio",
        "round trips each",
        "without BEGIN, COMMIT",
        "CPU s per 1,000: Postgres",
        "web",
        "worker",
        "receiver",
    ];
    let mut text = head("Events in, signed requests out, attempts recorded:", &columns);
    for (case, runs) in CASES.iter().zip(&runs) {
        let deliveries = (case.events * case.fan_out) as f64;
        let of = |value: &dyn Fn(&Figures) -> f64| median(&mut runs.iter().map(value).collect::<Vec<_>>());
        let cpu = |value: &dyn Fn(&Figures) -> f64| format!("{:.3}", of(value) * 1000.0 / deliveries);
        text += &row([
            case.fan_out.to_string(),
            format!("{} KiB", case.bytes / 1024),
            format!("{} ms", case.answer),
            format!("{:.0}", of(&|f| f.rate)),
            format!("{:.0}", of(&|f| f.bare)),
            format!("{:.2}", of(&|f| f.rate / f.bare)),
            format!("{:.3}", of(&|f| f.cost.calls as f64) / deliveries),
            format!("{:.3}", of(&|f| f.cost.calls_inside as f64) / deliveries),
            cpu(&|f| f.cost.cpu.postgres),
            cpu(&|f| f.cost.cpu.web),
            cpu(&|f| f.cost.cpu.worker),
            cpu(&|f| f.cost.cpu.receiver),
        ]);
    }
    text += "\nReceivers that answer in 1 ms: default settings. In 100 ms: INKFLEET_CONCURRENCY and \
             INKFLEET_ENDPOINT_CONCURRENCY 1024. The bare loop posts the same bodies to the same receiver from one \
             process with hyper, unsigned, nothing stored.\n";
    Ok(text)
}

/// For each event type as many endpoints as its cases need.
async fn register(stage: &Stage) -> anyhow::Result<()> {
    for case in CASES.iter().filter(|case| case.bytes == 1024) {
        for n in 0..case.fan_out {
            stage.endpoint(&url(stage, case, n), case.event_type).await?;
        }
    }
    Ok(())
}

fn url(stage: &Stage, case: &Case, n: usize) -> String {
    stage.receiver.url(case.answer, &format!("{}-{n}", case.event_type))
}

async fn run(stage: &mut Stage, case: Case) -> anyhow::Result<Figures> {
    stage.clear().await?;
    // At most 8 MiB per request.
    let per_batch = if case.bytes > 4096 { 250 } else { 500 };
    let event = |n: usize| json!({"type": case.event_type, "data": data(case.bytes, n)});
    let batches: Vec<String> = (0..case.events / per_batch)
        .map(|b| batch(&(0..per_batch).map(|n| event(b * per_batch + n)).collect::<Vec<_>>()))
        .collect();
    let deliveries = case.events * case.fan_out;
    let meter = Meter::start(stage).await?;
    let start = Instant::now();
    send(stage, batches).await?;
    stage.receiver.wait_for(deliveries as u64, PATIENCE).await?;
    stage.wait_until_recorded(PATIENCE).await?;
    let rate = deliveries as f64 / start.elapsed().as_secs_f64();
    let cost = meter.stop().await?;
    check(stage, case, deliveries).await?;
    let urls: Vec<String> = (0..case.fan_out).map(|n| url(stage, &case, n)).collect();
    let in_flight = if case.answer == "1" { 128 } else { 1024 };
    let bare = bare::post(&urls, &data(case.bytes, 1).to_string(), deliveries, in_flight).await?;
    Ok(Figures { rate, bare, cost })
}

async fn send(stage: &Stage, batches: Vec<String>) -> anyhow::Result<()> {
    let batches = Arc::new(Mutex::new(batches));
    let mut producers: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for _ in 0..PRODUCERS {
        let (batches, http) = (batches.clone(), stage.http.clone());
        let (url, key) = (format!("{}/api/v1/events/batch", stage.url), stage.keys.ink.clone());
        producers.spawn(async move {
            loop {
                let Some(batch) = batches.lock().await.pop() else { return Ok(()) };
                let request = http.post(&url).header("x-api-key", &key).header("content-type", "application/json");
                request.body(batch).send().await?.error_for_status()?;
            }
        });
    }
    while let Some(done) = producers.join_next().await {
        done??;
    }
    Ok(())
}

/// Every delivery arrived once, and has its attempt and its end.
async fn check(stage: &Stage, case: Case, deliveries: usize) -> anyhow::Result<()> {
    let (arrivals, requests) = stage.receiver.arrivals().await?;
    ensure!(
        requests == deliveries && arrivals.len() == deliveries,
        "{case:?}: {requests} requests for {} of {deliveries} deliveries",
        arrivals.len(),
    );
    let mut conn = stage.quiet().await?;
    let recorded: i64 = sqlx::query_scalar(
        "select count(*) from deliveries d join attempts a on a.delivery_id = d.id and a.number = d.attempts
         where d.state = 'delivered' and a.status = 200",
    )
    .fetch_one(&mut conn)
    .await?;
    ensure!(recorded as usize == deliveries, "{case:?}: {recorded} of {deliveries} attempts recorded");
    Ok(())
}
