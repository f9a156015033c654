//! What is written about notifications: all that somebody was not told yet, in one letter.

use chrono_tz::Tz;

use super::letter::{Letter, Part, quote, write};
use crate::notification::Untold;

/// Things that happened in an organisation.
#[derive(Debug, Clone, Copy)]
pub struct NotificationsTold<'a> {
    /// The organisation's name.
    pub org_name: &'a str,
    /// The newest of them, at least one.
    pub untold: &'a [Untold],
    /// How many there are in all.
    pub all: i64,
    /// Where the reader lives.
    pub zone: Tz,
    /// Where this installation is reached.
    pub public_url: &'a str,
    /// The address that ends these letters.
    pub unsubscribe: &'a str,
}

impl NotificationsTold<'_> {
    /// The kind of these mails.
    pub const KIND: &'static str = "notifications.told";

    /// Writes the letter.
    pub fn letter(&self) -> Letter {
        let org = quote(self.org_name);
        let (heading, subject) = match self.untold {
            [only] if self.all == 1 => (format!("News from {org}"), format!("{org}: {}", quote(&only.title))),
            _ => (format!("News from {org}"), format!("{org}: {} things happened", self.all)),
        };
        let item = |untold: &Untold| {
            let at = untold.created_at.with_timezone(&self.zone).format("%-d %B %Y, %H:%M");
            let words = if untold.text.is_empty() { String::new() } else { format!(". {}", quote(&untold.text)) };
            Part::Item(quote(&untold.title), format!("{at}{words}"), format!("{}{}", self.public_url, untold.path))
        };
        let mut parts: Vec<Part> = self.untold.iter().map(item).collect();
        let more = self.all - self.untold.len() as i64;
        if more > 0 {
            parts.push(Part::Text(format!("And {more} more, which the workspace shows.")));
        }
        write(Self::KIND, &subject, &heading, &parts).until_unsubscribed(self.unsubscribe)
    }
}
