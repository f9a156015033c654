//! What a member sees while a program asks to be let in.

use domain::api_key::Scope;
use poem::{
    Response,
    http::{HeaderValue, StatusCode, Uri},
};
use url::Url;

use crate::redirect::page;

/// A text inside a page.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// What a scope allows, as members read it.
fn allows(scope: &str) -> &'static str {
    match Scope::by_name(scope) {
        Some(Scope::LibraryRead) => "See the folders, QR codes and barcodes of this workspace and take their pictures",
        _ => "Nothing",
    }
}

/// The question.
pub(super) fn consent(
    program: &str,
    org: &str,
    email: &str,
    scopes: &[String],
    ticket: &str,
    redirect: &str,
) -> Response {
    let list: String = scopes.iter().map(|scope| format!("<li>{}", allows(scope))).collect();
    let text = format!(
        "<b>{}</b> asks to be let into the workspace <b>{}</b> as {}. It will be able to:</p><ul>{list}</ul>\
         <form method=post action=/oauth/authorize><input type=hidden name=ticket value={ticket}>\
         <button name=decision value=allow>Allow</button> <button name=decision value=deny>Do not allow</button></form>",
        plain(program),
        plain(org),
        plain(email),
    );
    let mut response = page::page(StatusCode::OK, &format!("Let {} in?", plain(program)), &text);
    // Browsers hold the way back against the form's policy too.
    let origin = Url::parse(redirect).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' {origin}; frame-ancestors 'none'; base-uri 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert("content-security-policy", policy);
    }
    response
}

/// For who is not signed in.
pub(super) fn sign_in(uri: &Uri) -> Response {
    let again = uri.path_and_query().map(|there| plain(there.as_str())).unwrap_or_default();
    let text = format!(
        "A program asks to be let into your workspace. Sign in there first, in this browser; then <a href=\"{again}\">go on</a>."
    );
    page::page(StatusCode::UNAUTHORIZED, "Sign in first", &text)
}

/// For who may not answer.
pub(super) fn forbidden(why: &str) -> Response {
    page::page(StatusCode::FORBIDDEN, "Not here", &plain(why))
}

/// For a request that leads nowhere safe.
pub(super) fn refused(why: &str) -> Response {
    page::page(StatusCode::BAD_REQUEST, "This request cannot be answered", &plain(why))
}
