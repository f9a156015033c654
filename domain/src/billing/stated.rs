//! When Stripe said something, by its own clock, and what that is worth beside what it said before.
//!
//! An event names the second in which its object looked so. An answer names the second in which it was sent, by its `Date`;
//! what it says was seen at some time since it was asked for, so the asking counts, and a long page claims nothing about
//! what happened while it was read.

use std::cmp::Ordering;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// A moment of Stripe's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stated {
    /// When.
    pub at: DateTime<Utc>,
    /// How exactly that is known: what lies no further apart may have been said in any order.
    within: TimeDelta,
}

impl Stated {
    /// What an event says that happened at `at`. Of two events the seconds are Stripe's own.
    pub fn by_event(at: DateTime<Utc>) -> Self {
        Self { at, within: TimeDelta::zero() }
    }

    /// What an answer says whose `Date` is `date`, and which took so long to come from the asking on.
    ///
    /// `Date` leaves out what is beyond the second, and so is this: it is never later than the asking was, and earlier by
    /// two seconds at most.
    pub fn by_answer(date: DateTime<Utc>, took: TimeDelta) -> Self {
        Self { at: (date - took).trunc_subsecs(0), within: TimeDelta::seconds(1) }
    }

    /// Whether this is newer than what was said at `held`; `Equal` where nobody can tell.
    pub fn order(self, held: DateTime<Utc>) -> Ordering {
        if (self.at - held).abs() <= self.within { Ordering::Equal } else { self.at.cmp(&held) }
    }
}
