//! The routes, put together: every surface, one OpenAPI file, and what surrounds each request.

use std::sync::{Arc, Mutex, Weak};

use poem::{
    Endpoint, EndpointExt, IntoResponse, Request, Response, Route,
    http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE},
    middleware::CatchPanic,
};
use poem_openapi::{ContactObject, LicenseObject, OpenApiService, Tags};
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    App,
    canva::CanvaApi,
    cors::Crossing,
    cron::CronApi,
    failure::Failure,
    iloveqr::IloveqrApi,
    inklink::InklinkApi,
    inkode::{
        AlertApi, BarcodeApi, BillingApi, ConversionOriginApi, DeliveryApi, EndpointApi, ExportApi, ImportApi,
        LabelApi, LimitApi, LinkApi, LinkBulkApi, LinkPageApi, NotificationApi, OwnDomainApi, QrApi, QrBulkApi,
        ReplayApi,
    },
    inkr::InkrApi,
    intake::IntakeApi,
    probe::ProbeApi,
    public::{ConversionApi, PublicApi, UnsubscribeApi},
    qrstudio::QrstudioApi,
    rate::Left,
    redirect,
    surface::{Surface, failure_of},
};

/// The header that names a request, in answers and logs.
pub const REQUEST_ID: &str = "x-request-id";

/// The most time for one request. None takes so long unless its connection to Postgres, or to its caller, is lost.
const REQUEST_MOST: std::time::Duration = std::time::Duration::from_secs(60);

/// The surfaces, as the OpenAPI file groups them.
#[derive(Debug, Tags)]
pub enum Tag {
    /// Event intake: what happened goes in here, with an API key of any prefix.
    Events,
    /// Inkode's workspace: links, QR codes, barcodes, folders and tags, with a workspace session.
    Workspace,
    /// Inkode's webhooks: endpoints of every dialect, deliveries and replays, with a workspace session.
    #[oai(rename = "Inkode webhooks")]
    InkodeWebhooks,
    /// Inkode's library for Canva and other programs: folders and pictures, with an OAuth access token or an `ink_` key.
    #[oai(rename = "Canva library")]
    Canva,
    /// For public pages, without proof of identity: passwords of links and codes, and conversions.
    Public,
    /// iloveQR's webhooks, with an `ilqr_` key.
    #[oai(rename = "iloveQR webhooks")]
    Iloveqr,
    /// InkLink's webhooks, with a `secret_live_` key.
    #[oai(rename = "InkLink webhooks")]
    Inklink,
    /// Inkr's webhooks, with an `inkr_` key.
    #[oai(rename = "Inkr webhooks")]
    Inkr,
    /// QR Code Agency's webhooks, with a session or an `smk_` key.
    #[oai(rename = "QR Code Agency webhooks")]
    Qrstudio,
    /// For operators, load balancers and schedulers.
    Operations,
}

/// What a request left for the response to tell.
type LeftSlot = Arc<Mutex<Option<Left>>>;

/// The id of a request, as a response header and logs name it.
#[derive(Debug, Clone)]
struct RequestId(String);

/// The request's id, for the jobs it causes.
pub fn request_id(request: &Request) -> Option<String> {
    request.extensions().get::<RequestId>().map(|id| id.0.clone())
}

/// What holds for all operations, for readers of the OpenAPI file.
const DESCRIPTION: &str = "\
Events go in, five kinds of webhook subscribers receive them: signed, on time, and nothing is lost. Five products' \
documented surfaces on one server; each keeps its own paths, field names and errors.

**Bodies** are JSON, at most 1 MiB (an event 256 KiB, a batch of events or of changes of links 8 MiB). Null says the same as leaving a member \
out, but for updates of links and codes, where it takes away what can be absent; members that are not known are ignored. No text can hold the character U+0000.

**Errors** of events, Inkode and Inkr are problems (RFC 9457) with a stable `code`; the other surfaces have their own. \
Fields that break rules are named. Every answer has an `x-request-id`: the caller's own (1 to 64 letters, digits, `.`, \
`_`, `-`) or one of ours. An unknown address is answered with 404 and a wrong method with 405 and `Allow`, both in the \
surface's words.

**Creates** take an `Idempotency-Key`: for a day the same key and body get the same answer, with \
`Idempotency-Replayed: true`. The same key with another body, or while the first request is under way, is a conflict (409).

**Lists** begin with the newest, where no `sort` is asked for.

**Requests** are limited per key: `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` (in seconds) tell what is \
left, and 429 comes with `Retry-After`.";

macro_rules! service {
    ($app:expr) => {
        OpenApiService::new(
            // Grouped, because the framework counts no further than sixteen.
            (
                (
                    IntakeApi($app.clone()),
                    EndpointApi($app.clone()),
                    DeliveryApi($app.clone()),
                    ReplayApi($app.clone()),
                ),
                (
                    LinkApi($app.clone()),
                    LinkPageApi($app.clone()),
                    OwnDomainApi($app.clone()),
                    (LinkBulkApi($app.clone()), ExportApi($app.clone()), ImportApi($app.clone())),
                    LabelApi($app.clone()),
                    (QrApi($app.clone()), QrBulkApi($app.clone())),
                    BarcodeApi($app.clone()),
                    (AlertApi($app.clone()), BillingApi($app.clone()), LimitApi($app.clone())),
                    ConversionOriginApi($app.clone()),
                    NotificationApi($app.clone()),
                ),
                (
                    CanvaApi($app.clone()),
                    PublicApi($app.clone()),
                    ConversionApi($app.clone()),
                    UnsubscribeApi($app.clone()),
                ),
                (IloveqrApi($app.clone()), InklinkApi($app.clone()), InkrApi($app.clone()), QrstudioApi($app.clone())),
                (CronApi($app.clone()), ProbeApi($app.clone())),
            ),
            "Inkfleet",
            env!("CARGO_PKG_VERSION"),
        )
        .description(DESCRIPTION)
        .license(LicenseObject::new("Apache-2.0").url("https://www.apache.org/licenses/LICENSE-2.0"))
        .contact(ContactObject::new().name("The Inkfleet developers"))
        .server("/")
    };
}

/// Every route, ready to be served.
pub fn routes(app: App) -> impl Endpoint<Output = Response> + 'static {
    crate::pulse::start(&app);
    let limiter = Arc::downgrade(&app.limiter);
    let tries = [&app.tries, &app.tellers].map(Arc::downgrade);
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(60));
        while let Some(limiter) = limiter.upgrade() {
            limiter.shrink();
            tries.iter().filter_map(Weak::upgrade).for_each(|tries| tries.shrink());
            drop(limiter);
            tick.tick().await;
        }
    });
    let service = service!(app);
    let route = crate::stripe::add(crate::oauth::add(Route::new()));
    let route = if app.settings.development { crate::development::add(route) } else { route };
    let route = route
        .at("/docs", poem::get(poem::endpoint::make_sync(|_| poem::web::Html(crate::openapi::page()))))
        .nest_no_strip("/", service);
    let panics = CatchPanic::new().with_handler(|_: Box<dyn std::any::Any + Send>| StatusCode::INTERNAL_SERVER_ERROR);
    let data = app.clone();
    Edge { app, inner: route.with(panics).data(data), redirects: true }
}

/// The probes alone, for a worker process.
pub fn probe_routes(app: App) -> impl Endpoint<Output = Response> + 'static {
    let service = OpenApiService::new(ProbeApi(app.clone()), "Inkfleet worker", env!("CARGO_PKG_VERSION"));
    let data = app.clone();
    Edge { app, inner: Route::new().nest_no_strip("/", service).data(data), redirects: false }
}

/// What surrounds every request.
struct Edge<E> {
    app: App,
    inner: E,
    /// Whether codes are answered here.
    redirects: bool,
}

impl<E: Endpoint> Endpoint for Edge<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let id = incoming_id(&request).unwrap_or_else(|| format!("req_{}", self.app.chance.alphanumeric(20)));
        if self.redirects
            && let Some(mut response) = redirect::answer(&self.app, &mut request, &id).await
        {
            name_request(&mut response, &id);
            return Ok(response);
        }
        Ok(respond(&self.inner, request, id).await)
    }
}

/// The OpenAPI file of the whole API, as YAML.
pub fn openapi_yaml() -> String {
    crate::openapi::yaml().to_owned()
}

/// What the framework says of the whole API, as JSON, and its page that shows that.
pub(crate) fn framework_document() -> (String, String) {
    let service = service!(App::for_document());
    (service.spec(), service.swagger_ui_html())
}

/// Runs one request: its id, its log line, its metrics, and its failure in the surface's shape.
async fn respond<E: Endpoint>(endpoint: &E, mut request: Request, id: String) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let crossing = Crossing::of(&request);
    let left = LeftSlot::default();
    if Surface::of(&path).trailing_slash {
        drop_trailing_slash(&mut request);
    }
    request.extensions_mut().insert(RequestId(id.clone()));
    request.extensions_mut().insert(left.clone());
    if let Some(crossing) = &crossing {
        request.extensions_mut().insert(crossing.clone());
    }
    let preflight = crossing.as_ref().and_then(|crossing| crossing.preflight(&request));
    let span = tracing::info_span!("request", request_id = id, %method, path);
    let mut response = async {
        let answered = match (unreadable_key(&request), preflight) {
            (Some(failure), _) => Err(failure.into()),
            (None, Some(answer)) => Ok(answer),
            (None, None) => match tokio::time::timeout(REQUEST_MOST, endpoint.call(request)).await {
                Ok(answered) => answered.map(IntoResponse::into_response),
                Err(_) => Err(Failure::unavailable().into()),
            },
        };
        match answered {
            Ok(response) => response.into_response(),
            Err(error) => {
                let mut failure = failure_of(error);
                if failure.status == StatusCode::METHOD_NOT_ALLOWED {
                    failure.allow = Some(crate::openapi::methods_of(&path));
                }
                Surface::of(&path).render(&failure, &id)
            }
        }
    }
    .instrument(span.clone())
    .await;
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR && response.content_type().is_none() {
        // A panic: told like any other failure of ours.
        response = Surface::of(&path).render(&Failure::internal("a handler panicked"), &id);
    }
    finish(&mut response, &id, &left);
    if let Some(crossing) = crossing {
        crossing.open(&mut response);
    }
    // In the request's span, so that its line names the request.
    span.in_scope(|| observe(&method, &path, response.status(), started));
    response
}

/// The framework takes a header that is no text for absent, and a request that was meant to be safe would not be.
fn unreadable_key(request: &Request) -> Option<Failure> {
    request.headers().get("idempotency-key")?.to_str().err()?;
    // Only creates take it.
    (*request.method() == Method::POST)
        .then(|| Failure::field("Idempotency-Key", "must be 1 to 255 visible ASCII characters"))
}

/// The framework's routes have no slash at the end, whatever a document says.
fn drop_trailing_slash(request: &mut Request) {
    let uri = request.uri();
    let Some(path) = uri.path().strip_suffix('/').filter(|path| !path.is_empty()) else { return };
    let routed = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    if let Ok(routed) = routed.parse() {
        *request.uri_mut() = routed;
    }
}

/// A caller may name its request; anything but a short plain word is not taken over.
fn incoming_id(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    ((1..=64).contains(&id.len()) && id.chars().all(plain)).then(|| id.to_owned())
}

fn name_request(response: &mut Response, id: &str) {
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
}

fn finish(response: &mut Response, id: &str, left: &LeftSlot) {
    name_request(response, id);
    let headers = response.headers_mut();
    // JSON has no charset (RFC 8259); the framework gives it one.
    if headers.get(CONTENT_TYPE).is_some_and(|value| value == "application/json; charset=utf-8") {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if let Some(left) = *left.lock().expect("no panic under the lock") {
        headers.insert("ratelimit-limit", HeaderValue::from(left.limit));
        headers.insert("ratelimit-remaining", HeaderValue::from(left.remaining));
        headers.insert("ratelimit-reset", HeaderValue::from(left.reset_s));
    }
}

fn observe(method: &Method, path: &str, status: StatusCode, started: Instant) {
    let route = crate::openapi::route_of(path);
    let took = started.elapsed();
    metrics::histogram!("inkfleet_http_request_seconds", "method" => method.to_string(), "route" => route.clone(), "status" => status.as_u16().to_string())
        .record(took.as_secs_f64());
    let took_ms = took.as_millis() as u64;
    if status.is_server_error() {
        tracing::warn!(%method, route, status = status.as_u16(), took_ms, "request");
    } else {
        tracing::debug!(%method, route, status = status.as_u16(), took_ms, "request");
    }
}
