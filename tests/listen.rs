//! The developer's receiver: it tells dialects apart, verifies them, and answers as it was told to.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use chrono::{DateTime, Duration, Utc};
use clap::Parser;
use domain::{
    chance::Chance,
    clock::Clock,
    dialect::{DIALECTS, Dialect, EventFacts, body, new_secret, sign},
    id::{EventId, OrgId},
};
use inkfleet::listen::{ListenArgs, Listener};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};
use uuid::Uuid;

#[tokio::test]
async fn every_dialect_is_recognised_and_verified_among_several_secrets() {
    let chance = Chance::seeded(1);
    let secrets: Vec<String> = DIALECTS.iter().map(|dialect| new_secret(dialect, &chance)).collect();
    let listener = Started::with(&secrets, &["--json"]).await;
    for (dialect, secret) in DIALECTS.iter().zip(&secrets) {
        let (headers, body) = signed(dialect, secret, now());
        assert_eq!(listener.post("/hook?a=1", &headers, &body).await, 200);
    }
    let lines = listener.stop().await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), DIALECTS.len());
    for (dialect, line) in DIALECTS.iter().zip(&lines) {
        assert_eq!(line["dialect"], dialect.name.as_str());
        assert_eq!(line["verified"], true, "{line}");
        assert_eq!((&line["method"], &line["path"]), (&"POST".into(), &"/hook?a=1".into()));
        assert_eq!(line["at"], "2026-04-02T18:34:11.000Z");
        assert_eq!(line["body"], signed(dialect, "", now()).1);
    }
}

#[tokio::test]
async fn a_wrong_or_old_signature_is_refused_with_its_reason() {
    let dialect = Dialect::by_name("inkr".parse().unwrap());
    let secret = new_secret(dialect, &Chance::seeded(2));
    let listener = Started::with(&[&secret], &["--json"]).await;

    let (headers, body) = signed(dialect, &secret, now());
    listener.post("/", &headers, &body.replace("thing", "think")).await;
    let (headers, body) = signed(dialect, &secret, now() - Duration::hours(1));
    listener.post("/", &headers, &body).await;
    listener.post("/", &[], "hello").await;

    let lines = listener.stop().await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["verified"], false);
    assert_eq!(lines[0]["reason"], "the signature does not fit the body and the secret");
    assert_eq!(lines[1]["verified"], false);
    assert_eq!(lines[1]["reason"], "the signature was made 3600 s away from the present");
    assert_eq!(lines[2]["verified"], Value::Null);
    assert_eq!(lines[2]["dialect"], Value::Null);
    assert_eq!(lines[2]["body"], "hello");
}

#[tokio::test]
async fn people_get_a_verdict_the_headers_and_a_pretty_body_without_control_characters() {
    let dialect = Dialect::by_name("inklink".parse().unwrap());
    let secret = new_secret(dialect, &Chance::seeded(3));
    let listener = Started::with(&[&secret], &["--status", "503"]).await;
    let (headers, body) = signed(dialect, &secret, now());
    assert_eq!(listener.post("/hook", &headers, &body).await, 503);
    assert_eq!(listener.post("/raw", &[], "\u{1b}[2Jgone").await, 503);

    let text = listener.stop().await;
    assert!(text.starts_with("18:34:11.000 POST /hook  [inklink] signature verified\n"), "{text}");
    assert!(text.contains("\n  webhook-id: "), "{text}");
    assert!(text.contains("\n    {\n      \"type\": "), "{text}");
    assert!(text.contains("\u{fffd}[2Jgone") && !text.contains('\u{1b}'), "{text}");
    assert!(!text.contains(&secret), "{text}");
}

/// A receiver that runs, with all that it has written.
struct Started {
    address: SocketAddr,
    written: Written,
    end: oneshot::Sender<()>,
    running: JoinHandle<io::Result<()>>,
}

impl Started {
    async fn with(secrets: &[impl AsRef<str>], more: &[&str]) -> Self {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: ListenArgs,
        }
        // As one word: a secret of letters and signs may begin like a flag.
        let secrets = secrets.iter().map(|secret| format!("--secret={}", secret.as_ref()));
        let words = ["listen", "--port", "0"].into_iter().chain(more.iter().copied()).map(str::to_owned);
        let listener = Listener::bind(Line::parse_from(words.chain(secrets)).args).await.unwrap();
        let (written, (end, ended)) = (Written::default(), oneshot::channel());
        let address = listener.address();
        let shutdown = async { ended.await.unwrap_or_default() };
        let running = tokio::spawn(listener.serve(Clock::fixed(now()), written.clone(), shutdown));
        Self { address, written, end, running }
    }

    /// Posts and returns the status.
    async fn post(&self, path: &str, headers: &[(&str, String)], body: &str) -> u16 {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: receiver\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn stop(self) -> String {
        self.end.send(()).unwrap();
        self.running.await.unwrap().unwrap();
        String::from_utf8(self.written.0.lock().unwrap().clone()).unwrap()
    }
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn now() -> DateTime<Utc> {
    "2026-04-02T18:34:11Z".parse().unwrap()
}

/// The headers of a first attempt made at `at`, and its body; without a secret, the body only.
fn signed(dialect: &'static Dialect, secret: &str, at: DateTime<Utc>) -> (Vec<(&'static str, String)>, String) {
    let event = EventFacts {
        id: EventId(Uuid::from_u128(7)),
        org_id: OrgId(Uuid::from_u128(8)),
        event_type: dialect.catalogue[0],
        created_at: now(),
        data: r#"{"id":"thing_1"}"#,
    };
    let body = body(dialect, &event);
    let headers = match secret {
        "" => Vec::new(),
        secret => sign(dialect, &[secret], "endpoint_1", &event, 1, at, &body).unwrap(),
    };
    (headers, body)
}
