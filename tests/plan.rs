//! Plans: what is above the limit is not made, what exists goes on, and thresholds of a month's scans are told once.

use chrono::{Duration, NaiveDate};
use domain::{
    org,
    plan::{INCLUDED, Plan, Quota},
    quota::{self, month},
};
use futures::future::join_all;
use jobs::quota::check_scans;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{
    Receiver, Reply, TestApp, TestOrg,
    receiver::{Reply as Answer, Script},
};

const SHOP: &str = "https://shop.example/summer";

async fn on(app: &TestApp, plan: Plan) -> TestOrg {
    TestOrg::make(app, plan.name(), plan).await
}

async fn create(app: &TestApp, org: &TestOrg) -> Reply {
    app.owner(org, "POST", "/api/links", Some(json!({"destination": SHOP}))).await
}

/// Fills the free plan's links but for `left`.
async fn fill(app: &TestApp, org: &TestOrg, left: i64) -> Vec<Value> {
    let most = Plan::Free.includes(Quota::Links).unwrap() - left;
    let made = join_all((0..most).map(|_| create(app, org))).await;
    made.into_iter().map(|reply| reply.expect(201)).collect()
}

fn path(link: &Value) -> String {
    format!("/api/links/{}", link["id"].as_str().unwrap())
}

#[test]
fn a_larger_plan_includes_no_less() {
    for quota in 0..Quota::ALL.len() {
        for plans in INCLUDED.windows(2) {
            let (less, more) = (plans[0][quota], plans[1][quota]);
            assert!(more.is_none_or(|more| less.is_some_and(|less| less <= more)), "{:?}", Quota::ALL[quota]);
        }
    }
}

proptest! {
    #[test]
    fn room_never_exceeds_the_limit(most in 0..1_000_i64, used in 0..2_000_i64, adding in 1..600_i64) {
        match quota::room(Quota::Links, most, used, adding) {
            Ok(room) => prop_assert!(room >= 1 && room <= adding && (room == adding || used + room == most)),
            Err(full) => prop_assert!(used >= most && full.most == most && full.used == used),
        }
    }
}

#[tokio::test]
async fn a_link_above_the_limit_is_refused_with_the_limit_and_the_use() {
    let app = TestApp::start().await;
    let org = on(&app, Plan::Free).await;
    let made = fill(&app, &org, 0).await;
    let refused = create(&app, &org).await;
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let refused = refused.expect(402);
    assert_eq!((&refused["code"], &refused["limit"], &refused["used"]), (&json!("plan_limit"), &json!(50), &json!(50)));
    assert_eq!(refused["detail"], "The plan includes 50 short links, and 50 are in use.");
    // What exists goes on: it leads on, is changed and put away.
    let slug = made[0]["slug"].as_str().unwrap();
    assert_eq!(app.get(&format!("/r/{slug}"), "").await.status, 302);
    app.owner(&org, "PATCH", &path(&made[0]), Some(json!({"title": "x"}))).await.expect(200);
    app.owner(&org, "PATCH", &path(&made[0]), Some(json!({"archived": true}))).await.expect(200);
    // What is put away does not count, and counts again when it is taken back.
    let last = create(&app, &org).await.expect(201);
    let back = async || app.owner(&org, "PATCH", &path(&made[0]), Some(json!({"archived": false}))).await;
    assert_eq!(back().await.expect(402)["code"], "plan_limit");
    assert_eq!(app.owner(&org, "DELETE", &path(&last), None).await.status, 204);
    back().await.expect(200);
    create(&app, &org).await.expect(402);
}

#[tokio::test]
async fn of_many_who_take_the_last_place_one_gets_it() {
    let app = TestApp::start().await;
    let org = on(&app, Plan::Free).await;
    fill(&app, &org, 1).await;
    let mut statuses: Vec<u16> =
        join_all((0..6).map(|_| create(&app, &org))).await.into_iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 402, 402, 402, 402, 402]);
}

#[tokio::test]
async fn after_a_downgrade_everything_leads_on_and_nothing_is_added() {
    let app = TestApp::start().await;
    let org = on(&app, Plan::Pro).await;
    let made = join_all((0..52).map(|_| create(&app, &org))).await;
    let mut conn = app.store.pool().acquire().await.unwrap();
    assert!(org::set_plan(&mut conn, org.id, Plan::Free).await.unwrap());
    assert_eq!(create(&app, &org).await.expect(402)["used"], 52);
    for link in made.into_iter().map(|reply| reply.expect(201)) {
        assert_eq!(app.get(&format!("/r/{}", link["slug"].as_str().unwrap()), "").await.status, 302);
    }
}

#[tokio::test]
async fn endpoints_of_all_dialects_count_together_and_each_surface_says_so_in_its_own_shape() {
    let app = TestApp::start().await;
    let org = on(&app, Plan::Free).await;
    for dialect in ["inkode", "iloveqr", "inklink"] {
        app.endpoint(&org, dialect, "http://127.0.0.1:9/", &[]).await;
    }
    let session = format!("authorization: Bearer {}", org.session(&app));
    let url = "http://127.0.0.1:9/";
    let own = app.post("/api/webhooks/endpoints", &session, json!({"url": url})).await.expect(402);
    assert_eq!((&own["code"], &own["limit"], &own["used"]), (&json!("plan_limit"), &json!(3), &json!(3)));
    let key = format!("api-key: {}", org.key("secret_live_"));
    let inklink = app.post("/api/v1/webhook/endpoints", &key, json!({"url": url})).await.expect(402);
    assert_eq!(inklink["error"]["message"], "The plan includes 3 webhook endpoints, and 3 are in use.");
}

async fn tell(app: &TestApp, used: &[(&TestOrg, i64)]) -> usize {
    let used: Vec<_> = used.iter().map(|(org, used)| (org.id, *used)).collect();
    let mut tx = app.store.begin().await.unwrap();
    let told = check_scans(&mut tx, &used, app.clock.now(), &app.chance).await.unwrap();
    tx.commit().await.unwrap();
    app.drain().await;
    told
}

#[tokio::test]
async fn thresholds_of_a_months_scans_are_told_once_per_month() {
    let app = TestApp::start().await;
    let (org, unlimited) = (on(&app, Plan::Pro).await, on(&app, Plan::Enterprise).await);
    let receiver = Receiver::start(Script::always(Answer::ok()));
    for org in [&org, &unlimited] {
        app.endpoint(org, "qrstudio", &receiver.url(), &["quota.threshold_75", "quota.threshold_100"]).await;
    }
    assert_eq!(month(app.clock.now()), NaiveDate::from_ymd_opt(2026, 3, 1).unwrap());
    assert_eq!(tell(&app, &[]).await, 0);
    assert_eq!(tell(&app, &[(&org, 7_499), (&unlimited, 1_000_000_000)]).await, 0);
    assert_eq!(tell(&app, &[(&org, 7_500)]).await, 1);
    assert_eq!(tell(&app, &[(&org, 9_999)]).await, 0);
    assert_eq!(tell(&app, &[(&org, 12_000)]).await, 1);
    assert_eq!(tell(&app, &[(&org, 12_000)]).await, 0);
    let told: Vec<Value> =
        receiver.received().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    let facts = |body: &Value| (body["type"].clone(), body["data"]["used_this_month"].clone());
    assert_eq!(
        told.iter().map(facts).collect::<Vec<_>>(),
        [(json!("quota.threshold_75"), json!(7_500)), (json!("quota.threshold_100"), json!(12_000))]
    );
    assert_eq!(told[0]["data"]["monthly_quota"], 10_000);
    assert_eq!(told[0]["data"]["plan"], "pro");
    // The next month has its own; both at once where a count jumps over both.
    app.clock.advance(Duration::days(30));
    app.partitions().await;
    assert_eq!(tell(&app, &[(&org, 10_000)]).await, 2);
}

#[tokio::test]
async fn barcodes_are_counted_like_links() {
    let app = TestApp::start().await;
    let org = on(&app, Plan::Free).await;
    let most = Plan::Free.includes(Quota::Barcodes).unwrap();
    let mut last = Value::Null;
    for n in 0..most {
        let body = json!({"type": "CODE_128", "value": format!("INK-{n}")});
        last = app.owner(&org, "POST", "/api/barcode", Some(body)).await.expect(201);
    }
    let body = || Some(json!({"type": "CODE_128", "value": "INK-X"}));
    let refused = app.owner(&org, "POST", "/api/barcode", body()).await.expect(402);
    assert_eq!(
        (&refused["code"], &refused["limit"], &refused["used"]),
        (&json!("plan_limit"), &json!(most), &json!(most))
    );
    let path = format!("/api/barcode/{}", last["id"].as_str().unwrap());
    let archived = async |archived: bool| app.owner(&org, "PATCH", &path, Some(json!({"archived": archived}))).await;
    archived(true).await.expect(200);
    app.owner(&org, "POST", "/api/barcode", body()).await.expect(201);
    assert_eq!(archived(false).await.expect(402)["code"], "plan_limit");
}
