//! The program as processes of its own, over a Postgres of its own.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, bail};
use inkfleet::postgres::{Cluster, Options};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// 32 bytes in base64, for this run only.
const SECRET_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// The stories' issuer key; the bench opens no session.
const SESSION_KEY: &str = include_str!("../../tests/support/keys/session.pem");

/// A running web and a running worker process. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    http: reqwest::Client,
    url: String,
    key: String,
    inklink_key: String,
    worker: u32,
    running: Arc<Mutex<Option<Running>>>,
    database: String,
    program: String,
}

struct Running {
    web: Child,
    worker: Child,
    cluster: Cluster,
    _dir: TempDir,
}

impl Fleet {
    /// Starts Postgres, migrates, and starts both processes.
    pub async fn start() -> anyhow::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "bin/bench names the program under test")]
        let program = std::env::var("INKFLEET").context("INKFLEET must name the release build: use bin/bench")?;
        let dir = tempfile::tempdir()?;
        let home = dir.path().join("postgres");
        let cluster = tokio::task::spawn_blocking(move || Cluster::start(&home, Options { durable: true })).await??;
        let database = cluster.url();
        let run = |words: &'static [&'static str]| {
            let mut command = Command::new(&program);
            command
                .args(words)
                .env_clear()
                .env("DATABASE_URL", &database)
                .env("INKFLEET_SECRET_KEY", SECRET_KEY)
                .env("INKFLEET_SESSION_SIGNING_KEY", SESSION_KEY)
                .env("INKFLEET_ALLOW_PRIVATE_TARGETS", "true")
                .env("INKFLEET_ALLOW_HTTP_TARGETS", "true")
                .env("INKFLEET_LOG", "error")
                .env("INKFLEET_RATE_LIMIT_PER_SECOND", "100000")
                .env("INKFLEET_RATE_LIMIT_BURST", "100000")
                .env("INKFLEET_ENDPOINT_CONCURRENCY", "256")
                .env("BIND", "127.0.0.1")
                .env("PORT", "18123")
                .kill_on_drop(true);
            command
        };
        let admin = async |words: &'static [&'static str]| -> anyhow::Result<Value> {
            let out = run(words).stderr(Stdio::inherit()).output().await?;
            if !out.status.success() {
                bail!("inkfleet {} failed", words.join(" "));
            }
            Ok(serde_json::from_slice(&out.stdout).unwrap_or(Value::Null))
        };
        admin(&["migrate"]).await?;
        admin(&["admin", "create-org", "--slug", "bench", "--plan", "pro"]).await?;
        admin(&["admin", "create-user", "--org", "bench", "--email", "o@bench.example", "--role", "owner"]).await?;
        let key =
            admin(&["admin", "create-key", "--org", "bench", "--email", "o@bench.example", "--prefix", "ink"]).await?;
        let inklink =
            admin(&["admin", "create-key", "--org", "bench", "--email", "o@bench.example", "--prefix", "secret_live"])
                .await?;
        let web = run(&["serve"]).spawn()?;
        let worker = run(&["work"]).spawn()?;
        let text = |value: Value| value["key"].as_str().map(str::to_owned).context("a key");
        #[expect(clippy::disallowed_methods, reason = "the bench's own client, to the program under test")]
        let http = reqwest::Client::builder().no_proxy().build()?;
        let fleet = Self {
            http,
            url: "http://127.0.0.1:18123".into(),
            key: text(key)?,
            inklink_key: text(inklink)?,
            worker: worker.id().context("the worker runs")?,
            running: Arc::new(Mutex::new(Some(Running { web, worker, cluster, _dir: dir }))),
            database,
            program,
        };
        fleet.wait_until_ready().await?;
        Ok(fleet)
    }

    async fn wait_until_ready(&self) -> anyhow::Result<()> {
        for _ in 0..200 {
            if let Ok(response) = self.http.get(format!("{}/readyz", self.url)).send().await {
                let ready: Value = response.json().await?;
                if ready["workers"].as_i64().unwrap_or(0) > 0 {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the program is not ready after ten seconds")
    }

    /// Registers an InkLink endpoint for all of its types.
    pub async fn create_endpoint(&self, url: &str) -> anyhow::Result<()> {
        let request = self.http.post(format!("{}/api/v1/webhook/endpoints", self.url));
        let response = request.header("api-key", &self.inklink_key).json(&json!({"url": url})).send().await?;
        response.error_for_status()?;
        Ok(())
    }

    /// Publishes one event; returns its id as InkLink's `webhook-id` shows it.
    pub async fn publish(&self, data: Value) -> anyhow::Result<String> {
        let request = self.http.post(format!("{}/api/v1/events", self.url)).header("x-api-key", &self.key);
        let body = json!({"type": "kyc.result.approved", "data": data});
        let answer: Value = request.json(&body).send().await?.error_for_status()?.json().await?;
        Ok(format!("wh_{}", answer["id"].as_str().context("an id")?))
    }

    /// Publishes `count` events at once.
    pub async fn publish_batch(&self, count: usize, batch: usize) -> anyhow::Result<()> {
        let event = |n: usize| json!({"type": "kyc.result.approved", "data": {"inquiry_id": format!("kyc_{batch}_{n}"), "subject_id": "user_123"}});
        let events: Vec<Value> = (0..count).map(event).collect();
        let request = self.http.post(format!("{}/api/v1/events/batch", self.url)).header("x-api-key", &self.key);
        request.json(&json!({"events": events})).send().await?.error_for_status()?;
        Ok(())
    }

    /// Waits until no job is left, which is when every attempt is recorded; returns `count`.
    pub async fn wait_until_recorded(&self, count: usize) -> anyhow::Result<usize> {
        for _ in 0..1000 {
            let out = Command::new(&self.program)
                .args(["admin", "jobs", "list", "--queue", "deliveries", "--limit", "1"])
                .env_clear()
                .env("DATABASE_URL", &self.database)
                .env("INKFLEET_LOG", "error")
                .output()
                .await?;
            if out.status.success() && out.stdout.is_empty() {
                return Ok(count);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("jobs remain")
    }

    /// The worker's resident memory in MB (`VmRSS`).
    pub fn worker_memory_mb(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.worker))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS")).context("VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("VmRSS")?.parse::<u64>()? / 1024)
    }

    /// Ends both processes and Postgres.
    pub async fn stop(self) -> anyhow::Result<()> {
        let running = self.running.lock().expect("no panic under the lock").take();
        let Some(Running { mut web, mut worker, cluster, .. }) = running else { return Ok(()) };
        web.kill().await?;
        worker.kill().await?;
        tokio::task::spawn_blocking(move || cluster.stop()).await??;
        Ok(())
    }
}
