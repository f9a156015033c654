//! Something in a calendar: one VEVENT in a calendar of its own (RFC 5545).

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{BODY_MAX, Check, Lines, escaped_text};

/// What happens, when and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What it is called.
    pub title: String,
    /// When it begins: an RFC 3339 time, or a date for whole days.
    pub start: String,
    /// When it ends: a time, or the last of its days.
    pub end: Option<String>,
    /// Where it is.
    pub location: Option<String>,
    /// What else there is to say.
    pub description: Option<String>,
}

/// A moment or a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum When {
    At(DateTime<Utc>),
    On(NaiveDate),
}

impl When {
    /// Years that every calendar has.
    fn read(text: &str) -> Option<Self> {
        use chrono::Datelike;
        let (read, year) = match DateTime::parse_from_rfc3339(text) {
            Ok(at) => (Self::At(at.to_utc()), at.to_utc().year()),
            Err(_) => {
                let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10)?;
                (Self::On(date), date.year())
            }
        };
        (1970..=9998).contains(&year).then_some(read)
    }

    fn property(self, name: &str) -> String {
        match self {
            Self::At(at) => format!("{name}:{}", at.format("%Y%m%dT%H%M%SZ")),
            Self::On(date) => format!("{name};VALUE=DATE:{}", date.format("%Y%m%d")),
        }
    }
}

impl Event {
    pub(super) fn check(&self, check: &mut Check) {
        const RULE: &str = "must be an RFC 3339 time such as 2026-03-02T12:00:00Z, or a date such as 2026-03-02";
        check.line("event.title", Some(&self.title));
        check.rule("event.title", self.title.is_empty().then_some("must not be empty"));
        check.line("event.location", self.location.as_deref());
        check.text("event.description", self.description.as_deref().unwrap_or_default(), 0, BODY_MAX);
        let start = When::read(&self.start);
        check.rule("event.start", start.is_none().then_some(RULE));
        let Some(end) = &self.end else { return };
        let broken = match (start, When::read(end)) {
            (_, None) => Some(RULE),
            (Some(When::At(from)), Some(When::At(to))) => (from >= to).then_some("must be after start"),
            (Some(When::On(from)), Some(When::On(to))) => (from > to).then_some("must not be before start"),
            (Some(_), Some(_)) => Some("must be a time if start is one, and a date if start is one"),
            (None, _) => None,
        };
        check.rule("event.end", broken);
    }

    pub(super) fn text(&self, made_at: i64) -> String {
        let mut lines = Lines(String::new());
        let stamp = DateTime::from_timestamp_millis(made_at).unwrap_or_default();
        for line in ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Inkfleet//QR code//EN", "BEGIN:VEVENT"] {
            lines.push(line);
        }
        lines.push(&format!("UID:{}", self.uid()));
        lines.push(&When::At(stamp).property("DTSTAMP"));
        if let Some(start) = When::read(&self.start) {
            lines.push(&start.property("DTSTART"));
        }
        // iCalendar names the day after the last one.
        match self.end.as_deref().and_then(When::read) {
            Some(When::On(date)) => lines.push(&When::On(date + Days::new(1)).property("DTEND")),
            Some(at) => lines.push(&at.property("DTEND")),
            None => {}
        }
        lines.push(&format!("SUMMARY:{}", escaped_text(&self.title)));
        lines.some("LOCATION", self.location.as_deref(), escaped_text);
        lines.some("DESCRIPTION", self.description.as_deref(), escaped_text);
        lines.push("END:VEVENT");
        lines.push("END:VCALENDAR");
        lines.0
    }

    /// The same for the same event, so that a calendar that has it does not have it twice.
    fn uid(&self) -> String {
        let place = self.location.as_deref().unwrap_or_default();
        let hash = Sha256::digest(format!("{}\n{}\n{place}", self.title, self.start));
        hex::encode(&hash[..12])
    }
}
