//! Session tokens: what is let in, and everything that is not.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, TimeZone, Utc};
use domain::{
    chance::Chance,
    session::{InvalidKey, OrgClaim, SessionClaims, SessionError, SessionIssuer, SessionKeys, SessionVerifier},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.test";
const PARTY: &str = "https://app.test";
const PUBLIC_PEM: &str = include_str!("support/keys/session.pub.pem");

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 21, 12, 0, 0).unwrap()
}

fn issuer_with(pem: &str) -> SessionIssuer {
    SessionIssuer::from_pem(&SecretString::from(pem), ISSUER, Some(PARTY)).expect("a good key")
}

fn issuer() -> SessionIssuer {
    issuer_with(include_str!("support/keys/session.pem"))
}

fn stranger() -> SessionIssuer {
    issuer_with(include_str!("support/keys/stranger.pem"))
}

fn verifier(keys: SessionKeys) -> SessionVerifier {
    SessionVerifier { keys, issuer: Some(ISSUER.into()), authorized_parties: vec![PARTY.into()] }
}

fn by_table() -> SessionVerifier {
    verifier(SessionKeys::from_jwks(&issuer().jwks()).expect("a good set"))
}

fn by_pem() -> SessionVerifier {
    verifier(SessionKeys::from_pem(PUBLIC_PEM).expect("a good key"))
}

/// Claims of a good token of version 2, from which each test spoils one.
fn claims() -> Value {
    let at = now().timestamp();
    json!({
        "v": 2, "sub": "user_ada", "sid": "sess_1", "iss": ISSUER, "azp": PARTY, "sts": "active",
        "iat": at, "nbf": at, "exp": at + 60, "fva": [1, -1], "pla": "u:pro",
        "o": { "id": "org_acme", "slg": "acme", "rol": "admin", "per": "read,manage", "fpm": "3" },
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn sign(claims: &Value) -> String {
    issuer().sign(claims).unwrap().expose_secret().into()
}

fn judge(claims: &Value) -> Result<SessionClaims, SessionError> {
    by_table().verify(&sign(claims), now())
}

fn unsigned(header: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(header), part(&claims()))
}

#[test]
fn a_token_of_version_2_is_read() {
    let expected = SessionClaims {
        subject: "user_ada".into(),
        session_id: "sess_1".into(),
        org: Some(OrgClaim { external_id: "org_acme".into(), role: "admin".into(), slug: Some("acme".into()) }),
        issuer: Some(ISSUER.into()),
        authorized_party: Some(PARTY.into()),
        impersonator: None,
    };
    assert_eq!(judge(&claims()).unwrap(), expected);
    assert_eq!(by_pem().verify(&sign(&claims()), now()).unwrap(), expected);
}

#[test]
fn a_token_of_version_1_is_read_and_its_role_loses_the_prefix() {
    let at = now().timestamp();
    let old = json!({
        "sub": "user_ada", "sid": "sess_1", "iss": ISSUER, "azp": PARTY, "iat": at, "nbf": at, "exp": at + 60,
        "org_id": "org_acme", "org_role": "org:admin", "org_slug": "acme", "org_permissions": ["org:x:read"],
    });
    let org = judge(&old).unwrap().org.unwrap();
    assert_eq!(org, OrgClaim { external_id: "org_acme".into(), role: "admin".into(), slug: Some("acme".into()) });
}

#[test]
fn a_session_without_an_active_organisation_is_a_session() {
    assert_eq!(judge(&without("o")).unwrap().org, None);
}

#[test]
fn an_impersonator_is_named() {
    let claims = judge(&with("act", json!({ "iss": ISSUER, "sub": "user_support", "sid": "sess_2" }))).unwrap();
    assert_eq!(claims.impersonator.as_deref(), Some("user_support"));
}

#[test]
fn our_own_issuer_writes_tokens_that_end() {
    let org = OrgClaim { external_id: "org_acme".into(), role: "owner".into(), slug: None };
    let token = issuer().issue("user_ada", Some(&org), Duration::minutes(10), now(), &Chance::seeded(1)).unwrap();
    let claims = by_table().verify(token.expose_secret(), now() + Duration::minutes(9)).unwrap();
    assert_eq!((claims.subject.as_str(), claims.org), ("user_ada", Some(org)));
    assert!(claims.session_id.starts_with("sess_"));
    let late = by_table().verify(token.expose_secret(), now() + Duration::minutes(11));
    assert_eq!(late.unwrap_err(), SessionError::Expired);
}

#[test]
fn the_times_are_judged_by_the_time_that_is_passed_in_within_five_seconds() {
    let at = now().timestamp();
    let cases = [
        ("exp", json!(at - 4), None),
        ("exp", json!(at - 5), Some(SessionError::Expired)),
        ("exp", json!(at - 3600), Some(SessionError::Expired)),
        ("exp", json!(-1), Some(SessionError::Expired)),
        ("nbf", json!(at + 5), None),
        ("nbf", json!(at + 6), Some(SessionError::NotYetValid)),
        ("iat", json!(at + 5), None),
        ("iat", json!(at + 6), Some(SessionError::NotYetValid)),
        ("iat", json!(at as f64 + 5.5), Some(SessionError::NotYetValid)),
    ];
    for (name, value, refused) in cases {
        assert_eq!(judge(&with(name, value.clone())).err(), refused, "{name} {value}");
    }
}

#[test]
fn a_token_without_an_end_or_with_times_that_are_no_numbers_is_refused() {
    let bad = [without("exp"), with("exp", json!("1795262460")), with("exp", Value::Null), with("nbf", json!("soon"))];
    for claims in bad {
        assert!(matches!(judge(&claims), Err(SessionError::Malformed(_))), "{claims}");
    }
}

#[test]
fn a_token_of_another_issuer_is_refused() {
    for claims in [with("iss", json!("https://issuer.test.evil")), with("iss", json!("")), without("iss")] {
        assert_eq!(judge(&claims).unwrap_err(), SessionError::Issuer, "{claims}");
    }
    let any = SessionVerifier { issuer: None, ..by_table() };
    assert!(any.verify(&sign(&without("iss")), now()).is_ok());
}

#[test]
fn a_token_for_another_origin_or_for_none_is_refused() {
    for claims in [with("azp", json!("https://evil.test")), with("azp", json!("")), without("azp")] {
        assert_eq!(judge(&claims).unwrap_err(), SessionError::Party, "{claims}");
    }
    let any = SessionVerifier { authorized_parties: vec![], ..by_table() };
    assert!(any.verify(&sign(&without("azp")), now()).is_ok());
}

#[test]
fn a_session_that_is_not_active_is_refused() {
    assert_eq!(judge(&with("sts", json!("pending"))).unwrap_err(), SessionError::Pending);
    assert_eq!(judge(&with("sts", json!("something new"))).unwrap_err(), SessionError::Pending);
    assert!(judge(&without("sts")).is_ok(), "older tokens do not say");
}

#[test]
fn a_token_without_a_subject_or_a_session_is_refused() {
    for claims in [without("sub"), with("sub", json!("")), with("sub", json!(7)), without("sid")] {
        assert!(matches!(judge(&claims), Err(SessionError::Malformed(_))), "{claims}");
    }
}

#[test]
fn a_token_without_a_signature_is_refused() {
    for alg in ["none", "None", "NONE"] {
        let token = unsigned(&json!({ "alg": alg, "typ": "JWT" }));
        assert!(matches!(by_pem().verify(&token, now()), Err(SessionError::Malformed(_))), "{alg}");
    }
    let token = unsigned(&json!({ "alg": "RS256", "typ": "JWT" }));
    assert_eq!(by_pem().verify(&token, now()).unwrap_err(), SessionError::Signature);
}

#[test]
fn a_token_signed_with_the_public_key_as_a_password_is_refused() {
    let forged = include_str!("support/keys/hs256.jwt");
    assert_eq!(by_pem().verify(forged, now()).unwrap_err(), SessionError::Algorithm);
    assert_eq!(by_table().verify(forged, now()).unwrap_err(), SessionError::Algorithm);
}

#[test]
fn only_rs256_is_taken_even_from_the_right_key() {
    let token = include_str!("support/keys/rs512.jwt");
    assert_eq!(by_pem().verify(token, now()).unwrap_err(), SessionError::Algorithm);
}

#[test]
fn a_token_signed_by_somebody_else_is_refused() {
    let token = stranger().sign(&claims()).unwrap();
    assert_eq!(by_pem().verify(token.expose_secret(), now()).unwrap_err(), SessionError::Signature);
    let kid = stranger().jwks()["keys"][0]["kid"].as_str().unwrap().to_owned();
    assert_eq!(by_table().verify(token.expose_secret(), now()).unwrap_err(), SessionError::UnknownKey(kid));
}

#[test]
fn a_stranger_who_names_our_key_is_refused() {
    let ours = sign(&claims());
    let theirs = stranger().sign(&claims()).unwrap();
    let (header, rest) = ours.split_once('.').unwrap();
    let (payload, _) = rest.split_once('.').unwrap();
    let (_, signature) = theirs.expose_secret().rsplit_once('.').unwrap();
    let forged = format!("{header}.{payload}.{signature}");
    assert_eq!(by_table().verify(&forged, now()).unwrap_err(), SessionError::Signature);
}

#[test]
fn changed_claims_break_the_signature() {
    let token = sign(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let claims = URL_SAFE_NO_PAD.encode(with("sub", json!("user_eve")).to_string());
    let forged = format!("{}.{claims}.{}", parts[0], parts[2]);
    assert_eq!(by_table().verify(&forged, now()).unwrap_err(), SessionError::Signature);
}

#[test]
fn headers_that_ask_for_more_than_a_session_are_refused() {
    let long = "k".repeat(200);
    for header in [
        json!({ "alg": "RS256", "typ": "at+jwt" }),
        json!({ "alg": "RS256", "typ": "JWT", "crit": ["exp"] }),
        json!({ "alg": "RS256", "typ": "JWT", "kid": long }),
    ] {
        // The pinned key takes any key id, so nothing but the header is at fault before the signature is looked at.
        let refused = by_pem().verify(&unsigned(&header), now());
        assert!(matches!(refused, Err(SessionError::Malformed(_))), "{header}");
    }
}

#[test]
fn a_token_that_names_no_key_is_not_tried_against_every_key() {
    let token = unsigned(&json!({ "alg": "RS256", "typ": "JWT" }));
    assert_eq!(by_table().verify(&token, now()).unwrap_err(), SessionError::Malformed("it names no key"));
}

#[test]
fn what_is_no_token_is_refused_without_a_fuss() {
    let long = format!("{}.x.y", "a".repeat(9000));
    for text in ["", ".", "..", "...", "a.b.c", "ink_abc", "é.é.é", "eyJ.eyJ", long.as_str()] {
        assert!(matches!(by_table().verify(text, now()), Err(SessionError::Malformed(_))), "{text:.20}");
    }
}

#[test]
fn a_key_set_gives_its_rsa_signing_keys_and_nothing_else() {
    let good = issuer().jwks()["keys"][0].clone();
    let changed = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        json!({ "keys": [key] })
    };
    for set in [
        json!({ "keys": [] }),
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "a", "x": "AA", "y": "AA" }, 7, null] }),
        changed("use", json!("enc")),
        changed("alg", json!("RS512")),
        changed("kid", json!("")),
        changed("kty", json!("oct")),
        changed("n", json!("not base64!")),
        changed("n", json!(URL_SAFE_NO_PAD.encode([0xff; 128]))),
    ] {
        assert_eq!(SessionKeys::from_jwks(&set).unwrap_err(), InvalidKey::NoKeys, "{set}");
    }
    assert_eq!(SessionKeys::from_jwks(&json!([])).unwrap_err(), InvalidKey::NotASet);
    let mixed = json!({ "keys": [{ "kty": "EC", "kid": "a" }, good], "more": true });
    assert!(verifier(SessionKeys::from_jwks(&mixed).unwrap()).verify(&sign(&claims()), now()).is_ok());
}

#[test]
fn only_the_pem_of_a_long_public_key_is_taken() {
    let private = include_str!("support/keys/session.pem");
    for pem in [private, include_str!("support/keys/weak.pub.pem"), "-----BEGIN PUBLIC KEY-----", ""] {
        assert_eq!(SessionKeys::from_pem(pem).unwrap_err(), InvalidKey::Pem, "{pem:.40}");
    }
    assert!(SessionIssuer::from_pem(&SecretString::from(PUBLIC_PEM), ISSUER, None).is_err());
}

#[test]
fn an_issuer_publishes_no_private_key_and_prints_none() {
    let published = issuer().jwks()["keys"][0].as_object().unwrap().clone();
    let mut names: Vec<&str> = published.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"]);
    assert!(format!("{:?}", issuer()).contains("[redacted]"));
}
