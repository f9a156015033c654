//! Many callers, one statement: whoever calls while a batch is under way goes together into the next one.
//!
//! Nobody waits for company: a lone call runs after one turn of the scheduler, in which those that are about to call do
//! so, and under load the batches grow by themselves. Event intake (group commit), the loading of attempts and the
//! recording of their outcomes all stand on this.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};

/// The batch failed; every caller of it gets the same reason.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct BatchError(pub Arc<str>);

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
    /// `linger` is how long the first call waits for others; zero for one turn of the scheduler.
    pub fn start<F, Fut, E>(most: usize, linger: Duration, mut work: F) -> Self
    where
        F: FnMut(Vec<Q>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Vec<A>, E>> + Send,
        E: std::fmt::Display,
    {
        let (calls, mut waiting) = mpsc::channel::<(Q, oneshot::Sender<Result<A, BatchError>>)>(most * 4);
        tokio::spawn(async move {
            let mut taken = Vec::with_capacity(most);
            while waiting.recv_many(&mut taken, most).await > 0 {
                if taken.len() < most {
                    if linger.is_zero() {
                        tokio::task::yield_now().await;
                    } else {
                        tokio::time::sleep(linger).await;
                    }
                    while taken.len() < most {
                        match waiting.try_recv() {
                            Ok(call) => taken.push(call),
                            Err(_) => break,
                        }
                    }
                }
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
