//! Cursor pages of our own surfaces: `limit` 1 to 100, `cursor` the last id of the page before.

use std::str::FromStr;

use domain::{
    id::InvalidId,
    place::{After, Sort},
};

use crate::{failure::Failure, text::Text};

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

/// A cursor in a list of several orders: a place in that of `sort`.
pub fn place<I: FromStr<Err = InvalidId>>(asked: Option<&str>, sort: Sort) -> Result<Option<After<I>>, Failure> {
    let after = cursor::<After<I>>(asked)?;
    if after.as_ref().is_some_and(|after| after.sort != sort) {
        return Err(wrong_cursor());
    }
    Ok(after)
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

/// The same with the cursor of what follows; `place` spells that behind a row.
pub fn turn<T, F>(rows: Vec<T>, limit: i64, place: impl Fn(&T) -> String) -> (Vec<T>, Option<Text<F>>) {
    let (rows, more) = split(rows, limit);
    let next = rows.last().filter(|_| more).map(|row| place(row).into());
    (rows, next)
}
