//! What subscribers are told of barcodes.

use domain::{
    barcode::Barcode,
    change::{BarcodeChange, BarcodeState, Change, Happened},
    label::Kind,
};
use jobs::{change, store::Tx};
use serde_json::{Value, json};

use crate::app::App;

/// Publishes what happened to a barcode, in the transaction of the change. `before` is what it was, where it was changed.
pub(super) async fn publish(
    app: &App,
    tx: &mut Tx<'_>,
    change: Change,
    before: Option<&Barcode>,
    barcode: &Barcode,
    request_id: Option<String>,
) -> Result<(), sqlx::Error> {
    let subject = BarcodeChange { before: before.map(state), barcode: state(barcode) };
    let happened = Happened { org_id: barcode.org_id, change, at: app.clock.now(), subject };
    change::publish(tx, &[happened], request_id.as_deref(), app.clock.now(), &app.chance).await.map(drop)
}

fn state(barcode: &Barcode) -> BarcodeState {
    let integration = barcode.integration.as_ref().map_or(
        Value::Null,
        |bound| json!({"provider": bound.provider, "externalId": bound.external_id, "url": bound.url}),
    );
    BarcodeState {
        id: barcode.id.to_string(),
        name: barcode.name.clone(),
        barcode_type: barcode.kind.name().to_owned(),
        value: barcode.value.clone(),
        active: barcode.active,
        archived: barcode.archived_at.is_some(),
        more: json!({"folderId": barcode.folder_id.map(|id| Kind::Folder.spell(id)), "integration": integration}),
    }
}
