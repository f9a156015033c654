//! What many links have in common is told once: that the host to which they lead is gone, or there again.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering::Relaxed},
};

use super::*;

/// A host whose answers have the status that stands in the cell.
fn host(status: u16) -> (Receiver, Arc<AtomicU16>) {
    let cell = Arc::new(AtomicU16::new(status));
    let told = cell.clone();
    (Receiver::start(Script::by(move |_, _| Reply::status(told.load(Relaxed)))), cell)
}

async fn monitor(app: &TestApp, org: &TestOrg, slug: &str, destination: &str) -> Value {
    let body = json!({"destination": destination, "slug": slug, "healthCheck": true});
    app.owner(org, "POST", "/api/links", Some(body)).await.expect(201)
}

/// So many rounds of checks, each of so many requests to a host.
async fn check(app: &TestApp, rounds: usize, requests: usize) {
    for _ in 0..rounds {
        start(app, "link-health-checks").await;
        for _ in 0..requests {
            app.pass(Duration::seconds(1)).await;
        }
        app.clock.advance(Duration::minutes(12));
    }
}

fn titles(inbox: &Value) -> Vec<&str> {
    inbox["items"].as_array().unwrap().iter().map(|it| it["title"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_host_that_is_gone_is_one_notification_however_many_links_lead_there() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let ((shop, status), (elsewhere, _)) = (host(503), host(410));
    let hooks = Receiver::start(Reply::ok());
    app.endpoint(&org, "inkode", &hooks.url(), &["link.health_failing", "link.health_recovered"]).await;
    for n in 0..12 {
        monitor(&app, &org, &format!("shop{n:02}"), &format!("{}/{n}", shop.url())).await;
        app.clock.advance(Duration::milliseconds(5));
    }
    monitor(&app, &org, "alone", &elsewhere.url_at("localhost")).await;
    monitor(&app, &other, "theirs", &shop.url()).await;
    check(&app, 3, 26).await;

    let (short, owner, member) = (format!("{}/r", app.url), owner(&app, &org), member(&app, &org));
    for who in [owner, member] {
        let inbox = who.inbox("").await;
        let mut told = titles(&inbox);
        told.sort_unstable();
        let alone = format!("The destination of {short}/alone does not answer");
        assert_eq!(told, [&*alone, "The destinations of 12 links at 127.0.0.1 do not answer"]);
        assert_eq!(inbox["unreadCount"], 2);
        let items = inbox["items"].as_array().unwrap();
        let many =
            items.iter().find(|it| it["path"] == "/links?filter=health_failing").expect("the way to all of them");
        let text = many["text"].as_str().unwrap();
        assert!(text.starts_with(&format!("{short}/shop")) && text.ends_with(" and 9 more (HTTP 503)"), "{text}");
        assert_eq!(text.matches(&short).count(), 3, "{text}");
    }
    let theirs = Member { app: &app, org: &other, id: other.owner }.inbox("").await;
    assert_eq!(
        titles(&theirs),
        [format!("The destination of {short}/theirs does not answer")],
        "each workspace its own"
    );
    let events = |of: &str| {
        let bodies = hooks.received().into_iter().map(|it| serde_json::from_slice::<Value>(&it.body).unwrap());
        bodies.filter(|body| body["event"] == of).count()
    };
    assert_eq!(events("link.health_failing"), 13, "subscribers hear of each link");

    status.store(200, Relaxed);
    check(&app, 7, 14).await;
    let inbox = owner.inbox("?limit=1").await;
    assert_eq!(titles(&inbox), ["The destinations of 12 links at 127.0.0.1 answer again"]);
    assert_eq!(inbox["items"][0]["path"], "/links?filter=health_monitored");
    assert_eq!(inbox["unreadCount"], 3);
    assert_eq!(events("link.health_recovered"), 12);
    app.leaves_jobs("link_health.ask");
}

#[tokio::test]
async fn who_was_told_of_a_few_is_told_of_the_others_later_and_at_once_of_what_happens_again() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (owner, member) = (owner(&app, &org), member(&app, &org));
    owner.wants(json!({"mode": "immediate"})).await;
    member.wants(json!({"mode": "off"})).await;
    let (shop, status) = host(503);
    monitor(&app, &org, "first", &shop.url()).await;
    check(&app, 3, 2).await;
    sweep(&app).await;
    let subjects = async || told(&app).await.into_iter().map(|mail| mail.subject).collect::<Vec<_>>();
    let first = format!("acme: The destination of {}/r/first does not answer", app.url);
    assert_eq!(subjects().await, [&*first]);
    let id = owner.inbox("").await["items"][0]["id"].clone();
    owner.ask("POST", "/read", Some(json!({"ids": [id]}))).await.expect(200);

    // Others join it within the hour: unread again, and told some hours later, together.
    for slug in ["second", "third"] {
        monitor(&app, &org, slug, &format!("{}/{slug}", shop.url())).await;
        check(&app, 3, 8).await;
        let inbox = owner.inbox("").await;
        assert_eq!((&inbox["items"][0]["id"], inbox["items"].as_array().unwrap().len()), (&id, 1), "{inbox}");
        assert_eq!(inbox["unreadCount"], 1);
        owner.ask("POST", "/read", Some(json!({"ids": [id]}))).await.expect(200);
        sweep(&app).await;
    }
    monitor(&app, &org, "fourth", &format!("{}/fourth", shop.url())).await;
    check(&app, 3, 8).await;
    let late = Member { app: &app, org: &org, id: org.join(&app, "late", Role::Member, Tz::UTC).await };
    assert!(late.inbox("").await["items"].as_array().unwrap().is_empty());
    app.clock.advance(Duration::hours(5));
    sweep(&app).await;
    assert_eq!(subjects().await, [&*first]);
    app.clock.advance(Duration::hours(1));
    sweep(&app).await;
    sweep(&app).await;
    assert_eq!(subjects().await, [&*first, "acme: The destinations of 4 links at 127.0.0.1 do not answer"]);
    assert!(member.inbox("").await["unreadCount"] == 1, "mails are off, and the inbox has it");

    // What comes later is told by itself, and so is whatever happens to a link again, soon as it may be.
    for n in 1..=4 {
        status.store(if n % 2 == 1 { 200 } else { 503 }, Relaxed);
        check(&app, 8, 8).await;
        let kinds = owner.kinds().await;
        let in_turn = ["link.health_failing", "link.health_recovered"].into_iter().cycle();
        let expected: Vec<&str> = in_turn.take(n + 1).collect();
        assert_eq!(kinds.iter().rev().collect::<Vec<_>>(), expected);
    }
    app.leaves_jobs("link_health.ask");
}
