//! What the framework's OpenAPI document lacks, and the table of routes that is read from it.

use std::sync::OnceLock;

use serde_json::{Value, json};

/// A route: its path as the document spells it, and its methods.
type Routes = Vec<(String, Vec<String>)>;

static ROUTES: OnceLock<Routes> = OnceLock::new();

/// Completes the document, and remembers its routes.
pub fn complete(document: &mut Value) {
    document["info"]["summary"].take();
    if let Some(info) = document["info"].as_object_mut() {
        info.remove("summary");
    }
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for item in paths.values_mut() {
        let Some(item) = item.as_object_mut() else { continue };
        for operation in item.values_mut() {
            complete_operation(operation);
        }
    }
    let routes = paths
        .iter()
        .map(|(path, item)| {
            let methods = item.as_object().map(|item| item.keys().map(|m| m.to_uppercase()).collect());
            (path.clone(), methods.unwrap_or_default())
        })
        .collect();
    let _ = ROUTES.set(routes);
}

/// Every answer names its request; a limited route tells what is left; a 429 and a 503 say when to come again.
fn complete_operation(operation: &mut Value) {
    // A route without a security scheme is open on purpose.
    if operation.get("security").is_none() {
        operation["security"] = json!([]);
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, response) in responses {
        let header = |description: &str, schema: Value| json!({"description": description, "schema": schema});
        let mut headers = response["headers"].as_object().cloned().unwrap_or_default();
        headers.insert("x-request-id".into(), header("The id of this request.", json!({"type": "string"})));
        if matches!(status.as_str(), "429" | "503") {
            headers.insert(
                "Retry-After".into(),
                header("After how many seconds to try again.", json!({"type": "integer"})),
            );
        }
        response["headers"] = Value::Object(headers);
        if let Some(content) = response["content"].as_object_mut() {
            // The charset is no part of JSON's media type (RFC 8259), and generators do not expect it.
            if let Some(schema) = content.remove("application/json; charset=utf-8") {
                content.insert("application/json".into(), schema);
            }
        }
    }
}

/// The document as YAML.
pub fn to_yaml(document: &Value) -> String {
    serde_yaml_ng::to_string(document).expect("JSON is YAML")
}

/// The route that a path belongs to, for metrics: one label per route and not per id.
pub fn route_of(path: &str) -> String {
    find(path).map_or_else(|| "unknown".to_owned(), |(route, _)| route.clone())
}

/// The methods of a path, for the `Allow` header.
pub fn methods_of(path: &str) -> String {
    find(path).map(|(_, methods)| methods.join(", ")).unwrap_or_default()
}

fn find(path: &str) -> Option<&'static (String, Vec<String>)> {
    let routes = ROUTES.get()?;
    let fits = |route: &str| {
        let (mut wanted, mut given) = (route.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some(wanted), Some(given)) if wanted == given => {}
                (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
                _ => return false,
            }
        }
    };
    // A fixed segment goes before a parameter.
    let fitting = routes.iter().filter(|(route, _)| fits(route));
    fitting.min_by_key(|(route, _)| route.matches('{').count())
}
