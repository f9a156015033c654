//! A connection of one's own, for those who ask the queue all the time.
//!
//! It costs one round trip per question, where a pool adds one for every return, and it is given up as soon as an answer
//! fails or does not come: a half-open connection would keep silent for a quarter of an hour.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};
use tokio::time::Instant;

// After this time no statement whose answer was lost is running any more: the server ends it before.
pub use crate::store::ANSWER;
use crate::store::{ASK_AFTER, WELL, within};

/// How long a statement may run on the server, as Postgres writes it, and how long its answer may take.
const STATEMENT: &str = "10s";

/// A connection that is opened when it is needed.
#[derive(Debug)]
pub struct Line {
    pool: PgPool,
    conn: Option<PgConnection>,
    used: Instant,
    flush: bool,
    new: bool,
}

impl Line {
    /// A line with the connections of `pool`.
    pub fn new(pool: PgPool) -> Self {
        Self { pool, conn: None, used: Instant::now(), flush: true, new: true }
    }

    /// The same line for claims: they do not wait until Postgres has flushed them. A server that crashes may forget claims
    /// of the last instant, and then their jobs run again, which they would have to do anyway: whatever records the effect
    /// of a job is flushed, and with it the claim that went before.
    #[must_use]
    pub fn for_claims(mut self) -> Self {
        self.flush = false;
        self
    }

    /// The answer to `question`, or an error within [`ANSWER`]; after an error, or where nobody waited for the answer, the
    /// next question has a new connection.
    pub async fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let (answer, conn) = within(ANSWER, async {
            let mut conn = self.open().await?;
            Ok((question(&mut conn).await?, conn))
        })
        .await?;
        self.conn = Some(conn);
        Ok(answer)
    }

    /// The same for a `question` of several statements that may take as long as `most` in all, and itself gives up those
    /// that are not answered within [`ANSWER`].
    pub async fn ask_for<T>(
        &mut self,
        most: Duration,
        question: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut conn = within(ANSWER, self.open()).await?;
        let answer = within(most, question(&mut conn)).await?;
        self.conn = Some(conn);
        Ok(answer)
    }

    /// The open connection, which belongs to the question from now on: with whatever it may still be waiting for, it is given
    /// up unless it comes back. One that was not used for a while is asked first whether it is still well.
    async fn open(&mut self) -> Result<PgConnection, sqlx::Error> {
        let mut known = self.conn.take();
        if let Some(conn) = &mut known
            && self.used.elapsed() >= ASK_AFTER
            && within(WELL, conn.ping()).await.is_err()
        {
            known = None;
        }
        self.used = Instant::now();
        self.new = known.is_none();
        if let Some(conn) = known {
            return Ok(conn);
        }
        let mut conn = self.pool.acquire().await?.detach();
        let flush = if self.flush { "" } else { "; set synchronous_commit = off" };
        conn.execute(AssertSqlSafe(format!("set statement_timeout = '{STATEMENT}'{flush}"))).await?;
        Ok(conn)
    }

    /// Whether the connection was opened for the last question. An older one may have broken while nobody looked, which
    /// says nothing of Postgres.
    pub fn is_new(&self) -> bool {
        self.new
    }
}
