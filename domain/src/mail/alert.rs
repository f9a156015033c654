//! What is written about visits: unusually many, none, or so many in all.

use chrono::{DateTime, Utc};

use super::letter::{Letter, Part, moment, quote, write};
use crate::alert::{Figures, Watch};

/// What an alert watches for has come to be.
#[derive(Debug, Clone, Copy)]
pub struct AlertRaised<'a> {
    /// The address that people visit.
    pub address: &'a str,
    /// The organisation's name.
    pub org_name: &'a str,
    /// What was watched for.
    pub watch: Watch,
    /// What is known of the visits.
    pub figures: Figures,
    /// When it was seen.
    pub raised_at: DateTime<Utc>,
}

impl AlertRaised<'_> {
    /// The kind of these mails.
    pub const KIND: &'static str = "alert.raised";

    /// A heading and a sentence.
    pub fn words(&self) -> (&'static str, String) {
        let (address, figures) = (quote(self.address), self.figures);
        match self.watch {
            Watch::Spike { factor, .. } => (
                "Unusually many visits",
                format!(
                    "{address} had {} visits in an hour: at least {factor} times as many as it usually has.",
                    figures.hour
                ),
            ),
            Watch::Silence { hours } => {
                ("No visits", format!("{address} has not been visited for {hours} hours or longer."))
            }
            Watch::Threshold { visits } => {
                ("A number of visits is reached", format!("{address} has reached {visits} visits."))
            }
        }
    }

    /// Writes the letter.
    pub fn letter(&self) -> Letter {
        let (figures, (heading, sentence)) = (self.figures, self.words());
        let facts = vec![
            ("Address", quote(self.address)),
            ("Organisation", quote(self.org_name)),
            ("Visits in all", figures.total.to_string()),
            ("Last visit", figures.last_at.map_or_else(|| "none".to_owned(), moment)),
            ("Seen", moment(self.raised_at)),
        ];
        let parts = [Part::Text(sentence), Part::Facts(facts)];
        write(Self::KIND, &format!("{heading}: {}", self.address), heading, &parts)
    }
}
