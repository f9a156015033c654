//! JSON that is kept as the text that arrived: data until it is brought into the form that `JSON.stringify` prints, and
//! the events of a batch until each is read on its own.

use std::{borrow::Cow, marker::PhantomData};

use poem_openapi::{
    registry::{MetaSchemaRef, Registry},
    types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// The text of a JSON value, which the OpenAPI file describes as a `T`.
#[derive(Debug, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Raw<T> {
    json: Box<RawValue>,
    of: PhantomData<T>,
}

impl<T> Raw<T> {
    /// The text, without white space around it.
    pub fn text(&self) -> &str {
        self.json.get()
    }
}

impl<T> From<Box<RawValue>> for Raw<T> {
    fn from(json: Box<RawValue>) -> Self {
        Self { json, of: PhantomData }
    }
}

impl<T: Type> Type for Raw<T> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<T: Type> ParseFromJSON for Raw<T> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        RawValue::from_string(value.unwrap_or_default().to_string()).map(Self::from).map_err(ParseError::custom)
    }
}

impl<T: Type> ToJSON for Raw<T> {
    fn to_json(&self) -> Option<Value> {
        serde_json::from_str(self.text()).ok()
    }
}
