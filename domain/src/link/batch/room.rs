//! The room that a plan has for the links of a batch.

use super::{Draft, Refused};
use crate::{plan::Quota, quota::Full};

/// How much room the plan has.
pub(super) struct Room {
    /// How many links it includes; nothing where it has no limit.
    pub(super) most: Option<i64>,
    pub(super) used: i64,
}

impl Room {
    /// Takes a place, if there is one.
    pub(super) fn take(&mut self) -> bool {
        let free = self.most.is_none_or(|most| self.used < most);
        self.used += i64::from(free);
        free
    }

    pub(super) fn restore(&mut self, draft: &Draft) -> Result<(), Refused> {
        let was_in_use = draft.before.as_ref().is_some_and(|before| before.archived_at.is_none());
        // With another code it may still be refused, and its place would be gone.
        if was_in_use && draft.link.archived_at.is_some() && !draft.moves() {
            self.used -= 1;
        }
        if draft.is_restored() && !self.take() { Err(self.full()) } else { Ok(()) }
    }

    pub(super) fn full(&self) -> Refused {
        Refused::Full(Full { quota: Quota::Links, most: self.most.unwrap_or(0), used: self.used })
    }
}
