//! Folders and tags: names that are an organisation's once, and what is put away.

use serde_json::{Value, json};

use crate::support::{TestApp, TestOrg};

async fn names(app: &TestApp, org: &TestOrg, path: &str) -> Vec<String> {
    let page = app.owner(org, "GET", path, None).await.expect(200);
    page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn folders_and_tags_are_made_renamed_put_away_and_taken_back() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    for (path, prefix) in [("/api/folders", "fld_"), ("/api/tags", "tag_")] {
        let make = async |org: &TestOrg, name: &str| app.owner(org, "POST", path, Some(json!({"name": name}))).await;
        let first: Value = make(&org, " Summer ").await.expect(201);
        let id = first["id"].as_str().unwrap();
        assert!(id.starts_with(prefix), "{id}");
        assert_eq!((&first["name"], &first["archived"]), (&json!("Summer"), &json!(false)));
        assert_eq!(make(&org, "summer").await.expect(409)["code"], "name_taken");
        make(&other, "summer").await.expect(201);
        make(&org, "Autumn").await.expect(201);
        assert_eq!(names(&app, &org, path).await, ["Autumn", "Summer"]);

        let change = async |body: Value| app.owner(&org, "PATCH", &format!("{path}/{id}"), Some(body)).await;
        assert_eq!(change(json!({"name": "autumn"})).await.expect(409)["code"], "name_taken");
        assert_eq!(change(json!({"name": "Spring"})).await.expect(200)["name"], "Spring");
        assert_eq!(change(json!({"archived": true})).await.expect(200)["archived"], true);
        assert_eq!(names(&app, &org, path).await, ["Autumn"]);
        assert_eq!(names(&app, &org, &format!("{path}?archived=true")).await, ["Autumn", "Spring"]);
        // Its name is free meanwhile, and taken when it comes back.
        let second = make(&org, "Spring").await.expect(201);
        assert_eq!(change(json!({"archived": false})).await.expect(409)["code"], "name_taken");
        let path = format!("{path}/{}", second["id"].as_str().unwrap());
        app.owner(&org, "PATCH", &path, Some(json!({"name": "Winter"}))).await.expect(200);
        assert_eq!(change(json!({"archived": false})).await.expect(200)["name"], "Spring");
    }
}

#[tokio::test]
async fn a_name_that_breaks_the_rule_is_named() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for path in ["/api/folders", "/api/tags"] {
        for name in [String::new(), " \t ".into(), "a\0".into(), "ä".repeat(101)] {
            let answer = app.owner(&org, "POST", path, Some(json!({"name": name}))).await.expect(400);
            assert_eq!(answer["errors"][0]["field"], "name");
        }
        app.owner(&org, "POST", path, Some(json!({"name": "ä".repeat(100)}))).await.expect(201);
    }
}
