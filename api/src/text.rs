//! Texts with a form: what the OpenAPI file says of an id, an event type or a URL beyond its being a text.
//!
//! A form describes and does not judge: a text is checked where its rules live (`webhook`, `domain`), in the words of the
//! surface that was asked, and a story holds the two against each other. Only parameters are refused here, where nothing
//! behind them would: one that must be of a few words, as the framework refuses any other enum, and a key that is no word.

mod form;

use std::{borrow::Cow, fmt, marker::PhantomData, ops::Deref};

use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef, Registry},
    types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type},
};
use serde::Deserialize;
use serde_json::Value;

pub use self::form::*;

/// What is known of a text.
pub trait Form: Send + Sync + 'static {
    /// The name of its schema, where it has one of its own.
    const NAME: Option<&'static str> = None;
    /// Its schema.
    fn schema() -> MetaSchema;
    /// The rule that a parameter breaks; by default only that of a list of words.
    fn broken(text: &str) -> Option<String> {
        let words = Self::schema().enum_items;
        if words.is_empty() || words.iter().any(|word| word == text) {
            return None;
        }
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        Some(format!("must be one of {}", words.join(", ")))
    }
}

/// A text of the form `F`, as it was given.
#[derive(PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Text<F>(String, PhantomData<F>);

/// The texts themselves.
pub fn plain<F>(texts: Vec<Text<F>>) -> Vec<String> {
    texts.into_iter().map(Into::into).collect()
}

impl<F> Deref for Text<F> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<F> Clone for Text<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<F> fmt::Debug for Text<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<F> From<String> for Text<F> {
    fn from(text: String) -> Self {
        Self(text, PhantomData)
    }
}

impl<F> From<&str> for Text<F> {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl<F> From<Text<F>> for String {
    fn from(text: Text<F>) -> Self {
        text.0
    }
}

impl<F: Form> Type for Text<F> {
    const IS_REQUIRED: bool = true;
    type RawValueType = String;
    type RawElementValueType = String;

    fn name() -> Cow<'static, str> {
        F::NAME.unwrap_or("string").into()
    }

    fn schema_ref() -> MetaSchemaRef {
        match F::NAME {
            Some(name) => MetaSchemaRef::Reference(name.to_owned()),
            None => MetaSchemaRef::Inline(Box::new(F::schema())),
        }
    }

    fn register(registry: &mut Registry) {
        if let Some(name) = F::NAME {
            registry.create_schema::<Self, _>(name.to_owned(), |_| F::schema());
        }
    }

    fn as_raw_value(&self) -> Option<&String> {
        Some(&self.0)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a String> + 'a> {
        Box::new(std::iter::once(&self.0))
    }
}

impl<F: Form> ToJSON for Text<F> {
    fn to_json(&self) -> Option<Value> {
        Some(Value::String(self.0.clone()))
    }
}

impl<F: Form> ParseFromJSON for Text<F> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        String::parse_from_json(value).map(Into::into).map_err(ParseError::propagate)
    }
}

impl<F: Form> ParseFromParameter for Text<F> {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        F::broken(text).map_or_else(|| Ok(text.into()), |rule| Err(ParseError::custom(rule)))
    }
}
