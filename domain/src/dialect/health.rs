//! The health ladder: active → degraded → disabled, and back.
//!
//! A pure step over what was observed. Degrading comes before disabling and leaves the owner time to act, so that the
//! mail about it arrives before the door shuts. Only [`HealthState::reactivate`] leads out of disabled. The owner's own
//! switch (`enabled`) is no health and is not looked at here.

use chrono::{DateTime, TimeDelta, Utc};

/// A dialect's rules for endpoints that fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ladder {
    /// Failed attempts in a row that degrade.
    pub degrade_after: i32,
    /// What disables a degraded endpoint.
    pub disable: DisableRule,
    /// The least time between degrading and disabling by the rule, for the owner to act on the mail.
    pub notice: TimeDelta,
}

/// What disables a degraded endpoint. Both spans begin with the first failure of the present row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisableRule {
    /// A further failure once there was nothing but failures for this long; without traffic nothing happens.
    FailuresFor(TimeDelta),
    /// The clock alone, once there was no success for this long, with or without traffic.
    NoSuccessFor(TimeDelta),
}

impl DisableRule {
    const fn span(&self) -> TimeDelta {
        match self {
            Self::FailuresFor(span) | Self::NoSuccessFor(span) => *span,
        }
    }
}

/// How an endpoint does. Stored as its lower-case word.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize, sqlx::Type,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Health {
    /// Deliveries go out.
    #[default]
    Active,
    /// Deliveries go out, and the owner was told that they fail.
    Degraded,
    /// Deliveries are held.
    Disabled,
}

impl Health {
    /// The lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Degraded => "degraded",
            Self::Disabled => "disabled",
        }
    }
}

/// What is remembered of an endpoint; the default is a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HealthState {
    /// The rung.
    pub health: Health,
    /// Failed attempts since the last success.
    pub failures_in_row: i32,
    /// The first of them.
    pub first_failure_at: Option<DateTime<Utc>>,
    /// The last success ever.
    pub last_success_at: Option<DateTime<Utc>>,
    /// When the rung last changed.
    pub changed_at: Option<DateTime<Utc>>,
}

/// What was seen of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// An attempt succeeded.
    Success,
    /// An attempt failed.
    Failure,
    /// An attempt was answered 410 Gone: the receiver wants no more.
    Gone,
    /// Time passed.
    Tick,
}

/// A change of rung, of which the owner is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Too many failures in a row.
    Degraded {
        /// From when on the endpoint is disabled unless a delivery succeeds before.
        disable_at: DateTime<Utc>,
    },
    /// A success after degrading.
    Recovered,
    /// Deliveries are held from now on.
    Disabled {
        /// Why.
        reason: DisableReason,
    },
}

/// Why an endpoint was disabled; its text is a sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DisableReason {
    /// The receiver answered 410.
    #[error("The receiver answered 410 Gone.")]
    Gone,
    /// Failures only, for as long as the dialect allows.
    #[error("Every attempt failed for {} hours.", .0.num_hours())]
    FailuresFor(TimeDelta),
    /// No success, for as long as the dialect allows.
    #[error("No attempt succeeded for {} hours.", .0.num_hours())]
    NoSuccessFor(TimeDelta),
}

impl HealthState {
    /// From when on the ladder's rule disables; `None` unless degraded.
    pub fn disable_at(&self, ladder: &Ladder) -> Option<DateTime<Utc>> {
        let (first, changed) = (self.first_failure_at?, self.changed_at?);
        (self.health == Health::Degraded).then(|| (first + ladder.disable.span()).max(changed + ladder.notice))
    }

    /// The owner's word that the receiver is well again: active, and the row of failures forgotten.
    pub fn reactivate(&self, at: DateTime<Utc>) -> Self {
        Self { last_success_at: self.last_success_at, changed_at: Some(at), ..Self::default() }
    }
}

/// The state after one more observation, and the change of rung if there was one.
pub fn health_step(
    ladder: &Ladder,
    state: &HealthState,
    seen: Observation,
    at: DateTime<Utc>,
) -> (HealthState, Option<Transition>) {
    let mut next = *state;
    if seen == Observation::Success {
        next.last_success_at = state.last_success_at.max(Some(at));
    }
    if state.health == Health::Disabled {
        // Attempts that were in flight when the door shut, and re-tests, change nothing else.
        return (next, None);
    }
    if matches!(seen, Observation::Failure | Observation::Gone) {
        next.failures_in_row = state.failures_in_row.saturating_add(1);
        next.first_failure_at = state.first_failure_at.or(Some(at));
    }
    let transition = match seen {
        Observation::Success => {
            (next.failures_in_row, next.first_failure_at) = (0, None);
            (state.health == Health::Degraded).then_some(Transition::Recovered)
        }
        Observation::Gone => Some(Transition::Disabled { reason: DisableReason::Gone }),
        Observation::Failure if state.health == Health::Active => {
            degrades(ladder, &next, at).map(|disable_at| Transition::Degraded { disable_at })
        }
        Observation::Failure | Observation::Tick => {
            disables(ladder, &next, seen, at).map(|reason| Transition::Disabled { reason })
        }
    };
    if let Some(transition) = transition {
        next.changed_at = Some(at);
        next.health = match transition {
            Transition::Degraded { .. } => Health::Degraded,
            Transition::Recovered => Health::Active,
            Transition::Disabled { .. } => Health::Disabled,
        };
    }
    (next, transition)
}

/// Whether an active endpoint's row of failures is long enough, and until when it then has.
fn degrades(ladder: &Ladder, state: &HealthState, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if state.failures_in_row < ladder.degrade_after {
        return None;
    }
    HealthState { health: Health::Degraded, changed_at: Some(at), ..*state }.disable_at(ladder)
}

/// Whether the rule disables at `at`; for an endpoint that is not degraded it never does.
fn disables(ladder: &Ladder, state: &HealthState, seen: Observation, at: DateTime<Utc>) -> Option<DisableReason> {
    let due = state.disable_at(ladder).is_some_and(|disable_at| at >= disable_at);
    match ladder.disable {
        DisableRule::FailuresFor(span) => {
            (due && seen == Observation::Failure).then_some(DisableReason::FailuresFor(span))
        }
        DisableRule::NoSuccessFor(span) => due.then_some(DisableReason::NoSuccessFor(span)),
    }
}
