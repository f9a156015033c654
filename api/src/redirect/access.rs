//! Passwords of codes: asked for on a page, tried so often and no more, and remembered by a cookie that counts for one code
//! and one of its passwords.

use std::net::IpAddr;

use domain::{code::Target, password, route::Route};
use poem::{
    Request, Response,
    http::{HeaderValue, StatusCode, header},
};
use secrecy::ExposeSecret;

use super::page;
use crate::{app::App, cookie, heavy};

/// How often one address may try one code's password at once, and how often per minute after that.
pub const TRIES: std::num::NonZeroU32 = std::num::NonZeroU32::new(10).unwrap();
/// How long a right password is remembered, in seconds: a day.
const REMEMBERED_S: u32 = 86_400;
/// The most bytes of the page's form.
const FORM_MAX: usize = 4096;

/// Which of the code's passwords the visitor has shown, by the cookie; none where it has no password.
pub fn shown(app: &App, request: &Request, route: &Route) -> Option<i32> {
    route.password.as_ref()?;
    let token = cookie::find(request, &name(route.target))?;
    let version = app.sealing.open_text(&hex::decode(token).ok()?, &context(route.target)).ok()?;
    version.expose_secret().parse().ok()
}

/// What a try of a password comes to.
#[derive(Debug)]
pub enum Tried {
    /// It is the password; the cookie that says so. Without one the code has no password.
    Right(Option<HeaderValue>),
    /// It is not.
    Wrong,
    /// Too many tries; after so many seconds there is another.
    TooMany(u64),
}

/// Tries a password that a visitor at `address` gave for a code.
pub async fn tried(app: &App, route: &Route, address: Option<IpAddr>, given: String) -> Tried {
    let Some((hash, version)) = route.password.clone() else { return Tried::Right(None) };
    let Some(address) = address else { return Tried::Wrong };
    if let Err(seconds) = app.tries.take(route.target.row().1, Some(address)) {
        return Tried::TooMany(seconds);
    }
    let right = heavy::run(move || password::is_right(&given, &hash)).await.unwrap_or(false);
    if !right {
        return Tried::Wrong;
    }
    let token = app.sealing.seal(version.to_string().as_bytes(), &context(route.target), &app.chance);
    let secure = if app.settings.short_url.starts_with("https://") { "; Secure" } else { "" };
    let cookie = format!(
        "{}={}; Path=/; Max-Age={REMEMBERED_S}; HttpOnly; SameSite=Lax{secure}",
        name(route.target),
        hex::encode(token)
    );
    Tried::Right(HeaderValue::from_str(&cookie).ok())
}

/// Answers the form of the page: the way back to the code with a cookie, or the page again.
pub async fn try_password(app: &App, request: &mut Request, route: &Route) -> Response {
    let Ok(form) = request.take_body().into_bytes_limit(FORM_MAX).await else {
        return page::password(StatusCode::PAYLOAD_TOO_LARGE, Some("That is too long."));
    };
    let given = url::form_urlencoded::parse(&form).find(|(name, _)| name == "password");
    let given = given.map(|(_, value)| value.into_owned()).unwrap_or_default();
    match tried(app, route, address(app, request), given).await {
        Tried::Right(cookie) => {
            let mut response = back(request);
            if let Some(cookie) = cookie {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Tried::Wrong => page::password(StatusCode::UNAUTHORIZED, Some("That is not the password.")),
        Tried::TooMany(seconds) => {
            let mut response = page::password(StatusCode::TOO_MANY_REQUESTS, Some("Too many tries. Wait a minute."));
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            response
        }
    }
}

/// The code again, now by GET.
fn back(request: &Request) -> Response {
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(header::LOCATION, request.uri().path_and_query().map_or("/", |rest| rest.as_str()))
        .header(header::CACHE_CONTROL, "private, no-store")
        .finish()
}

/// Whose request it is: the connection's other end, or whom the proxy in front of us names. Of several, the last was
/// written by the nearest proxy.
pub(crate) fn address(app: &App, request: &Request) -> Option<IpAddr> {
    // Who did not come through the proxy is at the other end.
    match app.settings.address_header.as_ref().and_then(|name| request.header(name)) {
        Some(told) => told.rsplit(',').next()?.trim().parse().ok(),
        None => request.remote_addr().as_socket_addr().map(std::net::SocketAddr::ip),
    }
}

/// The address of a code on the host that was asked, whose cookies count there.
pub(crate) fn url(app: &App, request: &Request, domain: &str, code: &str) -> String {
    let short = app.settings.short_host.as_deref();
    let asked = request.header(header::HOST).or_else(|| Some(request.uri().authority()?.as_str()));
    match (domain, asked.zip(short)) {
        ("", Some((asked, short))) if asked.eq_ignore_ascii_case(short) => format!("{}/{code}", app.settings.short_url),
        ("", _) => format!("{}/r/{code}", app.settings.public_url),
        (domain, _) => format!("https://{domain}/{code}"),
    }
}

/// The name of its cookie.
fn name(target: Target) -> String {
    format!("ink_access_{}", target.row().1.simple())
}

fn context(target: Target) -> String {
    format!("access:{}", target.row().1)
}
