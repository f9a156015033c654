//! Recording what came of a request: whatever stands in its way, no request is made twice for it and none is lost.

use chrono::Duration;
use serde_json::json;

use crate::support::{
    Receiver, TestApp,
    receiver::{Reply, Script},
};

#[tokio::test]
async fn a_postgres_that_fails_while_outcomes_are_recorded_makes_no_request_twice() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::sequence([Reply::ok(), Reply::status(500), Reply::ok()]));
    let endpoint = app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    for _ in 0..3 {
        app.publish(&org, "qr.created", json!({})).await;
    }
    // The server refuses the first four recordings as one that is shutting down does; a sequence survives the roll-back.
    app.sql(
        "create sequence refusals;
         create function refuse() returns trigger language plpgsql as $$ begin
           if nextval('refusals') <= 4 then raise exception using errcode = '57P01', message = 'going down'; end if;
           return new;
         end $$;
         create trigger refuse before insert on attempts for each row execute function refuse()",
    )
    .await;
    app.drain().await;

    assert_eq!(receiver.received().len(), 3);
    let mut states = app.states(&org, &endpoint).await;
    states.sort();
    assert_eq!(states, ["delivered", "delivered", "pending"]);
    app.pass(Duration::seconds(61)).await;
    assert_eq!(receiver.received().len(), 4);
    assert_eq!(app.states(&org, &endpoint).await, ["delivered"; 3]);
}

#[tokio::test]
async fn an_outcome_that_cannot_be_recorded_holds_up_no_other() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (good, bad) = (Receiver::start(Reply::ok()), Receiver::start(Reply::ok().with_body("poison")));
    let healthy = app.endpoint(&org, "inkode", &good.url(), &[]).await;
    let poisoned = app.endpoint(&org, "inkode", &bad.url(), &[]).await;
    app.sql(
        "create function refuse() returns trigger language plpgsql as $$ begin
           if new.response_body = 'poison' then raise exception using errcode = '22000', message = 'no'; end if;
           return new;
         end $$;
         create trigger refuse before insert on attempts for each row execute function refuse()",
    )
    .await;
    for _ in 0..10 {
        app.publish(&org, "qr.created", json!({})).await;
    }
    app.drain().await;
    assert_eq!(app.states(&org, &healthy).await, ["delivered"; 10]);
    assert_eq!(good.received().len(), 10);
    // These go on trying at the queue's own pace, until an operator has mended what is wrong.
    assert_eq!(app.states(&org, &poisoned).await, ["pending"; 10]);
    app.sql("drop trigger refuse on attempts").await;
    app.pass(Duration::seconds(2)).await;
    assert_eq!(app.states(&org, &poisoned).await, ["delivered"; 10]);
}

#[tokio::test]
async fn recording_and_deleting_an_endpoint_wait_for_each_other_in_one_order() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::status(500));
    let endpoint = app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    app.publish(&org, "qr.created", json!({})).await;
    let delivery_id = app.only_delivery(&org, &endpoint).await;
    let id = domain::endpoint::read_id(endpoint["id"].as_str().unwrap()).unwrap();
    // The two steps of a deletion, with a recording that begins in between.
    let mut tx = app.store.begin().await.unwrap();
    // If both wait for the other, this one is to notice it.
    sqlx::raw_sql("set local deadlock_timeout = '10ms'").execute(&mut *tx).await.unwrap();
    assert!(domain::endpoint::delete(&mut tx, org.id, id, app.clock.now()).await.unwrap());
    let delete = async {
        let waiting = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock'";
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(app.store.pool()).await.unwrap() == 0 {
            assert!(std::time::Instant::now() < deadline, "the recording never waits");
            tokio::task::yield_now().await;
        }
        let cancelled = domain::delivery::cancel_for_endpoint(&mut tx, org.id, id, app.clock.now()).await;
        assert_eq!(cancelled.expect("no deadlock"), 1);
        tx.commit().await.unwrap();
    };
    tokio::join!(app.drain(), delete);
    assert_eq!(app.delivery(&org, &delivery_id).await["delivery"]["state"], "cancelled");
    app.pass(Duration::days(1)).await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn endpoints_are_changed_and_deleted_while_their_deliveries_are_recorded() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::status(500));
    let auth = format!("x-api-key: {}", org.key("ink_"));
    for _ in 0..3 {
        let mut endpoints = vec![];
        for _ in 0..3 {
            endpoints.push(app.endpoint(&org, "inkode", &receiver.url(), &[]).await);
        }
        let events: Vec<_> = (0..20).map(|n| json!({"type": "qr.scanned", "data": {"n": n}})).collect();
        app.post("/api/v1/events/batch", &auth, json!({"events": events})).await.expect(202);
        let meddle = async {
            for name in ["a", "b", "c", "d"] {
                for endpoint in &endpoints {
                    app.patch_endpoint(&org, endpoint, json!({"name": name, "enabled": name != "b"})).await;
                }
            }
            for endpoint in &endpoints {
                app.delete_endpoint(&org, endpoint).await;
            }
        };
        tokio::join!(app.drain(), meddle);
    }
    app.pass(Duration::days(1)).await;
    let left: i64 = sqlx::query_scalar("select count(*) from deliveries where state in ('pending', 'held')")
        .fetch_one(app.store.pool())
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_change_of_settings_undoes_nothing_of_what_the_workers_noted() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::status(500));
    let endpoint = app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    for _ in 0..4 {
        app.publish(&org, "qr.created", json!({})).await;
    }
    app.drain().await;
    let before = app.endpoint_now(&org, &endpoint).await;
    let after = app.patch_endpoint(&org, &endpoint, json!({"name": "renamed", "enabled": true})).await;
    assert_eq!(after["name"], "renamed");
    for field in ["failuresInRow", "health", "lastDeliveryAt", "lastResponseStatus"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    assert_eq!(before["failuresInRow"], 4);
    app.leaves_jobs("delivery.attempt");
}
