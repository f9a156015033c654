//! A receiver of webhooks in a process of its own (`benches receiver`), so that its processor time is told apart.
//!
//! The first part of a path says how it answers: `/20/x` after 20 ms, `/hang/x` never. The second names the endpoint;
//! what goes to `-` is counted and not noted. `/~/…` is for the benchmark that started it.

use std::{
    collections::HashMap,
    fmt::Write as _,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use domain::clock::Clock;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::Instant,
};

use crate::program::client;

/// What arrived.
#[derive(Default)]
struct Log {
    count: u64,
    /// Path, `webhook-id` and time in microseconds since 1970.
    arrivals: Vec<(Box<str>, Box<str>, i64)>,
}

/// A receiver's process. Dropped, it is killed.
#[derive(Debug)]
pub struct Receiver {
    process: Child,
    http: reqwest::Client,
    base: String,
}

/// When each event first arrived at each path.
pub type Arrivals = HashMap<(String, String), DateTime<Utc>>;

impl Receiver {
    /// Starts one on a free loopback port.
    pub async fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        // It ends when its standard input does, however this process ends.
        command.arg("receiver").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn()?;
        let mut line = String::new();
        let out = process.stdout.take().context("its output is piped")?;
        BufReader::new(out).read_line(&mut line).await?;
        let port: u16 = line.trim().parse().context("the receiver says its port")?;
        Ok(Self { process, http: client()?, base: format!("http://127.0.0.1:{port}") })
    }

    /// The address of an endpoint that answers in `answer` (milliseconds, or `hang`).
    pub fn url(&self, answer: &str, name: &str) -> String {
        format!("{}/{answer}/{name}", self.base)
    }

    /// Its process id.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.process.id().context("the receiver has ended")
    }

    async fn ask(&self, question: &str) -> anyhow::Result<String> {
        Ok(self.http.post(format!("{}/~/{question}", self.base)).send().await?.text().await?)
    }

    /// Forgets what arrived so far.
    pub async fn reset(&self) -> anyhow::Result<()> {
        self.ask("reset").await.map(drop)
    }

    /// How many requests arrived.
    pub async fn count(&self) -> anyhow::Result<u64> {
        Ok(self.ask("count").await?.parse()?)
    }

    /// When each event first arrived at each path, and how many requests of those noted came in all.
    pub async fn arrivals(&self) -> anyhow::Result<(Arrivals, usize)> {
        let mut first = Arrivals::new();
        let text = self.ask("arrivals").await?;
        for line in text.lines() {
            let mut words = line.split(' ').map(str::to_owned);
            let (Some(path), Some(id), Some(at)) = (words.next(), words.next(), words.next()) else {
                bail!("an arrival is a path, an id and a time: {line}");
            };
            let at = DateTime::from_timestamp_micros(at.parse()?).context("a time")?;
            first.entry((path, id)).and_modify(|known| *known = at.min(*known)).or_insert(at);
        }
        Ok((first, text.lines().count()))
    }

    /// Waits until `count` requests have arrived.
    pub async fn wait_for(&self, count: u64, patience: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + patience;
        loop {
            let seen = self.count().await?;
            if seen >= count {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("only {seen} of {count} requests arrived in {patience:?}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The process: says its port and serves until its standard input ends.
pub async fn run() -> anyhow::Result<()> {
    // One thread of its own: spreading so little work over threads would cost more than it is.
    std::thread::spawn(|| -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(listen())
    });
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    Ok(())
}

async fn listen() -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?.port());
    let (log, clock) = (Arc::new(Mutex::new(Log::default())), Clock::system());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream, log.clone(), clock.clone()));
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Log>>, clock: Clock) -> anyhow::Result<()> {
    let mut buffer = Vec::with_capacity(32 * 1024);
    loop {
        let head = loop {
            if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let at = clock.now().timestamp_micros();
        let text = std::str::from_utf8(&buffer[..head])?;
        let header = |name: &str| {
            let mut headers = text.lines().filter_map(|line| line.split_once(": "));
            headers.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let length: usize = header("content-length").unwrap_or("0").parse()?;
        let path = text.split(' ').nth(1).unwrap_or_default();
        let (answer, name) = path[1..].split_once('/').context("paths have two parts")?;
        if answer == "~" {
            let body = control(&mut log.lock().expect("no panic under the lock"), name);
            let answer_head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((answer_head + &body).as_bytes()).await?;
            buffer.drain(..head + length);
            continue;
        }
        {
            let mut log = log.lock().expect("no panic under the lock");
            log.count += 1;
            if name != "-" {
                log.arrivals.push((path.into(), header("webhook-id").unwrap_or_default().into(), at));
            }
        }
        let wait = answer.parse().map(Duration::from_millis).unwrap_or(Duration::MAX);
        while buffer.len() < head + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        buffer.drain(..head + length);
        if wait == Duration::MAX {
            // Until the sender gives up.
            while stream.read(&mut [0; 64]).await? > 0 {}
            return Ok(());
        }
        tokio::time::sleep(wait).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
    }
}

/// Answers the benchmark.
fn control(log: &mut Log, question: &str) -> String {
    match question {
        "count" => log.count.to_string(),
        "arrivals" => log.arrivals.iter().fold(String::new(), |mut text, (path, id, at)| {
            let _ = writeln!(text, "{path} {id} {at}");
            text
        }),
        _ => {
            *log = Log::default();
            String::new()
        }
    }
}
