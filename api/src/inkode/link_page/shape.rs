//! Link pages on the wire.

use domain::link_page::{Entry, LinkPage as Row, PageOfLink, Target, Theme};
use poem_openapi::{Object, types::MaybeUndefined};
use serde::Deserialize;

use crate::{
    app::App,
    input,
    text::{self, Text},
    timestamp::Timestamp,
};

/// A page's colours, in two pairs that can be read on each other; a pair that is not given is the browser's, light or dark.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub(crate) struct LinkPageTheme {
    /// Behind everything.
    background: Option<Text<text::Colour>>,
    /// Of the texts on it.
    text: Option<Text<text::Colour>>,
    /// Of the buttons.
    button: Option<Text<text::Colour>>,
    /// Of the texts on them.
    button_text: Option<Text<text::Colour>>,
}

impl From<LinkPageTheme> for Theme {
    fn from(theme: LinkPageTheme) -> Self {
        let LinkPageTheme { background, text, button, button_text } = theme;
        let plain = |colour: Option<Text<text::Colour>>| colour.map(String::from);
        Self {
            background: plain(background),
            text: plain(text),
            button: plain(button),
            button_text: plain(button_text),
        }
    }
}

impl From<Theme> for LinkPageTheme {
    fn from(theme: Theme) -> Self {
        let Theme { background, text, button, button_text } = theme;
        let shown = |colour: Option<String>| colour.map(Text::from);
        Self {
            background: shown(background),
            text: shown(text),
            button: shown(button),
            button_text: shown(button_text),
        }
    }
}

/// What a page leads to: a link, or any address.
#[derive(Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub(crate) struct LinkPageEntry {
    /// What is read.
    pub(super) title: Text<text::PageTitle>,
    /// A link of yours. While it leads nowhere, the entry is not shown; when it is deleted, the entry goes with it.
    pub(super) link_id: Option<Text<text::LinkId>>,
    /// An address, where it is no link of yours.
    pub(super) url: Option<Text<text::Destination>>,
}

impl From<Entry> for LinkPageEntry {
    fn from(entry: Entry) -> Self {
        let (link_id, url) = match entry.target {
            Target::Link(id) => (Some(id.to_string().into()), None),
            Target::Url(url) => (None, Some(url.into())),
        };
        Self { title: entry.title.into(), link_id, url }
    }
}

input::objects!(LinkPageTheme LinkPageEntry);

/// A new link page.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
pub(crate) struct LinkPageInput {
    /// Its address behind `/p/`; one of seven characters is made if not given.
    pub(super) slug: Option<Text<text::Slug>>,
    /// What stands above.
    pub(super) title: Text<text::PageTitle>,
    /// What stands below that.
    pub(super) description: Option<Text<text::PageDescription>>,
    /// The language of its texts, for those who have them read aloud; `en` if not given.
    pub(super) language: Option<Text<text::Language>>,
    /// Its colours.
    pub(super) theme: Option<LinkPageTheme>,
    /// What it leads to, in order.
    #[oai(validator(max_items = 100))]
    pub(super) entries: Option<Vec<LinkPageEntry>>,
    /// Switched on; `true` if not given.
    pub(super) active: Option<bool>,
}

impl poem_openapi::types::Example for LinkPageInput {
    fn example() -> Self {
        let entry =
            LinkPageEntry { title: "Shop".into(), link_id: None, url: Some("https://shop.example.com/".into()) };
        Self {
            slug: Some("acme".into()),
            title: "Acme".into(),
            description: Some("All that we have.".into()),
            language: Some("en".into()),
            theme: Some(LinkPageTheme {
                button: Some("#113355".into()),
                button_text: Some("#ffffff".into()),
                ..LinkPageTheme::default()
            }),
            entries: Some(vec![entry]),
            active: None,
        }
    }
}

/// What changes in a link page. What is not given stays, and null takes away what can be absent.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(example)]
#[serde(default)]
pub(crate) struct LinkPagePatch {
    /// Its address behind `/p/`.
    pub(super) slug: Option<Text<text::Slug>>,
    /// What stands above.
    pub(super) title: Option<Text<text::PageTitle>>,
    /// What stands below that.
    pub(super) description: Option<Text<text::PageDescription>>,
    /// The language of its texts.
    pub(super) language: Option<Text<text::Language>>,
    /// Its colours, all of them.
    pub(super) theme: MaybeUndefined<LinkPageTheme>,
    /// What it leads to, all of it, in order.
    #[oai(validator(max_items = 100))]
    pub(super) entries: Option<Vec<LinkPageEntry>>,
    /// Switched on.
    pub(super) active: Option<bool>,
}

impl poem_openapi::types::Example for LinkPagePatch {
    fn example() -> Self {
        Self { title: Some("Acme & friends".into()), active: Some(true), ..Self::default() }
    }
}

/// A link page.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct LinkPage {
    /// Its id.
    id: Text<text::LinkPageId>,
    /// The address to hand out.
    url: Text<text::Url>,
    /// Its part behind `/p/`.
    slug: Text<text::Slug>,
    /// What stands above.
    title: String,
    /// What stands below that.
    description: String,
    /// The language of its texts.
    language: Text<text::Language>,
    /// Its colours.
    theme: Option<LinkPageTheme>,
    /// What it leads to, in order.
    entries: Vec<LinkPageEntry>,
    /// Your switch.
    active: bool,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
}

impl LinkPage {
    pub(super) fn new(app: &App, row: Row, entries: Vec<Entry>) -> Self {
        Self {
            id: row.id.to_string().into(),
            url: format!("{}/p/{}", app.settings.public_url, row.slug).into(),
            slug: row.slug.into(),
            title: row.title,
            description: row.description,
            language: row.language.into(),
            theme: row.theme.map(|theme| theme.0.into()),
            entries: entries.into_iter().map(Into::into).collect(),
            active: row.active,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        }
    }
}

/// A page of link pages, newest first.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct LinkPageList {
    /// The pages.
    pub(super) items: Vec<LinkPage>,
    /// The `cursor` of the next page; absent on the last.
    pub(super) next_cursor: Option<Text<text::LinkPageId>>,
}

/// A link page that a link is on.
#[derive(Debug, Object)]
pub(crate) struct LinkPageOfLink {
    /// Its id.
    id: Text<text::LinkPageId>,
    /// Its part behind `/p/`.
    slug: Text<text::Slug>,
    /// Its title.
    title: String,
}

impl From<PageOfLink> for LinkPageOfLink {
    fn from(page: PageOfLink) -> Self {
        Self { id: page.page_id.to_string().into(), slug: page.slug.into(), title: page.title }
    }
}
