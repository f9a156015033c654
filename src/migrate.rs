//! Bringing the schema up to date.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection, migrate::Migrator};

/// The numbered migrations, part of the program.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Applies what is missing and makes the partitions of the days around `now`. Safe beside other processes that do the
/// same: Postgres lets one of them through at a time.
pub async fn run(url: &str, now: DateTime<Utc>) -> anyhow::Result<()> {
    let mut conn = PgConnection::connect(url).await.context("DATABASE_URL: Postgres does not answer")?;
    MIGRATIONS.run(&mut conn).await.context("the migrations")?;
    domain::partition::ensure(&mut conn, now).await.context("the partitions")?;
    conn.close().await?;
    Ok(())
}
