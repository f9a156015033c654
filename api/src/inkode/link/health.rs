//! The health of a link's destination on the wire.

use domain::link_health::{Health, State};
use poem_openapi::{Enum, Object};

use crate::timestamp::Timestamp;

/// What is known of a destination.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum LinkHealthState {
    /// It was not asked yet, or has not failed often enough.
    Unknown,
    /// It answers.
    Healthy,
    /// It has not answered three times in a row, and not twice in a row since.
    Failing,
}

/// How a link's destination is.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub(super) struct LinkHealth {
    /// What is known.
    state: LinkHealthState,
    /// When it was last asked.
    checked_at: Option<Timestamp>,
    /// Since when the state is what it is.
    changed_at: Option<Timestamp>,
    /// The HTTP status of the last answer; absent if none came.
    status: Option<i32>,
    /// How often in a row it has failed.
    failures: i32,
    /// What was wrong with the last answer, in a sentence; absent if nothing was.
    reason: Option<String>,
    /// When the first certificate ends of those on the way to the destination.
    tls_expires_at: Option<Timestamp>,
    /// When it is asked again.
    next_check_at: Timestamp,
}

impl poem_openapi::types::Example for LinkHealth {
    fn example() -> Self {
        let at = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().expect("a moment");
        Health {
            state: State::Failing,
            checked_at: Some(at("2026-03-02T12:00:00Z")),
            changed_at: Some(at("2026-03-02T12:00:00Z")),
            status: Some(503),
            failures: 3,
            reason: "HTTP 503".into(),
            tls_expires_at: Some(at("2026-05-31T23:59:59Z")),
            next_at: at("2026-03-02T12:05:00Z"),
        }
        .into()
    }
}

impl From<Health> for LinkHealth {
    fn from(health: Health) -> Self {
        let Health { state, checked_at, changed_at, status, failures, reason, tls_expires_at, next_at } = health;
        Self {
            state: match state {
                State::Unknown => LinkHealthState::Unknown,
                State::Healthy => LinkHealthState::Healthy,
                State::Failing => LinkHealthState::Failing,
            },
            checked_at: checked_at.map(Into::into),
            changed_at: changed_at.map(Into::into),
            status,
            failures,
            reason: Some(reason).filter(|reason| !reason.is_empty()),
            tls_expires_at: tls_expires_at.map(Into::into),
            next_check_at: next_at.into(),
        }
    }
}
