//! The program under test, as processes of their own over a Postgres of its own.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use inkfleet::postgres::{Cluster, Options};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// 32 bytes in base64, for this run only.
pub const SECRET_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// The stories' issuer key.
const SESSION_KEY: &str = include_str!("../../tests/support/keys/session.pem");
/// The e-mail address of the owner that [`Program::organisation`] makes.
const OWNER: &str = "owner@bench.example";

/// A Postgres with its default durability, `pg_stat_statements` loaded, gone with its directory when dropped.
#[derive(Debug)]
pub struct Postgres {
    cluster: Option<Cluster>,
    dir: TempDir,
}

impl Postgres {
    /// Starts one in a directory of its own. A server is started twice, because the library needs a restart.
    pub async fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut postgres = Self { cluster: None, dir };
        postgres.begin().await?;
        let mut conn = postgres.connect().await?;
        sqlx::raw_sql("alter system set shared_preload_libraries = 'pg_stat_statements'").execute(&mut conn).await?;
        drop(conn);
        postgres.restart().await?;
        sqlx::raw_sql("create extension pg_stat_statements").execute(&mut postgres.connect().await?).await?;
        Ok(postgres)
    }

    async fn begin(&mut self) -> anyhow::Result<()> {
        let home = self.home();
        let start = tokio::task::spawn_blocking(move || Cluster::start(&home, Options { durable: true }));
        self.cluster = Some(start.await??);
        Ok(())
    }

    /// Stops and starts it; the port may change.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        if let Some(cluster) = self.cluster.take() {
            tokio::task::spawn_blocking(move || cluster.stop()).await??;
        }
        self.begin().await
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("postgres")
    }

    /// The address of its database, for the account that may do everything.
    pub fn url(&self) -> String {
        self.cluster.as_ref().expect("it runs between begin and stop").url()
    }

    /// The address of another database.
    pub fn url_of(&self, database: &str) -> String {
        self.cluster.as_ref().expect("it runs between begin and stop").url_of(database)
    }

    /// A connection to its database.
    pub async fn connect(&self) -> anyhow::Result<sqlx::PgConnection> {
        Ok(<sqlx::PgConnection as sqlx::Connection>::connect(&self.url()).await?)
    }

    /// The postmaster's process id.
    pub fn pid(&self) -> anyhow::Result<u32> {
        // The home may be elsewhere if the directory cannot be given to the server's account.
        let home = self.cluster.as_ref().context("it runs")?.home().to_owned();
        let text = std::fs::read_to_string(home.join("data/postmaster.pid"))?;
        Ok(text.lines().next().context("the first line is the pid")?.parse()?)
    }
}

/// How to run the program: the binary, its database and its settings.
#[derive(Debug, Clone)]
pub struct Program {
    binary: PathBuf,
    settings: Vec<(String, String)>,
}

/// A caller's keys.
#[derive(Debug, Clone)]
pub struct Keys {
    /// For Inkode's surface and event intake, as `x-api-key`.
    pub ink: String,
    /// A session of the owner, as a bearer token.
    pub session: String,
}

impl Program {
    /// The release build that `INKFLEET` names, over the database at `url`, with loopback receivers allowed.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "bin/bench names the program under test")]
        let binary = std::env::var("INKFLEET").context("INKFLEET must name the release build: use bin/bench")?;
        let settings = [
            ("DATABASE_URL", url),
            ("INKFLEET_SECRET_KEY", SECRET_KEY),
            ("INKFLEET_SESSION_SIGNING_KEY", SESSION_KEY),
            ("INKFLEET_ALLOW_PRIVATE_TARGETS", "true"),
            ("INKFLEET_ALLOW_HTTP_TARGETS", "true"),
            ("INKFLEET_LOG", "error"),
            ("INKFLEET_RATE_LIMIT_PER_SECOND", "100000"),
            ("INKFLEET_RATE_LIMIT_BURST", "100000"),
            ("BIND", "127.0.0.1"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Ok(Self { binary: binary.into(), settings })
    }

    /// The same with one setting more, or another.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.retain(|(n, _)| n != name);
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// A command of the program, in an environment of its settings alone, killed when its handle is dropped.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words).env_clear().envs(self.settings.iter().cloned()).kill_on_drop(true);
        command
    }

    /// Runs a command to its end; the JSON objects of its answer, one per line.
    pub async fn run(&self, words: &[&str]) -> anyhow::Result<Vec<Value>> {
        let out = self.command(words).stderr(Stdio::inherit()).output().await?;
        if !out.status.success() {
            bail!("inkfleet {} failed", words.join(" "));
        }
        Ok(String::from_utf8(out.stdout)?.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Makes an organisation with an owner and their keys.
    pub async fn organisation(&self, slug: &str) -> anyhow::Result<Keys> {
        let email = format!("{slug}-{OWNER}");
        self.run(&["admin", "create-org", "--slug", slug, "--plan", "enterprise"]).await?;
        self.run(&["admin", "create-user", "--org", slug, "--email", &email, "--role", "owner"]).await?;
        let key = async |prefix: &str| -> anyhow::Result<String> {
            let words = ["admin", "create-key", "--org", slug, "--email", &email, "--prefix", prefix];
            field(&self.run(&words).await?, "key")
        };
        let words = ["admin", "create-session", "--org", slug, "--email", &email, "--minutes", "600"];
        let session = field(&self.run(&words).await?, "session")?;
        Ok(Keys { ink: key("ink").await?, session })
    }

    /// Starts a web process on `port` and waits until it is ready.
    pub async fn serve(&self, port: u16) -> anyhow::Result<Process> {
        let child = self.clone().with("PORT", port).command(&["serve"]).spawn()?;
        let process = Process(child);
        wait_until_ready(&format!("http://127.0.0.1:{port}")).await?;
        Ok(process)
    }

    /// Starts a worker process; it may take a moment until it works.
    pub fn work(&self) -> anyhow::Result<Process> {
        Ok(Process(self.command(&["work"]).spawn()?))
    }
}

fn field(answer: &[Value], name: &str) -> anyhow::Result<String> {
    let value = answer.first().and_then(|object| object[name].as_str());
    Ok(value.with_context(|| format!("no {name} in the answer"))?.to_owned())
}

/// A client for the program under test.
pub fn client() -> anyhow::Result<reqwest::Client> {
    #[expect(clippy::disallowed_methods, reason = "the bench's own client, to the program under test")]
    let builder = reqwest::Client::builder();
    Ok(builder.no_proxy().build()?)
}

/// Waits until `/readyz` at `url` says ready.
pub async fn wait_until_ready(url: &str) -> anyhow::Result<()> {
    let http = client()?;
    for _ in 0..400 {
        if let Ok(response) = http.get(format!("{url}/readyz")).send().await
            && response.status().is_success()
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    bail!("{url} is not ready after ten seconds")
}

/// A process of the program. Dropped, it is killed.
#[derive(Debug)]
pub struct Process(pub Child);

impl Process {
    /// Its id while it runs.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.0.id().context("it has ended")
    }

    /// SIGTERM, and the end.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        Command::new("kill").args(["-TERM", &self.pid()?.to_string()]).status().await?;
        self.0.wait().await?;
        Ok(())
    }

    /// Resident memory in MB (`VmRSS`).
    pub fn memory_mb(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS")).context("VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("VmRSS")?.parse::<f64>()? / 1024.0)
    }
}

/// The processor time of a process and of its children that have ended, in seconds (`/proc/…/stat`).
pub fn cpu_s(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name stands in parentheses and may hold anything; the numbers follow.
    let after = stat.rsplit_once(") ").context("/proc/…/stat has a name")?.1;
    let fields: Vec<&str> = after.split(' ').collect();
    let ticks: u64 = [11, 12, 13, 14].iter().filter_map(|n| fields[*n].parse::<u64>().ok()).sum();
    Ok(ticks as f64 / 100.0)
}

/// The processor time of a process and all below it, ended ones included, in seconds.
pub fn tree_cpu_s(pid: u32) -> anyhow::Result<f64> {
    let mut sum = cpu_s(pid)?;
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
        // A child that ends between the two reads is counted with its parent at the next look.
        sum += tree_cpu_s(child).unwrap_or(0.0);
    }
    Ok(sum)
}
