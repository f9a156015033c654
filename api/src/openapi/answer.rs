//! Answers: of the failures that a surface knows, those that an operation can have; and the headers of each answer.

use serde_json::{Map, Value, json};

use crate::auth::goes_on;

/// Operations that can conflict with the present state, beside those that take an `Idempotency-Key`.
const CONFLICTS: [&str; 13] = [
    "retryWebhookDelivery",
    "createWebhookReplay",
    "createWebhooksReplay",
    "updateWebhookReplay",
    "pauseWebhookReplay",
    "resumeWebhookReplay",
    "cancelWebhookReplay",
    "updateLink",
    "updateLinkPage",
    "deleteDomain",
    "updateQrCode",
    "updateFolder",
    "updateTag",
];

/// Operations that can be asked for what cannot be done.
const UNSUPPORTED: [&str; 8] = [
    "createQrCode",
    "updateQrCode",
    "getQrCodeImage",
    "createBarcode",
    "updateBarcode",
    "getBarcodeImage",
    "getCanvaBarcodeImage",
    "getCanvaQrCodeImage",
];

/// Operations that a secret of the operator's opens: no caller is behind it whose role or rate could be asked for.
const OPERATORS: [&str; 2] = ["startScheduledWork", "startScheduledWorkByGet"];

/// Answers that one operation has of its own: what it says, or `None` where it never gives it.
const OWN: [(&str, &str, Option<&str>); 8] = [
    ("openProtectedCode", "401", Some("The password is not the right one.")),
    ("openProtectedCode", "404", Some("No code leads anywhere there.")),
    (
        "openProtectedCode",
        "429",
        Some("Too many tries of this code's password; `Retry-After` says when there is another."),
    ),
    (
        "recordConversion",
        "403",
        Some("The `Origin` is neither one that the link leads to nor one that the workspace allows."),
    ),
    ("recordConversion", "404", Some("The workspace has no such link or QR code.")),
    (
        "recordConversion",
        "429",
        Some("Too many conversions of this link from one address; `Retry-After` says when there is another."),
    ),
    ("rotateInklinkSecret", "404", None),
    (
        "rotateInklinkSecret",
        "500",
        Some("The endpoint is unknown, or the key's owner may not rotate; or something went wrong on our side."),
    ),
];

/// A component and how to point to it.
fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

/// The headers, by the name of their component.
fn headers() -> Value {
    let count = |description: &str| json!({"description": description, "schema": {"type": "integer", "minimum": 0}});
    json!({
        "RequestId": {
            "description": "The id of this request, the caller's own or ours; errors repeat it, and logs and the jobs \
                            that the request causes carry it.",
            "required": true,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$", "example": "req_Yc4nQ0TDXzJ2b7mWvK9u"},
        },
        "RetryAfter": {
            "description": "After how many seconds to try again.",
            "schema": {"type": "integer", "minimum": 1, "example": 1},
        },
        "RateLimitLimit": count("How many requests the key may make at once."),
        "RateLimitRemaining": count("How many it may make now."),
        "RateLimitReset": count("In how many seconds it may make the full number again."),
        "IdempotencyReplayed": {
            "description": "`true` where this is the answer to an earlier request with the same `Idempotency-Key`.",
            "schema": {"type": "string", "enum": ["true"]},
        },
        "ETag": {
            "description": "The version of the picture, for `If-None-Match`.",
            "schema": {"type": "string", "pattern": "^\"[0-9a-f]{32}\"$"},
        },
        "CacheControl": {
            "description": "Only the caller may keep the picture, and asks before it is used again.",
            "schema": {"type": "string", "example": "private, no-cache"},
        },
        "SetCookie": {
            "description": "The visitor's cookie, which no page can read: that a code's password was shown, for a day; or, where \
                            conversions are told, who they are, for a year.",
            "schema": {"type": "string"},
        },
        "WwwAuthenticate": {
            "description": "How to prove who asks.",
            "schema": {"type": "string", "example": "Bearer"},
        },
    })
}

/// Completes the answers of every operation; failures that several operations share become components.
pub(super) fn complete(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    let mut shared = Map::new();
    let items = document["paths"].as_object_mut().into_iter().flatten();
    let operations = items.filter_map(|(path, item)| Some((path, item.as_object_mut()?)));
    for (path, method, operation) in operations.flat_map(|(path, item)| item.iter_mut().map(move |(m, o)| (path, m, o)))
    {
        // A route without a security scheme is open on purpose.
        if operation.get("security").is_none() {
            operation["security"] = json!([]);
        }
        let facts = Facts::of(operation, !goes_on(&method.to_uppercase(), path));
        let Some(responses) = operation["responses"].as_object_mut() else { continue };
        responses.retain(|status, _| facts.answers(status));
        for (status, response) in responses.iter_mut() {
            complete_one(response, status, facts.has_caller(), &schemas);
            if let Some(text) = facts.own(status).flatten() {
                response["description"] = text.into();
            } else if let Some(name) = failure(response, status)
                && (facts.has_caller() || facts.secured && status == "401")
            {
                shared.insert(name.clone(), std::mem::replace(response, reference("responses", &name)));
            }
        }
    }
    shared.sort_keys();
    document["components"]["responses"] = shared.into();
    document["components"]["headers"] = headers();
}

/// What decides which failures an operation can have.
struct Facts {
    id: String,
    secured: bool,
    body: bool,
    in_path: bool,
    outside_path: bool,
    idempotent: bool,
    suspendable: bool,
}

impl Facts {
    fn of(operation: &Value, suspendable: bool) -> Self {
        let parameters = operation["parameters"].as_array();
        let any = |test: &dyn Fn(&Value) -> bool| parameters.is_some_and(|all| all.iter().any(test));
        Self {
            id: operation["operationId"].as_str().unwrap_or_default().to_owned(),
            secured: operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty()),
            body: operation.get("requestBody").is_some(),
            // A workspace that is not the session's is not found, wherever it is named.
            in_path: any(&|parameter| parameter["in"] == "path" || parameter["name"] == "orgId"),
            outside_path: any(&|parameter| parameter["in"] != "path"),
            idempotent: any(&|parameter| parameter["name"] == "Idempotency-Key"),
            suspendable,
        }
    }

    fn own(&self, status: &str) -> Option<Option<&'static str>> {
        OWN.iter().find(|(id, of, _)| *id == self.id && *of == status).map(|(_, _, told)| *told)
    }

    /// Whether an organisation's caller asks, with a role and a rate.
    fn has_caller(&self) -> bool {
        self.secured && !OPERATORS.contains(&self.id.as_str())
    }

    fn answers(&self, status: &str) -> bool {
        if let Some(told) = self.own(status) {
            return told.is_some();
        }
        match status {
            "400" => self.body || self.outside_path,
            "401" => self.secured,
            "402" => self.suspendable && self.has_caller(),
            "403" | "429" => self.has_caller(),
            "404" => self.in_path,
            "409" => self.idempotent || CONFLICTS.contains(&self.id.as_str()),
            "413" | "415" => self.body,
            "422" => UNSUPPORTED.contains(&self.id.as_str()),
            _ => true,
        }
    }
}

fn complete_one(response: &mut Value, status: &str, has_caller: bool, schemas: &Value) {
    let mut content = response["content"].as_object().cloned().unwrap_or_default();
    // JSON has no charset (RFC 8259), and generators do not expect one.
    content = content
        .into_iter()
        .map(|(media_type, of)| (media_type.split(';').next().unwrap_or_default().to_owned(), of))
        .collect();
    // An answer without words of its own is told by what it holds.
    if response["description"].as_str().is_none_or(str::is_empty) {
        let held = content.values().find_map(|of| of["schema"]["$ref"].as_str()?.rsplit('/').next());
        response["description"] = held.map_or("Done.".into(), |name| schemas[name]["description"].clone());
    }
    let mut headers = Map::new();
    let mut add = |name: &str, component: &str| headers.insert(name.to_owned(), reference("headers", component));
    add("x-request-id", "RequestId");
    if response["headers"].get("Idempotency-Replayed").is_some() {
        add("Idempotency-Replayed", "IdempotencyReplayed");
    }
    if response["headers"].get("ETag").is_some() {
        add("ETag", "ETag");
        add("Cache-Control", "CacheControl");
    }
    // The framework writes it in capitals.
    let sets_cookie = |headers: &Map<String, Value>| headers.keys().any(|name| name.eq_ignore_ascii_case("set-cookie"));
    if response["headers"].as_object().is_some_and(sets_cookie) {
        add("Set-Cookie", "SetCookie");
    }
    match status {
        "401" => drop(add("WWW-Authenticate", "WwwAuthenticate")),
        "409" | "429" | "503" => drop(add("Retry-After", "RetryAfter")),
        _ => {}
    }
    if has_caller && status != "401" {
        add("RateLimit-Limit", "RateLimitLimit");
        add("RateLimit-Remaining", "RateLimitRemaining");
        add("RateLimit-Reset", "RateLimitReset");
    }
    let Some(response) = response.as_object_mut() else { return };
    response.insert("headers".into(), headers.into());
    response.remove("content");
    if !content.is_empty() {
        response.insert("content".into(), content.into());
    }
}

/// The name under which a failure is shared: its schema's and its status.
fn failure(response: &Value, status: &str) -> Option<String> {
    let (_, of) = response["content"].as_object()?.iter().next()?;
    let schema = of["schema"]["$ref"].as_str()?.rsplit('/').next()?;
    (status >= "400" && crate::surface::FAILURES.contains(&schema)).then(|| format!("{schema}{status}"))
}
