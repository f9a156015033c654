//! Recording outlives a Postgres that goes away: the requests were made, and what is not recorded is asked again.
//!
//! A batch that fails for a reason of its own is recorded one by one, so that a single bad record holds up no other.

use std::{sync::Arc, time::Duration};

use domain::{chance::Chance, clock::Clock};
use jobs::{batch::BatchError, line::Line, store::Store};
use sqlx::PgConnection;
use tokio::sync::Mutex;

use super::record::{Record, record};
use crate::endpoint::Writer;

/// The first wait for Postgres; doubled up to the second.
const WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The classes and codes (SQLSTATE) of errors that pass by themselves: connection lost, a transaction that was left alone,
/// log-in refused while the server changes, read-only after a fail-over, deadlock, no resources, lock not available, shut
/// down or starting, system error.
const PASSING: [&str; 9] = ["08", "25P03", "28", "25006", "40", "53", "55P03", "57P", "58"];

/// What recording needs.
#[derive(Debug, Clone)]
pub struct Recorder {
    /// The database.
    pub store: Store,
    /// A connection with pinned plans. Batches come one at a time, so nobody waits for the lock.
    pub line: Arc<Mutex<Line>>,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    /// Where this installation is reached, for mails.
    pub public_url: Arc<str>,
    /// How many days deliveries are kept, for mails.
    pub held_days: u32,
}

impl Recorder {
    /// Records `records`, together if possible; the answers come in the same order.
    pub async fn record(&self, records: Vec<Record>) -> Vec<Result<(), BatchError>> {
        if self.until_taken(&records).await.is_ok() {
            return records.iter().map(|_| Ok(())).collect();
        }
        let mut answers = Vec::with_capacity(records.len());
        for record in records.chunks(1) {
            let taken = self.until_taken(record).await;
            answers.push(taken.map_err(|error| BatchError(Arc::from(format!("the attempt is not recorded: {error}")))));
        }
        answers
    }

    /// Tries until Postgres takes the records or refuses them for good. A repetition after a commit whose answer was
    /// lost finds the jobs ended and records nothing.
    async fn until_taken(&self, records: &[Record]) -> Result<(), sqlx::Error> {
        let (mut wait, mut line) = (WAIT.0, self.line.lock().await);
        loop {
            let recording = async |conn: &mut PgConnection| {
                let (public_url, held_days) = (&*self.public_url, self.held_days);
                let writer = Writer { public_url, held_days, now: self.clock.now(), chance: &self.chance };
                record(&self.store, conn, records, writer).await
            };
            match line.ask(recording).await {
                Err(error) if passes(&error) => {
                    tracing::debug!(%error, waiting = records.len(), "attempts wait for Postgres");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAIT.1);
                }
                decided => return decided,
            }
        }
    }
}

/// Whether the same statement may succeed later.
fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| PASSING.iter().any(|passing| code.starts_with(passing)))
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}
