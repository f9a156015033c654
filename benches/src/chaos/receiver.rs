//! A receiver for one endpoint: it answers, fails, refuses or hangs as it is told, and notes every request.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    clock::Clock,
    dialect::{Dialect, verify},
    id::read_any,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use uuid::Uuid;

/// How a receiver behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Manner {
    /// 200 at once.
    Well,
    /// 200 after a while.
    Slow(Duration),
    /// This status at once.
    Status(u16),
    /// 429 with this Retry-After, in seconds.
    Busy(u32),
    /// Takes the request and never answers.
    Hang,
    /// Takes no connection, and closes those that are open.
    Refuse,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// Whose id stood in `webhook-id`; nobody's if it could not be read.
    pub event: Uuid,
    /// When its last byte was read, by Postgres's clock.
    pub at: DateTime<Utc>,
    /// What it was answered with, if the answer was written.
    pub status: Option<u16>,
    /// The Retry-After of the answer.
    pub retry_after: Option<u32>,
    /// What is wrong with its signature.
    pub unverified: Option<String>,
    /// Stands for the bytes of the body.
    pub body: u64,
}

/// The receiver.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Where it listens, when it does.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    dialect: &'static Dialect,
    secret: OnceLock<String>,
    manner: watch::Sender<Manner>,
    /// With the number of the round that they belong to.
    receipts: Mutex<(usize, Vec<Receipt>)>,
}

impl Receiver {
    /// Listens on a free port for requests of a dialect.
    pub async fn start(dialect: &'static Dialect, clock: Clock) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (manner, secret) = (watch::channel(Manner::Well).0, OnceLock::new());
        let shared = Arc::new(Shared { clock, dialect, secret, manner, receipts: Mutex::default() });
        tokio::spawn(listen(address, Some(listener), shared.clone()));
        Ok(Self { address, shared })
    }

    /// Gives it the secret that requests are signed with, once.
    pub fn know(&self, secret: String) {
        let _ = self.shared.secret.set(secret);
    }

    /// Behaves so from now on; what is under way ends as it began.
    pub fn behave(&self, manner: Manner) {
        self.shared.manner.send_replace(manner);
    }

    /// Takes out what arrived since the last call.
    pub fn take(&self) -> Vec<Receipt> {
        let mut receipts = self.shared.receipts.lock().expect("no panic under the lock");
        receipts.0 += 1;
        std::mem::take(&mut receipts.1)
    }
}

async fn listen(address: SocketAddr, mut listener: Option<TcpListener>, shared: Arc<Shared>) {
    let mut manner = shared.manner.subscribe();
    loop {
        if *manner.borrow_and_update() == Manner::Refuse {
            listener = None;
            if manner.changed().await.is_err() {
                return;
            }
            continue;
        }
        let open = match &listener {
            Some(open) => open,
            None => match TcpListener::bind(address).await {
                Ok(again) => listener.insert(again),
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        tokio::select! {
            accepted = open.accept() => {
                if let Ok((stream, _)) = accepted {
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(serve(stream, shared.clone()));
                }
            }
            changed = manner.changed() => if changed.is_err() { return },
        }
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut manner = shared.manner.subscribe();
    let mut buffer = Vec::with_capacity(8 * 1024);
    loop {
        let request = tokio::select! {
            request = read(&mut stream, &mut buffer) => request,
            _ = manner.wait_for(|manner| *manner == Manner::Refuse) => return,
        };
        let Some((head, body)) = request else { return };
        let present = *manner.borrow();
        let (round, place) = shared.note(&head, &body);
        let (status, retry_after) = match present {
            Manner::Well => (200, None),
            Manner::Slow(wait) => {
                tokio::time::sleep(wait).await;
                (200, None)
            }
            Manner::Status(status) => (status, None),
            Manner::Busy(seconds) => (429, Some(seconds)),
            Manner::Refuse => return,
            Manner::Hang => {
                // Until the other side gives up.
                while stream.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {}
                return;
            }
        };
        let wait = retry_after.map(|s| format!("retry-after: {s}\r\n")).unwrap_or_default();
        let answer = format!("HTTP/1.1 {status} Told\r\n{wait}content-length: 2\r\n\r\nok");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        let mut receipts = shared.receipts.lock().expect("no panic under the lock");
        // The round may be over.
        if receipts.0 == round {
            let receipt = &mut receipts.1[place];
            (receipt.status, receipt.retry_after) = (Some(status), retry_after);
        }
    }
}

/// The head and the body of the next request; `None` when the other side is done.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
    let length = header(&text, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0_usize);
    while buffer.len() < head + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[head..head + length].to_vec();
    buffer.drain(..head + length);
    Some((text, body))
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

impl Shared {
    /// Notes a request; returns the round and its place there.
    fn note(&self, head: &str, body: &[u8]) -> (usize, usize) {
        let at = self.clock.now();
        let secret = self.secret.get().map(String::as_str).unwrap_or_default();
        // Generous, because the round steps the clock; what is looked at is the signature.
        let verified = verify(self.dialect, |name| header(head, name), body, secret, TimeDelta::days(1), at);
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let event = header(head, "webhook-id").and_then(|id| read_any(id).ok()).unwrap_or_default();
        let mut receipts = self.receipts.lock().expect("no panic under the lock");
        receipts.1.push(Receipt {
            event,
            at,
            status: None,
            retry_after: None,
            unverified: verified.err().map(|error| error.to_string()),
            body: hasher.finish(),
        });
        (receipts.0, receipts.1.len() - 1)
    }
}
