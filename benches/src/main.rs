//! The benchmarks and the chaos rounds. `bin/bench` and `bin/chaos` build and run it; the first word says which.

mod chaos;
mod deliveries;
mod picture;
mod program;
mod queue;
mod receiver;
mod redirect;
mod replay;
mod report;
mod retention;
mod seed;
mod tally;
mod traffic;
mod words;

use anyhow::bail;

/// What `bin/bench` measures, in this order.
const ALL: [&str; 8] = ["queue", "growth", "scale", "deliveries", "replay", "retention", "redirects", "picture"];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let words: Vec<String> = std::env::args().skip(1).collect();
    // Flags without a name are meant for all.
    let named = words.first().filter(|word| !word.starts_with("--"));
    let rest = &words[usize::from(named.is_some())..];
    match named.map(String::as_str) {
        None | Some("all") => {
            for name in ALL {
                run(name, rest).await?;
            }
            Ok(())
        }
        Some(name) => run(name, rest).await,
    }
}

async fn run(name: &str, rest: &[String]) -> anyhow::Result<()> {
    match name {
        "ours" => queue::ours::run(&words::Words(rest.to_vec())).await,
        "queue" => queue::run(&words::Words(rest.to_vec())).await,
        "growth" => queue::growth::run(&words::Words(rest.to_vec())).await,
        "scale" => queue::scale::run(&words::Words(rest.to_vec())).await,
        "chaos" => chaos::run(rest).await,
        "deliveries" => deliveries::run(rest).await,
        "replay" => replay::run(rest).await,
        "redirects" => redirect::run(rest).await,
        "retention" => retention::run(rest).await,
        "picture" => picture::run(rest),
        "receiver" => receiver::run().await,
        _ => bail!("no benchmark is called {name}"),
    }
}
