//! Secrets that change between two attempts of one delivery.

use chrono::{Duration, TimeDelta};
use domain::dialect::{Dialect, DialectName, verify};
use serde_json::{Value, json};

use crate::support::{
    Receiver, TestApp, TestOrg,
    receiver::{Received, Reply},
    webhook::{text, type_of},
};

fn is_signed_by(app: &TestApp, dialect: &str, request: &Received, secret: &str) -> bool {
    let row = Dialect::by_name(dialect.parse::<DialectName>().unwrap());
    verify(row, |name| request.header(name), &request.body, secret, TimeDelta::days(1), app.clock.now()).is_ok()
}

/// A delivery of which the first attempt failed.
async fn failed_once(dialect: &str) -> (TestApp, TestOrg, Receiver, Value) {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::status(500));
    let endpoint = app.endpoint(&org, dialect, &receiver.url(), &[]).await;
    app.publish(&org, type_of(dialect), json!({})).await;
    app.drain().await;
    app.leaves_jobs("delivery.attempt");
    (app, org, receiver, endpoint)
}

#[tokio::test]
async fn after_a_rotation_the_next_attempt_is_signed_with_the_new_secret_alone() {
    for dialect in ["qrstudio", "inkr", "inklink", "inkode"] {
        let (app, org, receiver, endpoint) = failed_once(dialect).await;
        let old = text(&endpoint["secret"]);
        let new = app.rotate(&org, &endpoint, 0).await;
        app.pass(Duration::seconds(61)).await;
        let requests = receiver.received();
        assert_eq!(requests.len(), 2, "{dialect}");
        assert!(is_signed_by(&app, dialect, &requests[0], old));
        assert!(is_signed_by(&app, dialect, &requests[1], &new), "{dialect}");
        assert!(!is_signed_by(&app, dialect, &requests[1], old), "{dialect}");
        assert_eq!(requests[1].header("x-inkode-signature-previous"), None);
    }
}

#[tokio::test]
async fn during_an_overlap_inklink_signs_with_both_secrets_in_one_header() {
    let (app, org, receiver, endpoint) = failed_once("inklink").await;
    let old = text(&endpoint["secret"]);
    let new = app.rotate(&org, &endpoint, 60).await;
    app.pass(Duration::seconds(31)).await;
    let during = receiver.received().pop().unwrap();
    let signatures: Vec<&str> = during.header("webhook-signature").unwrap().split(' ').collect();
    assert_eq!(signatures.len(), 2);
    assert!(signatures[0] != signatures[1] && signatures.iter().all(|signature| signature.starts_with("v1,")));
    assert!(is_signed_by(&app, "inklink", &during, old) && is_signed_by(&app, "inklink", &during, &new));

    app.pass(Duration::seconds(60)).await;
    let after = receiver.received().pop().unwrap();
    assert_eq!(receiver.received().len(), 3);
    assert!(!is_signed_by(&app, "inklink", &after, old) && is_signed_by(&app, "inklink", &after, &new));
}

#[tokio::test]
async fn during_an_overlap_inkode_signs_a_header_of_its_own_with_the_old_secret() {
    let (app, org, receiver, endpoint) = failed_once("inkode").await;
    let old = text(&endpoint["secret"]);
    let new = app.rotate(&org, &endpoint, 120).await;
    app.pass(Duration::seconds(61)).await;
    let during = receiver.received().pop().unwrap();
    assert!(is_signed_by(&app, "inkode", &during, &new) && is_signed_by(&app, "inkode", &during, old));
    assert_ne!(during.header("x-inkode-signature"), during.header("x-inkode-signature-previous"));

    app.pass(Duration::seconds(301)).await;
    let after = receiver.received().pop().unwrap();
    assert_eq!(receiver.received().len(), 3);
    assert!(!is_signed_by(&app, "inkode", &after, old) && is_signed_by(&app, "inkode", &after, &new));
    assert_eq!(after.header("x-inkode-signature-previous"), None);
}

#[tokio::test]
async fn a_secret_that_its_caller_changed_signs_from_the_next_attempt_on() {
    let (app, org, receiver, endpoint) = failed_once("iloveqr").await;
    let path = format!("/api/v1/organizations/{}/webhooks/{}", org.id, text(&endpoint["id"]));
    let body = json!({"url": receiver.url(), "events": ["member.joined"], "secret": "another-secret-of-theirs"});
    app.call("PUT", &path, &format!("x-api-key: {}", org.key("ilqr_")), Some(body)).await.expect(200);
    app.pass(Duration::seconds(61)).await;
    let request = receiver.received().pop().unwrap();
    assert!(is_signed_by(&app, "iloveqr", &request, "another-secret-of-theirs"));
    assert!(!is_signed_by(&app, "iloveqr", &request, "a-secret-of-the-story"));
}
