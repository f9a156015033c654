//! The Retry-After header: seconds, or a date in one of HTTP's three spellings (RFC 9110, 5.6.7 and 10.2.3).

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use http::HeaderValue;

/// IMF-fixdate, which everybody sends, and the two that receivers must still understand.
const DATES: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// How long from `now` on; nothing if the date is past, `None` if the value is neither a number nor a date.
pub fn parse(value: &HeaderValue, now: DateTime<Utc>) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    // Digits only: `parse` alone would take a sign.
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = DATES.iter().find_map(|date| NaiveDateTime::parse_from_str(text, date).ok())?;
    Some((at.and_utc() - now).to_std().unwrap_or(Duration::ZERO))
}
