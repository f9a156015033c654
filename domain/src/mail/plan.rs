//! What is written about plans: how much of one is used, and what follows where it is too much.

use chrono::{DateTime, Utc};

use super::letter::{Letter, Part, moment, quote, write};
use crate::{
    downgrade::Use,
    plan::{Plan, Quota},
};

/// So much of a quota is used.
#[derive(Debug, Clone, Copy)]
pub struct LimitNear<'a> {
    /// The organisation's name.
    pub org_name: &'a str,
    /// Its plan.
    pub plan: Plan,
    /// Of what.
    pub quota: Quota,
    /// How many the plan includes.
    pub most: i64,
    /// How many there are.
    pub used: i64,
}

impl LimitNear<'_> {
    /// The kind of these mails.
    pub const KIND: &'static str = "plan.limit_near";

    /// Writes the letter.
    pub fn letter(&self) -> Letter {
        let (title, full) = (self.quota.title(), self.used >= self.most);
        let heading = if full { format!("All {title} of your plan are used") } else { format!("Your {title} run low") };
        let follows = match (self.quota, full) {
            (Quota::MonthlyScans, true) => "Nothing stops: every link and code leads on, and every visit is counted.",
            (_, true) => {
                "What there is goes on working. New ones can be made after some are put away, or on a larger plan."
            }
            (_, false) => "Nothing changes yet. A larger plan, or putting away what is not needed, makes room.",
        };
        let facts = vec![
            ("Organisation", quote(self.org_name)),
            ("Plan", self.plan.name().to_owned()),
            ("In use", format!("{} of {} {title}", self.used, self.most)),
        ];
        let parts = [Part::Text(follows.to_owned()), Part::Facts(facts)];
        write(Self::KIND, &format!("{heading}: {}", self.org_name), &heading, &parts)
    }
}

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
