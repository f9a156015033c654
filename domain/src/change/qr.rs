//! Changes of QR codes. iloveQR calls putting away and taking back by names of their own; QR Code Agency knows dynamic
//! codes only, and of a change only destination, name, activity and variants.

use serde_json::{Value, json};

use super::{
    Change::{Created, Deleted, Expired, Updated},
    Happened, Row, Subject, differences, owner_number, present,
};
use crate::{
    dialect::DialectName::{Iloveqr, Inkode, Qrstudio},
    id::UserId,
};

/// A QR code as events show it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QrState {
    /// Its id as it is spelled outside, `qr_…`.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it holds, as the API spells it: `url`, `vcard` and so on.
    pub content_type: String,
    /// Its code, if it is dynamic.
    pub short_code: Option<String>,
    /// The address in it, if it is dynamic.
    pub short_url: Option<String>,
    /// Where it leads, if it leads anywhere.
    pub destination: Option<String>,
    /// Its owner's switch.
    pub active: bool,
    /// Whether it is put away.
    pub archived: bool,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// Counts its passwords: another one looks the same from outside.
    pub password_version: i32,
    /// What else there is to tell of it, an object whose members Inkode's events show; null for nothing.
    pub more: Value,
}

/// A QR code that was made, changed or removed, or whose time is over.
#[derive(Debug, Clone)]
pub struct QrChange {
    /// What it was, where it was changed.
    pub before: Option<QrState>,
    /// What it is; what it was last, if it is gone.
    pub qr: QrState,
}

impl Subject for QrChange {
    const TABLE: &'static [Row<Self>] = &[
        Row::new(Created, Inkode, "qr.created", |it| Some(inkode(&it.subject.qr))),
        Row::new(Updated, Inkode, "qr.updated", inkode_updated),
        Row::new(Deleted, Inkode, "qr.deleted", |it| Some(inkode(&it.subject.qr))),
        Row::new(Expired, Inkode, "qr.expired", |it| Some(inkode(&it.subject.qr))),
        Row::new(Created, Iloveqr, "qr.created", |it| Some(iloveqr(&it.subject.qr))),
        Row::new(Updated, Iloveqr, "qr.updated", iloveqr_updated),
        Row::new(Updated, Iloveqr, "qr.archived", |it| iloveqr_moved(&it.subject, true)),
        Row::new(Updated, Iloveqr, "qr.restored", |it| iloveqr_moved(&it.subject, false)),
        Row::new(Deleted, Iloveqr, "qr.deleted", |it| Some(iloveqr(&it.subject.qr))),
        Row::new(Created, Qrstudio, "dynamic_qr.created", qrstudio_created),
        Row::new(Updated, Qrstudio, "dynamic_qr.updated", qrstudio_updated),
    ];
}

fn inkode(qr: &QrState) -> Value {
    let mut data = present(json!({
        "id": qr.id, "name": qr.name, "type": qr.content_type, "isDynamic": qr.short_code.is_some(),
        "shortCode": qr.short_code, "shortUrl": qr.short_url, "destination": qr.destination, "active": qr.active,
        "archived": qr.archived,
    }));
    if let (Some(data), Value::Object(more)) = (data.as_object_mut(), &qr.more) {
        data.extend(
            more.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), value.clone())),
        );
    }
    data
}

fn inkode_updated(happened: &Happened<QrChange>) -> Option<Value> {
    let QrChange { before, qr } = &happened.subject;
    let before = before.as_ref()?;
    let mut data = inkode(qr);
    let mut changes = differences(&inkode(before), &data);
    if before.password_version != qr.password_version {
        let (old, new) = (&before.more["hasPassword"], &qr.more["hasPassword"]);
        changes.insert("hasPassword".into(), json!({"old": old, "new": new}));
    }
    if changes.is_empty() {
        return None;
    }
    data["changes"] = changes.into();
    Some(data)
}

fn iloveqr(qr: &QrState) -> Value {
    json!({"qrCode": {
        "id": qr.id, "type": qr.content_type.to_uppercase(), "name": qr.name, "shortUrl": qr.short_url,
        "destinationUrl": qr.destination, "createdBy": qr.created_by.map(|id| id.to_string()),
    }})
}

/// Everything but putting away and taking back.
fn iloveqr_updated(happened: &Happened<QrChange>) -> Option<Value> {
    let QrChange { before, qr } = &happened.subject;
    let before = QrState { archived: qr.archived, ..before.clone()? };
    (before != *qr).then(|| iloveqr(qr))
}

fn iloveqr_moved(change: &QrChange, archived: bool) -> Option<Value> {
    let moved = change.before.as_ref()?.archived != archived && change.qr.archived == archived;
    moved.then(|| iloveqr(&change.qr))
}

fn qrstudio(qr: &QrState) -> Value {
    json!({"destination_url": qr.destination, "name": qr.name, "is_active": qr.active && !qr.archived})
}

fn qrstudio_created(happened: &Happened<QrChange>) -> Option<Value> {
    let qr = &happened.subject.qr;
    Some(json!({
        "short_id": qr.short_code.as_ref()?, "name": qr.name, "destination_url": qr.destination,
        "owner_id": owner_number(happened.org_id),
    }))
}

fn qrstudio_updated(happened: &Happened<QrChange>) -> Option<Value> {
    let QrChange { before, qr } = &happened.subject;
    let short_id = qr.short_code.as_ref()?;
    let changes = differences(&qrstudio(before.as_ref()?), &qrstudio(qr));
    if changes.is_empty() {
        return None;
    }
    Some(json!({"short_id": short_id, "changes": changes, "owner_id": owner_number(happened.org_id)}))
}
