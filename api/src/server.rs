//! The routes, put together: every surface, one OpenAPI file, and what surrounds each request.

use std::sync::{Arc, Mutex};

use poem::{
    Endpoint, EndpointExt, IntoResponse, Request, Response, Route,
    http::{HeaderValue, Method, StatusCode},
    middleware::CatchPanic,
};
use poem_openapi::{ContactObject, LicenseObject, OpenApiService, Tags};
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    App,
    failure::Failure,
    iloveqr::IloveqrApi,
    inklink::InklinkApi,
    inkode::{DeliveryApi, EndpointApi, ReplayApi},
    inkr::InkrApi,
    intake::IntakeApi,
    probe::ProbeApi,
    qrstudio::QrstudioApi,
    rate::Left,
    surface::{Surface, failure_of},
};

/// The header that names a request, in answers and logs.
pub const REQUEST_ID: &str = "x-request-id";

/// The surfaces, as the OpenAPI file groups them.
#[derive(Debug, Tags)]
pub enum Tag {
    /// Event intake: what happened goes in here, with an API key of any prefix.
    Events,
    /// Inkode's webhooks: endpoints of every dialect, deliveries and replays, with a workspace session.
    #[oai(rename = "Inkode webhooks")]
    InkodeWebhooks,
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
    /// For operators and load balancers.
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

macro_rules! service {
    ($app:expr) => {
        OpenApiService::new(
            (
                IntakeApi($app.clone()),
                EndpointApi($app.clone()),
                DeliveryApi($app.clone()),
                ReplayApi($app.clone()),
                IloveqrApi($app.clone()),
                InklinkApi($app.clone()),
                InkrApi($app.clone()),
                QrstudioApi($app.clone()),
                ProbeApi($app.clone()),
            ),
            "Inkfleet",
            env!("CARGO_PKG_VERSION"),
        )
        .description(
            "Events go in, five kinds of webhook subscribers receive them: signed, on time, and nothing is lost. Five \
             products' documented surfaces on one server.",
        )
        .license(LicenseObject::new("Apache-2.0").url("https://www.apache.org/licenses/LICENSE-2.0"))
        .contact(ContactObject::new().name("The Inkfleet developers"))
        .server("/")
    };
}

/// Every route, ready to be served.
pub fn routes(app: App) -> impl Endpoint<Output = Response> + 'static {
    let service = service!(app);
    let document = openapi_of(service.spec());
    let docs = service.swagger_ui();
    let route = Route::new()
        .at("/openapi.yaml", poem::endpoint::make_sync(move |_| document.clone().with_content_type("application/yaml")))
        .nest("/docs", docs)
        .nest_no_strip("/", service);
    let panics = CatchPanic::new().with_handler(|_: Box<dyn std::any::Any + Send>| StatusCode::INTERNAL_SERVER_ERROR);
    let data = app.clone();
    Edge { app, inner: route.with(panics).data(data) }
}

/// What surrounds every request.
struct Edge<E> {
    app: App,
    inner: E,
}

impl<E: Endpoint> Endpoint for Edge<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(respond(&self.app, &self.inner, request).await)
    }
}

/// The OpenAPI file of the whole API, as YAML.
pub fn openapi_yaml() -> String {
    openapi_of(service!(App::for_document()).spec())
}

/// poem-openapi writes JSON; the file is checked in as YAML, with what the framework cannot say added.
fn openapi_of(json: String) -> String {
    let mut document: serde_json::Value = serde_json::from_str(&json).expect("poem-openapi writes JSON");
    crate::openapi::complete(&mut document);
    crate::openapi::to_yaml(&document)
}

/// Runs one request: its id, its log line, its metrics, and its failure in the surface's shape.
async fn respond<E: Endpoint>(app: &App, endpoint: &E, mut request: Request) -> Response {
    let started = Instant::now();
    let id = incoming_id(&request).unwrap_or_else(|| format!("req_{}", app.chance.alphanumeric(20)));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let left = LeftSlot::default();
    request.extensions_mut().insert(RequestId(id.clone()));
    request.extensions_mut().insert(left.clone());
    let span = tracing::info_span!("request", request_id = id, %method, path);
    let mut response = async {
        match endpoint.call(request).await {
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
    .instrument(span)
    .await;
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR && response.content_type().is_none() {
        // A panic: told like any other failure of ours.
        response = Surface::of(&path).render(&Failure::internal("a handler panicked"), &id);
    }
    finish(&mut response, &id, &left);
    observe(&method, &path, response.status(), started);
    response
}

/// A caller may name its request; anything but a short plain word is not taken over.
fn incoming_id(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    ((1..=64).contains(&id.len()) && id.chars().all(plain)).then(|| id.to_owned())
}

fn finish(response: &mut Response, id: &str, left: &LeftSlot) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
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
