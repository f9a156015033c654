//! What is written about plans: what follows where more is in use than one includes.

use chrono::{DateTime, Utc};

use super::letter::{Letter, Part, moment, quote, write};
use crate::{downgrade::Use, plan::Plan};

/// More is in use than the plan includes.
#[derive(Debug, Clone, Copy)]
pub struct PlanExceeded<'a> {
    /// The organisation's name.
    pub org_name: &'a str,
    /// Its plan.
    pub plan: Plan,
    /// What is in use; only what is too much is told.
    pub uses: &'a [Use],
    /// When the time to tidy up ends.
    pub locks_at: DateTime<Utc>,
    /// Whether it has ended.
    pub is_locked: bool,
}

impl PlanExceeded<'_> {
    /// The kind of the warnings.
    pub const WARNING: &'static str = "plan.exceeded";
    /// The kind of those that tell that the time is over.
    pub const LOCKED: &'static str = "plan.locked";

    /// Writes the letter.
    pub fn letter(&self) -> Letter {
        let rows = self.uses.iter().filter(|used| used.is_over());
        let rows =
            rows.map(|of| (of.quota.title().to_owned(), format!("{} of {}", of.used, of.most.unwrap_or_default())));
        let table = Part::Table("In use, of what the plan includes", rows.collect());
        let (kind, heading, sentence) = if self.is_locked {
            (
                Self::LOCKED,
                "What is beyond your plan can no longer be changed",
                "The newest of what is too much can be read, put away and deleted, but not changed. Nothing was deleted, \
                 and every link and code leads on. On a larger plan everything can be changed again at once."
                    .to_owned(),
            )
        } else {
            (
                Self::WARNING,
                "You use more than your plan includes",
                format!(
                    "Nothing changes until {}. After that the newest of what is too much cannot be changed until some is put \
                     away or deleted, or the plan is larger. Nothing will be deleted, and every link and code leads on.",
                    moment(self.locks_at)
                ),
            )
        };
        let facts = vec![("Organisation", quote(self.org_name)), ("Plan", self.plan.name().to_owned())];
        let parts = [Part::Text(sentence), table, Part::Facts(facts)];
        write(kind, &format!("{heading}: {}", self.org_name), heading, &parts)
    }
}
