//! Imports and exports: what other products export becomes links, each line says how it ended, and nothing makes the
//! reader fall over.

use domain::{
    import::{Columns, Format, Line, Unreadable, read},
    plan::Plan,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{
    Receiver, TestApp, TestOrg,
    receiver::{Reply, Script},
};

const FORMATS: [Format; 4] = [Format::Csv, Format::Bitly, Format::Yourls, Format::Shlink];

fn plain(format: Format, text: &str) -> Vec<Line> {
    read(format, text.as_bytes(), &Columns::default()).unwrap()
}

/// The destination, slug, title and tags of each line that is a link.
fn links(lines: &[Line]) -> Vec<(&str, Option<&str>, &str, Vec<&str>)> {
    lines
        .iter()
        .filter_map(|line| line.record.as_ref().ok())
        .map(|r| (&*r.destination, r.slug.as_deref(), &*r.title, r.tags.iter().map(String::as_str).collect()))
        .collect()
}

#[test]
fn bitlys_exports_are_read() {
    let csv = "Link,Custom Link,Destination URL,Title,Tags,Created\n\
               https://bit.ly/3xYz,https://bit.ly/summer,https://shop.example/a,Summer,\"flyer,2026\",2026-05-01\n\
               bit.ly/4AbC,,https://shop.example/b,,,\n";
    let expected = vec![
        ("https://shop.example/a", Some("summer"), "Summer", vec!["flyer", "2026"]),
        ("https://shop.example/b", Some("4AbC"), "", vec![]),
    ];
    assert_eq!(links(&plain(Format::Bitly, csv)), expected);
    let api = json!({"links": [
        {"created_at": "2026-05-01T10:00:00+0000", "id": "bit.ly/3xYz", "link": "https://bit.ly/3xYz",
         "custom_bitlinks": ["https://bit.ly/summer"], "long_url": "https://shop.example/a", "title": "Summer",
         "archived": false, "tags": ["flyer", "2026"], "deeplinks": [], "references": {"group": "https://api/x"}},
        {"id": "bit.ly/4AbC", "link": "https://bit.ly/4AbC", "custom_bitlinks": [],
         "long_url": "https://shop.example/b", "archived": true, "tags": []},
    ], "pagination": {"total": 2}});
    let read = plain(Format::Bitly, &api.to_string());
    assert_eq!(links(&read), expected);
    let archived: Vec<bool> = read.iter().map(|line| line.record.as_ref().unwrap().archived).collect();
    assert_eq!(archived, [false, true]);
}

#[test]
fn yourls_exports_are_read() {
    let table = "\"keyword\",\"url\",\"title\",\"timestamp\",\"ip\",\"clicks\"\r\n\
                 \"ozh\",\"https://shop.example/a?x=1,2\",\"He said \"\"hi\"\"\",\"2026-05-01 10:00:00\",\"1.2.3.4\",\"7\"\r\n";
    let expected = vec![("https://shop.example/a?x=1,2", Some("ozh"), "He said \"hi\"", vec![])];
    assert_eq!(links(&plain(Format::Yourls, table)), expected);
    let plugin = "source,target,hits\r\n/ozh/,https://shop.example/a,7\r\n";
    assert_eq!(links(&plain(Format::Yourls, plugin)), [("https://shop.example/a", Some("ozh"), "", vec![])]);
    let api = json!({"links": {
        "link_1": {"shorturl": "https://sho.rt/ozh", "url": "https://shop.example/a", "title": "A",
                   "timestamp": "2026-05-01 10:00:00", "ip": "1.2.3.4", "clicks": "7"},
    }, "stats": {"total_links": "1", "total_clicks": "7"}, "statusCode": 200, "message": "success"});
    let read = plain(Format::Yourls, &api.to_string());
    assert_eq!(links(&read), [("https://shop.example/a", Some("ozh"), "A", vec![])]);
}

#[test]
fn shlinks_exports_are_read() {
    let csv = "createdAt,domain,shortCode,shortUrl,longUrl,title,tags,visits\n\
               2026-05-01T10:00:00+02:00,s.test,abc,https://s.test/abc,https://shop.example/a,A,flyer|print,12\n";
    assert_eq!(
        links(&plain(Format::Shlink, csv)),
        [("https://shop.example/a", Some("abc"), "A", vec!["flyer", "print"])]
    );
    let api = json!({"shortUrls": {"data": [
        {"shortCode": "abc", "shortUrl": "https://s.test/abc", "longUrl": "https://shop.example/a",
         "dateCreated": "2026-05-01T10:00:00+02:00", "visitsSummary": {"total": 12}, "tags": ["flyer"], "title": null,
         "meta": {"validSince": "2026-05-01T00:00:00+02:00", "validUntil": null, "maxVisits": 100}, "domain": null},
    ], "pagination": {"currentPage": 1}}});
    let read = plain(Format::Shlink, &api.to_string());
    assert_eq!(links(&read), [("https://shop.example/a", Some("abc"), "", vec!["flyer"])]);
    let record = read[0].record.as_ref().unwrap();
    assert_eq!(record.max_visits, Some(100));
    assert_eq!(record.starts_at.unwrap().to_rfc3339(), "2026-04-30T22:00:00+00:00");
}

#[test]
fn csv_is_read_as_spreadsheets_write_it() {
    let expected = vec![("https://shop.example/a", Some("a"), "A; b", vec!["x", "y"])];
    for text in [
        "\u{feff}url;slug;title;tags\r\nhttps://shop.example/a;a;\"A; b\";x,y\r\n",
        "url\tslug\ttitle\ttags\nhttps://shop.example/a\ta\tA; b\tx|y",
        "Long URL,Short-Code,NAME,Tags\n\n\"https://shop.example/a\" , a ,A; b,\"x; y\"\n,,,\n",
    ] {
        assert_eq!(links(&plain(Format::Csv, text)), expected, "{text}");
    }
    let columns = Columns { destination: Some("Where".into()), slug: Some("url".into()), ..Columns::default() };
    let text = b"Where,url\nhttps://shop.example/a,a\n";
    let read_so = read(Format::Csv, text, &columns).unwrap();
    assert_eq!(links(&read_so), [("https://shop.example/a", Some("a"), "", vec![])]);
    // A line that begins inside quotes is counted where it begins.
    let lines =
        plain(Format::Csv, "url,title\nhttps://a.example,\"two\nlines\"\n,no destination\nhttps://b.example,\n");
    assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [2, 4, 5]);
    assert_eq!(lines[1].record, Err("has no destination".to_owned()));
}

#[test]
fn a_file_that_says_nothing_is_refused_as_a_whole() {
    for (text, rule) in [
        ("", Unreadable::Empty),
        ("url\n", Unreadable::Empty),
        ("a,b\n1,2\n", Unreadable::NoDestination("a, b".into())),
    ] {
        assert_eq!(read(Format::Csv, text.as_bytes(), &Columns::default()), Err(rule), "{text}");
    }
    let columns = Columns { slug: Some("Code".into()), ..Columns::default() };
    assert_eq!(read(Format::Csv, b"url\nhttps://a.example", &columns), Err(Unreadable::NoColumn("Code".into())));
    for text in ["{", "[1]", "{\"links\": 1}", "{\"shortUrls\": {\"data\": [\"x\"]}}"] {
        assert_eq!(read(Format::Shlink, text.as_bytes(), &Columns::default()), Err(Unreadable::Json), "{text}");
    }
    let many = "url\n".to_owned() + &"https://a.example\n".repeat(50_001);
    assert_eq!(read(Format::Csv, many.as_bytes(), &Columns::default()), Err(Unreadable::TooMany));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_fall_over(bytes in prop::collection::vec(any::<u8>(), 0..400), format in 0..4_usize) {
        for line in read(FORMATS[format], &bytes, &Columns::default()).into_iter().flatten() {
            if let Ok(record) = line.record {
                let _ = record.check();
            }
        }
    }

    #[test]
    fn nor_do_texts_that_look_like_exports(text in "(url|slug|tags|[\"';,|\t\r\n{}\\[\\]:=a-z/. \u{feff}é]){0,80}", format in 0..4_usize) {
        let _ = read(FORMATS[format], format!("url,slug,{text}").as_bytes(), &Columns::default());
        let _ = read(FORMATS[format], text.as_bytes(), &Columns::default());
    }

    #[test]
    fn what_is_written_as_csv_is_read_as_it_was(
        titles in prop::collection::vec("[ -~éß\r\n]{0,40}", 1..20), delimiter in prop::sample::select(b",;\t".as_slice()),
    ) {
        let mut csv = csv::WriterBuilder::new().delimiter(delimiter).from_writer(vec![]);
        csv.write_record(["url", "title", "tags"]).unwrap();
        for title in &titles {
            csv.write_record(["https://shop.example/a", title, "x"]).unwrap();
        }
        let lines = read(Format::Csv, &csv.into_inner().unwrap(), &Columns::default()).unwrap();
        prop_assert_eq!(lines.len(), titles.len());
        for (line, title) in lines.iter().zip(&titles) {
            let trimmed = title.trim();
            let guarded = trimmed.strip_prefix('\'').filter(|rest| rest.starts_with(['=', '+', '-', '@']));
            prop_assert_eq!(&line.record.as_ref().unwrap().title, guarded.unwrap_or(trimmed).trim());
        }
    }
}

async fn import(app: &TestApp, org: &TestOrg, body: Value) -> Value {
    let begun = app.owner(org, "POST", "/api/imports", Some(body)).await.expect(202);
    assert_eq!(begun["state"], "running");
    app.drain().await;
    let done =
        app.owner(org, "GET", &format!("/api/imports/{}", begun["id"].as_str().unwrap()), None).await.expect(200);
    assert_eq!(done["state"], "done");
    done
}

async fn results(app: &TestApp, org: &TestOrg, import: &Value, query: &str) -> Vec<Value> {
    let path = format!("/api/imports/{}/results?limit=100{query}", import["id"].as_str().unwrap());
    app.owner(org, "GET", &path, None).await.expect(200)["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn each_line_of_a_file_becomes_a_link_or_says_why_not() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let taken = json!({"destination": "https://other.example", "slug": "taken"});
    app.owner(&other, "POST", "/api/links", Some(taken)).await.expect(201);
    let mine = json!({"destination": "https://shop.example/old", "slug": "mine", "title": "Mine"});
    app.owner(&org, "POST", "/api/links", Some(mine)).await.expect(201);
    app.owner(&org, "POST", "/api/tags", Some(json!({"name": "Flyer"}))).await.expect(201);
    let receiver = Receiver::start(Script::always(Reply::ok()));
    app.endpoint(&org, "inkode", &receiver.url(), &[]).await;
    let data = "url,slug,title,tags,expiresAt\n\
                https://shop.example/a,a,A,flyer|new,\n\
                https://shop.example/b,,B,,2027-01-01 00:00:00\n\
                javascript:alert(1),x,,,\n\
                https://shop.example/c,taken,,,\n\
                https://shop.example/d,mine,,,\n\
                https://shop.example/e,a,,,\n\
                https://shop.example/f,f,,,soon\n\
                https://shop.example/g,a b,,,\n\
                ,h,,,\n";
    let done = import(&app, &org, json!({"format": "csv", "data": data})).await;
    assert_eq!((&done["total"], &done["created"], &done["skipped"]), (&json!(9), &json!(2), &json!(7)));
    let told = results(&app, &org, &done, "").await;
    let reason = |n: usize| told[n]["reason"].as_str().unwrap_or("").to_owned();
    assert_eq!(
        told.iter().map(|line| line["line"].as_i64().unwrap()).collect::<Vec<_>>(),
        (2..=10).collect::<Vec<_>>()
    );
    assert_eq!((told[0]["outcome"].as_str(), told[1]["outcome"].as_str()), (Some("created"), Some("created")));
    assert!(reason(2).starts_with("destination must"), "{}", reason(2));
    assert!(reason(3).starts_with("The slug taken is taken"), "{}", reason(3));
    assert_eq!(reason(4), "A link of yours has this slug.");
    assert!(reason(5).starts_with("The slug a is taken"), "{}", reason(5));
    assert_eq!(reason(6), "expiresAt is no date and time: soon");
    assert!(reason(7).starts_with("slug must"), "{}", reason(7));
    assert_eq!(reason(8), "has no destination");
    assert_eq!(results(&app, &org, &done, "&outcome=created").await, told[..2]);
    assert_eq!(results(&app, &org, &done, "&cursor=2").await, told[2..]);
    // What it made is there like anything else: it leads, has its tags, and webhooks heard of it.
    assert_eq!(app.get("/r/a", "").await.header("location"), Some("https://shop.example/a"));
    let link = app.owner(&org, "GET", &format!("/api/links/{}", told[0]["linkId"].as_str().unwrap()), None).await;
    assert_eq!(link.expect(200)["tagIds"].as_array().unwrap().len(), 2);
    let tags = app.owner(&org, "GET", "/api/tags", None).await.expect(200);
    let names: Vec<&str> = tags["items"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Flyer", "new"], "upper and lower case are one");
    assert_eq!(receiver.received().len(), 2);

    // The same file again changes what is there, if it is asked to.
    let data = "url,slug\nhttps://shop.example/new,mine\nhttps://shop.example/c,taken\n";
    let again = import(&app, &org, json!({"format": "csv", "data": data, "updateExisting": true})).await;
    assert_eq!((&again["created"], &again["updated"], &again["skipped"]), (&json!(0), &json!(1), &json!(1)));
    assert_eq!(app.get("/r/mine", "").await.header("location"), Some("https://shop.example/new"));
    let listed = app.owner(&org, "GET", "/api/imports", None).await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_import_stops_making_links_where_the_plan_ends() {
    let app = TestApp::start().await;
    let org = TestOrg::make(&app, "free", Plan::Free).await;
    let data = (0..60).fold("url\n".to_owned(), |data, n| data + &format!("https://shop.example/{n}\n"));
    let done = import(&app, &org, json!({"format": "csv", "data": data})).await;
    assert_eq!((&done["created"], &done["skipped"]), (&json!(50), &json!(10)));
    let told = results(&app, &org, &done, "&outcome=skipped").await;
    assert_eq!(told[0]["reason"], "The plan includes 50 short links, and 50 are in use.");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_refused_before_anything_is_stored() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for (field, body) in [
        ("data", json!({"format": "csv", "data": "a,b\n1,2\n"})),
        ("data", json!({"format": "csv", "data": "url\n"})),
        ("data", json!({"format": "bitly", "data": "{\"links\": 1}"})),
        ("columns", json!({"format": "csv", "data": "url\nhttps://a.example", "columns": {"slug": "Code"}})),
    ] {
        let refused = app.owner(&org, "POST", "/api/imports", Some(body)).await.expect(400);
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    assert!(app.owner(&org, "GET", "/api/imports", None).await.expect(200)["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_exported_can_be_imported_again_and_is_no_formula() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    let empty = app.owner(&org, "GET", "/api/links/export", None).await;
    assert_eq!(empty.text.lines().count(), 1, "the names of the columns: {}", empty.text);
    let tag = app.owner(&org, "POST", "/api/tags", Some(json!({"name": "flyer"}))).await.expect(201);
    let operation = |n: usize| {
        let title = if n == 0 { "=HYPERLINK(\"https://evil.example\")".to_owned() } else { format!("{n}, \"quoted\"") };
        let destination = format!("https://shop.example/{n}");
        let link = json!({"destination": destination, "slug": format!("s-{n}"), "title": title, "tagIds": [tag["id"]]});
        json!({"op": "create", "link": link})
    };
    let mut made = vec![];
    for portion in [0..500, 500..501] {
        let body = json!({"operations": portion.map(operation).collect::<Vec<_>>()});
        let answer = app.owner(&org, "POST", "/api/links/bulk", Some(body)).await.expect(200);
        made.extend(answer["results"].as_array().unwrap().iter().map(|result| result["link"]["id"].clone()));
        app.clock.advance(chrono::Duration::milliseconds(1));
    }
    let file = app.owner(&org, "GET", "/api/links/export", None).await;
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"links.csv\""));
    let text = file.text;
    assert!(text.contains("'=HYPERLINK"), "{text}");
    let lines: Vec<Line> = plain(Format::Csv, &text);
    assert_eq!(lines.len(), 501);
    assert_eq!(
        links(&lines)[500],
        ("https://shop.example/500", Some("s-500"), "500, \"quoted\"", vec!["flyer"]),
        "{text}"
    );
    for links in made.chunks(500) {
        let operations: Vec<Value> = links.iter().map(|id| json!({"op": "delete", "id": id})).collect();
        app.owner(&org, "POST", "/api/links/bulk", Some(json!({"operations": operations}))).await.expect(200);
    }
    let done = import(&app, &other, json!({"format": "csv", "data": text})).await;
    assert_eq!(done["created"], 501);
    let again = app.owner(&other, "GET", "/api/links?search=hyperlink", None).await.expect(200);
    assert_eq!(again["items"][0]["title"], "=HYPERLINK(\"https://evil.example\")");
}
