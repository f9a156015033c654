//! Conversions. Inkode alone has events of them.

use serde_json::{Value, json};

use super::{Change::Created, Row, Subject, millis};
use crate::{
    conversion::{Conversion, SourceType, Told},
    dialect::DialectName::Inkode,
};

/// Somebody did what a link or QR code led them to.
#[derive(Debug, Clone)]
pub struct Converted(pub Conversion);

impl Subject for Converted {
    const TABLE: &'static [Row<Self>] =
        &[Row::new(Created, Inkode, "conversion.recorded", |it| Some(view(&it.subject)))];
}

/// What was not told is null.
fn view(Converted(conversion): &Converted) -> Value {
    let Told { step, value, currency, dedupe_key } = &conversion.told;
    json!({
        "id": conversion.id.to_string(),
        "sourceType": SourceType::from(conversion.target).name(),
        "sourceId": conversion.target.to_string(),
        "step": step,
        "value": value,
        "currency": currency,
        "dedupeKey": dedupe_key,
        "visitorId": conversion.visitor_id.to_string(),
        "branch": Some(&conversion.branch).filter(|branch| !branch.is_empty()),
        "at": millis(conversion.at),
    })
}
