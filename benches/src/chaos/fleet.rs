//! The processes of the program under test: two that serve and three that work, each behind a proxy of its own.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::Instant,
};

use super::{database::Database, evidence::since, proxy::Proxy};
use crate::program::Program;

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `inkfleet serve`.
    Web,
    /// `inkfleet work`.
    Worker,
}

/// How many of each.
pub const WEBS: usize = 2;
/// How many of each.
pub const WORKERS: usize = 3;
/// The line between two processes that had the same place.
const BEGINS: &str = "--- a process begins";
/// What it says when it has begun.
const BEGUN: [&str; 2] = [" working worker.name", " serving address"];
/// A worker gets its jobs done in this time after SIGTERM: the longest time-out of a dialect is ten seconds.
const ENDS_WITHIN: Duration = Duration::from_secs(35);

/// A place for a process: it keeps its port, its proxy and its log when the process is another.
#[derive(Debug)]
pub struct Member {
    /// What it does.
    pub role: Role,
    /// `web-1`, `worker-3`.
    pub name: String,
    /// Where it answers.
    pub port: u16,
    /// Its way to Postgres.
    pub proxy: Proxy,
    /// Its standard error, over all processes that had the place.
    pub log: PathBuf,
    /// Where the present process begins there.
    began: u64,
    program: Program,
    child: Option<Child>,
}

impl Member {
    /// A place without a process. `base` has the settings that all share.
    pub async fn new(
        role: Role,
        number: usize,
        database: &Database,
        name: &str,
        base: &Program,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let word = if role == Role::Web { "web" } else { "worker" };
        let proxy = Proxy::start(database.port).await?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let program = base.clone().with("DATABASE_URL", database.url(proxy.port, name));
        let program = match role {
            Role::Web => program.with("PORT", port),
            Role::Worker => program.with("INKFLEET_WORKER_PROBES", format!("127.0.0.1:{port}")),
        };
        let name = format!("{word}-{number}");
        let log = dir.join(format!("{name}.log"));
        Ok(Self { role, name, port, proxy, log, began: 0, program, child: None })
    }

    /// Starts a process with more in its environment, if there is none.
    pub fn start(&mut self, more: &[(&str, String)]) -> anyhow::Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        writeln!(log, "{BEGINS}")?;
        self.began = self.mark();
        let plain = self.program.command(&[if self.role == Role::Web { "serve" } else { "work" }]);
        let plain = plain.as_std();
        // It goes with this program, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(plain.get_program()).args(plain.get_args()).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.envs(more.iter().map(|(name, value)| (*name, value.as_str())));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        self.child = Some(command.spawn().context("setpriv (package util-linux)")?);
        Ok(())
    }

    /// The process's id, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Sends a signal.
    pub async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.pid().with_context(|| format!("{} does not run", self.name))?;
        ensure!(
            Command::new("kill").args([signal, &pid.to_string()]).status().await?.success(),
            "kill {signal} failed"
        );
        Ok(())
    }

    /// SIGKILL, and the end; returns the process's id.
    pub async fn kill(&mut self) -> anyhow::Result<u32> {
        let mut child = self.child.take().with_context(|| format!("{} does not run", self.name))?;
        let pid = child.id().context("it has an id until it is waited for")?;
        child.kill().await?;
        Ok(pid)
    }

    /// SIGTERM; the handle waits for the end.
    pub async fn terminate(&mut self) -> anyhow::Result<Ending> {
        // A process that has not come so far as to look for signals is ended by any.
        let end = Instant::now() + Duration::from_secs(2);
        while !BEGUN.iter().any(|line| since(&self.log, self.began).contains(line)) && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.signal("-TERM").await?;
        let child = self.child.take().context("it was signalled just now")?;
        Ok(Ending { child, name: self.name.clone() })
    }

    /// Waits for the end of a process that was told to end, which must be a good one.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        let child = self.child.take().with_context(|| format!("{} does not run", self.name))?;
        Ending { child, name: self.name.clone() }.wait().await.map(drop)
    }

    /// Whether a process that should run has ended by itself.
    pub fn check(&mut self) -> anyhow::Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            bail!("{} ended by itself: {status}", self.name);
        }
        Ok(())
    }

    /// How many sessions the present process says that it took over.
    pub fn reaped_by_the_log(&self) -> f64 {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let present = log.rsplit(BEGINS).next().unwrap_or_default();
        let lines = present.lines().filter(|line| line.contains("took over the jobs"));
        let count = |line: &str| line.split("sessions=").nth(1)?.split(' ').next()?.parse::<f64>().ok();
        lines.filter_map(count).sum()
    }

    /// The log's present end.
    pub fn mark(&self) -> u64 {
        fs::metadata(&self.log).map(|log| log.len()).unwrap_or(0)
    }

    /// The status and the body of `/readyz`.
    pub async fn ready(&self, http: &reqwest::Client) -> anyhow::Result<(u16, Value)> {
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        let answer = http.get(url).timeout(Duration::from_secs(5)).send().await?;
        Ok((answer.status().as_u16(), answer.json().await.unwrap_or_default()))
    }

    /// Waits until it is ready and sees `workers` worker processes.
    pub async fn wait_until_ready(
        &self,
        http: &reqwest::Client,
        workers: usize,
        within: Duration,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + within;
        let mut last = String::new();
        while Instant::now() < end {
            match self.ready(http).await {
                Ok((200, body)) if body["workers"] == workers => return Ok(()),
                Ok((status, body)) => last = format!("{status} {body}"),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        bail!("{} is not ready with {workers} workers after {within:?}: {last}", self.name)
    }

    /// The sum of a metric's values, if it is shown.
    pub async fn metric(&self, http: &reqwest::Client, name: &str) -> anyhow::Result<Option<f64>> {
        let url = format!("http://127.0.0.1:{}/metrics", self.port);
        let text = http.get(url).timeout(Duration::from_secs(5)).send().await?.text().await?;
        let values: Vec<f64> = text
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        Ok((!values.is_empty()).then(|| values.iter().sum()))
    }
}

/// A process that was told to end.
pub struct Ending {
    child: Child,
    name: String,
}

impl Ending {
    /// Waits for the end, which must be a good one.
    pub async fn wait(mut self) -> anyhow::Result<ExitStatus> {
        let status = tokio::time::timeout(ENDS_WITHIN, self.child.wait()).await;
        let status = status.with_context(|| format!("{} does not end after SIGTERM", self.name))??;
        ensure!(status.success(), "{} ended badly after SIGTERM: {status}", self.name);
        Ok(status)
    }
}
