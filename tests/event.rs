//! Event intake: what is accepted is on its way, and what is wrong is named and leaves nothing behind.

use serde_json::{Value, json};

use crate::support::{
    Receiver, TestApp,
    receiver::{Reply, Script},
};

#[tokio::test]
async fn an_event_reaches_the_endpoint_that_subscribes_to_it() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Reply::ok()));
    app.endpoint(&org, "inklink", &receiver.url(), &["kyc.result.approved"]).await;

    let answer = app.publish(&org, "kyc.result.approved", json!({"inquiry_id": "i", "subject_id": "s"})).await;
    assert_eq!(answer["deliveries"], 1);
    app.publish(&org, "kyc.result.rejected", json!({})).await;
    app.drain().await;

    let received = receiver.received();
    assert_eq!(received.len(), 1);
    let body: Value = serde_json::from_slice(&received[0].body).unwrap();
    assert_eq!(body["type"], "kyc.result.approved");
    assert_eq!(body["data"], json!({"inquiry_id": "i", "subject_id": "s"}));
}
