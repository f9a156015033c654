//! Barcodes: made in any spelling, refused with the rule they break, and drawn so that a scanner of others reads them.

use std::{
    env,
    io::Write,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::Duration;
use domain::barcode::Kind;
use serde_json::{Value, json};

use crate::support::{Reply, TestApp, TestOrg};

async fn make(app: &TestApp, org: &TestOrg, body: Value) -> Value {
    let made = app.owner(org, "POST", "/api/barcode", Some(body)).await.expect(201);
    // The next one is newer.
    app.clock.advance(Duration::milliseconds(1));
    made
}

fn path(barcode: &Value) -> String {
    format!("/api/barcode/{}", barcode["id"].as_str().unwrap())
}

async fn picture(app: &TestApp, org: &TestOrg, barcode: &Value, query: &str, known: &str) -> Reply {
    let auth = format!("Bearer {}", org.session(app));
    let headers = [("authorization", &*auth), ("if-none-match", known)];
    app.send("GET", &format!("{}/image?{query}", path(barcode)), &headers, None).await
}

/// What a decoder that is not ours reads in pictures of `(type, format, bytes)`.
fn scanned(pictures: &[(String, &str, Vec<u8>)]) -> Vec<Option<String>> {
    let python = env::var_os("INKFLEET_TEST_PYTHON")
        .expect("INKFLEET_TEST_PYTHON is not set: run the tests by bin/test, which prepares the decoder");
    let jobs: Vec<Value> = pictures
        .iter()
        .map(|(kind, format, bytes)| json!({"type": kind, "format": format, "picture": STANDARD.encode(bytes)}))
        .collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/images/barcode.py");
    let mut child =
        Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts");
    child.stdin.take().unwrap().write_all(json!(jobs).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the decoder failed; its message is above");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_barcode_is_shown_as_it_was_made() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let folder = app.owner(&org, "POST", "/api/folders", Some(json!({"name": "Campaigns"}))).await.expect(201);
    let tag = app.owner(&org, "POST", "/api/tags", Some(json!({"name": "summer"}))).await.expect(201);
    let integration = json!({"provider": "shopify", "externalId": "42", "url": "https://shop.example/products/42"});
    let body = json!({
        "type": "ean13", "value": "4006381-33393", "name": "Pencil", "style": {"foreground": "#102030", "barHeight": 60},
        "folderId": folder["id"], "tagIds": [tag["id"]], "integration": integration,
    });
    let made = make(&app, &org, body).await;
    let mut expected = json!({
        "id": made["id"], "name": "Pencil", "type": "EAN_13", "value": "4006381333931",
        "style": {"foreground": "#102030", "background": "#ffffff", "quietZone": 11, "barHeight": 60},
        "active": true, "folderId": folder["id"], "tagIds": [tag["id"]], "integration": integration,
        "createdBy": {"id": org.owner.to_string(), "name": "owner", "email": "owner@acme.example"},
        "archived": false, "locked": false, "createdAt": "2026-03-02T12:00:00.000Z",
        "updatedAt": "2026-03-02T12:00:00.000Z",
    });
    expected["integration"]["linkedAt"] = "2026-03-02T12:00:00.000Z".into();
    assert_eq!(made, expected);
    assert_eq!(app.owner(&org, "GET", &path(&made), None).await.expect(200), expected);
    expected.as_object_mut().unwrap().remove("createdBy");
    assert_eq!(app.owner(&org, "GET", "/api/barcode", None).await.expect(200)["items"], json!([expected]));
}

#[tokio::test]
async fn types_are_taken_in_any_spelling_and_numbers_get_their_check_digit() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for (given, value, kind, stored) in [
        ("EAN-13", "400638133393", "EAN_13", "4006381333931"),
        ("ean_13", "978 3 16 148410 0", "EAN_13", "9783161484100"),
        ("EAN 8", "9638507", "EAN_8", "96385074"),
        ("upca", "03600029145", "UPC_A", "036000291452"),
        ("UPC-E", "425261", "UPC_E", "04252614"),
        ("UPC-E", "1234567", "UPC_E", "12345670"),
        ("upce", "04252614", "UPC_E", "04252614"),
        ("Interleaved 2 of 5", "123456", "ITF", "123456"),
        ("itf14", "1540014128876", "ITF_14", "15400141288763"),
        ("codabar", "40156", "CODABAR", "A40156A"),
        ("NW-7", "b40156c", "CODABAR", "B40156C"),
        ("code128", "Ink \t42", "CODE_128", "Ink \t42"),
        ("Code 39", "INK-42", "CODE_39", "INK-42"),
        ("Data Matrix", "naïve", "DATA_MATRIX", "naïve"),
        ("pdf417", "日本語", "PDF_417", "日本語"),
        ("aztec", "€ 🙂", "AZTEC", "€ 🙂"),
    ] {
        let made = make(&app, &org, json!({"type": given, "value": value})).await;
        assert_eq!((&made["type"], &made["value"]), (&json!(kind), &json!(stored)), "{given} {value}");
    }
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_barcode_is_named_at_once() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let refused = async |body: Value| app.owner(&org, "POST", "/api/barcode", Some(body)).await.expect(400);
    let body = json!({
        "type": "EAN_13", "value": "4006381333930", "name": "ä".repeat(201),
        "style": {"foreground": "black", "background": "#fff", "quietZone": 61, "barHeight": 14}, "folderId": "fld_x",
        "integration": {"provider": "Shop", "externalId": "", "url": "javascript:alert(1)"}, "tagIds": ["tag_x"],
    });
    let answer = refused(body).await;
    let named: Vec<&str> = answer["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    let fields = [
        "name",
        "style.foreground",
        "style.background",
        "style.quietZone",
        "style.barHeight",
        "folderId",
        "integration.provider",
        "integration.externalId",
        "integration.url",
        "tagIds[0]",
        "value",
    ];
    assert_eq!(named, fields, "{answer}");
    assert_eq!(answer["errors"][10]["message"], "has a wrong check digit: 4006381333931 would be right");
    for (kind, value, rule) in [
        ("EAN_8", "96385075", "96385074 would be right"),
        ("UPC_A", "036000291453", "036000291452 would be right"),
        ("UPC_E", "04252615", "04252614 would be right"),
        ("UPC_E", "24252614", "number system 0 or 1"),
        ("ITF_14", "15400141288764", "15400141288763 would be right"),
        ("EAN_13", "40063813339", "12 digits, or 13 with the check digit"),
        ("EAN_13", "40063813339x", "12 digits, or 13"),
        ("ITF", "12345", "an even number of digits"),
        ("CODE_39", "ink", "capital letters"),
        ("CODE_128", "ü", "ASCII"),
        ("CODE_128", &"x".repeat(81), "1 to 80 characters"),
        ("CODABAR", "A4", "A to D"),
        ("CODABAR", "A40156", "A to D"),
        ("DATA_MATRIX", "€", "Latin-1"),
        ("AZTEC", "", "1 to 2000 characters"),
    ] {
        let answer = refused(json!({"type": kind, "value": value})).await;
        assert_eq!(answer["errors"][0]["field"], "value", "{kind} {value}: {answer}");
        assert!(answer["errors"][0]["message"].as_str().unwrap().contains(rule), "{kind} {value}: {answer}");
    }
    assert_eq!(refused(json!({"type": "MaxiCode", "value": "1"})).await["errors"][0]["field"], "type");
}

#[tokio::test]
async fn what_no_scanner_would_read_is_refused_as_unsupported() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let style = |foreground: &str, background: &str| json!({"foreground": foreground, "background": background});
    for (field, body) in [
        ("style", json!({"type": "EAN_8", "value": "9638507", "style": style("#c8c8c8", "#ffffff")})),
        // Light on dark.
        ("style", json!({"type": "EAN_8", "value": "9638507", "style": style("#ffffff", "#000000")})),
        // Red bars on white are none in the red light of a scanner.
        ("style", json!({"type": "EAN_8", "value": "9638507", "style": style("#e00000", "#ffffff")})),
        ("value", json!({"type": "AZTEC", "value": "ä€".repeat(1000)})),
        ("value", json!({"type": "PDF_417", "value": "日".repeat(2000)})),
    ] {
        let answer = app.owner(&org, "POST", "/api/barcode", Some(body)).await.expect(422);
        assert_eq!(answer["code"], "unsupported_value");
        assert_eq!(answer["errors"][0]["field"], field, "{answer}");
    }
    let made = make(&app, &org, json!({"type": "CODE_39", "value": "X".repeat(80)})).await;
    let answer = picture(&app, &org, &made, "size=300", "").await.expect(422);
    assert_eq!(
        answer["errors"][0]["message"],
        "must be at least 1085, a pixel for each module; or ask for an SVG or PDF"
    );
    assert_eq!(picture(&app, &org, &made, "size=1085", "").await.status, 200);
    assert_eq!(picture(&app, &org, &made, "size=300&format=svg", "").await.status, 200);
    for query in ["size=63", "size=4097", "size=x", "format=gif"] {
        picture(&app, &org, &made, query, "").await.expect(400);
    }
}

/// Values of every kind: the plainest, one that uses what the kind has, and a long one.
fn samples(kind: Kind) -> Vec<String> {
    let texts: &[&str] = match kind {
        Kind::Ean13 => &["4006381333931", "0000000000000", "9783161484100"],
        Kind::Ean8 => &["96385074", "00000000", "73513537"],
        Kind::UpcA => &["036000291452", "123456789012", "012345678905"],
        Kind::UpcE => &["04252614", "12345670", "01234505", "01234531", "01234543", "01234596"],
        Kind::Code128 => &["INK-42", "\t~ {}\u{1}\u{7f}", "12345678901234567890", "aB\u{1d}0101234567890128"],
        Kind::Code39 => &["INK", "A-Z. 0/1+2%3$4", "THE QUICK BROWN FOX"],
        Kind::Code93 => &["INK", "Straight ~{}`\u{1}\u{7f}", "THE QUICK BROWN FOX 0123456789"],
        Kind::Itf => &["1234", "123456", "00112233445566778899"],
        Kind::Itf14 => &["15400141288763", "00012345678905"],
        Kind::Codabar => &["A40156A", "B$1-2:3/4.5+6D", "C12D"],
        Kind::DataMatrix => &["I", "naïve café ÿ", "0123456789012345678901234567890123456789"],
        Kind::Pdf417 => &["I", "日本語 🙂", "01234567890123456789012345678901234567890123"],
        Kind::Aztec => &["I", "日本語 🙂", "01234567890123456789012345678901234567890123"],
    };
    let mut samples: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
    // Code 93 spells small letters and most signs with two characters.
    let long = if kind == Kind::Code93 { 40 } else { 80 };
    let printable: String = (' '..='~').cycle().take(if kind.has_bars() { long } else { 1000 }).collect();
    if [Kind::Code128, Kind::Code93, Kind::DataMatrix, Kind::Pdf417, Kind::Aztec].contains(&kind) {
        samples.push(printable);
    }
    samples
}

#[tokio::test]
async fn every_type_is_read_by_a_scanner_that_is_not_ours() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (mut pictures, mut values) = (vec![], vec![]);
    let styles = [
        json!({}),
        json!({"foreground": "#1a237e", "background": "#fff8e1", "quietZone": 30, "barHeight": 15}),
        json!({"background": "#d8d8d8", "barHeight": 100}),
    ];
    for kind in Kind::ALL {
        for (n, value) in samples(kind).into_iter().enumerate() {
            let style = &styles[n % styles.len()];
            let made = make(&app, &org, json!({"type": kind.name(), "value": value, "style": style})).await;
            assert_eq!(made["value"], value);
            for (format, query) in
                [("png", "size=2000"), ("png", "size=1437"), ("svg", "format=svg"), ("pdf", "format=pdf")]
            {
                let drawn = picture(&app, &org, &made, query, "").await;
                assert_eq!(drawn.status, 200, "{}", drawn.text);
                pictures.push((kind.name().to_owned(), format, drawn.bytes));
                values.push(format!("{} {format} {value:?}", kind.name()));
            }
        }
    }
    let read = scanned(&pictures);
    for ((sample, (kind, format, _)), read) in values.iter().zip(&pictures).zip(read) {
        let said = read.map(|read| format!("{kind} {format} {read:?}"));
        assert_eq!(said.as_ref(), Some(sample));
    }
    assert!(pictures.len() > 120);
}

#[tokio::test]
async fn a_picture_is_asked_for_again_only_when_it_is_another() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let made = make(&app, &org, json!({"type": "AZTEC", "value": "ink"})).await;
    let first = picture(&app, &org, &made, "", "").await;
    let etag = first.header("etag").unwrap().to_owned();
    assert_eq!((first.status, first.header("content-type")), (200, Some("image/png")));
    assert_eq!(first.header("cache-control"), Some("private, no-cache"));
    assert!(etag.starts_with('"') && first.bytes.starts_with(b"\x89PNG"));
    assert_eq!(first.bytes[16..24], [800_u32.to_be_bytes(), 800_u32.to_be_bytes()].concat());
    for known in [&etag, &format!("\"x\", W/{etag}"), "*"] {
        let again = picture(&app, &org, &made, "", known).await;
        assert_eq!((again.status, again.header("etag"), again.bytes.len()), (304, Some(&*etag), 0), "{known}");
    }
    for (query, known) in [("", "\"x\""), ("size=801", &*etag), ("format=svg", &*etag), ("format=pdf", &*etag)] {
        assert_eq!(picture(&app, &org, &made, query, known).await.status, 200, "{query} {known}");
    }
    app.owner(&org, "PATCH", &path(&made), Some(json!({"value": "pen"}))).await.expect(200);
    assert_eq!(picture(&app, &org, &made, "", &etag).await.status, 200);
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_null_takes_away() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let style = json!({"foreground": "#102030", "quietZone": 20, "barHeight": 60});
    let integration = json!({"provider": "square", "externalId": "7"});
    let body = json!({"type": "UPC_A", "value": "036000291452", "style": style, "integration": integration});
    let before = make(&app, &org, body).await;
    app.clock.advance(Duration::minutes(1));
    let change = async |body: Value| app.owner(&org, "PATCH", &path(&before), Some(body)).await;
    let mut expected = before.clone();
    expected["updatedAt"] = "2026-03-02T12:01:00.001Z".into();
    assert_eq!(change(json!({})).await.expect(200), expected);
    expected["style"]["foreground"] = "#000000".into();
    expected["integration"]["url"] = "https://square.example/7".into();
    let body = json!({"style": {"foreground": null}, "integration": {"provider": "square", "externalId": "7",
                      "url": "https://square.example/7"}});
    assert_eq!(change(body).await.expect(200), expected);
    // Twelve digits are a whole UPC-A and an EAN-13 that lacks its check digit.
    let refused = change(json!({"type": "EAN_13"})).await.expect(400);
    assert_eq!(refused["errors"][0]["field"], "value", "{refused}");
    let after =
        change(json!({"type": "CODE_128", "style": null, "integration": null, "active": false})).await.expect(200);
    let plain = json!({"foreground": "#000000", "background": "#ffffff", "quietZone": 10, "barHeight": 40});
    assert_eq!((&after["value"], &after["style"]), (&before["value"], &plain));
    assert!(after.get("integration").is_none() && after["active"] == false, "{after}");
    assert_eq!(app.owner(&org, "DELETE", &path(&before), None).await.status, 204);
    app.owner(&org, "GET", &path(&before), None).await.expect(404);
}

#[tokio::test]
async fn a_list_is_narrowed_by_search_type_folder_tag_and_state_and_turned_page_by_page() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let folder = app.owner(&org, "POST", "/api/folders", Some(json!({"name": "F"}))).await.expect(201);
    let tag = app.owner(&org, "POST", "/api/tags", Some(json!({"name": "T"}))).await.expect(201);
    let with = |name: &str, more: Value| {
        let mut body = json!({"type": "CODE_128", "value": format!("v-{name}"), "name": name});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    make(&app, &org, with("one", json!({"folderId": folder["id"]}))).await;
    make(&app, &org, with("two", json!({"tagIds": [tag["id"]]}))).await;
    make(&app, &org, with("three", json!({"active": false}))).await;
    make(&app, &org, with("four", json!({"integration": {"provider": "shopify", "externalId": "SKU_9"}}))).await;
    make(&app, &org, with("five", json!({"type": "AZTEC"}))).await;
    let put_away = make(&app, &org, with("six", json!({}))).await;
    app.owner(&org, "PATCH", &path(&put_away), Some(json!({"archived": true}))).await.expect(200);
    let names = async |query: &str| -> (Vec<String>, Option<String>) {
        let page = app.owner(&org, "GET", &format!("/api/barcode?{query}"), None).await.expect(200);
        let names = page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned());
        (names.collect(), page["nextCursor"].as_str().map(str::to_owned))
    };
    for (query, expected) in [
        ("", vec!["five", "four", "three", "two", "one"]),
        ("filter=active", vec!["five", "four", "two", "one"]),
        ("filter=inactive", vec!["three"]),
        ("filter=archived", vec!["six"]),
        ("search=V-T", vec!["three", "two"]),
        ("search=sku_9", vec!["four"]),
        ("search=%25", vec![]),
        ("type=aztec", vec!["five"]),
        ("type=PDF_417", vec![]),
        (&format!("folderId={}", folder["id"].as_str().unwrap()), vec!["one"]),
        (&format!("tagId={}", tag["id"].as_str().unwrap()), vec!["two"]),
        (&format!("orgId={}&limit=2", org.id), vec!["five", "four"]),
    ] {
        assert_eq!(names(query).await.0, expected, "{query}");
    }
    let (mut found, mut next) = names("limit=2").await;
    while let Some(cursor) = next {
        let (more, after) = names(&format!("limit=2&cursor={cursor}")).await;
        found.extend(more);
        next = after;
    }
    assert_eq!(found, ["five", "four", "three", "two", "one"]);
    app.owner(&org, "GET", "/api/barcode?type=maxicode", None).await.expect(400);
}

#[tokio::test]
async fn subscribers_are_told_of_every_change_of_a_barcode() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    app.endpoint(&org, "inkode", "http://127.0.0.1:9/hook", &[]).await;
    let made = make(&app, &org, json!({"type": "CODE_39", "value": "INK", "name": "Box"})).await;
    app.owner(&org, "PATCH", &path(&made), Some(json!({"value": "INK-2"}))).await.expect(200);
    app.clock.advance(Duration::milliseconds(1));
    app.owner(&org, "PATCH", &path(&made), Some(json!({"style": {"barHeight": 50}}))).await.expect(200);
    app.clock.advance(Duration::milliseconds(1));
    assert_eq!(app.owner(&org, "DELETE", &path(&made), None).await.status, 204);
    let events: Vec<(String, String)> =
        sqlx::query_as("select type, data from events order by id").fetch_all(app.store.pool()).await.unwrap();
    let types: Vec<&str> = events.iter().map(|(of, _)| of.as_str()).collect();
    assert_eq!(types, ["barcode.created", "barcode.updated", "barcode.deleted"], "how it is drawn is no event");
    let created: Value = serde_json::from_str(&events[0].1).unwrap();
    assert_eq!((&created["id"], &created["type"], &created["value"]), (&made["id"], &json!("CODE_39"), &json!("INK")));
    let updated: Value = serde_json::from_str(&events[1].1).unwrap();
    assert_eq!(updated["value"], "INK-2");
    assert!(updated["changes"].to_string().contains("value"), "{updated}");
    app.leaves_jobs("delivery.attempt");
}
