//! Which rule decided where a delivery stands, in a sentence for people.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{attempt::Attempt, delivery::plan::Plan, dialect::Dialect};

/// The sentence after an attempt: what came back, and what the dialect's schedule makes of it.
pub fn after_attempt(
    dialect: &Dialect,
    plan: &Plan,
    attempt: &Attempt,
    next: Option<DateTime<Utc>>,
    put_off: bool,
) -> String {
    let (try_number, sends) = (plan.tries + 1, dialect.schedule.sends());
    let answer = match attempt.status {
        Some(status) => format!("was answered with status {status}"),
        None => format!("failed ({})", attempt.error),
    };
    if attempt.succeeded() {
        return format!("Delivered: attempt {} {answer}.", attempt.number);
    }
    if plan.is_test {
        return format!("Failed: the test {answer}; tests are not repeated.");
    }
    match next {
        Some(at) => format!(
            "Attempt {} {answer}. The {} schedule allows {sends}; number {} is due at {}{}.",
            attempt.number,
            dialect.title,
            try_number + 1,
            at.to_rfc3339_opts(SecondsFormat::Secs, true),
            if put_off { ", put off by the receiver's Retry-After" } else { "" },
        ),
        None => format!(
            "Failed: attempt {} {answer}. It was number {try_number} of {sends}, the last of the {} schedule.",
            attempt.number, dialect.title,
        ),
    }
}
