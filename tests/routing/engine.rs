//! The engine by itself: what holds for all routings and all visitors.

use chrono::{DateTime, Duration, TimeZone, Utc};
use domain::routing::{
    Attribute, Compiled, Condition, Day, Explanation, Routing, Rule, Variant, Visitor, preferred_language,
};
use proptest::prelude::*;
use uuid::Uuid;

const WORDS: [&str; 4] = ["", "iOS", "Android", "Windows"];
const LANGUAGES: [&str; 5] = ["", "de", "de-AT", "den", "fr"];
const COUNTRIES: [&str; 4] = ["", "DE", "AT", "US"];
const QUERIES: [&str; 4] = ["", "a=1", "a=2&b", "b=1&a=1"];
const REFERRERS: [&str; 4] = ["", "https://a.example/x", "https://www.a.example", "nonsense"];

fn pick(from: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(from)
}

fn visitor() -> impl Strategy<Value = Visitor<'static>> {
    let texts = (pick(&WORDS), pick(&LANGUAGES), pick(&COUNTRIES), pick(&QUERIES), pick(&REFERRERS));
    (texts, any::<u32>(), 0..4_000_000_000i64, prop::option::of(1..20i64)).prop_map(
        |((system, language, country, query, referrer), address, at, number)| Visitor {
            system,
            language,
            country,
            query,
            referrer,
            address: Some(std::net::Ipv4Addr::from(address).into()),
            at: DateTime::from_timestamp(at, 0).unwrap(),
            number,
            ..Visitor::default()
        },
    )
}

fn values(from: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let known = from.iter().filter(|text| !text.is_empty()).map(|&text| text.to_owned()).collect::<Vec<_>>();
    prop::sample::subsequence(known.clone(), 1..=known.len())
}

fn condition() -> impl Strategy<Value = Condition> {
    let of = |attribute| move |values| Condition { values, ..Condition::new(attribute) };
    let kinds = prop_oneof![
        values(&WORDS).prop_map(of(Attribute::Os)),
        values(&LANGUAGES[..3]).prop_map(of(Attribute::Language)),
        values(&COUNTRIES).prop_map(of(Attribute::Country)),
        (pick(&["a", "b"]), prop::bool::ANY).prop_map(|(name, any)| Condition {
            name: Some(name.into()),
            values: if any { vec![] } else { vec!["1".into()] },
            ..Condition::new(Attribute::Query)
        }),
        (1..10i64, 10..20i64).prop_map(|(least, most)| Condition {
            least: Some(least),
            most: Some(most),
            ..Condition::new(Attribute::Visit)
        }),
        Just(Condition { values: vec!["a.example".into()], ..Condition::new(Attribute::Referrer) }),
        (time_of_day(), time_of_day()).prop_filter_map("two times", |(from, to)| (from != to).then(|| Condition {
            from: Some(from),
            to: Some(to),
            time_zone: Some("America/New_York".into()),
            ..Condition::new(Attribute::Time)
        })),
    ];
    (kinds, prop::bool::ANY).prop_map(|(kind, not)| Condition { not, ..kind })
}

fn time_of_day() -> impl Strategy<Value = String> {
    (0..24, 0..60).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}"))
}

fn routing() -> impl Strategy<Value = Routing> {
    let rules = prop::collection::vec(prop::collection::vec(condition(), 1..4), 0..6);
    let weights = prop::collection::vec(1..10i64, 0..4);
    (rules, weights).prop_map(|(rules, weights)| Routing {
        rules: (0..)
            .zip(rules)
            .map(|(n, conditions)| Rule {
                id: format!("r{n}"),
                destination: format!("https://r{n}.example/"),
                conditions,
                ..Rule::default()
            })
            .collect(),
        variants: (0..).zip(weights).map(|(n, weight)| variant(&format!("v{n}"), weight)).collect(),
    })
}

fn variant(id: &str, weight: i64) -> Variant {
    Variant { id: id.into(), destination: format!("https://{id}.example/"), weight, ..Variant::default() }
}

fn compiled(routing: &Routing) -> Compiled {
    assert_eq!(routing.broken(), [], "the story's own routing is good");
    Compiled::new(routing, None)
}

fn branch(compiled: &Compiled, visitor: &Visitor<'_>) -> String {
    compiled.choose(LINK, visitor).map(|end| end.branch.clone()).unwrap_or_default()
}

const LINK: Uuid = Uuid::from_u128(7);

/// Whether a condition holds by itself.
fn holds(condition: &Condition, visitor: &Visitor<'_>) -> bool {
    let rule = Rule { id: "r".into(), conditions: vec![condition.clone()], ..variant_as_rule() };
    branch(&compiled(&Routing { rules: vec![rule], variants: vec![] }), visitor) == "rule:r"
}

fn variant_as_rule() -> Rule {
    Rule { destination: "https://r.example/".into(), ..Rule::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_first_rule_decides_whose_conditions_all_hold(routing in routing(), visitor in visitor()) {
        let compiled = compiled(&routing);
        let first = routing.rules.iter().find(|rule| rule.conditions.iter().all(|one| holds(one, &visitor)));
        let chosen = branch(&compiled, &visitor);
        match first {
            Some(rule) => prop_assert_eq!(chosen, format!("rule:{}", rule.id)),
            None if routing.variants.is_empty() => prop_assert_eq!(chosen, ""),
            None => prop_assert!(chosen.starts_with("variant:")),
        }
    }

    #[test]
    fn what_is_stored_and_read_again_leads_the_same_way(routing in routing(), visitor in visitor()) {
        let stored = serde_json::to_value(&routing).unwrap();
        let again: Routing = serde_json::from_value(stored).unwrap();
        prop_assert_eq!(&again, &routing);
        prop_assert_eq!(branch(&compiled(&again), &visitor), branch(&compiled(&routing), &visitor));
    }

    #[test]
    fn a_condition_turned_round_holds_where_it_did_not(condition in condition(), visitor in visitor()) {
        let turned = Condition { not: !condition.not, ..condition.clone() };
        prop_assert!(holds(&condition, &visitor) != holds(&turned, &visitor));
    }

    #[test]
    fn an_explanation_says_what_is_done(routing in routing(), visitor in visitor()) {
        let compiled = compiled(&routing);
        let told = Explanation::new(&routing, &compiled, LINK, &visitor);
        prop_assert_eq!(&told.branch, &branch(&compiled, &visitor));
        prop_assert_eq!(told.destination, compiled.choose(LINK, &visitor).map(|end| end.destination.clone()));
        let deciding: Vec<String> = told.rules.iter().filter(|rule| rule.decides).map(|rule| format!("rule:{}", rule.id))
            .chain(told.variants.iter().filter(|variant| variant.decides).map(|variant| format!("variant:{}", variant.id)))
            .collect();
        prop_assert_eq!(deciding, Some(told.branch).filter(|branch| !branch.is_empty()).into_iter().collect::<Vec<_>>());
        prop_assert_eq!(told.rules.iter().position(|rule| rule.holds), told.rules.iter().position(|rule| rule.decides));
        for (rule, verdict) in routing.rules.iter().zip(&told.rules) {
            for (condition, found) in rule.conditions.iter().zip(&verdict.conditions) {
                prop_assert_eq!(found.holds, holds(condition, &visitor));
            }
        }
        if !told.variants.is_empty() {
            prop_assert!((told.variants.iter().map(|variant| variant.share).sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert_eq!(told.variants.iter().filter(|variant| variant.fits).count(), 1);
        }
    }

    #[test]
    fn a_changed_weight_moves_only_visitors_from_or_to_its_variant(
        weights in prop::collection::vec(1..100i64, 2..6), changed in 0..6usize, weight in 0..100i64, address: u32,
    ) {
        let changed = changed % weights.len();
        let of = |weights: &[i64]| Routing {
            variants: (0..).zip(weights).map(|(n, &weight)| variant(&format!("v{n}"), weight)).collect(),
            rules: vec![],
        };
        let visitor = Visitor { address: Some(std::net::Ipv4Addr::from(address).into()), ..Visitor::default() };
        let before = branch(&compiled(&of(&weights)), &visitor);
        let mut after = weights.clone();
        after[changed] = weight;
        let after_branch = branch(&compiled(&of(&after)), &visitor);
        let own = format!("variant:v{changed}");
        if before != after_branch {
            prop_assert!(before == own || after_branch == own, "from {before} to {after_branch}, and {own} was changed");
            prop_assert_eq!(before == own, weight < weights[changed], "a greater weight takes and a smaller one gives");
        }
    }

    #[test]
    fn a_window_of_new_york_holds_by_a_clock_that_knows_nothing_of_databases(
        minute in 0..366 * 24 * 60i64, from in 0..1440i64, to in 0..1440i64, day in prop::option::of(0..7i64),
    ) {
        prop_assume!(from != to);
        let at = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap() + Duration::minutes(minute);
        // Since 2007: from the second Sunday of March at 7:00 UTC until the first of November at 6:00.
        let summer = Utc.with_ymd_and_hms(2026, 3, 8, 7, 0, 0).unwrap()..Utc.with_ymd_and_hms(2026, 11, 1, 6, 0, 0).unwrap();
        let local = minute - if summer.contains(&at) { 4 } else { 5 } * 60;
        // 1 January 2026 is a Thursday, the fourth day of the week.
        let (own_day, own_minute) = ((local.div_euclid(1440) + 3).rem_euclid(7), local.rem_euclid(1440));
        let begun = if own_minute < from && to < from { (own_day + 6) % 7 } else { own_day };
        let inside = if from < to { (from..to).contains(&own_minute) } else { own_minute >= from || own_minute < to };
        let expected = inside && day.is_none_or(|day| day == begun);
        let clock = |minute: i64| Some(format!("{:02}:{:02}", minute / 60, minute % 60));
        const DAYS: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
        let window = Condition {
            from: clock(from),
            to: clock(to),
            days: day.map(|day| DAYS[usize::try_from(day).unwrap()]).into_iter().collect(),
            time_zone: Some("America/New_York".into()),
            ..Condition::new(Attribute::Time)
        };
        prop_assert_eq!(holds(&window, &Visitor { at, ..Visitor::default() }), expected, "{} {:?}", at, window);
    }

    #[test]
    fn no_header_breaks_the_reading_of_languages(header in "\\PC*") {
        prop_assert!(header.contains(preferred_language(&header)));
    }

    #[test]
    fn whatever_is_stored_is_compiled_and_leads_somewhere(text in "\\PC*", visitor in visitor()) {
        let mut condition = Condition { values: vec![text.clone()], name: Some(text.clone()), ..Condition::new(Attribute::Os) };
        condition.from = Some(text.clone());
        condition.time_zone = Some(text);
        for attribute in [Attribute::Language, Attribute::Region, Attribute::Time, Attribute::Referrer, Attribute::Unknown] {
            condition.attribute = attribute;
            let rule = Rule { id: "r".into(), conditions: vec![condition.clone()], ..variant_as_rule() };
            let routing = Routing { rules: vec![rule], variants: vec![] };
            // Broken as it is, it never holds, also not turned round.
            prop_assert!(!routing.broken().is_empty());
            prop_assert!(Compiled::new(&routing, None).choose(LINK, &visitor).is_none());
        }
    }
}

#[test]
fn shares_are_near_their_weights_and_independent_from_link_to_link() {
    let routing = Routing { variants: vec![variant("a", 50), variant("b", 30), variant("c", 20)], rules: vec![] };
    let compiled = compiled(&routing);
    let (mut of, mut same) = ([0.0; 3], 0.0);
    const VISITORS: u32 = 30_000;
    for n in 0..VISITORS {
        let address = std::net::Ipv4Addr::from(n * 7919);
        let visitor = Visitor { address: Some(address.into()), agent: "story", ..Visitor::default() };
        let here = branch(&compiled, &visitor);
        let there = compiled.choose(Uuid::from_u128(8), &visitor).unwrap();
        of["abc".find(&here[8..]).unwrap()] += 1.0 / f64::from(VISITORS);
        same += if there.branch == here { 1.0 / f64::from(VISITORS) } else { 0.0 };
    }
    for (share, expected) in of.into_iter().zip([0.5, 0.3, 0.2]) {
        assert!((share - expected).abs() < 0.01, "{of:?}");
    }
    // Whoever gets a here gets it there no more often than anybody: 0.5² + 0.3² + 0.2².
    assert!((same - 0.38_f64).abs() < 0.02, "{same}");
}

#[test]
fn the_second_half_of_an_ipv6_address_moves_nobody() {
    let routing = Routing { variants: (0..20).map(|n| variant(&format!("v{n}"), 1)).collect(), rules: vec![] };
    let compiled = compiled(&routing);
    let of =
        |address: &str| branch(&compiled, &Visitor { address: Some(address.parse().unwrap()), ..Visitor::default() });
    for n in 0..20 {
        assert_eq!(of(&format!("2001:db8:1:1::{n}")), of("2001:db8:1:1::1"));
    }
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    let nets: std::collections::HashSet<String> = (0..20).map(|n| of(&format!("2001:db8:1:{n}::1"))).collect();
    assert!(nets.len() > 1, "the first half counts");
}

/// The hash is stored nowhere, but visitors rely on it: another one would give them other variants.
#[test]
fn a_visitor_gets_the_variant_that_they_always_got() {
    let routing = Routing { variants: (0..4).map(|n| variant(&format!("v{n}"), n + 1)).collect(), rules: vec![] };
    let compiled = compiled(&routing);
    let led: Vec<String> = (0..12)
        .map(|n| {
            let address = Some(std::net::Ipv4Addr::new(192, 0, 2, n).into());
            branch(&compiled, &Visitor { address, agent: "Mozilla/5.0", ..Visitor::default() })[8..].to_owned()
        })
        .collect();
    assert_eq!(led.join(" "), "v1 v0 v1 v2 v3 v3 v3 v1 v0 v2 v3 v3");
}

#[test]
fn a_clock_that_is_put_forward_or_back_leaves_out_an_hour_or_has_it_twice() {
    let hours = |from: &str, to: &str, day: u32, month: u32| {
        let window = Condition {
            from: Some(from.into()),
            to: Some(to.into()),
            time_zone: Some("Europe/Berlin".into()),
            ..Condition::new(Attribute::Time)
        };
        let begin = Utc.with_ymd_and_hms(2026, month, day, 0, 0, 0).unwrap() - Duration::hours(2);
        let minutes = (0..24 * 60)
            .filter(|n| holds(&window, &Visitor { at: begin + Duration::minutes(*n), ..Visitor::default() }));
        minutes.count() as f64 / 60.0
    };
    assert_eq!(hours("02:00", "03:00", 29, 3), 0.0);
    assert_eq!(hours("01:30", "03:30", 29, 3), 1.0);
    assert_eq!(hours("02:00", "03:00", 25, 10), 2.0);
    assert_eq!(hours("02:00", "03:00", 1, 7), 1.0);
}
