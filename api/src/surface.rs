//! The error shapes: one row per surface, chosen by the request's path, so that whatever goes wrong (an unknown route, a
//! wrong method, a broken body) is told in the words of the surface that was asked.

mod body;

use poem::{
    Response,
    error::{MethodNotAllowedError, NotFoundError, ParsePathError as UnreadablePathError},
    http::{StatusCode, header},
};
use poem_openapi::{
    ApiResponse,
    error::{ContentTypeError, ParseParamError, ParsePathError},
    registry::{MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::{ToJSON, Type},
};
use serde_json::{Value, json};

pub use self::body::{DetailError, ErrorBody, ErrorCode, ErrorEnvelope, Problem, ProblemField};
use crate::failure::{Failure, FieldError};

/// One surface's way to tell failures.
pub struct Surface {
    /// The beginning of its paths; the first row that fits counts.
    pub path: &'static str,
    /// The media type of its errors.
    pub media_type: &'static str,
    /// The status it sends for ours.
    pub status: fn(StatusCode) -> StatusCode,
    /// The body.
    pub body: fn(&Failure, status: StatusCode, request_id: &str) -> Value,
    /// Whether its paths end in a slash.
    pub trailing_slash: bool,
}

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

fn same(status: StatusCode) -> StatusCode {
    status
}

/// Every surface; the last row fits all paths.
pub const SURFACES: [Surface; 5] = [
    Surface { path: "/oauth/", media_type: JSON, status: same, body: oauth, trailing_slash: false },
    Surface { path: "/api/v1/organizations/", media_type: JSON, status: same, body: iloveqr, trailing_slash: false },
    Surface { path: "/api/v1/webhooks/", media_type: JSON, status: same, body: qrstudio, trailing_slash: true },
    Surface {
        path: "/api/v1/webhook/",
        media_type: JSON,
        status: inklink_status,
        body: inklink,
        trailing_slash: false,
    },
    Surface { path: "/", media_type: PROBLEM, status: same, body: problem_text, trailing_slash: false },
];

/// The schemas of failures.
pub const FAILURES: [&str; 3] = ["Problem", "ErrorEnvelope", "DetailError"];

impl Surface {
    /// The surface of a path.
    pub fn of(path: &str) -> &'static Self {
        SURFACES
            .iter()
            .find(|surface| path.starts_with(surface.path) || path == surface.path.trim_end_matches('/'))
            .unwrap_or(&SURFACES[SURFACES.len() - 1])
    }

    /// The response to a failure.
    pub fn render(&self, failure: &Failure, request_id: &str) -> Response {
        let status = (self.status)(failure.status);
        let mut response = Response::builder().status(status).content_type(self.media_type);
        if let Some(seconds) = failure.retry_after_s {
            response = response.header(header::RETRY_AFTER, seconds);
        }
        if let Some(allow) = &failure.allow {
            response = response.header(header::ALLOW, allow);
        }
        if failure.status == StatusCode::UNAUTHORIZED {
            response = response.header(header::WWW_AUTHENTICATE, "Bearer");
        }
        response.body((self.body)(failure, status, request_id).to_string())
    }
}

/// RFC 6749's errors, as far as it has words for what can fail apart from the protocol.
fn oauth(failure: &Failure, status: StatusCode, _: &str) -> Value {
    let error = match status.as_u16() {
        503 => "temporarily_unavailable",
        500.. => "server_error",
        _ => "invalid_request",
    };
    json!({"error": error, "error_description": failure.message})
}

fn problem_text(failure: &Failure, status: StatusCode, request_id: &str) -> Value {
    problem(failure, status, request_id).to_json().unwrap_or_default()
}

/// A failure as our own surfaces tell it.
pub(crate) fn problem(failure: &Failure, status: StatusCode, request_id: &str) -> Problem {
    let errors = details(failure);
    Problem {
        r#type: "about:blank".into(),
        title: status.canonical_reason().unwrap_or("Error").into(),
        status: status.as_u16(),
        code: failure.code.into(),
        detail: failure.message.clone(),
        request_id: request_id.into(),
        errors: (!errors.is_empty()).then_some(errors),
        limit: failure.full.as_ref().map(|full| full.most),
        used: failure.full.as_ref().map(|full| full.used),
    }
}

/// InkLink answers a missing permission with 500 and a clear message; it documents no 403.
fn inklink_status(status: StatusCode) -> StatusCode {
    if status == StatusCode::FORBIDDEN { StatusCode::INTERNAL_SERVER_ERROR } else { status }
}

fn inklink(failure: &Failure, status: StatusCode, request_id: &str) -> Value {
    let code = match status.as_u16() {
        401 => ErrorCode::Unauthorized,
        404 => ErrorCode::NotFound,
        429 => ErrorCode::RateLimitExceeded,
        400..500 => ErrorCode::ValidationError,
        _ => ErrorCode::InternalError,
    };
    envelope(code, failure, request_id)
}

fn iloveqr(failure: &Failure, status: StatusCode, request_id: &str) -> Value {
    let code = match status.as_u16() {
        401 => ErrorCode::Unauthorized,
        403 => ErrorCode::Forbidden,
        404 => ErrorCode::NotFound,
        409 => ErrorCode::Conflict,
        429 => ErrorCode::RateLimitExceeded,
        400..500 => ErrorCode::ValidationError,
        _ => ErrorCode::InternalError,
    };
    envelope(code, failure, request_id)
}

fn envelope(code: ErrorCode, failure: &Failure, request_id: &str) -> Value {
    let (message, details) = (failure.message.clone(), details(failure));
    let error = ErrorBody { code, message, details, request_id: request_id.into() };
    ErrorEnvelope { error }.to_json().unwrap_or_default()
}

fn details(failure: &Failure) -> Vec<ProblemField> {
    failure.fields.iter().map(|e| ProblemField { field: e.field.clone(), message: e.message.clone() }).collect()
}

/// `{"field": "…"}` where fields are wrong, `{"detail": "…"}` otherwise. Fields are named without the place inside them,
/// and of several errors in one field the first is told.
fn qrstudio(failure: &Failure, _: StatusCode, _: &str) -> Value {
    let named: Vec<&FieldError> = failure.fields.iter().filter(|e| !e.field.is_empty()).collect();
    if named.is_empty() {
        return json!({"detail": failure.message});
    }
    let mut body = serde_json::Map::new();
    for error in named {
        let field = error.field.split(['[', '.']).next().unwrap_or(&error.field);
        body.entry(field).or_insert_with(|| Value::from(error.message.clone()));
    }
    Value::Object(body)
}

/// The failures of a surface's routes, for the OpenAPI file; at run time a [`Failure`] that the server renders.
#[derive(Debug)]
pub struct Failed<S>(Failure, std::marker::PhantomData<S>);

/// What the OpenAPI file says of a surface's failures.
pub trait Shape: Send + Sync + 'static {
    /// The schema of the bodies.
    type Body: Type;
    /// Their media type.
    const MEDIA_TYPE: &'static str;
    /// The statuses that the surface's routes may answer with; `openapi::answer` leaves out those that one cannot have.
    const STATUSES: &'static [u16];
}

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident: $body:ty, $media:expr, $statuses:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;
        impl Shape for $name {
            type Body = $body;
            const MEDIA_TYPE: &'static str = $media;
            const STATUSES: &'static [u16] = &$statuses;
        }
    )*};
}

shapes! {
    /// Our own surfaces.
    Own: Problem, PROBLEM, [400, 401, 402, 403, 404, 409, 413, 415, 422, 429, 500, 503];
    /// iloveQR.
    Iloveqr: ErrorEnvelope, JSON, [400, 401, 402, 403, 404, 409, 413, 415, 429, 500, 503];
    /// InkLink.
    Inklink: ErrorEnvelope, JSON, [400, 401, 402, 404, 409, 413, 415, 429, 500, 503];
    /// QR Code Agency.
    Qrstudio: DetailError, JSON, [400, 401, 402, 403, 404, 409, 413, 415, 429, 500, 503];
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "A field breaks a rule, or the body is no valid JSON.",
        401 => "No valid proof of identity.",
        402 => "The plan has no room for more, or is suspended because an invoice is unpaid (`plan_suspended`).",
        403 => "The caller may not do this.",
        404 => "There is no such thing in the caller's organisation.",
        409 => "The request conflicts with an earlier one or with the present state.",
        413 => "The body is too large.",
        415 => "The body is not announced as JSON.",
        422 => {
            "The request keeps to its form, and what it asks for cannot be done, such as a picture that no scanner reads."
        }
        429 => "Too many requests; `Retry-After` says when to try again.",
        503 => "The database does not answer. Try again with the same id or Idempotency-Key.",
        _ => "Something went wrong on our side.",
    }
}

impl<S: Shape> ApiResponse for Failed<S> {
    fn meta() -> MetaResponses {
        let response = |status: &u16| MetaResponse {
            description: meaning(*status),
            status: Some(*status),
            status_range: None,
            content: vec![MetaMediaType { content_type: S::MEDIA_TYPE, schema: S::Body::schema_ref() }],
            headers: vec![],
        };
        MetaResponses { responses: S::STATUSES.iter().map(response).collect() }
    }

    fn register(registry: &mut Registry) {
        S::Body::register(registry);
    }
}

impl<S, E: Into<Failure>> From<E> for Failed<S> {
    fn from(error: E) -> Self {
        Self(error.into(), std::marker::PhantomData)
    }
}

impl<S: Shape> From<Failed<S>> for poem::Error {
    fn from(failed: Failed<S>) -> Self {
        failed.0.into()
    }
}

/// What any error of the framework or a handler comes to.
pub fn failure_of(error: poem::Error) -> Failure {
    let error = match error.downcast::<Failure>() {
        Ok(failure) => return failure,
        Err(error) => error,
    };
    if let Some(error) = error.downcast_ref::<ParseParamError>() {
        return Failure::field(error.name, rule(&error.reason));
    }
    if error.is::<NotFoundError>() || error.is::<ParsePathError>() || error.is::<UnreadablePathError>() {
        return Failure::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address.");
    }
    if error.is::<MethodNotAllowedError>() {
        return Failure::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "This address does not have this method.",
        );
    }
    if let Some(error) = error.downcast_ref::<ContentTypeError>() {
        let message = match error {
            ContentTypeError::ExpectContentType => "The body must be announced as application/json.".to_owned(),
            ContentTypeError::NotSupported { content_type } => {
                format!("The body must be announced as application/json, not {content_type}.")
            }
        };
        return Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message);
    }
    match error.status() {
        status if status.is_server_error() => Failure::internal(error),
        status => Failure::new(status, "bad_request", error.to_string()),
    }
}

/// poem-openapi's wording, told as a rule.
fn rule(reason: &str) -> String {
    match reason.rsplit_once(": ") {
        Some((_, tail)) => format!("is not valid: {tail}"),
        None => format!("is not valid: {reason}"),
    }
}
