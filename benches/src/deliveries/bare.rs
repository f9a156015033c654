//! What the machine can do without a queue: the same bodies posted to the same receiver in a bare loop.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{task::JoinSet, time::Instant};

/// Posts `body` to `urls` in turn, `count` times in all and `in_flight` at a time; returns requests per second.
pub async fn post(urls: &[String], body: &str, count: usize, in_flight: usize) -> anyhow::Result<f64> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
    let (urls, body): (Arc<[String]>, Bytes) = (urls.into(), body.to_owned().into());
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for _ in 0..in_flight {
        let (client, urls, body, next) = (client.clone(), urls.clone(), body.clone(), next.clone());
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return Ok(());
                }
                let request = Request::post(&urls[n % urls.len()]).header("content-type", "application/json");
                let response = client.request(request.body(Full::new(body.clone()))?).await?;
                anyhow::ensure!(response.status().is_success(), "the receiver takes everything");
                response.into_body().collect().await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}
