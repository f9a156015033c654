//! The columns of the files.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    code,
    id::{LabelId, spell},
    link::Link,
    qr::QrCode,
    visit::{Kept, Sum},
};
use uuid::Uuid;

use super::Workspace;

/// Those of links.
pub(super) const LINK: [&str; 21] = [
    "id",
    "shortUrl",
    "slug",
    "destination",
    "title",
    "utmSource",
    "utmMedium",
    "utmCampaign",
    "utmTerm",
    "utmContent",
    "active",
    "startsAt",
    "expiresAt",
    "maxVisits",
    "folder",
    "tags",
    "archived",
    "visits",
    "uniqueVisits",
    "createdAt",
    "updatedAt",
];

/// Those of QR codes.
pub(super) const QR_CODE: [&str; 20] = [
    "id",
    "name",
    "type",
    "isDynamic",
    "encodes",
    "shortCode",
    "shortUrl",
    "url",
    "linkId",
    "active",
    "startsAt",
    "expiresAt",
    "maxScans",
    "folder",
    "tags",
    "archived",
    "scans",
    "uniqueScans",
    "createdAt",
    "updatedAt",
];

/// Those of visits.
pub(super) const VISIT: [&str; 14] = [
    "id", "at", "targetId", "visitor", "isUnique", "isBot", "device", "os", "browser", "country", "region", "language",
    "referrer", "branch",
];

pub(super) fn of_link(of: &Workspace, link: &Link, sum: Sum) -> [String; LINK.len()] {
    let utm = link.utm.as_ref().map(|utm| utm.0.clone()).unwrap_or_default();
    let text = Option::unwrap_or_default;
    [
        link.id.to_string(),
        code::address(&of.app.settings.short_url, &link.domain, &link.slug),
        link.slug.clone(),
        link.destination.clone(),
        link.title.clone(),
        text(utm.source),
        text(utm.medium),
        text(utm.campaign),
        text(utm.term),
        text(utm.content),
        link.active.to_string(),
        moment(link.starts_at),
        moment(link.expires_at),
        number(link.max_visits),
        folder(of, link.folder_id),
        tags(of, &link.tag_ids),
        link.archived_at.is_some().to_string(),
        sum.visits.to_string(),
        sum.uniques.to_string(),
        moment(Some(link.created_at)),
        moment(Some(link.updated_at)),
    ]
}

pub(super) fn of_qr_code(of: &Workspace, code: &QrCode, sum: Sum) -> [String; QR_CODE.len()] {
    let short_url = &of.app.settings.short_url;
    [
        code.id.to_string(),
        code.name.clone(),
        code.kind().name().to_owned(),
        code.is_dynamic().to_string(),
        code.text(short_url).into_owned(),
        code.short_code.clone().unwrap_or_default(),
        code.address(short_url).unwrap_or_default(),
        code.destination().unwrap_or_default().to_owned(),
        code.link_id.map(|id| id.to_string()).unwrap_or_default(),
        code.active.to_string(),
        moment(code.starts_at),
        moment(code.expires_at),
        number(code.max_scans),
        folder(of, code.folder_id),
        tags(of, &code.tag_ids),
        code.archived_at.is_some().to_string(),
        sum.visits.to_string(),
        sum.uniques.to_string(),
        moment(Some(code.created_at)),
        moment(Some(code.updated_at)),
    ]
}

pub(super) fn of_visit(visit: &Kept) -> [String; VISIT.len()] {
    let text = |text: &str| text.to_owned();
    [
        format!("scan_{}", spell(visit.id)),
        moment(Some(visit.at)),
        visit.target.to_string(),
        format!("{:016x}", visit.visitor),
        visit.is_unique.to_string(),
        visit.is_bot.to_string(),
        text(&visit.device),
        text(&visit.system),
        text(&visit.browser),
        text(&visit.country),
        text(&visit.region),
        text(&visit.language),
        text(&visit.referrer),
        text(&visit.branch),
    ]
}

fn folder(of: &Workspace, id: Option<LabelId>) -> String {
    id.and_then(|id| of.labels.get(&id).cloned()).unwrap_or_default()
}

fn tags(of: &Workspace, ids: &[Uuid]) -> String {
    let names: Vec<&str> = ids.iter().filter_map(|id| of.labels.get(&LabelId(*id)).map(String::as_str)).collect();
    names.join("|")
}

fn moment(at: Option<DateTime<Utc>>) -> String {
    at.map_or(String::new(), |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn number(n: Option<i64>) -> String {
    n.map_or(String::new(), |n| n.to_string())
}
