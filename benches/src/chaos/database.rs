//! A durable Postgres of the rounds' own: it can crash, and its clock can be stepped forward.
//!
//! The program follows Postgres's clock, so a retry that is due in two hours comes within a second once that clock is two
//! hours further. libfaketime reads the step from a file; the monotonic clock stays as it is.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use inkfleet::postgres::{Cluster, Options};
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::Instant,
};

/// As a development cluster has them, and three of the rounds' own: few connections, so that they can be used up, and the
/// commits' times, which put recorded attempts in their order.
const SETTINGS: [&str; 10] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "timezone=UTC",
    "log_timezone=UTC",
    "logging_collector=off",
    "log_line_prefix=%m [%p] %a ",
    "max_connections=100",
    "track_commit_timestamp=on",
];
/// How long a start may take, recovery included.
const START_WITHIN: Duration = Duration::from_secs(30);

/// The server.
pub struct Database {
    dir: TempDir,
    data: PathBuf,
    binary: PathBuf,
    faketime: PathBuf,
    /// On 127.0.0.1, the same over restarts.
    pub port: u16,
    password: String,
    offset_s: i64,
    server: Option<Child>,
}

impl Database {
    /// Makes a cluster and starts it. `faketime` is the library.
    pub async fn start(faketime: PathBuf) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        // The server's account must get through to its files.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let home = dir.path().join("postgres");
        let cluster = tokio::task::spawn_blocking({
            let home = home.clone();
            move || Cluster::start(&home, Options { durable: true })
        })
        .await??;
        let data = cluster.home().join("data");
        let pid = fs::read_to_string(data.join("postmaster.pid"))?;
        let binary = fs::read_link(format!("/proc/{}/exe", pid.lines().next().context("a pid")?))?;
        let password = fs::read_to_string(cluster.home().join("password"))?.trim().to_owned();
        let port = cluster.port();
        tokio::task::spawn_blocking(move || cluster.stop()).await??;
        let mut database = Self { dir, data, binary, faketime, port, password, offset_s: 0, server: None };
        database.begin().await?;
        Ok(database)
    }

    /// Starts the server and waits until it takes connections.
    pub async fn begin(&mut self) -> anyhow::Result<()> {
        self.write_clock()?;
        let owner = fs::metadata(&self.data)?;
        // The server goes with this program, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "QUIT"]);
        if fs::metadata(self.dir.path())?.uid() != owner.uid() {
            command
                .args([format!("--reuid={}", owner.uid()), format!("--regid={}", owner.gid())])
                .arg("--clear-groups");
        }
        // Behind the change of account, because the library makes a semaphore of its own.
        command
            .arg("env")
            .args(self.faked())
            .arg(&self.binary)
            .arg("-D")
            .arg(&self.data)
            .args(["-p", &self.port.to_string()]);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.server = Some(command.spawn().context("setpriv (package util-linux)")?);
        let end = Instant::now() + START_WITHIN;
        loop {
            if let Ok(conn) = self.connect("postgres").await {
                conn.close().await?;
                return Ok(());
            }
            if Instant::now() > end || self.server.as_mut().is_some_and(|server| !matches!(server.try_wait(), Ok(None)))
            {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                bail!("Postgres does not start; its last words, backwards: {}", last.join(" / "));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What makes a program read its clock from the file, at every look.
    fn faked(&self) -> [String; 4] {
        [
            format!("LD_PRELOAD={}", self.faketime.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.clock_file().display()),
            "FAKETIME_NO_CACHE=1".into(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
        ]
    }

    /// What puts a program on a machine whose wall clock is `seconds` off.
    pub fn skewed(&self, seconds: i64) -> [(&'static str, String); 3] {
        [
            ("LD_PRELOAD", self.faketime.display().to_string()),
            ("FAKETIME", format!("{seconds:+}s")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// SIGINT: the clean way.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.end("-INT").await
    }

    /// SIGQUIT: what `pg_ctl -m immediate` does, and as good as a crash.
    pub async fn crash(&mut self) -> anyhow::Result<()> {
        self.end("-QUIT").await
    }

    async fn end(&mut self, signal: &str) -> anyhow::Result<()> {
        let mut server = self.server.take().context("it runs")?;
        let pid = server.id().context("it runs")?;
        let sent = Command::new("kill").args([signal, &pid.to_string()]).status().await?;
        ensure!(sent.success(), "the postmaster is gone");
        server.wait().await?;
        Ok(())
    }

    /// How far its clock is before the machine's, in seconds.
    pub fn offset_s(&self) -> i64 {
        self.offset_s
    }

    /// Sets how far its clock is before the machine's; it holds at once.
    pub fn set_offset(&mut self, seconds: i64) -> anyhow::Result<()> {
        self.offset_s = seconds;
        self.write_clock()
    }

    fn write_clock(&self) -> anyhow::Result<()> {
        // In one move, because every look at the clock reads the file.
        let new = self.dir.path().join("clock.new");
        fs::write(&new, format!("+{}", self.offset_s))?;
        Ok(fs::rename(new, self.clock_file())?)
    }

    fn clock_file(&self) -> PathBuf {
        self.dir.path().join("clock")
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("postgres.log")
    }

    /// The address of a database, as it is reached on `port` (its own, or a proxy's).
    pub fn url(&self, port: u16, database: &str) -> String {
        format!("postgres://inkfleet:{}@127.0.0.1:{port}/{database}", self.password)
    }

    /// A connection past every proxy.
    pub async fn connect(&self, database: &str) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect(&self.url(self.port, database)).await?)
    }

    /// Makes `name` as a copy of `template`, in place of one of that name.
    pub async fn copy(&self, template: &str, name: &str) -> anyhow::Result<()> {
        let mut conn = self.connect("postgres").await?;
        for statement in [
            format!("drop database if exists {name} with (force)"),
            format!("create database {name} template {template}"),
        ] {
            raw_sql(AssertSqlSafe(statement)).execute(&mut conn).await?;
        }
        Ok(())
    }

    /// Writes all of a database into a file of SQL.
    pub async fn dump(&self, database: &str, to: &Path) -> anyhow::Result<()> {
        let program = self.binary.with_file_name("pg_dump");
        let done = Command::new(program).arg("-f").arg(to).arg(self.url(self.port, database)).status().await?;
        ensure!(done.success(), "pg_dump failed");
        Ok(())
    }
}
