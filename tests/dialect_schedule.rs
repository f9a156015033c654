//! Schedules: the documented moments, outages, and what a `Retry-After` may and may not do.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::dialect::{DIALECTS, Dialect, DialectName, Schedule, next_attempt};
use proptest::prelude::*;

const MIN: i64 = 60;
const HOUR: i64 = 3600;

fn start() -> DateTime<Utc> {
    "2026-04-02T18:34:11.007Z".parse().expect("a moment")
}

/// Seconds from the start to each request, where every request fails after `took` seconds and nothing is sent during
/// the outage (seconds from the start, from and to).
fn walk(dialect: &Dialect, took: i64, outage: (i64, i64)) -> Vec<i64> {
    let (mut sent, mut ended) = (Vec::new(), start());
    while let Some(due) = next_attempt(dialect, start(), i32::try_from(sent.len()).unwrap(), ended, None) {
        let mut at = (due - start()).num_seconds();
        if (outage.0..outage.1).contains(&at) {
            at = outage.1;
        }
        sent.push(at);
        ended = start() + TimeDelta::seconds(at + took);
    }
    sent
}

#[test]
fn each_dialect_sends_at_its_documented_moments_and_then_gives_up() {
    let documented: [&[i64]; 5] = [
        &[0, MIN, 6 * MIN, 31 * MIN],
        &[0, MIN, 6 * MIN, 36 * MIN, 36 * MIN + 2 * HOUR, 36 * MIN + 26 * HOUR],
        &[0, 30, 90, 270, 720],
        &[0, 30, 5 * MIN, 30 * MIN, 2 * HOUR, 6 * HOUR, 24 * HOUR, 72 * HOUR],
        &[0, MIN, 6 * MIN, 36 * MIN, 36 * MIN + 2 * HOUR],
    ];
    for (dialect, moments) in DIALECTS.iter().zip(documented) {
        assert_eq!(walk(dialect, 0, (0, 0)), moments, "{}", dialect.title);
        assert_eq!(dialect.schedule.sends(), moments.len());
    }
}

#[test]
fn slow_failures_shift_gaps_but_not_slots() {
    let slow = |name| walk(Dialect::by_name(name), 5, (0, 0));
    assert_eq!(slow(DialectName::Inkode), [0, 65, 370, 1875]);
    assert_eq!(slow(DialectName::Iloveqr), [0, 65, 370, 2175, 9380, 95_785]);
    assert_eq!(slow(DialectName::Inklink), [0, 30, 90, 270, 720]);
    assert_eq!(slow(DialectName::Inkr), [0, 30, 300, 1800, 7200, 21_600, 86_400, 259_200]);
    assert_eq!(slow(DialectName::Qrstudio), [0, 65, 370, 2175, 9380]);
}

#[test]
fn slots_that_passed_during_an_outage_run_at_once_and_one_after_the_other() {
    let inklink = Dialect::by_name(DialectName::Inklink);
    // The workers are away from second 25 to second 300: three slots are past, each request takes 8 s to fail.
    assert_eq!(walk(inklink, 8, (25, 300)), [0, 300, 308, 316, 720]);
    // Away past the last slot: nothing is skipped.
    assert_eq!(walk(inklink, 8, (25, 7200)), [0, 7200, 7208, 7216, 7224]);
    // Away from before the first.
    assert_eq!(walk(inklink, 8, (0, 100)), [100, 108, 116, 270, 720]);
}

#[test]
fn gaps_after_an_outage_begin_anew() {
    let inkode = Dialect::by_name(DialectName::Inkode);
    assert_eq!(walk(inkode, 1, (30, 1000)), [0, 1000, 1301, 2802]);
}

#[test]
fn retry_after_delays_at_most_to_the_slot_that_would_follow() {
    let next = |name, tries, ended: i64, wait: u64| {
        let ended = start() + TimeDelta::seconds(ended);
        let due = next_attempt(Dialect::by_name(name), start(), tries, ended, Some(Duration::from_secs(wait)));
        due.map(|due| (due - start()).num_seconds())
    };
    use DialectName::{Inklink, Qrstudio};
    assert_eq!(next(Inklink, 1, 2, 5), Some(30), "never brought forward");
    assert_eq!(next(Inklink, 1, 2, 58), Some(60), "counted from the answer");
    assert_eq!(next(Inklink, 1, 2, 3600), Some(90), "at most to the following slot");
    assert_eq!(next(Inklink, 4, 271, 3600), Some(720), "no slot follows the last");
    assert_eq!(next(Inklink, 1, 200, 3600), Some(200), "the following slot is past: at once");
    assert_eq!(next(Inklink, 5, 721, 3600), None, "no further request");
    assert_eq!(next(Qrstudio, 1, 10, 30), Some(70));
    assert_eq!(next(Qrstudio, 1, 10, 200), Some(210));
    assert_eq!(next(Qrstudio, 1, 10, 86_400), Some(70 + 300));
    assert_eq!(next(Qrstudio, 1, 10, u64::MAX), Some(70 + 300), "longer than the calendar");
}

fn any_dialect() -> impl Strategy<Value = &'static Dialect> {
    (0..DIALECTS.len()).prop_map(|place| &DIALECTS[place])
}

proptest! {
    #[test]
    fn no_request_is_made_before_its_slot_and_never_more_than_documented(
        dialect in any_dialect(),
        delays in prop::collection::vec((0i64..400_000_000_000, 0i64..10_000_000, prop::option::of(0u64..1_000_000)), 10),
    ) {
        let (mut sent, mut ended, mut wait) = (0, start(), None);
        let mut moments = Vec::new();
        // Each request starts late by some microseconds, takes some more, and may be answered with a Retry-After.
        for (late, took, retry_after) in delays {
            let Some(due) = next_attempt(dialect, start(), sent, ended, wait) else { break };
            prop_assert!(due >= ended, "one after the other");
            let index = usize::try_from(sent).unwrap();
            match dialect.schedule {
                Schedule::Absolute(slots) => prop_assert!(due >= start() + TimeDelta::seconds(slots[index])),
                Schedule::Gaps(gaps) => prop_assert!(due >= ended + TimeDelta::seconds(gaps[index])),
            }
            moments.push(due);
            ended = due + TimeDelta::microseconds(late + took);
            wait = retry_after.map(Duration::from_secs);
            sent += 1;
        }
        prop_assert_eq!(moments.len(), dialect.schedule.sends());
        prop_assert!(moments.is_sorted());
        prop_assert_eq!(next_attempt(dialect, start(), sent, ended, wait), None);
    }

    #[test]
    fn retry_after_never_brings_forward_and_is_capped(
        dialect in any_dialect(),
        tries in 0i32..10,
        ended in 0i64..400_000_000_000,
        wait in any::<u64>(),
        longer in any::<u64>(),
    ) {
        let ended = start() + TimeDelta::microseconds(ended);
        let next = |tries, ended, wait: Option<u64>| {
            next_attempt(dialect, start(), tries, ended, wait.map(Duration::from_secs))
        };
        let plain = next(tries, ended, None);
        let asked = next(tries, ended, Some(wait));
        prop_assert_eq!(plain.is_none(), asked.is_none(), "the number of requests does not change");
        if let (Some(plain), Some(asked)) = (plain, asked) {
            prop_assert!(asked >= plain);
            prop_assert!(asked <= next(tries + 1, plain, None).unwrap_or(plain));
            prop_assert!(next(tries, ended, Some(wait.saturating_add(longer))) >= Some(asked), "a longer wait is not sooner");
        }
    }
}
