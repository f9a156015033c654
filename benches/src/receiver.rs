//! A receiver that answers 200 as fast as it can and notes when each `webhook-id` arrived.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::bail;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[derive(Default)]
struct Log {
    count: usize,
    arrivals: HashMap<String, Instant>,
}

/// The receiver.
pub struct Receiver {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

impl Receiver {
    /// Listens on a free loopback port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (address, log) = (listener.local_addr()?, Arc::new(Mutex::new(Log::default())));
        let shared = log.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Ok(Self { address, log })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Requests so far.
    pub fn count(&self) -> usize {
        self.log.lock().expect("no panic under the lock").count
    }

    /// The first arrival of each `webhook-id`.
    pub fn arrivals(&self) -> HashMap<String, Instant> {
        self.log.lock().expect("no panic under the lock").arrivals.clone()
    }

    /// Waits until `count` requests have arrived.
    pub async fn wait_for(&self, count: usize, patience: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + patience;
        while self.count() < count {
            if Instant::now() > end {
                bail!("only {} of {count} requests arrived in {patience:?}", self.count());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Log>>) {
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        let head = loop {
            if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        let arrived = Instant::now();
        let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
        let header = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, v)| v)
        };
        let length = header("content-length").and_then(|v| v.parse::<usize>().ok()).unwrap_or(0);
        while buffer.len() < head + length {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        {
            let mut log = log.lock().expect("no panic under the lock");
            log.count += 1;
            if let Some(id) = header("webhook-id") {
                log.arrivals.entry(id.to_owned()).or_insert(arrived);
            }
        }
        buffer.drain(..head + length);
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}
