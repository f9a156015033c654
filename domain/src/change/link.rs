//! Changes of short links. Inkode alone has events of links.

use serde_json::{Value, json};

use super::{
    Change::{Created, Deleted, Expired, Failing, Recovered, Updated},
    Happened, Row, Subject, differences, integer, millis, present,
};
use crate::{
    code,
    dialect::DialectName::Inkode,
    id::{LabelId, LinkId, QrId},
    label::Kind,
    link::Link,
};

/// A link that was made, changed or removed, or whose time is over.
#[derive(Debug, Clone)]
pub struct LinkChange {
    /// What it was, where it was changed.
    pub before: Option<Link>,
    /// What it is; what it was last, if it is gone.
    pub link: Link,
    /// Where the installation's own codes are reached, without a slash at the end.
    pub base: String,
}

impl Subject for LinkChange {
    const TABLE: &'static [Row<Self>] = &[
        Row::new(Created, Inkode, "link.created", now),
        Row::new(Updated, Inkode, "link.updated", updated),
        Row::new(Deleted, Inkode, "link.deleted", now),
        Row::new(Expired, Inkode, "link.expired", now),
    ];
}

fn view(link: &Link, base: &str) -> Value {
    present(json!({
        "id": link.id.to_string(),
        "shortUrl": code::address(base, &link.domain, &link.slug),
        "domain": Some(&link.domain).filter(|domain| !domain.is_empty()),
        "slug": link.slug,
        "destination": link.destination,
        "fallbackDestination": link.fallback_destination,
        "healthCheck": link.health.is_some(),
        "title": link.title,
        "utm": link.utm.as_ref().map(|utm| present(json!(utm.0))),
        "routing": link.routing.as_ref().map(|routing| json!(routing.0)),
        "hasPassword": link.password_hash.is_some(),
        "active": link.active,
        "startsAt": link.starts_at.map(millis),
        "expiresAt": link.expires_at.map(millis),
        "maxVisits": link.max_visits.map(integer),
        "folderId": link.folder_id.map(|id| Kind::Folder.spell(id)),
        "tagIds": link.tag_ids.iter().map(|id| Kind::Tag.spell(LabelId(*id))).collect::<Vec<_>>(),
        "qrCodeIds": link.qr_ids.iter().map(|id| QrId(*id).to_string()).collect::<Vec<_>>(),
        "archived": link.archived_at.is_some(),
    }))
}

fn now(happened: &Happened<LinkChange>) -> Option<Value> {
    Some(view(&happened.subject.link, &happened.subject.base))
}

/// Nothing where nothing changed.
fn updated(happened: &Happened<LinkChange>) -> Option<Value> {
    let LinkChange { before, link, base } = &happened.subject;
    let before = before.as_ref()?;
    if *before == (Link { updated_at: before.updated_at, ..link.clone() }) {
        return None;
    }
    let mut data = view(link, base);
    let mut changes = differences(&view(before, base), &data);
    // Another password looks the same from outside.
    if before.password_version != link.password_version {
        let (old, new) = (before.password_hash.is_some(), link.password_hash.is_some());
        changes.insert("hasPassword".into(), json!({"old": old, "new": new}));
    }
    data["changes"] = changes.into();
    Some(data)
}

/// What was found out about where a link leads.
#[derive(Debug, Clone)]
pub struct LinkHealth {
    /// The link.
    pub id: LinkId,
    /// The address that is handed out.
    pub short_url: String,
    /// Where it leads.
    pub destination: String,
    /// What the destination answered, if it did.
    pub status: Option<u16>,
    /// What is wrong, in a sentence; empty where nothing is.
    pub reason: String,
}

impl Subject for LinkHealth {
    const TABLE: &'static [Row<Self>] = &[
        Row::new(Failing, Inkode, "link.health_failing", health),
        Row::new(Recovered, Inkode, "link.health_recovered", health),
    ];
}

fn health(happened: &Happened<LinkHealth>) -> Option<Value> {
    let LinkHealth { id, short_url, destination, status, reason } = &happened.subject;
    Some(json!({
        "id": id.to_string(), "shortUrl": short_url, "destination": destination, "status": status, "reason": reason,
    }))
}
