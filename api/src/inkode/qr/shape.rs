//! QR codes on the wire.

use chrono::{DateTime, Utc};
use domain::{
    downgrade::{Edge, is_beyond},
    label::Kind,
    link::Link,
    qr::{Filter, QrCode as Row, Summary},
};
use poem_openapi::{
    Enum, Object,
    types::{Example, MaybeUndefined},
};
use serde::Deserialize;

use super::{
    content::QrContent,
    style::{QrErrorCorrection, QrShape, QrStyle, QrStyleInput},
};
use crate::{
    app::App,
    text::{self, Text},
    timestamp::{self, Timestamp},
};

/// A new QR code. A static one needs content; a dynamic one a URL or a link.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct QrCodeInput {
    /// What it is called.
    pub(super) name: Option<Text<text::Name>>,
    /// Whether it leads through a code, which can be changed after it was printed; `false` if not given. It stays so.
    pub(super) is_dynamic: Option<bool>,
    /// What it is about.
    pub(super) content: Option<QrContent>,
    /// The own domain that a dynamic one's code stands on, which must be proven; the installation's own if not given.
    pub(super) domain: Option<Text<text::DomainName>>,
    /// A dynamic one's code, in one space with the slugs of links; one of seven characters is made if not given.
    pub(super) short_code: Option<Text<text::Slug>>,
    /// The link that a dynamic one leads through: it leads where the link leads.
    pub(super) link_id: Option<Text<text::LinkId>>,
    /// How it looks.
    pub(super) style: Option<QrStyleInput>,
    /// What those who scan a dynamic one must know, 1 to 200 characters.
    pub(super) password: Option<Text<text::Password>>,
    /// Switched on; `true` if not given. Only a dynamic one can be switched off.
    pub(super) active: Option<bool>,
    /// From when on a dynamic one leads anywhere.
    #[serde(deserialize_with = "timestamp::read")]
    pub(super) starts_at: Option<DateTime<Utc>>,
    /// Until when.
    #[serde(deserialize_with = "timestamp::read")]
    pub(super) expires_at: Option<DateTime<Utc>>,
    /// After how many scans a dynamic one ends.
    #[oai(validator(minimum(value = "1")))]
    pub(super) max_scans: Option<i64>,
    /// Its folder.
    pub(super) folder_id: Option<Text<text::FolderId>>,
    /// Its tags.
    #[oai(validator(max_items = 50, unique_items))]
    pub(super) tag_ids: Option<Vec<Text<text::TagId>>>,
}

impl Example for QrCodeInput {
    fn example() -> Self {
        Self {
            name: Some("Summer promo".into()),
            is_dynamic: Some(true),
            content: Some(QrContent::url("https://shop.example.com/summer")),
            short_code: Some("summer24".into()),
            style: Some(QrStyleInput {
                foreground: Some("#123a7b".into()),
                error_correction: Some(QrErrorCorrection::Q),
                shape: Some(QrShape::Rounded),
                ..QrStyleInput::default()
            }),
            max_scans: Some(10_000),
            ..Self::default()
        }
    }
}

/// What changes in a QR code. What is not given stays, and null takes away what can be absent.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct QrCodePatch {
    /// What it is called.
    pub(super) name: Option<Text<text::Name>>,
    /// What it is about. It changes the picture of a static one.
    pub(super) content: MaybeUndefined<QrContent>,
    /// The own domain that a dynamic one's code stands on; null for the installation's own. It changes the picture.
    pub(super) domain: MaybeUndefined<Text<text::DomainName>>,
    /// A dynamic one's code. It changes the picture, and the code that it had leads nowhere from then on.
    pub(super) short_code: Option<Text<text::Slug>>,
    /// The link that a dynamic one leads through.
    pub(super) link_id: MaybeUndefined<Text<text::LinkId>>,
    /// How it looks.
    pub(super) style: Option<QrStyleInput>,
    /// What those who scan a dynamic one must know.
    pub(super) password: MaybeUndefined<Text<text::Password>>,
    /// Switched on.
    pub(super) active: Option<bool>,
    /// From when on a dynamic one leads anywhere.
    #[serde(deserialize_with = "timestamp::change")]
    pub(super) starts_at: MaybeUndefined<DateTime<Utc>>,
    /// Until when.
    #[serde(deserialize_with = "timestamp::change")]
    pub(super) expires_at: MaybeUndefined<DateTime<Utc>>,
    /// After how many scans a dynamic one ends.
    #[oai(validator(minimum(value = "1")))]
    pub(super) max_scans: MaybeUndefined<i64>,
    /// Its folder.
    pub(super) folder_id: MaybeUndefined<Text<text::FolderId>>,
    /// Its tags, all of them.
    #[oai(validator(max_items = 50, unique_items))]
    pub(super) tag_ids: Option<Vec<Text<text::TagId>>>,
    /// Whether it is put away: lists show it only when they are asked to, and a dynamic one leads nowhere.
    pub(super) archived: Option<bool>,
}

impl Example for QrCodePatch {
    fn example() -> Self {
        Self {
            content: MaybeUndefined::Value(QrContent::url("https://shop.example.com/autumn")),
            expires_at: MaybeUndefined::Null,
            ..Self::default()
        }
    }
}

/// The link that a code leads through.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct QrLink {
    /// Its id.
    id: Text<text::LinkId>,
    /// Its own code.
    slug: Text<text::Slug>,
    /// Its own address.
    short_url: Text<text::Url>,
    /// Where it leads.
    destination: Text<text::Url>,
    /// What it is called.
    title: String,
    /// Whether it is switched on.
    active: bool,
    /// Whether it is put away.
    archived: bool,
}

impl QrLink {
    fn new(app: &App, link: Link) -> Self {
        Self {
            id: link.id.to_string().into(),
            short_url: domain::code::address(&app.settings.short_url, &link.domain, &link.slug).into(),
            slug: link.slug.into(),
            destination: link.destination.into(),
            title: link.title,
            active: link.active,
            archived: link.archived_at.is_some(),
        }
    }
}

/// A QR code.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct QrCode {
    /// Its id.
    id: Text<text::QrId>,
    /// What it is called.
    name: String,
    /// What kind of content it has.
    r#type: Text<text::QrType>,
    /// Whether it leads through a code.
    is_dynamic: bool,
    /// What it is about; absent where only a link says where it leads.
    content: Option<QrContent>,
    /// The text in its picture.
    encodes: String,
    /// The own domain that a dynamic one's code stands on; absent where it is the installation's own.
    domain: Option<Text<text::DomainName>>,
    /// A dynamic one's code.
    short_code: Option<Text<text::Slug>>,
    /// The address of that code.
    short_url: Option<Text<text::Url>>,
    /// The link that a dynamic one leads through.
    link_id: Option<Text<text::LinkId>>,
    /// The same link.
    link: Option<QrLink>,
    /// How it looks.
    style: QrStyle,
    /// Where its picture is: PNG, and by `format` SVG or PDF.
    image_url: Text<text::Url>,
    /// Whether those who scan it must know a password.
    has_password: bool,
    /// Your switch.
    active: bool,
    /// From when on it leads anywhere.
    starts_at: Option<Timestamp>,
    /// Until when.
    expires_at: Option<Timestamp>,
    /// After how many scans it ends.
    max_scans: Option<i64>,
    /// How often people scanned it, as far as it was counted.
    scans: i64,
    /// Its folder.
    folder_id: Option<Text<text::FolderId>>,
    /// Its tags.
    tag_ids: Vec<Text<text::TagId>>,
    /// Whether it is a dynamic one that is beyond the plan: it leads on, and can be put away and deleted, but not changed.
    locked: bool,
    /// Whether it is put away.
    archived: bool,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
}

impl QrCode {
    pub(super) fn new(app: &App, row: Row, link: Option<Link>, scans: i64, edge: Option<Edge>) -> Self {
        let short_url = &app.settings.short_url;
        Self {
            r#type: row.kind().name().into(),
            is_dynamic: row.is_dynamic(),
            locked: row.is_dynamic() && row.archived_at.is_none() && is_beyond(edge, row.id.0),
            encodes: row.text(short_url).into_owned(),
            short_url: row.address(short_url).map(Into::into),
            style: QrStyle::new(&row.style, row.has_logo),
            image_url: format!("{}/api/qr/{}/image", app.settings.public_url, row.id).into(),
            id: row.id.to_string().into(),
            name: row.name,
            content: row.content.map(|content| content.0.into()),
            domain: row.domain.filter(|domain| !domain.is_empty()).map(Into::into),
            short_code: row.short_code.map(Into::into),
            link_id: row.link_id.map(|id| id.to_string().into()),
            link: link.map(|link| QrLink::new(app, link)),
            has_password: row.password_hash.is_some(),
            active: row.active,
            starts_at: row.starts_at.map(Into::into),
            expires_at: row.expires_at.map(Into::into),
            max_scans: row.max_scans,
            scans,
            folder_id: row.folder_id.map(|id| Kind::Folder.spell(id).into()),
            tag_ids: row.tag_ids.into_iter().map(|id| Kind::Tag.spell(domain::id::LabelId(id)).into()).collect(),
            archived: row.archived_at.is_some(),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        }
    }
}

/// What all codes of the workspace come to, whatever the list shows of them.
#[derive(Debug, Object)]
pub(super) struct QrSummary {
    /// Codes that are not put away.
    total: i64,
    /// Of these, those that can be scanned now.
    active: i64,
    /// Of these, those that lead through a code.
    dynamic: i64,
    /// Of these, those that carry their content.
    r#static: i64,
    /// Codes that are put away.
    archived: i64,
    /// How often people scanned any of them, as far as it was counted.
    scans: i64,
}

impl From<Summary> for QrSummary {
    fn from(summary: Summary) -> Self {
        let Summary { total, active, dynamic, archived, scans } = summary;
        Self { total, active, dynamic, r#static: total - dynamic, archived, scans }
    }
}

/// A page of QR codes.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct QrCodePage {
    /// The codes.
    pub(super) items: Vec<QrCode>,
    /// What all codes of the workspace come to.
    pub(super) summary: QrSummary,
    /// The `cursor` of the next page; absent on the last.
    pub(super) next_cursor: Option<Text<text::QrCursor>>,
}

/// Which QR codes a list has.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(super) enum QrFilter {
    /// All that are not put away.
    All,
    /// Those that can be scanned now.
    Active,
    /// The others.
    Inactive,
    /// Those that end within seven days.
    Expiring,
    /// Those that lead through a code.
    Dynamic,
    /// Those that carry their content.
    Static,
    /// Those that are put away.
    Archived,
}

impl From<QrFilter> for Filter {
    fn from(filter: QrFilter) -> Self {
        match filter {
            QrFilter::All => Self::All,
            QrFilter::Active => Self::Active,
            QrFilter::Inactive => Self::Inactive,
            QrFilter::Expiring => Self::Expiring,
            QrFilter::Dynamic => Self::Dynamic,
            QrFilter::Static => Self::Static,
            QrFilter::Archived => Self::Archived,
        }
    }
}

/// The order of a list.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(super) enum QrSort {
    /// The newest first.
    Created,
    /// What was changed last first.
    Updated,
    /// By name.
    Name,
}

impl From<QrSort> for domain::place::Sort {
    fn from(sort: QrSort) -> Self {
        match sort {
            QrSort::Created => Self::Created,
            QrSort::Updated => Self::Updated,
            QrSort::Name => Self::Title,
        }
    }
}
