//! Secrets: what we make passes the rule, and what breaks the rule is told which.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::{
    chance::Chance,
    dialect::{Choice, DIALECTS, Dialect, Shown, check_secret, new_secret},
};
use proptest::prelude::*;

fn row(name: &str) -> &'static Dialect {
    Dialect::by_name(name.parse().expect("a dialect"))
}

#[test]
fn new_secrets_pass_their_own_rule_and_differ() {
    let chance = Chance::seeded(7);
    for dialect in &DIALECTS {
        let (first, second) = (new_secret(dialect, &chance), new_secret(dialect, &chance));
        assert_ne!(first, second);
        for secret in [first, second] {
            assert_eq!(check_secret(dialect, &secret), Ok(()), "{}", dialect.title);
            assert!(secret.starts_with(dialect.secret.prefix));
        }
    }
}

#[test]
fn only_iloveqr_needs_a_secret_from_the_caller_and_never_shows_it() {
    let choices = DIALECTS.each_ref().map(|d| (d.secret.choice, d.secret.shown));
    let ours = (Choice::Generated, Shown::Once);
    assert_eq!(choices, [(Choice::Either, Shown::Once), (Choice::Required, Shown::Never), ours, ours, ours]);
}

#[test]
fn wrong_secrets_are_told_the_rule() {
    let base64 = |length: usize| format!("whsec_{}", STANDARD.encode(vec![7; length]));
    let bytes_rule = "must be whsec_ followed by the base64 of 24 to 64 bytes";
    let letters_rule = "must be whsec_ followed by 24 to 64 letters and digits";
    let wrong = [
        ("inkode", "x".repeat(31), "must be 32 to 255 printable ASCII characters"),
        ("inkode", String::new(), "must be 32 to 255 printable ASCII characters"),
        ("iloveqr", "seven77".to_owned(), "must be 8 to 255 printable ASCII characters"),
        ("iloveqr", "x".repeat(256), "must be 8 to 255 printable ASCII characters"),
        ("iloveqr", "geheim-ü".to_owned(), "must be 8 to 255 printable ASCII characters"),
        ("iloveqr", "a\nnewline".to_owned(), "must be 8 to 255 printable ASCII characters"),
        ("inklink", base64(23), bytes_rule),
        ("inklink", base64(65), bytes_rule),
        ("inklink", base64(32).trim_start_matches("whsec_").to_owned(), bytes_rule),
        ("inklink", base64(32).trim_end_matches('=').to_owned(), bytes_rule),
        ("inklink", "whsec_not base64, but long enough for it".to_owned(), bytes_rule),
        ("inkr", format!("whsec_{}", "a".repeat(23)), letters_rule),
        ("inkr", format!("whsec_{}-", "a".repeat(30)), letters_rule),
        ("qrstudio", "a".repeat(32), letters_rule),
    ];
    for (name, secret, rule) in wrong {
        let refusal = check_secret(row(name), &secret).expect_err(&secret);
        assert_eq!(refusal.to_string(), rule);
    }
    let right = [
        ("inkode", "x".repeat(32)),
        ("iloveqr", "eight 8!".to_owned()),
        ("iloveqr", "~".repeat(255)),
        ("inklink", base64(24)),
        ("inklink", base64(64)),
        ("qrstudio", format!("whsec_{}", "z9".repeat(20))),
    ];
    for (name, secret) in right {
        assert_eq!(check_secret(row(name), &secret), Ok(()), "{secret}");
    }
}

proptest! {
    #[test]
    fn no_text_at_all_makes_the_check_fail_otherwise_than_by_the_rule(text in ".*") {
        for dialect in &DIALECTS {
            if let Err(refusal) = check_secret(dialect, &text) {
                prop_assert_eq!(refusal.0, &dialect.secret);
            }
        }
    }
}
