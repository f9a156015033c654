//! Signatures: vectors made by another implementation, our own verifier, and the receivers' libraries and samples.

use std::{
    ffi::OsString,
    io::Write,
    process::{Command, Output, Stdio},
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    chance::Chance,
    clock::Clock,
    dialect::{DIALECTS, Dialect, EventFacts, Overlap, VerifyError, body, new_secret, recognise, sign, verify},
    id::{EndpointId, EventId, OrgId},
};
use serde_json::{Value, json};

const VECTORS: [&str; 5] = [
    include_str!("vectors/inkode.json"),
    include_str!("vectors/iloveqr.json"),
    include_str!("vectors/inklink.json"),
    include_str!("vectors/inkr.json"),
    include_str!("vectors/qrstudio.json"),
];

type Headers = Vec<(&'static str, String)>;

fn find<'h>(headers: &'h [(&'static str, String)]) -> impl Fn(&str) -> Option<&'h str> {
    |wanted| headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is a text"))
}

/// One of a vector file's cases, in our types.
struct Case<'v> {
    dialect: &'static Dialect,
    name: &'v str,
    secrets: Vec<&'v str>,
    at: DateTime<Utc>,
    body: &'v str,
    expected: &'v Value,
    made_body: String,
    made_headers: Headers,
}

fn cases(file: &Value) -> impl Iterator<Item = Case<'_>> {
    let dialect = Dialect::by_name(text(file, "dialect").parse().unwrap());
    file["cases"].as_array().unwrap().iter().map(move |case| {
        let event = &case["event"];
        let facts = EventFacts {
            id: EventId(text(event, "id").parse().unwrap()),
            org_id: OrgId(text(event, "org").parse().unwrap()),
            event_type: text(event, "type"),
            created_at: text(event, "created_at").parse().unwrap(),
            data: text(event, "data"),
        };
        let secrets: Vec<_> = case["secrets"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        let endpoint = dialect.endpoint_id(EndpointId(text(case, "endpoint").parse().unwrap()));
        let number = i32::try_from(case["number"].as_i64().unwrap()).unwrap();
        let at = text(case, "at").parse().unwrap();
        let made_body = body(dialect, &facts);
        let made_headers = sign(dialect, &secrets, &endpoint, &facts, number, at, &made_body).unwrap();
        let (name, body, expected) = (text(case, "name"), text(case, "body"), &case["headers"]);
        Case { dialect, name, secrets, at, body, expected, made_body, made_headers }
    })
}

fn all_files() -> [Value; 5] {
    VECTORS.map(|file| serde_json::from_str(file).unwrap())
}

#[test]
fn bodies_and_headers_equal_the_vectors_byte_by_byte() {
    for (file, dialect) in all_files().iter().zip(&DIALECTS) {
        assert_eq!(text(file, "dialect"), dialect.name.as_str());
        let mut count = 0;
        for case in cases(file) {
            let name = format!("{}: {}", dialect.title, case.name);
            assert_eq!(case.made_body, case.body, "{name}");
            let headers: serde_json::Map<_, _> =
                case.made_headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            assert_eq!(headers.len(), case.made_headers.len(), "no header twice");
            assert_eq!(json!(headers), *case.expected, "{name}");
            count += 1;
        }
        assert!(count >= 5);
    }
}

#[test]
fn our_own_verifier_believes_the_vectors_and_recognises_their_dialect() {
    for case in all_files().iter().flat_map(cases) {
        let headers = find(&case.made_headers);
        assert_eq!(recognise(&headers).unwrap().name, case.dialect.name);
        // A previous secret verifies where the dialect has room for it.
        let believed = if case.dialect.signature.overlap == Overlap::Void { 1 } else { case.secrets.len() };
        for (place, secret) in case.secrets.iter().enumerate() {
            let answer = verify(case.dialect, &headers, case.body.as_bytes(), secret, TimeDelta::seconds(300), case.at);
            let expected = if place < believed { Ok(()) } else { Err(VerifyError::WrongSignature) };
            assert_eq!(answer, expected, "{}: {}", case.dialect.title, case.name);
        }
    }
}

#[test]
fn our_own_verifier_refuses_what_was_touched() {
    let chance = Chance::seeded(11);
    for case in all_files().iter().flat_map(cases) {
        let dialect = case.dialect;
        let check = |headers: &Headers, body: &str, secret: &str, late: i64| {
            let now = case.at + TimeDelta::seconds(late);
            verify(dialect, find(headers), body.as_bytes(), secret, TimeDelta::seconds(300), now)
        };
        let (headers, secret) = (&case.made_headers, case.secrets[0]);
        let other = new_secret(dialect, &chance);
        assert_eq!(check(headers, case.body, &other, 0), Err(VerifyError::WrongSignature));
        assert_eq!(check(headers, &case.body.replace('}', " }"), secret, 0), Err(VerifyError::WrongSignature));

        let replaced = |name: &str, value: Option<&str>| -> Headers {
            let others = headers.iter().filter(|(held, _)| *held != name).cloned();
            let place = headers.iter().find(|(held, _)| *held == name).expect("a header of the dialect").0;
            others.chain(value.map(|value| (place, value.to_owned()))).collect()
        };
        let name = dialect.signature.header;
        assert_eq!(check(&replaced(name, None), case.body, secret, 0), Err(VerifyError::Missing(name)));

        let signed_time = dialect.signature.parts.len() > 1;
        let stale = if signed_time { Err(VerifyError::Stale(301)) } else { Ok(()) };
        assert_eq!(check(headers, case.body, secret, 301), stale);
        assert_eq!(check(headers, case.body, secret, -301), stale);
        assert_eq!(check(headers, case.body, secret, 300), Ok(()));

        if signed_time && find(headers)("webhook-timestamp").is_some() {
            let at = (case.at.timestamp() + 1).to_string();
            let moved = replaced("webhook-timestamp", Some(&at));
            assert_eq!(check(&moved, case.body, secret, 0), Err(VerifyError::WrongSignature));
            let renamed = replaced("webhook-id", Some("wh_evt_another"));
            assert_eq!(check(&renamed, case.body, secret, 0), Err(VerifyError::WrongSignature));
        }
        if case.secrets.len() == 1 {
            for nonsense in ["", "sha256=", "v1,", "t=,v1=", "t=1,v1=zz", "sha256=é", "é", ",", "=", "v1 , v1"] {
                let answer = check(&replaced(name, Some(nonsense)), case.body, secret, 0);
                assert!(
                    matches!(answer, Err(VerifyError::Malformed(_) | VerifyError::WrongSignature)),
                    "{}: {nonsense:?} gave {answer:?}",
                    dialect.title
                );
            }
        }
    }
}

#[test]
fn a_request_of_no_dialect_is_not_recognised() {
    let headers = vec![("webhook-id", "evt_1".to_owned()), ("Stripe-Signature", "t=1,v1=00".to_owned())];
    assert!(recognise(find(&headers)).is_none());
}

#[test]
fn a_stored_secret_that_cannot_be_a_key_is_an_error_and_not_a_wrong_signature() {
    let inklink = &DIALECTS[2];
    let facts = EventFacts {
        id: EventId(uuid::Uuid::nil()),
        org_id: OrgId::SYSTEM,
        event_type: "kyc.result.approved",
        created_at: DateTime::UNIX_EPOCH,
        data: "{}",
    };
    for secrets in [&["whsec_?"][..], &["no prefix"], &[]] {
        let refusal = sign(inklink, secrets, "wh_end_1", &facts, 1, DateTime::UNIX_EPOCH, "{}").unwrap_err();
        assert_eq!(refusal.to_string(), "must be whsec_ followed by the base64 of 24 to 64 bytes");
    }
}

#[test]
fn the_vectors_are_what_their_generator_makes() {
    let made = run(python(), &["-c", include_str!("verify/vectors.py")], "");
    let files: serde_json::Map<String, Value> = serde_json::from_slice(&made.stdout).expect("the generator's files");
    assert_eq!(files.len(), VECTORS.len());
    for (dialect, checked_in) in DIALECTS.iter().zip(VECTORS) {
        let made = files[&format!("{}.json", dialect.name)].as_str().unwrap();
        assert!(made == checked_in, "run tests/verify/vectors.py --write: {}.json differs", dialect.name);
    }
}

#[test]
fn the_receivers_python_libraries_believe_genuine_requests_only() {
    assert_eq!(judged_wrongly_by_python(&requests().to_string()), None);
}

#[test]
fn the_documents_node_samples_believe_genuine_requests_only() {
    assert_eq!(judged_wrongly_by_node(&requests().to_string()), None);
}

/// What the receivers' Python libraries judge otherwise than the cases say (see `verify/verify.py`).
pub fn judged_wrongly_by_python(cases: &str) -> Option<String> {
    let judged = run(python(), &["-c", include_str!("verify/verify.py")], cases);
    (!judged.status.success()).then(|| said(&judged))
}

/// What the documents' Node.js samples judge otherwise than the cases say.
pub fn judged_wrongly_by_node(cases: &str) -> Option<String> {
    let judged = run("node".into(), &["-e", include_str!("verify/verify.js")], cases);
    (!judged.status.success()).then(|| said(&judged))
}

/// Requests signed just now, in every dialect and for every type, and the same touched on their way.
fn requests() -> Value {
    let (chance, now) = (Chance::seeded(3), Clock::system().now());
    let tricky = r#"{"z":"naïve – 日本語 🖋","a":"\" \\ / \t\n\u0007","n":[0.1,-5,9007199254740991,1e+21,1e-7],"e":{}}"#;
    let mut requests = Vec::new();
    for dialect in &DIALECTS {
        let samples = dialect.catalogue.iter().map(|event_type| (*event_type, dialect.sample(event_type).unwrap()));
        for (event_type, data) in samples.chain([(dialect.catalogue[0], tricky)]) {
            let facts = EventFacts {
                id: EventId::new(now, &chance),
                org_id: OrgId::new(now, &chance),
                event_type,
                created_at: now,
                data,
            };
            let (secret, other) = (new_secret(dialect, &chance), new_secret(dialect, &chance));
            let body = body(dialect, &facts);
            let endpoint = dialect.endpoint_id(EndpointId::new(now, &chance));
            let mut add = |case: &str, secrets: &[&str], sent: &str, secret: &str, genuine: bool| {
                let headers = sign(dialect, secrets, &endpoint, &facts, 1, now, &body).unwrap();
                let headers: serde_json::Map<_, _> =
                    headers.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
                requests.push(json!({
                    "name": format!("{} {event_type}: {case}", dialect.title),
                    "dialect": dialect.name,
                    "headers": headers,
                    "body": sent,
                    "secret": secret,
                    "genuine": genuine,
                }));
            };
            add("as sent", &[&secret], &body, &secret, true);
            add("another body", &[&secret], &body.replacen(event_type, "x.y", 1), &secret, false);
            add("another secret", &[&secret], &body, &other, false);
            add("the present secret during an overlap", &[&secret, &other], &body, &secret, true);
            let lists = dialect.signature.overlap == Overlap::SameHeader;
            add("the previous secret during an overlap", &[&secret, &other], &body, &other, lists);
        }
    }
    requests.into()
}

fn python() -> OsString {
    std::env::var_os("INKFLEET_TEST_PYTHON")
        .expect("INKFLEET_TEST_PYTHON is not set: run the tests by bin/test, which prepares Python's verifiers")
}

/// Runs a verifier with `input` on its standard input.
fn run(program: OsString, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{} does not start ({error}): run the tests by bin/test", program.to_string_lossy())
        });
    // All input is read before anything is said, so writing first cannot block. A verifier that ends early says why.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("the verifier ends")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
