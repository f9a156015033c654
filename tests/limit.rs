//! Limits: every member sees what the plan includes, how much is in use, and what is locked.

use chrono::Duration;
use domain::{downgrade::GRACE, plan::Plan};
use serde_json::{Value, json};

use crate::support::{TestApp, TestOrg, app::CRON_SECRET};

async fn put_on(app: &TestApp, org: &TestOrg, plan: Plan) {
    let mut tx = app.store.begin().await.unwrap();
    assert!(jobs::plan::change(&mut tx, org.id, plan, app.clock.now(), &app.chance).await.unwrap());
    tx.commit().await.unwrap();
    app.drain().await;
}

/// The limits as a plain member sees them.
async fn limits(app: &TestApp, org: &TestOrg) -> Value {
    let auth = format!("authorization: Bearer {}", org.member_session(app));
    app.get(&format!("/api/org/{}/limits", org.id), &auth).await.expect(200)
}

fn of(limits: &Value, name: &str) -> Value {
    let all = limits["limits"].as_array().unwrap();
    all.iter().find(|limit| limit["name"] == name).unwrap_or_else(|| panic!("{name} is not in {limits}")).clone()
}

#[tokio::test]
async fn each_limit_says_how_much_there_is_of_how_much_and_what_is_locked() {
    let app = TestApp::start().await;
    let org = TestOrg::make(&app, "acme", Plan::Pro).await;
    let mut endpoints = vec![];
    for _ in 0..5 {
        app.clock.advance(Duration::milliseconds(2));
        let made = app.endpoint(&org, "inkode", "http://127.0.0.1:9/", &["campaign.sent"]).await;
        endpoints.push(format!("/api/webhooks/endpoints/{}", made["id"].as_str().unwrap()));
    }
    let link = json!({"destination": "https://shop.example/"});
    let link = app.owner(&org, "POST", "/api/links", Some(link)).await.expect(201);
    let code = json!({"isDynamic": true, "content": {"url": "https://shop.example/"}});
    app.owner(&org, "POST", "/api/qr", Some(code)).await.expect(201);
    app.owner(&org, "POST", "/api/barcode", Some(json!({"type": "code128", "value": "A1"}))).await.expect(201);
    // People count, programs do not, and neither does another month.
    for (day, visits, bots) in [("2026-02-28", 900, 0), ("2026-03-01", 100, 40), ("2026-03-02", 17, 0)] {
        let visited = "insert into visit_days (org_id, target_id, day, visits, uniques, bots, facets)
                       values ($1, '00000000-0000-0000-0000-000000000000', $2::date, $3, 1, $4, '\\x00')";
        let visited = sqlx::query(visited).bind(org.id.0).bind(day).bind(visits).bind(bots);
        visited.execute(app.store.pool()).await.unwrap();
    }
    let auth = format!("authorization: Bearer {}", org.session(&app));
    let seen = limits(&app, &org).await;
    assert_eq!(app.get(&format!("/api/org/{}/limits", org.id), &auth).await.expect(200), seen);
    assert_eq!(
        seen,
        json!({"orgId": org.id.to_string(), "plan": "pro", "suspended": false, "limits": [
            {"name": "links", "limit": 5_000, "used": 1, "locked": 0},
            {"name": "dynamic_codes", "limit": 500, "used": 1, "locked": 0},
            {"name": "barcodes", "limit": 2_500, "used": 1, "locked": 0},
            {"name": "endpoints", "limit": 50, "used": 5, "locked": 0},
            {"name": "contacts", "limit": 10_000, "used": 0, "locked": 0},
            {"name": "seats", "limit": 25, "used": 2, "locked": 0},
            {"name": "monthly_scans", "limit": 10_000, "used": 117, "locked": 0, "resetsAt": "2026-04-01T00:00:00.000Z"},
        ]})
    );
    let path = format!("/api/links/{}", link["id"].as_str().unwrap());
    app.owner(&org, "PATCH", &path, Some(json!({"archived": true}))).await.expect(200);
    assert_eq!(of(&limits(&app, &org).await, "links")["used"], 0);

    put_on(&app, &org, Plan::Free).await;
    let warned = limits(&app, &org).await;
    assert_eq!((&warned["plan"], &warned["lockedAt"]), (&json!("free"), &Value::Null));
    assert!(warned["locksAt"].as_str().unwrap().starts_with("2026-03-16T12:00:0"), "{warned}");
    assert_eq!(of(&warned, "endpoints"), json!({"name": "endpoints", "limit": 3, "used": 5, "locked": 0}));
    app.clock.advance(GRACE);
    app.send("POST", "/api/cron/downgrade-audit", &[("x-cron-secret", CRON_SECRET)], None).await.expect(202);
    app.drain().await;
    let locked = limits(&app, &org).await;
    assert_eq!(of(&locked, "endpoints"), json!({"name": "endpoints", "limit": 3, "used": 5, "locked": 2}));
    assert!(locked["lockedAt"].is_string(), "{locked}");
    assert_eq!(app.owner(&org, "DELETE", &endpoints[0], None).await.status, 204);
    assert_eq!(of(&limits(&app, &org).await, "endpoints")["locked"], 1);

    app.sql("update organizations set plan = 'enterprise', suspended_at = '2026-03-02T12:00:00Z'").await;
    let free = limits(&app, &org).await;
    assert_eq!((&free["suspended"], &free["suspendedAt"]), (&json!(true), &json!("2026-03-02T12:00:00.000Z")));
    assert_eq!(of(&free, "endpoints"), json!({"name": "endpoints", "used": 4, "locked": 0}));
}

#[tokio::test]
async fn limits_are_shown_to_members_alone() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    for id in [other.id.to_string(), "org_none".into(), "x".into()] {
        let answer = app.owner(&org, "GET", &format!("/api/org/{id}/limits"), None).await;
        assert_eq!((answer.status, &answer.json["code"]), (404, &json!("not_found")), "{id}");
    }
    let path = format!("/api/org/{}/limits", org.id);
    assert_eq!(app.get(&path, &format!("x-api-key: {}", org.key("ink_"))).await.status, 401);
    app.sql("update organizations set external_id = 'org_2abc' where slug = 'acme'").await;
    let named = app.owner(&org, "GET", "/api/org/org_2abc/limits", None).await.expect(200);
    assert_eq!(named["orgId"], org.id.to_string());
}
