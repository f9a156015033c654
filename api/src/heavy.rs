//! Work that takes a processor for long: pictures, their proof, passwords, files that are read. It would hold up every other
//! request of a thread, so it has threads of its own; and no more of them than this, because some of it takes a hundred
//! megabytes for a moment.

use std::{sync::LazyLock, thread::available_parallelism};

use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::failure::Failure;

/// Two for each processor: one that works, and one that waits for it.
static PLACES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(2 * available_parallelism().map_or(1, usize::from)));

/// Does it when there is a place.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let place = PLACES.acquire().await.map_err(Failure::internal)?;
    let work = move || {
        // Kept until the work is done, also when nobody waits for it any more.
        let _place = place;
        work()
    };
    spawn_blocking(work).await.map_err(Failure::internal)
}
