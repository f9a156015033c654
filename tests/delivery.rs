//! Deliveries: each as its dialect's document says, with everything that happened to be looked up afterwards.

mod answer;
mod recording;
mod request;
mod rotation;
mod schedule;
mod wish;

use serde_json::json;

use crate::support::{Receiver, TestApp, receiver::Reply, webhook::moment};

#[tokio::test]
async fn a_delivery_tells_its_attempts_its_body_and_why_it_stands_as_it_does() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::status(201).with_body("taken"));
    let endpoint = app.endpoint(&org, "iloveqr", &receiver.url(), &[]).await;
    let event = app.publish(&org, "member.joined", json!({"who": "Ann"})).await;

    let id = app.only_delivery(&org, &endpoint).await;
    let before = app.delivery(&org, &id).await;
    assert_eq!(before["delivery"]["state"], "pending");
    assert_eq!(before["delivery"]["why"], "Due at once: the first attempt follows the event.");
    assert_eq!(moment(&before["delivery"]["nextAttemptAt"]), app.clock.now());
    assert_eq!(before["attempts"], json!([]));

    app.drain().await;
    let after = app.delivery(&org, &id).await;
    assert_eq!(after["delivery"]["state"], "delivered");
    assert_eq!(after["delivery"]["why"], "Delivered: attempt 1 was answered with status 201.");
    assert_eq!(after["delivery"]["attempts"], 1);
    assert_eq!(after["delivery"]["eventId"], event["id"]);
    assert_eq!(after["delivery"]["nextAttemptAt"], json!(null));
    assert_eq!(moment(&after["delivery"]["finishedAt"]), app.clock.now());
    let attempt = &after["attempts"][0];
    assert_eq!(attempt["number"], 1);
    assert_eq!(attempt["succeeded"], true);
    assert_eq!(attempt["responseStatus"], 201);
    assert_eq!(attempt["responseBody"], "taken");
    assert_eq!(attempt["error"], json!(null));
    assert_eq!(attempt["remoteAddress"], receiver.address().to_string());
    assert_eq!(moment(&attempt["startedAt"]), app.clock.now());
    assert_eq!(after["attempts"].as_array().unwrap().len(), 1);
    let sent: serde_json::Value = serde_json::from_slice(&receiver.received()[0].body).unwrap();
    assert_eq!(after["body"], sent);

    let endpoint = app.endpoint_now(&org, &endpoint).await;
    assert_eq!(endpoint["lastResponseStatus"], 201);
    assert_eq!(endpoint["failuresInRow"], 0);
    assert!(moment(&endpoint["lastSuccessAt"]) >= app.clock.now());
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let target = Receiver::start(Reply::ok());
    let receiver = Receiver::start(Reply::Redirect(target.url()));
    let endpoint = app.endpoint(&org, "inklink", &receiver.url(), &[]).await;
    app.publish(&org, "kyc.result.approved", json!({})).await;
    app.drain().await;

    assert_eq!((receiver.received().len(), target.received().len()), (1, 0));
    let delivery = app.delivery(&org, &app.only_delivery(&org, &endpoint).await).await;
    assert_eq!(delivery["delivery"]["state"], "pending");
    assert_eq!(delivery["attempts"][0]["responseStatus"], 302);
    assert_eq!(delivery["attempts"][0]["succeeded"], false);
    assert_eq!(app.endpoint_now(&org, &endpoint).await["failuresInRow"], 1);
    app.leaves_jobs("delivery.attempt");
}

#[tokio::test]
async fn an_event_goes_to_every_dialect_that_knows_it_and_to_no_other_organisation() {
    let app = TestApp::start().await;
    let (org, stranger) = (app.org("acme").await, app.org("other").await);
    let receiver = Receiver::start(Reply::ok());
    let inkode = app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    let iloveqr = app.endpoint(&org, "iloveqr", &receiver.url(), &["qr.scanned"]).await;
    let narrow = app.endpoint(&org, "iloveqr", &receiver.url(), &["qr.created"]).await;
    let foreign = app.endpoint(&stranger, "inkode", &receiver.url(), &[]).await;

    assert_eq!(app.publish(&org, "qr.scanned", json!({})).await["deliveries"], 2);
    app.drain().await;
    assert_eq!(app.states(&org, &inkode).await, ["delivered"]);
    assert_eq!(app.states(&org, &iloveqr).await, ["delivered"]);
    assert!(app.states(&org, &narrow).await.is_empty());
    assert!(app.states(&stranger, &foreign).await.is_empty());
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn a_hundred_events_to_one_endpoint_each_arrive_once_though_few_are_let_in_at_a_time() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::ok());
    let endpoint = app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    let auth = format!("x-api-key: {}", org.key("ink_"));
    let events: Vec<_> = (0..100).map(|n| json!({"type": "qr.scanned", "data": {"n": n}})).collect();
    app.post("/api/v1/events/batch", &auth, json!({"events": events})).await.expect(202);

    // Those that find the gate full come again when their turn is expected, within the minute.
    app.drain().await;
    for _ in 0..60 {
        app.pass(chrono::Duration::seconds(1)).await;
    }
    let mut seen: Vec<i64> = receiver
        .received()
        .iter()
        .map(|request| {
            serde_json::from_slice::<serde_json::Value>(&request.body).unwrap()["payload"]["n"].as_i64().unwrap()
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    assert!(app.states(&org, &endpoint).await.iter().all(|state| state == "delivered"));
}
