//! The OpenAPI file as a product: it is what the program says, and it says everything of every operation.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
};

use serde_json::{Map, Value};

use crate::support::TestApp;

/// Every route that the five documents and our own surfaces promise.
const PROMISED: [(&str, &str); 123] = [
    ("POST", "/api/v1/events"),
    ("POST", "/api/v1/events/batch"),
    ("GET", "/api/webhooks/endpoints"),
    ("POST", "/api/webhooks/endpoints"),
    ("GET", "/api/webhooks/endpoints/{id}"),
    ("PATCH", "/api/webhooks/endpoints/{id}"),
    ("DELETE", "/api/webhooks/endpoints/{id}"),
    ("POST", "/api/webhooks/endpoints/{id}/rotate-secret"),
    ("POST", "/api/webhooks/endpoints/{id}/test"),
    ("GET", "/api/webhooks/endpoints/{id}/deliveries"),
    ("POST", "/api/webhooks/endpoints/{id}/replay"),
    ("GET", "/api/webhooks/endpoints/{id}/replays"),
    ("POST", "/api/webhooks/replays"),
    ("GET", "/api/webhooks/replays"),
    ("GET", "/api/webhooks/event-types"),
    ("GET", "/api/webhooks/deliveries/{id}"),
    ("POST", "/api/webhooks/deliveries/{id}/retry"),
    ("GET", "/api/webhooks/replays/{id}"),
    ("PATCH", "/api/webhooks/replays/{id}"),
    ("POST", "/api/webhooks/replays/{id}/pause"),
    ("POST", "/api/webhooks/replays/{id}/resume"),
    ("POST", "/api/webhooks/replays/{id}/cancel"),
    ("GET", "/api/links"),
    ("POST", "/api/links"),
    ("POST", "/api/links/bulk"),
    ("GET", "/api/links/export"),
    ("POST", "/api/imports"),
    ("GET", "/api/imports"),
    ("GET", "/api/imports/{id}"),
    ("GET", "/api/imports/{id}/results"),
    ("GET", "/api/links/{id}"),
    ("PATCH", "/api/links/{id}"),
    ("DELETE", "/api/links/{id}"),
    ("GET", "/api/links/{id}/stats"),
    ("POST", "/api/links/{id}/explain"),
    ("GET", "/api/link-pages"),
    ("POST", "/api/link-pages"),
    ("GET", "/api/link-pages/{id}"),
    ("PATCH", "/api/link-pages/{id}"),
    ("DELETE", "/api/link-pages/{id}"),
    ("GET", "/api/domains"),
    ("POST", "/api/domains"),
    ("GET", "/api/domains/{id}"),
    ("POST", "/api/domains/{id}/check"),
    ("DELETE", "/api/domains/{id}"),
    ("GET", "/api/folders"),
    ("POST", "/api/folders"),
    ("PATCH", "/api/folders/{id}"),
    ("GET", "/api/tags"),
    ("POST", "/api/tags"),
    ("PATCH", "/api/tags/{id}"),
    ("GET", "/api/qr"),
    ("POST", "/api/qr"),
    ("POST", "/api/qr/bulk"),
    ("GET", "/api/qr/export"),
    ("GET", "/api/visits/export"),
    ("GET", "/api/qr/{id}"),
    ("PATCH", "/api/qr/{id}"),
    ("DELETE", "/api/qr/{id}"),
    ("GET", "/api/qr/{id}/stats"),
    ("GET", "/api/qr/{id}/image"),
    ("GET", "/api/barcode"),
    ("POST", "/api/barcode"),
    ("GET", "/api/barcode/{id}"),
    ("PATCH", "/api/barcode/{id}"),
    ("DELETE", "/api/barcode/{id}"),
    ("GET", "/api/barcode/{id}/image"),
    ("POST", "/api/public/access"),
    ("POST", "/api/public/conversions"),
    ("GET", "/api/conversion-origins"),
    ("PUT", "/api/conversion-origins"),
    ("GET", "/api/canva/me"),
    ("GET", "/api/canva/folders"),
    ("GET", "/api/canva/qr"),
    ("GET", "/api/canva/qr/{id}/image"),
    ("GET", "/api/canva/barcode"),
    ("GET", "/api/canva/barcode/{id}/image"),
    ("GET", "/api/v1/organizations/{org_id}/webhooks"),
    ("POST", "/api/v1/organizations/{org_id}/webhooks"),
    ("GET", "/api/v1/organizations/{org_id}/webhooks/{webhook_id}"),
    ("PUT", "/api/v1/organizations/{org_id}/webhooks/{webhook_id}"),
    ("DELETE", "/api/v1/organizations/{org_id}/webhooks/{webhook_id}"),
    ("POST", "/api/v1/organizations/{org_id}/webhooks/{webhook_id}/test"),
    ("GET", "/api/v1/organizations/{org_id}/webhooks/{webhook_id}/logs"),
    ("GET", "/api/v1/webhook/endpoints"),
    ("POST", "/api/v1/webhook/endpoints"),
    ("GET", "/api/v1/webhook/endpoints/{id}"),
    ("PATCH", "/api/v1/webhook/endpoints/{id}"),
    ("DELETE", "/api/v1/webhook/endpoints/{id}"),
    ("POST", "/api/v1/webhook/endpoints/{id}/rotate-secret"),
    ("GET", "/v1/webhook_endpoints"),
    ("POST", "/v1/webhook_endpoints"),
    ("GET", "/v1/webhook_endpoints/{id}"),
    ("PATCH", "/v1/webhook_endpoints/{id}"),
    ("DELETE", "/v1/webhook_endpoints/{id}"),
    ("POST", "/v1/webhook_endpoints/{id}/test"),
    ("POST", "/v1/webhook_endpoints/{id}/reactivate"),
    ("GET", "/v1/events"),
    ("GET", "/api/v1/webhooks/"),
    ("POST", "/api/v1/webhooks/"),
    ("PATCH", "/api/v1/webhooks/{id}/"),
    ("DELETE", "/api/v1/webhooks/{id}/"),
    ("POST", "/api/v1/webhooks/{id}/rotate/"),
    ("GET", "/api/v1/webhooks/{id}/deliveries/"),
    ("GET", "/api/org/{orgId}/billing"),
    ("GET", "/api/org/{orgId}/limits"),
    ("GET", "/api/alerts"),
    ("POST", "/api/alerts"),
    ("GET", "/api/alerts/{id}"),
    ("PATCH", "/api/alerts/{id}"),
    ("DELETE", "/api/alerts/{id}"),
    ("GET", "/api/org/{orgId}/notifications"),
    ("POST", "/api/org/{orgId}/notifications/read"),
    ("GET", "/api/org/{orgId}/notifications/preferences"),
    ("PUT", "/api/org/{orgId}/notifications/preferences"),
    ("GET", "/api/public/notifications/unsubscribe"),
    ("POST", "/api/public/notifications/unsubscribe"),
    ("GET", "/api/cron/{work}"),
    ("POST", "/api/cron/{work}"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.yaml"),
];

/// The routes that anybody may ask.
const OPEN: [&str; 8] = [
    "openProtectedCode",
    "recordConversion",
    "getUnsubscribePage",
    "cancelSubscription",
    "getHealth",
    "getReadiness",
    "getMetrics",
    "getOpenapiFile",
];
/// Those of them that public pages ask.
const PUBLIC: [&str; 2] = ["openProtectedCode", "recordConversion"];

/// The words that operation ids begin with.
const VERBS: [&str; 20] = [
    "cancel",
    "change",
    "check",
    "create",
    "delete",
    "explain",
    "export",
    "get",
    "list",
    "open",
    "pause",
    "publish",
    "reactivate",
    "record",
    "resume",
    "retry",
    "rotate",
    "send",
    "start",
    "update",
];

fn document() -> Value {
    serde_json::from_str(api::openapi::json()).expect("the document is JSON")
}

/// An operation, and where it is.
struct Operation<'d> {
    document: &'d Value,
    method: String,
    path: &'d str,
    value: &'d Value,
}

impl<'d> Operation<'d> {
    fn all(document: &'d Value) -> impl Iterator<Item = Self> {
        let paths = document["paths"].as_object().expect("paths");
        paths.iter().flat_map(move |(path, item)| {
            item.as_object().expect("methods").iter().map(move |(method, value)| Operation {
                document,
                method: method.to_uppercase(),
                path,
                value,
            })
        })
    }

    fn id(&self) -> &'d str {
        self.value["operationId"].as_str().unwrap_or_else(|| panic!("{} {} has no id", self.method, self.path))
    }

    fn parameters(&self) -> impl Iterator<Item = &'d Value> {
        self.value["parameters"].as_array().into_iter().flatten()
    }

    /// Whether an organisation's caller asks, and not an operator's scheduler.
    fn has_caller(&self) -> bool {
        !self.is_open() && !self.path.starts_with("/api/cron/")
    }

    fn is_open(&self) -> bool {
        self.value["security"].as_array().expect("security is said of every operation").is_empty()
    }

    /// The answers by status, references followed.
    fn answers(&self) -> BTreeMap<u16, &'d Value> {
        let answers = self.value["responses"].as_object().expect("answers").iter();
        answers.map(|(status, answer)| (status.parse().expect("a status"), follow(self.document, answer))).collect()
    }
}

fn follow<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(target) => document.pointer(&target[1..]).unwrap_or_else(|| panic!("{target} does not exist")),
        None => value,
    }
}

/// `UPDATE_GENERATED=1` writes the file instead of comparing it.
#[tokio::test]
async fn the_file_is_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/inkfleet.yaml");
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, api::openapi_yaml()).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let hint = "openapi/inkfleet.yaml is not up to date: run the tests once with UPDATE_GENERATED=1";
    assert!(kept == api::openapi_yaml(), "{hint}");
}

#[tokio::test]
async fn the_program_serves_the_file_and_a_page_that_shows_it() {
    let app = TestApp::start().await;
    let file = app.get("/openapi.yaml", "").await;
    assert_eq!((file.status, file.header("content-type")), (200, Some("application/yaml")));
    assert!(file.text == api::openapi_yaml());
    let page = app.get("/docs", "").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text.contains("\"openapi\":\"3.0.3\""), "the page shows another document");
}

#[tokio::test]
async fn it_has_every_promised_route_with_its_own_slash_and_no_other() {
    let document = document();
    let has: BTreeSet<(String, &str)> = Operation::all(&document).map(|o| (o.method, o.path)).collect();
    let promised = PROMISED.map(|(method, path)| (method.to_owned(), path)).into_iter().collect();
    let missing: Vec<_> = has.symmetric_difference(&promised).collect();
    assert!(missing.is_empty(), "promised or there, but not both: {missing:?}");
}

#[tokio::test]
async fn every_operation_id_is_a_verb_and_a_noun_and_the_only_one_of_its_name() {
    let document = document();
    let mut seen = BTreeSet::new();
    for operation in Operation::all(&document) {
        let id = operation.id();
        assert!(seen.insert(id), "{id} is there twice");
        assert!(id.chars().all(|c| c.is_ascii_alphanumeric()), "{id}");
        let noun = VERBS.iter().find_map(|verb| id.strip_prefix(verb));
        assert!(noun.is_some_and(|noun| noun.starts_with(|c: char| c.is_ascii_uppercase())), "{id}");
    }
}

#[tokio::test]
async fn every_operation_and_parameter_is_told_in_words() {
    let document = document();
    let tags: Vec<&str> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    for operation in Operation::all(&document) {
        let id = operation.id();
        let summary = operation.value["summary"].as_str().unwrap_or_else(|| panic!("{id} has no summary"));
        assert!(summary.len() <= 72 && !summary.ends_with('.'), "{id}: {summary}");
        let own = operation.value["tags"].as_array().unwrap_or_else(|| panic!("{id} has no tag"));
        assert!(own.len() == 1 && tags.contains(&own[0].as_str().unwrap()), "{id}: {own:?}");
        for parameter in operation.parameters() {
            assert!(parameter["description"].as_str().is_some_and(|text| text.ends_with('.')), "{id}: {parameter}");
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(schema["description"].is_string(), "{name} has no description");
        for (property, schema) in schema["properties"].as_object().into_iter().flatten() {
            assert!(
                schema["description"].is_string() || schema["$ref"].is_string(),
                "{name}.{property} is not described"
            );
        }
    }
}

#[tokio::test]
async fn every_operation_says_who_may_ask() {
    let document = document();
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    for operation in Operation::all(&document) {
        assert_eq!(operation.is_open(), OPEN.contains(&operation.id()), "{}", operation.id());
        for scheme in operation.value["security"].as_array().unwrap() {
            let scheme = scheme.as_object().unwrap();
            // Any one of them is enough: never two in one entry, which would mean both.
            assert!(scheme.len() == 1 && scheme.keys().all(|name| schemes.contains_key(name)), "{scheme:?}");
        }
    }
}

#[tokio::test]
async fn every_answer_has_its_schema_and_headers() {
    let document = document();
    for operation in Operation::all(&document) {
        for (status, answer) in operation.answers() {
            let place = format!("{} {status}", operation.id());
            assert!(answer["description"].as_str().is_some_and(|text| !text.is_empty()), "{place} has no description");
            let header = |name: &str| {
                let header = &answer["headers"][name];
                follow(&document, header)["schema"]["type"].is_string()
            };
            assert!(header("x-request-id"), "{place}");
            assert_eq!(header("RateLimit-Remaining"), operation.has_caller() && status != 401, "{place}");
            assert!(header("Retry-After") || !matches!(status, 429 | 503), "{place}");
            let idempotent = operation.parameters().any(|parameter| parameter["name"] == "Idempotency-Key");
            assert_eq!(header("Idempotency-Replayed"), idempotent && status < 300, "{place}");
            let empty = Map::new();
            let content = answer["content"].as_object().unwrap_or(&empty);
            // A picture may be asked for in several formats.
            let picture = content.keys().any(|media_type| media_type.starts_with("image/"));
            assert!(picture || content.len() == usize::from(![204, 304].contains(&status)), "{place}");
            assert_eq!(header("ETag"), picture || status == 304, "{place}");
            for (media_type, of) in content {
                let known = [
                    "application/json",
                    "application/problem+json",
                    "application/yaml",
                    "text/plain",
                    "text/csv",
                    "text/html",
                ];
                let known = known.contains(&media_type.as_str()) || media_type.starts_with("image/") || picture;
                assert!(known, "{place}: {media_type}");
                let schema = follow(&document, &of["schema"]);
                assert!(schema["type"].is_string(), "{place} has no schema");
                let problem = operation.path.starts_with("/api/webhooks") || operation.path.starts_with("/v1/");
                assert!(!problem || (status >= 400) == (media_type == "application/problem+json"), "{place}");
            }
        }
    }
}

#[tokio::test]
async fn every_operation_names_the_failures_that_it_can_have() {
    let document = document();
    for operation in Operation::all(&document) {
        let answers = operation.answers();
        let place = |name: &str| operation.parameters().any(|parameter| parameter["in"] == name);
        let workspace = operation.parameters().any(|parameter| parameter["name"] == "orgId");
        let body = operation.value["requestBody"].is_object();
        let secured = !operation.is_open();
        let public = PUBLIC.contains(&operation.id());
        // Whoever opens a way out asks for nothing that could be missing or too often.
        let asked = secured || public || operation.path.ends_with("/unsubscribe");
        // InkLink documents neither 403 nor, for a rotation, 404: both are 500 there.
        let inklink = operation.path.starts_with("/api/v1/webhook/");
        let expected = [
            (400, body || place("query") || place("header")),
            // Whoever shows a password may be refused, and so may a page that tells conversions.
            (401, secured || operation.id() == "openProtectedCode"),
            (403, operation.has_caller() && !inklink || operation.id() == "recordConversion"),
            (404, (place("path") || workspace || public) && operation.id() != "rotateInklinkSecret"),
            (413, body),
            (415, body),
            (429, operation.has_caller() || public),
            (500, asked),
            (503, asked || operation.id() == "getReadiness"),
        ];
        for (status, expected) in expected {
            assert_eq!(answers.contains_key(&status), expected, "{} {status}", operation.id());
        }
        assert!(answers.keys().any(|status| *status < 300), "{} never succeeds", operation.id());
    }
}

#[tokio::test]
async fn every_body_that_is_taken_has_an_example() {
    let document = document();
    let mut bodies = 0;
    for operation in Operation::all(&document).filter(|operation| operation.value["requestBody"].is_object()) {
        let content = operation.value["requestBody"]["content"].as_object().unwrap();
        assert_eq!(content.keys().collect::<Vec<_>>(), ["application/json"], "{}", operation.id());
        let schema = follow(&document, &content["application/json"]["schema"]);
        let example = schema["example"].as_object().unwrap_or_else(|| panic!("{} has no example", operation.id()));
        // The linter says whether its schema allows it; here, that it uses what the schema has.
        for name in example.keys() {
            assert!(schema["properties"].get(name).is_some(), "{}: {name}", operation.id());
        }
        bodies += 1;
    }
    assert!(bodies > 15);
}

/// A pattern, a list of words, a format or a length: what a generated client can check before it asks.
#[tokio::test]
async fn no_parameter_or_body_takes_just_any_text() {
    let document = document();
    let told = |schema: &Value| {
        let schema = follow(&document, schema.get("allOf").map_or(schema, |parts| &parts[0]));
        let items = follow(&document, schema.get("items").unwrap_or(schema));
        items["type"] != "string" || ["pattern", "enum", "format"].iter().any(|name| items.get(*name).is_some())
    };
    for operation in Operation::all(&document) {
        for parameter in operation.parameters() {
            assert!(told(&parameter["schema"]), "{}: {parameter}", operation.id());
        }
        let schema = follow(&document, &operation.value["requestBody"]["content"]["application/json"]["schema"]);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(told(property), "{}: {name}", operation.id());
        }
    }
}
