//! QR codes: made, found, changed, deleted, scanned by others, and where the dynamic ones lead.

mod bulk;
mod told;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::Duration;
use serde_json::{Value, json};

use crate::support::{Reply, TestApp, TestOrg, scanner::scan};

const SHOP: &str = "https://shop.example/summer";

async fn make(app: &TestApp, org: &TestOrg, body: Value) -> Value {
    let made = app.owner(org, "POST", "/api/qr", Some(body)).await.expect(201);
    // The next one is newer.
    app.clock.advance(Duration::milliseconds(1));
    made
}

async fn dynamic(app: &TestApp, org: &TestOrg, mut body: Value) -> Value {
    body["isDynamic"] = true.into();
    if body.get("linkId").is_none() && body.get("content").is_none() {
        body["content"] = json!({"url": SHOP});
    }
    make(app, org, body).await
}

async fn link(app: &TestApp, org: &TestOrg, slug: &str) -> Value {
    let body = json!({"destination": "https://shop.example/link", "slug": slug});
    app.owner(org, "POST", "/api/links", Some(body)).await.expect(201)
}

async fn change(app: &TestApp, org: &TestOrg, path: &str, body: Value) -> Value {
    app.owner(org, "PATCH", path, Some(body)).await.expect(200)
}

fn path(code: &Value) -> String {
    format!("/api/qr/{}", code["id"].as_str().unwrap())
}

fn link_path(link: &Value) -> String {
    format!("/api/links/{}", link["id"].as_str().unwrap())
}

async fn visit(app: &TestApp, code: &str) -> Reply {
    app.send("GET", &format!("/r/{code}"), &[], None).await
}

#[track_caller]
fn leads_to(reply: &Reply, destination: &str) {
    assert_eq!((reply.status, reply.header("location")), (302, Some(destination)), "{}", reply.text);
}

#[track_caller]
fn shows(reply: &Reply, status: u16, title: &str) {
    assert_eq!(reply.status, status, "{}", reply.text);
    assert!(reply.text.contains(&format!("<h1>{title}</h1>")), "{}", reply.text);
}

fn logo() -> String {
    let mut file = std::io::Cursor::new(vec![]);
    let red = image::RgbImage::from_pixel(64, 64, image::Rgb([200, 30, 30]));
    red.write_to(&mut file, image::ImageFormat::Png).unwrap();
    STANDARD.encode(file.into_inner())
}

#[tokio::test]
async fn a_code_is_shown_as_it_was_made() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let folder = app.owner(&org, "POST", "/api/folders", Some(json!({"name": "Campaigns"}))).await.expect(201);
    let tag = app.owner(&org, "POST", "/api/tags", Some(json!({"name": "summer"}))).await.expect(201);
    let body = json!({
        "name": "Summer promo", "isDynamic": true, "content": {"url": SHOP}, "shortCode": "summer24",
        "style": {"foreground": "#123A7b", "shape": "rounded", "logo": logo()}, "password": "sesame",
        "startsAt": "2026-03-02T12:00:00Z", "expiresAt": "2026-04-02T14:00:00+02:00", "maxScans": 500,
        "folderId": folder["id"], "tagIds": [tag["id"]],
    });
    let made = make(&app, &org, body).await;
    let short_url = format!("{}/r/summer24", app.url);
    let expected = json!({
        "id": made["id"], "name": "Summer promo", "type": "URL", "isDynamic": true, "content": {"url": SHOP},
        "encodes": short_url, "shortCode": "summer24", "shortUrl": short_url,
        "style": {"foreground": "#123a7b", "background": "#ffffff", "quietZone": 4, "errorCorrection": "H",
                  "shape": "rounded", "hasLogo": true, "logoPercent": 20},
        "imageUrl": format!("{}{}/image", app.url, path(&made)), "hasPassword": true, "active": true,
        "startsAt": "2026-03-02T12:00:00.000Z", "expiresAt": "2026-04-02T12:00:00.000Z", "maxScans": 500, "scans": 0,
        "folderId": folder["id"], "tagIds": [tag["id"]], "archived": false, "locked": false,
        "createdAt": "2026-03-02T12:00:00.000Z", "updatedAt": "2026-03-02T12:00:00.000Z",
    });
    assert_eq!(made, expected);
    assert_eq!(app.owner(&org, "GET", &path(&made), None).await.expect(200), expected);
    assert_eq!(app.owner(&org, "GET", "/api/qr", None).await.expect(200)["items"], json!([expected]));
}

#[tokio::test]
async fn every_kind_of_content_is_kept_as_it_was_given_and_scanned_by_others() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let mut pictures = vec![];
    for (kind, content, encodes) in [
        ("URL", json!({"url": SHOP}), SHOP),
        ("TEXT", json!({"text": "Grüße, 東京"}), "Grüße, 東京"),
        (
            "WIFI",
            json!({"wifi": {"ssid": "Café;", "security": "wpa", "password": "12345678", "hidden": true}}),
            "WIFI:T:WPA;S:Café\\;;P:12345678;H:true;;",
        ),
        (
            "EMAIL",
            json!({"email": {"to": "a@acme.example", "subject": "Hi there"}}),
            "mailto:a@acme.example?subject=Hi%20there",
        ),
        ("SMS", json!({"sms": {"phone": "+1 555 01", "message": "Hi: you"}}), "SMSTO:+155501:Hi: you"),
        ("PHONE", json!({"phone": "+1 (555) 01"}), "tel:+155501"),
        ("GEO", json!({"geo": {"latitude": 52.5, "longitude": 13.375}}), "geo:52.5,13.375"),
        (
            "VCARD",
            json!({"vcard": {"version": "4.0", "firstName": "Zoë", "lastName": "O'Brien"}}),
            "BEGIN:VCARD\r\nVERSION:4.0\r\nN:O'Brien;Zoë;;;\r\nFN:Zoë O'Brien\r\nEND:VCARD\r\n",
        ),
        (
            "EVENT",
            json!({"event": {"title": "Party", "start": "2026-06-01T18:00:00+02:00"}}),
            "\r\nDTSTAMP:20260302T120000Z\r\nDTSTART:20260601T160000Z\r\nSUMMARY:Party\r\n",
        ),
    ] {
        let made = app.owner(&org, "POST", "/api/qr", Some(json!({"content": content}))).await.expect(201);
        assert_eq!((&made["type"], &made["content"], &made["isDynamic"]), (&kind.into(), &content, &false.into()));
        let text = made["encodes"].as_str().unwrap().to_owned();
        assert!(if kind == "EVENT" { text.contains(encodes) } else { text == encodes }, "{text}");
        for (format, media_type) in [("png", "image/png"), ("svg", "image/svg+xml"), ("pdf", "application/pdf")] {
            let path = format!("{}/image?format={format}&size=400", path(&made));
            let picture = app.owner(&org, "GET", &path, None).await;
            assert_eq!((picture.status, picture.header("content-type")), (200, Some(media_type)), "{}", picture.text);
            pictures.push((format, picture.bytes, text.clone()));
        }
    }
    for (seen, (_, _, text)) in scan(pictures.iter().map(|(f, bytes, _)| (*f, bytes.as_slice()))).iter().zip(&pictures)
    {
        assert_eq!(seen.zxing, [("QR Code".to_owned(), text.clone())], "{seen:?}");
        assert_eq!(seen.zbar, [("QR-Code".to_owned(), text.clone())], "{seen:?}");
    }
}

#[tokio::test]
async fn a_picture_is_asked_for_again_only_when_it_is_another() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let made = make(&app, &org, json!({"content": {"url": SHOP}, "style": {"logo": logo()}})).await;
    let bearer = format!("Bearer {}", org.session(&app));
    let image = async |query: &str, known: &str| {
        let headers = [("authorization", bearer.as_str()), ("if-none-match", known)];
        app.send("GET", &format!("{}/image?{query}", path(&made)), &headers, None).await
    };
    let first = image("", "\"0\"").await;
    assert_eq!((first.status, first.header("cache-control")), (200, Some("private, no-cache")));
    let etag = first.header("etag").unwrap().to_owned();
    assert!(!etag.starts_with("W/"), "strong: {etag}");
    let same = image("size=1024&format=png", &format!("\"0\", {etag}")).await;
    assert_eq!((same.status, same.text.as_str(), same.header("etag")), (304, "", Some(etag.as_str())));
    for query in ["size=1025", "format=svg", "format=pdf"] {
        assert_eq!(image(query, &etag).await.status, 200, "{query}");
    }
    // A name is no part of the picture; a colour and the logo are.
    change(&app, &org, &path(&made), json!({"name": "Other"})).await;
    assert_eq!(image("", &etag).await.status, 304);
    change(&app, &org, &path(&made), json!({"style": {"foreground": "#101010"}})).await;
    let coloured = image("", &etag).await;
    assert_eq!(coloured.status, 200);
    let after = change(&app, &org, &path(&made), json!({"style": {"logo": null}})).await;
    assert_eq!(after["style"]["hasLogo"], false);
    assert_eq!(image("", coloured.header("etag").unwrap()).await.status, 200);
    for query in ["size=63", "size=4097", "size=x", "format=gif"] {
        assert_eq!(image(query, "\"0\"").await.status, 400, "{query}");
    }
    let large = make(&app, &org, json!({"content": {"text": "x".repeat(2300)}})).await;
    let small = app.owner(&org, "GET", &format!("{}/image?size=100", path(&large)), None).await.expect(422);
    assert_eq!(small["errors"][0], json!({"field": "size", "message": "must be at least 185 for this code"}));
}

#[tokio::test]
async fn what_cannot_be_scanned_is_refused_with_the_reason_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let url = json!({"url": SHOP});
    for (body, field, reason) in [
        (json!({"content": url, "style": {"foreground": "#eeee00"}}), "style.foreground", "has a contrast of 1.2"),
        (
            json!({"content": url, "style": {"foreground": "#ffffff", "background": "#000000"}}),
            "style.foreground",
            "must be darker than the background",
        ),
        (
            json!({"content": url, "style": {"logo": logo(), "logoPercent": 40, "errorCorrection": "L"}}),
            "style.logo",
            "covers too much of the code",
        ),
        (
            json!({"content": {"text": "x".repeat(2400)}}),
            "content",
            "is too long for a QR code with error correction M",
        ),
    ] {
        let answer = app.owner(&org, "POST", "/api/qr", Some(body)).await.expect(422);
        assert_eq!((&answer["code"], &answer["errors"][0]["field"]), (&"unsupported_value".into(), &field.into()));
        assert!(answer["errors"][0]["message"].as_str().unwrap().starts_with(reason), "{answer}");
    }
    let made = make(&app, &org, json!({"content": url})).await;
    let faded = json!({"style": {"foreground": "#eeee00"}});
    app.owner(&org, "PATCH", &path(&made), Some(faded)).await.expect(422);
    assert_eq!(app.owner(&org, "GET", &path(&made), None).await.expect(200), made);
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_code_is_named_at_once() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let fields = async |body: Value| -> Vec<String> {
        let answer = app.owner(&org, "POST", "/api/qr", Some(body)).await.expect(400);
        answer["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap().to_owned()).collect()
    };
    let body = json!({
        "isDynamic": true, "name": "ä".repeat(201), "shortCode": "a b", "linkId": "link_x", "password": "",
        "maxScans": 0, "folderId": "fld_x", "tagIds": ["tag_x"], "content": {"url": "javascript:alert(1)"},
        "style": {"foreground": "red", "background": "#12345", "quietZone": 1, "logoPercent": 41, "logo": "R0lGODlh"},
    });
    let expected = [
        "name",
        "shortCode",
        "linkId",
        "style.foreground",
        "style.background",
        "style.quietZone",
        "style.logoPercent",
        "password",
        "maxScans",
        "folderId",
        "tagIds[0]",
        "content.url",
        "style.logo",
    ];
    assert_eq!(fields(body).await, expected);
    let body = json!({
        "content": {"text": "x"}, "shortCode": "a", "linkId": "link_01KJQ6PSG0EC78V5NZFZCHSTM3", "password": "x",
        "active": false, "startsAt": "2026-03-02T12:00:00Z", "expiresAt": "2026-03-02T12:00:00Z", "maxScans": 1,
    });
    let only_dynamic = ["shortCode", "linkId", "password", "active", "startsAt", "expiresAt", "maxScans"];
    assert_eq!(fields(body).await, only_dynamic);
    for (field, body) in [
        ("content", json!({})),
        ("content", json!({"isDynamic": true})),
        ("content", json!({"content": {}})),
        ("content", json!({"content": {"text": "a", "url": SHOP}})),
        ("content", json!({"content": {"text": "a"}, "isDynamic": true})),
        ("content.wifi.password", json!({"content": {"wifi": {"ssid": "a", "password": "short"}}})),
        ("content.event.start", json!({"content": {"event": {"title": "a", "start": "soon"}}})),
        ("style.logo", json!({"content": {"url": SHOP}, "style": {"logo": "?"}})),
        ("linkId", json!({"isDynamic": true, "linkId": "link_01KJQ6PSG0EC78V5NZFZCHSTM3"})),
        ("folderId", json!({"content": {"url": SHOP}, "folderId": "fld_01KJQ6PSG0EC78V5NZFZCHSTM3"})),
        (
            "expiresAt",
            json!({"isDynamic": true, "content": {"url": SHOP}, "startsAt": "2026-03-02T12:00:00Z",
                             "expiresAt": "2026-03-02T12:00:00Z"}),
        ),
    ] {
        assert_eq!(fields(body.clone()).await, [field], "{body}");
    }
    assert_eq!(app.owner(&org, "GET", "/api/qr", None).await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn links_and_codes_share_one_space_of_codes() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    link(&app, &org, "summer").await;
    let first = dynamic(&app, &other, json!({"shortCode": "autumn"})).await;
    for (org, short_code) in [(&org, "summer"), (&other, "summer"), (&org, "autumn")] {
        let body = json!({"isDynamic": true, "content": {"url": SHOP}, "shortCode": short_code});
        let answer = app.owner(org, "POST", "/api/qr", Some(body)).await.expect(409);
        assert_eq!(answer["code"], "short_code_taken");
        assert!(answer["detail"].as_str().unwrap().contains(short_code), "it says which: {answer}");
    }
    let body = json!({"destination": SHOP, "slug": "autumn"});
    app.owner(&org, "POST", "/api/links", Some(body.clone())).await.expect(409);
    let random = dynamic(&app, &org, json!({})).await;
    assert_eq!(random["shortCode"].as_str().unwrap().len(), 7);
    let taken = json!({"shortCode": "summer"});
    app.owner(&org, "PATCH", &path(&random), Some(taken)).await.expect(409);
    assert_eq!(app.owner(&other, "DELETE", &path(&first), None).await.status, 204);
    app.owner(&org, "POST", "/api/links", Some(body)).await.expect(201);
}

#[tokio::test]
async fn a_dynamic_code_leads_where_it_was_last_told_and_its_old_code_nowhere() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let code = dynamic(&app, &org, json!({"shortCode": "a"})).await;
    leads_to(&visit(&app, "a").await, SHOP);
    change(&app, &org, &path(&code), json!({"content": {"url": "https://shop.example/autumn"}})).await;
    leads_to(&visit(&app, "a").await, "https://shop.example/autumn");
    let after = change(&app, &org, &path(&code), json!({"shortCode": "b"})).await;
    assert_eq!(after["encodes"], format!("{}/r/b", app.url));
    shows(&visit(&app, "a").await, 404, "This link does not exist");
    leads_to(&visit(&app, "b").await, "https://shop.example/autumn");
    app.owner(&org, "DELETE", &path(&code), None).await;
    shows(&visit(&app, "b").await, 404, "This link does not exist");
}

#[tokio::test]
async fn a_dynamic_code_keeps_to_its_own_time_switch_limit_and_password() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let body = json!({"shortCode": "a", "startsAt": "2026-03-02T13:00:00Z", "expiresAt": "2026-03-02T14:00:00Z"});
    let code = path(&dynamic(&app, &org, body).await);
    shows(&visit(&app, "a").await, 404, "This link is not open yet");
    app.clock.advance(Duration::hours(1));
    leads_to(&visit(&app, "a").await, SHOP);
    change(&app, &org, &code, json!({"active": false})).await;
    shows(&visit(&app, "a").await, 410, "This link is paused");
    change(&app, &org, &code, json!({"active": true, "archived": true})).await;
    shows(&visit(&app, "a").await, 410, "This link is paused");
    change(&app, &org, &code, json!({"archived": false})).await;
    leads_to(&visit(&app, "a").await, SHOP);
    app.clock.advance(Duration::hours(1));
    shows(&visit(&app, "a").await, 410, "This link has expired");
    change(&app, &org, &code, json!({"expiresAt": null, "maxScans": 2})).await;
    for _ in 0..2 {
        leads_to(&visit(&app, "a").await, SHOP);
    }
    shows(&visit(&app, "a").await, 410, "This link has ended");
    change(&app, &org, &code, json!({"maxScans": null, "password": "sesame"})).await;
    shows(&visit(&app, "a").await, 401, "This link is protected");
    let form = [("content-type", "application/x-www-form-urlencoded"), ("x-visitor", "192.0.2.1")];
    let opened = app.send("POST", "/r/a", &form, Some("password=sesame".into())).await;
    let cookie = opened.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    leads_to(&app.send("GET", "/r/a", &[("cookie", &cookie)], None).await, SHOP);
}

#[tokio::test]
async fn a_code_that_leads_through_a_link_leads_where_the_link_leads_now() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let link = link(&app, &org, "shop").await;
    let code = dynamic(&app, &org, json!({"shortCode": "a", "linkId": link["id"]})).await;
    assert_eq!(code["link"]["slug"], "shop");
    assert!(code.get("content").is_none(), "{code}");
    leads_to(&visit(&app, "a").await, "https://shop.example/link");
    // Each of these is a change of the link alone, and seen by whoever scans the code.
    let link = link_path(&link);
    change(&app, &org, &link, json!({"destination": SHOP, "utm": {"source": "qr"}})).await;
    leads_to(&visit(&app, "a").await, &format!("{SHOP}?utm_source=qr"));
    change(&app, &org, &link, json!({"slug": "other", "utm": null})).await;
    leads_to(&visit(&app, "a").await, SHOP);
    change(&app, &org, &link, json!({"active": false})).await;
    shows(&visit(&app, "a").await, 410, "This link is paused");
    change(&app, &org, &link, json!({"active": true, "password": "sesame"})).await;
    shows(&visit(&app, "a").await, 401, "This link is protected");
    change(&app, &org, &link, json!({"password": null, "maxVisits": 3})).await;
    leads_to(&visit(&app, "other").await, SHOP);
    change(&app, &org, &path(&code), json!({"maxScans": 1})).await;
    leads_to(&visit(&app, "a").await, SHOP);
    shows(&visit(&app, "a").await, 410, "This link has ended");
    leads_to(&visit(&app, "other").await, SHOP);
    shows(&visit(&app, "other").await, 410, "This link has ended");
    change(&app, &org, &path(&code), json!({"maxScans": null})).await;
    shows(&visit(&app, "a").await, 410, "This link has ended");
    // Without the link it needs an address of its own.
    app.owner(&org, "PATCH", &path(&code), Some(json!({"linkId": null}))).await.expect(400);
    let own = json!({"linkId": null, "content": {"url": "https://shop.example/own"}});
    let after = change(&app, &org, &path(&code), own).await;
    assert!(after.get("link").is_none() && after.get("linkId").is_none(), "{after}");
    leads_to(&visit(&app, "a").await, "https://shop.example/own");
}

#[tokio::test]
async fn a_link_tells_its_codes_and_may_get_one_when_it_is_made() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let code = dynamic(&app, &org, json!({"shortCode": "a"})).await;
    let fixed = make(&app, &org, json!({"content": {"url": SHOP}})).await;
    let create = async |qr: &Value| {
        let body = json!({"destination": "https://shop.example/link", "slug": "shop", "qrCodeId": qr["id"]});
        app.owner(&org, "POST", "/api/links", Some(body)).await
    };
    assert_eq!(create(&fixed).await.expect(400)["errors"][0]["field"], "qrCodeId");
    let link = create(&code).await.expect(201);
    assert_eq!(link["qrCodeIds"], json!([code["id"]]));
    leads_to(&visit(&app, "a").await, "https://shop.example/link");
    assert_eq!(app.owner(&org, "GET", &path(&code), None).await.expect(200)["linkId"], link["id"]);
    let second = dynamic(&app, &org, json!({"shortCode": "b", "linkId": link["id"]})).await;
    let both = json!([code["id"], second["id"]]);
    assert_eq!(app.owner(&org, "GET", &link_path(&link), None).await.expect(200)["qrCodeIds"], both);
    assert_eq!(app.owner(&org, "GET", "/api/links", None).await.expect(200)["items"][0]["qrCodeIds"], both);
    let third = dynamic(&app, &org, json!({"shortCode": "c"})).await;
    let three = json!([code["id"], second["id"], third["id"]]);
    assert_eq!(change(&app, &org, &link_path(&link), json!({"qrCodeId": third["id"]})).await["qrCodeIds"], three);
    leads_to(&visit(&app, "c").await, "https://shop.example/link");
    // Those that have an address of their own go on without the link; the others lead nowhere.
    app.owner(&org, "DELETE", &link_path(&link), None).await;
    leads_to(&visit(&app, "a").await, SHOP);
    shows(&visit(&app, "b").await, 404, "This link does not exist");
}

#[tokio::test]
async fn another_process_hears_of_a_link_for_the_codes_that_lead_through_it() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let link = link(&app, &org, "shop").await;
    dynamic(&app, &org, json!({"shortCode": "a", "linkId": link["id"]})).await;
    let direct = sqlx::postgres::PgPoolOptions::new().connect_with(app.direct()).await.unwrap();
    let routes = api::redirect::Routes::new(app.store.pool().clone());
    routes.listen(direct.clone());
    let destination = async || routes.find("", "a").await.unwrap().unwrap().destination.clone();
    assert_eq!(destination().await, "https://shop.example/link");
    change(&app, &org, &link_path(&link), json!({"destination": SHOP})).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while destination().await != SHOP {
        assert!(tokio::time::Instant::now() < deadline, "nothing was heard");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    drop(routes);
    direct.close().await;
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_a_static_code_keeps_its_text() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let event = json!({"event": {"title": "Party", "start": "2026-06-01"}});
    let before = make(&app, &org, json!({"name": "A", "content": event})).await;
    app.clock.advance(Duration::minutes(1));
    let mut expected = before.clone();
    expected["updatedAt"] = "2026-03-02T12:01:00.001Z".into();
    assert_eq!(change(&app, &org, &path(&before), json!({})).await, expected);
    // The text has the time of its making: the same content again is the same picture.
    assert_eq!(change(&app, &org, &path(&before), json!({"content": event})).await, expected);
    expected["name"] = "B".into();
    expected["style"]["shape"] = "dot".into();
    let after = change(&app, &org, &path(&before), json!({"name": "B", "style": {"shape": "dot"}})).await;
    assert_eq!(after, expected);
    let after = change(&app, &org, &path(&before), json!({"content": {"text": "x"}, "name": null})).await;
    assert_eq!((&after["encodes"], &after["type"], &after["name"]), (&"x".into(), &"TEXT".into(), &"B".into()));
}

#[tokio::test]
async fn a_list_is_narrowed_sorted_summed_up_and_turned_page_by_page() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let folder = app.owner(&org, "POST", "/api/folders", Some(json!({"name": "F"}))).await.expect(201);
    let tag = app.owner(&org, "POST", "/api/tags", Some(json!({"name": "T"}))).await.expect(201);
    let one =
        make(&app, &org, json!({"name": "one 100%", "content": {"text": "wool"}, "folderId": folder["id"]})).await;
    make(&app, &org, json!({"name": "Two", "content": {"url": "https://WOOL.example/"}, "tagIds": [tag["id"]]})).await;
    dynamic(&app, &org, json!({"name": "three", "active": false, "shortCode": "wool"})).await;
    dynamic(&app, &org, json!({"name": "four", "expiresAt": "2026-03-08T00:00:00Z", "shortCode": "b"})).await;
    dynamic(&app, &org, json!({"name": "Five", "startsAt": "2026-03-08T00:00:00Z"})).await;
    let put_away = make(&app, &org, json!({"name": "six", "content": {"phone": "+155501"}})).await;
    change(&app, &org, &path(&put_away), json!({"archived": true})).await;
    app.clock.advance(Duration::seconds(1));
    change(&app, &org, &path(&one), json!({"name": "One 100%"})).await;
    let names = async |query: &str| -> Vec<String> {
        let page = app.owner(&org, "GET", &format!("/api/qr?{query}"), None).await.expect(200);
        page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let (folder, tag) = (folder["id"].as_str().unwrap(), tag["id"].as_str().unwrap());
    for (query, expected) in [
        ("", vec!["Five", "four", "three", "Two", "One 100%"]),
        ("filter=active", vec!["four", "Two", "One 100%"]),
        ("filter=inactive", vec!["Five", "three"]),
        ("filter=expiring", vec!["four"]),
        ("filter=dynamic", vec!["Five", "four", "three"]),
        ("filter=static", vec!["Two", "One 100%"]),
        ("filter=archived", vec!["six"]),
        ("search=WOOL", vec!["three", "Two", "One 100%"]),
        ("search=0%25", vec!["One 100%"]),
        ("sort=name", vec!["Five", "four", "One 100%", "three", "Two"]),
        ("sort=updated", vec!["One 100%", "Five", "four", "three", "Two"]),
        (&format!("folderId={folder}"), vec!["One 100%"]),
        (&format!("tagId={tag}"), vec!["Two"]),
        (&format!("orgId={}&limit=2", org.id), vec!["Five", "four"]),
    ] {
        assert_eq!(names(query).await, expected, "{query}");
    }
    for sort in ["created", "updated", "name"] {
        let (mut found, mut query) = (vec![], format!("sort={sort}&limit=2"));
        loop {
            let page = app.owner(&org, "GET", &format!("/api/qr?{query}"), None).await.expect(200);
            let items = page["items"].as_array().unwrap();
            found.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
            let Some(next) = page["nextCursor"].as_str() else { break };
            query = format!("sort={sort}&limit=2&cursor={next}");
        }
        assert_eq!(found, names(&format!("sort={sort}")).await, "{sort}");
    }
    leads_to(&visit(&app, "b").await, SHOP);
    let summary = &app.owner(&org, "GET", "/api/qr?filter=archived", None).await.expect(200)["summary"];
    let expected = json!({"total": 5, "active": 3, "dynamic": 3, "static": 2, "archived": 1, "scans": 0});
    assert_eq!(*summary, expected);
    let other = app.org("other").await;
    app.owner(&other, "GET", &format!("/api/qr?orgId={}", org.id), None).await.expect(404);
}

#[tokio::test]
async fn changes_of_codes_are_events() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for dialect in ["inkode", "iloveqr", "qrstudio"] {
        app.endpoint(&org, dialect, "http://127.0.0.1:9/hook", &[]).await;
    }
    let link = link(&app, &org, "shop").await;
    let code = dynamic(&app, &org, json!({"name": "A", "shortCode": "a"})).await;
    let mut told = vec![];
    for (method, body) in [
        ("PATCH", Some(json!({"name": "B", "linkId": link["id"]}))),
        ("PATCH", Some(json!({"archived": true}))),
        ("PATCH", Some(json!({"archived": false}))),
        ("DELETE", None),
    ] {
        app.clock.advance(Duration::seconds(1));
        app.owner(&org, method, &path(&code), body).await;
    }
    let events: Vec<(String, String)> =
        sqlx::query_as("select type, data from events where type like '%qr%' order by created_at, type")
            .fetch_all(app.store.pool())
            .await
            .unwrap();
    told.extend(events.iter().map(|(event_type, _)| event_type.as_str()));
    let expected = [
        "dynamic_qr.created",
        "qr.created",
        "qr.created", // made
        "dynamic_qr.updated",
        "qr.updated",
        "qr.updated", // changed
        "dynamic_qr.updated",
        "qr.archived",
        "qr.updated", // put away
        "dynamic_qr.updated",
        "qr.restored",
        "qr.updated", // taken back
        "qr.deleted",
        "qr.deleted",
    ];
    assert_eq!(told, expected);
    let of = |n: usize| serde_json::from_str::<Value>(&events[n].1).unwrap();
    let changes = &of(3)["changes"];
    assert_eq!(changes["name"], json!({"old": "A", "new": "B"}));
    assert_eq!(changes["destination_url"], json!({"old": SHOP, "new": "https://shop.example/link"}));
    app.leaves_jobs("delivery.attempt");
}

#[tokio::test]
async fn a_plan_includes_so_many_dynamic_codes_and_any_number_of_others() {
    let app = TestApp::start().await;
    let org = TestOrg::make(&app, "small", domain::plan::Plan::Free).await;
    let codes = domain::plan::Plan::Free.includes(domain::plan::Quota::DynamicCodes).unwrap();
    let mut last = Value::Null;
    for _ in 0..codes {
        last = dynamic(&app, &org, json!({})).await;
    }
    let one_more = json!({"isDynamic": true, "content": {"url": SHOP}});
    let answer = app.owner(&org, "POST", "/api/qr", Some(one_more.clone())).await.expect(402);
    assert_eq!(
        (&answer["code"], &answer["limit"], &answer["used"]),
        (&json!("plan_limit"), &json!(codes), &json!(codes))
    );
    make(&app, &org, json!({"content": {"url": SHOP}})).await;
    change(&app, &org, &path(&last), json!({"archived": true})).await;
    app.owner(&org, "POST", "/api/qr", Some(one_more)).await.expect(201);
    app.owner(&org, "PATCH", &path(&last), Some(json!({"archived": false}))).await.expect(402);
}

#[tokio::test]
async fn a_repeated_create_is_one_code() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let bearer = format!("Bearer {}", org.session(&app));
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k1")];
    let body = json!({"isDynamic": true, "content": {"url": SHOP}, "shortCode": "a"}).to_string();
    let first = app.send("POST", "/api/qr", &headers, Some(body.clone())).await;
    let second = app.send("POST", "/api/qr", &headers, Some(body)).await;
    assert_eq!((first.status, second.status), (201, 201), "{}", second.text);
    assert_eq!((second.header("idempotency-replayed"), &second.json), (Some("true"), &first.json));
    let other = json!({"content": {"url": SHOP}}).to_string();
    assert_eq!(app.send("POST", "/api/qr", &headers, Some(other)).await.status, 409);
}
