//! The benchmarks and the chaos rounds. `bin/bench` and `bin/chaos` build and run it; the first word says which.

mod chaos;
mod deliveries;
mod program;
mod queue;
mod receiver;
mod replay;
mod report;
mod retention;
mod seed;
mod tally;
mod traffic;
mod words;

use anyhow::bail;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let rest = words.get(1..).unwrap_or_default();
    match words.first().map(String::as_str) {
        Some("ours") => queue::ours::run(&words::Words(rest.to_vec())).await,
        Some("queue") => queue::run(&words::Words(rest.to_vec())).await,
        Some("growth") => queue::growth::run(&words::Words(rest.to_vec())).await,
        Some("scale") => queue::scale::run(&words::Words(rest.to_vec())).await,
        Some("chaos") => chaos::run(rest).await,
        Some("deliveries") => deliveries::run(rest).await,
        Some("replay") => replay::run(rest).await,
        Some("retention") => retention::run(rest).await,
        Some("receiver") => receiver::run().await,
        other => bail!("no benchmark is called {other:?}"),
    }
}
