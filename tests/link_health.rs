//! The health of links' destinations: what counts as an answer, when a link is failing and when it is well again, and that
//! nobody who is asked has reason to complain.

mod look;

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering::Relaxed},
};

use chrono::{DateTime, Duration, Utc};
use domain::{
    address::{Guard, Policy, SystemResolver},
    link_health::{Count, State, Transition, Verdict, count},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use workers::http::Client;

use crate::support::{
    Receiver, TestApp, TestOrg,
    app::CRON_SECRET,
    receiver::{Reply, Script},
};

/// Longer than the two shortest times between two checks, whatever chance adds.
const BETWEEN: Duration = Duration::minutes(12);

/// A link to `destination` that is monitored; its path.
async fn link(app: &TestApp, org: &TestOrg, destination: &str, mut more: Value) -> String {
    more["destination"] = destination.into();
    more["healthCheck"] = true.into();
    let made = app.owner(org, "POST", "/api/links", Some(more)).await.expect(201);
    assert_eq!(made["health"]["state"], "unknown");
    format!("/api/links/{}", made["id"].as_str().unwrap())
}

async fn health(app: &TestApp, org: &TestOrg, path: &str) -> Value {
    app.owner(org, "GET", path, None).await.expect(200)["health"].clone()
}

async fn sweep(app: &TestApp) {
    let headers = [("x-cron-secret", CRON_SECRET)];
    app.send("POST", "/api/cron/link-health-checks", &headers, None).await.expect(202);
    app.drain().await;
}

/// Sweeps, and lets pass the seconds that lie between `requests` requests to one host.
async fn check(app: &TestApp, requests: usize) {
    sweep(app).await;
    for _ in 0..requests {
        app.pass(Duration::seconds(1)).await;
    }
}

async fn next_check(app: &TestApp) {
    app.clock.advance(BETWEEN);
    check(app, 2).await;
}

/// A receiver whose answers have the status that stands in the cell.
fn shop(status: u16) -> (Receiver, Arc<AtomicU16>) {
    let cell = Arc::new(AtomicU16::new(status));
    let told = cell.clone();
    (Receiver::start(Script::by(move |_, _| Reply::status(told.load(Relaxed)))), cell)
}

async fn leads_to(app: &TestApp, code: &str) -> String {
    let reply = app.send("GET", &format!("/r/{code}"), &[], None).await;
    reply.header("location").unwrap_or_else(|| panic!("{}", reply.text)).to_owned()
}

/// Lets the process that redirects hear what workers tell, as in production.
async fn listen(app: &TestApp) {
    let direct = app.direct().application_name("listener");
    app.routes.listen(PgPoolOptions::new().max_connections(1).connect_lazy_with(direct));
    let listens = "select count(*) from pg_stat_activity where application_name = 'listener' and query like 'LISTEN%'
                   and datname = current_database()";
    while sqlx::query_scalar::<_, i64>(listens).fetch_one(app.store.pool()).await.unwrap() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Waits until the process has heard that a code leads there.
async fn leads_on_to(app: &TestApp, code: &str, destination: &str) {
    let begun = std::time::Instant::now();
    while leads_to(app, code).await != destination {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{code} never leads to {destination}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn three_failures_in_a_row_make_a_link_failing_and_two_successes_end_it() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    listen(&app).await;
    let (shop, status) = shop(200);
    let hooks = Receiver::start(Reply::ok());
    app.endpoint(&org, "inkode", &hooks.url(), &["link.health_failing", "link.health_recovered"]).await;
    let fallback = "https://fallback.example/";
    let more = json!({"slug": "summer", "fallbackDestination": fallback});
    let path = link(&app, &org, &shop.url(), more).await;
    check(&app, 0).await;
    let well = health(&app, &org, &path).await;
    assert_eq!((&well["state"], &well["status"], &well["failures"]), (&json!("healthy"), &json!(200), &json!(0)));
    assert!(well["reason"].is_null() && well["tlsExpiresAt"].is_null(), "{well}");
    let request = &shop.received()[0];
    assert_eq!(request.method, "HEAD");
    assert!(request.header("user-agent").unwrap().starts_with("Inkfleet-Health/"));

    status.store(503, Relaxed);
    for failures in 1..=2 {
        next_check(&app).await;
        let now = health(&app, &org, &path).await;
        assert_eq!((&now["state"], &now["failures"]), (&json!("healthy"), &json!(failures)));
        assert_eq!(leads_to(&app, "summer").await, shop.url());
    }
    status.store(200, Relaxed);
    next_check(&app).await;
    assert_eq!(health(&app, &org, &path).await["failures"], 0, "they count in a row only");
    status.store(503, Relaxed);
    for _ in 0..3 {
        next_check(&app).await;
    }
    let failing = health(&app, &org, &path).await;
    assert_eq!((&failing["state"], &failing["reason"]), (&json!("failing"), &json!("HTTP 503")));
    leads_on_to(&app, "summer", fallback).await;

    status.store(200, Relaxed);
    next_check(&app).await;
    assert_eq!(health(&app, &org, &path).await["state"], "failing", "one answer may be luck");
    assert_eq!(leads_to(&app, "summer").await, fallback);
    next_check(&app).await;
    assert_eq!(health(&app, &org, &path).await["state"], "healthy");
    leads_on_to(&app, "summer", &shop.url()).await;

    let bodies: Vec<Value> = hooks.received().iter().map(|r| serde_json::from_slice(&r.body).unwrap()).collect();
    let told: Vec<&str> = bodies.iter().map(|body| body["event"].as_str().unwrap()).collect();
    assert_eq!(told, ["link.health_failing", "link.health_recovered"], "each once");
    assert_eq!(bodies[0]["payload"]["shortUrl"], format!("{}/r/summer", app.url));
    assert_eq!((&bodies[0]["payload"]["status"], &bodies[1]["payload"]["status"]), (&json!(503), &json!(200)));
}

#[tokio::test]
async fn get_decides_where_head_leaves_doubt() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    // The path says how a HEAD is answered, and how a GET.
    let receiver = Receiver::start(Script::by(|_, request| {
        let mut words = request.path.trim_start_matches('/').split('/');
        let (head, get) = (words.next().unwrap(), words.next().unwrap());
        match if request.method == "HEAD" { head } else { get } {
            "close" => Reply::CloseWithoutAnswer,
            status => Reply::status(status.parse().unwrap()),
        }
    }));
    let cases = [
        ("200/500", "healthy", 1),
        ("204/500", "healthy", 1),
        ("401/500", "healthy", 1),
        ("403/500", "healthy", 1),
        ("429/500", "healthy", 1),
        ("405/200", "healthy", 2),
        ("501/401", "healthy", 2),
        ("400/204", "healthy", 2),
        ("404/200", "healthy", 2),
        ("500/200", "healthy", 2),
        ("302/200", "healthy", 2), // without a Location
        ("close/200", "healthy", 2),
        ("404/404", "unknown", 2),
        ("500/503", "unknown", 2),
        ("405/410", "unknown", 2),
        ("200/close", "healthy", 1),
        ("close/close", "unknown", 2),
        ("302/302", "unknown", 2),
    ];
    let mut paths = vec![];
    for (case, ..) in cases {
        let destination = format!("http://{}/{case}", receiver.address());
        paths.push(link(&app, &org, &destination, json!({})).await);
    }
    check(&app, 2 * cases.len()).await;
    for ((case, state, requests), path) in cases.iter().zip(&paths) {
        let now = health(&app, &org, path).await;
        assert_eq!(now["state"], *state, "{case}: {now}");
        assert_eq!(now["failures"], i32::from(*state == "unknown"), "{case}: {now}");
        assert_eq!(now["reason"].is_null(), *state == "healthy", "{case}: {now}");
        let asked = receiver.received().iter().filter(|r| r.path == format!("/{case}")).count();
        assert_eq!(asked, *requests, "{case}");
    }
}

#[tokio::test]
async fn redirects_are_followed_ten_times_and_no_more() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    // `/10` leads to `/9`, and so on; `/0` answers. `/loop` leads to itself, `/app` into an app.
    let receiver = Receiver::start(Script::by(|_, request| match request.path.trim_start_matches('/') {
        "loop" => Reply::RedirectLoop,
        "app" => Reply::Redirect("shop://products/1".into()),
        "0" => Reply::status(200),
        n => Reply::Redirect(format!("/{}#top", n.parse::<u32>().unwrap() - 1)),
    }));
    let to = |path: &str| format!("http://{}/{path}", receiver.address());
    let ten = link(&app, &org, &to("10"), json!({})).await;
    check(&app, 11).await;
    assert_eq!(health(&app, &org, &ten).await["state"], "healthy");
    assert_eq!(receiver.received().len(), 11);
    for (path, requests) in [("11", 11), ("loop", 11)] {
        let before = receiver.received().len();
        let made = link(&app, &org, &to(path), json!({})).await;
        app.clock.advance(Duration::minutes(1));
        check(&app, 12).await;
        assert_eq!(health(&app, &org, &made).await["reason"], "more than 10 redirects");
        assert_eq!(receiver.received().len() - before, requests, "{path}");
    }
    let app_link = link(&app, &org, &to("app"), json!({})).await;
    app.clock.advance(Duration::minutes(1));
    check(&app, 1).await;
    assert_eq!(health(&app, &org, &app_link).await["state"], "healthy", "only a phone can tell more");
}

#[tokio::test]
async fn every_hop_passes_the_guard() {
    let mut app = TestApp::start().await;
    let org = app.org("acme").await;
    let inside = Receiver::start(Reply::ok());
    let outside = Receiver::start(Reply::Redirect(inside.url()));
    let path = link(&app, &org, &outside.url(), json!({})).await;
    // The first request leaves while everything is allowed; by the second, private addresses are refused.
    check(&app, 0).await;
    assert_eq!(outside.received().len(), 1);
    app.context.http = Client::new(Guard::new(Policy { allow_private: false }, Arc::new(SystemResolver))).unwrap();
    for _ in 0..3 {
        app.pass(Duration::seconds(1)).await;
    }
    let now = health(&app, &org, &path).await;
    assert_eq!((&now["failures"], &now["reason"]), (&json!(1), &json!("resolves to private/internal IP 127.0.0.1")));
    assert_eq!(inside.received().len(), 0);
}

#[tokio::test]
async fn a_host_gets_one_request_at_a_time_whoever_sends_them() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Reply::delay(std::time::Duration::from_millis(100), Reply::status(200)));
    let elsewhere = Receiver::start(Reply::status(200));
    for n in 0..5 {
        link(&app, &org, &format!("{}/{n}", receiver.url()), json!({})).await;
    }
    link(&app, &org, &elsewhere.url_at("localhost"), json!({})).await;
    // Two sweeps in two slots, of which neither has run: each has the host asked.
    let headers = [("x-cron-secret", CRON_SECRET)];
    for _ in 0..2 {
        app.send("POST", "/api/cron/link-health-checks", &headers, None).await.expect(202);
        app.clock.advance(Duration::minutes(1));
    }
    for n in 1..=5 {
        tokio::join!(app.drain(), app.drain());
        assert_eq!(receiver.received().len(), n, "one a second");
        assert_eq!(elsewhere.received().len(), 1, "nobody waits for another host");
        app.clock.advance(Duration::seconds(1));
    }
    app.drain().await;
    assert_eq!(receiver.received().len(), 5);
}

#[tokio::test]
async fn a_host_that_wants_to_be_left_alone_is() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::sequence([
        Reply::status(429).with_header("Retry-After", "600"),
        Reply::status(429).with_header("Retry-After", "3"),
        Reply::status(200),
    ]));
    let first = link(&app, &org, &receiver.url(), json!({})).await;
    for n in 0..2 {
        link(&app, &org, &format!("{}/{n}", receiver.url()), json!({})).await;
    }
    check(&app, 0).await;
    assert_eq!(health(&app, &org, &first).await["state"], "healthy", "who says so is there");
    for _ in 0..9 {
        app.clock.advance(Duration::minutes(1));
        sweep(&app).await;
        assert_eq!(receiver.received().len(), 1);
    }
    app.clock.advance(Duration::minutes(1));
    sweep(&app).await;
    assert_eq!(receiver.received().len(), 2);
    for (seconds, requests) in [(2, 2), (1, 3)] {
        app.pass(Duration::seconds(seconds)).await;
        assert_eq!(receiver.received().len(), requests);
    }
    app.leaves_jobs("link_health.ask");
}

#[tokio::test]
async fn a_process_that_died_with_a_request_keeps_the_host_for_half_a_minute_only() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (shop, _) = shop(200);
    let path = link(&app, &org, &shop.url(), json!({})).await;
    let taken = "insert into link_hosts values ('127.0.0.1', $1 + interval '30 s', gen_random_uuid())";
    sqlx::query(taken).bind(app.clock.now()).execute(app.store.pool()).await.unwrap();
    sweep(&app).await;
    assert_eq!(shop.received().len(), 0);
    app.clock.advance(Duration::minutes(1));
    sweep(&app).await;
    assert_eq!(health(&app, &org, &path).await["state"], "healthy");
}

#[tokio::test]
async fn what_leads_nowhere_is_not_asked_until_it_leads_somewhere_again() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (shop, _) = shop(200);
    let path = link(&app, &org, &shop.url(), json!({"active": false})).await;
    let patch = async |body: Value| app.owner(&org, "PATCH", &path, Some(body)).await.expect(200);
    for _ in 0..3 {
        sweep(&app).await;
        app.clock.advance(Duration::minutes(10));
    }
    assert_eq!(shop.received().len(), 0);
    patch(json!({"active": true})).await;
    sweep(&app).await;
    assert_eq!(shop.received().len(), 1, "at once");
    patch(json!({"archived": true})).await;
    app.clock.advance(Duration::days(2));
    sweep(&app).await;
    assert_eq!(shop.received().len(), 1);
    patch(json!({"archived": false})).await;
    app.clock.advance(Duration::minutes(1));
    sweep(&app).await;
    assert_eq!(shop.received().len(), 2);
    let off = patch(json!({"healthCheck": false})).await;
    assert!(off["healthCheck"] == false && off["health"].is_null(), "{off}");
    app.clock.advance(Duration::days(2));
    sweep(&app).await;
    assert_eq!(shop.received().len(), 2);
}

#[tokio::test]
async fn another_destination_is_looked_at_with_fresh_eyes() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (broken, _) = shop(500);
    let (fine, _) = shop(200);
    let fallback = json!({"slug": "summer", "fallbackDestination": "https://fallback.example/"});
    let path = link(&app, &org, &broken.url(), fallback).await;
    check(&app, 2).await;
    for _ in 0..2 {
        next_check(&app).await;
    }
    let listed = async |filter: &str| {
        let page = app.owner(&org, "GET", &format!("/api/links?filter={filter}"), None).await.expect(200);
        page["items"].as_array().unwrap().len()
    };
    app.owner(&org, "POST", "/api/links", Some(json!({"destination": "https://shop.example"}))).await.expect(201);
    assert_eq!((listed("health_failing").await, listed("health_monitored").await, listed("all").await), (1, 1, 2));
    assert_eq!(leads_to(&app, "summer").await, "https://fallback.example/");

    let changed = app.owner(&org, "PATCH", &path, Some(json!({"destination": fine.url()}))).await.expect(200);
    assert_eq!((&changed["health"]["state"], &changed["health"]["failures"]), (&json!("unknown"), &json!(0)));
    assert_eq!(health(&app, &org, &path).await, changed["health"], "as it is stored");
    assert_eq!(leads_to(&app, "summer").await, fine.url());
    assert_eq!((listed("health_failing").await, listed("health_monitored").await), (0, 1));
    app.clock.advance(Duration::minutes(1));
    check(&app, 1).await;
    assert_eq!(health(&app, &org, &path).await["state"], "healthy");
    for (patch, field) in [
        (json!({"fallbackDestination": "mailto:a@b.c"}), "fallbackDestination"),
        (json!({"healthCheck": "yes"}), "healthCheck"),
    ] {
        let refused = app.owner(&org, "PATCH", &path, Some(patch)).await;
        assert_eq!((refused.status, &refused.json["errors"][0]["field"]), (400, &json!(field)));
    }
    app.owner(&org, "DELETE", &path, None).await;
    assert_eq!(listed("health_monitored").await, 0);
}

#[tokio::test]
async fn a_request_that_a_change_overtakes_says_nothing() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let slow = Receiver::start(Reply::delay(std::time::Duration::from_millis(400), Reply::status(500)));
    let path = link(&app, &org, &slow.url(), json!({})).await;
    let change = async {
        slow.wait_for(1).await;
        let body = json!({"destination": "http://127.0.0.1:9/elsewhere"});
        app.owner(&org, "PATCH", &path, Some(body)).await.expect(200)
    };
    let (_, changed) = tokio::join!(sweep(&app), change);
    assert_eq!(health(&app, &org, &path).await, changed["health"]);
    app.leaves_jobs("link_health.ask");
}

#[tokio::test]
async fn own_codes_are_checked_and_not_counted() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (shop, _) = shop(200);
    let body = json!({"destination": shop.url(), "slug": "inner", "maxVisits": 1});
    let inner = app.owner(&org, "POST", "/api/links", Some(body)).await.expect(201);
    let path = link(&app, &org, &format!("{}/r/inner", app.url), json!({})).await;
    check(&app, 3).await;
    assert_eq!(health(&app, &org, &path).await["state"], "healthy");
    assert_eq!(shop.received().len(), 1);
    // With GET too, as where a proxy refuses HEAD.
    let agent = [("user-agent", "Inkfleet-Health/1.0 (+https://fleet.example)")];
    assert_eq!(app.send("GET", "/r/inner", &agent, None).await.status, 302);
    app.store_visits().await;
    app.pass(Duration::minutes(1)).await;
    let stats = format!("/api/links/{}/stats", inner["id"].as_str().unwrap());
    assert_eq!(app.owner(&org, "GET", &stats, None).await.expect(200)["totalVisits"], 0);
    assert_eq!(leads_to(&app, "inner").await, shop.url(), "its one visit is still to be had");
}

fn at(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_stays_well_is_asked_more_and_more_seldom() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (shop, status) = shop(200);
    let path = link(&app, &org, &shop.url(), json!({})).await;
    let mut waits = vec![];
    for _ in 0..12 {
        check(&app, 1).await;
        let now = health(&app, &org, &path).await;
        waits.push((at(&now["nextCheckAt"]) - at(&now["checkedAt"])).num_seconds());
        app.clock.advance(at(&now["nextCheckAt"]) - app.clock.now() + Duration::minutes(1));
    }
    for (wait, least) in waits.iter().zip([300, 600, 1200, 2400, 4800, 9600, 19_200, 38_400, 76_800, 86_400, 86_400]) {
        assert!((least..=least + least / 10).contains(wait), "{waits:?}");
    }
    status.store(500, Relaxed);
    check(&app, 2).await;
    let now = health(&app, &org, &path).await;
    assert!((at(&now["nextCheckAt"]) - at(&now["checkedAt"])).num_seconds() <= 330, "{now}");
}

proptest! {
    #[test]
    fn no_order_of_answers_deceives_the_count(answers in proptest::collection::vec(any::<bool>(), 1..60)) {
        let (mut now, mut last) = (Count::NONE, None);
        for (n, well) in answers.iter().enumerate() {
            let verdict = if *well { Verdict::Reachable } else { Verdict::Unreachable };
            let before = now;
            let (next, transition) = count(before, verdict);
            now = next;
            let in_row = |times: usize, of: bool| n + 1 >= times && answers[n + 1 - times..=n].iter().all(|a| *a == of);
            match transition {
                Some(Transition::Failing) => prop_assert!(in_row(3, false) && before.state != State::Failing),
                Some(Transition::Recovered) => prop_assert!(in_row(2, true) && before.state == State::Failing),
                None => {
                    prop_assert!(!in_row(3, false) || before.state == State::Failing);
                    prop_assert!(!in_row(2, true) || before.state != State::Failing);
                }
            }
            prop_assert!(transition.is_none() || transition != last, "never the same twice in a row");
            last = transition.or(last);
            let most = if now.state == State::Failing { 3600 } else { 86_400 };
            prop_assert!((300..=most).contains(&now.interval_s));
            prop_assert!(now.state == before.state || now.interval_s == 300);
            prop_assert!(now.failures == 0 || now.successes == 0);
        }
    }
}
