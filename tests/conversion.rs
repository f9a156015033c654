//! Conversions: told by the pages that links lead to, or by servers behind them; once each, and only by whom they
//! concern.

mod origin;

use chrono::Duration;
use domain::{
    code::Target,
    conversion::{self, Conversion, SourceType, Told, hold_source, is_value, origin_of, rate, read_origin, visitor},
    id::{ConversionId, LinkId},
};
use futures::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Receiver, Reply, TestApp, TestOrg,
    receiver::{Reply as Answer, Script},
};

const PATH: &str = "/api/public/conversions";
const SHOP: &str = "https://shop.example";
const AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 \
                     Safari/537.36";

/// The id of a link at `/r/summer` that leads to the shop.
async fn link(app: &TestApp, org: &TestOrg, mut body: Value) -> String {
    body["destination"] = format!("{SHOP}/summer?x=1#top").into();
    let made = app.owner(org, "POST", "/api/links", Some(body)).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

/// A conversion of a link, with these members beside or in place of the usual.
fn of(org: &TestOrg, link: &str, more: Value) -> Value {
    let mut body = json!({"orgId": org.id.to_string(), "sourceType": "link", "sourceId": link, "step": "purchase"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn tell(app: &TestApp, body: &Value, headers: &[(&str, &str)]) -> Reply {
    app.send("POST", PATH, headers, Some(body.to_string())).await
}

async fn stats(app: &TestApp, org: &TestOrg, link: &str) -> Value {
    app.owner(org, "GET", &format!("/api/links/{link}/stats"), None).await.expect(200)
}

/// The name and value of the cookie that an answer gives.
#[track_caller]
fn cookie(reply: &Reply) -> String {
    let given = reply.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {}", reply.text));
    given.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn conversions_are_summed_up_by_step_and_currency() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (summer, winter) = (link(&app, &org, json!({})).await, link(&app, &org, json!({})).await);
    let first = tell(&app, &of(&org, &summer, json!({"value": 129.99, "currency": "usd"})), &[]).await;
    assert_eq!((first.status, &first.json["duplicate"]), (201, &json!(false)), "{}", first.text);
    assert!(first.json["id"].as_str().unwrap().starts_with("conv_"), "{}", first.text);
    let same = cookie(&first);
    for (more, cookie) in [
        (json!({"value": 0.01, "currency": "USD"}), same.as_str()),
        (json!({"value": 5, "currency": "EUR"}), ""),
        (json!({"value": 7}), ""),
        (json!({"step": "signup"}), ""),
        (json!({"step": "signup", "value": null, "currency": null, "dedupeKey": null}), ""),
        (json!({"step": "signup"}), same.as_str()),
    ] {
        tell(&app, &of(&org, &summer, more), &[("cookie", cookie)]).await.expect(201);
    }
    // Sixteen digits, of which a double that goes through Postgres's own conversion would lose some.
    tell(&app, &of(&org, &winter, json!({"value": 123456789012.3456, "currency": "JPY"})), &[]).await.expect(201);
    let expected = json!([
        {"step": "signup", "count": 3, "visitors": 3},
        {"step": "purchase", "currency": "USD", "count": 2, "visitors": 1, "value": 130.0},
        {"step": "purchase", "currency": "EUR", "count": 1, "visitors": 1, "value": 5.0},
        {"step": "purchase", "count": 1, "visitors": 1, "value": 7.0},
    ]);
    let told = stats(&app, &org, &summer).await;
    assert_eq!((&told["conversions"], &told["variants"]), (&expected, &json!([])));
    assert_eq!(stats(&app, &org, &winter).await["conversions"][0]["value"], 123456789012.3456);
    // A day later they are yesterday's.
    app.clock.advance(Duration::days(1));
    let today = app.owner(&org, "GET", &format!("/api/links/{summer}/stats?days=1"), None).await.expect(200);
    assert_eq!(today["conversions"], json!([]));
    assert_eq!(stats(&app, &org, &summer).await["conversions"], expected);
}

#[tokio::test]
async fn a_visitor_gets_a_cookie_once_and_is_another_in_every_workspace() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let (here, there) = (link(&app, &org, json!({})).await, link(&app, &other, json!({})).await);
    let fresh = tell(&app, &of(&org, &here, json!({})), &[]).await;
    let given = fresh.header("set-cookie").unwrap();
    let (pair, rest) = given.split_once("; ").unwrap();
    assert_eq!(rest, "Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax");
    let visitor = pair.strip_prefix("ink_visitor=").unwrap();
    assert_eq!(Uuid::try_parse(visitor).unwrap().get_version_num(), 4);
    let again = tell(&app, &of(&org, &here, json!({})), &[("cookie", &format!("a=b; {pair}; c=d"))]).await;
    assert_eq!((again.status, again.header("set-cookie")), (201, None));
    tell(&app, &of(&other, &there, json!({})), &[("cookie", pair)]).await.expect(201);
    let told: Vec<Uuid> =
        sqlx::query_scalar("select visitor_id from conversions order by id").fetch_all(app.store.pool()).await.unwrap();
    assert_eq!(told[0], told[1]);
    assert!(told[2] != told[0] && told.iter().all(|id| id.to_string() != visitor), "the cookie itself is kept nowhere");
    for broken in [
        "",
        "x",
        &visitor.to_uppercase(),
        &visitor.replace('-', ""),
        &format!("{{{visitor}}}"),
        "00000000-0000-0000-0000-000000000000",
        "01890a5d-ac96-774b-bcce-b302099a8057",
    ] {
        let reply = tell(&app, &of(&org, &here, json!({})), &[("cookie", &format!("ink_visitor={broken}"))]).await;
        assert_ne!(cookie(&reply), format!("ink_visitor={broken}"));
    }
    let secure = TestApp::build().public_at("https://fleet.example").start().await;
    let org = secure.org("acme").await;
    let link = link(&secure, &org, json!({})).await;
    let given = tell(&secure, &of(&org, &link, json!({})), &[]).await;
    assert!(given.header("set-cookie").unwrap().ends_with("; HttpOnly; SameSite=None; Secure"));
}

#[tokio::test]
async fn what_is_told_twice_under_one_key_is_one_conversion() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Answer::ok()));
    app.endpoint(&org, "inkode", &receiver.url(), &["conversion.recorded"]).await;
    let (summer, winter) = (link(&app, &org, json!({})).await, link(&app, &org, json!({})).await);
    let body = of(&org, &summer, json!({"dedupeKey": "order-1", "value": 5}));
    let told = join_all((0..8).map(|_| tell(&app, &body, &[]))).await;
    let fresh: Vec<&Reply> = told.iter().filter(|reply| reply.status == 201).collect();
    assert_eq!(fresh.len(), 1);
    for known in told.iter().filter(|reply| reply.status != 201) {
        assert_eq!((known.status, &known.json), (200, &json!({"id": fresh[0].json["id"], "duplicate": true})));
        assert!(known.header("set-cookie").is_some());
    }
    // The first counts, whatever the next says.
    let other = tell(&app, &of(&org, &summer, json!({"dedupeKey": "order-1", "value": 6})), &[]).await.expect(200);
    assert_eq!(other["id"], fresh[0].json["id"]);
    for another in [
        of(&org, &summer, json!({"dedupeKey": "order-2"})),
        of(&org, &summer, json!({"dedupeKey": "order-1", "step": "signup"})),
        of(&org, &winter, json!({"dedupeKey": "order-1"})),
        of(&org, &summer, json!({})),
        of(&org, &summer, json!({})),
    ] {
        assert_eq!(tell(&app, &another, &[]).await.expect(201)["duplicate"], false);
    }
    app.drain().await;
    assert_eq!(receiver.received().len(), 6, "a repeat is told to nobody");
}

#[tokio::test]
async fn a_conversion_that_breaks_rules_is_refused_with_the_fields() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let link = link(&app, &org, json!({})).await;
    for (more, field) in [
        (json!({"orgId": "what ever"}), "orgId"),
        (json!({"orgId": null}), "orgId"),
        (json!({"sourceType": "page"}), "sourceType"),
        (json!({"sourceId": "fld_01KJQ6PSG0EC78V5NZFZCHSTM3"}), "sourceId"),
        (json!({"sourceId": "link_x"}), "sourceId"),
        (json!({"step": ""}), "step"),
        (json!({"step": "x".repeat(101)}), "step"),
        (json!({"step": "a\u{0}"}), "step"),
        (json!({"value": -0.01}), "value"),
        (json!({"value": 1000000000000.1}), "value"),
        (json!({"value": 0.00001}), "value"),
        (json!({"value": "5"}), "value"),
        (json!({"currency": "EUR"}), "currency"),
        (json!({"value": 1, "currency": "EURO"}), "currency"),
        (json!({"value": 1, "currency": "€€€"}), "currency"),
        (json!({"dedupeKey": ""}), "dedupeKey"),
        (json!({"dedupeKey": "x".repeat(256)}), "dedupeKey"),
    ] {
        let refused = tell(&app, &of(&org, &link, more.clone()), &[]).await.expect(400);
        assert_eq!(refused["errors"].as_array().map(|errors| &errors[0]["field"]), Some(&json!(field)), "{more}");
    }
    let most = json!({"step": "ü".repeat(100), "value": 1e12, "currency": "eur", "dedupeKey": "ü".repeat(255)});
    tell(&app, &of(&org, &link, most), &[]).await.expect(201);
    tell(&app, &of(&org, &link, json!({"value": -0.0})), &[]).await.expect(201);
    let sums = stats(&app, &org, &link).await["conversions"].clone();
    assert_eq!(sums.as_array().unwrap().len(), 2);
    assert!(sums.as_array().unwrap().iter().any(|sum| sum["currency"] == "EUR" && sum["value"] == 1e12), "{sums}");
}

#[tokio::test]
async fn what_is_not_the_workspaces_is_unknown() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let (own, theirs) = (link(&app, &org, json!({})).await, link(&app, &other, json!({})).await);
    sqlx::query("update organizations set external_id = 'org_2abcDEF' where id = $1")
        .bind(org.id.0)
        .execute(app.store.pool())
        .await
        .unwrap();
    let unknown = "01KJQ6PSG0EC78V5NZFZCHSTM3";
    for (more, detail) in [
        (json!({"sourceId": theirs}), "No link has this id."),
        (json!({"sourceId": format!("link_{unknown}")}), "No link has this id."),
        (json!({"sourceId": format!("qr_{unknown}")}), "No link has this id."),
        (json!({"orgId": other.id.to_string()}), "No link has this id."),
        (json!({"orgId": "org_nobodys"}), "No link has this id."),
        (json!({"sourceType": "qr", "sourceId": format!("qr_{unknown}")}), "No QR code has this id."),
        (json!({"sourceType": "qr"}), "No QR code has this id."),
    ] {
        let refused = tell(&app, &of(&org, &own, more.clone()), &[("origin", SHOP)]).await;
        assert_eq!((refused.status, &refused.json["code"]), (404, &json!("not_found")), "{more}");
        assert_eq!((&refused.json["detail"], refused.header("set-cookie")), (&json!(detail), None), "{more}");
    }
    tell(&app, &of(&org, &own, json!({"orgId": "org_2abcDEF"})), &[]).await.expect(201);
    // Who bought is told of after the link was switched off, and not after it is gone.
    let path = format!("/api/links/{own}");
    app.owner(&org, "PATCH", &path, Some(json!({"active": false, "archived": true}))).await.expect(200);
    tell(&app, &of(&org, &own, json!({})), &[]).await.expect(201);
    tell(&app, &of(&other, &theirs, json!({})), &[]).await.expect(201);
    assert_eq!(app.owner(&org, "DELETE", &path, None).await.status, 204);
    tell(&app, &of(&org, &own, json!({})), &[]).await.expect(404);
    let left: Vec<Uuid> =
        sqlx::query_scalar("select org_id from conversions").fetch_all(app.store.pool()).await.unwrap();
    assert_eq!(left, [other.id.0], "a link's conversions go with it");
}

#[tokio::test]
async fn no_conversion_outlives_its_link() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let link = link(&app, &org, json!({})).await;
    let target = link.parse::<LinkId>().unwrap();
    let mut tx = app.store.begin().await.unwrap();
    assert!(hold_source(&mut tx, org.id, SourceType::Link, target.0).await.unwrap().is_some());
    let record = async {
        // Long enough for the deletion to come in between, if it could.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let told = Told { step: "purchase".into(), value: None, currency: None, dedupe_key: None };
        let (id, visitor_id) = (ConversionId::new(app.clock.now(), &app.chance), visitor(org.id, Uuid::nil()));
        let (target, at, branch) = (Target::Link(target), app.clock.now(), String::new());
        let new = Conversion { id, org_id: org.id, target, at, visitor_id, branch, told };
        assert_eq!(conversion::record(&mut tx, &new).await.unwrap(), id);
        tx.commit().await.unwrap();
    };
    let path = format!("/api/links/{link}");
    let (gone, ()) = tokio::join!(app.owner(&org, "DELETE", &path, None), record);
    assert_eq!(gone.status, 204, "{}", gone.text);
    let left: i64 = sqlx::query_scalar("select count(*) from conversions").fetch_one(app.store.pool()).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn one_address_tells_so_many_of_one_link_and_holds_nobody_else_up() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (summer, winter) = (link(&app, &org, json!({})).await, link(&app, &org, json!({})).await);
    let by = async |link: &str, address: &str| {
        tell(&app, &of(&org, link, json!({})), &[("x-visitor", address), ("origin", SHOP)]).await
    };
    // All at once: on a busy machine there is another each second.
    let told = join_all((0..90).map(|_| by(&summer, "192.0.2.1"))).await;
    assert!(told.iter().filter(|reply| reply.status == 201).count() >= 60);
    let over = told.iter().find(|reply| reply.status == 429).expect("more than sixty");
    assert_eq!((&over.json["code"], over.header("set-cookie")), (&json!("rate_limited"), None));
    assert_eq!(over.header("access-control-allow-origin"), Some(SHOP), "the page can read how long it waits");
    let wait: u64 = over.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    for (link, address) in [(&summer, "192.0.2.2"), (&winter, "192.0.2.1")] {
        by(link, address).await.expect(201);
    }
}

#[tokio::test]
async fn a_visitor_converts_for_the_variant_that_they_were_led_to() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let variants = json!([
        {"id": "a", "name": "A", "destination": "https://a.example/", "weight": 1},
        {"id": "b", "name": "B", "destination": "https://b.example/", "weight": 1},
        {"id": "none", "destination": "https://c.example/", "weight": 0},
    ]);
    let link = link(&app, &org, json!({"slug": "summer", "routing": {"variants": variants}})).await;
    let (mut visitors, mut converted) = ([0_i64; 2], [0_i64; 2]);
    for n in 0..24 {
        let address = format!("192.0.2.{n}");
        let headers = [("x-visitor", address.as_str()), ("user-agent", AGENT)];
        let led = app.send("GET", "/r/summer", &headers, None).await;
        let led = usize::from(led.header("location") == Some("https://b.example/"));
        visitors[led] += 1;
        // Again on the same day: no other visitor.
        app.send("GET", "/r/summer", &headers, None).await;
        if n % 3 == 0 {
            converted[led] += 1;
            let first = tell(&app, &of(&org, &link, json!({})), &headers).await;
            let known = cookie(&first);
            let again = [&headers[..], &[("cookie", known.as_str())]].concat();
            tell(&app, &of(&org, &link, json!({"step": "signup"})), &again).await.expect(201);
        }
    }
    app.store_visits().await;
    let told = stats(&app, &org, &link).await;
    let results = told["variants"].as_array().unwrap();
    assert_eq!(results.iter().map(|r| r["id"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b", "none"]);
    assert_eq!((&results[0]["name"], &results[2]["name"]), (&json!("A"), &json!("")));
    assert!(visitors.iter().chain(&converted).all(|count| *count > 0), "{visitors:?} {converted:?}");
    for (n, result) in results[..2].iter().enumerate() {
        assert_eq!(result["visitors"], visitors[n], "{told}");
        assert_eq!(
            (&result["convertedVisitors"], &result["conversions"]),
            (&json!(converted[n]), &json!(2 * converted[n]))
        );
        let expected = rate(converted[n], visitors[n]);
        let interval = &result["confidenceInterval"];
        for (told, expected) in [
            (&result["conversionRate"], expected.share),
            (&interval["low"], expected.interval.0),
            (&interval["high"], expected.interval.1),
        ] {
            assert!((told.as_f64().unwrap() - expected).abs() < 1e-9, "{result}");
        }
    }
    let nobody = json!({
        "id": "none", "name": "", "visitors": 0, "conversions": 0, "convertedVisitors": 0, "conversionRate": 0.0,
        "confidenceInterval": {"low": 0.0, "high": 1.0},
    });
    assert_eq!(results[2], nobody);
}

#[tokio::test]
async fn a_conversion_is_told_to_whoever_has_a_word_for_it() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Answer::ok()));
    for dialect in ["inkode", "iloveqr", "inklink", "inkr", "qrstudio"] {
        app.endpoint(&org, dialect, &format!("{}/{dialect}", receiver.url()), &[]).await;
    }
    // Rules ask for the how-manieth visit as well, of which the last one's number is known.
    let routing = json!({"rules": [{
        "id": "first", "conditions": [{"attribute": "visit", "most": 1}], "destination": "https://gift.example/",
    }]});
    let link = link(&app, &org, json!({"slug": "summer", "routing": routing})).await;
    app.drain().await;
    let before = receiver.received().len();
    app.send("GET", "/r/summer", &[], None).await;
    let body = of(&org, &link, json!({"value": 130.0, "currency": "EUR", "dedupeKey": "order-1"}));
    let full = tell(&app, &body, &[("x-request-id", "mine")]).await.expect(201);
    app.send("GET", "/r/summer", &[], None).await;
    let bare = tell(&app, &of(&org, &link, json!({"step": "signup"})), &[]).await.expect(201);
    app.drain().await;
    let heard: Vec<Value> = receiver.received()[before..]
        .iter()
        .filter(|request| request.path.ends_with("inkode"))
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .filter(|body: &Value| body["event"] == "conversion.recorded")
        .collect();
    assert!(receiver.received()[before..].iter().all(|request| request.path.ends_with("inkode")));
    let find = |id: &Value| heard.iter().map(|body| &body["payload"]).find(|data| data["id"] == *id).unwrap();
    let (full, bare) = (find(&full["id"]), find(&bare["id"]));
    assert_eq!(heard.len(), 2);
    let visitor = |data: &Value| data["visitorId"].as_str().unwrap().to_owned();
    assert!(visitor(full).starts_with("visitor_") && visitor(full) != visitor(bare));
    let expected = |data: &Value, more: Value| {
        let mut expected = json!({
            "id": data["id"], "sourceType": "link", "sourceId": link, "visitorId": data["visitorId"],
            "at": "2026-03-02T12:00:00.000Z",
        });
        expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        expected
    };
    let more = json!({
        "step": "purchase", "value": 130, "currency": "EUR", "dedupeKey": "order-1", "branch": "rule:first",
    });
    assert_eq!(full, &expected(full, more));
    let more = json!({"step": "signup", "value": null, "currency": null, "dedupeKey": null, "branch": null});
    assert_eq!(bare, &expected(bare, more));
}

#[test]
fn a_rate_comes_with_its_interval() {
    // Newcombe (1998), table I, method 3.
    for (converted, visitors, low, high) in
        [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
    {
        let rate = rate(converted, visitors);
        assert!((rate.share - converted as f64 / visitors as f64).abs() < 1e-12);
        assert!((rate.interval.0 - low).abs() < 1e-4 && (rate.interval.1 - high).abs() < 1e-4, "{rate:?}");
    }
    assert_eq!((rate(5, 0).share, rate(5, 0).interval), (0.0, (0.0, 1.0)));
    assert_eq!((rate(7, 5).share, rate(7, 5).interval.1), (1.0, 1.0));
}

#[test]
fn a_value_has_four_decimals_and_an_origin_one_spelling() {
    for fine in [0.0, 0.1, 0.0001, 129.99, 0.1 + 0.7, 999_999_999_999.5, 1e12] {
        assert_eq!(is_value(fine), fine.to_string().split('.').nth(1).is_none_or(|d| d.len() <= 4), "{fine}");
    }
    for wrong in [0.1 + 0.2, 0.00001, 1e-300, 1e12 + 1.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(!is_value(wrong), "{wrong}");
    }
    for address in ["https://Shop.example:443/a?b#c", "https://shop.example", "HTTPS://shop.example/"] {
        assert_eq!(origin_of(address).as_deref(), Some(SHOP), "{address}");
    }
    assert_eq!(read_origin("https://Shop.example:443").as_deref(), Some(SHOP));
    assert_eq!(origin_of("mailto:a@shop.example"), None);
}

#[tokio::test]
async fn conversions_of_qr_codes_are_taken_from_where_the_code_or_its_link_leads() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let receiver = Receiver::start(Script::always(Answer::ok()));
    app.endpoint(&org, "inkode", &receiver.url(), &["conversion.recorded"]).await;
    let variants = json!([{"id": "a", "name": "A", "destination": "https://a.example/", "weight": 1}]);
    let through = link(&app, &org, json!({"routing": {"variants": variants}})).await;
    let make = async |body: Value| {
        let made = app.owner(&org, "POST", "/api/qr", Some(body)).await.expect(201);
        made["id"].as_str().unwrap().to_owned()
    };
    let dynamic = make(json!({"isDynamic": true, "linkId": through, "shortCode": "poster"})).await;
    let plain = make(json!({"content": {"url": "https://plain.example/x"}})).await;
    let of_code = |id: &str| of(&org, id, json!({"sourceType": "qr"}));
    for (id, origin, status) in [
        (&dynamic, SHOP, 201),
        (&dynamic, "https://a.example", 201),
        (&dynamic, "https://plain.example", 403),
        (&plain, "https://plain.example", 201),
        (&plain, SHOP, 403),
    ] {
        let told = tell(&app, &of_code(id), &[("origin", origin), ("user-agent", AGENT)]).await;
        assert_eq!(told.status, status, "{id} {origin}: {}", told.text);
    }
    let headers = [("user-agent", AGENT), ("x-visitor", "10.0.0.1")];
    app.send("GET", "/r/poster", &headers, None).await;
    app.store_visits().await;
    let stats = app.owner(&org, "GET", &format!("/api/qr/{dynamic}/stats"), None).await.expect(200);
    assert_eq!(stats["conversions"][0]["count"], 2);
    let variant = &stats["variants"][0];
    assert_eq!((&variant["id"], &variant["visitors"], &variant["conversions"]), (&json!("a"), &json!(1), &json!(2)));
    app.drain().await;
    let bodies: Vec<Value> = receiver.received().iter().map(|it| serde_json::from_slice(&it.body).unwrap()).collect();
    let sources: Vec<&Value> = bodies.iter().map(|body| &body["payload"]["sourceId"]).collect();
    assert_eq!(sources, [&json!(dynamic), &json!(dynamic), &json!(plain)]);
    assert_eq!(bodies[0]["payload"]["sourceType"], "qr");
    for id in [&dynamic, &plain] {
        assert_eq!(app.owner(&org, "DELETE", &format!("/api/qr/{id}"), None).await.status, 204);
        assert_eq!(tell(&app, &of_code(id), &[]).await.status, 404);
    }
    let left: i64 = sqlx::query_scalar("select count(*) from conversions").fetch_one(app.store.pool()).await.unwrap();
    assert_eq!(left, 0, "what is gone has no conversions");
}
