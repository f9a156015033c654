//! Moments: written as RFC 3339 in UTC with milliseconds and `Z`, as the documents show it, and read in any offset.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{MaybeUndefined, ToJSON, Type},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// A moment that is only ever written.
#[derive(Debug, Clone, Copy)]
pub struct Timestamp(pub DateTime<Utc>);

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at)
    }
}

impl Type for Timestamp {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string_date-time".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "date-time")))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ToJSON for Timestamp {
    fn to_json(&self) -> Option<Value> {
        Some(Value::String(self.0.to_rfc3339_opts(SecondsFormat::Millis, true)))
    }
}

impl poem_openapi::types::ParseFromJSON for Timestamp {
    fn parse_from_json(value: Option<Value>) -> poem_openapi::types::ParseResult<Self> {
        DateTime::<Utc>::parse_from_json(value).map(Self).map_err(poem_openapi::types::ParseError::propagate)
    }
}

/// The moments that are taken: what RFC 3339 can write, Postgres can keep and JavaScript can read, from the epoch on.
const RULE: &str = "must be an RFC 3339 time from 1970 to 9999, such as 2026-03-02T12:00:00Z";

/// Reads a moment that a change may take away, for `#[serde(default, deserialize_with = "timestamp::change")]`.
pub fn change<'de, D: Deserializer<'de>>(from: D) -> Result<MaybeUndefined<DateTime<Utc>>, D::Error> {
    Ok(read(from)?.map_or(MaybeUndefined::Null, MaybeUndefined::Value))
}

/// Reads an optional moment of a body, for `#[serde(default, deserialize_with = "timestamp::read")]`.
pub fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
    let at = DateTime::parse_from_rfc3339(&text).ok().map(|at| at.to_utc());
    match at.filter(|at| (1970..=9999).contains(&at.year())) {
        Some(at) => Ok(Some(at)),
        None => Err(D::Error::custom(RULE)),
    }
}
