//! Conversions on the wire.

use domain::{
    conversion::{self, DECIMALS_MAX, DEDUPE_KEY_MAX, STEP_MAX, SourceType as Source, Told, VALUE_MAX, read_currency},
    id::OrgId,
};
use poem_openapi::{Enum, Object, types::Example};
use serde::Deserialize;

use crate::{
    failure::{Failure, FieldError},
    inkode::asked::length,
    input,
    text::{self, Text},
};

/// The longest id that a session issuer gives a workspace, in characters.
const ISSUERS_ID_MAX: usize = 255;

/// What a conversion is of.
#[derive(Debug, Clone, Copy, Enum, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub(super) enum SourceType {
    /// A short link.
    Link,
    /// A QR code.
    Qr,
}

impl From<SourceType> for Source {
    fn from(kind: SourceType) -> Self {
        match kind {
            SourceType::Link => Self::Link,
            SourceType::Qr => Self::Qr,
        }
    }
}

/// What a visitor did.
#[derive(Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConversionInput {
    /// The workspace that the link or QR code is of: our id, or the session issuer's.
    org_id: Text<text::OrgId>,
    /// What led the visitor.
    #[serde(deserialize_with = "input::required_word")]
    source_type: SourceType,
    /// Its id.
    source_id: Text<text::CodeOwnerId>,
    /// What they did, such as `signup` or `purchase`: 1 to 100 characters.
    step: Text<text::Step>,
    /// What it is worth, with four decimals at most.
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000000000")))]
    value: Option<f64>,
    /// In which currency: three letters (ISO 4217); only with a value.
    currency: Option<Text<text::Currency>>,
    /// Tells repeats: the same key of the same link or code and the same step is the same conversion.
    dedupe_key: Option<Text<text::DedupeKey>>,
}

impl Example for ConversionInput {
    fn example() -> Self {
        Self {
            org_id: "org_01KJQ6PSG0EC78V5NZFZCHSTM3".into(),
            source_type: SourceType::Link,
            source_id: "link_01KJQ6PSG0EC78V5NZFZCHSTM3".into(),
            step: "purchase".into(),
            value: Some(129.99),
            currency: Some("USD".into()),
            dedupe_key: Some("order-4711".into()),
        }
    }
}

/// A workspace as it is named.
#[derive(Debug)]
pub(super) enum Workspace {
    /// By our id.
    Ours(OrgId),
    /// By the session issuer's.
    Issuers(String),
}

/// What is asked, read.
#[derive(Debug)]
pub(super) struct Asked {
    /// The workspace.
    pub(super) org: Workspace,
    /// What the conversion is of.
    pub(super) source_type: Source,
    /// Its id, which may be one of something else.
    pub(super) source_id: String,
    /// What is told of it.
    pub(super) told: Told,
}

impl ConversionInput {
    /// Reads it, or names every field that breaks a rule.
    pub(super) fn read(self) -> Result<Asked, Failure> {
        let mut wrong = vec![];
        let mut rule = |field: &str, message: Option<String>| {
            wrong.extend(message.map(|message| FieldError::new(field, message)));
        };
        let org = workspace(&self.org_id);
        rule("orgId", org.is_none().then(|| "must be the id of a workspace".into()));
        let is_id = Source::ALL.iter().any(|kind| kind.read(&self.source_id).is_some());
        rule("sourceId", (!is_id).then(|| "must be the id of a link or a QR code".into()));
        rule("step", length(&self.step, 1, STEP_MAX));
        let is_value = self.value.is_none_or(conversion::is_value);
        let value_rule = || format!("must be 0 to {VALUE_MAX}, with at most {DECIMALS_MAX} decimals");
        rule("value", (!is_value).then(value_rule));
        let currency = self.currency.as_deref().map(read_currency);
        rule("currency", (currency == Some(None)).then(|| "must be three letters (ISO 4217)".into()));
        let is_alone = currency.is_some() && self.value.is_none();
        rule("currency", is_alone.then(|| "must come with a value".into()));
        rule("dedupeKey", self.dedupe_key.as_deref().and_then(|key| length(key, 1, DEDUPE_KEY_MAX)));
        let Some(org) = org.filter(|_| wrong.is_empty()) else { return Err(Failure::invalid(wrong)) };
        Ok(Asked {
            org,
            source_type: self.source_type.into(),
            source_id: self.source_id.into(),
            told: Told {
                step: self.step.into(),
                // Without the sign that a zero can have.
                value: self.value.map(f64::abs),
                currency: currency.flatten(),
                dedupe_key: self.dedupe_key.map(Into::into),
            },
        })
    }
}

/// Reads the id of a workspace, ours or the session issuer's.
fn workspace(text: &str) -> Option<Workspace> {
    let within = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let is_issuers = (1..=ISSUERS_ID_MAX).contains(&text.len()) && text.bytes().all(within);
    let ours = text.parse().ok().map(Workspace::Ours);
    ours.or_else(|| is_issuers.then(|| Workspace::Issuers(text.to_owned())))
}

/// What became of it.
#[derive(Debug, Object)]
pub(super) struct ConversionRecorded {
    /// The conversion's id; that of the first one where it was told before.
    pub(super) id: Text<text::ConversionId>,
    /// Whether it was told before, with the same `dedupeKey`.
    pub(super) duplicate: bool,
}
