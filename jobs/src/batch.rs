//! Many callers, one statement: whoever calls while a batch is under way goes together into the next one.
//!
//! A lone call does not wait for company: it runs after one turn of the scheduler, in which those that are about to call
//! do so. Under load the batches grow by themselves, and more so with a linger: a batch after one that had company waits
//! that long. Event intake (group commit), the loading of attempts and the recording of their outcomes all stand on this.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};

/// The batch failed; every caller of it gets the same reason.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct BatchError(pub Arc<str>);

/// A batch of so many had company.
const COMPANY: usize = 12;

/// A queue of calls of which up to `most` are answered together.
#[derive(Debug)]
pub struct Batcher<Q, A> {
    calls: mpsc::Sender<(Q, oneshot::Sender<Result<A, BatchError>>)>,
}

impl<Q, A> Clone for Batcher<Q, A> {
    fn clone(&self) -> Self {
        Self { calls: self.calls.clone() }
    }
}

impl<Q: Send + 'static, A: Send + 'static> Batcher<Q, A> {
    /// Answers calls with `work`, which takes at most `most` of them and returns as many answers in the same order.
    /// `linger` is how long a batch waits for more after one of [`COMPANY`] or more.
    pub fn start<F, Fut, E>(most: usize, linger: Duration, mut work: F) -> Self
    where
        F: FnMut(Vec<Q>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Vec<A>, E>> + Send,
        E: std::fmt::Display,
    {
        let (calls, mut waiting) = mpsc::channel::<(Q, oneshot::Sender<Result<A, BatchError>>)>(most * 4);
        tokio::spawn(async move {
            let mut taken = Vec::with_capacity(most);
            let mut busy = false;
            while waiting.recv_many(&mut taken, most).await > 0 {
                if taken.len() < most {
                    match busy && !linger.is_zero() {
                        true => tokio::time::sleep(linger).await,
                        false => tokio::task::yield_now().await,
                    }
                    while taken.len() < most {
                        match waiting.try_recv() {
                            Ok(call) => taken.push(call),
                            Err(_) => break,
                        }
                    }
                }
                busy = taken.len() >= COMPANY;
                let (questions, callers): (Vec<Q>, Vec<_>) = taken.drain(..).unzip();
                // A panic fails this batch and not every later one.
                let answered = AssertUnwindSafe(async { work(questions).await }).catch_unwind().await;
                match answered
                    .map_err(|_| "the batch panicked".to_owned())
                    .and_then(|a| a.map_err(|e| format!("{e:#}")))
                {
                    Ok(answers) => {
                        for (caller, answer) in callers.into_iter().zip(answers) {
                            let _ = caller.send(Ok(answer));
                        }
                    }
                    Err(error) => {
                        let error = BatchError(Arc::from(error));
                        for caller in callers {
                            let _ = caller.send(Err(error.clone()));
                        }
                    }
                }
            }
        });
        Self { calls }
    }

    /// Asks one question; returns when the batch it went into is done.
    pub async fn call(&self, question: Q) -> Result<A, BatchError> {
        let gone = || BatchError(Arc::from("the program is stopping"));
        let (caller, answer) = oneshot::channel();
        self.calls.send((question, caller)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
