//! The rules that an endpoint must keep to, told field by field, whoever breaks them when.

use std::net::IpAddr;

use domain::address::{LookUp, Resolve};
use serde_json::json;

use super::{ENDPOINTS, owner, path_of};
use crate::support::TestApp;

#[tokio::test]
async fn what_is_wrong_with_an_endpoint_is_named_and_nothing_is_stored() {
    let app = TestApp::build().https_only().start().await;
    let org = app.org("acme").await;
    let auth = owner(&app, &org);
    let good = json!({"url": "https://127.0.0.1/"});
    let made = app.post(ENDPOINTS, &auth, good.clone()).await.expect(201);
    let long_url = format!("https://127.0.0.1/{}", "x".repeat(2000));
    for (field, value, named) in [
        ("url", json!("http://127.0.0.1/"), "url"),
        ("url", json!("ftp://127.0.0.1/"), "url"),
        ("url", json!("127.0.0.1"), "url"),
        ("url", json!(""), "url"),
        ("url", json!("https://user:secret@127.0.0.1/"), "url"),
        ("url", json!("https://127.0.0.1/#there"), "url"),
        ("url", json!("https://127.0.0.1/\u{0}"), "url"),
        ("url", json!(long_url), "url"),
        ("url", json!(7), "url"),
        ("name", json!("x".repeat(201)), "name"),
        ("name", json!("a\u{0}b"), "name"),
        ("name", json!({}), "name"),
        ("eventTypes", json!([]), "eventTypes"),
        ("eventTypes", json!("qr.created"), "eventTypes"),
        ("eventTypes", json!([7]), "eventTypes[0]"),
        ("eventTypes", json!(["qr.created", "qr.created"]), "eventTypes[1]"),
        ("eventTypes", json!(["qr.created\u{0}"]), "eventTypes[0]"),
        ("enabled", json!("yes"), "enabled"),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let refused = app.post(ENDPOINTS, &auth, body).await.expect(400);
        assert_eq!(refused["errors"][0]["field"], named, "{field}: {value}");
        let change = json!({field: value});
        let refused = app.call("PATCH", &path_of(&made), &auth, Some(change)).await.expect(400);
        assert_eq!(refused["errors"][0]["field"], named, "{field}: {value}");
    }
    for secret in ["short", &"x".repeat(256), "thirty-two characters, and a ü..", "\u{0}"] {
        let body = json!({"url": "https://127.0.0.1/", "secret": secret});
        let refused = app.post(ENDPOINTS, &auth, body).await.expect(400);
        assert_eq!(refused["errors"][0]["field"], "secret");
        assert!(secret.len() < 5 || !refused.to_string().contains(secret), "an answer never repeats a secret");
    }
    let page = app.get(ENDPOINTS, &auth).await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!(page["items"][0]["updatedAt"], made["updatedAt"]);
}

/// Knows four names.
struct Names;

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> LookUp<'a> {
        let answer: &[&str] = match host {
            "public.example" => &["93.184.215.14"],
            "inside.example" => &["10.0.0.5"],
            "both.example" => &["93.184.215.14", "fd00::1"],
            _ => &[],
        };
        let addresses: Vec<IpAddr> = answer.iter().map(|text| text.parse().unwrap()).collect();
        Box::pin(async move { Ok(addresses) })
    }
}

#[tokio::test]
async fn an_endpoint_inside_is_refused_when_made_and_when_moved() {
    let app = TestApp::build().guarded(Names).start().await;
    let org = app.org("acme").await;
    let auth = owner(&app, &org);
    let made = app.post(ENDPOINTS, &auth, json!({"url": "https://public.example/"})).await.expect(201);
    for (host, ip) in [
        ("inside.example", "10.0.0.5"),
        ("both.example", "fd00::1"),
        ("127.1", "127.0.0.1"),
        ("[::ffff:192.168.0.1]", "::ffff:192.168.0.1"),
        ("localhost", "127.0.0.1"),
    ] {
        let url = format!("https://{host}/");
        let made_there = app.post(ENDPOINTS, &auth, json!({"url": url})).await.expect(400);
        let moved = app.call("PATCH", &path_of(&made), &auth, Some(json!({"url": url}))).await.expect(400);
        for refused in [made_there, moved] {
            let message = format!("refusing to register webhook: resolves to private/internal IP {ip}");
            assert_eq!(refused["errors"], json!([{"field": "url", "message": message}]));
        }
    }
    let refused = app.post(ENDPOINTS, &auth, json!({"url": "https://nobody.example/"})).await.expect(400);
    assert_eq!(
        refused["errors"][0]["message"],
        "refusing to register webhook: host name nobody.example has no address"
    );
    assert_eq!(app.get(&path_of(&made), &auth).await.expect(200)["url"], "https://public.example/");
}
