//! Changes: what happened to a thing of an organisation, and what each dialect is told of it.
//!
//! One fact is another event in every dialect, with a name and a body of its own. Each kind of thing has a table of rows
//! (change, dialect, event type, body); `jobs::change::publish` reads it. A dialect that has no word for a change is not
//! told of it. What the documents show is in every body; what else is in it is ours.

mod barcode;
mod conversion;
mod link;
mod qr;
mod quota;
mod subscription;
mod visit;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

pub use self::{
    barcode::{BarcodeChange, BarcodeState},
    conversion::Converted,
    link::{LinkChange, LinkHealth},
    qr::{QrChange, QrState},
    quota::QuotaReached,
    subscription::{Payment, SubscriptionState},
    visit::{Click, Scan, Visit},
};
use crate::{dialect::DialectName, id::OrgId};

/// What can happen to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    Created,
    /// Its owner changed it; that includes putting it away and taking it back.
    Updated,
    /// It is gone.
    Deleted,
    /// Its time is over.
    Expired,
    /// Somebody followed it.
    Visited,
    /// Where it leads does not answer any more.
    Failing,
    /// It answers again.
    Recovered,
    /// So much of it was used.
    Reached,
    /// It ends, or has ended.
    Cancelled,
    /// It was paid for.
    Paid,
    /// A payment for it failed.
    Unpaid,
}

/// Something that happened to a thing of the kind `S`.
#[derive(Debug, Clone)]
pub struct Happened<S> {
    /// Whose it is.
    pub org_id: OrgId,
    /// What happened.
    pub change: Change,
    /// When, as bodies show it.
    pub at: DateTime<Utc>,
    /// To what.
    pub subject: S,
}

/// What one dialect is told of one change.
#[derive(Debug)]
pub struct Row<S> {
    /// The change.
    pub change: Change,
    /// The dialect.
    pub dialect: DialectName,
    /// The dialect's name for it, one of its catalogue.
    pub event_type: &'static str,
    /// The event's data; `None` where this dialect has no word for what happened.
    pub data: fn(&Happened<S>) -> Option<Value>,
}

/// A kind of thing that things happen to.
pub trait Subject: Sized + 'static {
    /// Who is told what.
    const TABLE: &'static [Row<Self>];
}

impl<S> Row<S> {
    const fn new(
        change: Change,
        dialect: DialectName,
        event_type: &'static str,
        data: fn(&Happened<S>) -> Option<Value>,
    ) -> Self {
        Self { change, dialect, event_type, data }
    }
}

/// The integer by which QR Code Agency's dialect names an organisation: 48 random bits of its id.
pub fn owner_number(org_id: OrgId) -> i64 {
    (org_id.0.as_u128() & ((1 << 48) - 1)) as i64
}

/// What differs between two views of a thing, as QR Code Agency's document shows it: `{"name": {"old": …, "new": …}}`.
fn differences(before: &Value, after: &Value) -> Map<String, Value> {
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else { return Map::new() };
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    new.keys()
        .chain(gone)
        .map(|key| (key, old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null)))
        .filter(|(_, old, new)| old != new)
        .map(|(key, old, new)| (key.clone(), json!({"old": old, "new": new})))
        .collect()
}

/// Without the members that are null.
fn present(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(members.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        other => other,
    }
}

fn millis(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn seconds(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// An integer; as text where JavaScript would change it.
pub fn integer(number: i64) -> Value {
    if number.unsigned_abs() < 1 << 53 { json!(number) } else { json!(number.to_string()) }
}
