//! When the next request of a delivery is made, or that there is none.
//!
//! A dialect counts either from one fixed moment (slots, each at its own distance from it) or from the end of the
//! request before (gaps). This only computes moments: the caller stores them and makes the requests one at a time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Dialect;

/// The moments of a delivery's requests, in seconds; as many requests at most as there are entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Each entry counts from the moment the schedule starts (creation, or a replay).
    Absolute(&'static [i64]),
    /// The first entry counts from the moment the schedule starts, every other from the end of the request before.
    Gaps(&'static [i64]),
}

impl Schedule {
    /// Requests at most.
    pub const fn sends(&self) -> usize {
        match self {
            Self::Absolute(seconds) | Self::Gaps(seconds) => seconds.len(),
        }
    }

    /// The earliest moment of request `index` (from 0), were the one before it over at `after`.
    fn slot(&self, index: usize, start: DateTime<Utc>, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (seconds, from) = match self {
            Self::Gaps(gaps) if index > 0 => (gaps.get(index)?, after),
            Self::Absolute(seconds) | Self::Gaps(seconds) => (seconds.get(index)?, start),
        };
        Some((from + TimeDelta::seconds(*seconds)).max(after))
    }
}

/// When request number `tries_made + 1` since `scheduled_from` is due; `None`: the delivery is given up.
///
/// `ended_at` is the end of the request before (the present moment if there was none); a slot that is past by then is
/// due at once. `retry_after` is what a 429 or 503 asked for, counted from `ended_at`: it only ever delays, at most
/// to the slot that would follow, so the last request is never delayed.
pub fn next_attempt(
    dialect: &Dialect,
    scheduled_from: DateTime<Utc>,
    tries_made: i32,
    ended_at: DateTime<Utc>,
    retry_after: Option<Duration>,
) -> Option<DateTime<Utc>> {
    let index = usize::try_from(tries_made).unwrap_or(0);
    let due = dialect.schedule.slot(index, scheduled_from, ended_at)?;
    let latest = dialect.schedule.slot(index + 1, scheduled_from, due).unwrap_or(due);
    // A wait too long for the calendar is longer than any slot.
    let asked = retry_after.map(|wait| {
        TimeDelta::from_std(wait).ok().and_then(|wait| ended_at.checked_add_signed(wait)).unwrap_or(latest)
    });
    Some(asked.unwrap_or(due).clamp(due, latest))
}
