//! Interim responses (1xx): some are usual, a flood of them is no answer.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// More than any server sends before its answer.
const MANY: usize = 16;

/// Counts the interim responses to one request.
#[derive(Debug, Default)]
pub struct Interim {
    seen: AtomicUsize,
    too_many: Notify,
}

impl Interim {
    /// Counts those to `request`.
    pub fn count<B>(request: &mut http::Request<B>) -> Arc<Self> {
        let interim = Arc::new(Self::default());
        let counter = interim.clone();
        hyper::ext::on_informational(request, move |_| {
            if counter.seen.fetch_add(1, Ordering::Relaxed) == MANY {
                counter.too_many.notify_one();
            }
        });
        interim
    }

    /// Waits until there are too many.
    pub async fn too_many(&self) {
        self.too_many.notified().await;
    }
}
