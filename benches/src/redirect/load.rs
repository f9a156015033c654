//! Visitors: as many requests as there are answers, or at a steady rate whatever the answers do. They write plain HTTP/1.1 on
//! connections that are kept, because a client library would cost more than the server under test.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::Instant,
};

use crate::report::quantile;

/// How many requests are under way at a time, at most.
const CONNECTIONS: usize = 64;
/// How often it is looked which requests are due.
const TICK: Duration = Duration::from_micros(250);
/// The visitors' browsers.
const AGENTS: [&str; 5] = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
];

/// How fast visitors come.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Each as soon as the one before it on its connection was answered.
    Full,
    /// So many per second; the time of an answer is counted from when its request was due.
    PerSecond(f64),
}

/// What was answered.
#[derive(Debug, Default)]
pub struct Answered {
    redirects: u64,
    took_ms: Vec<f64>,
}

impl Answered {
    /// How many redirects.
    pub fn redirects(&self) -> u64 {
        self.redirects
    }

    /// Takes others in, without their times.
    pub fn add(&mut self, other: &Self) {
        self.redirects += other.redirects;
    }

    /// How many per second.
    pub fn per_second(&self, span: Duration) -> f64 {
        self.redirects as f64 / span.as_secs_f64()
    }

    /// The middle time and the one that 99 of 100 do not exceed, in ms.
    pub fn times(&self) -> [f64; 2] {
        let mut took = self.took_ms.clone();
        [0.5, 0.99].map(|share| quantile(&mut took, share))
    }
}

/// Who asks for which link how often.
pub struct Load {
    /// The share of links up to each.
    up_to: Arc<Vec<f64>>,
}

impl Load {
    /// `links` links, the nth asked for in proportion to 1/n (Zipf).
    pub fn new(links: usize) -> Self {
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = (1..=links)
            .map(|n| {
                sum += 1.0 / n as f64;
                sum
            })
            .collect();
        up_to.iter_mut().for_each(|share| *share /= sum);
        Self { up_to: Arc::new(up_to) }
    }

    /// Asks the program on `port` for `span`. Every answer must be a redirect.
    pub async fn run(&self, port: u16, pace: Pace, span: Duration) -> anyhow::Result<Answered> {
        let begin = Instant::now();
        let mut visitors = JoinSet::new();
        let mut turns = Vec::with_capacity(CONNECTIONS);
        for n in 0..CONNECTIONS {
            let (turn, due) = mpsc::unbounded_channel();
            turns.push(turn);
            let due = match pace {
                Pace::Full => None,
                Pace::PerSecond(_) => Some(due),
            };
            visitors.spawn(visit(port, self.up_to.clone(), n, due, begin + span));
        }
        if let Pace::PerSecond(rate) = pace {
            std::thread::spawn(move || set_pace(rate, &turns, begin, begin + span));
        }
        let mut all = Answered::default();
        while let Some(answered) = visitors.join_next().await {
            let answered = answered??;
            all.redirects += answered.redirects;
            all.took_ms.extend(answered.took_ms);
        }
        Ok(all)
    }
}

/// Tells each connection when its requests are due, in turn. A thread of its own, because the runtime's timers are exact to a
/// millisecond: what came a millisecond late would be held against the answer.
fn set_pace(rate: f64, turns: &[mpsc::UnboundedSender<Instant>], begin: Instant, end: Instant) {
    let mut due =
        (0_u32..).map(|n| begin + Duration::from_secs_f64(f64::from(n) / rate)).zip(turns.iter().cycle()).peekable();
    while Instant::now() < end {
        while let Some((due, turn)) = due.next_if(|(due, _)| *due <= Instant::now()) {
            if turn.send(due).is_err() {
                return;
            }
        }
        std::thread::sleep(TICK);
    }
}

/// Without `due`, each request is due when the one before it was answered.
async fn visit(
    port: u16,
    up_to: Arc<Vec<f64>>,
    n: usize,
    mut due: Option<mpsc::UnboundedReceiver<Instant>>,
    end: Instant,
) -> anyhow::Result<Answered> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut chance = StdRng::seed_from_u64(n as u64);
    let (mut answered, mut buffer) = (Answered::default(), Vec::with_capacity(4096));
    loop {
        let due = match &mut due {
            None => Instant::now(),
            Some(due) => match due.recv().await {
                Some(due) => due,
                None => break,
            },
        };
        if due >= end {
            break;
        }
        let link = up_to.partition_point(|share| *share < chance.random_range(0.0..1.0));
        let agent = AGENTS[chance.random_range(0..AGENTS.len())];
        let [a, b]: [u8; 2] = [chance.random_range(0..=255), chance.random_range(0..=255)];
        let request = format!(
            "GET /r/b{link} HTTP/1.1\r\nhost: ink.example\r\nuser-agent: {agent}\r\naccept-language: de-DE,de;q=0.9\r\n\
             referer: https://www.search.example/\r\nx-visitor: 198.51.{a}.{b}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        ensure!(read_head(&mut stream, &mut buffer).await?.starts_with("HTTP/1.1 302 "), "no redirect");
        answered.redirects += 1;
        answered.took_ms.push(due.elapsed().as_secs_f64() * 1e3);
    }
    Ok(answered)
}

/// Reads an answer without a body.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<String> {
    buffer.clear();
    loop {
        ensure!(stream.read_buf(buffer).await? > 0, "the connection was closed");
        if buffer.ends_with(b"\r\n\r\n") {
            return Ok(String::from_utf8_lossy(buffer).into_owned());
        }
    }
}

/// Where a code leads now.
pub async fn location(port: u16, code: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("HEAD /r/{code} HTTP/1.1\r\nhost: ink.example\r\n\r\n").as_bytes()).await?;
    let head = read_head(&mut stream, &mut vec![]).await?;
    let location = head.lines().find_map(|line| line.strip_prefix("location: "));
    Ok(location.with_context(|| format!("no redirect: {head}"))?.to_owned())
}
