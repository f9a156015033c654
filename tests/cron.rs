//! Scheduled work asked for from outside: who may, what is answered, and that a slot makes one job whoever announces it.

use api::cron::Access;
use chrono::Duration;
use jobs::schedule::ENTRIES;
use serde_json::json;

use crate::support::{Reply, TestApp, app::CRON_SECRET};

const EXPIRE: &str = "/api/cron/expire";

async fn ask(app: &TestApp, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    app.send(method, path, headers, None).await
}

async fn jobs(app: &TestApp) -> i64 {
    sqlx::query_scalar("select count(*) from jobs where kind = 'codes.expire'")
        .fetch_one(app.store.pool())
        .await
        .unwrap()
}

/// What every worker process does by itself.
async fn announce(app: &TestApp) {
    for entry in &ENTRIES {
        let mut tx = app.store.begin().await.unwrap();
        entry.announce(&mut tx, None, app.clock.now(), &app.chance).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// The secret in an address.
fn in_address(secret: &str) -> String {
    let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("secret", secret).finish();
    format!("{EXPIRE}?{query}")
}

#[tokio::test]
async fn the_secret_opens_the_route_from_each_of_its_three_places_and_with_either_method() {
    let app = TestApp::start().await;
    let bearer = format!("Bearer {CRON_SECRET}");
    let in_address = in_address(CRON_SECRET);
    for method in ["GET", "POST"] {
        for (path, headers) in [
            (EXPIRE, vec![("authorization", bearer.as_str())]),
            (EXPIRE, vec![("x-cron-secret", CRON_SECRET)]),
            (in_address.as_str(), vec![]),
            // A proxy that adds a proof of its own does not shut a scheduler out.
            (in_address.as_str(), vec![("authorization", "Bearer something-else")]),
        ] {
            ask(&app, method, path, &headers).await.expect(202);
        }
    }
    app.drain().await;
}

#[tokio::test]
async fn whoever_does_not_know_the_secret_starts_nothing() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let session = format!("Bearer {}", org.session(&app));
    let (longer, shorter) = (format!("{CRON_SECRET}x"), &CRON_SECRET[1..]);
    for (path, headers) in [
        (EXPIRE.to_owned(), vec![]),
        (EXPIRE.to_owned(), vec![("authorization", "Bearer ")]),
        (EXPIRE.to_owned(), vec![("authorization", session.as_str())]),
        (EXPIRE.to_owned(), vec![("authorization", CRON_SECRET)]),
        (EXPIRE.to_owned(), vec![("x-cron-secret", longer.as_str())]),
        (EXPIRE.to_owned(), vec![("x-cron-secret", shorter)]),
        (in_address(""), vec![]),
        (in_address(&longer), vec![]),
        (EXPIRE.to_owned() + "?Secret=" + shorter, vec![]),
    ] {
        let refused = ask(&app, "POST", &path, &headers).await;
        assert_eq!((refused.status, &refused.json["code"]), (401, &json!("unauthorized")), "{path} {headers:?}");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(jobs(&app).await, 0);
}

#[tokio::test]
async fn without_a_secret_nobody_may_ask_in_production_and_anybody_in_development() {
    let production = TestApp::build().cron(Access::Nobody).start().await;
    for headers in [vec![], vec![("authorization", "Bearer undefined")]] {
        let reply = ask(&production, "GET", EXPIRE, &headers).await;
        assert_eq!((reply.status, &reply.json["code"]), (503, &json!("not_configured")));
    }
    assert_eq!(jobs(&production).await, 0);
    let development = TestApp::build().cron(Access::Anybody).start().await;
    ask(&development, "GET", EXPIRE, &[]).await.expect(202);
    development.drain().await;
}

#[tokio::test]
async fn what_is_no_scheduled_work_is_not_found() {
    let app = TestApp::start().await;
    for path in ["/api/cron/house.keep", "/api/cron/nothing", "/api/cron/Expire"] {
        let reply = ask(&app, "POST", path, &[("x-cron-secret", CRON_SECRET)]).await;
        assert_eq!((reply.status, &reply.json["code"]), (404, &json!("not_found")), "{path}");
    }
}

#[tokio::test]
async fn a_slot_makes_one_job_whoever_announces_it() {
    let app = TestApp::start().await;
    let start = async || ask(&app, "POST", EXPIRE, &[("x-cron-secret", CRON_SECRET)]).await.expect(202);
    let first = start().await;
    assert_eq!((&first["slot"], &first["repeated"]), (&json!("2026-03-02T12:00:00.000Z"), &json!(false)));
    let repeat = json!({"jobId": first["jobId"], "slot": first["slot"], "repeated": true});
    app.clock.advance(Duration::seconds(59));
    assert_eq!(start().await, repeat);
    // The workers' own scheduler comes, and finds the slot taken.
    announce(&app).await;
    assert_eq!(jobs(&app).await, 1);
    app.drain().await;
    assert_eq!(start().await, repeat, "also when the job has ended");

    // The next slot: this time the scheduler is first.
    app.clock.advance(Duration::seconds(1));
    announce(&app).await;
    let found = start().await;
    assert_eq!((&found["slot"], &found["repeated"]), (&json!("2026-03-02T12:01:00.000Z"), &json!(true)));
    let job: String = sqlx::query_scalar("select id::text from jobs where kind = 'codes.expire'")
        .fetch_one(app.store.pool())
        .await
        .unwrap();
    let told: domain::id::JobId = found["jobId"].as_str().unwrap().parse().unwrap();
    assert_eq!(told.0.to_string(), job);
    app.drain().await;
}

#[tokio::test]
async fn an_occasion_of_an_earlier_version_is_answered_without_its_job() {
    let app = TestApp::start().await;
    let old = "insert into job_occasions (org_id, kind, key, created_at)
               values ('00000000-0000-0000-0000-000000000000', 'codes.expire', '2026-03-02T12:00:00Z', now())";
    sqlx::query(old).execute(app.store.pool()).await.unwrap();
    let reply = ask(&app, "POST", EXPIRE, &[("x-cron-secret", CRON_SECRET)]).await.expect(202);
    assert_eq!(reply, json!({"slot": "2026-03-02T12:00:00.000Z", "repeated": true}));
}

#[test]
fn the_file_for_vercel_asks_for_every_route_at_the_times_of_the_schedule() {
    let crons: Vec<_> = api::cron::ROUTES
        .iter()
        .map(|(name, kind)| {
            let entry = jobs::schedule::entry(kind).expect("a route announces an entry");
            json!({"path": format!("/api/cron/{name}"), "schedule": entry.cron()})
        })
        .collect();
    let file: serde_json::Value = serde_json::from_str(include_str!("../vercel.json")).unwrap();
    assert_eq!(file["crons"], json!(crons), "vercel.json is to read: {}", json!({"crons": crons}));
}

#[tokio::test]
async fn operators_see_how_each_entry_ran_last_and_when_it_is_due_next() {
    let app = TestApp::start().await;
    let known = async |kind: &str| {
        let mut conn = app.store.pool().acquire().await.unwrap();
        let all = jobs::schedule::run::list(&mut conn, app.clock.now()).await.unwrap();
        assert_eq!(all.len(), ENTRIES.len());
        serde_json::to_value(all.into_iter().find(|known| known.kind == kind).unwrap()).unwrap()
    };
    let before = known("codes.expire").await;
    assert_eq!((&before["lastSlot"], &before["lastResult"]), (&json!(null), &json!(null)));
    announce(&app).await;
    app.clock.advance(Duration::seconds(10));
    app.drain().await;
    let after = known("codes.expire").await;
    assert_eq!(after["lastSlot"], "2026-03-02T12:00:00Z");
    assert_eq!(after["nextSlot"], "2026-03-02T12:01:00Z");
    assert_eq!((&after["lastResult"], &after["reason"]), (&json!("done"), &json!(null)));
    assert_eq!(after["lastStartedAt"], "2026-03-02T12:00:10Z");
    assert!(after["tookMs"].as_i64().unwrap() >= 0 && !after["lastSuccessAt"].is_null());
    let idle = known("marketing.send_queue").await;
    assert_eq!(
        (&idle["lastResult"], idle["reason"].as_str().unwrap().starts_with("nothing to send")),
        (&json!("cancelled"), true)
    );
    // A run that fails is told with its reason, and when it last went well.
    sqlx::query("alter table alerts rename to gone").execute(app.store.pool()).await.unwrap();
    app.clock.advance(Duration::minutes(10));
    announce(&app).await;
    app.drain().await;
    let failed = known("alerts.check").await;
    assert_eq!(failed["lastResult"], "retry");
    assert!(failed["reason"].as_str().unwrap().contains("alerts"), "{failed}");
    assert!(failed["lastSuccessAt"].as_str().unwrap() < failed["lastStartedAt"].as_str().unwrap());
    app.leaves_jobs("alerts.check");
}

#[tokio::test]
async fn slots_that_nobody_announced_are_made_up_once() {
    let app = TestApp::start().await;
    announce(&app).await;
    app.drain().await;
    // Everything was down for twelve hours.
    app.clock.advance(Duration::hours(12));
    for _ in 0..3 {
        announce(&app).await;
    }
    assert_eq!(jobs(&app).await, 1);
    app.drain().await;
}
