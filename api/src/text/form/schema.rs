//! The schemas that several forms have in common.

use domain::dialect::{DIALECTS, Dialect, DialectName};
use poem_openapi::registry::MetaSchema;
use serde_json::Value;

/// The 26 characters of an id (see `domain::id`).
const ULID: &str = "[0-7][0-9A-HJKMNP-TV-Z]{25}";
/// An id's 26 characters, for examples.
const EXAMPLE: &str = "01KJQ6PSG0EC78V5NZFZCHSTM3";

pub(super) fn id(prefixes: &[&str]) -> MetaSchema {
    let before = match prefixes {
        [only] => (*only).to_owned(),
        several => format!("({})", several.join("|")),
    };
    MetaSchema {
        pattern: Some(format!("^{before}{ULID}$")),
        example: Some(format!("{}{EXAMPLE}", prefixes[0]).into()),
        ..MetaSchema::new("string")
    }
}

/// An id and, where it counts, what the list goes by (`domain::place`).
pub(super) fn cursor(prefix: &str) -> MetaSchema {
    MetaSchema {
        pattern: Some(format!(r"^{prefix}{ULID}(\.[ut][0-9A-Za-z_-]*)?$")),
        example: Some(format!("{prefix}{EXAMPLE}").into()),
        ..MetaSchema::new("string")
    }
}

pub(super) fn endpoint_prefixes() -> Vec<&'static str> {
    let mut prefixes: Vec<&str> = vec![];
    for dialect in &DIALECTS {
        if !prefixes.contains(&dialect.endpoint_prefix) {
            prefixes.push(dialect.endpoint_prefix);
        }
    }
    prefixes
}

pub(super) fn words(description: &'static str, words: &[&str]) -> MetaSchema {
    let enum_items = words.iter().map(|&word| Value::from(word)).collect();
    MetaSchema { description: Some(description), enum_items, ..MetaSchema::new("string") }
}

pub(super) fn catalogue(description: &'static str, dialect: DialectName) -> MetaSchema {
    words(description, Dialect::by_name(dialect).catalogue)
}

pub(super) fn secret(dialect: DialectName) -> MetaSchema {
    let policy = &Dialect::by_name(dialect).secret;
    MetaSchema {
        min_length: Some(policy.least),
        max_length: Some(policy.most),
        pattern: Some("^[ -~]*$".into()),
        ..MetaSchema::new("string")
    }
}

/// Postgres keeps every character in a text but U+0000.
pub(super) fn name(most: usize) -> MetaSchema {
    MetaSchema { max_length: Some(most), pattern: Some(r"^[^\u0000]*$".into()), ..MetaSchema::new("string") }
}
