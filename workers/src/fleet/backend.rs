//! Our queue as an apalis [`Backend`].
//!
//! The [`claimer`](super::claimer) has already taken the jobs and a place for each, so the backend only hands them over:
//! nothing waits here behind anything else. Outcomes go back through the completer, not through a layer, because one
//! place turns an outcome into a row change.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    layers::Identity,
    task::Task,
    worker::context::WorkerContext,
};
use jobs::queue::{Claimed, JobKey};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// The runs that a claimer has handed out and whose outcomes are not stored yet. Runs and not jobs: one that was put off
/// for a moment may be claimed anew before this process hears that its first run is stored.
pub type Held = Arc<Mutex<HashSet<JobKey>>>;

/// A place among the running jobs, and for bulk work one among that.
pub type Place = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// A claimed job and its place.
#[derive(Debug)]
pub struct Slot(Box<(Claimed, Place, Hold)>);

/// That a run is held; to be dropped when its outcome is stored.
#[derive(Debug)]
pub struct Hold(JobKey, Held);

impl Slot {
    /// A job with the place that the claimer took for it, among those that are `held`; `None` when this very run is held
    /// already: a crash of Postgres forgot its claim, and now it is claimed again.
    pub fn new(job: Claimed, place: Place, held: &Held) -> Option<Self> {
        let new = held.lock().expect("no panic under the lock").insert(job.key());
        new.then(|| {
            let hold = Hold(job.key(), held.clone());
            Self(Box::new((job, place, hold)))
        })
    }

    /// The job, the place to be dropped when its work is over, and the hold.
    pub fn take(self) -> (Claimed, Place, Hold) {
        *self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.1.lock().expect("no panic under the lock").remove(&self.0);
    }
}

/// The jobs that a claimer takes, as apalis wants to see them.
#[derive(Debug, Clone)]
pub struct JobSource(Arc<Mutex<mpsc::Receiver<Slot>>>);

impl JobSource {
    /// A source over a claimer's channel.
    pub fn new(jobs: mpsc::Receiver<Slot>) -> Self {
        Self(Arc::new(Mutex::new(jobs)))
    }
}

impl Backend for JobSource {
    type Task = Task<Slot>;
    type Error = std::convert::Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Self::Task, Self::Error>>> {
        let mut jobs = self.0.lock().expect("no panic while the channel is polled");
        jobs.poll_recv(cx).map(|slot| slot.map(|slot| Ok(Task::new(slot))))
    }

    /// Jobs that were claimed and not handed out are dropped: the session gives them back when it closes.
    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Self::Error>> {
        self.0.lock().expect("no panic while the channel is polled").close();
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for JobSource {
    type Args = Slot;
    type Id = uuid::Uuid;
    // Durable in Postgres; "ephemeral" to apalis means that tasks arrive decoded.
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
