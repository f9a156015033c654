//! Examples of answers: what the program really said to a story (`tests/example.rs` records it), and failures as each
//! surface tells them.

use domain::{plan::Quota, quota::Full};
use poem::http::StatusCode;
use serde_json::Value;

use crate::{
    failure::Failure,
    input::{BODY_MAX, too_large},
    surface::{SURFACES, Surface},
};

/// By operation id, the body of its success.
const RECORDED: &str = include_str!("../../../openapi/examples.json");
const REQUEST_ID: &str = "req_Yc4nQ0TDXzJ2b7mWvK9u";

/// Gives every answer with a body its example.
pub(super) fn complete(document: &mut Value) {
    let recorded: Value = serde_json::from_str(RECORDED).expect("the recorded examples are JSON");
    let items = document["paths"].as_object_mut().into_iter().flatten();
    for (_, operation) in items.filter_map(|(_, item)| item.as_object_mut()).flatten() {
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        let Some(example) = recorded.get(&id) else { continue };
        for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            if status.starts_with('2')
                && let Some(content) = response.pointer_mut("/content/application~1json")
            {
                content["example"] = example.clone();
            }
        }
    }
    for (name, response) in document["components"]["responses"].as_object_mut().into_iter().flatten() {
        let Some((schema, status)) = name.split_at_checked(name.len() - 3) else { continue };
        let Some(status) = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok()) else { continue };
        for content in response["content"].as_object_mut().into_iter().flatten().map(|(_, content)| content) {
            content["example"] = (surface(schema).body)(&failure(status), status, REQUEST_ID);
        }
    }
}

/// A surface whose failures have the schema.
fn surface(schema: &str) -> &'static Surface {
    Surface::of(match schema {
        "ErrorEnvelope" => "/api/v1/webhook/",
        "DetailError" => "/api/v1/webhooks/",
        _ => SURFACES[SURFACES.len() - 1].path,
    })
}

/// A failure that has the status.
fn failure(status: StatusCode) -> Failure {
    match status.as_u16() {
        400 => Failure::field("url", "must begin with https://"),
        401 => Failure::unauthorized("No valid proof of identity was sent."),
        402 => Full { quota: Quota::Links, most: 25, used: 25 }.into(),
        403 => Failure::forbidden("The role member may not do this."),
        404 => Failure::not_found("link"),
        409 => Failure::conflict("slug_taken", "The slug summer24 is taken."),
        413 => too_large(BODY_MAX),
        415 => Failure::new(status, "unsupported_media_type", "The body must be announced as application/json."),
        422 => Failure::unsupported("value", "does not fit into a barcode of the type AZTEC"),
        429 => Failure::new(status, "rate_limited", "More than 200 requests at once for this key.").retry_after(1),
        503 => Failure::unavailable(),
        _ => Failure::new(status, "internal_error", "Something went wrong on our side."),
    }
}
