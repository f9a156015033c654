//! The OpenAPI file: what the framework writes, completed with what it cannot say; and the table of routes read from it.
//!
//! The file is a product: clients are generated from it. It says of each operation exactly the answers it can give
//! ([`answer`]) and of each value what is taken and sent ([`schema`]).

mod answer;
mod example;
mod schema;

use std::sync::LazyLock;

use poem::{IntoResponse, Response};
use poem_openapi::{
    ApiResponse,
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
};
use serde_json::{Map, Value};

use crate::surface::Surface;

/// The version of OpenAPI; generators read 3.0 more widely than 3.1, and nothing here needs 3.1.
const VERSION: &str = "3.0.3";

/// A route: its path as the document spells it, and its methods.
type Routes = Vec<(String, Vec<String>)>;

/// The document of this program, made at its first use.
static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    let (spec, page) = crate::server::framework_document();
    let json = complete(serde_json::from_str(&spec).expect("poem-openapi writes JSON"));
    let yaml = serde_yaml_ng::to_string(&json).expect("JSON is YAML");
    let (routes, json) = (routes(&json), json.to_string());
    // The page holds the framework's document; it shows ours.
    Document { page: page.replacen(&spec, &json, 1), json, yaml, routes }
});

struct Document {
    page: String,
    json: String,
    yaml: String,
    routes: Routes,
}

/// The OpenAPI file of the whole API, as YAML.
pub fn yaml() -> &'static str {
    &DOCUMENT.yaml
}

/// The same as JSON.
pub fn json() -> &'static str {
    &DOCUMENT.json
}

/// The page that shows it.
pub fn page() -> &'static str {
    &DOCUMENT.page
}

/// The OpenAPI file as an answer.
#[derive(Debug)]
pub struct OpenapiFile;

impl IntoResponse for OpenapiFile {
    fn into_response(self) -> Response {
        Response::builder().content_type("application/yaml").body(yaml())
    }
}

impl ApiResponse for OpenapiFile {
    fn meta() -> MetaResponses {
        let schema = MetaSchemaRef::Inline(Box::new(MetaSchema::new("object")));
        MetaResponses {
            responses: vec![MetaResponse {
                description: "The OpenAPI file, as YAML.",
                status: Some(200),
                status_range: None,
                content: vec![MetaMediaType { content_type: "application/yaml", schema }],
                headers: vec![],
            }],
        }
    }

    fn register(_: &mut Registry) {}
}

fn complete(mut document: Value) -> Value {
    document["openapi"] = VERSION.into();
    if let Some(info) = document["info"].as_object_mut() {
        info.retain(|_, value| !value.is_null());
    }
    schema::tidy(&mut document);
    if let Some(paths) = document["paths"].as_object_mut() {
        *paths = std::mem::take(paths).into_iter().map(|(path, item)| (spelled(path), item)).collect();
        for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
            tidy_parameters(operation);
        }
    }
    answer::complete(&mut document);
    example::complete(&mut document);
    document
}

/// A path as its surface's document spells it; the framework drops slashes at the end.
fn spelled(path: String) -> String {
    if Surface::of(&path).trailing_slash && !path.ends_with('/') { path + "/" } else { path }
}

fn tidy_parameters(operation: &mut Value) {
    for parameter in operation["parameters"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        // Said of every parameter, and the default of OpenAPI wherever it has a meaning here.
        parameter.remove("explode");
        parameter.retain(|name, value| name != "deprecated" || *value == true);
    }
    if operation["parameters"].is_null()
        && let Some(operation) = operation.as_object_mut()
    {
        operation.remove("parameters");
    }
}

fn routes(document: &Value) -> Routes {
    let methods = |item: &Value| item.as_object().map(|item| item.keys().map(|m| m.to_uppercase()).collect());
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.map(|(path, item)| (path.clone(), methods(item).unwrap_or_default())).collect()
}

/// What the document does not have, and its methods.
fn unlisted(path: &str) -> Option<(&'static str, &'static str)> {
    crate::oauth::ROUTES.into_iter().chain([crate::stripe::ROUTE]).find(|(of, _)| *of == path)
}

/// The route that a path belongs to, for metrics: one label per route and not per id.
pub fn route_of(path: &str) -> String {
    let listed = find(path).map(|(route, _)| route.clone());
    listed.or_else(|| Some(unlisted(path)?.0.to_owned())).unwrap_or_else(|| "unknown".to_owned())
}

/// The methods of a path, for the `Allow` header. What the document does not have is a page to look at.
pub fn methods_of(path: &str) -> String {
    let listed = find(path).map(|(_, methods)| methods.join(", "));
    listed.or_else(|| Some(unlisted(path)?.1.to_owned())).unwrap_or_else(|| "GET".to_owned())
}

fn find(path: &str) -> Option<&'static (String, Vec<String>)> {
    let fits = |route: &str| {
        let (mut wanted, mut given) = (segments(route), segments(path));
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
    let fitting = DOCUMENT.routes.iter().filter(|(route, _)| fits(route));
    fitting.min_by_key(|(route, _)| route.matches('{').count())
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_suffix('/').unwrap_or(path).split('/')
}
