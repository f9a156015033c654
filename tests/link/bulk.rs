//! Many links in one call: an answer for each, and nothing that a call by itself would not have done.

use domain::plan::Plan;
use serde_json::{Value, json};

use crate::support::{
    Receiver, TestApp, TestOrg,
    receiver::{Reply, Script},
};

const SHOP: &str = "https://shop.example/summer";

async fn bulk(app: &TestApp, org: &TestOrg, operations: Value) -> Vec<Value> {
    let answer = app.owner(org, "POST", "/api/links/bulk", Some(json!({"operations": operations}))).await.expect(200);
    answer["results"].as_array().unwrap().clone()
}

fn statuses(results: &[Value]) -> Vec<i64> {
    results.iter().map(|result| result["status"].as_i64().unwrap()).collect()
}

async fn make(app: &TestApp, org: &TestOrg, slug: &str) -> String {
    let body = json!({"destination": SHOP, "slug": slug});
    let link = app.owner(org, "POST", "/api/links", Some(body)).await.expect(201);
    link["id"].as_str().unwrap().to_owned()
}

async fn leads(app: &TestApp, slug: &str) -> bool {
    app.get(&format!("/r/{slug}"), "").await.status == 302
}

#[tokio::test]
async fn each_operation_gets_the_answer_that_it_would_have_alone() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let (old, gone, moved) =
        (make(&app, &org, "old").await, make(&app, &org, "gone").await, make(&app, &org, "moved").await);
    let foreign = make(&app, &other, "foreign").await;
    let results = bulk(
        &app,
        &org,
        json!([
            {"op": "create", "link": {"destination": SHOP, "slug": "new", "title": "New"}},
            {"op": "create", "link": {"destination": SHOP}},
            {"op": "create", "link": {"destination": "javascript:alert(1)"}},
            {"op": "create", "link": {"destination": SHOP, "slug": "foreign"}},
            {"op": "create", "link": {"destination": SHOP, "slug": "new"}},
            {"op": "create", "link": {"destination": SHOP, "folderId": "fld_01KJQ6PSG0EC78V5NZFZCHSTM3"}},
            {"op": "update", "id": old, "changes": {"title": "Newer", "maxVisits": 7}},
            {"op": "update", "id": foreign, "changes": {"title": "Mine"}},
            {"op": "update", "id": old, "changes": {"title": "Newest"}},
            {"op": "update", "id": moved, "changes": {"slug": "moved-on"}},
            {"op": "delete", "id": gone},
            {"op": "delete", "id": "link_x"},
            {"op": "create", "link": {"destination": SHOP, "slug": "gone"}},
            {"op": "create", "link": {"destination": SHOP, "slug": "moved"}},
            {"op": "update", "changes": {}},
        ]),
    )
    .await;
    let expected = [201, 201, 400, 409, 409, 400, 200, 404, 409, 200, 204, 404, 201, 409, 400];
    assert_eq!(statuses(&results), expected, "{results:#?}");
    assert_eq!(results[0]["link"]["title"], "New");
    assert_eq!(results[1]["link"]["slug"].as_str().unwrap().len(), 7);
    assert_eq!(results[2]["problem"]["errors"][0]["field"], "destination");
    assert_eq!(results[3]["problem"]["code"], "slug_taken");
    assert_eq!(results[5]["problem"]["errors"][0]["field"], "folderId");
    assert_eq!(results[6]["link"]["maxVisits"], 7);
    assert_eq!(results[8]["problem"]["code"], "link_twice");
    for (slug, expected) in [("new", true), ("old", true), ("moved-on", true), ("moved", false), ("gone", true)] {
        assert_eq!(leads(&app, slug).await, expected, "{slug}");
    }
    // What is answered is what is stored.
    let path = format!("/api/links/{}", results[6]["link"]["id"].as_str().unwrap());
    assert_eq!(app.owner(&org, "GET", &path, None).await.expect(200), results[6]["link"]);
    let path = format!("/api/links/{}", results[0]["link"]["id"].as_str().unwrap());
    assert_eq!(app.owner(&org, "GET", &path, None).await.expect(200), results[0]["link"]);
    let path = format!("/api/links/{foreign}");
    assert_eq!(app.owner(&other, "GET", &path, None).await.expect(200)["title"], "");
}

#[tokio::test]
async fn a_link_whose_new_slug_is_taken_keeps_the_one_it_has() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (a, b) = (make(&app, &org, "a").await, make(&app, &org, "b").await);
    make(&app, &org, "taken").await;
    let results = bulk(
        &app,
        &org,
        json!([
            {"op": "update", "id": a, "changes": {"slug": "taken", "title": "x"}},
            {"op": "update", "id": b, "changes": {"slug": "a"}},
        ]),
    )
    .await;
    // The first might have to go back, so the second cannot have its slug in the same call.
    assert_eq!(statuses(&results), [409, 409]);
    assert!(leads(&app, "a").await && leads(&app, "b").await);
    let shown = app.owner(&org, "GET", &format!("/api/links/{a}"), None).await.expect(200);
    assert_eq!((&shown["slug"], &shown["title"]), (&json!("a"), &json!("")));
    assert_eq!(
        statuses(&bulk(&app, &org, json!([{"op": "delete", "id": a}, {"op": "delete", "id": b}])).await),
        [204; 2]
    );
    let codes: i64 = sqlx::query_scalar("select count(*) from codes").fetch_one(app.store.pool()).await.unwrap();
    assert_eq!(codes, 1, "what is deleted leaves no code behind");
}

#[tokio::test]
async fn five_hundred_links_come_and_go_in_one_call_each() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let operations = |count| (0..count).map(|_| json!({"op": "create", "link": {"destination": SHOP}})).collect();
    let made = bulk(&app, &org, operations(500)).await;
    assert!(statuses(&made).iter().all(|status| *status == 201));
    let slugs: std::collections::HashSet<&str> =
        made.iter().map(|result| result["link"]["slug"].as_str().unwrap()).collect();
    assert_eq!(slugs.len(), 500);
    let deletions: Vec<Value> = made.iter().map(|result| json!({"op": "delete", "id": result["link"]["id"]})).collect();
    assert!(statuses(&bulk(&app, &org, deletions.into()).await).iter().all(|status| *status == 204));
    for count in [0, 501] {
        let body = json!({"operations": Value::Array(operations(count).as_array().unwrap().clone())});
        let refused = app.owner(&org, "POST", "/api/links/bulk", Some(body)).await.expect(400);
        assert_eq!(refused["errors"][0]["field"], "operations");
    }
    let body: Vec<Value> =
        (0..51).map(|_| json!({"op": "create", "link": {"destination": SHOP, "password": "sesame"}})).collect();
    app.owner(&org, "POST", "/api/links/bulk", Some(json!({"operations": body}))).await.expect(400);
}

#[tokio::test]
async fn webhooks_hear_of_each_and_a_repeated_call_does_nothing_twice() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (old, gone) = (make(&app, &org, "old").await, make(&app, &org, "gone").await);
    let receiver = Receiver::start(Script::always(Reply::ok()));
    app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    let body = json!({"operations": [
        {"op": "create", "link": {"destination": SHOP, "slug": "new"}},
        {"op": "create", "link": {"destination": SHOP, "slug": "old"}},
        {"op": "update", "id": old, "changes": {"title": "Newer"}},
        {"op": "delete", "id": gone},
    ]})
    .to_string();
    let session = format!("Bearer {}", org.session(&app));
    let headers = [("authorization", session.as_str()), ("idempotency-key", "once")];
    let first = app.send("POST", "/api/links/bulk", &headers, Some(body.clone())).await;
    let again = app.send("POST", "/api/links/bulk", &headers, Some(body)).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")));
    assert_eq!(first.expect(200), again.json);
    app.drain().await;
    let mut heard: Vec<String> = receiver
        .received()
        .iter()
        .map(|request| serde_json::from_slice::<Value>(&request.body).unwrap()["event"].as_str().unwrap().to_owned())
        .collect();
    heard.sort();
    assert_eq!(heard, ["link.created", "link.deleted", "link.updated"]);
}

#[tokio::test]
async fn the_plan_counts_each_operation() {
    let app = TestApp::start().await;
    let org = TestOrg::make(&app, "free", Plan::Free).await;
    let create = json!({"op": "create", "link": {"destination": SHOP}});
    let made = bulk(&app, &org, Value::Array(vec![create.clone(); 52])).await;
    assert_eq!(statuses(&made).iter().filter(|status| **status == 201).count(), 50);
    assert_eq!(made[51]["status"], 402);
    assert_eq!((&made[51]["problem"]["limit"], &made[51]["problem"]["used"]), (&json!(50), &json!(50)));
    let id = |n: usize| made[n]["link"]["id"].clone();
    let archive = |n, archived| json!({"op": "update", "id": id(n), "changes": {"archived": archived}});
    // One is put away and one deleted: two places.
    let operations = json!([create, create, create, archive(0, true), {"op": "delete", "id": id(1)}]);
    assert_eq!(statuses(&bulk(&app, &org, operations).await), [201, 201, 402, 200, 204]);
    assert_eq!(statuses(&bulk(&app, &org, json!([archive(0, false)])).await), [402]);
    let codes: i64 = sqlx::query_scalar("select count(*) from codes").fetch_one(app.store.pool()).await.unwrap();
    assert_eq!(codes, 51, "what was refused has no code");
}
