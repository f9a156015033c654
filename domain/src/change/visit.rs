//! Visits: a click on a link and a scan of a QR code. Robots are told of only where the body can say that it was one.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Change::Visited, Happened, Row, Subject, millis, owner_number, seconds};
use crate::{
    dialect::DialectName::{Iloveqr, Inkode, Qrstudio},
    id::{LinkId, spell},
};

/// What is known of a visit. What is not known is null in bodies, or the empty text where a document shows texts only.
#[derive(Debug, Clone, Default)]
pub struct Visit {
    /// The visit's own id.
    pub id: Uuid,
    /// When it was.
    pub at: DateTime<Utc>,
    /// Where it was sent.
    pub destination: String,
    /// Two letters (ISO 3166-1).
    pub country: Option<String>,
    /// The town.
    pub city: Option<String>,
    /// Latitude and longitude, in degrees.
    pub position: Option<(f64, f64)>,
    /// The kind of device.
    pub device: Option<String>,
    /// The operating system.
    pub system: Option<String>,
    /// The browser.
    pub browser: Option<String>,
    /// Where the visitor came from.
    pub referrer: Option<String>,
    /// What the browser says of itself, if that is kept.
    pub user_agent: Option<String>,
    /// Whether it was a robot.
    pub is_bot: bool,
    /// Whether it was the visitor's first.
    pub is_unique: bool,
    /// The rule or variant that sent it; nothing for the default.
    pub branch: Option<String>,
}

/// Somebody followed a link.
#[derive(Debug, Clone)]
pub struct Click {
    /// The link.
    pub link_id: LinkId,
    /// Its code.
    pub slug: String,
    /// The visit.
    pub visit: Visit,
}

impl Subject for Click {
    const TABLE: &'static [Row<Self>] = &[Row::new(Visited, Inkode, "link.clicked", |it| {
        let Click { link_id, slug, visit } = &it.subject;
        inkode(visit, json!({"id": link_id.to_string(), "slug": slug}))
    })];
}

/// Somebody scanned a dynamic QR code.
#[derive(Debug, Clone)]
pub struct Scan {
    /// The code's id as it is spelled outside, `qr_…`.
    pub qr_id: String,
    /// What it is called.
    pub name: String,
    /// Its code.
    pub short_code: String,
    /// The visit.
    pub visit: Visit,
}

impl Subject for Scan {
    const TABLE: &'static [Row<Self>] = &[
        Row::new(Visited, Inkode, "qr.scanned", |it| {
            let Scan { qr_id, name, short_code, visit } = &it.subject;
            inkode(visit, json!({"id": qr_id, "name": name, "shortCode": short_code}))
        }),
        Row::new(Visited, Iloveqr, "qr.scanned", iloveqr),
        Row::new(Visited, Qrstudio, "scan.created", |it| Some(qrstudio(it))),
    ];
}

fn inkode(visit: &Visit, of: Value) -> Option<Value> {
    if visit.is_bot {
        return None;
    }
    let mut data = of;
    for (key, value) in [
        ("visitId", json!(visit_id(visit))),
        ("at", json!(millis(visit.at))),
        ("destination", json!(visit.destination)),
        ("country", json!(visit.country)),
        ("device", json!(visit.device)),
        ("os", json!(visit.system)),
        ("browser", json!(visit.browser)),
        ("referrer", json!(visit.referrer)),
        ("isUnique", json!(visit.is_unique)),
        ("branch", json!(visit.branch)),
    ] {
        data[key] = value;
    }
    Some(data)
}

fn iloveqr(happened: &Happened<Scan>) -> Option<Value> {
    let Scan { qr_id, name, short_code, visit } = &happened.subject;
    (!visit.is_bot).then(|| {
        json!({
            "qrCodeId": qr_id, "qrCodeName": name, "shortCode": short_code, "destinationUrl": visit.destination,
            "scan": {
                "id": visit_id(visit),
                "timestamp": seconds(visit.at),
                "location": {
                    "country": visit.country, "city": visit.city,
                    "latitude": visit.position.map(|at| at.0), "longitude": visit.position.map(|at| at.1),
                },
                "device": {"type": visit.device, "os": visit.system, "browser": visit.browser},
                "isUnique": visit.is_unique,
            },
        })
    })
}

fn qrstudio(happened: &Happened<Scan>) -> Value {
    let Scan { name, short_code, visit, .. } = &happened.subject;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    json!({
        "short_id": short_code, "name": name, "owner_id": owner_number(happened.org_id),
        "destination_url": visit.destination, "scanned_at": millis(visit.at), "country": text(&visit.country),
        "city": text(&visit.city), "device_family": text(&visit.device), "os_family": text(&visit.system),
        "browser_family": text(&visit.browser), "referer": text(&visit.referrer),
        "user_agent": text(&visit.user_agent), "is_bot": visit.is_bot,
        "variant_label": visit.branch.as_deref().unwrap_or("(default)"),
    })
}

fn visit_id(visit: &Visit) -> String {
    format!("scan_{}", spell(visit.id))
}
