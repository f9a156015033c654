//! From which pages conversions are taken, and what a browser is told of it.

use serde_json::{Value, json};

use super::{PATH, SHOP, link, of, stats, tell};
use crate::support::{TestApp, TestOrg};

const ORIGINS: &str = "/api/conversion-origins";

#[tokio::test]
async fn pages_tell_conversions_if_the_link_leads_to_them_or_the_workspace_allows_them() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let conditions = json!([{"attribute": "language", "values": ["de"]}]);
    let routing = json!({
        "rules": [{"conditions": conditions, "destination": "http://de.example:81/"}],
        "variants": [{"id": "a", "destination": "https://A.example:443/", "weight": 1}],
    });
    let link = link(&app, &org, json!({"routing": routing, "fallbackDestination": "https://fallback.example/"})).await;
    let allowed = json!({"origins": ["http://localhost:3000"]});
    app.owner(&org, "PUT", ORIGINS, Some(allowed)).await.expect(200);
    let body = of(&org, &link, json!({}));
    for origin in
        [SHOP, "http://de.example:81", "https://a.example", "https://fallback.example", "http://localhost:3000"]
    {
        let told = tell(&app, &body, &[("origin", origin)]).await;
        assert_eq!((told.status, told.header("access-control-allow-origin")), (201, Some(origin)), "{}", told.text);
        assert_eq!(told.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(told.header("vary"), Some("Origin"));
    }
    for origin in [
        "https://evil.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://sub.shop.example",
        "https://shop.example.evil.example",
        "https://shop.example/",
        "http://localhost",
        "null",
        "",
    ] {
        let refused = tell(&app, &body, &[("origin", origin)]).await;
        assert_eq!((refused.status, &refused.json["code"]), (403, &json!("origin_not_allowed")), "{origin}");
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        assert_eq!(refused.header("access-control-allow-origin"), None, "{origin}");
        assert_eq!((refused.header("set-cookie"), refused.header("vary")), (None, Some("Origin")));
    }
    let server = tell(&app, &body, &[]).await;
    assert_eq!((server.status, server.header("access-control-allow-origin")), (201, None));
    assert_eq!(stats(&app, &org, &link).await["conversions"][0]["count"], 6);
    // What fails before the page is known cannot be read there.
    let wrong = tell(&app, &of(&org, &link, json!({"step": ""})), &[("origin", SHOP)]).await;
    assert_eq!((wrong.status, wrong.header("access-control-allow-origin")), (400, None));
}

#[tokio::test]
async fn a_browser_is_told_what_it_may_send_before_it_sends() {
    let app = TestApp::start().await;
    for origin in [SHOP, "https://anybody.example"] {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        let may = app.send("OPTIONS", PATH, &headers, None).await;
        assert_eq!((may.status, may.header("access-control-allow-origin")), (204, Some(origin)));
        assert_eq!(may.header("access-control-allow-methods"), Some("POST"));
        assert_eq!(may.header("access-control-allow-headers"), Some("Content-Type, X-Request-Id"));
        assert_eq!(may.header("access-control-allow-credentials"), Some("true"));
    }
    for path in ["/api/public/access", "/api/public/conversions/x", ORIGINS] {
        let headers = [("origin", SHOP), ("access-control-request-method", "POST")];
        assert_eq!(
            app.send("OPTIONS", path, &headers, None).await.header("access-control-allow-origin"),
            None,
            "{path}"
        );
    }
    assert_eq!(app.send("OPTIONS", PATH, &[("origin", SHOP)], None).await.status, 405, "nothing is asked");
}

#[tokio::test]
async fn the_origins_of_a_workspace_are_its_managers_to_set() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let set = async |origins: Value| app.owner(&org, "PUT", ORIGINS, Some(json!({"origins": origins}))).await;
    let get = async |org: &TestOrg| app.owner(org, "GET", ORIGINS, None).await.expect(200)["origins"].clone();
    assert_eq!(get(&org).await, json!([]));
    let given =
        json!(["https://SHOP.example:443", "https://shop.example", "http://[::1]:3000", "https://münchen.example"]);
    let spelled = json!(["https://shop.example", "http://[::1]:3000", "https://xn--mnchen-3ya.example"]);
    assert_eq!(set(given).await.expect(200)["origins"], spelled);
    assert_eq!((get(&org).await, get(&other).await), (spelled, json!([])));
    for wrong in [
        "shop.example",
        "https://",
        "https://shop.example/",
        "https://shop.example/path",
        "https://shop.example?x",
        "https://shop.example#x",
        "https://user@shop.example",
        "https://*.example",
        "https://shop.example:99999",
        "ftp://shop.example",
        "null",
        "",
        "https://shop.example\u{0}",
    ] {
        let refused = set(json!(["https://fine.example", wrong])).await;
        assert_eq!((refused.status, &refused.json["errors"][0]["field"]), (400, &json!("origins[1]")), "{wrong}");
    }
    let many = |n: usize| (0..n).map(|n| format!("https://s{n}.example")).collect::<Vec<_>>();
    assert_eq!(set(json!(many(51))).await.expect(400)["errors"][0]["field"], "origins");
    set(json!(many(50))).await.expect(200);
    assert_eq!(set(json!([])).await.expect(200)["origins"], json!([]));
    let member = format!("authorization: Bearer {}", org.member_session(&app));
    app.get(ORIGINS, &member).await.expect(200);
    app.call("PUT", ORIGINS, &member, Some(json!({"origins": []}))).await.expect(403);
    let theirs = format!("{ORIGINS}?orgId={}", other.id);
    app.owner(&org, "GET", &theirs, None).await.expect(404);
    app.owner(&org, "PUT", &theirs, Some(json!({"origins": many(1)}))).await.expect(404);
    assert_eq!(get(&other).await, json!([]));
}
