//! Changes of barcodes. Inkode alone has events of barcodes.

use serde_json::{Value, json};

use super::{
    Change::{Created, Deleted, Updated},
    Happened, Row, Subject, differences,
};
use crate::dialect::DialectName::Inkode;

/// A barcode as events show it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BarcodeState {
    /// Its id as it is spelled outside.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Its normalised type.
    pub barcode_type: String,
    /// What it holds.
    pub value: String,
    /// Its owner's switch.
    pub active: bool,
    /// Whether it is put away.
    pub archived: bool,
    /// What else there is to tell of it, an object whose members events show; null for nothing.
    pub more: Value,
}

/// A barcode that was made, changed or removed.
#[derive(Debug, Clone)]
pub struct BarcodeChange {
    /// What it was, where it was changed.
    pub before: Option<BarcodeState>,
    /// What it is; what it was last, if it is gone.
    pub barcode: BarcodeState,
}

impl Subject for BarcodeChange {
    const TABLE: &'static [Row<Self>] = &[
        Row::new(Created, Inkode, "barcode.created", |it| Some(view(&it.subject.barcode))),
        Row::new(Updated, Inkode, "barcode.updated", updated),
        Row::new(Deleted, Inkode, "barcode.deleted", |it| Some(view(&it.subject.barcode))),
    ];
}

fn view(barcode: &BarcodeState) -> Value {
    let mut data = json!({
        "id": barcode.id, "name": barcode.name, "type": barcode.barcode_type, "value": barcode.value,
        "active": barcode.active, "archived": barcode.archived,
    });
    if let (Some(data), Value::Object(more)) = (data.as_object_mut(), &barcode.more) {
        data.extend(more.clone());
    }
    data
}

fn updated(happened: &Happened<BarcodeChange>) -> Option<Value> {
    let BarcodeChange { before, barcode } = &happened.subject;
    let mut data = view(barcode);
    let changes = differences(&view(before.as_ref()?), &data);
    if changes.is_empty() {
        return None;
    }
    data["changes"] = changes.into();
    Some(data)
}
