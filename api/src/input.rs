//! A JSON body, parsed with the path of what is wrong in it.

use poem::{
    Body, Request, RequestBody, Result,
    error::ReadBodyError,
    http::{StatusCode, header::CONTENT_LENGTH},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    error::ContentTypeError,
    registry::{MetaMediaType, MetaRequest, Registry},
    types::Type,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IntoDeserializer, Visitor},
};
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// The most bytes of a body, 1 MiB.
pub const BODY_MAX: usize = 1024 * 1024;

/// A body of the type `T`, and the hash of its bytes for idempotency keys.
#[derive(Debug)]
pub struct Input<T, const MAX: usize = BODY_MAX> {
    /// What was sent.
    pub value: T,
    /// SHA-256 of the bytes as sent; zeros where the request has no idempotency key, because nothing is compared then.
    pub hash: [u8; 32],
}

impl<'a, T: Type + DeserializeOwned, const MAX: usize> ApiExtractor<'a> for Input<T, MAX> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType { content_type: "application/json", schema: T::schema_ref() }],
            required: true,
        })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        check_content_type(request.content_type())?;
        let bytes = read(request, body.take()?, MAX).await?;
        let has_key = request.headers().contains_key("idempotency-key");
        let hash = if has_key { Sha256::digest(&bytes).into() } else { [0; 32] };
        Ok(Self { value: parse(&bytes)?, hash })
    }
}

/// A body of the type `T` that may be left out, which says the same as `{}`.
#[derive(Debug)]
pub struct OptionalInput<T> {
    /// What was sent.
    pub value: T,
}

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for OptionalInput<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        <Input<T> as ApiExtractor<'a>>::request_meta().map(|meta| MetaRequest { required: false, ..meta })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        let bytes = read(request, body.take()?, BODY_MAX).await?;
        if bytes.is_empty() {
            return Ok(Self { value: parse(b"{}")? });
        }
        check_content_type(request.content_type())?;
        Ok(Self { value: parse(&bytes)? })
    }
}

fn check_content_type(content_type: Option<&str>) -> Result<(), ContentTypeError> {
    let Some(content_type) = content_type else { return Err(ContentTypeError::ExpectContentType) };
    let essence = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    if json { Ok(()) } else { Err(ContentTypeError::NotSupported { content_type: content_type.to_owned() }) }
}

async fn read(request: &Request, body: Body, max: usize) -> Result<Vec<u8>, Failure> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > max) {
        return Err(too_large(max));
    }
    body.into_bytes_limit(max).await.map(|bytes| bytes.to_vec()).map_err(|error| match error {
        ReadBodyError::PayloadTooLarge => too_large(max),
        error => Failure::field("", format!("could not be read: {error}")),
    })
}

pub(crate) fn too_large(max: usize) -> Failure {
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", format!("The body must be at most {max} bytes."))
}

/// Reads JSON into `T`; the failure names the path of the first thing that is wrong and the rule it breaks.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    if bytes.is_empty() {
        return Err(Failure::field("", "must be JSON and not empty"));
    }
    // serde_json does not look into what it reads past.
    if std::str::from_utf8(bytes).is_err() {
        return Err(Failure::field("", "must be UTF-8"));
    }
    // serde would also read a struct from an array of its members.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Failure::field("", "must be an object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => String::new(),
            path => path,
        };
        wrong(path, error.inner())
    })?;
    reader.end().map_err(|error| wrong(String::new(), &error))?;
    Ok(value)
}

/// serde's wording, told as a rule for a field.
fn wrong(path: String, error: &serde_json::Error) -> Failure {
    let text = error.to_string();
    // The position helps where the text is no JSON at all; with a path it is noise.
    let rule = text.split(" at line ").next().unwrap_or(&text);
    let named = |marker: &str| rule.strip_prefix(marker).and_then(|rest| rest.split('`').next());
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if let Some(name) = named("missing field `") {
        return Failure::field(join(name), "is required");
    }
    if let Some(name) = named("duplicate field `") {
        return Failure::field(join(name), "must be given once only");
    }
    if let Some(rest) = rule.strip_prefix("invalid type: ") {
        let expected = rest.rsplit(", expected ").next().unwrap_or(rest);
        return Failure::field(path, format!("must be {}", in_words(expected)));
    }
    if let Some(rest) = rule.strip_prefix("invalid value: ") {
        let expected = rest.rsplit(", expected ").next().unwrap_or(rest);
        return Failure::field(path, format!("must be {} within its range", in_words(expected)));
    }
    if let Some((_, known)) = rule.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected ")) {
        let known = known.replace('`', "").replace(" or ", ", ");
        return Failure::field(path, format!("must be one of {}", known.trim_start_matches("one of ")));
    }
    if error.is_syntax() || error.is_eof() {
        return Failure::field("", format!("is not valid JSON: {text}"));
    }
    Failure::field(path, rule)
}

/// A word that `T`, an enum, knows; serde alone would take `{"word": null}` for it too.
struct Word<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::deserialize(String::deserialize(from)?.into_deserializer()).map(Self)
    }
}

/// Reads a word, for `#[serde(deserialize_with = "input::required_word")]`.
pub fn required_word<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Word::deserialize(from)?.0)
}

/// Reads an optional word, for `#[serde(default, deserialize_with = "input::word")]`.
pub fn word<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Word<T>>::deserialize(from)?.map(|word| word.0))
}

/// Reads an optional list of words, for `#[serde(default, deserialize_with = "input::words")]`.
pub fn words<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<T>>, D::Error> {
    let words = Option::<Vec<Word<T>>>::deserialize(from)?;
    Ok(words.map(|words| words.into_iter().map(|word| word.0).collect()))
}

/// Reads a struct from an object alone: serde would also read it from an array of its members.
pub struct ObjectOnly<D>(pub D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectOnly<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// For structs within a body, which derive `Deserialize` with `#[serde(remote = "Self")]`.
macro_rules! objects {
    ($($name:ty)*) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Self::deserialize($crate::input::ObjectOnly(from))
            }
        }
    )*};
}
pub(crate) use objects;

/// What serde wanted, in the words of JSON.
fn in_words(expected: &str) -> &str {
    match expected {
        "a sequence" => "an array",
        "f64" => "a number",
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" => "an integer",
        expected if expected.starts_with("struct ") => "an object",
        expected => expected,
    }
}
