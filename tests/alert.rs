//! Alerts about visits: what holds is told once, by mail, and again only after it did not hold.

use chrono::Duration;
use domain::alert::{Figures, Watch, holds};
use serde_json::{Value, json};

use crate::support::{TestApp, TestOrg, app::CRON_SECRET};

async fn link(app: &TestApp, org: &TestOrg) -> String {
    let body = json!({"destination": "https://shop.example", "slug": "summer"});
    app.owner(org, "POST", "/api/links", Some(body)).await.expect(201)["id"].as_str().unwrap().to_owned()
}

async fn alert(app: &TestApp, org: &TestOrg, body: Value) -> Value {
    let made = app.owner(org, "POST", "/api/alerts", Some(body)).await.expect(201);
    // The next one is newer.
    app.clock.advance(Duration::milliseconds(1));
    made
}

async fn visit(app: &TestApp, times: usize) {
    for n in 0..times {
        let address = format!("10.0.{}.{}", n / 256, n % 256);
        let headers =
            [("x-visitor", address.as_str()), ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")];
        assert_eq!(app.send("GET", "/r/summer", &headers, None).await.status, 302);
    }
    app.store_visits().await;
    app.pass(Duration::seconds(5)).await;
}

/// Lets `minutes` pass, and has the alerts looked at.
async fn look(app: &TestApp, minutes: i64) {
    app.clock.advance(Duration::minutes(minutes));
    app.send("POST", "/api/cron/qr-alerts", &[("x-cron-secret", CRON_SECRET)], None).await.expect(202);
    app.drain().await;
}

async fn subjects(app: &TestApp) -> Vec<String> {
    app.mails().await.into_iter().rev().map(|mail| mail.subject).collect()
}

#[tokio::test]
async fn a_threshold_is_told_once_to_whoever_asked() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let id = link(&app, &org).await;
    let made = alert(&app, &org, json!({"targetId": id, "kind": "threshold", "visits": 3})).await;
    visit(&app, 2).await;
    look(&app, 10).await;
    assert!(subjects(&app).await.is_empty());
    visit(&app, 1).await;
    for _ in 0..3 {
        look(&app, 10).await;
    }
    let mails = app.mails().await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].recipient, "owner@acme.example");
    assert_eq!(mails[0].subject, format!("A number of visits is reached: {}/r/summer", app.url));
    assert!(mails[0].text.contains("Visits in all: 3") && !mails[0].text.contains("webhooks"), "{}", mails[0].text);
    let path = format!("/api/alerts/{}", made["id"].as_str().unwrap());
    assert!(app.owner(&org, "GET", &path, None).await.expect(200)["raisedAt"].is_string());

    // With another number it is watched for anew.
    let patched = app.owner(&org, "PATCH", &path, Some(json!({"visits": 4}))).await.expect(200);
    assert!(patched["visits"] == 4 && patched["raisedAt"].is_null(), "{patched}");
    look(&app, 10).await;
    assert_eq!(app.mails().await.len(), 1);
    visit(&app, 1).await;
    look(&app, 10).await;
    assert_eq!(app.mails().await.len(), 2);
}

#[tokio::test]
async fn a_silence_is_told_again_only_after_a_visit() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let id = link(&app, &org).await;
    alert(&app, &org, json!({"targetId": id, "kind": "silence", "hours": 2})).await;
    visit(&app, 1).await;
    look(&app, 119).await;
    assert!(subjects(&app).await.is_empty());
    for _ in 0..3 {
        look(&app, 60).await;
    }
    assert_eq!(subjects(&app).await, [format!("No visits: {}/r/summer", app.url)]);
    visit(&app, 1).await;
    look(&app, 10).await;
    look(&app, 180).await;
    assert_eq!(subjects(&app).await.len(), 2);
}

#[tokio::test]
async fn a_spike_is_an_hour_far_above_the_week_before_it() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let id = link(&app, &org).await;
    alert(&app, &org, json!({"targetId": id, "kind": "spike", "visits": 5, "factor": 10})).await;
    visit(&app, 4).await;
    look(&app, 70).await;
    assert!(subjects(&app).await.is_empty(), "too few to be one");
    visit(&app, 6).await;
    look(&app, 10).await;
    assert!(subjects(&app).await.is_empty(), "the hour is not over");
    look(&app, 50).await;
    look(&app, 10).await;
    assert_eq!(subjects(&app).await, [format!("Unusually many visits: {}/r/summer", app.url)]);
    look(&app, 60).await;
    assert_eq!(app.mails().await.len(), 1);
}

#[test]
fn the_usual_is_the_mean_of_the_week() {
    let now = "2026-03-02T12:00:00Z".parse().unwrap();
    let spike = Watch::Spike { visits: 20, factor: 3 };
    for (hour, week, expected) in [
        (19, 0, false),
        (20, 0, true),
        (30, 168 * 10, true),
        (29, 168 * 10, false),
        (300, 168 * 100, true),
        (i64::MAX, i64::MAX, true),
    ] {
        let figures = Figures { hour, week, ..Figures::default() };
        assert_eq!(holds(spike, now, figures, now), expected, "{hour} {week}");
    }
}

#[tokio::test]
async fn an_alert_is_made_listed_switched_off_and_deleted() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let id = link(&app, &org).await;
    let spike = alert(&app, &org, json!({"targetId": id, "kind": "spike"})).await;
    assert_eq!((&spike["visits"], &spike["factor"], &spike["active"]), (&json!(20), &json!(3), &json!(true)));
    let silence = alert(&app, &org, json!({"targetId": id, "kind": "silence", "active": false})).await;
    assert_eq!((&silence["hours"], &silence["targetId"]), (&json!(24), &json!(id)));
    let listed = async |query: &str| {
        let page = app.owner(&org, "GET", &format!("/api/alerts{query}"), None).await.expect(200);
        page["items"].as_array().unwrap().clone()
    };
    assert_eq!(listed("").await, [silence.clone(), spike.clone()]);
    assert_eq!(listed(&format!("?targetId={id}&limit=1")).await, vec![silence.clone()]);
    assert!(listed("?targetId=link_01KJQ6PSG0EC78V5NZFZCHSTM3").await.is_empty());
    look(&app, 60 * 24 * 30).await;
    assert!(subjects(&app).await.is_empty(), "it is switched off");

    for (body, fields) in [
        (json!({"targetId": "qr_x", "kind": "spike"}), vec!["targetId"]),
        (json!({"targetId": "link_01KJQ6PSG0EC78V5NZFZCHSTM3", "kind": "spike"}), vec!["targetId"]),
        (json!({"targetId": id, "kind": "threshold"}), vec!["visits"]),
        (json!({"targetId": id, "kind": "silence", "visits": 1, "factor": 2}), vec!["visits", "factor"]),
        (
            json!({"targetId": id, "kind": "spike", "visits": 0, "factor": 1, "hours": 2}),
            vec!["visits", "factor", "hours"],
        ),
    ] {
        let refused = app.owner(&org, "POST", "/api/alerts", Some(body.clone())).await;
        assert_eq!(refused.status, 400, "{body}");
        let told: Vec<&str> =
            refused.json["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
        assert_eq!(told, fields, "{body}");
    }
    let theirs = app.owner(&other, "POST", "/api/alerts", Some(json!({"targetId": id, "kind": "spike"}))).await;
    assert_eq!(theirs.status, 400, "another organisation's link is none of yours");

    for _ in 2..20 {
        alert(&app, &org, json!({"targetId": id, "kind": "spike", "active": false})).await;
    }
    let one_more = json!({"targetId": id, "kind": "spike"});
    assert_eq!(app.owner(&org, "POST", "/api/alerts", Some(one_more)).await.expect(409)["code"], "too_many_alerts");

    let path = format!("/api/alerts/{}", spike["id"].as_str().unwrap());
    assert_eq!(app.owner(&org, "DELETE", &path, None).await.status, 204);
    assert_eq!(app.owner(&org, "DELETE", &path, None).await.status, 404);
    app.owner(&org, "DELETE", &format!("/api/links/{id}"), None).await;
    assert!(listed("").await.is_empty(), "what is gone has no alerts");
    look(&app, 10).await;
    let left: i64 = sqlx::query_scalar("select count(*) from alerts").fetch_one(app.store.pool()).await.unwrap();
    assert_eq!(left, 0);
}
