//! What a fleet costs that has nothing to do.

use std::time::Duration;

use anyhow::Context;

use super::{head, meter::Meter, row, stage::Stage};
use crate::program::Process;

const PORT: u16 = 18127;
/// Before it is measured: start-up is over, and what worked a moment ago has calmed down.
const CALM: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_secs(20);

/// The table.
pub async fn measure() -> anyhow::Result<String> {
    let mut stage = Stage::set(PORT, &[]).await?;
    stage.start_worker().await?;
    tokio::time::sleep(CALM).await;
    let meter = Meter::start(&stage).await?;
    tokio::time::sleep(LOOK).await;
    let cost = meter.stop().await?;
    for (calls, _, _, text) in &cost.heaviest {
        eprintln!("{calls:>4} {}", text.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let columns = ["idle", "queries per second", "resident", "of it its own (Pss)", "CPU"];
    let title = format!("One web and one worker process with nothing to do, over {} s:", LOOK.as_secs());
    let share = |cpu: f64| format!("{:.2} %", cpu / LOOK.as_secs_f64() * 100.0);
    let line = |name: &str, process: &Process, cpu: f64, queries: String| {
        let memory = (process.memory_mb()?, pss_mb(process)?);
        anyhow::Ok(row([
            name.to_owned(),
            queries,
            format!("{:.1} MB", memory.0),
            format!("{:.1} MB", memory.1),
            share(cpu),
        ]))
    };
    let rate = format!("{:.2} (both together)", cost.calls as f64 / LOOK.as_secs_f64());
    Ok(head(&title, &columns)
        + &line("web", &stage.web, cost.cpu.web, String::new())?
        + &line("worker", stage.worker()?, cost.cpu.worker, rate)?)
}

/// A process's proportional share of resident memory, in MB.
fn pss_mb(process: &Process) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid()?))?;
    let line = text.lines().find(|line| line.starts_with("Pss:")).context("Pss")?;
    Ok(line.split_whitespace().nth(1).context("Pss")?.parse::<f64>()? / 1024.0)
}
