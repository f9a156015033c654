//! The table of dialects: rows, ids, bodies, catalogues and samples, against the documents.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use domain::{
    dialect::{DIALECTS, Dialect, DialectName, EventFacts, Source, UnknownDialect, body, dialects_of, is_known_type},
    id::{EndpointId, EventId, OrgId},
    plan::Plan,
};
use uuid::Uuid;

fn row(name: &str) -> &'static Dialect {
    Dialect::by_name(name.parse().expect("a dialect"))
}

fn facts(event_type: &'static str) -> EventFacts<'static> {
    EventFacts {
        id: EventId(Uuid::from_u128(0xa)),
        org_id: OrgId(Uuid::from_u128(0xb)),
        event_type,
        created_at: at("2026-04-02T18:34:11.007999Z"),
        data: r#"{"id":"x"}"#,
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a moment")
}

#[test]
fn every_row_is_found_by_its_name() {
    for (row, name) in DIALECTS.iter().zip(DialectName::ALL) {
        assert_eq!(Dialect::by_name(name).name, row.name);
        assert_eq!(name.as_str().parse(), Ok(name));
        assert_eq!(serde_json::to_value(name).unwrap(), name.to_string());
        assert_eq!(serde_json::from_value::<DialectName>(name.to_string().into()).unwrap(), name);
    }
    assert_eq!("Inkode".parse::<DialectName>(), Err(UnknownDialect));
}

#[test]
fn ids_carry_the_prefix_of_their_dialect_and_no_other() {
    let endpoint = EndpointId(Uuid::from_u128(0x0195_a3c0_7c00_7abc_8def_0123_4567_89ab));
    for dialect in &DIALECTS {
        let shown = dialect.endpoint_id(endpoint);
        assert_eq!(dialect.read_endpoint_id(&shown), Ok(endpoint));
        for other in DIALECTS.iter().filter(|other| other.endpoint_prefix != dialect.endpoint_prefix) {
            assert!(other.read_endpoint_id(&shown).is_err(), "{} read {shown}", other.title);
        }
        assert!(dialect.read_endpoint_id(&shown[..shown.len() - 1]).is_err());
        assert!(dialect.read_endpoint_id("").is_err());
        assert!(dialect.read_endpoint_id(&format!("{}{}", dialect.endpoint_prefix, "é".repeat(13))).is_err());
    }
    let prefixes = DIALECTS.each_ref().map(|d| (d.endpoint_prefix, d.event_prefix));
    let expected = [("we_", "evt_"), ("wh_", "evt_"), ("wh_end_", "wh_evt_"), ("we_", "evt_"), ("we_", "evt_")];
    assert_eq!(prefixes, expected);
}

#[test]
fn bodies_have_the_documented_members_in_the_documented_order() {
    let expected = [
        r#"{"event":"T","payload":{"id":"x"},"timestamp":"2026-04-02T18:34:11.007Z"}"#,
        concat!(
            r#"{"id":"evt_0000000000000000000000000A","event":"T","createdAt":"2026-04-02T18:34:11Z","#,
            r#""organizationId":"org_0000000000000000000000000B","data":{"id":"x"}}"#,
        ),
        r#"{"type":"T","timestamp":"2026-04-02T18:34:11.007Z","data":{"id":"x"}}"#,
        concat!(
            r#"{"id":"evt_0000000000000000000000000A","type":"T","created_at":"2026-04-02T18:34:11.007Z","#,
            r#""data":{"object":{"id":"x"}}}"#,
        ),
        concat!(
            r#"{"type":"T","id":"evt_0000000000000000000000000A","created_at":"2026-04-02T18:34:11Z","#,
            r#""data":{"id":"x"}}"#,
        ),
    ];
    for (dialect, expected) in DIALECTS.iter().zip(expected) {
        assert_eq!(body(dialect, &facts("T")), expected, "{}", dialect.title);
    }
}

#[test]
fn catalogues_name_each_type_once_and_have_the_documented_size() {
    assert_eq!(DIALECTS.each_ref().map(|d| d.catalogue.len()), [19, 14, 10, 10, 5]);
    for dialect in &DIALECTS {
        let names: HashSet<_> = dialect.catalogue.iter().collect();
        assert_eq!(names.len(), dialect.catalogue.len(), "{}", dialect.title);
    }
}

#[test]
fn an_event_type_finds_the_dialects_that_know_it() {
    let names = |event_type| dialects_of(event_type).map(|d| d.name).collect::<Vec<_>>();
    assert_eq!(names("qr.scanned"), [DialectName::Inkode, DialectName::Iloveqr]);
    assert_eq!(names("scan.created"), [DialectName::Qrstudio]);
    assert_eq!(names("kyc.result.approved"), [DialectName::Inklink]);
    assert_eq!(names("submitter.signed"), [DialectName::Inkr]);
    assert!(is_known_type("quota.threshold_100"));
    for unknown in ["", "qr", "qr.", "QR.CREATED", "qr.created ", "kyc.result.*"] {
        assert!(!is_known_type(unknown), "{unknown:?}");
    }
}

#[test]
fn an_endpoint_hears_of_what_it_chose_or_of_the_whole_catalogue() {
    let inkode = row("inkode");
    let chosen = ["qr.created".to_owned(), "scan.created".to_owned()];
    assert!(inkode.subscribes(None, "link.clicked"));
    assert!(inkode.subscribes(Some(&chosen), "qr.created"));
    assert!(!inkode.subscribes(Some(&chosen), "qr.updated"));
    assert!(!inkode.subscribes(Some(&[]), "qr.created"));
    // Not of what another dialect calls a fact, even if a row should name it.
    assert!(!inkode.subscribes(Some(&chosen), "scan.created"));
    assert!(!inkode.subscribes(None, "scan.created"));
}

#[test]
fn every_type_of_every_catalogue_has_sample_data_in_canonical_json() {
    for dialect in &DIALECTS {
        for event_type in dialect.catalogue {
            let text = dialect.sample(event_type).unwrap_or_else(|| panic!("{} {event_type}", dialect.title));
            let data: serde_json::Value = serde_json::from_str(text).unwrap();
            assert!(data.as_object().is_some_and(|members| !members.is_empty()));
            assert_eq!(data.to_string(), text);
        }
        for (pattern, _) in dialect.samples {
            let family = pattern.trim_end_matches('*');
            assert!(dialect.catalogue.iter().any(|known| known.starts_with(family)), "{pattern} is never used");
        }
        assert_eq!(dialect.sample("qr.exploded"), None);
    }
    assert!(row("inkr").sample("submission.declined").is_some_and(|text| text.contains(r#""status":"declined""#)));
}

#[test]
fn every_request_can_be_recognised_as_a_repetition_by_webhook_id() {
    for dialect in &DIALECTS {
        assert!(dialect.headers.contains(&("webhook-id", Source::EventId)), "{}", dialect.title);
        assert!(dialect.headers.contains(&("Content-Type", Source::Text("application/json"))));
        let agent = if dialect.title == "InkLink" { "InkLink-Webhooks/1.0" } else { "Inkfleet-Webhooks/1.0" };
        assert!(dialect.headers.contains(&("User-Agent", Source::Text(agent))));
    }
}

#[test]
fn limits_are_the_documented_ones() {
    assert_eq!(DIALECTS.each_ref().map(|d| d.timeout.as_secs()), [10, 5, 8, 5, 5]);
    assert_eq!(DIALECTS.each_ref().map(|d| d.limits.max_active), [None, None, None, None, Some(25)]);
    assert_eq!(DIALECTS.each_ref().map(|d| d.limits.max_name), [200, 200, 120, 200, 200]);
    assert_eq!(DIALECTS.each_ref().map(|d| d.mail_on_failed_delivery), [false, true, false, false, false]);
    assert!(DIALECTS.iter().all(|d| d.limits.max_url == 2000 && d.limits.https_only));
}

#[test]
fn only_qr_code_agency_asks_for_a_plan() {
    for dialect in &DIALECTS {
        let gated = dialect.name == DialectName::Qrstudio;
        for plan in Plan::ALL {
            assert_eq!(dialect.allows_plan(plan), !gated || plan >= Plan::Pro, "{} on {plan:?}", dialect.title);
        }
    }
}
