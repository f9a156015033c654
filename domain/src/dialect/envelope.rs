//! The body of a request: a dialect's envelope around an event's data.
//!
//! The bytes are the same on every attempt, and equal to what `JSON.stringify(JSON.parse(body))` prints, because
//! iloveQR's sample verifier hashes exactly that.

use chrono::{DateTime, SecondsFormat, Utc};

use super::Dialect;
use crate::id::{EventId, OrgId};

/// What a member of the body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The event's id with the dialect's prefix.
    EventId,
    /// The event's type.
    EventType,
    /// The organisation's id.
    OrgId,
    /// When the event happened, ISO 8601 in UTC with milliseconds.
    CreatedAtMillis,
    /// When the event happened, ISO 8601 in UTC, cut to the second.
    CreatedAtSeconds,
    /// The event's data as it is.
    Data,
    /// The event's data as the member `object` of an object.
    DataObject,
}

/// What a request needs to know of its event.
#[derive(Debug, Clone, Copy)]
pub struct EventFacts<'a> {
    /// The event.
    pub id: EventId,
    /// Whose event it is.
    pub org_id: OrgId,
    /// Its type, one of the dialect's catalogue.
    pub event_type: &'a str,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// Its data as canonical JSON text (`domain::json`); taken over byte by byte.
    pub data: &'a str,
}

/// The bytes to send and to sign, for every attempt alike.
pub fn body(dialect: &Dialect, event: &EventFacts<'_>) -> String {
    let mut text = String::with_capacity(event.data.len() + 192);
    for (index, (name, field)) in dialect.envelope.iter().enumerate() {
        text.push(if index == 0 { '{' } else { ',' });
        text.push_str(&quoted(name));
        text.push(':');
        match field {
            Field::EventId => text.push_str(&quoted(&dialect.event_id(event.id))),
            Field::EventType => text.push_str(&quoted(event.event_type)),
            Field::OrgId => text.push_str(&quoted(&event.org_id.to_string())),
            Field::CreatedAtMillis => text.push_str(&quoted(&iso(event.created_at, SecondsFormat::Millis))),
            Field::CreatedAtSeconds => text.push_str(&quoted(&iso(event.created_at, SecondsFormat::Secs))),
            Field::Data => text.push_str(event.data),
            Field::DataObject => text.extend([r#"{"object":"#, event.data, "}"]),
        }
    }
    text.push('}');
    text
}

/// serde_json escapes a string as `JSON.stringify` does: controls, `"` and `\`, nothing else.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn iso(at: DateTime<Utc>, precision: SecondsFormat) -> String {
    at.to_rfc3339_opts(precision, true)
}
