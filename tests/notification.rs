//! Notifications: whom what happens concerns, in the workspace and by mail, once, when they want it.

mod gathered;
mod subscription;

use chrono::{DateTime, Duration, Utc};
use chrono_tz::Tz;
use domain::{id::UserId, mail::Mail, member::Role, plan::Plan};
use jobs::quota::check_scans;
use serde_json::{Value, json};

use crate::support::{
    Receiver, TestApp, TestOrg,
    app::CRON_SECRET,
    receiver::{Reply, Script},
};

/// A member with a way to ask for what is theirs.
#[derive(Clone, Copy)]
struct Member<'a> {
    app: &'a TestApp,
    org: &'a TestOrg,
    id: UserId,
}

impl Member<'_> {
    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> crate::support::Reply {
        let auth = format!("authorization: Bearer {}", self.org.session_of(self.app, self.id));
        let path = format!("/api/org/{}/notifications{path}", self.org.id);
        self.app.call(method, &path, &auth, body).await
    }

    async fn inbox(&self, query: &str) -> Value {
        self.ask("GET", query, None).await.expect(200)
    }

    /// The kinds of their notifications, newest first.
    async fn kinds(&self) -> Vec<String> {
        let page = self.inbox("").await;
        page["items"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap().to_owned()).collect()
    }

    async fn wants(&self, body: Value) -> Value {
        self.ask("PUT", "/preferences", Some(body)).await.expect(200)
    }
}

fn owner<'a>(app: &'a TestApp, org: &'a TestOrg) -> Member<'a> {
    Member { app, org, id: org.owner }
}

fn member<'a>(app: &'a TestApp, org: &'a TestOrg) -> Member<'a> {
    Member { app, org, id: org.member }
}

/// Something that concerns everybody: a link expires.
async fn happen(app: &TestApp, org: &TestOrg, slug: &str) {
    let ends = (app.clock.now() + Duration::seconds(1)).to_rfc3339();
    let body = json!({"destination": "https://shop.example", "slug": slug, "expiresAt": ends});
    app.owner(org, "POST", "/api/links", Some(body)).await.expect(201);
    app.clock.advance(Duration::minutes(1));
    start(app, "expire").await;
}

async fn start(app: &TestApp, work: &str) {
    let path = format!("/api/cron/{work}");
    app.send("POST", &path, &[("x-cron-secret", CRON_SECRET)], None).await.expect(202);
    app.drain().await;
}

/// Moves the clock to a moment and has the sweep run.
async fn sweep_at(app: &TestApp, at: &str) {
    app.clock.advance(at.parse::<DateTime<Utc>>().unwrap() - app.clock.now());
    start(app, "notifications").await;
}

/// Lets five minutes pass and has the sweep run.
async fn sweep(app: &TestApp) {
    app.clock.advance(Duration::minutes(5));
    start(app, "notifications").await;
}

/// The mails that tell of notifications, oldest first.
async fn told(app: &TestApp) -> Vec<Mail> {
    let mails = app.mails().await.into_iter().rev();
    mails.filter(|mail| mail.kind == "notifications.told").collect()
}

async fn recipients(app: &TestApp) -> Vec<String> {
    told(app).await.into_iter().map(|mail| mail.recipient).collect()
}

#[tokio::test]
async fn what_happens_is_in_the_inbox_of_those_whom_it_concerns() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let admin = Member { app: &app, org: &org, id: org.join(&app, "admin", Role::Admin, Tz::UTC).await };
    let (owner, member) = (owner(&app, &org), member(&app, &org));

    happen(&app, &org, "summer").await;
    app.clock.advance(Duration::seconds(1));
    let file = json!({"format": "csv", "data": "url\nhttps://shop.example/a\nnonsense"});
    app.owner(&org, "POST", "/api/imports", Some(file)).await.expect(202);
    app.drain().await;
    app.clock.advance(Duration::seconds(1));
    let gone = Receiver::start(Reply::status(410));
    let endpoint = app.endpoint(&org, "inkode", &gone.url(), &[]).await;
    app.publish(&org, "qr.created", json!({})).await;
    app.drain().await;
    app.clock.advance(Duration::seconds(1));
    let mut tx = app.store.begin().await.unwrap();
    check_scans(&mut tx, &[(org.id, 8_000)], app.clock.now(), &app.chance).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!(owner.kinds().await, ["quota.reached", "webhook.disabled", "import.finished", "code.expired"]);
    assert_eq!(admin.kinds().await, ["quota.reached", "webhook.disabled", "code.expired"]);
    assert_eq!(member.kinds().await, ["code.expired"]);
    let items = owner.inbox("").await["items"].clone();
    let told = |n: usize| (items[n]["title"].as_str().unwrap(), items[n]["text"].as_str().unwrap());
    assert_eq!(
        told(0),
        (
            "75 % of this month's scans are used",
            "8000 of the 10000 scans per month that the plan pro includes. Links and codes lead on."
        )
    );
    let id = endpoint["id"].as_str().unwrap();
    assert_eq!(
        told(1),
        (
            &*format!("The webhook endpoint {id} was switched off"),
            "The receiver answered 410 Gone. Deliveries are held and can be replayed."
        )
    );
    assert_eq!(items[1]["path"], format!("/webhooks/endpoints/{id}"));
    assert_eq!(told(2), ("An import has ended", "Of 2 lines, 1 made a link, 0 changed one and 1 did nothing."));
    assert_eq!(told(3), (&*format!("The link {}/r/summer has expired", app.url), ""));

    // Who joins later starts afresh.
    let late = Member { app: &app, org: &org, id: org.join(&app, "late", Role::Admin, Tz::UTC).await };
    assert_eq!(late.inbox("").await, json!({"items": [], "unreadCount": 0}));
    app.leaves_jobs("delivery.attempt");
}

#[tokio::test]
async fn links_that_fail_and_recover_and_codes_that_expire_together_are_told() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let shop = Receiver::start(Script::sequence(
        std::iter::repeat_n(Reply::status(503), 6).chain(std::iter::repeat_n(Reply::status(200), 4)),
    ));
    let body = json!({"destination": shop.url(), "slug": "summer", "healthCheck": true});
    app.owner(&org, "POST", "/api/links", Some(body)).await.expect(201);
    for _ in 0..8 {
        start(&app, "link-health-checks").await;
        for _ in 0..2 {
            app.pass(Duration::seconds(1)).await;
        }
        app.clock.advance(Duration::minutes(12));
    }
    assert_eq!(member(&app, &org).kinds().await, ["link.health_recovered", "link.health_failing"]);
    let failing = owner(&app, &org).inbox("").await["items"][1].clone();
    assert_eq!(failing["title"], format!("The destination of {}/r/summer does not answer", app.url));
    assert_eq!(failing["text"], format!("{} (HTTP 503)", shop.url()));

    for n in 0..3 {
        let ends = (app.clock.now() + Duration::seconds(1)).to_rfc3339();
        let body = json!({"isDynamic": true, "name": format!("Box {n}"), "content": {"url": "https://shop.example"},
                          "expiresAt": ends});
        app.owner(&org, "POST", "/api/qr", Some(body)).await.expect(201);
    }
    app.clock.advance(Duration::minutes(1));
    start(&app, "expire").await;
    let expired = owner(&app, &org).inbox("").await["items"][0].clone();
    assert_eq!((&expired["title"], &expired["path"]), (&json!("3 QR codes have expired"), &json!("/qr")));
    app.leaves_jobs("link_health.ask");
}

#[tokio::test]
async fn each_reads_for_themselves_one_by_one_or_all_up_to_one() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    for slug in ["one", "two", "three", "four"] {
        happen(&app, &org, slug).await;
    }
    let (owner, member) = (owner(&app, &org), member(&app, &org));
    let page = owner.inbox("?limit=3").await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["unreadCount"]), (3, &json!(4)));
    let rest = owner.inbox(&format!("?limit=3&cursor={}", page["nextCursor"].as_str().unwrap())).await;
    assert!(rest["items"].as_array().unwrap().len() == 1 && rest["nextCursor"].is_null(), "{rest}");
    let id = |n: usize| page["items"][n]["id"].clone();

    let left = owner.ask("POST", "/read", Some(json!({"ids": [id(0)]}))).await.expect(200);
    assert_eq!(left, json!({"unreadCount": 3}));
    let unread = owner.inbox("?unread=true").await;
    let unread: Vec<&Value> = unread["items"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(unread, [&id(1), &id(2), &rest["items"][0]["id"]]);
    assert_eq!(owner.inbox("").await["items"][0]["readAt"], "2026-03-02T12:04:00.000Z");
    for _ in 0..2 {
        let left = owner.ask("POST", "/read", Some(json!({"upTo": id(1)}))).await.expect(200);
        assert_eq!(left, json!({"unreadCount": 0}));
        app.clock.advance(Duration::minutes(1));
    }
    assert_eq!(owner.inbox("").await["items"][0]["readAt"], "2026-03-02T12:04:00.000Z", "read once");
    assert_eq!(member.inbox("").await["unreadCount"], 4);

    for (body, field) in [
        (json!({}), "ids"),
        (json!({"ids": [id(0)], "upTo": id(0)}), "ids"),
        (json!({"ids": []}), "ids"),
        (json!({"ids": ["ntf_1"]}), "ids[0]"),
        (json!({"upTo": "yesterday"}), "upTo"),
    ] {
        let refused = owner.ask("POST", "/read", Some(body.clone())).await.expect(400);
        assert_eq!(refused["errors"][0]["field"], field, "{body}");
    }
    // Another organisation's address leads nowhere, and neither does one that is none.
    for path in [format!("/api/org/{}/notifications", other.id), "/api/org/acme/notifications".into()] {
        assert_eq!(app.owner(&org, "GET", &path, None).await.expect(404)["code"], "not_found");
        assert_eq!(app.owner(&org, "GET", &format!("{path}/preferences"), None).await.status, 404);
    }
    let read = format!("/api/org/{}/notifications/read", other.id);
    app.owner(&other, "POST", &read, Some(json!({"upTo": id(0)}))).await.expect(200);
    assert_eq!(member.inbox("").await["unreadCount"], 4, "another's word counts for nothing here");
}

#[tokio::test]
async fn members_say_how_they_want_to_be_told() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let member = member(&app, &org);
    let wishes = member.ask("GET", "/preferences", None).await.expect(200);
    assert_eq!(wishes, json!({"mode": "daily", "weeklyDigest": true, "timeZone": "UTC"}));
    let wanted = json!({"mode": "immediate", "quietHours": {"from": "22:00", "to": "07:00"}, "weeklyDigest": false,
                        "timeZone": "Pacific/Auckland"});
    assert_eq!(member.wants(wanted.clone()).await, wanted);
    assert_eq!(member.ask("GET", "/preferences", None).await.expect(200), wanted);
    // Whole, but for the time zone, which is the person's and not the workspace's.
    let kept = json!({"mode": "off", "weeklyDigest": true, "timeZone": "Pacific/Auckland"});
    assert_eq!(member.wants(json!({"mode": "off"})).await, kept);
    assert_eq!(owner(&app, &org).ask("GET", "/preferences", None).await.expect(200)["mode"], "daily");
    for (body, field) in [
        (json!({}), "mode"),
        (json!({"mode": "hourly"}), "mode"),
        (json!({"mode": "daily", "timeZone": "Mars/Olympus"}), "timeZone"),
        (json!({"mode": "daily", "quietHours": {"from": "22:00", "to": "22:00"}}), "quietHours.to"),
        (json!({"mode": "daily", "quietHours": {"from": "24:00", "to": "7"}}), "quietHours.from"),
        (json!({"mode": "daily", "quietHours": {"from": "22:00"}}), "quietHours.to"),
    ] {
        let refused = member.ask("PUT", "/preferences", Some(body.clone())).await.expect(400);
        assert_eq!(refused["errors"][0]["field"], field, "{body}");
    }
}

#[tokio::test]
async fn who_wants_to_be_told_at_once_gets_one_mail_for_all_that_came_since_the_last() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    owner(&app, &org).wants(json!({"mode": "immediate", "timeZone": "Europe/Berlin"})).await;
    member(&app, &org).wants(json!({"mode": "off"})).await;
    happen(&app, &org, "one").await;
    happen(&app, &org, "two").await;
    sweep(&app).await;
    sweep(&app).await;
    let mails = told(&app).await;
    assert_eq!(mails.len(), 1);
    assert_eq!((&*mails[0].recipient, &*mails[0].subject), ("owner@acme.example", "acme: 2 things happened"));
    let out = mails[0].unsubscribe.clone().unwrap();
    let text = mails[0].text.replace(&app.url, "https://fleet.example").replace(&out[app.url.len()..], "/out");
    let ids: Vec<&str> = text.lines().filter_map(|line| line.split("/links/").nth(1)).collect();
    assert_eq!(
        ids.iter().fold(text.clone(), |text, id| text.replace(id, "ID")),
        "News from acme\n\n\
         The link https://fleet.example/r/two has expired\n2 March 2026, 13:02\nhttps://fleet.example/links/ID\n\n\
         The link https://fleet.example/r/one has expired\n2 March 2026, 13:01\nhttps://fleet.example/links/ID\n\n\
         -- \nYou receive this because you are a member of a workspace in Inkfleet and want to be told what happens there.\n\
         Not any more: https://fleet.example/out\n"
    );
    happen(&app, &org, "three").await;
    sweep(&app).await;
    let mails = told(&app).await;
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[1].subject, format!("acme: The link {}/r/three has expired", app.url));
}

#[tokio::test]
async fn what_a_mail_of_its_own_told_somebody_no_other_mail_tells_them() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for who in [owner(&app, &org), member(&app, &org)] {
        who.wants(json!({"mode": "immediate"})).await;
    }
    let link = app.owner(&org, "POST", "/api/links", Some(json!({"destination": "https://shop.example"}))).await;
    let body = json!({"targetId": link.expect(201)["id"], "kind": "silence", "hours": 1});
    app.owner(&org, "POST", "/api/alerts", Some(body)).await.expect(201);
    app.clock.advance(Duration::hours(2));
    start(&app, "qr-alerts").await;
    sweep(&app).await;
    // The owner asked for the alert, and its mail told them.
    let mails: Vec<(String, String)> =
        app.mails().await.into_iter().rev().map(|mail| (mail.kind, mail.recipient)).collect();
    let mail = |kind: &str, to: &str| (kind.to_owned(), to.to_owned());
    let expected = [mail("alert.raised", "owner@acme.example"), mail("notifications.told", "member@acme.example")];
    assert_eq!(mails, expected);
    for who in [owner(&app, &org), member(&app, &org)] {
        assert_eq!(who.kinds().await, ["alert.raised"]);
    }
}

#[tokio::test]
async fn what_the_audit_of_plans_writes_to_everybody_concerned_is_in_the_inbox_and_in_no_other_mail() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for who in [owner(&app, &org), member(&app, &org)] {
        who.wants(json!({"mode": "immediate"})).await;
    }
    for _ in 0..4 {
        app.endpoint(&org, "inkode", "http://127.0.0.1:9/", &[]).await;
    }
    let mut tx = app.store.begin().await.unwrap();
    jobs::plan::change(&mut tx, org.id, Plan::Free, app.clock.now(), &app.chance).await.unwrap();
    tx.commit().await.unwrap();
    app.drain().await;
    sweep(&app).await;
    let kinds: Vec<String> = app.mails().await.into_iter().map(|mail| mail.kind).collect();
    assert_eq!(kinds, ["plan.exceeded"]);
    assert_eq!(owner(&app, &org).kinds().await, ["plan.exceeded"]);
    assert!(member(&app, &org).kinds().await.is_empty());
}

#[tokio::test]
async fn that_a_limit_is_near_is_told_as_everything_else_when_somebody_wants_it() {
    let app = TestApp::start().await;
    let org = TestOrg::make(&app, "acme", Plan::Free).await;
    let admin = Member { app: &app, org: &org, id: org.join(&app, "admin", Role::Admin, Tz::UTC).await };
    owner(&app, &org).wants(json!({"mode": "daily", "timeZone": "America/New_York"})).await;
    admin.wants(json!({"mode": "off"})).await;
    // Nearly all of a month's scans, in its first hour: it is evening in New York.
    app.clock.advance("2026-04-01T00:10:00Z".parse::<DateTime<Utc>>().unwrap() - app.clock.now());
    let scans = "insert into visit_days (org_id, target_id, day, visits, uniques, bots, facets)
                 values ($1, '00000000-0000-0000-0000-000000000000', '2026-04-01', 249, 9, 0, '\\x00')";
    sqlx::query(scans).bind(org.id.0).execute(app.store.pool()).await.unwrap();
    start(&app, "downgrade-audit").await;
    for who in [owner(&app, &org), admin] {
        assert_eq!(who.kinds().await, ["plan.limit_near"]);
    }
    assert!(member(&app, &org).kinds().await.is_empty());
    sweep_at(&app, "2026-04-01T11:55:00Z").await;
    assert!(app.mails().await.is_empty(), "nobody is written to in the night");
    sweep_at(&app, "2026-04-01T12:00:00Z").await;
    let mails = app.mails().await;
    assert_eq!(mails.len(), 1, "and who wants no mail gets none");
    assert_eq!(
        (&*mails[0].recipient, &*mails[0].subject),
        ("owner@acme.example", "acme: Your scans per month run low")
    );
    assert!(mails[0].text.contains("249 of 250 scans per month of the plan free are in use."), "{}", mails[0].text);
    // One click ends it.
    let path = mails[0].unsubscribe.as_deref().and_then(|out| out.strip_prefix(&app.url)).unwrap().to_owned();
    assert_eq!(app.call("POST", &path, "", None).await.status, 200);
    sqlx::query("update visit_days set visits = 250").execute(app.store.pool()).await.unwrap();
    app.clock.advance(Duration::hours(1));
    start(&app, "downgrade-audit").await;
    sweep_at(&app, "2026-04-02T12:00:00Z").await;
    assert_eq!(owner(&app, &org).kinds().await, ["plan.limit_near", "plan.limit_near"]);
    assert_eq!(app.mails().await.len(), 1);
    // What is counted by the month is told in each.
    app.clock.advance("2026-05-02T10:00:00Z".parse::<DateTime<Utc>>().unwrap() - app.clock.now());
    sqlx::query("update visit_days set day = '2026-05-01'").execute(app.store.pool()).await.unwrap();
    start(&app, "downgrade-audit").await;
    assert_eq!(owner(&app, &org).kinds().await.len(), 3);
}

#[tokio::test]
async fn daily_and_weekly_mails_come_in_the_morning_where_somebody_lives_and_none_at_night() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for (name, zone, body) in [
        ("daily", Tz::America__New_York, json!({"mode": "daily"})),
        ("weekly", Tz::Pacific__Auckland, json!({"mode": "weekly"})),
        ("asleep", Tz::Pacific__Auckland, json!({"mode": "immediate", "quietHours": {"from": "22:00", "to": "07:00"}})),
        ("late", Tz::Europe__Berlin, json!({"mode": "daily", "quietHours": {"from": "20:00", "to": "10:00"}})),
    ] {
        let id = org.join(&app, name, Role::Member, zone).await;
        Member { app: &app, org: &org, id }.wants(body).await;
    }
    for who in [owner(&app, &org), member(&app, &org)] {
        who.wants(json!({"mode": "off"})).await;
    }
    let mut expected: Vec<&str> = vec![];
    happen(&app, &org, "one").await;
    // Monday noon in UTC; it is one in the morning of Tuesday in Auckland.
    for (before, at, who) in [
        ("2026-03-02T12:55:00Z", "2026-03-02T13:00:00Z", "daily@acme.example"),
        ("2026-03-02T17:55:00Z", "2026-03-02T18:00:00Z", "asleep@acme.example"),
        ("2026-03-03T08:55:00Z", "2026-03-03T09:00:00Z", "late@acme.example"),
        ("2026-03-08T18:55:00Z", "2026-03-08T19:00:00Z", "weekly@acme.example"),
    ] {
        sweep_at(&app, before).await;
        assert_eq!(recipients(&app).await, expected, "before {at}");
        sweep_at(&app, at).await;
        expected.push(who);
        assert_eq!(recipients(&app).await, expected, "at {at}");
    }
    sweep_at(&app, "2026-03-12T12:00:00Z").await;
    assert_eq!(recipients(&app).await, expected, "nothing is told twice");
    assert!(told(&app).await[0].text.contains("2 March 2026, 07:01"), "times are the reader's");
}

#[tokio::test]
async fn after_an_outage_of_twelve_hours_what_was_due_is_told_once() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    owner(&app, &org).wants(json!({"mode": "daily", "quietHours": {"from": "19:30", "to": "06:00"}})).await;
    member(&app, &org).wants(json!({"mode": "daily"})).await;
    happen(&app, &org, "one").await;
    // Due at eight, and everything is away until twenty past eight in the evening.
    app.clock.advance(Duration::hours(32));
    happen(&app, &org, "two").await;
    for _ in 0..2 {
        sweep(&app).await;
    }
    let mails = told(&app).await;
    assert_eq!(mails.len(), 1, "quiet hours are quiet also after an outage");
    assert_eq!((&*mails[0].recipient, &*mails[0].subject), ("member@acme.example", "acme: 2 things happened"));
    sweep_at(&app, "2026-03-04T06:00:00Z").await;
    assert_eq!(recipients(&app).await, ["member@acme.example", "owner@acme.example"]);
    // The clock of the machine that took over is behind.
    app.clock.advance(Duration::hours(-12));
    sweep(&app).await;
    app.clock.advance(Duration::hours(24));
    sweep(&app).await;
    assert_eq!(told(&app).await.len(), 2);
}

#[tokio::test]
async fn what_was_read_or_is_wanted_otherwise_is_told_accordingly() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (owner, member) = (owner(&app, &org), member(&app, &org));
    happen(&app, &org, "one").await;
    let newest = owner.inbox("").await["items"][0]["id"].clone();
    owner.ask("POST", "/read", Some(json!({"upTo": newest}))).await.expect(200);
    // From the next morning to at once: what waits goes by it.
    member.wants(json!({"mode": "immediate"})).await;
    sweep(&app).await;
    assert_eq!(recipients(&app).await, ["member@acme.example"]);
    happen(&app, &org, "two").await;
    member.wants(json!({"mode": "off"})).await;
    member.wants(json!({"mode": "immediate"})).await;
    sweep(&app).await;
    assert_eq!(recipients(&app).await.len(), 1, "what nobody wanted told stays untold");
    // The owner's waits for the morning, which comes earlier where they live now.
    owner.wants(json!({"mode": "daily", "timeZone": "Pacific/Auckland"})).await;
    sweep_at(&app, "2026-03-02T19:00:00Z").await;
    assert_eq!(recipients(&app).await, ["member@acme.example", "owner@acme.example"]);
    assert!(told(&app).await[1].subject.ends_with("/r/two has expired"), "the first was read");
    // Who has left is told nothing.
    happen(&app, &org, "three").await;
    let mut conn = app.store.pool().acquire().await.unwrap();
    assert!(domain::member::remove(&mut conn, org.id, org.owner).await.unwrap());
    app.clock.advance(Duration::days(2));
    sweep(&app).await;
    let (owner, member) = ("owner@acme.example", "member@acme.example");
    assert_eq!(recipients(&app).await, [member, owner, member]);
}

#[tokio::test]
async fn a_mail_lists_the_newest_and_counts_the_others() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for n in 0..23 {
        happen(&app, &org, &format!("s-{n}")).await;
    }
    owner(&app, &org).wants(json!({"mode": "off"})).await;
    sweep_at(&app, "2026-03-03T08:00:00Z").await;
    let mails = told(&app).await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].subject, "acme: 23 things happened");
    assert_eq!(mails[0].text.matches("has expired").count(), 20);
    assert!(mails[0].text.contains("And 3 more, which the workspace shows."), "{}", mails[0].text);
    sweep_at(&app, "2026-03-04T08:00:00Z").await;
    assert_eq!(told(&app).await.len(), 1);
}

#[tokio::test]
async fn the_way_out_is_taken_by_a_button_and_not_by_looking() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    member(&app, &org).wants(json!({"mode": "immediate", "weeklyDigest": true})).await;
    owner(&app, &org).wants(json!({"mode": "off"})).await;
    happen(&app, &org, "one").await;
    sweep(&app).await;
    let mail = told(&app).await.remove(0);
    let address = mail.unsubscribe.clone().unwrap();
    assert!(mail.text.contains(&address) && mail.html.contains(&address));
    let path = address.strip_prefix(&app.url).unwrap();
    assert!(path.starts_with("/api/public/notifications/unsubscribe?t="), "{path}");

    let page = app.get(path, "").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text.contains("<form method=post>"), "{}", page.text);
    assert_eq!(page.header("cache-control"), Some("private, no-store"));
    let mode = async || member(&app, &org).ask("GET", "/preferences", None).await.expect(200)["mode"].clone();
    assert_eq!(mode().await, "immediate", "programs look into mails");

    happen(&app, &org, "two").await;
    // As mail programs do (RFC 8058), as a form in pieces, as the page's button, and with nothing.
    for (content_type, body) in [
        (Some("application/x-www-form-urlencoded"), "List-Unsubscribe=One-Click"),
        (
            Some("multipart/form-data; boundary=x"),
            "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n",
        ),
        (Some("application/x-www-form-urlencoded"), ""),
        (None, ""),
    ] {
        let headers: Vec<(&str, &str)> = content_type.iter().map(|it| ("content-type", *it)).collect();
        let body = content_type.map(|_| body.to_owned());
        let done = app.send("POST", path, &headers, body).await;
        assert_eq!((done.status, done.header("set-cookie")), (200, None), "{}", done.text);
        assert_eq!(mode().await, "off");
    }
    let wishes = member(&app, &org).ask("GET", "/preferences", None).await.expect(200);
    assert_eq!(wishes["weeklyDigest"], true, "nothing else changes");
    sweep(&app).await;
    assert_eq!(told(&app).await.len(), 1);
    for path in [
        "/api/public/notifications/unsubscribe",
        "/api/public/notifications/unsubscribe?t=x",
        &path.replace("?t=", "?t=A"),
    ] {
        for method in ["GET", "POST"] {
            assert_eq!(app.call(method, path, "", None).await.expect(400)["errors"][0]["field"], "t", "{path}");
        }
    }
    // Who has left has nothing to leave.
    let mut conn = app.store.pool().acquire().await.unwrap();
    assert!(domain::member::remove(&mut conn, org.id, org.member).await.unwrap());
    assert_eq!(app.call("POST", path, "", None).await.status, 200);
}

#[tokio::test]
async fn notifications_are_kept_for_ninety_days() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    happen(&app, &org, "one").await;
    let keep = async || {
        let entry = jobs::schedule::entry("house.keep").unwrap();
        let mut tx = app.store.begin().await.unwrap();
        entry.announce(&mut tx, None, app.clock.now(), &app.chance).await.unwrap();
        tx.commit().await.unwrap();
        app.drain().await;
        let left = "select count(*) from notifications n join notification_recipients r on r.notification_id = n.id";
        sqlx::query_scalar::<_, i64>(left).fetch_one(app.store.pool()).await.unwrap()
    };
    app.clock.advance(Duration::days(89));
    assert_eq!(keep().await, 2);
    app.clock.advance(Duration::days(2));
    assert_eq!(keep().await, 0);
}
