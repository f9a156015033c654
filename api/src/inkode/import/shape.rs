//! Imports on the wire.

use domain::import::{Columns, Format, LineResult, Outcome};
use poem_openapi::{Enum, Object, types::Example};
use serde::Deserialize;

use crate::{
    input,
    text::{self, Text},
    timestamp::Timestamp,
};

/// Where a file comes from.
#[derive(Debug, Clone, Copy, Enum, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub(super) enum ImportFormat {
    /// CSV with a line of names.
    Csv,
    /// Bitly's CSV or JSON.
    Bitly,
    /// YOURLS' CSV or JSON.
    Yourls,
    /// Shlink's CSV or JSON.
    Shlink,
}

impl From<ImportFormat> for Format {
    fn from(format: ImportFormat) -> Self {
        match format {
            ImportFormat::Csv => Self::Csv,
            ImportFormat::Bitly => Self::Bitly,
            ImportFormat::Yourls => Self::Yourls,
            ImportFormat::Shlink => Self::Shlink,
        }
    }
}

impl From<Format> for ImportFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Csv => Self::Csv,
            Format::Bitly => Self::Bitly,
            Format::Yourls => Self::Yourls,
            Format::Shlink => Self::Shlink,
        }
    }
}

/// The names of a CSV file's columns, where they are others than the usual.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub(super) struct ImportColumns {
    /// Where links lead.
    destination: Option<Text<text::Name>>,
    /// Their codes.
    slug: Option<Text<text::Name>>,
    /// What they are called.
    title: Option<Text<text::Name>>,
    /// Names of tags, separated by comma, semicolon or bar.
    tags: Option<Text<text::Name>>,
    /// From when on they lead anywhere.
    starts_at: Option<Text<text::Name>>,
    /// Until when.
    expires_at: Option<Text<text::Name>>,
    /// After how many visits they end.
    max_visits: Option<Text<text::Name>>,
}

input::objects!(ImportColumns);

impl From<ImportColumns> for Columns {
    fn from(columns: ImportColumns) -> Self {
        let name = |name: Option<Text<text::Name>>| name.map(String::from);
        Self {
            destination: name(columns.destination),
            slug: name(columns.slug),
            title: name(columns.title),
            tags: name(columns.tags),
            starts_at: name(columns.starts_at),
            expires_at: name(columns.expires_at),
            max_visits: name(columns.max_visits),
        }
    }
}

/// A file with links.
#[derive(Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImportInput {
    /// Where it comes from.
    #[serde(deserialize_with = "input::required_word")]
    pub(super) format: ImportFormat,
    /// What is in it, at most 8 MiB with the rest of the body.
    pub(super) data: Text<text::FileText>,
    /// The names of its columns, where they are others than the usual; for CSV.
    pub(super) columns: Option<ImportColumns>,
    /// Whether a link of yours that has a line's slug already is changed; otherwise the line is skipped.
    pub(super) update_existing: Option<bool>,
}

impl Example for ImportInput {
    fn example() -> Self {
        Self {
            format: ImportFormat::Csv,
            data: "Target,Code,Name\nhttps://shop.example.com/summer,summer24,Summer promo\n".into(),
            columns: Some(ImportColumns {
                destination: Some("Target".into()),
                slug: Some("Code".into()),
                title: Some("Name".into()),
                ..ImportColumns::default()
            }),
            update_existing: Some(false),
        }
    }
}

/// Where an import stands.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
enum ImportState {
    /// Lines are on their way.
    Running,
    /// Each line has ended.
    Done,
}

/// An import and how far it has come.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct Import {
    /// Its id.
    id: Text<text::ImportId>,
    /// Where its file comes from.
    format: ImportFormat,
    /// Where it stands.
    state: ImportState,
    /// Whether links that exist are changed.
    update_existing: bool,
    /// How many lines it has.
    total: i32,
    /// How many created a link.
    created: i32,
    /// How many changed one.
    updated: i32,
    /// How many did nothing.
    skipped: i32,
    /// When it began.
    created_at: Timestamp,
    /// When its last line ended.
    finished_at: Option<Timestamp>,
}

impl From<super::Row> for Import {
    fn from(row: super::Row) -> Self {
        Self {
            id: row.id.to_string().into(),
            format: row.format.into(),
            state: if row.finished_at.is_some() { ImportState::Done } else { ImportState::Running },
            update_existing: row.update_existing,
            total: row.total,
            created: row.created,
            updated: row.updated,
            skipped: row.skipped,
            created_at: row.created_at.into(),
            finished_at: row.finished_at.map(Into::into),
        }
    }
}

/// A page of imports, newest first.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct ImportPage {
    /// The imports.
    pub(super) items: Vec<Import>,
    /// The `cursor` of the next page; absent on the last.
    pub(super) next_cursor: Option<Text<text::ImportId>>,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
pub(super) enum ImportOutcome {
    /// A link was created.
    Created,
    /// The link with its slug was changed.
    Updated,
    /// Nothing, for a reason.
    Skipped,
}

impl From<ImportOutcome> for Outcome {
    fn from(outcome: ImportOutcome) -> Self {
        match outcome {
            ImportOutcome::Created => Self::Created,
            ImportOutcome::Updated => Self::Updated,
            ImportOutcome::Skipped => Self::Skipped,
        }
    }
}

impl From<Outcome> for ImportOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Created => Self::Created,
            Outcome::Updated => Self::Updated,
            Outcome::Skipped => Self::Skipped,
        }
    }
}

/// How a line ended.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct ImportResult {
    /// Where it begins in the file, from 1; in JSON the number of the item.
    line: i64,
    /// What became of it.
    outcome: ImportOutcome,
    /// Why nothing did.
    reason: Option<String>,
    /// The link.
    link_id: Option<Text<text::LinkId>>,
}

impl From<LineResult> for ImportResult {
    fn from(result: LineResult) -> Self {
        Self {
            line: result.line,
            outcome: result.outcome.into(),
            reason: result.reason,
            link_id: result.link_id.map(|id| id.to_string().into()),
        }
    }
}

/// A page of results, in the order of the file.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct ImportResultPage {
    /// The results.
    pub(super) items: Vec<ImportResult>,
    /// The `cursor` of the next page; absent on the last.
    pub(super) next_cursor: Option<Text<text::PlaceCursor>>,
}
