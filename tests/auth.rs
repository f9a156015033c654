//! Who is let in: sessions by cookie and by token, keys, and what changes while they are held.

use chrono::Duration;
use domain::{
    api_key,
    member::{self, Role},
    session::{OrgClaim, SessionIssuer},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::support::{TestApp, TestOrg, org::SESSION_KEY};

const ENDPOINTS: &str = "/api/webhooks/endpoints";
const NOWHERE: &str = "http://127.0.0.1:9/hook";

fn issuer(name: &str) -> SessionIssuer {
    SessionIssuer::from_pem(&SecretString::from(SESSION_KEY), name, None).unwrap()
}

/// Claims of a good session of the organisation's owner.
fn claims(app: &TestApp, org: &TestOrg) -> Value {
    let at = app.clock.now().timestamp();
    json!({
        "v": 2, "sub": org.owner.to_string(), "sid": "sess_1", "iss": "stories", "sts": "active",
        "iat": at, "nbf": at, "exp": at + 60, "o": {"id": org.id.to_string(), "rol": "member"},
    })
}

fn bearer(claims: &Value) -> String {
    format!("authorization: Bearer {}", issuer("stories").sign(claims).unwrap().expose_secret())
}

#[tokio::test]
async fn a_session_cookie_reads_from_anywhere_and_writes_from_our_own_pages_only() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let session = org.session(&app);
    for name in ["__session", "__session_a1b2c3"] {
        let cookie = format!("theme=dark; {name}={session}; other=1");
        let read = app.send("GET", ENDPOINTS, &[("cookie", &cookie)], None).await;
        read.expect(200);
        app.send("GET", ENDPOINTS, &[("cookie", &cookie), ("origin", "https://evil.example")], None).await.expect(200);
        let body = json!({"url": NOWHERE}).to_string();
        let own = [("cookie", cookie.as_str()), ("origin", app.url.as_str())];
        app.send("POST", ENDPOINTS, &own, Some(body.clone())).await.expect(201);
        let (slash, port) = (format!("{}/", app.url), app.url.replace("http://127.0.0.1", "http://localhost"));
        for origin in [None, Some("https://evil.example"), Some("null"), Some(""), Some(&*slash), Some(&*port)] {
            let mut headers = vec![("cookie", cookie.as_str())];
            headers.extend(origin.map(|origin| ("origin", origin)));
            for (method, path) in [
                ("POST", ENDPOINTS),
                ("PATCH", "/api/webhooks/endpoints/we_1"),
                ("DELETE", "/api/webhooks/endpoints/we_1"),
            ] {
                let refused = app.send(method, path, &headers, Some(body.clone())).await.expect(403);
                assert!(refused["detail"].as_str().unwrap().contains("Origin"), "{origin:?} {refused}");
            }
        }
    }
    let made: i64 = sqlx::query_scalar("select count(*) from endpoints").fetch_one(app.store.pool()).await.unwrap();
    assert_eq!(made, 2);
}

#[tokio::test]
async fn a_token_is_sent_on_purpose_and_needs_no_origin_whatever_the_cookies_say() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let token = format!("Bearer {}", org.session(&app));
    let body = json!({"url": NOWHERE}).to_string();
    app.send("POST", ENDPOINTS, &[("authorization", &token)], Some(body.clone())).await.expect(201);
    for cookie in ["__session=stale.stale.stale", "__session="] {
        let headers = [("authorization", token.as_str()), ("cookie", cookie)];
        app.send("POST", ENDPOINTS, &headers, Some(body.clone())).await.expect(201);
    }
}

#[tokio::test]
async fn what_is_no_valid_session_is_refused() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let good = claims(&app, &org);
    app.get(ENDPOINTS, &bearer(&good)).await.expect(200);
    let at = app.clock.now().timestamp();
    for (claim, value) in [
        ("exp", json!(at - 6)),
        ("nbf", json!(at + 60)),
        ("iss", json!("somebody else")),
        ("sts", json!("pending")),
        ("sid", json!(null)),
        ("sub", json!("user_nobody")),
        ("sub", json!(other.owner.to_string())),
        ("sub", json!("\u{0}")),
        ("o", json!({"id": other.id.to_string(), "rol": "admin"})),
        ("o", json!({"id": "org_nowhere", "rol": "admin"})),
        ("o", json!({"id": "\u{0}", "rol": "admin"})),
    ] {
        let mut spoiled = good.clone();
        spoiled[claim] = value.clone();
        let refused = app.get(ENDPOINTS, &bearer(&spoiled)).await;
        assert_eq!(refused.status, 401, "{claim}: {value}: {}", refused.text);
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        assert_eq!(refused.json["code"], "unauthorized");
    }
    let mut nowhere = good.clone();
    nowhere.as_object_mut().unwrap().remove("o");
    let refused = app.get(ENDPOINTS, &bearer(&nowhere)).await.expect(403);
    assert_eq!(refused["detail"], "The session has no active organisation.");
    for auth in [
        "authorization: Bearer ".into(),
        "authorization: Bearer a.b.c".into(),
        format!("authorization: Bearer {}", "x".repeat(9000)),
        format!("authorization: Basic {}", org.session(&app)),
        format!("x-api-key: {}", org.session(&app)),
        format!("authorization: Bearer {}", org.key("ink_")),
        format!("x-api-key: {}", org.key("ink_")),
        format!("cookie: session={}", org.session(&app)),
        String::new(),
    ] {
        app.get(ENDPOINTS, &auth).await.expect(401);
    }
}

#[tokio::test]
async fn a_session_ends_when_it_says() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let claim = OrgClaim { external_id: org.id.to_string(), role: "admin".into(), slug: None };
    let token = issuer("stories")
        .issue(&org.owner.to_string(), Some(&claim), Duration::minutes(1), app.clock.now(), &app.chance)
        .unwrap();
    let auth = format!("authorization: Bearer {}", token.expose_secret());
    app.get(ENDPOINTS, &auth).await.expect(200);
    // Five seconds are for clocks that differ.
    app.clock.advance(Duration::seconds(64));
    app.get(ENDPOINTS, &auth).await.expect(200);
    app.clock.advance(Duration::seconds(2));
    app.get(ENDPOINTS, &auth).await.expect(401);
}

#[tokio::test]
async fn an_impersonated_session_may_what_its_subject_may() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let mut acting = claims(&app, &org);
    acting["act"] = json!({"iss": "stories", "sub": "user_support", "sid": "sess_2"});
    app.post(ENDPOINTS, &bearer(&acting), json!({"url": NOWHERE})).await.expect(201);
    acting["sub"] = org.member.to_string().into();
    app.get(ENDPOINTS, &bearer(&acting)).await.expect(200);
    app.post(ENDPOINTS, &bearer(&acting), json!({"url": NOWHERE})).await.expect(403);
}

#[tokio::test]
async fn a_change_of_role_takes_effect_with_the_next_request() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let now = app.clock.now();
    let mut conn = app.store.pool().acquire().await.unwrap();
    // The session claims to be an owner's; the row decides.
    let session = format!("authorization: Bearer {}", org.member_session(&app));
    let key = format!("authorization: Bearer {}", org.member_key("inkr_"));
    let body = json!({"url": NOWHERE, "events": ["submission.sent"]});
    for (role, status) in [(Role::Member, 403), (Role::Admin, 201), (Role::Owner, 201), (Role::Member, 403)] {
        member::put(&mut conn, org.id, org.member, role, now).await.unwrap();
        app.post(ENDPOINTS, &session, json!({"url": NOWHERE})).await.expect(status);
        app.post("/v1/webhook_endpoints", &key, body.clone()).await.expect(status);
    }
    // With the membership goes everything.
    assert!(member::remove(&mut conn, org.id, org.member).await.unwrap());
    app.get(ENDPOINTS, &session).await.expect(401);
    app.get("/v1/webhook_endpoints", &key).await.expect(401);
    app.post("/api/v1/events", &format!("x-api-key: {}", org.member_key("ink_")), json!({})).await.expect(401);
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_from_the_next_request_on() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let mut conn = app.store.pool().acquire().await.unwrap();
    let auth = format!("authorization: Bearer {}", org.key("inkr_"));
    let keys = api_key::list(&mut conn, org.id).await.unwrap();
    let row = keys.iter().find(|key| org.key("inkr_").starts_with(&key.start)).unwrap();
    assert!(!api_key::revoke(&mut conn, other.id, row.id, app.clock.now()).await.unwrap(), "only its own organisation");
    app.get("/v1/webhook_endpoints", &auth).await.expect(200);
    assert!(api_key::revoke(&mut conn, org.id, row.id, app.clock.now()).await.unwrap());
    let refused = app.get("/v1/webhook_endpoints", &auth).await.expect(401);
    assert_eq!(refused["detail"], "The API key is not valid.");
    // Its sisters stay.
    app.get("/v1/webhook_endpoints", &format!("authorization: Bearer {}", org.member_key("inkr_"))).await.expect(200);
}

#[tokio::test]
async fn no_answer_repeats_a_key_or_a_token() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for (secret, auth) in [
        (org.key("ink_"), format!("authorization: Bearer {}", org.key("ink_"))),
        (&org.key("inkr_")[..40], format!("x-api-key: {}", &org.key("inkr_")[..40])),
        ("not-even-a-key", "authorization: Bearer not-even-a-key".into()),
    ] {
        for path in [ENDPOINTS, "/v1/events", "/api/v1/webhooks/", "/api/v1/webhook/endpoints", "/api/v1/nothing"] {
            let reply = app.get(path, &auth).await;
            assert!(matches!(reply.status, 401 | 404), "{path}: {}", reply.text);
            assert!(!reply.text.contains(secret), "{path}: {}", reply.text);
        }
    }
}
