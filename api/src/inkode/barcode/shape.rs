//! Barcodes on the wire.

use domain::{
    barcode::{Barcode as Row, Filter, Integration as Bound, Style},
    downgrade::{Edge, is_beyond},
    label::Kind,
    user::User,
};
use poem_openapi::{
    Enum, Object,
    types::{Example, MaybeUndefined},
};
use serde::Deserialize;

use crate::{
    input,
    text::{self, Text},
    timestamp::Timestamp,
};

/// How a barcode is drawn. A member that is not given stays, and null makes it what it is by itself.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub(super) struct BarcodeStyleInput {
    /// The colour of bars and cells; `#000000` by itself.
    pub(super) foreground: MaybeUndefined<Text<text::Colour>>,
    /// The colour around them; `#ffffff` by itself. It must be much lighter, in red light too.
    pub(super) background: MaybeUndefined<Text<text::Colour>>,
    /// The empty margin on either side, in modules (the narrowest bar); what the type needs by itself, and never less.
    #[oai(validator(minimum(value = "0"), maximum(value = "60")))]
    pub(super) quiet_zone: MaybeUndefined<u32>,
    /// How high bars are, in percent of the width of all of them; 40 by itself. Types with cells have their own height.
    #[oai(validator(minimum(value = "15"), maximum(value = "100")))]
    pub(super) bar_height: MaybeUndefined<u32>,
}

/// What a barcode stands for in another system.
#[derive(Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase", remote = "Self")]
pub(super) struct BarcodeIntegrationInput {
    /// The system: lower-case letters, digits, `.`, `_`, `-`.
    pub(super) provider: Text<text::Provider>,
    /// The thing's id there.
    pub(super) external_id: Text<text::ExternalId>,
    /// Where it is seen.
    pub(super) url: Option<Text<text::ExternalUrl>>,
}

input::objects!(BarcodeStyleInput BarcodeIntegrationInput);

/// A new barcode.
#[derive(Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub(super) struct BarcodeInput {
    /// What kind it is of.
    pub(super) r#type: Text<text::BarcodeType>,
    /// What scanners read. A number without its check digit gets it.
    pub(super) value: Text<text::BarcodeValue>,
    /// What it is called.
    pub(super) name: Option<Text<text::Name>>,
    /// How it is drawn.
    pub(super) style: Option<BarcodeStyleInput>,
    /// Switched on; `true` if not given.
    pub(super) active: Option<bool>,
    /// Its folder.
    pub(super) folder_id: Option<Text<text::FolderId>>,
    /// Its tags.
    #[oai(validator(max_items = 50, unique_items))]
    pub(super) tag_ids: Option<Vec<Text<text::TagId>>>,
    /// What it stands for in another system.
    pub(super) integration: Option<BarcodeIntegrationInput>,
}

impl Example for BarcodeInput {
    fn example() -> Self {
        Self {
            r#type: "EAN_13".into(),
            value: "400638133393".into(),
            name: Some("Pencil".into()),
            style: Some(BarcodeStyleInput { bar_height: MaybeUndefined::Value(50), ..BarcodeStyleInput::default() }),
            active: Some(true),
            folder_id: None,
            tag_ids: None,
            integration: Some(BarcodeIntegrationInput {
                provider: "shopify".into(),
                external_id: "gid://shopify/Product/42".into(),
                url: Some("https://shop.example.com/products/42".into()),
            }),
        }
    }
}

/// What changes in a barcode. What is not given stays, and null takes away what can be absent.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BarcodePatch {
    /// What kind it is of. The value stays, if it is one of that kind too.
    pub(super) r#type: Option<Text<text::BarcodeType>>,
    /// What scanners read.
    pub(super) value: Option<Text<text::BarcodeValue>>,
    /// What it is called.
    pub(super) name: Option<Text<text::Name>>,
    /// How it is drawn.
    pub(super) style: MaybeUndefined<BarcodeStyleInput>,
    /// Switched on.
    pub(super) active: Option<bool>,
    /// Its folder.
    pub(super) folder_id: MaybeUndefined<Text<text::FolderId>>,
    /// Its tags, all of them.
    #[oai(validator(max_items = 50, unique_items))]
    pub(super) tag_ids: Option<Vec<Text<text::TagId>>>,
    /// What it stands for in another system.
    pub(super) integration: MaybeUndefined<BarcodeIntegrationInput>,
    /// Whether it is put away: lists show it only when they are asked to.
    pub(super) archived: Option<bool>,
}

impl Example for BarcodePatch {
    fn example() -> Self {
        Self { name: Some("Pencil, red".into()), integration: MaybeUndefined::Null, ..Self::default() }
    }
}

/// How a barcode is drawn.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct BarcodeStyle {
    /// The colour of bars and cells.
    foreground: Text<text::Colour>,
    /// The colour around them.
    background: Text<text::Colour>,
    /// The empty margin on either side, in modules.
    quiet_zone: u32,
    /// How high bars are, in percent of the width of all of them.
    bar_height: u32,
}

impl BarcodeStyle {
    fn new(row: &Row) -> Self {
        let Style { foreground, background, bar_height, .. } = row.style.0;
        Self {
            foreground: foreground.to_string().into(),
            background: background.to_string().into(),
            quiet_zone: row.style.quiet(row.kind),
            bar_height,
        }
    }
}

/// What a barcode stands for in another system.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct BarcodeIntegration {
    /// The system.
    provider: Text<text::Provider>,
    /// The thing's id there.
    external_id: String,
    /// Where it is seen.
    url: Option<Text<text::Url>>,
    /// Since when the barcode stands for it.
    linked_at: Timestamp,
}

impl From<Bound> for BarcodeIntegration {
    fn from(bound: Bound) -> Self {
        Self {
            provider: bound.provider.into(),
            external_id: bound.external_id,
            url: bound.url.map(Into::into),
            linked_at: bound.at.into(),
        }
    }
}

/// Who made something.
#[derive(Debug, Object)]
struct Creator {
    /// Their id.
    id: Text<text::UserId>,
    /// What they are called; may be empty.
    name: String,
    /// Where they are written to.
    email: String,
}

/// A barcode.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct Barcode {
    /// Its id.
    id: Text<text::BarcodeId>,
    /// What it is called.
    name: String,
    /// What kind it is of.
    r#type: Text<text::BarcodeType>,
    /// What scanners read, check digit included.
    value: String,
    /// How it is drawn.
    style: BarcodeStyle,
    /// Your switch.
    active: bool,
    /// Its folder.
    folder_id: Option<Text<text::FolderId>>,
    /// Its tags.
    tag_ids: Vec<Text<text::TagId>>,
    /// What it stands for in another system.
    integration: Option<BarcodeIntegration>,
    /// Who made it, where one barcode is asked for and its maker is still a member.
    created_by: Option<Creator>,
    /// Whether it is put away.
    archived: bool,
    /// Whether it is beyond the plan: it can be drawn, put away and deleted, but not changed.
    locked: bool,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
}

impl Barcode {
    pub(super) fn new(row: Row, maker: Option<User>, edge: Option<Edge>) -> Self {
        Self {
            locked: row.archived_at.is_none() && is_beyond(edge, row.id.0),
            style: BarcodeStyle::new(&row),
            id: row.id.to_string().into(),
            name: row.name,
            r#type: row.kind.name().into(),
            value: row.value,
            active: row.active,
            folder_id: row.folder_id.map(|id| Kind::Folder.spell(id).into()),
            tag_ids: row.tag_ids.into_iter().map(|id| Kind::Tag.spell(domain::id::LabelId(id)).into()).collect(),
            integration: row.integration.map(Into::into),
            created_by: maker.map(|maker| Creator {
                id: maker.id.to_string().into(),
                name: maker.name,
                email: maker.email.as_str().to_owned(),
            }),
            archived: row.archived_at.is_some(),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        }
    }
}

/// A page of barcodes, newest first.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct BarcodePage {
    /// The barcodes.
    pub(super) items: Vec<Barcode>,
    /// The `cursor` of the next page; absent on the last.
    pub(super) next_cursor: Option<Text<text::BarcodeId>>,
}

/// Which barcodes a list has.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(super) enum BarcodeFilter {
    /// All that are not put away.
    All,
    /// Those that are switched on.
    Active,
    /// The others.
    Inactive,
    /// Those that are put away.
    Archived,
}

impl From<BarcodeFilter> for Filter {
    fn from(filter: BarcodeFilter) -> Self {
        match filter {
            BarcodeFilter::All => Self::All,
            BarcodeFilter::Active => Self::Active,
            BarcodeFilter::Inactive => Self::Inactive,
            BarcodeFilter::Archived => Self::Archived,
        }
    }
}
