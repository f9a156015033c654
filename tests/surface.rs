//! Whatever goes wrong is told in the shape of the surface that was asked: never as bare text, and never as a 500. Every
//! operation of the OpenAPI file is walked with everything that can be malformed.

pub mod walk;

use futures::future::join_all;
use serde_json::json;

use self::walk::{Ids, Operation, document, in_shape, operations, raw};
use crate::support::{Reply, TestApp};

async fn send(app: &TestApp, method: &str, path: &str, headers: &[(String, String)], body: Option<String>) -> Reply {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    app.send(method, path, &headers, body).await
}

#[track_caller]
fn check(operation: &Operation, what: &str, reply: &Reply, status: u16) {
    let Operation { method, path, .. } = operation;
    assert_eq!(reply.status, status, "{method} {path}, {what}: {}", reply.text);
    assert!(in_shape(path, reply), "{method} {path}, {what}: {:?} {}", reply.headers, reply.text);
}

#[tokio::test]
async fn an_unknown_route_is_told_in_the_words_of_its_surface() {
    let app = TestApp::start().await;
    for path in [
        "/",
        "/nothing",
        "/api",
        "/api/webhooks",
        "/api/webhooks/endpoints/a/b/c",
        "/v1/webhook_endpoint",
        "/api/v1/event",
        "/api/v1/organizations",
        "/api/v1/organizations/org_1",
        "/api/v1/organizations/org_1/webhooks/wh_1/x",
        "/api/v1/webhook",
        "/api/v1/webhook/endpoints/",
        "/api/v1/webhook/things",
        "/api/v1/webhooks/1/2/3/",
        "/%00",
        "/%ff%fe",
        "/..%2f..%2fetc/passwd",
        "//",
        "/api//webhooks//endpoints",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let reply = send(&app, method, path, &[], (method == "POST").then(|| "{".into())).await;
            assert_eq!(reply.status, 404, "{method} {path}: {}", reply.text);
            assert!(in_shape(path, &reply), "{method} {path}: {}", reply.text);
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_with_those_that_there_are() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let document = document();
    for operation in operations(&document) {
        let has: Vec<String> = document["paths"][&operation.path]
            .as_object()
            .unwrap()
            .keys()
            .map(|method| method.to_uppercase())
            .collect();
        let path = operation
            .path
            .replace("{id}", "1")
            .replace("{org_id}", "1")
            .replace("{orgId}", "1")
            .replace("{webhook_id}", "1");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            if has.iter().any(|known| known == method) {
                continue;
            }
            let reply = send(&app, method, &path, &operation.proof(&app, &org), None).await;
            check(&operation, method, &reply, 405);
            let mut allow: Vec<&str> = reply.header("allow").unwrap().split(", ").collect();
            allow.sort_unstable();
            let mut has = has.clone();
            has.sort_unstable();
            assert_eq!(allow, has, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_request_without_proof_is_refused_before_anything_else_is_looked_at() {
    let app = TestApp::start().await;
    for operation in operations(&document()) {
        if operation.description["security"].as_array().is_none_or(Vec::is_empty) {
            continue;
        }
        let path = operation
            .path
            .replace("{id}", "%00")
            .replace("{org_id}", "1")
            .replace("{orgId}", "1")
            .replace("{webhook_id}", "1");
        let body = operation.takes_body().then(|| "{".to_owned());
        let reply = send(&app, &operation.method, &path, &[], body).await;
        check(&operation, "without proof", &reply, 401);
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
}

#[tokio::test]
async fn an_id_that_is_none_is_not_found() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (own, long) = (org.id.to_string(), "x".repeat(3000));
    let unknown = "we_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    for operation in operations(&document()).iter().filter(|operation| operation.path.contains('{')) {
        for id in ["x", "%00", "%ff", "%E2%82%AC", "we_", unknown, "-1", "9999999999999999999999", &long] {
            let path = operation.path.replace("{id}", id).replace("{webhook_id}", id);
            // Where the organisation's id is the only one, it is the wrong one.
            let path = path.replace("{orgId}", id);
            let path = path.replace("{org_id}", if operation.path.matches('{').count() == 1 { id } else { &own });
            let body = operation.takes_body().then(|| operation.good_body().to_string());
            let reply = send(&app, &operation.method, &path, &operation.proof(&app, &org), body).await;
            // InkLink documents 500 for this route, not found and no permission alike; `%ff` is no path at all.
            let status = if operation.id == "rotateInklinkSecret" && id != "%ff" { 500 } else { 404 };
            check(operation, id, &reply, status);
        }
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_told_as_such() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let ids = Ids::make(&app, &org).await;
    for operation in operations(&document()).iter().filter(|operation| operation.takes_body()) {
        let path = ids.fill(&operation.path);
        let proof = operation.proof(&app, &org);
        let deep = format!(r#"{{"unknown": {}}}"#, "[".repeat(100_000));
        for body in [
            "{",
            "{]",
            r#"{"a": }"#,
            "{}{}",
            "[]",
            r#"[{"url": "x"}]"#,
            r#""text""#,
            "7",
            "null",
            "nul",
            "\u{feff}{}",
            "a=1&b=2",
            "<a/>",
            r#"{"a": 1e999}"#,
            "{\"a\": \"\u{0}\"}",
            r#"{"a": "\ud800"}"#,
            &deep,
        ] {
            let start: String = body.chars().take(40).collect();
            let reply = send(&app, &operation.method, &path, &proof, Some(body.to_owned())).await;
            // A member that nobody wants is read past, whatever is in it.
            let read_past = body.contains("ud800") || body.contains("e999");
            if read_past && reply.status < 400 {
                continue;
            }
            check(operation, &start, &reply, 400);
        }
        let json = |value: &str| [proof.clone(), vec![("Content-Type".to_owned(), value.to_owned())]].concat();
        let head = format!("{} {path}", operation.method);
        let reply = raw(&app, &head, &json("application/json"), b"{\"a\": \"\xff\xfe\"}").await;
        check(operation, "invalid UTF-8", &reply, 400);
        for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json", "", "*/*"] {
            let reply = raw(&app, &head, &json(media_type), ids.body(operation).to_string().as_bytes()).await;
            check(operation, media_type, &reply, 415);
        }
        let reply = raw(&app, &head, &proof, ids.body(operation).to_string().as_bytes()).await;
        check(operation, "no content type", &reply, 415);
        let required = operation.description["requestBody"]["required"] == true;
        if required {
            let reply = raw(&app, &head, &json("application/json"), b"").await;
            check(operation, "an empty body", &reply, 400);
        }
    }
    app.leaves_jobs("delivery.attempt");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let ids = Ids::make(&app, &org).await;
    for operation in operations(&document()).iter().filter(|operation| operation.takes_body()) {
        let most = match operation.id.as_str() {
            "publishEvent" => 256 * 1024,
            "publishEvents" | "changeLinks" | "changeQrCodes" | "createImport" => 8 * 1024 * 1024,
            _ => 1024 * 1024,
        };
        let path = ids.fill(&operation.path);
        let proof = operation.proof(&app, &org);
        let good = ids.body(operation).to_string();
        let of = |bytes: usize| format!("{good}{}", " ".repeat(bytes - good.len()));
        let reply = send(&app, &operation.method, &path, &proof, Some(of(most + 1))).await;
        check(operation, "one byte too many", &reply, 413);
        let reply = send(&app, &operation.method, &path, &proof, Some(of(most))).await;
        assert!(reply.status < 300, "{} {path}: {}", operation.method, reply.text);
    }
    app.leaves_jobs("delivery.attempt");
}

#[tokio::test]
async fn a_member_of_a_wrong_type_is_named_and_never_a_500() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let ids = Ids::make(&app, &org).await;
    let document = document();
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}"),
        json!("a\u{0}b"),
        json!("x".repeat(5000)),
        json!("9999-99-99T99:99:99Z"),
        json!([]),
        json!([null]),
        json!(["\u{0}"]),
        json!([[[]]]),
        json!({}),
        json!({"a": {"b": []}}),
        json!({"active": null}),
    ];
    let mut tried = 0;
    for operation in operations(&document).iter().filter(|operation| operation.takes_body()) {
        let path = ids.fill(&operation.path);
        let proof = operation.proof(&app, &org);
        let members = operation.members(&document);
        assert!(!members.is_empty(), "no members in the body of {}", operation.id);
        for member in members {
            let calls = values.iter().map(|value| {
                let mut body = ids.body(operation);
                body[&member] = value.clone();
                send(&app, &operation.method, &path, &proof, Some(body.to_string()))
            });
            for (reply, value) in join_all(calls).await.into_iter().zip(&values) {
                tried += 1;
                if reply.status < 300 {
                    continue;
                }
                let what = format!("{member} = {value}").chars().take(60).collect::<String>();
                // What the value is for decides; a replay to a paused endpoint is a conflict.
                // A password that is none is tried all the same, and only so often.
                let tried = operation.id == "openProtectedCode" && [401, 404, 429].contains(&reply.status);
                let status = if reply.status == 409 || tried { reply.status } else { 400 };
                check(operation, &what, &reply, status);
                assert!(
                    status != 400 || reply.text.contains(&member),
                    "{} {path}, {what}: {}",
                    operation.method,
                    reply.text
                );
            }
        }
    }
    assert!(tried > 500, "{tried}");
    app.leaves_jobs("delivery.attempt");
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_named_and_never_a_500() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let ids = Ids::make(&app, &org).await;
    let mut tried = 0;
    for operation in operations(&document()) {
        let path = ids.fill(&operation.path);
        let proof = operation.proof(&app, &org);
        let body = || operation.takes_body().then(|| ids.body(&operation).to_string());
        for name in operation.query() {
            for value in
                ["", "0", "-1", "1.5", "99999999999999999999", "x", "%00", "%ff", "%E2%82%AC", "null", "[]", "a&b=c"]
            {
                tried += 1;
                let reply = send(&app, &operation.method, &format!("{path}?{name}={value}"), &proof, body()).await;
                if reply.status == 404 && path.contains("rpl_") {
                    continue;
                }
                // Moved to its bounds and not refused.
                let moved = operation.path.starts_with("/api/canva/") && ["limit", "size"].contains(&&*name);
                if moved && value.parse::<i64>().is_ok() {
                    assert_eq!(reply.status, 200, "{path}?{name}={value}: {}", reply.text);
                    continue;
                }
                // Any text can be searched for, if Postgres can keep it.
                if name == "search" && value != "%00" {
                    assert_eq!(reply.status, 200, "{path}?{name}={value}: {}", reply.text);
                    continue;
                }
                check(&operation, &format!("{name}={value}"), &reply, 400);
                assert!(reply.text.contains(&name), "{path}?{name}={value}: {}", reply.text);
            }
            // Twice the same, and what nobody asked for.
            for query in
                [format!("{name}=1&{name}=1"), "unknown=1&%00=%00".to_owned(), "&&&===".to_owned(), "%".to_owned()]
            {
                let reply = send(&app, &operation.method, &format!("{path}?{query}"), &proof, body()).await;
                assert!(reply.status < 500, "{path}?{query}: {}", reply.text);
                assert!(reply.status < 300 || in_shape(&operation.path, &reply), "{path}?{query}: {}", reply.text);
            }
        }
    }
    assert!(tried > 100, "{tried}");
    app.leaves_jobs("delivery.attempt");
}

#[tokio::test]
async fn head_is_answered_as_get_without_a_body() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let ids = Ids::make(&app, &org).await;
    for operation in operations(&document()).iter().filter(|operation| operation.method == "GET") {
        let path = ids.fill(&operation.path);
        let proof = operation.proof(&app, &org);
        let get = send(&app, "GET", &path, &proof, None).await;
        let head = send(&app, "HEAD", &path, &proof, None).await;
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
    }
    app.leaves_jobs("delivery.attempt");
    app.leaves_jobs("codes.expire");
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let key = org.key("inkr_");
    let bearer = format!("Bearer {key}");
    for (path, headers) in [
        ("/v1/events", vec![("authorization", bearer.as_str())]),
        ("/v1/events", vec![]),
        ("/nothing", vec![]),
        ("/healthz", vec![]),
    ] {
        let reply = app.send("GET", path, &headers, None).await;
        let made = reply.header("x-request-id").unwrap();
        assert!(made.starts_with("req_") && made.len() == 24, "{made}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        let own = app.send("GET", path, &[headers.clone(), vec![("x-request-id", "mine-1.2_3")]].concat(), None).await;
        assert_eq!(own.header("x-request-id"), Some("mine-1.2_3"));
        // What could break a log line or a header is not taken over.
        for odd in ["", "with space", &"x".repeat(65), "a;b", "ü"] {
            let own = app.send("GET", path, &[headers.clone(), vec![("x-request-id", odd)]].concat(), None).await;
            assert!(own.header("x-request-id").unwrap().starts_with("req_"), "{odd}");
        }
    }
}
