//! The health ladder: told as stories for the documented figures, and as properties for everything else.

use chrono::{DateTime, TimeDelta, Utc};
use domain::dialect::{
    DIALECTS, Dialect, DialectName, DisableReason, DisableRule, Health, HealthState, Ladder,
    Observation::{self, Failure, Gone, Success, Tick},
    Transition, health_step,
};
use proptest::prelude::*;

fn start() -> DateTime<Utc> {
    "2026-04-02T18:34:11Z".parse().expect("a moment")
}

fn ladder(name: DialectName) -> &'static Ladder {
    &Dialect::by_name(name).ladder
}

/// The state after the observations, each so many minutes after the start, and the last change of rung.
fn after(ladder: &Ladder, seen: impl IntoIterator<Item = (i64, Observation)>) -> (HealthState, Option<Transition>) {
    let mut last = None;
    let state = seen.into_iter().fold(HealthState::default(), |state, (minutes, seen)| {
        let (state, transition) = health_step(ladder, &state, seen, start() + TimeDelta::minutes(minutes));
        last = transition.or(last);
        state
    });
    (state, last)
}

fn failures(count: i64) -> impl Iterator<Item = (i64, Observation)> + Clone {
    (0..count).map(|minute| (minute, Failure))
}

const DAY: i64 = 24 * 60;

#[test]
fn each_dialect_degrades_at_its_documented_failure() {
    for (dialect, needed) in DIALECTS.iter().zip([5, 5, 5, 8, 5]) {
        assert_eq!(after(&dialect.ladder, failures(needed - 1)).0.health, Health::Active, "{}", dialect.title);
        let (state, transition) = after(&dialect.ladder, failures(needed));
        assert_eq!(state.health, Health::Degraded, "{}", dialect.title);
        assert!(matches!(transition, Some(Transition::Degraded { .. })));
    }
}

#[test]
fn nothing_but_failures_disables_after_five_days_or_after_one_at_qr_code_agency() {
    for (name, days) in [(DialectName::Inkode, 5), (DialectName::Qrstudio, 1)] {
        let ladder = ladder(name);
        let disable_at = start() + TimeDelta::days(days);
        assert_eq!(after(ladder, failures(5)).1, Some(Transition::Degraded { disable_at }));
        let (state, _) = after(ladder, failures(5).chain([(days * DAY - 1, Failure)]));
        assert_eq!(state.health, Health::Degraded);
        let (state, transition) = after(ladder, failures(5).chain([(days * DAY, Failure)]));
        assert_eq!(state.health, Health::Disabled);
        let reason = DisableReason::FailuresFor(TimeDelta::days(days));
        assert_eq!(transition, Some(Transition::Disabled { reason }));
        assert_eq!(reason.to_string(), format!("Every attempt failed for {} hours.", days * 24));
    }
}

#[test]
fn without_traffic_only_inkr_disables() {
    for dialect in &DIALECTS {
        let quiet = failures(8).chain([(7 * DAY - 1, Tick), (7 * DAY, Tick), (30 * DAY, Tick)]);
        let (state, _) = after(&dialect.ladder, quiet);
        let expected = if dialect.name == DialectName::Inkr { Health::Disabled } else { Health::Degraded };
        assert_eq!(state.health, expected, "{}", dialect.title);
    }
    let inkr = ladder(DialectName::Inkr);
    let (state, _) = after(inkr, failures(8).chain([(7 * DAY - 1, Tick)]));
    assert_eq!((state.health, state.disable_at(inkr)), (Health::Degraded, Some(start() + TimeDelta::days(7))));
}

#[test]
fn a_new_endpoint_that_nobody_calls_stays_active() {
    for dialect in &DIALECTS {
        let (state, transition) = after(&dialect.ladder, [(7 * DAY, Tick), (700 * DAY, Tick)]);
        assert_eq!((state, transition), (HealthState::default(), None), "{}", dialect.title);
    }
}

#[test]
fn the_owner_is_told_before_the_door_shuts_even_if_failures_are_rare() {
    // One failure every two days: the fifth comes long after the span, yet it only degrades.
    for dialect in &DIALECTS {
        let rare = (0..8).map(|n| (n * 2 * DAY, Failure));
        let degrades_at = i64::from(dialect.ladder.degrade_after - 1) * 2 * DAY;
        let (state, transition) = after(&dialect.ladder, rare.take_while(|(at, _)| *at <= degrades_at));
        assert_eq!(state.health, Health::Degraded, "{}", dialect.title);
        let disable_at = start() + TimeDelta::minutes(degrades_at) + dialect.ladder.notice;
        assert_eq!(transition, Some(Transition::Degraded { disable_at }), "{}", dialect.title);
    }
}

#[test]
fn gone_disables_at_once_from_any_rung() {
    for dialect in &DIALECTS {
        for before in [0, 1, 8] {
            let (state, transition) = after(&dialect.ladder, failures(before).chain([(60, Gone)]));
            assert_eq!(state.health, Health::Disabled);
            assert_eq!(transition, Some(Transition::Disabled { reason: DisableReason::Gone }));
        }
    }
}

#[test]
fn a_success_brings_a_degraded_endpoint_back_and_says_so_once() {
    let inkode = ladder(DialectName::Inkode);
    let (state, transition) = after(inkode, failures(6).chain([(10, Success)]));
    assert_eq!(transition, Some(Transition::Recovered));
    assert_eq!((state.health, state.failures_in_row, state.first_failure_at), (Health::Active, 0, None));
    assert_eq!(state.last_success_at, Some(start() + TimeDelta::minutes(10)));
    assert_eq!(health_step(inkode, &state, Success, start() + TimeDelta::minutes(11)).1, None);
}

#[test]
fn reactivation_opens_the_door_and_counts_from_nothing() {
    let inkode = ladder(DialectName::Inkode);
    let (shut, _) = after(inkode, [(0, Success), (1, Failure), (2, Gone)]);
    let at = start() + TimeDelta::days(9);
    let open = shut.reactivate(at);
    assert_eq!((open.health, open.failures_in_row, open.changed_at), (Health::Active, 0, Some(at)));
    assert_eq!(open.last_success_at, Some(start()));
    let (state, transition) = health_step(inkode, &open, Failure, at);
    assert_eq!((state.health, transition), (Health::Active, None));
    assert_eq!(state.first_failure_at, Some(at));
}

#[test]
fn a_rung_is_spelled_the_same_in_rows_and_in_json() {
    for (health, word) in [(Health::Active, "active"), (Health::Degraded, "degraded"), (Health::Disabled, "disabled")] {
        assert_eq!(health.as_str(), word);
        assert_eq!(serde_json::to_value(health).unwrap(), word);
    }
}

fn any_ladder() -> impl Strategy<Value = &'static Ladder> {
    (0..DIALECTS.len()).prop_map(|place| &DIALECTS[place].ladder)
}

/// Observations with the hours since the one before; failures are frequent, so that every rung is reached.
fn any_history() -> impl Strategy<Value = Vec<(i64, Observation)>> {
    let seen = prop_oneof![12 => Just(Failure), 2 => Just(Tick), 1 => Just(Success)];
    let mostly_failures = prop::collection::vec((0i64..40, seen), 0..60);
    let anything = prop_oneof![Just(Failure), Just(Tick), Just(Success), Just(Gone)];
    prop_oneof![4 => mostly_failures, 1 => prop::collection::vec((0i64..400, anything), 0..30)]
}

type Step = (HealthState, Observation, DateTime<Utc>, HealthState, Option<Transition>);

fn steps(ladder: &Ladder, history: &[(i64, Observation)]) -> Vec<Step> {
    let (mut state, mut at) = (HealthState::default(), start());
    let step = |(hours, seen): &(i64, Observation)| {
        at += TimeDelta::hours(*hours);
        let before = state;
        let transition;
        (state, transition) = health_step(ladder, &before, *seen, at);
        (before, *seen, at, state, transition)
    };
    history.iter().map(step).collect()
}

proptest! {
    #[test]
    fn only_a_success_improves_health_and_nothing_improves_a_disabled_endpoint(
        ladder in any_ladder(), history in any_history(),
    ) {
        for (before, seen, _, next, _) in steps(ladder, &history) {
            if before.health == Health::Disabled || seen != Success {
                prop_assert!(next.health >= before.health);
            }
            if before.health == Health::Disabled {
                prop_assert_eq!(next, HealthState { last_success_at: next.last_success_at, ..before });
            } else if seen == Success {
                prop_assert_eq!((next.health, next.failures_in_row, next.first_failure_at), (Health::Active, 0, None));
            }
        }
    }

    #[test]
    fn every_change_of_rung_is_told_and_nothing_else_is(ladder in any_ladder(), history in any_history()) {
        for (before, _, at, next, transition) in steps(ladder, &history) {
            prop_assert_eq!(transition.is_some(), before.health != next.health);
            prop_assert_eq!(next.changed_at, if transition.is_some() { Some(at) } else { before.changed_at });
            let rung = match transition {
                None => before.health,
                Some(Transition::Degraded { .. }) => Health::Degraded,
                Some(Transition::Recovered) => Health::Active,
                Some(Transition::Disabled { .. }) => Health::Disabled,
            };
            prop_assert_eq!(rung, next.health);
        }
    }

    #[test]
    fn the_rule_disables_only_after_failures_and_not_before_the_moment_the_owner_was_told(
        ladder in any_ladder(), history in any_history(),
    ) {
        let mut told = None;
        for (before, seen, at, next, transition) in steps(ladder, &history) {
            match transition {
                Some(Transition::Degraded { disable_at }) => {
                    prop_assert!(next.failures_in_row >= ladder.degrade_after);
                    prop_assert!(disable_at >= at + ladder.notice);
                    prop_assert_eq!(next.disable_at(ladder), Some(disable_at));
                    told = Some(disable_at);
                }
                Some(Transition::Recovered) => told = None,
                Some(Transition::Disabled { reason: DisableReason::Gone }) => prop_assert_eq!(seen, Gone),
                Some(Transition::Disabled { .. }) => {
                    prop_assert_eq!(before.health, Health::Degraded);
                    prop_assert!(told.is_some_and(|told| at >= told));
                    prop_assert!(next.failures_in_row >= ladder.degrade_after);
                    // Without a failure at hand, only the clock of a rule that goes by it.
                    let by_clock = matches!(ladder.disable, DisableRule::NoSuccessFor(_)) && seen == Tick;
                    prop_assert!(seen == Failure || by_clock);
                }
                None => {}
            }
        }
    }

    #[test]
    fn failures_are_counted_from_the_last_success(ladder in any_ladder(), history in any_history()) {
        let (mut row, mut first) = (0, None);
        for (_, seen, at, next, _) in steps(ladder, &history) {
            match seen {
                Success => (row, first) = (0, None),
                Failure | Gone => (row, first) = (row + 1, first.or(Some(at))),
                Tick => {}
            }
            if next.health == Health::Disabled {
                break;
            }
            prop_assert_eq!((next.failures_in_row, next.first_failure_at), (row, first));
        }
    }

    #[test]
    fn the_same_history_ends_in_the_same_state_wherever_it_is_cut(
        ladder in any_ladder(), history in any_history(), cut in 0usize..60,
    ) {
        let whole = steps(ladder, &history);
        prop_assert_eq!(&whole, &steps(ladder, &history));
        let (head, tail) = whole.split_at(cut.min(whole.len()));
        // What a stored state does not hold must not matter: replay the tail from the row alone.
        let mut state = head.last().map_or_else(HealthState::default, |step| step.3);
        for (_, seen, at, expected, told) in tail {
            let (next, transition) = health_step(ladder, &state, *seen, *at);
            prop_assert_eq!((&next, &transition), (expected, told));
            state = next;
        }
    }
}
