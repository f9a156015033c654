//! Sealed secrets open where they were sealed, under a key that the installation still has, and nowhere else.

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    chance::Chance,
    sealed::{InvalidKeys, OpenError, SealingKeys},
};
use secrecy::{ExposeSecret, SecretString};

fn base64_key(byte: u8) -> String {
    STANDARD.encode([byte; 32])
}

fn keys(setting: &str) -> SealingKeys {
    SealingKeys::parse(&SecretString::from(setting)).expect("good keys")
}

fn refusal(setting: &str) -> InvalidKeys {
    SealingKeys::parse(&SecretString::from(setting)).expect_err("bad keys")
}

#[test]
fn what_was_sealed_opens_in_its_own_place() {
    let keys = keys(&base64_key(7));
    let sealed = keys.seal(b"whsec_abc", "endpoint:1", &Chance::seeded(1));
    assert_eq!(keys.open(&sealed, "endpoint:1").unwrap().expose_secret(), b"whsec_abc");
    assert_eq!(keys.open_text(&sealed, "endpoint:1").unwrap().expose_secret(), "whsec_abc");
    assert!(!sealed.windows(5).any(|bytes| bytes == b"whsec"), "the plain text is not in the sealed bytes");
}

#[test]
fn the_stored_form_is_version_key_id_nonce_ciphertext_and_tag() {
    let keys = keys(&format!("k2026:{}", base64_key(7)));
    let sealed = keys.seal(b"abc", "x", &Chance::seeded(1));
    assert_eq!(&sealed[..7], b"\x01\x05k2026");
    assert_eq!(sealed.len(), 7 + 12 + 3 + 16);
}

#[test]
fn the_same_secret_is_sealed_differently_each_time() {
    let (keys, chance) = (keys(&base64_key(7)), Chance::seeded(1));
    assert_ne!(keys.seal(b"abc", "x", &chance), keys.seal(b"abc", "x", &chance));
}

#[test]
fn a_sealed_value_does_not_open_in_another_place() {
    let keys = keys(&base64_key(7));
    let sealed = keys.seal(b"abc", "endpoint:1", &Chance::seeded(1));
    assert_eq!(keys.open(&sealed, "endpoint:2").unwrap_err(), OpenError::Refused);
    assert_eq!(keys.open(&sealed, "").unwrap_err(), OpenError::Refused);
}

#[test]
fn another_key_of_the_same_id_does_not_open_it() {
    let sealed = keys(&base64_key(7)).seal(b"abc", "x", &Chance::seeded(1));
    assert_eq!(keys(&base64_key(8)).open(&sealed, "x").unwrap_err(), OpenError::Refused);
}

#[test]
fn a_key_that_was_taken_away_is_named() {
    let sealed = keys(&format!("old:{}", base64_key(7))).seal(b"abc", "x", &Chance::seeded(1));
    assert_eq!(keys(&base64_key(7)).open(&sealed, "x").unwrap_err(), OpenError::UnknownKey("old".into()));
}

#[test]
fn after_a_rotation_the_new_key_seals_and_the_old_one_still_opens() {
    let chance = Chance::seeded(1);
    let old = keys(&format!("a:{}", base64_key(1)));
    let both = keys(&format!("b:{}, a:{}", base64_key(2), base64_key(1)));
    let (before, after) = (old.seal(b"abc", "x", &chance), both.seal(b"def", "x", &chance));
    assert_eq!(both.open_text(&before, "x").unwrap().expose_secret(), "abc");
    assert_eq!(both.open_text(&after, "x").unwrap().expose_secret(), "def");
    assert_eq!(old.open(&after, "x").unwrap_err(), OpenError::UnknownKey("b".into()));
}

#[test]
fn one_changed_byte_anywhere_is_noticed() {
    let keys = keys(&format!("a:{0},b:{0}", base64_key(1)));
    let sealed = keys.seal(b"abc", "x", &Chance::seeded(1));
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 3; // Turns the id `a` into `b`, whose key has the same bytes.
        assert!(keys.open(&changed, "x").is_err(), "byte {index}");
    }
    for length in 0..sealed.len() {
        assert!(keys.open(&sealed[..length], "x").is_err(), "cut to {length}");
    }
}

#[test]
fn a_sealed_value_that_is_no_text_is_not_given_out_as_text() {
    let keys = keys(&base64_key(7));
    let sealed = keys.seal(&[0xff, 0xfe], "x", &Chance::seeded(1));
    assert_eq!(keys.open_text(&sealed, "x").unwrap_err(), OpenError::NotText);
}

#[test]
fn a_generated_key_is_a_good_setting() {
    let chance = Chance::seeded(1);
    let setting = SealingKeys::generate(&chance);
    let keys = SealingKeys::parse(&setting).unwrap();
    assert!(keys.open(&keys.seal(b"abc", "x", &chance), "x").is_ok());
    assert_ne!(setting.expose_secret(), SealingKeys::generate(&chance).expose_secret());
}

#[test]
fn a_bad_setting_is_told_without_the_key_in_it() {
    assert_eq!(refusal(""), InvalidKeys::Empty);
    assert_eq!(refusal(" , "), InvalidKeys::Empty);
    assert_eq!(refusal("1:%%%"), InvalidKeys::Encoding("1".into()));
    assert_eq!(refusal(&format!(":{}", base64_key(1))), InvalidKeys::Id(1));
    assert_eq!(refusal(&format!("a b:{}", base64_key(1))), InvalidKeys::Id(1));
    assert_eq!(refusal(&format!("a:{0},a:{0}", base64_key(1))), InvalidKeys::Twice("a".into()));
    let short = STANDARD.encode([1; 31]);
    let error = refusal(&format!("a:{short}"));
    assert_eq!(error, InvalidKeys::Length { id: "a".into(), bytes: 31 });
    assert!(!error.to_string().contains(&short));
}

#[test]
fn printing_the_keys_shows_their_ids_only() {
    let printed = format!("{:?}", keys(&format!("a:{},b:{}", base64_key(1), base64_key(2))));
    assert_eq!(printed, r#"SealingKeys(["a", "b"])"#);
}
