//! What happens to things is published in the transaction in which it happens, in every dialect that has a word for it.

use chrono::{DateTime, Utc};
use domain::{
    change::{
        BarcodeChange, BarcodeState, Change, Click, Converted, Happened, LinkChange, LinkHealth, Payment, QrChange,
        QrState, QuotaReached, Row, Scan, Subject, SubscriptionState, Visit, owner_number,
    },
    code::Target,
    conversion::{Conversion, Told},
    dialect::Dialect,
    id::{ConversionId, LinkId, UserId, VisitorId},
    plan::Plan,
};
use jobs::change;
use serde_json::{Value, json};

use crate::support::{
    Receiver, TestApp, TestOrg,
    receiver::{Reply, Script},
};

const SHOP: &str = "https://shop.example/summer";
const DIALECTS: [&str; 5] = ["inkode", "iloveqr", "inklink", "inkr", "qrstudio"];

/// Every body that arrived, with the dialect, which is the end of the path.
fn bodies(receiver: &Receiver) -> Vec<(String, Value)> {
    let dialect = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let body = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap();
    receiver.received().iter().map(|request| (dialect(&request.path), body(&request.body))).collect()
}

/// The type and the data of an event, wherever the dialect's envelope has them.
fn told(body: &Value) -> (&str, &Value) {
    let event_type = body["event"].as_str().or_else(|| body["type"].as_str()).expect("a type");
    (event_type, body.get("payload").unwrap_or(&body["data"]))
}

/// An endpoint of every dialect; the path of each ends in its name.
async fn listen(app: &TestApp, org: &TestOrg) -> Receiver {
    let receiver = Receiver::start(Script::always(Reply::ok()));
    for dialect in DIALECTS {
        app.endpoint(org, dialect, &format!("{}/{dialect}", receiver.url()), &[]).await;
    }
    receiver
}

async fn stored(app: &TestApp) -> (i64, i64) {
    sqlx::query_as("select (select count(*) from events), (select count(*) from deliveries)")
        .fetch_one(app.store.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_links_life_is_told_to_those_who_have_words_for_it() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = listen(&app, &org).await;
    let step = async |method: &str, path: &str, body: Option<Value>| {
        let reply = app.owner(&org, method, path, body).await;
        app.clock.advance(chrono::Duration::milliseconds(1));
        app.drain().await;
        reply
    };
    let body = json!({"destination": SHOP, "slug": "summer", "title": "Summer"});
    let link = step("POST", "/api/links", Some(body)).await.expect(201);
    let path = format!("/api/links/{}", link["id"].as_str().unwrap());
    step("PATCH", &path, Some(json!({"title": "Autumn", "maxVisits": 5}))).await.expect(200);
    step("PATCH", &path, Some(json!({"title": "Autumn"}))).await.expect(200);
    step("PATCH", &path, Some(json!({"password": "sesame"}))).await.expect(200);
    step("PATCH", &path, Some(json!({"password": "another"}))).await.expect(200);
    step("PATCH", &path, Some(json!({"archived": true, "slug": "autumn"}))).await.expect(200);
    assert_eq!(step("DELETE", &path, None).await.status, 204);

    let heard = bodies(&receiver);
    assert!(heard.iter().all(|(path, _)| path == "inkode"), "only Inkode has events of links: {heard:#?}");
    let told: Vec<(&str, &Value)> = heard.iter().map(|(_, body)| told(body)).collect();
    let types: Vec<&str> = told.iter().map(|(event_type, _)| *event_type).collect();
    let updated = "link.updated";
    assert_eq!(types, ["link.created", updated, updated, updated, updated, "link.deleted"]);
    let first = json!({
        "id": link["id"], "shortUrl": format!("{}/r/summer", app.url), "slug": "summer", "destination": SHOP, "healthCheck": false,
        "title": "Summer", "hasPassword": false, "active": true, "tagIds": [], "qrCodeIds": [], "archived": false,
    });
    assert_eq!(told[0].1, &first);
    let changes: Vec<&Value> = told[1..5].iter().map(|(_, data)| &data["changes"]).collect();
    assert_eq!(changes[0], &json!({"title": {"old": "Summer", "new": "Autumn"}, "maxVisits": {"old": null, "new": 5}}));
    assert_eq!(changes[1], &json!({"hasPassword": {"old": false, "new": true}}));
    assert_eq!(changes[2], &json!({"hasPassword": {"old": true, "new": true}}), "another password");
    assert_eq!(changes[3]["archived"], json!({"old": false, "new": true}));
    assert_eq!(changes[3]["slug"], json!({"old": "summer", "new": "autumn"}));
    assert_eq!(told[5].1["slug"], "autumn");
    let all = heard.iter().map(|(_, body)| body.to_string()).collect::<String>();
    assert!(!all.contains("sesame") && !all.contains("argon2"), "no password leaves the house");
}

#[tokio::test]
async fn where_nobody_listens_nothing_is_stored() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    app.endpoint(&other, "inkode", "http://127.0.0.1:9/", &[]).await;
    app.endpoint(&org, "inkode", "http://127.0.0.1:9/", &["qr.created"]).await;
    app.endpoint(&org, "inkr", "http://127.0.0.1:9/", &[]).await;
    let link = app.owner(&org, "POST", "/api/links", Some(json!({"destination": SHOP}))).await.expect(201);
    let path = format!("/api/links/{}", link["id"].as_str().unwrap());
    app.owner(&org, "PATCH", &path, Some(json!({"title": "x"}))).await.expect(200);
    assert_eq!(app.owner(&org, "DELETE", &path, None).await.status, 204);
    assert_eq!(stored(&app).await, (0, 0));
}

#[tokio::test]
async fn what_was_refused_or_repeated_is_not_told() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    app.endpoint(&org, "inkode", "http://127.0.0.1:9/", &[]).await;
    app.leaves_jobs("delivery.attempt");
    let session = format!("Bearer {}", org.session(&app));
    let headers = [("authorization", session.as_str()), ("idempotency-key", "once")];
    let body = json!({"destination": SHOP, "slug": "summer"}).to_string();
    for _ in 0..2 {
        app.send("POST", "/api/links", &headers, Some(body.clone())).await.expect(201);
    }
    let taken = json!({"destination": SHOP, "slug": "summer"});
    app.owner(&org, "POST", "/api/links", Some(taken)).await.expect(409);
    assert_eq!(stored(&app).await, (1, 1));
}

/// Publishes one change and hands it to whoever listens.
async fn publish<S: Subject>(app: &TestApp, org: &TestOrg, change: Change, subject: S) {
    let now = app.clock.now();
    let mut tx = app.store.begin().await.unwrap();
    let happened = [Happened { org_id: org.id, change, at: now, subject }];
    change::publish(&mut tx, &happened, Some("req-1"), now, &app.chance).await.unwrap();
    tx.commit().await.unwrap();
    app.drain().await;
    app.clock.advance(chrono::Duration::milliseconds(1));
}

fn qr() -> QrState {
    QrState {
        id: "qr_7h2k9d".into(),
        name: "Window sticker".into(),
        content_type: "url".into(),
        short_code: Some("5u1e7g".into()),
        short_url: Some("https://go.example/5u1e7g".into()),
        destination: Some(SHOP.into()),
        active: true,
        created_by: Some(UserId(uuid::Uuid::from_u128(7))),
        ..QrState::default()
    }
}

fn visit(at: DateTime<Utc>) -> Visit {
    Visit {
        id: uuid::Uuid::from_u128(9),
        at,
        destination: SHOP.into(),
        country: Some("NL".into()),
        city: Some("Utrecht".into()),
        position: Some((52.0907, 5.0)),
        device: Some("mobile".into()),
        system: Some("Android".into()),
        browser: Some("Firefox".into()),
        is_unique: true,
        ..Visit::default()
    }
}

/// What arrived since the last call, as `dialect/event.type` in order of dialects.
fn fresh(receiver: &Receiver, seen: &mut usize) -> Vec<String> {
    let all = bodies(receiver);
    let mut fresh: Vec<String> = all[*seen..].iter().map(|(path, body)| format!("{path}:{}", told(body).0)).collect();
    *seen = all.len();
    fresh.sort();
    fresh
}

#[tokio::test]
async fn a_qr_codes_life_has_other_names_in_other_dialects() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = listen(&app, &org).await;
    let mut seen = 0;
    let change = |before: Option<QrState>, qr: QrState| QrChange { before, qr };
    publish(&app, &org, Change::Created, change(None, qr())).await;
    assert_eq!(fresh(&receiver, &mut seen), ["iloveqr:qr.created", "inkode:qr.created", "qrstudio:dynamic_qr.created"]);
    let renamed = QrState { name: "Door".into(), ..qr() };
    publish(&app, &org, Change::Updated, change(Some(qr()), renamed.clone())).await;
    assert_eq!(fresh(&receiver, &mut seen), ["iloveqr:qr.updated", "inkode:qr.updated", "qrstudio:dynamic_qr.updated"]);
    let changes = json!({"name": {"old": "Window sticker", "new": "Door"}});
    let last = bodies(&receiver);
    let (_, qrstudio) = last.iter().rev().find(|(path, _)| path == "qrstudio").unwrap();
    let expected = json!({"short_id": "5u1e7g", "changes": changes, "owner_id": owner_number(org.id)});
    assert_eq!(qrstudio["data"], expected);
    // Nothing changed, and nobody is told.
    publish(&app, &org, Change::Updated, change(Some(qr()), qr())).await;
    assert!(fresh(&receiver, &mut seen).is_empty());
    let away = QrState { archived: true, ..qr() };
    publish(&app, &org, Change::Updated, change(Some(qr()), away.clone())).await;
    assert_eq!(
        fresh(&receiver, &mut seen),
        ["iloveqr:qr.archived", "inkode:qr.updated", "qrstudio:dynamic_qr.updated"]
    );
    publish(&app, &org, Change::Updated, change(Some(away), renamed)).await;
    assert_eq!(
        fresh(&receiver, &mut seen),
        ["iloveqr:qr.restored", "iloveqr:qr.updated", "inkode:qr.updated", "qrstudio:dynamic_qr.updated"]
    );
    // Of the style alone QR Code Agency's document has nothing to tell.
    let styled = QrState { more: json!({"style": {"dark": "#123456"}}), ..qr() };
    publish(&app, &org, Change::Updated, change(Some(qr()), styled)).await;
    assert_eq!(fresh(&receiver, &mut seen), ["iloveqr:qr.updated", "inkode:qr.updated"]);
    publish(&app, &org, Change::Expired, change(None, qr())).await;
    assert_eq!(fresh(&receiver, &mut seen), ["inkode:qr.expired"]);
    publish(&app, &org, Change::Deleted, change(None, qr())).await;
    assert_eq!(fresh(&receiver, &mut seen), ["iloveqr:qr.deleted", "inkode:qr.deleted"]);
    let fixed = QrState { short_code: None, short_url: None, ..qr() };
    publish(&app, &org, Change::Created, change(None, fixed)).await;
    assert_eq!(fresh(&receiver, &mut seen), ["iloveqr:qr.created", "inkode:qr.created"], "it is not dynamic");
}

#[tokio::test]
async fn a_scan_is_told_in_three_ways_and_a_robots_in_one() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = listen(&app, &org).await;
    let mut seen = 0;
    let scan = |visit: Visit| Scan {
        qr_id: "qr_7h2k9d".into(),
        name: "Window sticker".into(),
        short_code: "5u1e7g".into(),
        visit,
    };
    publish(&app, &org, Change::Visited, scan(visit(app.clock.now()))).await;
    assert_eq!(fresh(&receiver, &mut seen), ["iloveqr:qr.scanned", "inkode:qr.scanned", "qrstudio:scan.created"]);
    let all = bodies(&receiver);
    let (_, iloveqr) = all.iter().find(|(path, _)| path == "iloveqr").unwrap();
    assert_eq!(iloveqr["data"]["scan"]["location"]["longitude"], 5, "as JavaScript prints it: {iloveqr}");
    let (_, qrstudio) = all.iter().find(|(path, _)| path == "qrstudio").unwrap();
    assert_eq!(qrstudio["data"]["variant_label"], "(default)");
    assert_eq!(qrstudio["data"]["referer"], "");
    publish(&app, &org, Change::Visited, scan(Visit { is_bot: true, ..visit(app.clock.now()) })).await;
    assert_eq!(fresh(&receiver, &mut seen), ["qrstudio:scan.created"], "the only body that can say so");
    let link_id = LinkId::new(app.clock.now(), &app.chance);
    let click = |visit| Click { link_id, slug: "summer".into(), visit };
    publish(&app, &org, Change::Visited, click(visit(app.clock.now()))).await;
    publish(&app, &org, Change::Visited, click(Visit { is_bot: true, ..visit(app.clock.now()) })).await;
    assert_eq!(fresh(&receiver, &mut seen), ["inkode:link.clicked"]);
}

/// That a subject's table names only what the catalogues have, and what these types are.
fn check_table<S: Subject>() -> Vec<(&'static Row<S>, &'static Dialect)> {
    S::TABLE
        .iter()
        .map(|row| {
            let dialect = Dialect::by_name(row.dialect);
            assert!(dialect.catalogue.contains(&row.event_type), "{}: {}", dialect.title, row.event_type);
            (row, dialect)
        })
        .collect()
}

/// That the data of every row has each member that the dialect's sample has, which shows what its document shows.
fn check<S: Subject + Clone>(app: &TestApp, org: &TestOrg, subjects: &[S]) {
    for (row, dialect) in check_table::<S>() {
        let sample: Value = serde_json::from_str(dialect.sample(row.event_type).unwrap()).unwrap();
        let data = subjects.iter().find_map(|subject| {
            let (change, at) = (row.change, app.clock.now());
            (row.data)(&Happened { org_id: org.id, change, at, subject: subject.clone() })
        });
        let data = data.unwrap_or_else(|| panic!("{} never says {}", dialect.title, row.event_type));
        has_members(&data, &sample, &format!("{} {}", dialect.title, row.event_type));
    }
}

fn has_members(data: &Value, sample: &Value, at: &str) {
    for (key, inner) in sample.as_object().into_iter().flatten() {
        let value = data.get(key).unwrap_or_else(|| panic!("{at} has no {key}: {data}"));
        // What a change was of is not the same in every change.
        if key != "changes" {
            has_members(value, inner, &format!("{at}.{key}"));
        }
    }
}

#[tokio::test]
async fn every_body_has_what_its_document_shows() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let renamed = QrState { name: "Door".into(), ..qr() };
    let away = QrState { archived: true, ..qr() };
    check(
        &app,
        &org,
        &[
            QrChange { before: Some(renamed), qr: qr() },
            QrChange { before: Some(qr()), qr: away.clone() },
            QrChange { before: Some(away), qr: qr() },
        ],
    );
    let scan = Scan { qr_id: "qr_1".into(), name: "n".into(), short_code: "c".into(), visit: visit(app.clock.now()) };
    check(&app, &org, &[scan]);
    let link_id = LinkId::new(app.clock.now(), &app.chance);
    check(&app, &org, &[Click { link_id, slug: "summer".into(), visit: visit(app.clock.now()) }]);
    let barcode = BarcodeState { id: "barcode_1".into(), ..BarcodeState::default() };
    let other = BarcodeState { name: "other".into(), ..barcode.clone() };
    check(&app, &org, &[BarcodeChange { before: Some(other), barcode }]);
    let quota = |threshold| QuotaReached { plan: Plan::Pro, most: 4000, used: 3000, threshold };
    check(&app, &org, &[quota(75), quota(100)]);
    let (short_url, destination, reason) = ("https://go.example/a".into(), SHOP.into(), "503".into());
    check(&app, &org, &[LinkHealth { id: link_id, short_url, destination, status: Some(503), reason }]);
    let conversion = Conversion {
        id: ConversionId::new(app.clock.now(), &app.chance),
        org_id: org.id,
        target: Target::Link(link_id),
        at: app.clock.now(),
        visitor_id: VisitorId(uuid::Uuid::from_u128(7)),
        branch: String::new(),
        told: Told { step: "signup".into(), value: Some(42.5), currency: Some("EUR".into()), dedupe_key: None },
    };
    check(&app, &org, &[Converted(conversion)]);
    let payment =
        Payment { invoice_id: "in_1".into(), amount: 1900, currency: "eur".into(), attempts: 1, next_attempt_at: None };
    let subscription = SubscriptionState {
        id: "sub_8w3n5r".into(),
        plan: Plan::Pro,
        status: Some("active".into()),
        interval: Some("month".into()),
        seats: Some(3),
        period_end: None,
        trial_end: None,
        cancel_at_period_end: false,
        payment: Some(payment),
    };
    check(&app, &org, &[subscription]);
    check_table::<LinkChange>();
}
