//! What a visitor sees in place of a destination: small pages that need nothing from anywhere.

use domain::route::Stop;
use poem::{
    Response,
    http::{StatusCode, header},
};

/// No such code.
pub fn unknown() -> Response {
    page(StatusCode::NOT_FOUND, "This link does not exist", "Check that the address is complete.")
}

/// A code that leads nowhere for now or any more.
pub fn stopped(stop: Stop) -> Response {
    match stop {
        Stop::Paused => page(StatusCode::GONE, "This link is paused", "Whoever made it has switched it off."),
        Stop::Early => page(StatusCode::NOT_FOUND, "This link is not open yet", "Come back a little later."),
        Stop::Expired => page(StatusCode::GONE, "This link has expired", "It was open for a limited time."),
        Stop::Full => page(StatusCode::GONE, "This link has ended", "It was open for a limited number of visits."),
    }
}

/// A code behind a password: the form that asks for it, and what was wrong with the last try.
pub fn password(status: StatusCode, wrong: Option<&str>) -> Response {
    let text = format!(
        "{}<form method=post><label>Password <input name=password type=password autofocus required></label> \
         <button>Open</button></form>",
        wrong.map(|wrong| format!("{wrong}</p><p>")).unwrap_or_default()
    );
    page(status, "This link is protected", &text)
}

/// Postgres does not answer.
pub fn unavailable() -> Response {
    let mut response = page(StatusCode::SERVICE_UNAVAILABLE, "One moment, please", "Try again in a few seconds.");
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
    response
}

/// A sentence or two in place of what was asked for, both HTML.
pub(crate) fn page(status: StatusCode, title: &str, text: &str) -> Response {
    html(status, text_page(title, text))
}

/// The same as a text.
pub(crate) fn text_page(title: &str, text: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <meta name=robots content=noindex><title>{title}</title>\
         <style>:root{{color-scheme:light dark}}body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:28rem;\
         margin:20vh auto;padding:0 1.5rem}}h1{{font-size:1.5rem}}</style><h1>{title}</h1><p>{text}"
    )
}

/// What keeps a page from needing anything, and from running anything.
pub(crate) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// A page that needs nothing from anywhere, and runs nothing.
pub fn html(status: StatusCode, body: String) -> Response {
    Response::builder()
        .status(status)
        .content_type("text/html; charset=utf-8")
        .header(header::CACHE_CONTROL, "private, no-store")
        .header("content-security-policy", POLICY)
        .header("x-content-type-options", "nosniff")
        .body(body)
}
