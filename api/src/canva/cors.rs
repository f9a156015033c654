//! CORS (Fetch Standard, 3.2) for Canva's apps, which run in the browser on hosts of Canva's: every answer of the library
//! can be read there, failures and pictures included.

use poem::{
    Request, Response,
    http::{HeaderValue, Method, StatusCode, header},
};

/// The beginning of the paths that are open.
const PATHS: &str = "/api/canva/";
/// What a program may send.
const TAKEN: &str = "Authorization, X-API-Key, If-None-Match, X-Request-Id, Content-Type";
/// What it may read beside the body.
const TOLD: &str = "ETag, Retry-After, X-Request-Id, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset";
/// For how long a browser need not ask again, in seconds: the most that Chromium keeps.
const KEPT_S: &str = "7200";

/// Where a request for the library comes from, if that is an app of Canva's: `https://app-<id>.canva-apps.com`.
pub fn origin(request: &Request) -> Option<HeaderValue> {
    let origin = request.headers().get(header::ORIGIN).filter(|_| request.uri().path().starts_with(PATHS))?;
    let id = origin.to_str().ok()?.strip_prefix("https://app-")?.strip_suffix(".canva-apps.com")?;
    let fits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    fits.then(|| origin.clone())
}

/// Whether a browser asks what it may ask.
pub fn is_preflight(request: &Request) -> bool {
    *request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to that; [`open`] completes it.
pub fn preflight() -> Response {
    Response::builder()
        .status(StatusCode::NO_CONTENT)
        .header(header::ACCESS_CONTROL_ALLOW_METHODS, "GET")
        .header(header::ACCESS_CONTROL_ALLOW_HEADERS, TAKEN)
        .header(header::ACCESS_CONTROL_MAX_AGE, KEPT_S)
        .finish()
}

/// Lets the app at `origin` read an answer.
pub fn open(response: &mut Response, path: &str, origin: Option<HeaderValue>) {
    if !path.starts_with(PATHS) {
        return;
    }
    let headers = response.headers_mut();
    // Whatever lies between must not give one app's answer to another.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(TOLD));
    }
}
