//! Stored jobs: a payload that was ever written can be read for ever, and by the program before and after a change.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use workers::registry::Registry;

/// The fixtures in `tests/payloads/`, one per kind and version: `<kind>.v<number>.json`.
fn fixtures() -> BTreeMap<(String, u32), Value> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/payloads");
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let (kind, version) = name.strip_suffix(".json").and_then(|stem| stem.rsplit_once(".v")).expect(name);
            let payload = serde_json::from_str(&fs::read_to_string(&path).unwrap()).expect(name);
            ((kind.to_owned(), version.parse().expect(name)), payload)
        })
        .collect()
}

#[test]
fn every_payload_that_was_ever_stored_decodes() {
    let registry = Registry::complete();
    for ((kind, version), payload) in fixtures() {
        let decoded = registry.decode(&kind, payload).unwrap_or_else(|| panic!("{kind} has no handler"));
        assert!(decoded.is_ok(), "{kind} version {version}: {decoded:?}");
    }
}

#[test]
fn every_kind_has_a_fixture_of_each_version_from_the_first() {
    let fixtures = fixtures();
    for kind in jobs::KINDS {
        let versions: Vec<u32> = fixtures.keys().filter(|(k, _)| k == kind).map(|(_, version)| *version).collect();
        let all: Vec<u32> = (1..=versions.len().max(1) as u32).collect();
        assert_eq!(versions, all, "{kind}: store what it is today as tests/payloads/{kind}.v1.json, and keep it");
    }
    let strays: Vec<_> = fixtures.keys().filter(|(kind, _)| !jobs::KINDS.contains(&kind.as_str())).collect();
    assert!(strays.is_empty(), "nobody stores these any more, but old rows may be left: {strays:?}");
}

#[test]
fn a_payload_with_a_field_of_a_later_version_decodes() {
    let registry = Registry::complete();
    for ((kind, version), mut payload) in fixtures() {
        payload["a_field_of_tomorrow"] = json!({"n": 1});
        assert!(registry.decode(&kind, payload).unwrap().is_ok(), "{kind} version {version}");
    }
}

#[test]
fn a_payload_that_is_none_does_not_decode() {
    let registry = Registry::complete();
    for kind in jobs::KINDS {
        assert!(registry.decode(kind, json!("nonsense")).unwrap().is_err(), "{kind}");
    }
    assert!(registry.decode("no.such", json!({})).is_none());
}
