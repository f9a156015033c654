//! Cursor pages of our own surfaces: `limit` 1 to 100, `cursor` the last id of the page before.

use std::str::FromStr;

use crate::failure::Failure;

/// The limit where none is asked for.
pub const LIMIT: i64 = 25;
/// The largest page.
pub const LIMIT_MAX: i64 = 100;

/// A limit within its bounds; the failure names the parameter.
pub fn limit(asked: Option<i64>) -> Result<i64, Failure> {
    match asked {
        None => Ok(LIMIT),
        Some(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(Failure::field("limit", format!("must be from 1 to {LIMIT_MAX}"))),
    }
}

/// A cursor, which is an id.
pub fn cursor<T: FromStr>(asked: Option<&str>) -> Result<Option<T>, Failure> {
    match asked {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| wrong_cursor()),
    }
}

/// The failure where a cursor is none of ours.
pub fn wrong_cursor() -> Failure {
    Failure::field("cursor", "must be the nextCursor of a page before")
}

/// The rows of a page and whether more follow: ask for one more than the limit, and give the extra one back here.
pub fn split<T>(mut rows: Vec<T>, limit: i64) -> (Vec<T>, bool) {
    let more = rows.len() as i64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(0));
    (rows, more)
}
