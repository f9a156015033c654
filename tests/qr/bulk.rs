//! Many QR codes in one call: an answer for each, and nothing that a call by itself would not have done.

use domain::plan::{Plan, Quota};
use serde_json::{Value, json};

use super::{SHOP, change, dynamic, leads_to, link, make, path, shows, visit};
use crate::support::{TestApp, TestOrg};

async fn bulk(app: &TestApp, org: &TestOrg, operations: Value) -> Vec<Value> {
    let answer = app.owner(org, "POST", "/api/qr/bulk", Some(json!({"operations": operations}))).await.expect(200);
    answer["results"].as_array().unwrap().clone()
}

fn statuses(results: &[Value]) -> Vec<i64> {
    results.iter().map(|result| result["status"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn each_operation_gets_the_answer_that_it_would_have_alone() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let through = link(&app, &org, "through").await;
    let old = dynamic(&app, &org, json!({"shortCode": "old"})).await;
    let gone = dynamic(&app, &org, json!({"shortCode": "gone"})).await;
    let plain = make(&app, &org, json!({"content": {"text": "plain"}})).await;
    let foreign = dynamic(&app, &other, json!({"shortCode": "foreign"})).await;
    let url = json!({"url": SHOP});
    let results = bulk(
        &app,
        &org,
        json!([
            {"op": "create", "qrCode": {"isDynamic": true, "content": url, "shortCode": "gone"}},
            {"op": "create", "qrCode": {"content": {"text": "wool"}, "name": "Wool"}},
            {"op": "create", "qrCode": {"content": url, "style": {"foreground": "#eeee00"}}},
            {"op": "create", "qrCode": {"isDynamic": true, "content": url, "shortCode": "foreign"}},
            {"op": "create", "qrCode": {}},
            {"op": "update", "id": old["id"], "changes": {"linkId": through["id"]}},
            {"op": "update", "id": old["id"], "changes": {"name": "Twice"}},
            {"op": "update", "id": plain["id"], "changes": {"active": false}},
            {"op": "update", "id": foreign["id"], "changes": {"name": "Mine"}},
            {"op": "delete", "id": gone["id"]},
            {"op": "delete", "id": "qr_x"},
            {"op": "delete", "id": foreign["id"]},
            {"op": "update", "changes": {}},
        ]),
    )
    .await;
    assert_eq!(statuses(&results), [201, 201, 422, 409, 400, 200, 409, 400, 404, 204, 404, 404, 400], "{results:#?}");
    assert_eq!(results[1]["qrCode"]["encodes"], "wool");
    assert_eq!(results[2]["problem"]["errors"][0]["field"], "style.foreground");
    assert_eq!(results[3]["problem"]["code"], "short_code_taken");
    assert_eq!(results[6]["problem"]["code"], "code_twice");
    assert_eq!(results[7]["problem"]["errors"][0]["field"], "active");
    leads_to(&visit(&app, "gone").await, SHOP);
    leads_to(&visit(&app, "old").await, "https://shop.example/link");
    leads_to(&visit(&app, "foreign").await, SHOP);
    // What is answered is what is stored.
    for n in [0, 1, 5] {
        let shown = app.owner(&org, "GET", &path(&results[n]["qrCode"]), None).await.expect(200);
        assert_eq!(shown, results[n]["qrCode"]);
    }
    let left = app.owner(&org, "GET", "/api/qr", None).await.expect(200)["items"].as_array().unwrap().len();
    assert_eq!(left, 4, "what was refused is not there");
}

#[tokio::test]
async fn codes_are_made_as_long_as_the_plan_has_room() {
    let app = TestApp::start().await;
    let org = TestOrg::make(&app, "small", Plan::Free).await;
    let most = Plan::Free.includes(Quota::DynamicCodes).unwrap() as usize;
    let one = json!({"op": "create", "qrCode": {"isDynamic": true, "content": {"url": SHOP}}});
    let results = bulk(&app, &org, json!(vec![one; most + 2])).await;
    assert_eq!(statuses(&results), [vec![201; most], vec![402; 2]].concat());
    assert_eq!(results[most]["problem"]["used"], most);
    // A deletion gives its place to a creation of the same call.
    let again = json!([
        {"op": "create", "qrCode": {"isDynamic": true, "content": {"url": SHOP}}},
        {"op": "delete", "id": results[0]["qrCode"]["id"]},
    ]);
    assert_eq!(statuses(&bulk(&app, &org, again).await), [201, 204]);
}

#[tokio::test]
async fn two_calls_that_want_the_same_end_both_with_one_winner_for_each() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (a, b) =
        (dynamic(&app, &org, json!({"shortCode": "a"})).await, dynamic(&app, &org, json!({"shortCode": "b"})).await);
    let call = |first: &Value, second: &Value, codes: [&str; 2]| {
        let create = |code: &str| json!({"op": "create", "qrCode": {"isDynamic": true, "content": {"url": SHOP}, "shortCode": code}});
        let update = |code: &Value| json!({"op": "update", "id": code["id"], "changes": {"name": codes[0]}});
        json!([create(codes[0]), update(first), update(second), create(codes[1])])
    };
    for round in 0..5 {
        let (x, y) = (format!("x{round}"), format!("y{round}"));
        let (one, two) =
            tokio::join!(bulk(&app, &org, call(&a, &b, [&x, &y])), bulk(&app, &org, call(&b, &a, [&y, &x])));
        let mut made = [statuses(&one), statuses(&two)].concat();
        made.sort_unstable();
        assert_eq!(made, [200, 200, 200, 200, 201, 201, 409, 409]);
    }
}

#[tokio::test]
async fn two_calls_that_move_codes_crosswise_end_both() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let mut codes = vec![];
    for n in 0..4 {
        codes.push(dynamic(&app, &org, json!({"shortCode": format!("c{n}")})).await);
    }
    let op = |code: &Value, to: String| json!({"op": "update", "id": code["id"], "changes": {"shortCode": to}});
    for round in 0..4 {
        let (x, y) = (format!("x{round}"), format!("y{round}"));
        let (one, two) = tokio::join!(
            bulk(&app, &org, json!([op(&codes[0], y.clone()), op(&codes[1], x.clone())])),
            bulk(&app, &org, json!([op(&codes[2], x.clone()), op(&codes[3], y.clone())])),
        );
        let mut made = [statuses(&one), statuses(&two)].concat();
        made.sort_unstable();
        assert_eq!(made, [200, 200, 409, 409]);
    }
}

#[tokio::test]
async fn of_two_calls_that_read_well_alone_and_not_together_one_is_refused() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let mut codes = vec![];
    for _ in 0..4 {
        codes.push(make(&app, &org, json!({"content": {"url": SHOP}})).await);
    }
    let styled = |style: Value| -> Value {
        codes.iter().map(|code| json!({"op": "update", "id": code["id"], "changes": {"style": style}})).collect()
    };
    let dark = bulk(&app, &org, styled(json!({"background": "#999999"})));
    let light = bulk(&app, &org, styled(json!({"foreground": "#666666"})));
    let (dark, light) = tokio::join!(dark, light);
    for (dark, light) in dark.iter().zip(&light) {
        let mut made = [dark["status"].as_u64(), light["status"].as_u64()];
        made.sort_unstable();
        assert_eq!(made, [Some(200), Some(422)], "{dark} {light}");
    }
}

#[tokio::test]
async fn a_call_keeps_to_its_bounds_and_a_repeated_one_is_one() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let refused = async |operations: Value| {
        let answer = app.owner(&org, "POST", "/api/qr/bulk", Some(json!({"operations": operations}))).await.expect(400);
        answer["errors"][0]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(refused(json!([])).await, "must have 1 to 500 items, not 0");
    let gone = json!({"op": "delete", "id": "qr_01KJQ6PSG0EC78V5NZFZCHSTM3"});
    assert_eq!(refused(json!(vec![gone; 501])).await, "must have 1 to 500 items, not 501");
    let locked = json!({"op": "create", "qrCode": {"isDynamic": true, "content": {"url": SHOP}, "password": "x"}});
    assert_eq!(refused(json!(vec![locked; 51])).await, "must not set more than 50 passwords");
    let bearer = format!("Bearer {}", org.session(&app));
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k1")];
    let one = json!({"op": "create", "qrCode": {"content": {"url": SHOP}}});
    let body = json!({"operations": [one]}).to_string();
    let first = app.send("POST", "/api/qr/bulk", &headers, Some(body.clone())).await;
    let second = app.send("POST", "/api/qr/bulk", &headers, Some(body)).await;
    assert_eq!((first.status, second.status, &first.json), (200, 200, &second.json));
    assert_eq!(app.owner(&org, "GET", "/api/qr", None).await.expect(200)["summary"]["total"], 1);
}

#[tokio::test]
async fn links_take_codes_along_and_let_them_go() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let code = dynamic(&app, &org, json!({"shortCode": "a"})).await;
    let plain = make(&app, &org, json!({"content": {"text": "plain"}})).await;
    let foreign = dynamic(&app, &other, json!({"shortCode": "foreign"})).await;
    let create = |qr: &Value| json!({"op": "create", "link": {"destination": "https://shop.example/through", "qrCodeId": qr["id"]}});
    let operations = json!({"operations": [create(&code), create(&plain), create(&foreign)]});
    let answer = app.owner(&org, "POST", "/api/links/bulk", Some(operations)).await.expect(200);
    assert_eq!(statuses(answer["results"].as_array().unwrap()), [201, 400, 400], "{answer}");
    let made = &answer["results"][0]["link"];
    assert_eq!(made["qrCodeIds"], json!([code["id"]]));
    leads_to(&visit(&app, "a").await, "https://shop.example/through");
    // Where the link leads, the code leads at once.
    let link_path = super::link_path(made);
    app.owner(&org, "PATCH", &link_path, Some(json!({"destination": "https://shop.example/on"}))).await.expect(200);
    leads_to(&visit(&app, "a").await, "https://shop.example/on");
    app.owner(&org, "PATCH", &link_path, Some(json!({"active": false}))).await.expect(200);
    shows(&visit(&app, "a").await, 410, "This link is paused");
    // Without the link it leads where it led by itself.
    assert_eq!(app.owner(&org, "DELETE", &link_path, None).await.status, 204);
    leads_to(&visit(&app, "a").await, SHOP);
    let alone = change(&app, &org, &path(&code), json!({})).await;
    assert_eq!((alone.get("linkId"), alone.get("link")), (None, None));
}
