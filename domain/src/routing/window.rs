//! Time windows: by the clock on the wall of a time zone, whatever daylight saving does to it.

use chrono::{DateTime, Datelike, NaiveTime, Timelike, Utc, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "days need no words")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl From<Weekday> for Day {
    fn from(day: Weekday) -> Self {
        [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun]
            [day.num_days_from_monday() as usize]
    }
}

/// When something holds: between two moments, on days of the week, and between two times of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub zone: Tz,
    /// Empty for all.
    pub days: Vec<Day>,
    /// Minutes since midnight.
    pub from: Option<u32>,
    /// Before `from`, it is on the next day, and that night belongs to the day on which it begins.
    pub to: Option<u32>,
    pub starts_at: Option<DateTime<Utc>>,
    pub ends_at: Option<DateTime<Utc>>,
}

impl Window {
    pub fn holds(&self, at: DateTime<Utc>) -> bool {
        if self.starts_at.is_some_and(|starts| at < starts) || self.ends_at.is_some_and(|ends| at >= ends) {
            return false;
        }
        let local = at.with_timezone(&self.zone);
        let minute = local.hour() * 60 + local.minute();
        let (today, yesterday) = (local.weekday(), local.weekday().pred());
        let on = |day: Weekday| self.days.is_empty() || self.days.contains(&day.into());
        let (from, to) = (self.from.unwrap_or(0), self.to.unwrap_or(24 * 60));
        if from < to {
            on(today) && (from..to).contains(&minute)
        } else {
            on(today) && minute >= from || on(yesterday) && minute < to
        }
    }

    /// What the clock shows there, such as `Mon 09:30 Europe/Berlin`.
    pub fn seen(&self, at: DateTime<Utc>) -> String {
        format!("{} {}", at.with_timezone(&self.zone).format("%Y-%m-%d %a %H:%M"), self.zone)
    }
}

/// Reads a time of day such as `09:30`, in minutes since midnight.
pub(super) fn minutes(text: &str) -> Option<u32> {
    let time = NaiveTime::parse_from_str(text, "%H:%M").ok().filter(|_| text.len() == 5)?;
    Some(time.hour() * 60 + time.minute())
}
