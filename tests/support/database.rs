//! A database per story, copied from a migrated template on one server that the test process starts.

use std::{
    path::Path,
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

/// The server of this test process; it ends with the process.
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stories-postgres");
    Cluster::start(&dir, Options { durable: false }).expect("Postgres for the stories")
});

static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static COUNT: AtomicU32 = AtomicU32::new(0);

async fn template() -> &'static String {
    TEMPLATE
        .get_or_init(|| async {
            let admin = tokio::task::spawn_blocking(|| CLUSTER.url()).await.expect("Postgres for the stories");
            let name = format!("template_{}", std::process::id());
            let mut conn = PgConnection::connect(&admin).await.expect("the stories' Postgres answers");
            // What an earlier run left behind.
            let old: Vec<String> = sqlx::query_scalar(
                "select datname from pg_database where datname like 'story_%' or datname like 'template\\_%'",
            )
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
        let template = template().await;
        let name = format!("story_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut conn = PgConnection::connect(&CLUSTER.url()).await.expect("the stories' Postgres answers");
        let statement = format!("create database {name} template {template} strategy file_copy");
        conn.execute(AssertSqlSafe(statement)).await.expect("a database for the story");
        Self { url: CLUSTER.url_of(&name), name }
    }

    /// Removes it; called from a plain thread, because a story's runtime may be gone.
    pub fn remove(&self) {
        let (name, admin) = (self.name.clone(), CLUSTER.url());
        let _ = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                if let Ok(mut conn) = PgConnection::connect(&admin).await {
                    let _ = conn.execute(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).await;
                }
            });
        })
        .join();
    }
}
