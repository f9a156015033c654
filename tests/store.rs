//! Connections: whoever goes away in the middle of anything leaves nothing behind for the next one.

use std::{str::FromStr, time::Duration};

use jobs::store::{Store, pool_options};
use sqlx::{Connection, PgConnection, PgPool, postgres::PgConnectOptions};

use crate::support::{database::Database, killed::die_after};

/// What is begun is given up at each of so many steps.
const STEPS: usize = 12;

/// Within this time a connection is back in its pool.
const IDLE: Duration = Duration::from_millis(20);

/// A pool as the program has it, with one connection, so that the next one gets what the last one left.
fn pool(database: &Database) -> PgPool {
    let options = PgConnectOptions::from_str(&database.url).unwrap();
    pool_options().max_connections(1).connect_lazy_with(options)
}

/// How many notes there are, by somebody else.
async fn notes(database: &Database) -> i64 {
    let mut conn = PgConnection::connect(&database.url).await.unwrap();
    sqlx::query_scalar("select count(*) from notes").fetch_one(&mut conn).await.unwrap()
}

#[tokio::test]
async fn who_goes_away_while_a_transaction_begins_takes_nothing_from_the_next_one() {
    let database = Database::new().await;
    let pool = pool(&database);
    sqlx::query("create table notes (n int)").execute(&pool).await.unwrap();
    let store = Store::new(pool.clone());
    for steps in 1..=STEPS {
        // Back in the pool, so that the first step is the one that begins.
        tokio::time::sleep(IDLE).await;
        die_after(steps, store.begin()).await;
        tokio::time::sleep(IDLE).await;
        sqlx::query("insert into notes values (1)").execute(&pool).await.unwrap();
        assert_eq!(notes(&database).await, steps as i64, "after {steps} steps");
    }
    pool.close().await;
    database.remove();
}

#[tokio::test]
async fn who_goes_away_while_rows_are_copied_leaves_no_answer_for_the_next_one() {
    let database = Database::new().await;
    let pool = pool(&database);
    sqlx::raw_sql("create table notes (n int); create table copies (n int)").execute(&pool).await.unwrap();
    for steps in 1..=STEPS {
        tokio::time::sleep(IDLE).await;
        let copy = async {
            let mut tx = pool.begin().await.unwrap();
            let mut copy = tx.copy_in_raw("copy copies from stdin").await.unwrap();
            copy.send("1\n2\n".as_bytes()).await.unwrap();
            copy.finish().await.unwrap();
            tx.commit().await.unwrap();
        };
        die_after(steps, copy).await;
        tokio::time::sleep(IDLE).await;
        let mut tx = pool.begin().await.unwrap_or_else(|error| panic!("after {steps} steps: {error}"));
        sqlx::query("insert into notes values ($1)").bind(1).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(notes(&database).await, steps as i64, "after {steps} steps");
    }
    pool.close().await;
    database.remove();
}
