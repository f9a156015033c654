//! The examples of the OpenAPI file are answers that the program gave: this story asks every operation what its file shows,
//! and whether the file still shows what is answered. With `INKFLEET_RECORD_EXAMPLES=1` it writes the file anew. That each
//! example fits its schema is the linter's to say (`contract.rs`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    support::{
        Receiver, TestApp,
        receiver::{Reply, Script},
    },
    surface::walk::{NOWHERE, Operation, document, operations},
    tenancy::Things,
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/examples.json");

/// What a value is made of: its members' names and the kinds of its values, of a list those of its first.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(items) => items.iter().take(1).map(shape).collect(),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!("number"),
        Value::Bool(_) => json!("truth"),
        Value::Null => Value::Null,
    }
}

/// Whether the operation's success has a JSON body.
fn tells(operation: &Value) -> bool {
    let answers = operation["responses"].as_object().unwrap().iter();
    answers
        .into_iter()
        .any(|(status, answer)| status.starts_with('2') && answer["content"]["application/json"].is_object())
}

#[tokio::test]
async fn every_answer_has_an_example_that_the_program_gave() {
    let app = TestApp::start().await;
    let receiver = Receiver::start(Script::always(Reply::ok()));
    let things = Things::make(&app, &receiver).await;
    // The newest link, so that lists begin with it.
    app.clock.advance(chrono::Duration::milliseconds(1));
    let protected = json!({"destination": "https://shop.example", "slug": "protected", "password": "sesame"});
    app.owner(&things.org, "POST", "/api/links", Some(protected)).await.expect(201);
    // One that has not ended.
    let replay = app.owner(&things.org, "POST", "/api/webhooks/replays", None).await.expect(202);
    let replay = replay["id"].as_str().unwrap().to_owned();
    let mut all = operations(&document());
    // First what only looks; what ends things last.
    let ends = |operation: &Operation| operation.method == "DELETE" || operation.id.starts_with("cancel");
    all.sort_by_key(|operation| (ends(operation), operation.method != "GET", operation.id.clone()));
    let mut answered: BTreeMap<String, Value> = BTreeMap::new();
    for operation in all.iter().filter(|operation| tells(&operation.description)) {
        let path = operation.path.replace("{work}", "expire").replace("replays/{id}", &format!("replays/{replay}"));
        let path = if path.contains('{') { things.fill(&path, &things.org).unwrap().remove(0) } else { path };
        let proof = operation.proof(&app, &things.org);
        let headers: Vec<(&str, &str)> = proof.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let body = operation.takes_body().then(|| things.body(operation).to_string());
        let answer = app.send(&operation.method, &path, &headers, body).await;
        assert!((200..300).contains(&answer.status), "{} {path}: {} {}", operation.method, answer.status, answer.text);
        let text = answer
            .text
            .replace(&app.url, "https://fleet.example")
            .replace(&receiver.url(), "https://hooks.example/in")
            .replace(NOWHERE, "https://hooks.example/in");
        answered.insert(operation.id.clone(), serde_json::from_str(&text).unwrap());
    }
    let asked = ["delivery.attempt", "domain.verify", "import.run", "replay.run"];
    for kind in asked.into_iter().chain(api::cron::ROUTES.map(|(_, kind)| kind)) {
        app.leaves_jobs(kind);
    }
    if std::env::var_os("INKFLEET_RECORD_EXAMPLES").is_some() {
        std::fs::write(FILE, serde_json::to_string_pretty(&answered).unwrap() + "\n").unwrap();
        return;
    }
    let file: Map<String, Value> = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    for (id, answer) in &answered {
        let example = file.get(id).unwrap_or_else(|| panic!("{id} has no example: record them"));
        assert_eq!(shape(example), shape(answer), "{id} answers otherwise than its example: record them");
    }
    assert_eq!(file.len(), answered.len(), "an example is nobody's any more: record them");
}

#[tokio::test]
async fn every_failure_has_an_example_too() {
    let document = document();
    let failures = document["components"]["responses"].as_object().unwrap();
    assert!(failures.len() > 20);
    for (name, failure) in failures {
        let content = failure["content"].as_object().unwrap();
        assert!(content.values().all(|content| content["example"].is_object()), "{name}");
    }
}
