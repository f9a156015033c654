//! QR codes: what they are about ([`content`]), how they look ([`style`], [`logo`]), the picture ([`picture`]) and the proof
//! that scanners read it ([`proof`]); and their rows.
//!
//! A static code carries its content, and nothing can change for whoever has its picture. A dynamic one carries the address
//! of a code, which leads to its own URL or through a short link.

pub mod content;
pub mod logo;
pub mod picture;
pub mod proof;
mod row;
pub mod style;
pub mod symbol;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

pub use self::row::{
    Filter, Shown, Summary, Wanted, attach, count_dynamic, deactivate, delete, find, find_all, hold, insert, library,
    list, list_behind, lock_dynamic, lock_expired, lock_many, lock_through, logo, summary, update,
};
use self::{
    content::Content,
    picture::{Format, NoPicture, Picture},
    style::Style,
};
use crate::{
    code,
    id::{LabelId, LinkId, OrgId, QrId, UserId},
    place,
};

/// The longest name, in characters.
pub const NAME_MAX: usize = 200;

/// A place in a list of QR codes.
pub type After = place::After<QrId>;

/// A QR code, but for its logo.
#[derive(Debug, Clone, PartialEq)]
pub struct QrCode {
    /// Its id.
    pub id: QrId,
    /// Whose it is.
    pub org_id: OrgId,
    /// What it is called.
    pub name: String,
    /// What it is about; nothing where only a link says where it leads.
    pub content: Option<Json<Content>>,
    /// What a static one's picture says.
    pub payload: Option<String>,
    /// The domain of a dynamic one's code; empty for the installation's own.
    pub domain: Option<String>,
    /// A dynamic one's code.
    pub short_code: Option<String>,
    /// The link that a dynamic one leads through.
    pub link_id: Option<LinkId>,
    /// How it looks.
    pub style: Json<Style>,
    /// Whether it has a logo.
    pub has_logo: bool,
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
    /// After how many scans it ends.
    pub max_scans: Option<i64>,
    /// Its folder.
    pub folder_id: Option<LabelId>,
    /// Its tags.
    pub tag_ids: Vec<Uuid>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was put away.
    pub archived_at: Option<DateTime<Utc>>,
}

impl QrCode {
    /// Whether it leads through a code.
    pub fn is_dynamic(&self) -> bool {
        self.short_code.is_some()
    }

    /// What kind of content it has. One that leads through a link leads to an address.
    pub fn kind(&self) -> content::Kind {
        self.content.as_ref().map_or(content::Kind::Url, |content| content.kind())
    }

    /// Where a dynamic one leads by itself.
    pub fn destination(&self) -> Option<&str> {
        match self.content.as_deref() {
            Some(Content::Url(url)) if self.is_dynamic() => Some(url),
            _ => None,
        }
    }

    /// The address of a dynamic one's code. `short_url` is where codes of the installation's own domain are reached.
    pub fn address(&self, short_url: &str) -> Option<String> {
        Some(code::address(short_url, self.domain.as_deref()?, self.short_code.as_deref()?))
    }

    /// The text in its picture.
    pub fn text(&self, short_url: &str) -> Cow<'_, str> {
        match &self.payload {
            Some(payload) => payload.into(),
            None => self.address(short_url).unwrap_or_default().into(),
        }
    }
}

/// The picture of a stored code, `size` pixels wide and high, as a file of `format`. `logo` is what [`logo`] found for it,
/// and `short_url` where codes of the installation's own domain are reached. It takes a millisecond or so, and with a logo
/// ten: not for a thread that others wait for.
pub fn draw(
    code: &QrCode,
    logo: Option<&[u8]>,
    short_url: &str,
    format: Format,
    size: u32,
) -> Result<Vec<u8>, NoPicture> {
    Ok(Picture::new(&code.text(short_url), *code.style, logo)?.file(format, size)?)
}
