//! The benchmarks and the chaos rounds. `bin/bench` and `bin/chaos` build and run it; the first word says which.

mod deliveries;
mod program;
mod receiver;
mod report;

use anyhow::bail;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let rest = words.get(1..).unwrap_or_default();
    match words.first().map(String::as_str) {
        Some("deliveries") => deliveries::run(rest).await,
        Some("receiver") => receiver::run().await,
        other => bail!("no benchmark is called {other:?}"),
    }
}
