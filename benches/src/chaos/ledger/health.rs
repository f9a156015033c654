//! Endpoint by endpoint: the recorded attempts, in the order in which they were committed, lead to the health that the row
//! has.

use chrono::{DateTime, TimeDelta, Utc};
use domain::dialect::{Dialect, HealthState, Observation, health_step};

use super::{Ledger, books::Attempt};

/// Attempts are stored with milliseconds, health with microseconds.
const ROUNDED: TimeDelta = TimeDelta::milliseconds(2);

impl Ledger<'_> {
    /// Replays every endpoint's history.
    pub fn check_health(&self, broken: &mut Vec<String>) {
        for endpoint in self.endpoints {
            let mut attempts: Vec<&Attempt> =
                self.books.attempts.iter().filter(|attempt| attempt.endpoint_id == endpoint.id).collect();
            attempts.sort_by_key(|attempt| (attempt.committed_at, attempt.ended_at()));
            let ladder = &Dialect::by_name(endpoint.dialect).ladder;
            let replayed = attempts.iter().fold(HealthState::default(), |state, attempt| {
                let seen = match attempt.status {
                    Some(200..300) => Observation::Success,
                    Some(410) => Observation::Gone,
                    _ => Observation::Failure,
                };
                health_step(ladder, &state, seen, attempt.ended_at()).0
            });
            let stored = self.books.health.get(&endpoint.id).copied().unwrap_or_default();
            if !same(&replayed, &stored) {
                let last = attempts.iter().rev().take(12).rev();
                let last: Vec<String> = last
                    .map(|a| format!("{:?} until {} committed {}", a.status, a.ended_at(), a.committed_at))
                    .collect();
                broken.push(format!(
                    "the health of {} ({}, {}) is {stored:?}, and its {} attempts say {replayed:?}\n    the last: {}",
                    endpoint.id,
                    endpoint.dialect,
                    endpoint.event_type,
                    attempts.len(),
                    last.join("; ")
                ));
            }
        }
    }
}

fn same(a: &HealthState, b: &HealthState) -> bool {
    let near = |a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>| match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= ROUNDED,
        (a, b) => a == b,
    };
    a.health == b.health
        && a.failures_in_row == b.failures_in_row
        && near(a.first_failure_at, b.first_failure_at)
        && near(a.last_success_at, b.last_success_at)
        && near(a.changed_at, b.changed_at)
}
