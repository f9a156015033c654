//! One clock for all processes: Postgres's.
//!
//! A process reads its own monotonic clock and adds the offset to Postgres's that was measured last, so that a machine
//! whose wall clock is wrong by minutes still sends nothing before its time. Tests stop the clock and move it by hand.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use chrono::{DateTime, Duration, Utc};
use sqlx::PgConnection;

/// The time, as far as this program is concerned. Cheap to clone; clones share one setting.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Kind>);

/// A change that operators should know of, in microseconds.
const NOTED: i64 = 1_000_000;
/// The offset before Postgres was asked; in no range of answers.
const UNKNOWN: i64 = i64::MIN;

#[derive(Debug)]
enum Kind {
    Running { start: Instant, start_at: DateTime<Utc>, offset_us: AtomicI64 },
    Fixed(Mutex<DateTime<Utc>>),
}

impl Clock {
    /// The machine's clock, until [`Clock::follow`] has asked Postgres.
    #[expect(clippy::disallowed_methods, reason = "the one home of the machine's wall clock")]
    pub fn system() -> Self {
        Self(Arc::new(Kind::Running {
            start: Instant::now(),
            start_at: Utc::now(),
            offset_us: AtomicI64::new(UNKNOWN),
        }))
    }

    /// A clock that stands still at `at` until it is moved.
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self(Arc::new(Kind::Fixed(Mutex::new(at))))
    }

    /// The present moment, in microseconds like Postgres's `timestamptz`.
    pub fn now(&self) -> DateTime<Utc> {
        match &*self.0 {
            Kind::Running { start, start_at, offset_us } => {
                let micros = i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX);
                let offset = offset_us.load(Ordering::Relaxed);
                let ahead = if offset == UNKNOWN { 0 } else { offset };
                let at = *start_at + Duration::microseconds(micros + ahead);
                DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
            }
            Kind::Fixed(at) => *at.lock().expect("no panic while the clock is read"),
        }
    }

    /// Takes over Postgres's time from the answer to one query; returns how far that is ahead of the machine's wall clock
    /// as it was at the start. Says so where that is, or changes by, more than a second. A fixed clock stays as it is.
    ///
    /// The answer was made somewhere between question and answer. A present setting that fits is kept; otherwise the clock
    /// goes to the earliest time that fits, because a slow answer must not make anything early.
    pub async fn follow(&self, conn: &mut PgConnection) -> Result<Duration, sqlx::Error> {
        let Kind::Running { start, start_at, offset_us } = &*self.0 else { return Ok(Duration::zero()) };
        let asked = start.elapsed();
        let theirs: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()").fetch_one(conn).await?;
        let ahead_of = |elapsed: std::time::Duration| {
            let mine = *start_at + Duration::microseconds(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX));
            (theirs - mine).num_microseconds().unwrap_or(0)
        };
        let (least, most) = (ahead_of(start.elapsed()), ahead_of(asked));
        let present = offset_us.load(Ordering::Relaxed);
        let next = if (least..=most).contains(&present) { present } else { least };
        let before = offset_us.swap(next, Ordering::Relaxed);
        if (next - if before == UNKNOWN { 0 } else { before }).abs() > NOTED {
            let ahead_s = next as f64 / 1e6;
            tracing::warn!(ahead_s, "this machine's clock is not Postgres's, which is used in its place");
        }
        Ok(Duration::microseconds(next))
    }

    /// Whether the clock was stopped by a test.
    pub fn is_fixed(&self) -> bool {
        matches!(*self.0, Kind::Fixed(_))
    }

    /// Sets a fixed clock; a running one is not touched.
    pub fn set(&self, to: DateTime<Utc>) {
        if let Kind::Fixed(at) = &*self.0 {
            *at.lock().expect("no panic while the clock is set") = to;
        }
    }

    /// Moves a fixed clock on.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
    }
}
