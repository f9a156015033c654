//! The library: what a workspace shows to Canva's app and to programs with a key.

use serde_json::{Value, json};

use crate::{
    oauth::connect,
    support::{Reply, TestApp, TestOrg, scanner::scan},
};

const ORIGIN: &str = "https://app-aafb1c2d3.canva-apps.com";

async fn get(app: &TestApp, path: &str, key: &str, more: &[(&str, &str)]) -> Reply {
    let auth = format!("Bearer {key}");
    app.send("GET", &format!("/api/canva{path}"), &[&[("authorization", &*auth)], more].concat(), None).await
}

async fn barcode(app: &TestApp, org: &TestOrg, body: Value) -> String {
    let made = app.owner(org, "POST", "/api/barcode", Some(body)).await.expect(201);
    app.clock.advance(chrono::Duration::milliseconds(1));
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_and_a_key_tell_whom_they_speak_for() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (_, access, _) = connect(&app, &org).await;
    let me = get(&app, "/me", &access, &[]).await.expect(200);
    assert_eq!(me["workspace"], json!({"id": org.id.to_string(), "slug": "acme", "name": "acme", "plan": "pro"}));
    let owner = json!({"id": org.owner.to_string(), "name": "owner", "email": "owner@acme.example", "role": "owner"});
    assert_eq!(me["user"], owner);
    let connection = &me["connection"];
    assert!(connection["id"].as_str().unwrap().starts_with("grant_"), "{me}");
    assert_eq!((&connection["type"], &connection["name"]), (&json!("oauth"), &json!("Canva <b>")));
    assert_eq!(connection["scopes"], json!(["library:read"]));
    let by_key = get(&app, "/me", org.key("ink_"), &[]).await.expect(200);
    assert_eq!((&by_key["connection"]["type"], &by_key["user"]), (&json!("api_key"), &owner));
    let header = app.get("/api/canva/me", &format!("x-api-key: {}", org.key("ink_"))).await.expect(200);
    assert_eq!(header, by_key);
    for key in [org.key("ilqr_"), org.key("inkr_"), "oat_unknown", "ink_unknown", &org.session(&app)] {
        get(&app, "/me", key, &[]).await.expect(401);
    }
}

#[tokio::test]
async fn the_library_has_what_is_switched_on_and_moves_limits_to_their_bounds() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let key = org.key("ink_");
    let mut folders = vec![];
    for name in ["Campaigns", "Boxes"] {
        folders.push(app.owner(&org, "POST", "/api/folders", Some(json!({"name": name}))).await.expect(201));
    }
    app.owner(&org, "POST", "/api/folders", Some(json!({"name": "Old"}))).await.expect(201);
    let all = app.owner(&org, "GET", "/api/folders", None).await.expect(200);
    let old = all["items"].as_array().unwrap().iter().find(|folder| folder["name"] == "Old").unwrap()["id"].clone();
    let path = format!("/api/folders/{}", old.as_str().unwrap());
    app.owner(&org, "PATCH", &path, Some(json!({"archived": true}))).await.expect(200);
    let folder = |n: usize| json!({"id": folders[n]["id"], "name": folders[n]["name"]});
    let listed = get(&app, "/folders", key, &[]).await.expect(200);
    assert_eq!(listed, json!({"items": [folder(1), folder(0)], "total": 2}));

    let body = json!({"type": "EAN_13", "value": "400638133393", "name": "Summer promo", "folderId": folders[0]["id"]});
    let first = barcode(&app, &org, body).await;
    for n in 0..51 {
        barcode(&app, &org, json!({"type": "ITF", "value": format!("{n:04}"), "name": format!("Box {n}")})).await;
    }
    barcode(&app, &org, json!({"type": "AZTEC", "value": "off", "active": false})).await;
    let expected = json!({"id": first, "name": "Summer promo", "type": "EAN_13", "value": "4006381333931", "folderName": "Campaigns"});
    for query in ["search=SUMMER", "search=40063", &format!("folderId={}", folders[0]["id"].as_str().unwrap())] {
        let found = get(&app, &format!("/barcode?{query}"), key, &[]).await.expect(200);
        assert_eq!(found, json!({"items": [expected], "total": 1}), "{query}");
    }
    for (query, count) in
        [("", 50), ("?limit=10", 10), ("?limit=0", 1), ("?limit=-7", 1), ("?limit=51", 50), ("?limit=999999999999", 50)]
    {
        let found = get(&app, &format!("/barcode{query}"), key, &[]).await.expect(200);
        assert_eq!((found["items"].as_array().unwrap().len(), &found["total"]), (count, &json!(52)), "{query}");
        assert_eq!(found["items"][0]["name"], "Box 50");
    }
    get(&app, "/barcode?limit=x", key, &[]).await.expect(400);
    get(&app, "/barcode?folderId=x", key, &[]).await.expect(400);
    let none = get(&app, "/barcode?search=%25", key, &[]).await.expect(200);
    assert_eq!(none, json!({"items": [], "total": 0}));
}

#[tokio::test]
async fn pictures_are_pngs_within_their_bounds_and_kept_until_they_are_others() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let key = org.key("ink_");
    let id = barcode(&app, &org, json!({"type": "DATA_MATRIX", "value": "ink"})).await;
    for (query, wide) in
        [("", 800_u32), ("?size=1024", 1024), ("?size=1", 256), ("?size=-1", 256), ("?size=99999", 2048)]
    {
        let picture = get(&app, &format!("/barcode/{id}/image{query}"), key, &[]).await;
        assert_eq!((picture.status, picture.header("content-type")), (200, Some("image/png")), "{query}");
        assert_eq!(picture.bytes[16..20], wide.to_be_bytes(), "{query}");
        assert_eq!(picture.header("cache-control"), Some("private, no-cache"));
        let etag = picture.header("etag").unwrap();
        let again = get(&app, &format!("/barcode/{id}/image{query}"), key, &[("if-none-match", etag)]).await;
        assert_eq!((again.status, again.bytes.len()), (304, 0));
    }
    let wide = barcode(&app, &org, json!({"type": "CODE_39", "value": "X".repeat(80)})).await;
    let refused = get(&app, &format!("/barcode/{wide}/image?size=256"), key, &[]).await.expect(422);
    assert_eq!(refused["code"], "unsupported_value");
    get(&app, "/barcode/bar_x/image", key, &[]).await.expect(404);
}

#[tokio::test]
async fn canvas_apps_may_read_every_answer_and_nobody_elses() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let key = org.key("ink_");
    let id = barcode(&app, &org, json!({"type": "AZTEC", "value": "ink"})).await;
    let picture = format!("/barcode/{id}/image");
    for (path, key, status) in [
        ("/me", key, 200),
        (&*picture, key, 200),
        ("/me", "x", 401),
        ("/barcode/bar_x/image", key, 404),
        ("/barcode?limit=x", key, 400),
        ("/nothing", key, 404),
    ] {
        let reply = get(&app, path, key, &[("origin", ORIGIN)]).await;
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some(ORIGIN), "{path}");
        assert!(reply.header("access-control-expose-headers").unwrap().contains("ETag"));
        assert_eq!(reply.header("vary"), Some("Origin"));
        if status >= 400 {
            assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        }
    }
    let etag = get(&app, &picture, key, &[]).await.header("etag").unwrap().to_owned();
    let known = get(&app, &picture, key, &[("origin", ORIGIN), ("if-none-match", &etag)]).await;
    assert_eq!((known.status, known.header("access-control-allow-origin")), (304, Some(ORIGIN)));
    let ask = async |path: &str, origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "authorization,x-api-key"),
        ];
        app.send("OPTIONS", path, &headers, None).await
    };
    let may = ask("/api/canva/me", ORIGIN).await;
    assert_eq!((may.status, may.header("access-control-allow-origin")), (204, Some(ORIGIN)));
    assert_eq!(may.header("access-control-allow-methods"), Some("GET"));
    let headers = may.header("access-control-allow-headers").unwrap();
    assert!(headers.contains("Authorization") && headers.contains("X-API-Key"), "{headers}");
    for origin in [
        "https://evil.example",
        "http://app-aafb1c2d3.canva-apps.com",
        "https://app-.canva-apps.com",
        "null",
        "https://app-a.canva-apps.com.evil.example",
        "https://app-a.b.canva-apps.com",
        "https://canva-apps.com",
        "https://app-a.canva-apps.com:8443",
    ] {
        let reply = get(&app, "/me", key, &[("origin", origin)]).await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, None), "{origin}");
        assert_eq!(ask("/api/canva/me", origin).await.header("access-control-allow-origin"), None, "{origin}");
    }
    // Only the library is open.
    assert_eq!(ask("/api/links", ORIGIN).await.status, 405);
    assert_eq!(app.send("GET", "/api/links", &[("origin", ORIGIN)], None).await.header("vary"), None);
}

#[tokio::test]
async fn a_key_is_limited_in_the_library_as_elsewhere_and_needs_its_scope() {
    let app = TestApp::build().rate(1, 2).start().await;
    let org = app.org("acme").await;
    let (key, origin) = (org.key("ink_"), [("origin", ORIGIN)]);
    for left in ["1", "0"] {
        let reply = get(&app, "/me", key, &origin).await;
        assert_eq!((reply.status, reply.header("ratelimit-remaining")), (200, Some(left)));
    }
    let over = get(&app, "/me", key, &origin).await;
    assert_eq!((over.status, over.header("access-control-allow-origin")), (429, Some(ORIGIN)));
    assert!(over.header("retry-after").is_some());
    sqlx::query("update api_keys set scopes = '{events:write}'").execute(app.store.pool()).await.unwrap();
    let refused = get(&app, "/me", org.member_key("ink_"), &[]).await.expect(403);
    assert_eq!(refused["detail"], "This API key does not have the scope library:read.");
}

#[tokio::test]
async fn qr_codes_are_in_the_library_as_the_document_shows_them_and_can_be_scanned() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let key = org.key("ink_");
    let folder = app.owner(&org, "POST", "/api/folders", Some(json!({"name": "Campaigns"}))).await.expect(201);
    let make = async |body: Value| {
        let made = app.owner(&org, "POST", "/api/qr", Some(body)).await.expect(201);
        app.clock.advance(chrono::Duration::milliseconds(1));
        made
    };
    let url = json!({"url": "https://shop.example/summer"});
    let promo = make(json!({
        "name": "Summer promo", "isDynamic": true, "content": url, "shortCode": "summer24", "folderId": folder["id"],
    }))
    .await;
    let plain = make(json!({"name": "Note", "content": {"text": "hello"}})).await;
    make(json!({"name": "Off", "isDynamic": true, "content": url, "active": false})).await;
    let away = make(json!({"name": "Away", "content": url})).await;
    let away = format!("/api/qr/{}", away["id"].as_str().unwrap());
    app.owner(&org, "PATCH", &away, Some(json!({"archived": true}))).await.expect(200);
    let first = json!({
        "id": promo["id"], "name": "Summer promo", "type": "URL", "shortCode": "summer24", "isDynamic": true,
        "folderName": "Campaigns",
    });
    let second = json!({"id": plain["id"], "name": "Note", "type": "TEXT", "isDynamic": false});
    for (query, items, total) in [
        ("", json!([second, first]), 2),
        ("?search=SUMMER&limit=10", json!([first]), 1),
        ("?search=mer24", json!([first]), 1),
        ("?limit=0", json!([second]), 2),
        (&format!("?folderId={}", folder["id"].as_str().unwrap()), json!([first]), 1),
    ] {
        let found = get(&app, &format!("/qr{query}"), key, &[]).await.expect(200);
        assert_eq!(found, json!({"items": items, "total": total}), "{query}");
    }
    let image = format!("/qr/{}/image", promo["id"].as_str().unwrap());
    let mut pictures = vec![];
    for (query, wide) in [("", 1024_u32), ("?size=1", 256), ("?size=99999", 2048)] {
        let picture = get(&app, &format!("{image}{query}"), key, &[]).await;
        assert_eq!((picture.status, picture.header("content-type")), (200, Some("image/png")), "{query}");
        assert_eq!(picture.bytes[16..20], wide.to_be_bytes(), "{query}");
        let etag = picture.header("etag").unwrap();
        let again = get(&app, &format!("{image}{query}"), key, &[("if-none-match", etag)]).await;
        assert_eq!((again.status, again.bytes.len()), (304, 0));
        pictures.push(picture.bytes);
    }
    for seen in scan(pictures.iter().map(|bytes| ("png", bytes.as_slice()))) {
        assert_eq!(seen.zxing, [("QR Code".to_owned(), format!("{}/r/summer24", app.url))], "{seen:?}");
    }
    let other = app.org("other").await;
    get(&app, &image, other.key("ink_"), &[]).await.expect(404);
}
