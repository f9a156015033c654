//! OAuth for other programs: a member lets one in on a page, and it gets tokens that open the library until they end.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::Duration;
use domain::{member, oauth};
use secrecy::ExposeSecret;
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::support::{Reply, TestApp, TestOrg};

/// Canva's, whatever the app.
const BACK: &str = "https://www.canva.com/apps/oauth/authorized";
/// Appendix B of RFC 7636.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A program that the operator registered.
pub struct Program {
    id: String,
    secret: String,
}

pub async fn program(app: &TestApp, redirects: &[&str]) -> Program {
    let redirects: Vec<String> = redirects.iter().map(|&uri| uri.to_owned()).collect();
    let mut tx = app.store.begin().await.unwrap();
    let created = oauth::create_client(&mut tx, "Canva <b>", &redirects, app.clock.now(), &app.chance).await.unwrap();
    tx.commit().await.unwrap();
    Program { id: created.0.to_string(), secret: created.1.expose_secret().to_owned() }
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs.iter().filter(|(_, v)| *v != "-")).finish()
}

/// Asks for the page as a signed-in member would; `changes` replace parameters, `-` leaves one out.
async fn ask(app: &TestApp, session: &str, program: &Program, changes: &[(&str, &str)]) -> Reply {
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", &*program.id),
        ("redirect_uri", BACK),
        ("state", "a&b"),
        ("scope", "library:read"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        match pairs.iter_mut().find(|(known, _)| known == name) {
            Some(pair) => pair.1 = value,
            None => pairs.push((name, value)),
        }
    }
    let auth = format!("Bearer {session}");
    app.send("GET", &format!("/oauth/authorize?{}", form(&pairs)), &[("authorization", &auth)], None).await
}

fn ticket(page: &Reply) -> String {
    assert_eq!(page.status, 200, "{}", page.text);
    let (_, rest) = page.text.split_once("name=ticket value=").expect("a ticket");
    rest.split('>').next().unwrap().to_owned()
}

async fn decide(app: &TestApp, headers: &[(&str, &str)], ticket: &str, decision: &str) -> Reply {
    let headers = [headers, &[("content-type", "application/x-www-form-urlencoded")]].concat();
    let body = form(&[("ticket", ticket), ("decision", decision)]);
    app.send("POST", "/oauth/authorize", &headers, Some(body)).await
}

/// The parameters with which a member is sent back.
fn sent_back(reply: &Reply) -> Vec<(String, String)> {
    assert_eq!(reply.status, 303, "{}", reply.text);
    let url = Url::parse(reply.header("location").unwrap()).unwrap();
    assert!(url.as_str().starts_with(BACK), "{url}");
    url.query_pairs().into_owned().collect()
}

async fn code(app: &TestApp, org: &TestOrg, program: &Program) -> String {
    let session = org.session(app);
    let ticket = ticket(&ask(app, &session, program, &[]).await);
    let auth = format!("Bearer {session}");
    let back = sent_back(&decide(app, &[("authorization", &auth)], &ticket, "allow").await);
    assert_eq!((back.len(), &*back[0].0, &back[1]), (2, "code", &("state".into(), "a&b".into())));
    back[0].1.clone()
}

async fn post(app: &TestApp, path: &str, program: &Program, pairs: &[(&str, &str)]) -> Reply {
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", program.id, program.secret)));
    let headers = [("authorization", &*basic), ("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    app.send("POST", path, &headers, Some(form(pairs))).await
}

async fn redeem(app: &TestApp, program: &Program, code: &str, changes: &[(&str, &str)]) -> Reply {
    let mut pairs =
        vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", BACK), ("code_verifier", VERIFIER)];
    for (name, value) in changes {
        pairs.iter_mut().find(|(known, _)| known == name).unwrap().1 = value;
    }
    post(app, "/oauth/token", program, &pairs).await
}

async fn refresh(app: &TestApp, program: &Program, token: &str) -> Reply {
    post(app, "/oauth/token", program, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

/// Access and refresh token of an answer.
fn tokens(reply: Reply) -> (String, String) {
    let body = reply.expect(200);
    (body["access_token"].as_str().unwrap().to_owned(), body["refresh_token"].as_str().unwrap().to_owned())
}

/// An access token for the library of `org`.
pub async fn connect(app: &TestApp, org: &TestOrg) -> (Program, String, String) {
    let program = program(app, &[BACK]).await;
    let code = code(app, org, &program).await;
    let (access, refresh) = tokens(redeem(app, &program, &code, &[]).await);
    (program, access, refresh)
}

async fn opens(app: &TestApp, access: &str) -> bool {
    let reply = app.get("/api/canva/me", &format!("authorization: Bearer {access}")).await;
    assert!([200, 401].contains(&reply.status), "{}", reply.text);
    reply.status == 200
}

#[track_caller]
fn refused(reply: &Reply, status: u16, error: &str) {
    assert_eq!((reply.status, &reply.json["error"]), (status, &Value::from(error)), "{}", reply.text);
    assert!(reply.json["error_description"].as_str().is_some_and(|text| text.len() > 10), "{}", reply.text);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn a_member_lets_a_program_in_and_its_token_opens_the_library() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let program = program(&app, &[BACK]).await;
    let page = ask(&app, &org.session(&app), &program, &[("scope", "-")]).await;
    for told in ["Canva &lt;b&gt;", "<b>acme</b>", "owner@acme.example", "See the folders"] {
        assert!(page.text.contains(told), "{told}: {}", page.text);
    }
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'self' https://www.canva.com;"));
    let code = code(&app, &org, &program).await;
    let reply = redeem(&app, &program, &code, &[]).await;
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), (Some("no-store"), Some("no-cache")));
    assert_eq!(reply.json["token_type"], "Bearer");
    assert_eq!((&reply.json["expires_in"], &reply.json["scope"]), (&Value::from(14400), &Value::from("library:read")));
    let (access, _) = tokens(reply);
    assert!(opens(&app, &access).await);
    // Nothing else.
    for path in ["/api/links", "/api/barcode", "/api/webhooks/endpoints"] {
        app.get(path, &format!("authorization: Bearer {access}")).await.expect(401);
    }
    app.clock.advance(Duration::hours(4));
    assert!(!opens(&app, &access).await);
}

#[tokio::test]
async fn a_request_is_refused_on_a_page_until_it_is_known_where_its_member_may_be_sent() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (program, session) = (program(&app, &[BACK]).await, org.session(&app));
    for changes in [
        [("client_id", "client_01KJQ6PSG0EC78V5NZFZCHSTM3")],
        [("client_id", "x")],
        [("client_id", "-")],
        [("redirect_uri", "https://evil.example/")],
        [("redirect_uri", "https://www.canva.com/apps/oauth/authorized/")],
        [("redirect_uri", "https://www.canva.com/apps/oauth/authorized?x=1")],
    ] {
        let page = ask(&app, &session, &program, &changes).await;
        assert_eq!((page.status, page.header("location")), (400, None), "{changes:?}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    }
    for (changes, error) in [
        ([("response_type", "token")], "unsupported_response_type"),
        ([("response_type", "-")], "invalid_request"),
        ([("code_challenge", "-")], "invalid_request"),
        ([("code_challenge", "short")], "invalid_request"),
        ([("code_challenge_method", "plain")], "invalid_request"),
        ([("code_challenge_method", "-")], "invalid_request"),
        ([("scope", "library:read links:write")], "invalid_scope"),
    ] {
        let back = sent_back(&ask(&app, &session, &program, &changes).await);
        assert_eq!(back[0], ("error".into(), error.into()), "{changes:?}");
        assert_eq!(back[2], ("state".into(), "a&b".into()));
    }
    let twice = format!("/oauth/authorize?client_id={}&client_id={}", program.id, program.id);
    assert_eq!(app.get(&twice, "").await.status, 400);
    // One address is known, and need not be named; several must be told apart.
    assert_eq!(ask(&app, &session, &program, &[("redirect_uri", "-")]).await.status, 200);
    let several = self::program(&app, &[BACK, "https://other.example/"]).await;
    assert_eq!(ask(&app, &session, &several, &[("redirect_uri", "-")]).await.status, 400);
    let mut tx = app.store.begin().await.unwrap();
    oauth::revoke_client(&mut tx, program.id.parse().unwrap(), app.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ask(&app, &session, &program, &[]).await.status, 400);
}

#[tokio::test]
async fn nobody_but_the_member_who_saw_the_page_can_answer_it() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let other = app.org("other").await;
    let program = program(&app, &[BACK]).await;
    let session = org.session(&app);
    let stranger = ask(&app, "x", &program, &[]).await;
    assert_eq!(stranger.status, 401);
    assert!(stranger.text.contains("Sign in first") && stranger.text.contains("state=a%26b"), "{}", stranger.text);
    let asked = ticket(&ask(&app, &session, &program, &[]).await);
    let cookie = format!("__session={session}");
    // Another site's form is sent with the cookie, and with that site's Origin or none.
    for headers in [vec![("cookie", &*cookie)], vec![("cookie", &*cookie), ("origin", "https://evil.example")]] {
        assert_eq!(decide(&app, &headers, &asked, "allow").await.status, 403);
    }
    assert_eq!(decide(&app, &[], &asked, "allow").await.status, 401);
    for session in [org.member_session(&app), other.session(&app)] {
        let auth = format!("Bearer {session}");
        assert_eq!(decide(&app, &[("authorization", &auth)], &asked, "allow").await.status, 400);
    }
    let auth = format!("Bearer {session}");
    for forged in ["", "00", &asked[..asked.len() - 2]] {
        assert_eq!(decide(&app, &[("authorization", &auth)], forged, "allow").await.status, 400);
    }
    let own = [("cookie", &*cookie), ("origin", &*app.url)];
    let denied = sent_back(&decide(&app, &own, &asked, "deny").await);
    assert_eq!(denied[0], ("error".into(), "access_denied".into()));
    assert_eq!(sent_back(&decide(&app, &own, &asked, "allow").await)[0].0, "code");
    app.clock.advance(Duration::minutes(11));
    assert_eq!(decide(&app, &own, &asked, "allow").await.status, 400);
}

#[tokio::test]
async fn a_code_counts_once_for_its_program_its_address_and_its_verifier() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (program, other) = (program(&app, &[BACK]).await, self::program(&app, &[BACK]).await);
    let one = code(&app, &org, &program).await;
    refused(&redeem(&app, &other, &one, &[]).await, 400, "invalid_grant");
    for changes in
        [[("redirect_uri", "-")], [("redirect_uri", "https://other.example/")], [("code_verifier", CHALLENGE)]]
    {
        refused(&redeem(&app, &program, &one, &changes).await, 400, "invalid_grant");
    }
    refused(&redeem(&app, &program, &one, &[("code_verifier", "-")]).await, 400, "invalid_request");
    let (access, token) = tokens(redeem(&app, &program, &one, &[]).await);
    assert!(opens(&app, &access).await);
    // Whoever shows it again has it from somewhere: what came of it ends.
    refused(&redeem(&app, &program, &one, &[]).await, 400, "invalid_grant");
    assert!(!opens(&app, &access).await);
    refused(&refresh(&app, &program, &token).await, 400, "invalid_grant");
    let late = code(&app, &org, &program).await;
    app.clock.advance(Duration::seconds(120));
    refused(&redeem(&app, &program, &late, &[]).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_once_or_again_while_its_answer_may_be_lost() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (program, access, first) = connect(&app, &org).await;
    refused(&refresh(&app, &self::program(&app, &[BACK]).await, &first).await, 400, "invalid_grant");
    let (_, lost) = tokens(refresh(&app, &program, &first).await);
    app.clock.advance(Duration::seconds(60));
    let (again, second) = tokens(refresh(&app, &program, &first).await);
    assert!(opens(&app, &again).await && opens(&app, &access).await && lost != second);
    // Once its answer was used it was not lost.
    let (newer, third) = tokens(refresh(&app, &program, &second).await);
    assert!(opens(&app, &newer).await);
    refused(&refresh(&app, &program, &first).await, 400, "invalid_grant");
    for ended in [&access, &again, &newer] {
        assert!(!opens(&app, ended).await);
    }
    refused(&refresh(&app, &program, &third).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_refresh_token_that_is_shown_after_its_minute_ends_all_that_came_of_the_grant() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (program, _, first) = connect(&app, &org).await;
    let (access, second) = tokens(refresh(&app, &program, &first).await);
    app.clock.advance(Duration::seconds(61));
    refused(&refresh(&app, &program, &first).await, 400, "invalid_grant");
    assert!(!opens(&app, &access).await);
    refused(&refresh(&app, &program, &second).await, 400, "invalid_grant");
    // Thirty days from each exchange on.
    let (program, _, token) = connect(&app, &org).await;
    app.clock.advance(Duration::days(29));
    let (_, token) = tokens(refresh(&app, &program, &token).await);
    app.clock.advance(Duration::days(30));
    refused(&refresh(&app, &program, &token).await, 400, "invalid_grant");
}

#[tokio::test]
async fn of_two_exchanges_at_once_both_get_tokens_that_open() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (program, _, token) = connect(&app, &org).await;
    let (one, two) = tokio::join!(refresh(&app, &program, &token), refresh(&app, &program, &token));
    for (access, _) in [tokens(one), tokens(two)] {
        assert!(opens(&app, &access).await);
    }
}

#[tokio::test]
async fn a_program_proves_who_it_is_in_either_way_and_errors_are_those_of_the_standard() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (program, _, token) = connect(&app, &org).await;
    let form_type = ("content-type", "application/x-www-form-urlencoded");
    let pairs = |secret: &str| {
        form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &token),
            ("client_id", &program.id),
            ("client_secret", secret),
        ])
    };
    let by_form = app.send("POST", "/oauth/token", &[form_type], Some(pairs(&program.secret))).await;
    assert_eq!(by_form.status, 200, "{}", by_form.text);
    let wrong = app.send("POST", "/oauth/token", &[form_type], Some(pairs("ocs_x"))).await;
    refused(&wrong, 401, "invalid_client");
    assert_eq!(wrong.header("www-authenticate"), None);
    for basic in ["Basic eA==", "Basic eDp5", "Bearer x", "Basic ~"] {
        let headers = [form_type, ("authorization", basic)];
        let reply = app.send("POST", "/oauth/token", &headers, Some("grant_type=refresh_token".into())).await;
        refused(&reply, 401, "invalid_client");
        assert!(reply.header("www-authenticate").unwrap().starts_with("Basic "), "{basic}");
    }
    refused(&post(&app, "/oauth/token", &program, &[]).await, 400, "invalid_request");
    refused(&post(&app, "/oauth/token", &program, &[("grant_type", "password")]).await, 400, "unsupported_grant_type");
    let twice = [("grant_type", "refresh_token"), ("grant_type", "refresh_token")];
    refused(&post(&app, "/oauth/token", &program, &twice).await, 400, "invalid_request");
    let both = [("grant_type", "refresh_token"), ("client_secret", &*program.secret)];
    refused(&post(&app, "/oauth/token", &program, &both).await, 400, "invalid_request");
    refused(&app.send("POST", "/oauth/token", &[], Some("{}".into())).await, 400, "invalid_request");
    for (path, method, allow) in
        [("/oauth/token", "GET", "POST"), ("/oauth/revoke", "GET", "POST"), ("/oauth/authorize", "PUT", "GET, POST")]
    {
        let reply = app.send(method, path, &[], None).await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some(allow)), "{path}");
        assert_eq!(reply.json["error"], "invalid_request");
    }
}

#[tokio::test]
async fn a_program_ends_its_own_tokens_and_no_others() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for kind in [0, 1] {
        let (program, access, token) = connect(&app, &org).await;
        let shown = [&access, &token][kind];
        let other = self::program(&app, &[BACK]).await;
        refused(&post(&app, "/oauth/revoke", &other, &[("token", shown)]).await, 400, "invalid_grant");
        refused(&post(&app, "/oauth/revoke", &program, &[]).await, 400, "invalid_request");
        assert_eq!(post(&app, "/oauth/revoke", &program, &[("token", "oat_unknown")]).await.status, 200);
        assert!(opens(&app, &access).await);
        let hint = [("token", &**shown), ("token_type_hint", "whatever")];
        assert_eq!(post(&app, "/oauth/revoke", &program, &hint).await.status, 200);
        assert!(!opens(&app, &access).await);
        refused(&refresh(&app, &program, &token).await, 400, "invalid_grant");
    }
}

#[tokio::test]
async fn tokens_end_with_the_membership_and_do_not_come_back_with_it() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (program, access, token) = connect(&app, &org).await;
    let late = code(&app, &org, &program).await;
    let mut tx = app.store.begin().await.unwrap();
    assert!(member::remove(&mut tx, org.id, org.owner).await.unwrap());
    tx.commit().await.unwrap();
    assert!(!opens(&app, &access).await);
    let mut tx = app.store.begin().await.unwrap();
    member::put(&mut tx, org.id, org.owner, member::Role::Owner, app.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!opens(&app, &access).await);
    refused(&refresh(&app, &program, &token).await, 400, "invalid_grant");
    refused(&redeem(&app, &program, &late, &[]).await, 400, "invalid_grant");
}

#[tokio::test]
async fn no_secret_code_or_token_is_stored_and_what_is_over_is_forgotten() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let program = program(&app, &[BACK]).await;
    let code = code(&app, &org, &program).await;
    let (access, token) = tokens(redeem(&app, &program, &code, &[]).await);
    let rows = async || {
        let mut all = vec![];
        for table in ["oauth_clients", "oauth_grants", "oauth_codes", "oauth_tokens"] {
            let statement = sqlx::AssertSqlSafe(format!("select t::text from {table} t"));
            let rows: Vec<String> = sqlx::query_scalar(statement).fetch_all(app.store.pool()).await.unwrap();
            all.extend(rows);
        }
        all
    };
    let before = rows().await;
    assert_eq!(before.len(), 5);
    for secret in [&program.secret, &code, &access, &token] {
        let hex = hex::encode(secret);
        assert!(!before.iter().any(|row| row.contains(secret.as_str()) || row.contains(&hex)));
    }
    let forget = async || {
        let mut conn = app.store.pool().acquire().await.unwrap();
        oauth::forget_old(&mut conn, app.clock.now()).await.unwrap();
    };
    forget().await;
    assert_eq!(rows().await.len(), 5);
    app.clock.advance(Duration::days(30));
    forget().await;
    assert_eq!(rows().await.len(), 3, "the refresh token's time has just ended, and its grant stays with it");
    app.clock.advance(Duration::days(2));
    forget().await;
    assert_eq!(rows().await.len(), 1, "only the program is left");
}
