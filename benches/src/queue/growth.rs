//! Whether the queue keeps its speed: after millions of finished jobs, beside a million that wait for later, and while
//! another session holds a snapshot, so that nothing dead can be removed.

use std::time::Duration;

use serde_json::Value;
use sqlx::Executor as _;

use super::{System, shown};
use crate::{
    program::Postgres,
    report::{median, section},
    words::Words,
};

/// Runs it and prints the table.
pub async fn run(words: &Words) -> anyhow::Result<()> {
    let (rounds, count) = (words.or("rounds", 3), words.or("count", 100_000));
    let (finished, waiting) = (words.or("finished", 5_000_000), words.or("waiting", 1_000_000));
    let postgres = Postgres::start().await?;
    let system = System::new("inkfleet", &postgres).await?;
    let mut rows = vec![("empty".to_owned(), measure(&system, rounds, count).await?)];
    // A worker is up meanwhile and for some seconds more, because the workers keep the table small.
    let worker = system.start_worker()?;
    for _ in 0..finished / 500_000 {
        system.run(&["bulk", "--count", "500000"]).await?;
        system.wait_until_empty().await?;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    super::end(worker).await?;
    rows.push((format!("after {} finished jobs", shown(f64::from(finished))), measure(&system, rounds, count).await?));
    let tomorrow = format!("{}", domain::clock::Clock::system().now().timestamp_millis() + 86_400_000);
    system.run(&["bulk", "--count", &waiting.to_string(), "--due-ms", &tomorrow]).await?;
    rows.push((format!("… beside {} for tomorrow", shown(f64::from(waiting))), measure(&system, rounds, count).await?));
    let mut holder = <sqlx::PgConnection as sqlx::Connection>::connect(&system.url()).await?;
    holder.execute("begin isolation level repeatable read; select from jobs limit 1").await?;
    let held = tokio::time::Instant::now();
    // A minute's worth of dead rows first.
    system.run(&["paced", "--rate", "2000", "--seconds", "30"]).await?;
    let measured = measure(&system, rounds, count).await?;
    tokio::time::sleep(Duration::from_secs(60).saturating_sub(held.elapsed())).await;
    let label = format!("… while a snapshot is held for {} s", held.elapsed().as_secs());
    holder.execute("rollback").await?;
    rows.push((label, measured));
    rows.push(("… after it was let go".to_owned(), measure(&system, rounds, count).await?));

    let base = rows[0].1;
    let mut table =
        "| | processed per second | of the empty queue's | 1,000/s: p50, ms | p99, ms |\n|---|---|---|---|---|\n"
            .to_owned();
    for (label, [per_second, p50, p99]) in rows {
        let (rate, share) = (shown(per_second), per_second / base[0]);
        table.push_str(&format!("| {label} | {rate} | {share:.2} | {p50:.2} | {p99:.2} |\n"));
    }
    section("growth", &table, words.has("write"))
}

/// Processed per second, and the waits at a steady thousand per second: medians.
async fn measure(system: &System<'_>, rounds: usize, count: usize) -> anyhow::Result<[f64; 3]> {
    let count = count.to_string();
    let mut figures = [vec![], vec![], vec![]];
    let number = |value: &Value, name: &str| value[name].as_f64().unwrap_or(f64::NAN);
    for _ in 0..rounds {
        system.run(&["bulk", "--count", &count]).await?;
        let process = system.measured(&["process", "--count", &count]).await?.0;
        figures[0].push(number(&process, "per_second"));
        let paced = system.run(&["paced", "--rate", "1000", "--seconds", "5"]).await?;
        figures[1].push(number(&paced, "p50_ms"));
        figures[2].push(number(&paced, "p99_ms"));
    }
    Ok(figures.map(|mut values| median(&mut values)))
}
