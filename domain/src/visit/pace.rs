//! Counting gives way: whoever counts and redirects often share the processors, and nobody waits for a count.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How many rows a piece has: a millisecond or two of Postgres's.
const PIECE: usize = 256;
/// The shortest rest, the least that a timer can do.
const LEAST: Duration = Duration::from_millis(1);
/// The longest: a transaction waits meanwhile.
const MOST: Duration = Duration::from_millis(10);

/// How rows are handed to Postgres.
#[derive(Debug)]
pub(super) enum Pace {
    /// All at once: somebody waits for the answer, or there is more to do than this.
    Haste,
    /// Piece by piece. Between two it rests for as long as the last one took, so that it takes half of a processor at most,
    /// and less where others want it too.
    Ease(Option<Instant>),
}

impl Pace {
    /// How many rows a piece has.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Haste => usize::MAX,
            Self::Ease(_) => PIECE,
        }
    }

    /// Comes before each piece.
    pub(super) async fn piece(&mut self) {
        let Self::Ease(last) = self else { return };
        if let Some(begun) = last {
            sleep(begun.elapsed().clamp(LEAST, MOST)).await;
        }
        *last = Some(Instant::now());
    }
}
