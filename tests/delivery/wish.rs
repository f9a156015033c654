//! What an owner wishes of a delivery: once more, a test, none any longer, or later.

use chrono::Duration;
use serde_json::{Value, json};

use crate::support::{
    Receiver, TestApp,
    receiver::{Reply, Script},
};

#[tokio::test]
async fn a_delivery_that_was_given_up_is_sent_once_more_by_hand_and_its_schedule_starts_anew() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let mut replies = vec![Reply::status(500); 5];
    replies.push(Reply::ok());
    let receiver = Receiver::start(Script::sequence(replies));
    let endpoint = app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    app.publish(&org, "qr.created", json!({})).await;
    app.drain().await;
    let id = app.only_delivery(&org, &endpoint).await;

    let refused = app.retry(&org, &id).await;
    assert_eq!((refused.status, &refused.json["code"]), (409, &json!("delivery_pending")));
    for gap in [61, 301, 1501] {
        app.pass(Duration::seconds(gap)).await;
    }
    assert_eq!(app.delivery(&org, &id).await["delivery"]["state"], "failed");

    let accepted = app.retry(&org, &id).await.expect(202);
    assert_eq!((&accepted["state"], &accepted["why"]), (&json!("pending"), &json!("Due at once: retried by hand.")));
    assert_eq!(accepted["finishedAt"], json!(null));
    app.drain().await;
    assert_eq!(receiver.received().len(), 5);
    // The fifth failed too: the first gap again.
    assert_eq!(app.delivery(&org, &id).await["delivery"]["state"], "pending");
    app.pass(Duration::seconds(61)).await;
    let delivery = app.delivery(&org, &id).await;
    assert_eq!(delivery["delivery"]["state"], "delivered");
    let numbers: Vec<&Value> = delivery["attempts"].as_array().unwrap().iter().map(|a| &a["number"]).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    let received = receiver.received();
    assert_eq!(received[5].header("x-inkode-attempt"), Some("6"));
    assert_eq!(received[5].header("webhook-id"), received[0].header("webhook-id"));
    assert_eq!(received[5].body, received[0].body);
}

#[tokio::test]
async fn two_retries_at_once_make_one_attempt() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::ok());
    let endpoint = app.endpoint(&org, "inklink", &receiver.url(), &[]).await;
    app.publish(&org, "kyc.result.failed", json!({})).await;
    app.drain().await;
    let id = app.only_delivery(&org, &endpoint).await;
    let (one, two) = tokio::join!(app.retry(&org, &id), app.retry(&org, &id));
    assert!(one.status == 202 || two.status == 202, "{one:?} {two:?}");
    app.drain().await;
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn a_test_event_is_sent_once_even_to_a_disabled_endpoint_and_says_nothing_of_its_health() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::status(500));
    let endpoint = app.endpoint(&org, "qrstudio", &receiver.url(), &["dynamic_qr.updated"]).await;
    app.patch_endpoint(&org, &endpoint, json!({"enabled": false})).await;
    let id = app.try_out(&org, &endpoint).await;
    app.drain().await;
    app.pass(Duration::days(3)).await;

    let received = receiver.received();
    assert_eq!(received.len(), 1);
    let body: Value = serde_json::from_slice(&received[0].body).unwrap();
    assert_eq!(body["type"], "dynamic_qr.updated");
    let delivery = app.delivery(&org, &id).await;
    assert_eq!((&delivery["delivery"]["state"], &delivery["delivery"]["test"]), (&json!("failed"), &json!(true)));
    let why = "Failed: the test was answered with status 500; tests are not repeated.";
    assert_eq!(delivery["delivery"]["why"], why);
    assert_eq!(app.endpoint_now(&org, &endpoint).await["failuresInRow"], 0);
    assert!(app.mails().await.is_empty());

    // Made again by hand it is still a test: once, and not held.
    let again = app.retry(&org, &id).await.expect(202);
    assert_eq!(again["test"], true);
    app.drain().await;
    app.pass(Duration::days(3)).await;
    assert_eq!(receiver.received().len(), 2);
    assert_eq!(app.delivery(&org, &id).await["delivery"]["state"], "failed");
}

#[tokio::test]
async fn deliveries_under_way_to_a_deleted_endpoint_are_cancelled_and_not_retried() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::status(500));
    let endpoint = app.endpoint(&org, "qrstudio", &receiver.url(), &[]).await;
    app.publish(&org, "scan.created", json!({})).await;
    app.drain().await;
    app.publish(&org, "scan.created", json!({})).await;
    let ids: Vec<String> =
        app.deliveries(&org, &endpoint).await.iter().map(|d| d["id"].as_str().unwrap().to_owned()).collect();
    app.delete_endpoint(&org, &endpoint).await;

    assert_eq!(app.publish(&org, "scan.created", json!({})).await["deliveries"], 0);
    app.drain().await;
    app.pass(Duration::days(3)).await;
    assert_eq!(receiver.received().len(), 1);
    for id in ids {
        let delivery = app.delivery(&org, &id).await;
        assert_eq!(delivery["delivery"]["state"], "cancelled");
        assert_eq!(delivery["delivery"]["why"], "Cancelled: the endpoint was deleted.");
        assert_eq!(app.retry(&org, &id).await.expect(409)["code"], "endpoint_deleted");
    }
    assert!(app.mails().await.is_empty());
}

#[tokio::test]
async fn requests_in_flight_while_their_endpoint_is_deleted_are_recorded_and_nothing_follows_from_them() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let late = Reply::delay(std::time::Duration::from_millis(400), Reply::status(500));
    let receiver = Receiver::start(late);
    let endpoint = app.endpoint(&org, "qrstudio", &receiver.url(), &[]).await;
    // As many failures as would degrade it.
    for _ in 0..5 {
        app.publish(&org, "scan.created", json!({})).await;
    }
    let ids: Vec<String> =
        app.deliveries(&org, &endpoint).await.iter().map(|d| d["id"].as_str().unwrap().to_owned()).collect();
    let delete = async {
        receiver.wait_for(5).await;
        app.delete_endpoint(&org, &endpoint).await;
    };
    tokio::join!(app.drain(), delete);
    app.pass(Duration::days(3)).await;
    assert_eq!(receiver.received().len(), 5);
    for id in ids {
        let delivery = app.delivery(&org, &id).await;
        assert_eq!(delivery["delivery"]["state"], "cancelled");
        assert_eq!(delivery["attempts"][0]["responseStatus"], 500);
    }
    assert!(app.mails().await.is_empty());
}

#[tokio::test]
async fn what_happens_or_comes_due_while_an_endpoint_is_switched_off_is_held() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::sequence([Reply::status(500), Reply::ok()]));
    let endpoint = app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    app.publish(&org, "qr.created", json!({})).await;
    app.drain().await;
    app.patch_endpoint(&org, &endpoint, json!({"enabled": false})).await;
    // Ids of one millisecond are in no order.
    app.clock.advance(Duration::milliseconds(1));
    assert_eq!(app.publish(&org, "qr.updated", json!({})).await["deliveries"], 1);
    assert_eq!(app.states(&org, &endpoint).await, ["pending", "held"]);
    app.pass(Duration::seconds(61)).await;
    assert_eq!(app.states(&org, &endpoint).await, ["held", "held"]);
    for delivery in app.deliveries(&org, &endpoint).await {
        let why =
            "Held: the endpoint was disabled when the delivery came due. Replay it once the endpoint is enabled again.";
        assert_eq!(delivery["why"], why);
        assert_eq!(delivery["finishedAt"], json!(null));
    }
    app.pass(Duration::days(2)).await;
    assert_eq!(receiver.received().len(), 1);

    // Switching it on sends nothing by itself; one of them is asked for.
    app.patch_endpoint(&org, &endpoint, json!({"enabled": true})).await;
    app.pass(Duration::days(2)).await;
    assert_eq!(app.states(&org, &endpoint).await, ["held", "held"]);
    let deliveries = app.deliveries(&org, &endpoint).await;
    app.retry(&org, deliveries[1]["id"].as_str().unwrap()).await.expect(202);
    app.drain().await;
    assert_eq!(app.states(&org, &endpoint).await, ["held", "delivered"]);
}

#[tokio::test]
async fn a_retry_to_an_endpoint_that_is_switched_off_is_held() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::ok());
    let endpoint = app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    app.publish(&org, "qr.created", json!({})).await;
    app.drain().await;
    app.patch_endpoint(&org, &endpoint, json!({"enabled": false})).await;
    app.retry(&org, &app.only_delivery(&org, &endpoint).await).await.expect(202);
    app.drain().await;
    assert_eq!(app.states(&org, &endpoint).await, ["held"]);
    assert_eq!(receiver.received().len(), 1);
}
