//! What receivers say, as it is kept: bounded, and text whatever it was.

use serde_json::{Value, json};

use crate::support::{Receiver, TestApp, receiver::Reply};

/// The attempt that a reply comes to, with its delivery's state.
async fn attempt_at(reply: Reply) -> (String, Value) {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(reply);
    let endpoint = app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    app.publish(&org, "qr.created", json!({})).await;
    app.drain().await;
    app.leaves_jobs("delivery.attempt");
    let mut delivery = app.delivery(&org, &app.only_delivery(&org, &endpoint).await).await;
    (delivery["delivery"]["state"].as_str().unwrap().to_owned(), delivery["attempts"][0].take())
}

#[tokio::test]
async fn at_most_sixteen_kib_of_an_answer_are_kept() {
    let (state, attempt) = attempt_at(Reply::ok().with_body("x".repeat(40_000))).await;
    assert_eq!(state, "delivered");
    assert_eq!(attempt["responseBody"].as_str().unwrap(), "x".repeat(16 * 1024));
    assert_eq!(attempt["error"], json!(null));
}

#[tokio::test]
async fn an_answer_of_bytes_that_are_no_text_is_kept_as_text() {
    let (state, attempt) = attempt_at(Reply::InvalidUtf8).await;
    assert_eq!(state, "delivered");
    let body = attempt["responseBody"].as_str().unwrap();
    assert!(body.starts_with("\u{fffd}\u{fffd}\u{fffd}\u{fffd}") && !body.contains('\0'));
    assert!(body.len() <= 16 * 1024 && body.len() > 16 * 1024 - 3);
}

#[tokio::test]
async fn a_nul_in_an_answer_loses_neither_the_answer_nor_the_delivery() {
    let (state, attempt) = attempt_at(Reply::status(500).with_body("before\0after")).await;
    assert_eq!(state, "pending");
    assert_eq!(attempt["responseBody"], "before\u{fffd}after");
}

#[tokio::test]
async fn a_status_of_the_two_hundreds_is_a_success_and_no_other_is() {
    for (status, state) in
        [(200, "delivered"), (204, "delivered"), (299, "delivered"), (300, "pending"), (404, "pending")]
    {
        let (seen, attempt) = attempt_at(Reply::status(status)).await;
        assert_eq!(seen, state, "{status}");
        assert_eq!(attempt["responseStatus"], status);
    }
}

#[tokio::test]
async fn an_endpoint_that_nobody_listens_on_is_a_failed_attempt_without_a_status() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    // Bound and not listening: the port is nobody else's, and connections to it are refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}/hook", socket.local_addr().unwrap());
    let endpoint = app.endpoint(&org, "inkr", &url, &[]).await;
    app.publish(&org, "submission.sent", json!({})).await;
    app.drain().await;
    let delivery = app.delivery(&org, &app.only_delivery(&org, &endpoint).await).await;
    let attempt = &delivery["attempts"][0];
    assert_eq!(attempt["error"], "Connection refused");
    assert_eq!(attempt["responseStatus"], json!(null));
    assert_eq!(attempt["responseBody"], "");
    let why = delivery["delivery"]["why"].as_str().unwrap();
    assert!(why.starts_with("Attempt 1 failed (Connection refused). The Inkr schedule allows 8;"), "{why}");
    app.leaves_jobs("delivery.attempt");
}
