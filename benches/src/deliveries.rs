//! Deliveries end to end: events in through the API, signed requests out to a receiver, attempts recorded in Postgres.
//!
//! Everything runs on one machine and shares its processors: Postgres, a web process, a worker process, the receiver and
//! this program, which sends the events.

mod bare;
mod hanging;
mod idle;
mod meter;
mod million;
mod paced;
mod stage;
mod throughput;

use crate::report::{quantile, section};

/// Runs all of them, or those that are named: `throughput`, `paced`, `hanging`, `million`, `idle`. `--rounds N` (3),
/// `--write`.
pub async fn run(words: &[String]) -> anyhow::Result<()> {
    let value = |name: &str| words.iter().position(|word| word == name).and_then(|n| words.get(n + 1));
    let rounds: usize = value("--rounds").map_or(Ok(3), |text| text.parse())?;
    let named = |name: &str| words.iter().any(|word| word == name);
    let all = !["throughput", "paced", "hanging", "million", "idle"].into_iter().any(named);
    let mut text = String::new();
    let mut add = |part: String| {
        eprintln!("{part}");
        text += &part;
    };
    if all || named("throughput") {
        add(throughput::measure(rounds).await?);
    }
    if all || named("paced") {
        add(paced::measure(rounds).await?);
    }
    if all || named("hanging") {
        add(hanging::measure(rounds).await?);
    }
    if all || named("million") {
        add(million::measure().await?);
    }
    if all || named("idle") {
        add(idle::measure().await?);
    }
    section("deliveries", &text, named("--write"))
}

/// A row of a table.
fn row<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) -> String {
    cells.into_iter().fold("|".to_owned(), |row, cell| row + " " + cell.as_ref() + " |") + "\n"
}

/// A table's head.
fn head(title: &str, columns: &[&str]) -> String {
    format!("\n{title}\n\n{}{}", row(columns), row(columns.iter().map(|_| "---")))
}

/// The median, the 99th percentile and the largest of `values`.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    (quantile(&mut values, 0.5), quantile(&mut values, 0.99), quantile(&mut values, 1.0))
}
