//! Short links: a code of a domain that leads somewhere, while it is active.

pub mod batch;
mod row;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

pub use self::row::{
    Filter, SOON_DAYS, Wanted, count, deactivate, delete_many, find, find_all, find_by_slugs, hold, hold_many,
    insert_many, list, list_behind, lock_expired, lock_many, update_many,
};
use crate::{
    http_url::{HttpUrl, Rules},
    id::{LabelId, LinkId, OrgId, UserId},
    link_health::Health,
    place,
    routing::Routing,
    utm::Utm,
};

/// A place in a list of links.
pub type After = place::After<LinkId>;

/// The longest destination, in characters.
pub const DESTINATION_MAX: usize = 8000;
/// The longest title, in characters.
pub const TITLE_MAX: usize = 200;
/// The most tags of one link.
pub const TAGS_MAX: usize = 50;

/// A link.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its id.
    pub id: LinkId,
    /// Whose it is.
    pub org_id: OrgId,
    /// The domain of its code; empty for the installation's own.
    pub domain: String,
    /// Its code.
    pub slug: String,
    /// Where it leads.
    pub destination: String,
    /// Where it leads while that does not answer.
    pub fallback_destination: Option<String>,
    /// How its destination is, if that is asked; what changes here is brought to the rows by `link_health::follow`.
    pub health: Option<Json<Health>>,
    /// What it is called.
    pub title: String,
    /// What it adds to its destination.
    pub utm: Option<Json<Utm>>,
    /// Where else it leads, and whom.
    pub routing: Option<Json<Routing>>,
    /// The hash of its password (argon2id, PHC string).
    pub password_hash: Option<String>,
    /// Counts its passwords.
    pub password_version: i32,
    /// The owner's switch.
    pub active: bool,
    /// From when on it leads anywhere.
    pub starts_at: Option<DateTime<Utc>>,
    /// Until when.
    pub expires_at: Option<DateTime<Utc>>,
    /// After how many visits it ends.
    pub max_visits: Option<i64>,
    /// Its folder.
    pub folder_id: Option<LabelId>,
    /// Its tags.
    pub tag_ids: Vec<Uuid>,
    /// The QR codes that lead through it.
    pub qr_ids: Vec<Uuid>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was put away.
    pub archived_at: Option<DateTime<Utc>>,
}

impl Link {
    /// An open link to nowhere yet, without a code.
    pub fn new(id: LinkId, org_id: OrgId, now: DateTime<Utc>) -> Self {
        Self {
            id,
            org_id,
            domain: String::new(),
            slug: String::new(),
            destination: String::new(),
            fallback_destination: None,
            health: None,
            title: String::new(),
            utm: None,
            routing: None,
            password_hash: None,
            password_version: 0,
            active: true,
            starts_at: None,
            expires_at: None,
            max_visits: None,
            folder_id: None,
            tag_ids: vec![],
            qr_ids: vec![],
            created_by: None,
            created_at: now,
            updated_at: now,
            archived_at: None,
        }
    }
}

/// The rule that an address to lead to breaks, if it does: http or https, by the WHATWG URL Standard.
pub fn check_destination(text: &str) -> Result<(), String> {
    // A fragment is the browser's own affair, and names a place like anything else.
    let plain = text.split('#').next().unwrap_or(text);
    if text.chars().count() > DESTINATION_MAX || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("must be at most {DESTINATION_MAX} characters without white space"));
    }
    HttpUrl::parse(plain, Rules { allow_http: true, max_chars: DESTINATION_MAX }).map(drop).map_err(|e| e.to_string())
}
