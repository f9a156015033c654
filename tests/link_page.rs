//! Link pages: made and changed like links, and shown to visitors as plain HTML that runs nothing.

use serde_json::{Value, json};

use crate::support::{Reply, TestApp, TestOrg};

const SHOP: &str = "https://shop.example/?a=1&b=2";

async fn make(app: &TestApp, org: &TestOrg, body: Value) -> Value {
    app.owner(org, "POST", "/api/link-pages", Some(body)).await.expect(201)
}

async fn link(app: &TestApp, org: &TestOrg, slug: &str) -> Value {
    let body = json!({"destination": SHOP, "slug": slug});
    app.owner(org, "POST", "/api/links", Some(body)).await.expect(201)
}

fn path(thing: &Value) -> String {
    let id = thing["id"].as_str().unwrap();
    format!("/api/{}/{id}", if id.starts_with("page_") { "link-pages" } else { "links" })
}

async fn visit(app: &TestApp) -> Reply {
    app.send("GET", "/p/acme", &[], None).await
}

/// What a page's list has: where each entry leads, and what is read.
fn entries(page: &Reply) -> Vec<(String, String)> {
    let entry = |item: &str| {
        let (to, rest) = item.split_once("\">").unwrap();
        (to.to_owned(), rest.split("</a>").next().unwrap().to_owned())
    };
    page.text.split("<li><a href=\"").skip(1).map(entry).collect()
}

#[tokio::test]
async fn a_page_is_shown_as_it_was_made_and_its_links_know_of_it() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let link = link(&app, &org, "summer").await;
    let body = json!({
        "slug": "acme", "title": "Acme", "description": "All.", "language": "de-AT",
        "theme": {"button": "#113355", "buttonText": "#ffffff"},
        "entries": [{"title": "Summer", "linkId": link["id"]}, {"title": "Shop", "url": SHOP}],
    });
    let made = make(&app, &org, body).await;
    let expected = json!({
        "id": made["id"], "url": format!("{}/p/acme", app.url), "slug": "acme", "title": "Acme", "description": "All.",
        "language": "de-AT", "theme": {"button": "#113355", "buttonText": "#ffffff"},
        "entries": [{"title": "Summer", "linkId": link["id"]}, {"title": "Shop", "url": SHOP}], "active": true,
        "createdAt": "2026-03-02T12:00:00.000Z", "updatedAt": "2026-03-02T12:00:00.000Z",
    });
    assert_eq!(made, expected);
    assert_eq!(app.owner(&org, "GET", &path(&made), None).await.expect(200), expected);
    assert_eq!(app.owner(&org, "GET", "/api/link-pages", None).await.expect(200)["items"], json!([expected]));
    let of_link = json!([{"id": made["id"], "slug": "acme", "title": "Acme"}]);
    assert_eq!(app.owner(&org, "GET", &path(&link), None).await.expect(200)["linkPages"], of_link);
    assert_eq!(app.owner(&org, "GET", "/api/links", None).await.expect(200)["items"][0]["linkPages"], of_link);
    // Turned round, and a second time the same link.
    let turned = json!([{"title": "Shop", "url": SHOP}, {"title": "A", "linkId": link["id"]}, {"title": "B", "linkId": link["id"]}]);
    let change = json!({"entries": turned, "theme": null, "title": "Acme & co"});
    let changed = app.owner(&org, "PATCH", &path(&made), Some(change)).await.expect(200);
    assert_eq!((&changed["entries"], changed.get("theme"), &changed["title"]), (&turned, None, &json!("Acme & co")));
    let again = app.owner(&org, "PATCH", &path(&made), Some(json!({"active": false}))).await.expect(200);
    assert_eq!(again["entries"], turned);
    let of_link = &app.owner(&org, "GET", &path(&link), None).await.expect(200)["linkPages"];
    assert_eq!(of_link.as_array().unwrap().len(), 1, "{of_link}");
    assert_eq!(app.owner(&org, "DELETE", &path(&made), None).await.status, 204);
    assert_eq!(app.owner(&org, "GET", &path(&link), None).await.expect(200)["linkPages"], json!([]));
    app.owner(&org, "GET", &path(&made), None).await.expect(404);
}

#[tokio::test]
async fn visitors_see_what_leads_somewhere_and_following_it_is_a_visit() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let mut links = vec![];
    for slug in ["one", "two", "three", "four"] {
        links.push(link(&app, &org, slug).await);
    }
    let of = |link: &Value| json!({"title": link["slug"], "linkId": link["id"]});
    let mut all: Vec<Value> = links.iter().map(of).collect();
    all.push(json!({"title": "Shop", "url": SHOP}));
    make(&app, &org, json!({"slug": "acme", "title": "Acme", "entries": all})).await;
    let page = visit(&app).await;
    assert_eq!(page.status, 200);
    assert_eq!(entries(&page).len(), 5);
    let change = async |link: &Value, body: Value| {
        app.owner(&org, "PATCH", &path(link), Some(body)).await.expect(200);
    };
    change(&links[1], json!({"active": false})).await;
    change(&links[2], json!({"expiresAt": "2026-03-02T13:00:00Z"})).await;
    app.owner(&org, "DELETE", &path(&links[3]), None).await;
    app.clock.advance(chrono::Duration::hours(1));
    let seen = entries(&visit(&app).await);
    let expected = [(format!("{}/r/one", app.url), "one"), ("https://shop.example/?a=1&amp;b=2".into(), "Shop")];
    assert_eq!(seen, expected.map(|(to, title)| (to, title.to_owned())));
    let followed = app.send("GET", "/r/one", &[("user-agent", "Mozilla/5.0 Firefox/127.0")], None).await;
    assert_eq!((followed.status, followed.header("location")), (302, Some(SHOP)));
    app.store_visits().await;
    let stats = app.owner(&org, "GET", &format!("{}/stats", path(&links[0])), None).await.expect(200);
    assert_eq!(stats["totalVisits"], 1);
}

#[tokio::test]
async fn a_page_runs_nothing_whatever_is_written_on_it() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let evil = "</h1><script>alert(1)</script>\" onclick='x' &amp;";
    let entry = json!({"title": evil, "url": "https://a.example/\"onclick='x'><b>"});
    let body = json!({"slug": "acme", "title": evil, "description": format!("{evil}\nand more"), "entries": [entry]});
    make(&app, &org, body).await;
    let page = visit(&app).await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none';"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let text = &page.text;
    assert!(!text.contains("<script") && !text.contains("<b>") && !text.contains("onclick='"), "{text}");
    let escaped = "&lt;/h1&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot; onclick=&#39;x&#39; &amp;amp;";
    assert_eq!(text.matches(escaped).count(), 4, "title, heading, description and entry: {text}");
    // What those need who have it read aloud, who enlarge it, and who like it dark.
    for needed in [
        "<html lang=\"en\">",
        "width=device-width",
        "<main><h1>",
        "<ul><li>",
        "color-scheme:light dark",
        "overflow-wrap:anywhere",
    ] {
        assert!(text.contains(needed), "{needed}: {text}");
    }
    let theme = json!({"theme": {"background": "#000000", "text": "#FFFFFF"}});
    let page = app.owner(&org, "GET", "/api/link-pages", None).await.expect(200)["items"][0].clone();
    app.owner(&org, "PATCH", &path(&page), Some(theme)).await.expect(200);
    assert!(visit(&app).await.text.contains("background:#000000;color:#FFFFFF"));
}

#[tokio::test]
async fn a_page_that_is_not_there_or_switched_off_says_so() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for path in ["/p/acme", "/p/", "/p/a/b", "/p/%00", "/p/..%2f"] {
        let reply = app.send("GET", path, &[], None).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.text.contains("<h1>This page does not exist</h1>"), "{path}: {}", reply.text);
    }
    let page = make(&app, &org, json!({"slug": "acme", "title": "Acme"})).await;
    assert_eq!(app.send("GET", "/p/acme", &[("host", "ink.test")], None).await.status, 200);
    assert_eq!(app.send("HEAD", "/p/acme", &[], None).await.status, 200);
    assert_eq!(app.send("POST", "/p/acme", &[], None).await.status, 405);
    app.owner(&org, "PATCH", &path(&page), Some(json!({"active": false, "slug": "Acme"}))).await.expect(200);
    assert_eq!(visit(&app).await.status, 404);
    let off = app.send("GET", "/p/Acme", &[], None).await;
    assert!(off.status == 410 && off.text.contains("<h1>This page is switched off</h1>"), "{}", off.text);
}

#[tokio::test]
async fn what_is_wrong_with_a_page_is_named_at_once_and_addresses_are_taken_once() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let refused = async |body: Value| -> Vec<String> {
        let answer = app.owner(&org, "POST", "/api/link-pages", Some(body)).await.expect(400);
        let errors = answer["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    };
    let foreign = link(&app, &other, "theirs").await;
    let body = json!({
        "slug": "a b", "title": " ", "description": "x".repeat(501), "language": "english",
        "theme": {"background": "red", "button": "#ffffff", "buttonText": "#eeeeee"},
        "entries": [{"title": "", "url": "javascript:alert(1)"}, {"title": "A"},
                    {"title": "A", "url": SHOP, "linkId": foreign["id"]}, {"title": "A", "linkId": "x"}],
    });
    let expected = [
        "slug",
        "title",
        "description",
        "language",
        "theme.background",
        "theme.buttonText",
        "entries[0].title",
        "entries[0].url",
        "entries[1].url",
        "entries[2].url",
        "entries[3].linkId",
    ];
    assert_eq!(refused(body).await, expected);
    let theirs =
        json!({"title": "A", "entries": [{"title": "A", "url": SHOP}, {"title": "B", "linkId": foreign["id"]}]});
    assert_eq!(refused(theirs).await, ["entries[1].linkId"]);
    assert_eq!(refused(json!({"title": "A", "theme": {"text": "#000000"}})).await, ["theme.background"]);
    let many = vec![json!({"title": "A", "url": SHOP}); 101];
    assert_eq!(refused(json!({"title": "A", "entries": many})).await, ["entries"]);
    make(&app, &org, json!({"title": "A", "slug": "acme"})).await;
    for org in [&org, &other] {
        let body = json!({"title": "A", "slug": "acme"});
        let answer = app.owner(org, "POST", "/api/link-pages", Some(body)).await.expect(409);
        assert!(answer["code"] == "slug_taken" && answer["detail"].as_str().unwrap().contains("acme"), "{answer}");
    }
    let free = make(&app, &org, json!({"title": "A"})).await;
    assert_eq!(free["slug"].as_str().unwrap().len(), 7);
    let taken = app.owner(&org, "PATCH", &path(&free), Some(json!({"slug": "acme"}))).await.expect(409);
    assert_eq!(taken["code"], "slug_taken");
}
