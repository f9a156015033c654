//! Downgrades: who uses more than the plan includes is warned, has two weeks, and cannot change what is beyond it then;
//! nothing is deleted and nothing stops leading on.

use chrono::{DateTime, Duration, Utc};
use domain::{
    downgrade::{Downgrade, GRACE, Step, step},
    plan::Plan,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Reply, TestApp, TestOrg, database::dawn};

async fn put_on(app: &TestApp, org: &TestOrg, plan: Plan) {
    let mut tx = app.store.begin().await.unwrap();
    assert!(jobs::plan::change(&mut tx, org.id, plan, app.clock.now(), &app.chance).await.unwrap());
    tx.commit().await.unwrap();
    app.drain().await;
}

/// What the schedule does each hour.
async fn audit(app: &TestApp) {
    run(app, &["plans.audit", "house.keep"]).await;
}

async fn run(app: &TestApp, kinds: &[&str]) {
    let mut tx = app.store.begin().await.unwrap();
    for kind in kinds {
        let entry = jobs::schedule::entry(kind).unwrap();
        entry.announce(&mut tx, None, app.clock.now(), &app.chance).await.unwrap();
    }
    tx.commit().await.unwrap();
    app.drain().await;
}

async fn link(app: &TestApp, org: &TestOrg) -> Value {
    app.clock.advance(Duration::milliseconds(2));
    app.owner(org, "POST", "/api/links", Some(json!({"destination": "https://shop.example/"}))).await.expect(201)
}

async fn change(app: &TestApp, org: &TestOrg, link: &Value, body: Value) -> Reply {
    app.owner(org, "PATCH", &format!("/api/links/{}", link["id"].as_str().unwrap()), Some(body)).await
}

async fn is_locked(app: &TestApp, org: &TestOrg, path: &str) -> bool {
    app.owner(org, "GET", path, None).await.expect(200)["locked"].as_bool().unwrap()
}

/// The ids of those things of a list that it shows as locked, newest first.
async fn locked(app: &TestApp, org: &TestOrg, list: &str) -> Vec<Value> {
    let page = app.owner(org, "GET", &format!("{list}?limit=100"), None).await.expect(200);
    let locked = page["items"].as_array().unwrap().iter().filter(|it| it["locked"].as_bool().unwrap());
    locked.map(|it| it["id"].clone()).collect()
}

async fn kinds(app: &TestApp) -> Vec<String> {
    app.mails().await.into_iter().map(|mail| mail.kind).collect()
}

#[tokio::test]
async fn what_is_beyond_a_smaller_plan_is_locked_after_two_weeks_and_free_at_once_on_a_larger_one() {
    let app = TestApp::start().await;
    let org = TestOrg::make(&app, "acme", Plan::Starter).await;
    let mut links = vec![];
    for _ in 0..52 {
        links.push(link(&app, &org).await);
    }
    put_on(&app, &org, Plan::Free).await;
    assert_eq!(kinds(&app).await, ["plan.exceeded"]);
    let warning = app.mails().await.remove(0);
    assert!(warning.text.contains("52 of 50  short links"), "{}", warning.text);
    assert!(warning.text.contains("Nothing changes until 16 March 2026"), "{}", warning.text);
    change(&app, &org, &links[51], json!({"title": "still free"})).await.expect(200);

    for _ in 0..13 {
        app.clock.advance(Duration::days(1));
        audit(&app).await;
    }
    assert_eq!(kinds(&app).await.len(), 1, "one warning is enough");
    change(&app, &org, &links[51], json!({"title": "still free"})).await.expect(200);
    app.clock.advance(Duration::days(1));
    audit(&app).await;
    assert_eq!(kinds(&app).await.iter().filter(|kind| *kind == "plan.locked").count(), 1);

    // The newest two are beyond the plan.
    for beyond in &links[50..] {
        let refused = change(&app, &org, beyond, json!({"title": "x"})).await.expect(402);
        assert_eq!(refused["code"], "plan_locked");
        let why = "The plan includes 50 short links, and this is beyond the oldest 50";
        assert!(refused["detail"].as_str().unwrap().starts_with(why), "{refused}");
        let slug = beyond["slug"].as_str().unwrap();
        assert_eq!(app.get(&format!("/r/{slug}"), "").await.status, 302, "it leads on");
    }
    assert_eq!(locked(&app, &org, "/api/links").await, [links[51]["id"].clone(), links[50]["id"].clone()]);
    assert!(!is_locked(&app, &org, &format!("/api/links/{}", links[49]["id"].as_str().unwrap())).await);
    let bulk = json!({"operations": [
        {"op": "update", "id": links[0]["id"], "changes": {"title": "x"}},
        {"op": "update", "id": links[51]["id"], "changes": {"title": "x"}},
    ]});
    let bulk = app.owner(&org, "POST", "/api/links/bulk", Some(bulk)).await.expect(200);
    assert_eq!((&bulk["results"][0]["status"], &bulk["results"][1]["status"]), (&json!(200), &json!(402)));
    change(&app, &org, &links[49], json!({"title": "x"})).await.expect(200);
    // An older one that is put away makes room for the next.
    change(&app, &org, &links[3], json!({"archived": true})).await.expect(200);
    change(&app, &org, &links[50], json!({"title": "x"})).await.expect(200);
    change(&app, &org, &links[51], json!({"title": "x"})).await.expect(402);
    assert_eq!(locked(&app, &org, "/api/links").await, [links[51]["id"].clone()]);
    let put_away = change(&app, &org, &links[51], json!({"archived": true})).await.expect(200);
    assert_eq!(put_away["locked"], false, "what is put away is not counted");
    assert!(locked(&app, &org, "/api/links").await.is_empty());
    audit(&app).await;
    change(&app, &org, &links[50], json!({"title": "y"})).await.expect(200);

    // Nothing is to be done on a larger plan but to go on.
    let mut more = vec![];
    put_on(&app, &org, Plan::Starter).await;
    for _ in 0..3 {
        more.push(link(&app, &org).await);
    }
    put_on(&app, &org, Plan::Free).await;
    app.clock.advance(GRACE);
    audit(&app).await;
    change(&app, &org, &more[2], json!({"title": "x"})).await.expect(402);
    assert!(!locked(&app, &org, "/api/links").await.is_empty());
    put_on(&app, &org, Plan::Starter).await;
    change(&app, &org, &more[2], json!({"title": "x"})).await.expect(200);
    assert!(locked(&app, &org, "/api/links").await.is_empty());
}

#[tokio::test]
async fn ninety_days_with_an_outage_and_a_clock_that_is_behind_warn_once_and_lock_once() {
    let app = TestApp::start().await;
    let org = TestOrg::make(&app, "acme", Plan::Starter).await;
    let one = json!({"op": "create", "link": {"destination": "https://shop.example/"}});
    let made = app.owner(&org, "POST", "/api/links/bulk", Some(json!({"operations": vec![one; 50]}))).await.expect(200);
    assert!(made["results"].as_array().unwrap().iter().all(|result| result["status"] == 201), "{made}");
    let newest = link(&app, &org).await;
    put_on(&app, &org, Plan::Free).await;
    let told = async || kinds(&app).await.into_iter().filter(|kind| kind != "plan.limit_near").collect::<Vec<_>>();
    assert_eq!(told().await, ["plan.exceeded"]);
    // Nothing runs until the two weeks are just over.
    app.clock.advance(GRACE + Duration::hours(1));
    audit(&app).await;
    assert_eq!(told().await, ["plan.locked", "plan.exceeded"]);
    change(&app, &org, &newest, json!({"title": "x"})).await.expect(402);
    // The machine that comes back lives half a day before that, and through it once more.
    app.clock.advance(-Duration::hours(12));
    for _ in 0..5 {
        run(&app, &["plans.audit"]).await;
        app.clock.advance(Duration::hours(3));
    }
    assert_eq!(told().await, ["plan.locked", "plan.exceeded"]);
    let locked_at = app.clock.now();
    for _ in 0..25 {
        app.clock.advance(Duration::days(3));
        run(&app, &["plans.audit"]).await;
        assert!(app.mails().await.iter().all(|mail| mail.created_at <= locked_at), "nobody is told anew");
    }
    change(&app, &org, &newest, json!({"title": "x"})).await.expect(402);
    assert_eq!(app.get(&format!("/r/{}", newest["slug"].as_str().unwrap()), "").await.status, 302, "it leads on");
}

#[tokio::test]
async fn codes_barcodes_and_endpoints_are_locked_by_the_same_rule() {
    let app = TestApp::start().await;
    let org = TestOrg::make(&app, "acme", Plan::Pro).await;
    let code = json!({"isDynamic": true, "content": {"url": "https://shop.example/"}});
    let barcode = json!({"type": "code128", "value": "A1"});
    let mut last = vec![];
    for (path, body, count) in [("/api/qr", code, 11), ("/api/barcode", barcode, 26)] {
        let mut made = Value::Null;
        for _ in 0..count {
            app.clock.advance(Duration::milliseconds(2));
            made = app.owner(&org, "POST", path, Some(body.clone())).await.expect(201);
        }
        last.push(format!("{path}/{}", made["id"].as_str().unwrap()));
    }
    for _ in 0..4 {
        app.clock.advance(Duration::milliseconds(2));
        let endpoint = app.endpoint(&org, "inkode", "http://127.0.0.1:9/", &["campaign.sent"]).await;
        last.truncate(2);
        last.push(format!("/api/webhooks/endpoints/{}", endpoint["id"].as_str().unwrap()));
    }
    put_on(&app, &org, Plan::Free).await;
    let still = json!({"content": {"url": "https://shop.example/"}});
    let still = app.owner(&org, "POST", "/api/qr", Some(still)).await.expect(201);
    for path in &last {
        let changed = app.owner(&org, "PATCH", path, Some(json!({"name": "x"}))).await.expect(200);
        assert_eq!(changed["locked"], false, "{path}");
    }
    app.clock.advance(GRACE);
    audit(&app).await;
    for path in &last {
        let refused = app.owner(&org, "PATCH", path, Some(json!({"name": "y"}))).await.expect(402);
        assert_eq!(refused["code"], "plan_locked", "{path}: {refused}");
        assert!(is_locked(&app, &org, path).await, "{path}");
        let (list, id) = path.rsplit_once('/').unwrap();
        assert_eq!(locked(&app, &org, list).await, [json!(id)], "{list}");
    }
    let still = format!("/api/qr/{}", still["id"].as_str().unwrap());
    assert!(!is_locked(&app, &org, &still).await, "a code that leads through no code is not counted");
    // A link that is within the plan does not move a code that is not.
    let link = link(&app, &org).await;
    let code = last[0].rsplit('/').next().unwrap();
    assert_eq!(change(&app, &org, &link, json!({"qrCodeId": code})).await.expect(402)["code"], "plan_locked");
    for path in &last {
        assert_eq!(app.owner(&org, "DELETE", path, None).await.status, 204, "{path}");
    }
}

/// What the owner was notified of, newest first.
async fn notified(app: &TestApp, org: &TestOrg) -> Vec<(String, String)> {
    let inbox = app.owner(org, "GET", &format!("/api/org/{}/notifications", org.id), None).await.expect(200);
    let text = |item: &Value, field: &str| item[field].as_str().unwrap().to_owned();
    inbox["items"].as_array().unwrap().iter().map(|item| (text(item, "title"), text(item, "text"))).collect()
}

#[tokio::test]
async fn a_share_of_a_quota_is_told_once_and_again_only_after_it_was_left() {
    let app = TestApp::start().await;
    let org = TestOrg::make(&app, "acme", Plan::Free).await;
    let mut links = vec![];
    for _ in 0..40 {
        links.push(link(&app, &org).await);
    }
    for _ in 0..3 {
        audit(&app).await;
        app.clock.advance(Duration::hours(1));
    }
    let told = notified(&app, &org).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, "Your short links run low");
    assert!(
        told[0].1.starts_with("40 of 50 short links of the plan free are in use. Nothing changes yet."),
        "{told:?}"
    );
    for _ in 0..10 {
        links.push(link(&app, &org).await);
    }
    let titles = async || notified(&app, &org).await.into_iter().map(|(title, _)| title).collect::<Vec<_>>();
    let (low, full) = ("Your short links run low", "All short links of your plan are used");
    audit(&app).await;
    assert_eq!(titles().await, [full, low]);

    // Who stays there is not told each month.
    app.clock.advance(Duration::days(30));
    audit(&app).await;
    assert_eq!(titles().await, [full, low]);
    let archive = async |range: std::ops::Range<usize>, archived: bool| {
        for link in &links[range] {
            change(&app, &org, link, json!({"archived": archived})).await.expect(200);
        }
        audit(&app).await;
        app.clock.advance(Duration::hours(1));
    };
    // Left and reached again, of both shares the greater, once in a month whatever comes and goes.
    for _ in 0..3 {
        archive(0..12, true).await;
        archive(0..12, false).await;
    }
    assert_eq!(titles().await, [full, full, low]);
    // Of the two only the greater is left.
    app.clock.advance(Duration::days(30));
    audit(&app).await;
    archive(0..5, true).await;
    app.clock.advance(Duration::days(31));
    audit(&app).await;
    app.clock.advance(Duration::hours(1));
    let before = titles().await.len();
    archive(0..5, false).await;
    assert_eq!(titles().await.len(), before + 1);
    assert_eq!(titles().await[0], full);
    assert!(kinds(&app).await.is_empty(), "no mail but that of notifications");
}

fn plans() -> impl Strategy<Value = Plan> {
    prop::sample::select(&Plan::ALL[..])
}

proptest! {
    #[test]
    fn nobody_is_locked_before_the_time_is_over(hours in 0..2_000_i64, plan in plans(), over in any::<bool>(), locked in any::<bool>()) {
        let found_at: DateTime<Utc> = dawn();
        let now = found_at + Duration::hours(hours);
        let known = Downgrade { plan, found_at, locks_at: found_at + GRACE, locked_at: locked.then_some(found_at + GRACE) };
        let next = step(Some(known), plan, over, now);
        prop_assert_eq!(next == Step::Lock, over && !locked && hours >= 14 * 24);
        prop_assert_eq!(next == Step::End, !over);
    }

    #[test]
    fn another_plan_begins_anew(plan in plans(), other in plans(), hours in 0..2_000_i64) {
        let now = dawn() + Duration::hours(hours);
        let known = Downgrade { plan, found_at: dawn(), locks_at: dawn() + GRACE, locked_at: Some(dawn() + GRACE) };
        prop_assert_eq!(step(Some(known), other, true, now) == Step::Warn, plan != other);
    }
}
