//! A receiver that answers 200 at once and counts how often each `webhook-id` came, by path, and when it came first.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use domain::id::EventId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What arrived for one `webhook-id`.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// How often it came.
    pub times: u32,
    /// When it came first.
    pub first: Instant,
}

#[derive(Default)]
struct Log {
    /// By path, then by the id's 128 bits.
    paths: HashMap<String, HashMap<u128, Arrival>>,
    requests: HashMap<String, u64>,
}

/// The receiver. Its clones share one log.
#[derive(Clone)]
pub struct Tally {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

impl Tally {
    /// Listens on a free loopback port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let tally = Self { address: listener.local_addr()?, log: Arc::default() };
        let log = tally.log.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, log.clone()));
            }
        });
        Ok(tally)
    }

    /// The address of a path, such as `live`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// How many requests came to a path.
    pub fn requests(&self, path: &str) -> u64 {
        self.log.lock().expect("no panic under the lock").requests.get(path).copied().unwrap_or(0)
    }

    /// Everything that came to a path, by the event's id.
    pub fn arrivals(&self, path: &str) -> HashMap<u128, Arrival> {
        self.log.lock().expect("no panic under the lock").paths.get(path).cloned().unwrap_or_default()
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Log>>) {
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let Some(head) = fill(&mut stream, &mut buffer, |b| b.windows(4).position(|w| w == b"\r\n\r\n")).await else {
            return;
        };
        let arrived = Instant::now();
        let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
        let header = |name: &str| {
            let mut headers = text.lines().filter_map(|line| line.split_once(": "));
            headers.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let length = header("content-length").and_then(|v| v.parse::<usize>().ok()).unwrap_or(0);
        let whole = head + 4 + length;
        if fill(&mut stream, &mut buffer, |b| (b.len() >= whole).then_some(whole)).await.is_none() {
            return;
        }
        let path = text.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
        let id = header("webhook-id").and_then(|id| id.parse::<EventId>().ok()).map(|id| id.0.as_u128());
        {
            let mut log = log.lock().expect("no panic under the lock");
            *log.requests.entry(path.to_owned()).or_default() += 1;
            // Without an id it still counts as a request, and the two figures do not agree.
            if let Some(id) = id {
                let ids = log.paths.entry(path.to_owned()).or_default();
                ids.entry(id).or_insert(Arrival { times: 0, first: arrived }).times += 1;
            }
        }
        buffer.drain(..whole);
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}

/// Reads until `found` finds what it looks for; `None` when the connection ends before.
async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>, found: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
    loop {
        if let Some(at) = found(buffer) {
            return Some(at);
        }
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}
