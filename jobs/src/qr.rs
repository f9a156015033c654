//! What happened to QR codes is told to the webhooks that listen, in the transaction in which it happened.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    chance::Chance,
    change::{Change, Happened, QrChange, QrState, integer},
    id::{LabelId, LinkId},
    label::Kind,
    link,
    qr::QrCode,
};
use serde_json::json;
use uuid::Uuid;

use crate::{change, store::Tx};

/// A change of a QR code.
#[derive(Debug, Clone)]
pub struct Done {
    /// Which kind.
    pub change: Change,
    /// What the code was, where it was changed.
    pub before: Option<QrCode>,
    /// What it is; what it was last, if it is gone.
    pub code: QrCode,
}

/// Publishes changes of QR codes; `base` is where the installation's own codes are reached, and `request_id` goes with the
/// jobs.
pub async fn publish(
    tx: &mut Tx<'_>,
    done: &[Done],
    base: &str,
    request_id: Option<&str>,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<usize, sqlx::Error> {
    let through = done.iter().flat_map(|done| done.before.iter().chain([&done.code])).filter_map(|code| code.link_id);
    let through: Vec<Uuid> = through.map(|id| id.0).collect();
    let links = if through.is_empty() { vec![] } else { link::find_all(tx, &through).await? };
    let led: HashMap<LinkId, String> = links.into_iter().map(|link| (link.id, link.destination)).collect();
    let happened: Vec<Happened<QrChange>> = done
        .iter()
        .map(|Done { change, before, code }| {
            let before = before.as_ref().map(|before| state(before, &led, base));
            let subject = QrChange { before, qr: state(code, &led, base) };
            Happened { org_id: code.org_id, change: *change, at: now, subject }
        })
        .collect();
    change::publish(tx, &happened, request_id, now, chance).await
}

fn state(code: &QrCode, led: &HashMap<LinkId, String>, base: &str) -> QrState {
    let through = code.link_id.and_then(|id| led.get(&id)).map(String::as_str);
    QrState {
        id: code.id.to_string(),
        name: code.name.clone(),
        content_type: code.kind().name().into(),
        short_code: code.short_code.clone(),
        short_url: code.address(base),
        destination: through.or_else(|| code.destination()).map(Into::into),
        active: code.active,
        archived: code.archived_at.is_some(),
        created_by: code.created_by,
        password_version: code.password_version,
        more: json!({
            "content": code.content.as_ref().map(|content| json!(content.0)),
            "domain": code.domain.as_ref().filter(|domain| !domain.is_empty()),
            "linkId": code.link_id.map(|id| id.to_string()),
            "style": json!(code.style.0),
            "hasLogo": code.has_logo,
            "hasPassword": code.password_hash.is_some(),
            "startsAt": code.starts_at.map(moment),
            "expiresAt": code.expires_at.map(moment),
            "maxScans": code.max_scans.map(integer),
            "folderId": code.folder_id.map(|id| Kind::Folder.spell(id)),
            "tagIds": code.tag_ids.iter().map(|id| Kind::Tag.spell(LabelId(*id))).collect::<Vec<_>>(),
        }),
    }
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
