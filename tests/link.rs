//! Short links: made, found, changed and deleted. Where they lead is told in `redirect.rs`.

mod bulk;

use serde_json::{Value, json};

use crate::support::{TestApp, TestOrg};

const SHOP: &str = "https://shop.example/summer";

async fn make(app: &TestApp, org: &TestOrg, mut body: Value) -> Value {
    if body.get("destination").is_none() {
        body["destination"] = SHOP.into();
    }
    let made = app.owner(org, "POST", "/api/links", Some(body)).await.expect(201);
    // The next one is newer.
    app.clock.advance(chrono::Duration::milliseconds(1));
    made
}

async fn slugs(app: &TestApp, org: &TestOrg, query: &str) -> Vec<String> {
    let page = app.owner(org, "GET", &format!("/api/links?{query}"), None).await.expect(200);
    page["items"].as_array().unwrap().iter().map(|item| item["slug"].as_str().unwrap().to_owned()).collect()
}

fn path(link: &Value) -> String {
    format!("/api/links/{}", link["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_link_is_shown_as_it_was_made() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let folder = app.owner(&org, "POST", "/api/folders", Some(json!({"name": "Campaigns"}))).await.expect(201);
    let tag = app.owner(&org, "POST", "/api/tags", Some(json!({"name": "summer"}))).await.expect(201);
    let body = json!({
        "destination": SHOP, "slug": "summer24", "title": "Summer promo",
        "utm": {"source": "flyer", "medium": ""}, "password": "sesame",
        "startsAt": "2026-03-02T12:00:00Z", "expiresAt": "2026-04-02T14:00:00+02:00", "maxVisits": 500,
        "folderId": folder["id"], "tagIds": [tag["id"]],
    });
    let made = make(&app, &org, body).await;
    let expected = json!({
        "id": made["id"], "shortUrl": format!("{}/r/summer24", app.url), "slug": "summer24", "destination": SHOP,
        "healthCheck": false, "title": "Summer promo", "utm": {"source": "flyer"}, "hasPassword": true, "active": true,
        "startsAt": "2026-03-02T12:00:00.000Z", "expiresAt": "2026-04-02T12:00:00.000Z", "maxVisits": 500, "visits": 0,
        "folderId": folder["id"], "tagIds": [tag["id"]], "linkPages": [], "qrCodeIds": [], "archived": false,
        "locked": false, "createdAt": "2026-03-02T12:00:00.000Z", "updatedAt": "2026-03-02T12:00:00.000Z",
    });
    assert_eq!(made, expected);
    assert_eq!(app.owner(&org, "GET", &path(&made), None).await.expect(200), expected);
    assert_eq!(app.owner(&org, "GET", "/api/links", None).await.expect(200)["items"], json!([expected]));
}

#[tokio::test]
async fn a_link_without_a_slug_gets_one_that_can_be_read_aloud() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        let slug = make(&app, &org, json!({})).await["slug"].as_str().unwrap().to_owned();
        assert!(slug.len() == 7 && !slug.contains(['0', 'o', '1', 'i', 'l']), "{slug}");
        assert!(seen.insert(slug));
    }
}

#[tokio::test]
async fn a_slug_is_taken_once_whoever_asks_and_free_again_when_its_link_is_gone() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let first = make(&app, &org, json!({"slug": "summer"})).await;
    for org in [&org, &other] {
        let body = json!({"destination": SHOP, "slug": "summer"});
        let answer = app.owner(org, "POST", "/api/links", Some(body)).await.expect(409);
        assert_eq!(answer["code"], "slug_taken");
        assert!(answer["detail"].as_str().unwrap().contains("summer"), "it says which: {answer}");
    }
    make(&app, &other, json!({"slug": "Summer"})).await;
    let second = make(&app, &org, json!({"slug": "autumn"})).await;
    let change = async |body: Value| app.owner(&org, "PATCH", &path(&second), Some(body)).await;
    assert_eq!(change(json!({"slug": "summer"})).await.expect(409)["code"], "slug_taken");
    assert_eq!(change(json!({"slug": "autumn"})).await.expect(200)["slug"], "autumn");
    assert_eq!(app.owner(&org, "DELETE", &path(&first), None).await.status, 204);
    assert_eq!(change(json!({"slug": "summer"})).await.expect(200)["slug"], "summer");
    app.owner(&org, "GET", &path(&first), None).await.expect(404);
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_link_is_named_at_once() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let body = json!({
        "destination": "javascript:alert(1)", "slug": "a b", "title": "ä".repeat(201), "utm": {"term": "x".repeat(201)},
        "password": "", "maxVisits": 0, "folderId": "fld_x", "tagIds": ["tag_x"],
    });
    let answer = app.owner(&org, "POST", "/api/links", Some(body)).await.expect(400);
    let named: Vec<&str> =
        answer["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    let fields = ["destination", "slug", "title", "utm.term", "password", "maxVisits", "folderId", "tagIds[0]"];
    assert_eq!(named, fields, "{answer}");
    for (field, value) in [
        ("slug", json!("api")),
        ("slug", json!("x".repeat(65))),
        ("slug", json!("-a")),
        ("destination", json!("ftp://files.example/")),
        ("destination", json!("https://user:secret@shop.example/")),
        ("destination", json!("https://")),
        ("destination", json!(format!("https://shop.example/{}", "x".repeat(8000)))),
        ("expiresAt", json!("2026-03-01T00:00:00Z")),
        ("folderId", json!("fld_01KJQ6PSG0EC78V5NZFZCHSTM3")),
        ("tagIds[0]", json!(["tag_01KJQ6PSG0EC78V5NZFZCHSTM3"])),
    ] {
        let mut body = json!({"destination": SHOP, "startsAt": "2026-03-02T12:00:00Z"});
        body[field.split('[').next().unwrap()] = value.clone();
        let answer = app.owner(&org, "POST", "/api/links", Some(body)).await.expect(400);
        assert_eq!(answer["errors"][0]["field"], field, "{value}: {answer}");
    }
    assert!(slugs(&app, &org, "").await.is_empty());
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_null_takes_away() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let body = json!({"slug": "a", "title": "A", "utm": {"source": "x"}, "password": "sesame", "maxVisits": 3,
                      "startsAt": "2026-03-02T12:00:00Z", "expiresAt": "2026-03-09T12:00:00Z"});
    let before = make(&app, &org, body).await;
    app.clock.advance(chrono::Duration::minutes(1));
    let change = async |body: Value| app.owner(&org, "PATCH", &path(&before), Some(body)).await;
    let mut expected = before.clone();
    expected["updatedAt"] = "2026-03-02T12:01:00.001Z".into();
    assert_eq!(change(json!({})).await.expect(200), expected);
    expected["title"] = "B".into();
    assert_eq!(change(json!({"title": "B", "slug": null})).await.expect(200), expected);
    let taken = json!({"utm": null, "password": null, "maxVisits": null, "startsAt": null, "expiresAt": null});
    let after = change(taken).await.expect(200);
    for field in ["utm", "maxVisits", "startsAt", "expiresAt"] {
        assert!(after.get(field).is_none(), "{field}: {after}");
    }
    assert_eq!(after["hasPassword"], false);
}

#[tokio::test]
async fn a_list_is_narrowed_by_search_folder_tag_and_state_and_turned_page_by_page() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let folder = app.owner(&org, "POST", "/api/folders", Some(json!({"name": "F"}))).await.expect(201);
    let tag = app.owner(&org, "POST", "/api/tags", Some(json!({"name": "T"}))).await.expect(201);
    make(&app, &org, json!({"slug": "one", "title": "100% wool", "folderId": folder["id"]})).await;
    make(&app, &org, json!({"slug": "two", "destination": "https://wool.example/", "tagIds": [tag["id"]]})).await;
    make(&app, &org, json!({"slug": "three", "active": false})).await;
    make(&app, &org, json!({"slug": "four", "expiresAt": "2026-03-08T00:00:00Z"})).await;
    make(&app, &org, json!({"slug": "five", "startsAt": "2026-03-08T00:00:00Z"})).await;
    let put_away = make(&app, &org, json!({"slug": "six"})).await;
    app.owner(&org, "PATCH", &path(&put_away), Some(json!({"archived": true}))).await.expect(200);
    let (folder, tag) = (folder["id"].as_str().unwrap(), tag["id"].as_str().unwrap());
    for (query, expected) in [
        ("", vec!["five", "four", "three", "two", "one"]),
        ("filter=all", vec!["five", "four", "three", "two", "one"]),
        ("filter=active", vec!["four", "two", "one"]),
        ("filter=inactive", vec!["five", "three"]),
        ("filter=expiring", vec!["four"]),
        ("filter=archived", vec!["six"]),
        ("search=WOOL", vec!["two", "one"]),
        ("search=0%25%20w", vec!["one"]),
        ("search=_", vec![]),
        ("search=thre", vec!["three"]),
        (&format!("folderId={folder}"), vec!["one"]),
        (&format!("tagId={tag}"), vec!["two"]),
        (&format!("orgId={}&limit=2", org.id), vec!["five", "four"]),
    ] {
        assert_eq!(slugs(&app, &org, query).await, expected, "{query}");
    }
    let mut found = vec![];
    let mut query = "limit=2".to_owned();
    loop {
        let page = app.owner(&org, "GET", &format!("/api/links?{query}"), None).await.expect(200);
        found.extend(page["items"].as_array().unwrap().iter().map(|item| item["slug"].as_str().unwrap().to_owned()));
        let Some(next) = page["nextCursor"].as_str() else { break };
        query = format!("limit=2&cursor={next}");
    }
    assert_eq!(found, ["five", "four", "three", "two", "one"]);
    let other = app.org("other").await;
    app.owner(&other, "GET", &format!("/api/links?orgId={}", org.id), None).await.expect(404);
}

#[tokio::test]
async fn a_list_in_any_order_has_every_link_once_also_when_they_are_changed_between_its_pages() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let variants = json!({"variants": [{"destination": SHOP, "weight": 1}]});
    let titles = ["b", "C", "a", "c", "", "B", "Ä", "a_b%"];
    let mut made = vec![];
    for (n, title) in titles.iter().enumerate() {
        let body = json!({"slug": format!("s{n}"), "title": title, "routing": if n % 2 == 0 { &variants } else { &Value::Null }});
        made.push(make(&app, &org, body).await);
    }
    app.clock.advance(chrono::Duration::seconds(1));
    app.owner(&org, "PATCH", &path(&made[3]), Some(json!({"active": false}))).await.expect(200);
    assert_eq!(slugs(&app, &org, "filter=ab").await, ["s6", "s4", "s2", "s0"]);
    assert_eq!(slugs(&app, &org, "sort=updated&limit=3").await, ["s3", "s7", "s6"]);
    assert_eq!(slugs(&app, &org, "sort=created&limit=3").await, ["s7", "s6", "s5"]);
    for (sort, page) in [("title", 1), ("title", 3), ("updated", 1), ("updated", 3), ("created", 2)] {
        let whole = slugs(&app, &org, &format!("sort={sort}")).await;
        assert_eq!(whole.len(), titles.len());
        let mut found = vec![];
        let mut query = format!("sort={sort}&limit={page}");
        loop {
            let answer = app.owner(&org, "GET", &format!("/api/links?{query}"), None).await.expect(200);
            let items = answer["items"].as_array().unwrap();
            found.extend(items.iter().map(|item| item["slug"].as_str().unwrap().to_owned()));
            let Some(next) = answer["nextCursor"].as_str() else { break };
            query = format!("sort={sort}&limit={page}&cursor={next}");
        }
        assert_eq!(found, whole, "{sort} by {page}");
    }
    // The link at a page's end is gone before the next page is asked for.
    let first = app.owner(&org, "GET", "/api/links?sort=title&limit=2", None).await.expect(200);
    let whole = slugs(&app, &org, "sort=title").await;
    assert_eq!(app.owner(&org, "DELETE", &path(&first["items"][1]), None).await.status, 204);
    let cursor = first["nextCursor"].as_str().unwrap();
    assert_eq!(slugs(&app, &org, &format!("sort=title&cursor={cursor}")).await, whole[2..]);
    for wrong in [
        format!("sort=updated&cursor={cursor}"),
        format!("cursor={cursor}"),
        "cursor=link_x".into(),
        format!("sort=title&cursor={cursor}!"),
    ] {
        let answer = app.owner(&org, "GET", &format!("/api/links?{wrong}"), None).await.expect(400);
        assert_eq!(answer["errors"][0]["field"], "cursor", "{wrong}");
    }
}
