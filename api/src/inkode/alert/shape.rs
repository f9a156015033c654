//! Alerts on the wire.

use domain::alert::{Alert as Row, Watch};
use poem_openapi::{Enum, Object, types::Example};
use serde::Deserialize;

use crate::{
    input,
    text::{self, Text},
    timestamp::Timestamp,
};

/// What an alert watches for.
#[derive(Debug, Clone, Copy, Enum, Deserialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub(super) enum AlertKind {
    /// In the last whole hour at least `visits` visits, and at least `factor` times the mean of the week before.
    Spike,
    /// No visit for `hours` hours.
    Silence,
    /// `visits` visits in all.
    Threshold,
}

/// A new alert.
#[derive(Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub(super) struct AlertInput {
    /// The link or dynamic QR code.
    pub(super) target_id: Text<text::CodeOwnerId>,
    /// What it watches for.
    #[serde(deserialize_with = "input::required_word")]
    pub(super) kind: AlertKind,
    /// Of a threshold: how many visits in all. Of a spike: how many in an hour at least, 20 if not given.
    #[oai(validator(minimum(value = "1")))]
    pub(super) visits: Option<i64>,
    /// Of a spike: how many times the usual, 3 if not given.
    #[oai(validator(minimum(value = "2"), maximum(value = "1000")))]
    pub(super) factor: Option<i32>,
    /// Of a silence: how many hours, 24 if not given.
    #[oai(validator(minimum(value = "1"), maximum(value = "8760")))]
    pub(super) hours: Option<i32>,
    /// Switched on; `true` if not given.
    pub(super) active: Option<bool>,
}

impl Example for AlertInput {
    fn example() -> Self {
        Self {
            target_id: "link_01KJQ6PSG0EC78V5NZFZCHSTM3".into(),
            kind: AlertKind::Spike,
            visits: Some(50),
            factor: Some(5),
            hours: None,
            active: Some(true),
        }
    }
}

/// What changes in an alert; what is not given stays.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AlertPatch {
    /// Of a threshold: how many visits in all. Of a spike: how many in an hour at least.
    #[oai(validator(minimum(value = "1")))]
    pub(super) visits: Option<i64>,
    /// Of a spike: how many times the usual.
    #[oai(validator(minimum(value = "2"), maximum(value = "1000")))]
    pub(super) factor: Option<i32>,
    /// Of a silence: how many hours.
    #[oai(validator(minimum(value = "1"), maximum(value = "8760")))]
    pub(super) hours: Option<i32>,
    /// Switched on.
    pub(super) active: Option<bool>,
}

impl Example for AlertPatch {
    fn example() -> Self {
        Self { visits: Some(100), active: Some(true), ..Self::default() }
    }
}

/// An alert about visits.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub(super) struct Alert {
    /// Its id.
    id: Text<text::AlertId>,
    /// The link or QR code.
    target_id: Text<text::CodeOwnerId>,
    /// What it watches for.
    kind: AlertKind,
    /// Of a threshold: how many visits in all. Of a spike: how many in an hour at least.
    visits: Option<i64>,
    /// Of a spike: how many times the usual.
    factor: Option<i32>,
    /// Of a silence: how many hours.
    hours: Option<i32>,
    /// Your switch.
    active: bool,
    /// Since when it holds; absent while it does not.
    raised_at: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
}

impl Example for Alert {
    fn example() -> Self {
        let at = "2026-03-02T12:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().expect("a moment");
        Self {
            id: "alr_01KJQ6PSG0EC78V5NZFZCHSTM3".into(),
            target_id: "link_01KJQ6PSG0EC78V5NZFZCHSTM3".into(),
            kind: AlertKind::Spike,
            visits: Some(50),
            factor: Some(5),
            hours: None,
            active: true,
            raised_at: None,
            created_at: at.into(),
            updated_at: at.into(),
        }
    }
}

impl From<Row> for Alert {
    fn from(row: Row) -> Self {
        let (kind, visits, factor, hours) = match row.watch {
            Watch::Spike { visits, factor } => (AlertKind::Spike, Some(visits), Some(factor), None),
            Watch::Silence { hours } => (AlertKind::Silence, None, None, Some(hours)),
            Watch::Threshold { visits } => (AlertKind::Threshold, Some(visits), None, None),
        };
        Self {
            id: row.id.to_string().into(),
            target_id: row.target.to_string().into(),
            kind,
            visits,
            factor,
            hours,
            active: row.active,
            raised_at: row.raised_at.map(Into::into),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        }
    }
}

/// A page of alerts, newest first.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct AlertPage {
    /// The alerts.
    pub(super) items: Vec<Alert>,
    /// The `cursor` of the next page; absent on the last.
    pub(super) next_cursor: Option<Text<text::AlertId>>,
}
