//! Visits: noted by redirects, counted by the fleet, and told by statistics, to the last one that was stored.

use chrono::{Duration, TimeZone, Utc};
use domain::{
    id::{OrgId, new_uuid},
    visit::{Counted, FACETS, OTHERS, Sum, Tally, Text, Visit, insert_batch},
};
use jobs::{job::NewJob, queue, visit::CountVisits};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{
    Receiver, TestApp, TestOrg,
    receiver::{Reply, Script},
};

const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/17.5 Mobile/15E148 Safari/604.1";
const DESKTOP: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/126.0.0.0 Safari/537.36";

async fn link(app: &TestApp, org: &TestOrg, slug: &str) -> String {
    let body = json!({"destination": "https://shop.example/", "slug": slug});
    let made = app.owner(org, "POST", "/api/links", Some(body)).await.expect(201);
    format!("/api/links/{}", made["id"].as_str().unwrap())
}

async fn visit(app: &TestApp, slug: &str, address: &str, agent: &str) {
    let headers = [("x-visitor", address), ("user-agent", agent)];
    assert_eq!(app.send("GET", &format!("/r/{slug}"), &headers, None).await.status, 302);
    app.store_visits().await;
}

async fn stats(app: &TestApp, org: &TestOrg, link: &str, query: &str) -> Value {
    app.owner(org, "GET", &format!("{link}/stats{query}"), None).await.expect(200)
}

fn figures(stats: &Value) -> [i64; 4] {
    ["visits", "uniques", "bots", "totalVisits"].map(|name| stats[name].as_i64().unwrap())
}

#[tokio::test]
async fn a_visit_is_in_the_statistics_once_it_is_stored_and_no_more_once_it_is_counted() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let link = link(&app, &org, "summer").await;
    assert_eq!(figures(&stats(&app, &org, &link, "").await), [0, 0, 0, 0]);
    visit(&app, "summer", "10.0.0.1", PHONE).await;
    visit(&app, "summer", "10.0.0.1", PHONE).await;
    visit(&app, "summer", "10.0.0.2", PHONE).await;
    visit(&app, "summer", "10.0.0.3", "curl/8.5.0").await;
    let waiting = stats(&app, &org, &link, "").await;
    assert_eq!(figures(&waiting), [3, 2, 1, 3]);
    assert!(app.pass(Duration::seconds(1)).await > 0, "the visits brought their job along");
    let mut counted = stats(&app, &org, &link, "").await;
    // Only the moment of asking is another.
    counted["to"] = waiting["to"].clone();
    assert_eq!(counted, waiting);
    // Half counted, half not.
    visit(&app, "summer", "10.0.0.1", PHONE).await;
    visit(&app, "summer", "10.0.0.4", PHONE).await;
    assert_eq!(figures(&stats(&app, &org, &link, "").await), [5, 3, 1, 5]);
    app.pass(Duration::seconds(1)).await;
    assert_eq!(figures(&stats(&app, &org, &link, "").await), [5, 3, 1, 5]);
    assert_eq!(app.owner(&org, "GET", &link, None).await.expect(200)["visits"], 5, "those of people");
    assert_eq!(app.owner(&org, "GET", "/api/links", None).await.expect(200)["items"][0]["visits"], 5);
}

#[tokio::test]
async fn looking_ahead_is_no_visit() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let link = link(&app, &org, "summer").await;
    let agent = ("user-agent", PHONE);
    app.send("HEAD", "/r/summer", &[agent], None).await;
    app.send("GET", "/r/summer", &[agent, ("sec-purpose", "prefetch;prerender")], None).await;
    app.send("GET", "/r/winter", &[agent], None).await;
    app.store_visits().await;
    assert_eq!(figures(&stats(&app, &org, &link, "").await), [0, 0, 0, 0]);
}

#[tokio::test]
async fn visits_are_told_apart_by_what_their_requests_tell() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let link = link(&app, &org, "summer").await;
    let phone = [
        ("x-visitor", "10.0.0.1"),
        ("user-agent", PHONE),
        ("x-country", "de"),
        ("x-region", "BY"),
        ("accept-language", "de-DE,de;q=0.9"),
        ("referer", "https://www.Search.example/?q=x"),
    ];
    let desktop = [("x-visitor", "10.0.0.2"), ("user-agent", DESKTOP), ("x-country", "XX")];
    for headers in [&phone[..], &phone[..], &desktop[..]] {
        app.send("GET", "/r/summer", headers, None).await;
    }
    app.store_visits().await;
    app.pass(Duration::seconds(1)).await;
    let stats = stats(&app, &org, &link, "").await;
    let share = |value: &str, visits: i64, uniques: i64| json!({"value": value, "visits": visits, "uniques": uniques});
    for (list, first, second) in [
        ("devices", "mobile", "desktop"),
        ("systems", "iOS", "Windows"),
        ("browsers", "Safari", "Chrome"),
        ("countries", "DE", ""),
        ("regions", "DE-BY", ""),
        ("languages", "de", ""),
        ("referrers", "search.example", ""),
    ] {
        assert_eq!(stats[list], json!([share(first, 2, 1), share(second, 1, 1)]), "{list}");
    }
    assert_eq!(stats["routing"], json!([share("", 3, 2)]));
    assert_eq!(stats["lastVisitAt"], "2026-03-02T12:00:00.000Z");
}

#[tokio::test]
async fn a_visitor_is_new_every_day_and_the_series_has_no_gaps() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let link = link(&app, &org, "summer").await;
    visit(&app, "summer", "10.0.0.1", PHONE).await;
    app.clock.advance(Duration::days(2));
    visit(&app, "summer", "10.0.0.1", PHONE).await;
    visit(&app, "summer", "10.0.0.1", PHONE).await;
    app.pass(Duration::hours(1)).await;
    let point = |at: &str, visits: i64, uniques: i64| json!({"at": at, "visits": visits, "uniques": uniques});
    let days = stats(&app, &org, &link, "?days=3").await;
    assert_eq!(
        (figures(&days), &days["interval"], &days["from"]),
        ([3, 2, 0, 3], &json!("day"), &json!("2026-03-02T00:00:00.000Z"))
    );
    let expected = [
        point("2026-03-02T00:00:00.000Z", 1, 1),
        point("2026-03-03T00:00:00.000Z", 0, 0),
        point("2026-03-04T00:00:00.000Z", 2, 1),
    ];
    assert_eq!(days["series"], json!(expected));
    let hours = stats(&app, &org, &link, "?days=1").await;
    assert_eq!((figures(&hours), &hours["interval"]), ([2, 1, 0, 3], &json!("hour")));
    let series = hours["series"].as_array().unwrap();
    assert_eq!(
        (series.len(), &series[12], &series[13]),
        (14, &point("2026-03-04T12:00:00.000Z", 2, 1), &point("2026-03-04T13:00:00.000Z", 0, 0))
    );
    for days in ["0", "367", "x"] {
        app.owner(&org, "GET", &format!("{link}/stats?days={days}"), None).await.expect(400);
    }
}

#[tokio::test]
async fn a_batch_that_is_stored_again_after_it_was_counted_changes_nothing() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let link = link(&app, &org, "summer").await;
    let (now, id) = (app.clock.now(), link.rsplit('/').next().unwrap().parse::<domain::id::LinkId>().unwrap());
    let batch = new_uuid(now, &app.chance);
    let visits: Vec<Visit> = (0..3)
        .map(|visitor| Visit {
            id: new_uuid(now, &app.chance),
            org_id: org.id,
            target_id: id.0,
            at: now,
            visitor,
            ..counted(0, false).visit
        })
        .collect();
    let store = async || {
        let mut conn = app.store.pool().acquire().await.unwrap();
        insert_batch(&mut conn, batch, &visits).await.unwrap();
    };
    store().await;
    store().await;
    visit(&app, "summer", "10.0.0.1", PHONE).await;
    app.pass(Duration::seconds(1)).await;
    assert_eq!(figures(&stats(&app, &org, &link, "").await), [4, 4, 0, 4]);
    store().await;
    assert_eq!(figures(&stats(&app, &org, &link, "").await), [4, 4, 0, 4]);
    visit(&app, "summer", "10.0.0.2", PHONE).await;
    app.pass(Duration::seconds(1)).await;
    assert_eq!(figures(&stats(&app, &org, &link, "").await), [5, 5, 0, 5]);
}

#[tokio::test]
async fn a_thousand_visits_are_counted_piece_by_piece_and_each_once() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let link = link(&app, &org, "summer").await;
    let now = app.clock.now();
    let mut targets: Vec<_> = (1..300).map(|_| new_uuid(now, &app.chance)).collect();
    targets.push(link.rsplit('/').next().unwrap().parse::<domain::id::LinkId>().unwrap().0);
    // The same two people at each, one of them twice; and then both once more.
    for (so_far, uniques) in [(1, 2), (2, 2)] {
        let visit = |n: usize| Visit {
            id: new_uuid(now, &app.chance),
            org_id: org.id,
            target_id: targets[n % targets.len()],
            at: now,
            visitor: i64::try_from(n / targets.len() % 2).unwrap(),
            ..counted(0, false).visit
        };
        let visits: Vec<Visit> = (0..900).map(visit).collect();
        let mut conn = app.store.pool().acquire().await.unwrap();
        insert_batch(&mut conn, new_uuid(now, &app.chance), &visits).await.unwrap();
        let expected = [3 * so_far, uniques, 0, 3 * so_far];
        assert_eq!(figures(&stats(&app, &org, &link, "").await), expected, "to the last one that was stored");
        let job = NewJob::new(OrgId::SYSTEM, &CountVisits {}, now, &app.chance);
        let mut tx = app.store.begin().await.unwrap();
        queue::enqueue(&mut tx, job).await.unwrap();
        tx.commit().await.unwrap();
        app.drain().await;
        assert_eq!(figures(&stats(&app, &org, &link, "").await), expected);
        for sums in [
            "select count(*), count(*) filter (where is_unique) from visits",
            "select sum(visits)::bigint, sum(uniques)::bigint from visit_totals",
            "select sum(visits)::bigint, sum(uniques)::bigint from visit_days where target_id <> $1",
            "select sum(visits)::bigint, sum(uniques)::bigint from visit_days where target_id = $1",
        ] {
            let query = sqlx::query_as::<_, (i64, i64)>(sums);
            let query = if sums.contains("$1") { query.bind(uuid::Uuid::nil()) } else { query };
            assert_eq!(query.fetch_one(&mut *conn).await.unwrap(), (900 * so_far, 600), "{sums}");
        }
    }
}

#[tokio::test]
async fn a_visit_is_told_to_those_who_listen_and_a_programs_is_not() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Reply::ok()));
    app.endpoint(&org, "inkode", &receiver.url(), &["link.clicked"]).await;
    let link = link(&app, &org, "summer").await;
    visit(&app, "summer", "10.0.0.1", PHONE).await;
    visit(&app, "summer", "10.0.0.2", "curl/8.5.0").await;
    app.pass(Duration::seconds(1)).await;
    let told: Vec<Value> =
        receiver.received().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    let payload = &told[0]["payload"];
    assert_eq!((&told[0]["event"], &payload["slug"]), (&json!("link.clicked"), &json!("summer")));
    assert_eq!(payload["id"].as_str(), link.rsplit('/').next());
    assert_eq!(payload["destination"], "https://shop.example/");
    assert_eq!((&payload["device"], &payload["isUnique"]), (&json!("mobile"), &json!(true)));
}

#[tokio::test]
async fn a_visit_names_the_variant_that_led_it_on_in_statistics_and_events() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Reply::ok()));
    app.endpoint(&org, "inkode", &receiver.url(), &["link.clicked"]).await;
    let variant = json!({"id": "b", "destination": "https://shop.example/b", "weight": 1});
    let body = json!({"destination": "https://shop.example/", "slug": "summer", "utm": {"source": "flyer"},
                      "routing": {"variants": [variant]}});
    let made = app.owner(&org, "POST", "/api/links", Some(body)).await.expect(201);
    visit(&app, "summer", "10.0.0.1", PHONE).await;
    app.pass(Duration::seconds(1)).await;
    let link = format!("/api/links/{}", made["id"].as_str().unwrap());
    let routing = stats(&app, &org, &link, "").await["routing"].clone();
    assert_eq!(routing, json!([{"value": "variant:b", "visits": 1, "uniques": 1}]));
    let told: Value = serde_json::from_slice(&receiver.received()[0].body).unwrap();
    let payload = &told["payload"];
    assert_eq!(payload["branch"], "variant:b");
    assert_eq!(payload["destination"], "https://shop.example/b?utm_source=flyer");
}

#[test]
fn a_day_keeps_a_bounded_number_of_values_apart_and_loses_no_visit() {
    let mut tally = Tally::default();
    for n in 0..2000 {
        let mut one = counted(0, false);
        one.visit.referrer = format!("{n}.example").into();
        tally.count(&one);
    }
    let referrers = tally.facets.get("referrer");
    assert_eq!((referrers.len(), tally.facets.sum("referrer", OTHERS).visits), (501, 1500));
    assert_eq!(referrers.iter().map(|(_, sum)| sum.visits).sum::<i64>(), 2000);
}

fn counted(hour: u32, is_bot: bool) -> Counted {
    let visit = Visit {
        id: OrgId::SYSTEM.0,
        org_id: OrgId::SYSTEM,
        target_id: OrgId::SYSTEM.0,
        at: Utc.with_ymd_and_hms(2026, 3, 2, hour, 0, 0).unwrap(),
        visitor: 0,
        is_bot,
        device: "mobile".into(),
        system: Text::default(),
        browser: Text::default(),
        country: ["DE", "US", ""][hour as usize % 3].into(),
        region: Text::default(),
        language: Text::default(),
        referrer: Text::default(),
        branch: Text::default(),
    };
    Counted { is_unique: !is_bot && hour.is_multiple_of(2), visit }
}

proptest! {
    #[test]
    fn sums_are_the_same_however_visits_are_divided(
        visits in prop::collection::vec((0_u32..24, any::<bool>()), 0..60),
        cut in 0_usize..60,
    ) {
        let visits: Vec<Counted> = visits.into_iter().map(|(hour, is_bot)| counted(hour, is_bot)).collect();
        let sum = |visits: &[Counted]| visits.iter().fold(Tally::default(), |mut tally, visit| { tally.count(visit); tally });
        let (one, two) = visits.split_at(cut.min(visits.len()));
        let mut parts = sum(one);
        parts.merge(&sum(two));
        prop_assert_eq!(&parts, &sum(&visits));
        for facet in FACETS {
            let mut all = Sum::default();
            parts.facets.get(facet).iter().for_each(|(_, sum)| all += *sum);
            prop_assert_eq!(all, parts.sum);
        }
    }
}
