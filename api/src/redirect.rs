//! Redirects: `GET /r/{code}`, and `/{code}` on the short domain and on own domains. The hottest path: it is answered before everything that
//! surrounds the API's requests, from routes that the process keeps, and asks Postgres only for what it does not know.

pub(crate) mod access;
mod hosts;
mod link_page;
pub(crate) mod page;
mod place;
mod routes;
pub(crate) mod tries;
pub(crate) mod visitor;
mod visits;

use domain::{
    link_health,
    route::{Route, Step, Stop},
};
use poem::{
    Request, Response,
    http::{HeaderValue, Method, StatusCode, header},
};

pub use self::{
    place::{Place, Places, Told},
    routes::Routes,
    tries::Tries,
    visits::{Note, Visits},
};
use crate::app::App;

/// Where a password can be shown by a program, on any host.
const PUBLIC_ACCESS: &str = "/api/public/access";
/// Where codes are found on any host.
const PATH: &str = "/r/";

/// The code that a request asks for, with the domain that it stands on, if it asks for one. A domain of somebody's own has
/// nothing but codes; the installation's is the empty text.
fn asked(app: &App, request: &Request) -> Option<(String, String)> {
    let path = request.uri().path();
    // HTTP/2 has it in the address.
    let host = request.header(header::HOST).or_else(|| Some(request.uri().authority()?.as_str())).unwrap_or_default();
    let own = bare(host);
    if app.routes.hosts.contains(&own) {
        return Some((own, path.strip_prefix('/').unwrap_or(path).to_owned()));
    }
    let code = path.strip_prefix(PATH).or_else(|| {
        let on_short = host.eq_ignore_ascii_case(app.settings.short_host.as_deref()?);
        path.strip_prefix('/').filter(|code| on_short && !code.is_empty() && !code.starts_with(link_page::UNDER))
    });
    Some((String::new(), code?.to_owned()))
}

/// A host as own domains are spelled: in lower case, without its port and last dot.
fn bare(host: &str) -> String {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// The answer to a request for a code or a link page; `None` where it is for something else.
pub async fn answer(app: &App, request: &mut Request, id: &str) -> Option<Response> {
    // A page on a short domain asks there: the cookie counts for the host that set it.
    if request.uri().path() == PUBLIC_ACCESS {
        return None;
    }
    let Some((domain, mut code)) = asked(app, request) else { return link_page::answer(app, request).await };
    // A QR code's scanner may add a slash.
    if code.ends_with('/') {
        code.pop();
    }
    let response = lead(app, request, &domain, &code).await;
    let outcome = match response.status().as_u16() {
        302 => "redirect",
        401 => "password",
        404 => "unknown",
        410 => "stopped",
        500.. => "unavailable",
        _ => "other",
    };
    metrics::counter!("inkfleet_redirects_total", "outcome" => outcome).increment(1);
    tracing::debug!(request_id = id, code, outcome, "redirect");
    Some(response)
}

async fn lead(app: &App, request: &mut Request, domain: &str, code: &str) -> Response {
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    if !reads && *request.method() != Method::POST {
        let refused = Response::builder().status(StatusCode::METHOD_NOT_ALLOWED);
        return refused.header(header::ALLOW, "GET, HEAD, POST").finish();
    }
    let route = match app.routes.find(domain, code).await {
        Ok(Some(route)) => route,
        Ok(None) => return page::unknown(),
        Err(error) => {
            tracing::warn!(%error, "a code could not be looked up");
            return page::unavailable();
        }
    };
    let shown = access::shown(app, request, &route);
    match route.step(shown, app.clock.now()) {
        Step::Stop(stop) => page::stopped(stop),
        Step::Password if reads => page::password(StatusCode::UNAUTHORIZED, None),
        Step::Go if reads => go(app, request, &route).await,
        Step::Password | Step::Go => access::try_password(app, request, &route).await,
    }
}

async fn go(app: &App, request: &Request, route: &Route) -> Response {
    let counted = *request.method() == Method::GET && !is_prefetch(request) && !is_own_check(request);
    let mut number = None;
    if route.has_limit() && counted || route.needs().number {
        match count(app, route, counted).await {
            Ok(Some(count)) => number = Some(count),
            Ok(None) => return page::stopped(Stop::Full),
            Err(error) => {
                tracing::warn!(%error, "a visit could not be counted");
                return page::unavailable();
            }
        }
    }
    let choice = visitor::choose(app, request, route, number);
    let Ok(location) = HeaderValue::from_str(choice.destination) else { return page::unavailable() };
    if counted {
        app.visits.note(note(app, request, route, choice.branch)).await;
    }
    let mut response = Response::default();
    response.set_status(StatusCode::FOUND);
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}

/// The number of this visit; `None` where all were had. Who only looks ahead is told that of the next one.
async fn count(app: &App, route: &Route, counted: bool) -> Result<Option<i64>, sqlx::Error> {
    let mut conn = app.store.pool().acquire().await?;
    if counted {
        return domain::route::count_visit(&mut conn, route).await;
    }
    Ok(Some(domain::route::counted(&mut conn, route.org_id, route.led_by()).await? + 1))
}

fn note(app: &App, request: &Request, route: &Route, branch: &str) -> Note {
    let text = |name| request.header(name).map_or_else(Box::default, Box::from);
    Note {
        org_id: route.org_id,
        target_id: route.target.row().1,
        at: app.clock.now(),
        address: access::address(app, request),
        agent: text(header::USER_AGENT),
        languages: text(header::ACCEPT_LANGUAGE),
        referrer: text(header::REFERER),
        told: app.places.told(request),
        branch: branch.into(),
    }
}

/// Whether this program checks a destination that is one of its own codes. Whoever says so without being it is not counted
/// either, as nobody is who says that he looks ahead.
fn is_own_check(request: &Request) -> bool {
    request.header(header::USER_AGENT).is_some_and(|agent| agent.starts_with(link_health::AGENT))
}

/// Whether a browser looks ahead, for somebody who may never come.
fn is_prefetch(request: &Request) -> bool {
    let says = |name: &str| request.header(name).is_some_and(|value| value.to_ascii_lowercase().contains("prefetch"));
    says("sec-purpose") || says("purpose") || says("x-moz")
}
