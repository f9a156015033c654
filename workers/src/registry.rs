//! Which function handles which kind of job: one line each, checked at the start.

use std::{any::Any, collections::HashMap, future::Future, panic::AssertUnwindSafe, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::{JobId, OrgId};
use futures::{FutureExt, future::BoxFuture};
use jobs::{
    job::{Job, Queue, backoff},
    queue::{Claimed, Ended, Ending},
    schedule,
    store::{ANSWER, within},
};

use serde_json::value::RawValue;

use crate::context::Context;

/// How a handler ends. An error (`?`) means: again later, with backoff.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The work is done.
    Done,
    /// The work is no longer wanted, for this reason.
    Cancel(String),
    /// Not now: again at that time, without counting the attempt.
    Snooze(DateTime<Utc>),
    /// The handler ended the job itself, in the transaction that holds its effect.
    Recorded,
}

/// What a handler knows of the run besides its payload.
#[derive(Debug, Clone)]
pub struct Run {
    /// The job.
    pub job_id: JobId,
    /// Whose it is.
    pub org_id: OrgId,
    /// What guards the ending of this run.
    pub key: jobs::queue::JobKey,
    /// Which start this is, from 1.
    pub attempt: i16,
    /// The request that caused it.
    pub request_id: Option<String>,
}

type Handled = BoxFuture<'static, Result<Outcome, Failure>>;

enum Failure {
    /// Runs again later.
    Temporary(anyhow::Error),
    /// The stored payload cannot be read by this version.
    Unreadable(serde_json::Error),
}

struct Entry {
    queue: Queue,
    timeout: Duration,
    history: bool,
    decode: fn(serde_json::Value) -> Result<(), serde_json::Error>,
    handle: Box<dyn Fn(Context, Box<RawValue>, Run) -> Handled + Send + Sync>,
}

/// The handlers by kind.
pub struct Registry {
    entries: HashMap<&'static str, Entry>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}

impl Registry {
    /// Every handler of the program.
    ///
    /// # Panics
    /// When a kind is registered twice, or a kind of [`jobs::KINDS`] has no handler: a mistake in the program, found at
    /// its first start.
    pub fn complete() -> Self {
        Self::empty()
            .on(crate::alert::check)
            .on(crate::billing::backfill)
            .on(crate::billing::sync)
            .on(crate::billing::sync_customer)
            .on(crate::billing::take)
            .on(crate::delivery::attempt)
            .on(crate::digest::send)
            .on(crate::digest::sweep)
            .on(crate::dunning::remind)
            .on(crate::dunning::sweep)
            .on(crate::endpoint::check)
            .on(crate::expiry::expire)
            .on(crate::housekeeping::keep)
            .on(crate::import::run)
            .on(crate::link_health::ask)
            .on(crate::link_health::sweep)
            .on(crate::mail::send)
            .on(crate::marketing::send)
            .on(crate::marketing::start)
            .on(crate::notification::deliver)
            .on(crate::own_domain::verify)
            .on(crate::plan::audit)
            .on(crate::plan::audit_all)
            .on(crate::replay::run)
            .on(crate::session_key::fetch)
            .on(crate::trial::remind)
            .on(crate::trial::sweep)
            .on(crate::visit::count)
            .covering(&jobs::KINDS)
    }

    /// No handler.
    pub fn empty() -> Self {
        Self { entries: HashMap::new() }
    }

    /// The same, if it has a handler for each of `kinds`.
    ///
    /// # Panics
    /// When one is missing.
    #[must_use]
    pub fn covering(self, kinds: &[&str]) -> Self {
        for kind in kinds {
            assert!(self.entries.contains_key(kind), "the kind {kind} has no handler");
        }
        self
    }

    /// Registers the handler of the kind `J`.
    ///
    /// # Panics
    /// When the kind has one already.
    #[must_use]
    pub fn on<J, F, Fut>(mut self, handler: F) -> Self
    where
        J: Job,
        F: Fn(Context, J, Run) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<Outcome>> + Send + 'static,
    {
        let entry = Entry {
            queue: J::QUEUE,
            timeout: J::TIMEOUT,
            history: J::HISTORY,
            decode: |payload| serde_json::from_value::<J>(payload).map(drop),
            handle: Box::new(move |context, payload, run| {
                Box::pin(async move {
                    let job: J = serde_json::from_str(payload.get()).map_err(Failure::Unreadable)?;
                    handler(context, job, run).await.map_err(Failure::Temporary)
                })
            }),
        };
        assert!(self.entries.insert(J::KIND, entry).is_none(), "the kind {} is registered twice", J::KIND);
        self
    }

    /// Whether a stored payload of a kind can be read; `None` if the kind has no handler.
    pub fn decode(&self, kind: &str, payload: serde_json::Value) -> Option<Result<(), serde_json::Error>> {
        self.entries.get(kind).map(|entry| (entry.decode)(payload))
    }

    /// The kinds of one queue, for the operator.
    pub fn kinds(&self, queue: Queue) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.entries.iter().filter(|(_, e)| e.queue == queue).map(|(kind, _)| *kind).collect();
        kinds.sort_unstable();
        kinds
    }

    /// Runs one job and says what becomes of it; `None` when the handler has ended it already. A panic is a retry.
    pub async fn run(&self, context: &Context, job: Claimed) -> Option<Ended> {
        let (started, started_at) = (tokio::time::Instant::now(), context.clock.now());
        let key = job.key();
        // Of what this program does not know, the name is not to become a label of the metrics.
        let kind = self.entries.get_key_value(job.kind.as_str()).map_or("unknown", |(kind, _)| *kind);
        let request_id = job.request_id.clone();
        let (ending, history) = self.decide(context, job).await;
        let outcome = match &ending {
            None => "recorded",
            Some(Ending::Done) => "done",
            Some(Ending::Cancelled(_)) => "cancelled",
            Some(Ending::Retry(..)) => "retry",
            Some(Ending::Snooze(_)) => "snooze",
            Some(Ending::Dead(_)) => "dead",
        };
        metrics::counter!("inkfleet_jobs_total", "kind" => kind, "outcome" => outcome).increment(1);
        let took_ms = started.elapsed().as_millis() as u64;
        if schedule::entry(kind).is_some() {
            let reason = match &ending {
                Some(Ending::Cancelled(reason) | Ending::Retry(_, reason) | Ending::Dead(reason)) => {
                    Some(reason.as_str())
                }
                _ => None,
            };
            let took = TimeDelta::milliseconds(took_ms.try_into().unwrap_or(i64::MAX / 2));
            let run =
                schedule::run::Ended { kind, job_id: key.id, attempt: key.attempt, started_at, took, outcome, reason };
            note(context, &run).await;
        }
        match &ending {
            Some(Ending::Retry(at, error)) => tracing::warn!(
                job.id = %key.id, job.kind = kind, job.attempt = key.attempt, request_id, took_ms, retry_at = %at, error,
                "job failed and runs again"
            ),
            Some(Ending::Dead(error)) => tracing::error!(
                job.id = %key.id, job.kind = kind, job.attempt = key.attempt, request_id, took_ms, error,
                "job is dead: see `inkfleet admin jobs`"
            ),
            _ => {
                tracing::debug!(job.id = %key.id, job.kind = kind, job.attempt = key.attempt, request_id, took_ms, outcome)
            }
        }
        ending.map(|ending| Ended { job: key, ending, history })
    }

    async fn decide(&self, context: &Context, job: Claimed) -> (Option<Ending>, bool) {
        let (key, last) = (job.key(), job.attempt >= job.max_attempts);
        let again = |error| match last {
            true => Ending::Dead(error),
            false => {
                let wait = backoff(key.attempt, context.chance.unit());
                Ending::Retry(context.clock.now() + chrono::TimeDelta::from_std(wait).unwrap_or_default(), error)
            }
        };
        let Some(entry) = self.entries.get(job.kind.as_str()) else {
            // A newer program stored it, and one of its workers may be up soon.
            return (Some(again(format!("no handler for the kind {}: an older program?", job.kind))), true);
        };
        let run = Run { job_id: job.id, org_id: job.org_id, key, attempt: job.attempt, request_id: job.request_id };
        let work = tokio::time::timeout(entry.timeout, (entry.handle)(context.clone(), job.payload, run));
        // A panic ends here, and the job runs again.
        let error = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(Ok(Outcome::Recorded))) => return (None, entry.history),
            Ok(Ok(Ok(Outcome::Done))) => return (Some(Ending::Done), entry.history),
            Ok(Ok(Ok(Outcome::Cancel(reason)))) => return (Some(Ending::Cancelled(reason)), entry.history),
            Ok(Ok(Ok(Outcome::Snooze(at)))) => return (Some(Ending::Snooze(at)), entry.history),
            Ok(Ok(Err(Failure::Unreadable(error)))) => {
                return (Some(Ending::Dead(format!("the payload does not decode: {error}"))), true);
            }
            Ok(Ok(Err(Failure::Temporary(error)))) => format!("{error:#}"),
            Ok(Err(_)) => format!("took longer than {} s", entry.timeout.as_secs()),
            Err(panic) => format!("panicked: {}", panic_text(panic)),
        };
        (Some(again(error)), entry.history)
    }
}

/// Notes for operators how scheduled work ran. That it cannot be noted is no failure of the work.
async fn note(context: &Context, run: &schedule::run::Ended<'_>) {
    let noted = async { schedule::run::note(&mut *context.store.pool().acquire().await?, run).await };
    if let Err(error) = within(ANSWER, noted).await {
        tracing::debug!(%error, kind = run.kind, "how scheduled work ran was not noted");
    }
}

fn panic_text(panic: Box<dyn Any + Send>) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}
