//! A database per story, copied from a migrated template on one server that the test process starts.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use chrono::{DateTime, TimeZone, Utc};
use inkfleet::{
    migrate,
    postgres::{Cluster, Options},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::sync::OnceCell;

/// When every story begins.
pub fn dawn() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 2, 12, 0, 0).single().expect("a moment that exists")
}

/// The server of this test process; it ends with the process. Runs at the same time have one each, because the end of one
/// would stop the other's.
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let dir = memory().unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    (1..)
        .map(|n| Cluster::start(&dir.join(format!("stories-postgres-{n}")), Options { durable: false }))
        .map(|cluster| cluster.expect("Postgres for the stories"))
        .find(|cluster| !cluster.is_borrowed())
        .expect("numbers do not end")
});

/// Where files are kept in memory, if there is room. A story makes and removes a thousand files with its database, which is most
/// of the time of a short one where they are on a disk.
fn memory() -> Option<PathBuf> {
    const SHARED: &str = "/dev/shm";
    const KIB_ENOUGH: u64 = 4 << 20;
    let free = Command::new("df").args(["-k", "--output=avail", SHARED]).output().ok()?;
    let free: u64 = String::from_utf8(free.stdout).ok()?.lines().nth(1)?.trim().parse().ok()?;
    // One for each checkout.
    let checkout = env!("CARGO_TARGET_TMPDIR").replace('/', "-");
    (free >= KIB_ENOUGH).then(|| Path::new(SHARED).join(format!("inkfleet{checkout}")))
}

static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static COUNT: AtomicU32 = AtomicU32::new(0);

async fn template() -> &'static String {
    TEMPLATE
        .get_or_init(|| async {
            let admin = tokio::task::spawn_blocking(|| CLUSTER.url()).await.expect("Postgres for the stories");
            let name = "template_story".to_owned();
            let mut conn = PgConnection::connect(&admin).await.expect("the stories' Postgres answers");
            // What an earlier run left behind: the server is this run's alone.
            let old: Vec<String> =
                sqlx::query_scalar("select datname from pg_database where datname ~ '(^|_)story(_|$)'")
                    .fetch_all(&mut conn)
                    .await
                    .expect("the list of databases");
            for old in old {
                let _ = conn.execute(AssertSqlSafe(format!("drop database if exists {old} with (force)"))).await;
            }
            conn.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("the template");
            migrate::run(&CLUSTER.url_of(&name), dawn()).await.expect("the migrations");
            name
        })
        .await
}

/// A database of one story, gone when dropped.
pub struct Database {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
}

impl Database {
    /// A fresh, migrated database with partitions for the week from [`dawn`].
    pub async fn new() -> Self {
        Self::like(template().await).await
    }

    /// A database with nothing in it.
    pub async fn empty() -> Self {
        template().await;
        Self::like("template0").await
    }

    async fn like(template: &str) -> Self {
        let name = format!("story_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut conn = PgConnection::connect(&CLUSTER.url()).await.expect("the stories' Postgres answers");
        let statement = format!("create database {name} template {template} strategy file_copy");
        conn.execute(AssertSqlSafe(statement)).await.expect("a database for the story");
        Self { url: CLUSTER.url_of(&name), name }
    }

    /// Has it removed, on a thread of its own, because a story's runtime may be gone. Nobody waits for that: Postgres waits
    /// for connections that are just being opened, and the story's runtime would not open them while its thread waits.
    pub fn remove(&self) {
        let (name, admin) = (self.name.clone(), CLUSTER.url());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                if let Ok(mut conn) = PgConnection::connect(&admin).await {
                    let _ = conn.execute(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).await;
                }
            });
        });
    }
}
