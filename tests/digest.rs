//! The weekly digest: what it tells, and that each member gets it on their own Monday morning, once, whatever happens.

use chrono::{DateTime, Duration, Utc};
use chrono_tz::Tz;
use domain::{mail::Mail, member::Role};
use serde_json::{Value, json};

use crate::support::{Receiver, TestApp, TestOrg, app::CRON_SECRET, receiver::Reply};

const BROWSER: (&str, &str) = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0");

/// Announces the present slot of an entry as each worker process does, and runs what is due.
async fn run(app: &TestApp, kind: &str) {
    let mut tx = app.store.begin().await.unwrap();
    let entry = jobs::schedule::entry(kind).unwrap();
    entry.announce(&mut tx, None, app.clock.now(), &app.chance).await.unwrap();
    tx.commit().await.unwrap();
    app.drain().await;
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Moves the clock, a day at a time, so that there are days to come.
async fn go(app: &TestApp, to: &str) {
    let to = at(to);
    while to - app.clock.now() > Duration::days(1) {
        app.clock.advance(Duration::days(1));
        run(app, "house.keep").await;
    }
    app.clock.advance(to - app.clock.now());
    run(app, "house.keep").await;
}

/// The same with a sweep each hour.
async fn pass_hourly(app: &TestApp, to: &str) {
    while app.clock.now() < at(to) {
        app.clock.advance(Duration::hours(1));
        run(app, "digest.sweep").await;
    }
}

async fn visit(app: &TestApp, code: &str, visitors: std::ops::Range<usize>) {
    for n in visitors {
        let address = format!("10.0.{}.{}", n / 256, n % 256);
        let reply = app.send("GET", &format!("/r/{code}"), &[("x-visitor", &address), BROWSER], None).await;
        assert_eq!(reply.status, 302, "{}", reply.text);
    }
    app.store_visits().await;
    app.pass(Duration::seconds(5)).await;
}

async fn link(app: &TestApp, org: &TestOrg, body: Value) -> Value {
    app.owner(org, "POST", "/api/links", Some(body)).await.expect(201)
}

/// The digests so far, oldest first.
async fn digests(app: &TestApp) -> Vec<Mail> {
    app.mails().await.into_iter().rev().filter(|mail| mail.kind == "digest.weekly").collect()
}

/// To whom and when.
async fn sent(app: &TestApp) -> Vec<(String, String)> {
    let spell = |mail: Mail| (mail.recipient, mail.created_at.format("%m-%d %H:%M").to_string());
    digests(app).await.into_iter().map(spell).collect()
}

fn told(who: &str, when: &str) -> (String, String) {
    (format!("{who}@acme.example"), when.to_owned())
}

async fn wants(app: &TestApp, org: &TestOrg, user: domain::id::UserId, body: Value) {
    let auth = format!("authorization: Bearer {}", org.session_of(app, user));
    let path = format!("/api/org/{}/notifications/preferences", org.id);
    app.call("PUT", &path, &auth, Some(body)).await.expect(200);
}

/// An organisation whose owner and plain member want no digest.
async fn quiet_org(app: &TestApp) -> TestOrg {
    let org = app.org("acme").await;
    for user in [org.owner, org.member] {
        wants(app, &org, user, json!({"mode": "off", "weeklyDigest": false})).await;
    }
    org
}

/// `text` as it is kept in `tests/letters`; `UPDATE_GENERATED=1` writes it.
fn is_kept(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/letters").join(name);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, text, "{name} says something else: look at it, and run once with UPDATE_GENERATED=1");
}

#[tokio::test]
async fn three_members_get_it_on_their_own_monday_morning_also_when_clocks_are_set() {
    let app = TestApp::start().await;
    let org = quiet_org(&app).await;
    for (name, zone) in [("kiri", Tz::Pacific__Auckland), ("ben", Tz::Europe__Berlin), ("nell", Tz::America__New_York)]
    {
        org.join(&app, name, Role::Member, zone).await;
    }
    link(&app, &org, json!({"destination": "https://shop.example", "slug": "summer"})).await;
    // New York's clocks were set forward on 8 March, Berlin's on 29 March, Auckland's back on 5 April.
    for (week, (kiri, ben, nell)) in [
        ("2026-03-05", ("03-08 19:00", "03-09 07:00", "03-09 12:00")),
        ("2026-03-26", ("03-29 19:00", "03-30 06:00", "03-30 12:00")),
        ("2026-04-02", ("04-05 20:00", "04-06 06:00", "04-06 12:00")),
    ] {
        go(&app, &format!("{week}T12:00:00Z")).await;
        visit(&app, "summer", 0..3).await;
        let before = sent(&app).await.len();
        let sunday = app.clock.now() + Duration::days(3) - Duration::seconds(5);
        go(&app, &sunday.to_rfc3339()).await;
        pass_hourly(&app, &(sunday + Duration::days(3)).to_rfc3339()).await;
        let expected = [told("kiri", kiri), told("ben", ben), told("nell", nell)];
        assert_eq!(sent(&app).await[before..], expected, "{week}");
    }
    let mails = digests(&app).await;
    // It is Sunday in UTC when Kiri's Monday begins: her seven days end on Saturday.
    assert!(mails[0].text.contains("From Sunday 1 March 2026 to Saturday 7 March 2026 (UTC)"), "{}", mails[0].text);
    assert!(mails[1].text.contains("From Monday 2 March 2026 to Sunday 8 March 2026 (UTC)"), "{}", mails[1].text);
}

#[tokio::test]
async fn after_an_outage_it_is_made_up_once_until_wednesday_is_over_and_no_more_after_that() {
    let app = TestApp::start().await;
    let org = quiet_org(&app).await;
    let ben = org.join(&app, "ben", Role::Member, Tz::Europe__Berlin).await;
    link(&app, &org, json!({"destination": "https://shop.example", "slug": "summer"})).await;
    visit(&app, "summer", 0..3).await;
    go(&app, "2026-03-09T19:00:00Z").await;
    pass_hourly(&app, "2026-03-11T19:00:00Z").await;
    assert_eq!(sent(&app).await, [told("ben", "03-09 20:00")]);
    // The clock of the machine that takes over is behind, and its Monday comes again.
    app.clock.advance(Duration::hours(-60));
    pass_hourly(&app, "2026-03-11T19:00:00Z").await;
    assert_eq!(sent(&app).await.len(), 1);
    // So it does for who moves to the west.
    app.clock.advance(Duration::hours(-60));
    wants(&app, &org, ben, json!({"mode": "daily", "timeZone": "America/Los_Angeles"})).await;
    pass_hourly(&app, "2026-03-11T19:00:00Z").await;
    assert_eq!(sent(&app).await.len(), 1);
    // The next time everything is back by their Wednesday evening; a colleague of theirs in Auckland has Thursday by then.
    org.join(&app, "kiri", Role::Member, Tz::Pacific__Auckland).await;
    visit(&app, "summer", 0..3).await;
    go(&app, "2026-03-19T03:00:00Z").await;
    pass_hourly(&app, "2026-03-22T16:00:00Z").await;
    assert_eq!(sent(&app).await[1..], [told("ben", "03-19 04:00")]);
    // And then when Wednesday is over.
    visit(&app, "summer", 0..3).await;
    go(&app, "2026-03-26T06:59:30Z").await;
    pass_hourly(&app, "2026-03-28T16:00:00Z").await;
    assert_eq!(sent(&app).await.len(), 2);
    // Quiet hours that end on Thursday are the end of it too.
    let quiet = json!({"from": "22:00", "to": "07:00"});
    let wishes = json!({"mode": "daily", "timeZone": "Europe/Berlin", "quietHours": quiet});
    wants(&app, &org, ben, wishes).await;
    visit(&app, "summer", 0..3).await;
    go(&app, "2026-04-01T20:30:00Z").await;
    pass_hourly(&app, "2026-04-04T16:00:00Z").await;
    assert_eq!(sent(&app).await.len(), 2);
}

#[tokio::test]
async fn who_does_not_want_it_or_has_nothing_to_read_gets_none() {
    let app = TestApp::start().await;
    let (org, idle) = (quiet_org(&app).await, app.org("idle").await);
    link(&app, &idle, json!({"destination": "https://shop.example", "slug": "nobody"})).await;
    let ben = org.join(&app, "ben", Role::Member, Tz::UTC).await;
    org.join(&app, "ann", Role::Member, Tz::UTC).await;
    link(&app, &org, json!({"destination": "https://shop.example", "slug": "summer"})).await;
    visit(&app, "summer", 0..1).await;
    go(&app, "2026-03-09T07:00:00Z").await;
    wants(&app, &org, ben, json!({"mode": "immediate", "weeklyDigest": false})).await;
    app.clock.advance(Duration::hours(1));
    run(&app, "digest.sweep").await;
    // Who comes after their Monday morning waits for the next.
    app.clock.advance(Duration::minutes(1));
    org.join(&app, "late", Role::Member, Tz::UTC).await;
    pass_hourly(&app, "2026-03-10T12:00:00Z").await;
    assert_eq!(sent(&app).await, [told("ann", "03-09 08:00")]);

    // One click ends it, and nothing else.
    let out = digests(&app).await[0].unsubscribe.clone().unwrap();
    let path = out.strip_prefix(&app.url).unwrap();
    assert_eq!(app.call("POST", path, "", None).await.status, 200);
    go(&app, "2026-03-16T08:00:00Z").await;
    run(&app, "digest.sweep").await;
    assert_eq!(sent(&app).await[1..], [told("late", "03-16 08:00")], "the week before had a visit");
    assert!(digests(&app).await[1].subject.starts_with("acme: 0 visits last week, 100 % fewer"));
    // Two weeks without any.
    go(&app, "2026-03-23T08:00:00Z").await;
    run(&app, "digest.sweep").await;
    assert_eq!(sent(&app).await.len(), 2);
}

#[tokio::test]
async fn quiet_hours_are_waited_out() {
    let app = TestApp::start().await;
    let org = quiet_org(&app).await;
    let quiet = |to: &str| json!({"mode": "off", "quietHours": {"from": "22:00", "to": to}});
    for (name, wishes) in [("ann", json!({"mode": "off"})), ("ben", quiet("09:30")), ("cleo", quiet("11:00"))] {
        let id = org.join(&app, name, Role::Member, Tz::Europe__Berlin).await;
        wants(&app, &org, id, wishes).await;
    }
    link(&app, &org, json!({"destination": "https://shop.example", "slug": "summer"})).await;
    visit(&app, "summer", 0..3).await;
    go(&app, "2026-03-09T06:00:00Z").await;
    app.clock.advance(Duration::hours(1));
    run(&app, "digest.sweep").await;
    for _ in 0..20 {
        app.pass(Duration::minutes(15)).await;
    }
    let expected = [told("ann", "03-09 07:00"), told("ben", "03-09 08:30"), told("cleo", "03-09 10:00")];
    assert_eq!(sent(&app).await, expected);
}

#[tokio::test]
async fn visits_that_are_not_counted_yet_are_waited_for() {
    let app = TestApp::start().await;
    let org = quiet_org(&app).await;
    org.join(&app, "ben", Role::Member, Tz::UTC).await;
    link(&app, &org, json!({"destination": "https://shop.example", "slug": "summer"})).await;
    visit(&app, "summer", 0..1).await;
    go(&app, "2026-03-08T23:59:00Z").await;
    // Noted, while nobody counts.
    for n in 1..5 {
        let address = format!("10.0.0.{n}");
        app.send("GET", "/r/summer", &[("x-visitor", &address), BROWSER], None).await;
    }
    app.store_visits().await;
    sqlx::query("update jobs set run_at = '2026-03-09T08:30:00Z' where kind = 'visit.count'")
        .execute(app.store.pool())
        .await
        .unwrap();
    app.clock.advance(at("2026-03-09T08:00:00Z") - app.clock.now());
    run(&app, "digest.sweep").await;
    assert!(digests(&app).await.is_empty());
    app.pass(Duration::minutes(29)).await;
    assert!(digests(&app).await.is_empty());
    app.pass(Duration::minutes(2)).await;
    app.pass(Duration::minutes(2)).await;
    assert!(digests(&app).await[0].text.contains("5 times"), "{}", digests(&app).await[0].text);
}

#[tokio::test]
async fn it_tells_the_week() {
    let app = TestApp::start().await;
    let org = quiet_org(&app).await;
    org.join(&app, "ben", Role::Member, Tz::UTC).await;
    let variants = json!([{"id": "a", "name": "Short", "destination": "https://shop.example/a", "weight": 1},
                          {"id": "b", "name": "Long", "destination": "https://shop.example/b", "weight": 1}]);
    let tested = link(
        &app,
        &org,
        json!({"destination": "https://shop.example", "slug": "tested", "title": "Autumn sale",
               "routing": {"variants": variants}}),
    )
    .await;
    let broken = Receiver::start(Reply::status(503));
    for body in [
        json!({"destination": "https://shop.example", "slug": "summer", "title": "Summer <sale> & more"}),
        json!({"destination": broken.url(), "slug": "broken", "healthCheck": true}),
    ] {
        link(&app, &org, body).await;
    }
    let body = json!({"isDynamic": true, "name": "Poster", "content": {"url": "https://shop.example"},
                      "shortCode": "poster"});
    app.owner(&org, "POST", "/api/qr", Some(body)).await.expect(201);
    visit(&app, "summer", 0..40).await;
    for _ in 0..4 {
        app.send("POST", "/api/cron/link-health-checks", &[("x-cron-secret", CRON_SECRET)], None).await.expect(202);
        for _ in 0..2 {
            app.pass(Duration::seconds(1)).await;
        }
        app.clock.advance(Duration::minutes(12));
    }
    go(&app, "2026-03-09T12:00:00Z").await;
    visit(&app, "summer", 0..25).await;
    visit(&app, "poster", 0..12).await;
    go(&app, "2026-03-11T12:00:00Z").await;
    visit(&app, "summer", 0..10).await;
    visit(&app, "tested", 0..20).await;
    for (n, branch) in [(1, "variant:a"), (2, "variant:a"), (3, "variant:b")] {
        // As if their pages had told.
        sqlx::query(
            "insert into conversions (id, org_id, target_id, at, step, visitor_id, branch)
             select gen_random_uuid(), org_id, id, $1, 'purchase', gen_random_uuid(), $2 from links where slug = 'tested'
             and $3 > 0",
        )
        .bind(app.clock.now())
        .bind(branch)
        .bind(n)
        .execute(app.store.pool())
        .await
        .unwrap();
    }
    assert!(tested["id"].is_string());
    app.send("GET", "/r/summer", &[("user-agent", "Googlebot/2.1")], None).await;
    app.store_visits().await;
    go(&app, "2026-03-16T08:00:00Z").await;
    run(&app, "digest.sweep").await;
    let mails = digests(&app).await;
    assert_eq!(mails.len(), 1, "the one before was not looked for");
    let mail = &mails[0];
    assert_eq!(mail.subject, "acme: 67 visits last week, 68 % more than the week before");
    let out = mail.unsubscribe.clone().unwrap();
    let tidy = |text: &str| {
        let host = app.url.split_once("://").unwrap().1;
        text.replace(&out, "https://fleet.example/out")
            .replace(&app.url, "https://fleet.example")
            .replace(host, "fleet.example")
    };
    is_kept("digest.txt", &tidy(&mail.text));
    is_kept("digest.html", &tidy(&mail.html));
    let picture = mail.image.as_deref().unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() < 8000, "{} bytes", picture.len());
    assert!(mail.html.contains("<img src=\"cid:image\" width=\"520\" alt=\"Visits by day"), "{}", mail.html);
    assert!(mail.html.contains("Summer &lt;sale&gt; &amp; more"));
    if let Some(path) = std::env::var_os("INKFLEET_KEEP_PICTURE") {
        std::fs::write(path, picture).unwrap();
    }
    app.leaves_jobs("link_health.ask");
}
