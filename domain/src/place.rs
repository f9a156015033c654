//! The orders of lists, places in them, and what they are searched for. A place holds what the order goes by, so that a page
//! begins where the one before ended, also when the thing there was renamed or deleted meanwhile.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};

use crate::id::InvalidId;

/// The last moment that is taken, the end of the year 9999, in microseconds.
const LAST: i64 = 253_402_300_799_999_999;

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// The newest first.
    #[default]
    Created,
    /// What was changed last first.
    Updated,
    /// By title, in upper or lower case.
    Title,
}

/// A place in a list: behind this thing, as it was. Spelled as its id and, where it counts, what the list goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After<I> {
    /// In which order.
    pub sort: Sort,
    /// The thing.
    pub id: I,
    /// When it was changed; counts in [`Sort::Updated`].
    pub updated_at: DateTime<Utc>,
    /// Its title; counts in [`Sort::Title`].
    pub title: String,
}

impl<I: fmt::Display> fmt::Display for After<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sort {
            Sort::Created => write!(f, "{}", self.id),
            Sort::Updated => write!(f, "{}.u{}", self.id, self.updated_at.timestamp_micros()),
            Sort::Title => write!(f, "{}.t{}", self.id, URL_SAFE_NO_PAD.encode(&self.title)),
        }
    }
}

impl<I: FromStr<Err = InvalidId>> FromStr for After<I> {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (id, key) = text.split_once('.').unwrap_or((text, ""));
        let place =
            Self { sort: Sort::Created, id: id.parse()?, updated_at: DateTime::UNIX_EPOCH, title: String::new() };
        if key.is_empty() && !text.ends_with('.') {
            Ok(place)
        } else if let Some(micros) = key.strip_prefix('u') {
            let at = micros
                .parse()
                .ok()
                .filter(|micros| (0..=LAST).contains(micros))
                .and_then(DateTime::from_timestamp_micros);
            let at = at.ok_or(InvalidId)?;
            Ok(Self { sort: Sort::Updated, updated_at: at, ..place })
        } else {
            let bytes = key.strip_prefix('t').and_then(|key| URL_SAFE_NO_PAD.decode(key).ok()).ok_or(InvalidId)?;
            let title = String::from_utf8(bytes).ok().filter(|title| !title.contains('\0')).ok_or(InvalidId)?;
            Ok(Self { sort: Sort::Title, title, ..place })
        }
    }
}

/// The pattern (of `ilike`) of whatever contains a text; none of its characters is a wildcard.
pub(crate) fn containing(text: &str) -> String {
    format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}
