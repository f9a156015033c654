//! Files of QR codes and of visits: whole, in order, of one's own, and no formula. Links are told of in `import.rs`.

use chrono::Duration;
use serde_json::{Value, json};

use crate::support::{TestApp, TestOrg};

const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/17.5 Mobile/15E148 Safari/604.1";

/// The lines of a file, each by the names of its columns.
async fn file(app: &TestApp, org: &TestOrg, path: &str) -> Vec<Value> {
    let reply = app.owner(org, "GET", path, None).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(reply.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    let mut csv = csv::Reader::from_reader(reply.text.as_bytes());
    let names = csv.headers().unwrap().clone();
    let line =
        |cells: csv::StringRecord| names.iter().zip(&cells).map(|(name, cell)| (name, cell.to_owned())).collect();
    csv.records().map(|record| line(record.unwrap())).collect()
}

async fn scan(app: &TestApp, code: &str, address: &str) {
    let headers = [("x-visitor", address), ("user-agent", PHONE), ("x-country", "de")];
    assert_eq!(app.send("GET", &format!("/r/{code}"), &headers, None).await.status, 302);
    app.store_visits().await;
    app.pass(Duration::seconds(2)).await;
}

#[tokio::test]
async fn codes_are_written_down_with_what_they_were_scanned() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    assert!(file(&app, &org, "/api/qr/export").await.is_empty());
    let folder = app.owner(&org, "POST", "/api/folders", Some(json!({"name": "Campaigns"}))).await.expect(201);
    let body = json!({"name": "=1+1", "isDynamic": true, "content": {"url": "https://shop.example"}, "shortCode": "a",
                      "folderId": folder["id"], "maxScans": 7});
    let dynamic = app.owner(&org, "POST", "/api/qr", Some(body)).await.expect(201);
    app.clock.advance(Duration::milliseconds(1));
    let body = json!({"name": "Note", "content": {"text": "a, \"b\"\nc"}});
    let plain = app.owner(&org, "POST", "/api/qr", Some(body.clone())).await.expect(201);
    app.owner(&other, "POST", "/api/qr", Some(body)).await.expect(201);
    scan(&app, "a", "10.0.0.1").await;
    scan(&app, "a", "10.0.0.1").await;
    let lines = file(&app, &org, "/api/qr/export").await;
    assert_eq!(lines.iter().map(|line| &line["id"]).collect::<Vec<_>>(), [&dynamic["id"], &plain["id"]]);
    let of = |n: usize, names: &[&str]| {
        names.iter().map(|name| lines[n][*name].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let names = ["name", "type", "isDynamic", "shortCode", "url", "folder", "maxScans", "scans", "uniqueScans"];
    assert_eq!(of(0, &names), ["'=1+1", "URL", "true", "a", "https://shop.example", "Campaigns", "7", "2", "1"]);
    assert_eq!(of(1, &["encodes", "isDynamic", "shortCode", "scans"]), ["a, \"b\"\nc", "false", "", "0"]);
}

#[tokio::test]
async fn visits_are_written_down_one_by_one_each_once() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let link = |slug: &'static str| json!({"destination": "https://shop.example", "slug": slug});
    let first = app.owner(&org, "POST", "/api/links", Some(link("first"))).await.expect(201);
    let body = json!({"isDynamic": true, "content": {"url": "https://shop.example"}, "shortCode": "code"});
    let code = app.owner(&org, "POST", "/api/qr", Some(body)).await.expect(201);
    app.owner(&other, "POST", "/api/links", Some(link("theirs"))).await.expect(201);
    for (of, address) in [("first", "10.0.0.1"), ("first", "10.0.0.1"), ("code", "10.0.0.1"), ("theirs", "10.0.0.1")] {
        scan(&app, of, address).await;
    }
    app.clock.advance(Duration::days(1));
    app.partitions().await;
    scan(&app, "first", "10.0.0.1").await;
    let all = file(&app, &org, "/api/visits/export").await;
    let targets: Vec<&Value> = all.iter().map(|line| &line["targetId"]).collect();
    assert_eq!(targets.iter().filter(|id| ***id == first["id"]).count(), 3);
    assert_eq!((targets.len(), targets.iter().filter(|id| ***id == code["id"]).count()), (4, 1), "one's own: {all:#?}");
    let ids: std::collections::HashSet<&str> = all.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 4);
    let today = &all[3];
    assert_eq!(today["at"].as_str().unwrap()[..10], *"2026-03-03");
    for (name, value) in
        [("country", "DE"), ("device", "mobile"), ("os", "iOS"), ("isUnique", "true"), ("isBot", "false")]
    {
        assert_eq!(today[name], value, "{name}");
    }
    assert_ne!(today["visitor"], all[0]["visitor"], "nobody is followed from day to day");
    let of = async |query: &str| file(&app, &org, &format!("/api/visits/export?{query}")).await.len();
    assert_eq!(of("days=1").await, 1);
    assert_eq!(of(&format!("targetId={}", code["id"].as_str().unwrap())).await, 1);
    assert_eq!(of(&format!("targetId={}&days=1", first["id"].as_str().unwrap())).await, 1);
    let refused = async |org: &TestOrg, query: &str| {
        let answer = app.owner(org, "GET", &format!("/api/visits/export?{query}"), None).await.expect(400);
        answer["errors"][0]["field"].as_str().unwrap().to_owned()
    };
    let theirs = format!("targetId={}", first["id"].as_str().unwrap());
    assert_eq!(refused(&other, &theirs).await, "targetId");
    assert_eq!(refused(&org, "days=0").await, "days");
}

#[tokio::test]
async fn more_visits_than_one_portion_come_each_once() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let body = json!({"destination": "https://shop.example", "slug": "first"});
    let link = app.owner(&org, "POST", "/api/links", Some(body)).await.expect(201);
    // Two visitors share a portion's end, and one has more visits than a portion takes.
    let many =
        "insert into visits (id, org_id, target_id, at, visitor, is_bot, is_unique, device, system, browser, country,
                                    region, language, referrer, branch)
                select (substr(uuid_floor($3)::text, 1, 24) || lpad(to_hex(n), 12, '0'))::uuid, $1, $2, $3,
                       case when n < 6000 then -5 else n % 7 end, false, false, '', '', '', '', '', '', '', ''
                from generate_series(1, 12345) n";
    let target: domain::id::LinkId = link["id"].as_str().unwrap().parse().unwrap();
    let statement = sqlx::query(many).bind(org.id.0).bind(target.0).bind(app.clock.now());
    statement.execute(app.store.pool()).await.unwrap();
    let lines = file(&app, &org, "/api/visits/export?days=1").await;
    let ids: std::collections::HashSet<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!((lines.len(), ids.len()), (12_345, 12_345));
}
