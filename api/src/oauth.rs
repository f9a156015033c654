//! OAuth 2.0 (RFC 6749) for other programs, such as Canva: a page on which a member lets a program in, and the two
//! addresses that the program itself asks. They are not in the OpenAPI file: whoever speaks OAuth knows them.

mod authorize;
mod page;
mod token;

use std::collections::HashMap;

use poem::{
    IntoResponse, Request, Response, Route,
    endpoint::make,
    http::{HeaderValue, StatusCode, header},
};
use serde_json::json;

use crate::{app::App, failure::Failure};

/// The addresses and their methods.
pub const ROUTES: [(&str, &str); 3] =
    [("/oauth/authorize", "GET, POST"), ("/oauth/token", "POST"), ("/oauth/revoke", "POST")];
/// The most bytes of a form.
const FORM_MAX: usize = 16 * 1024;

/// Adds the addresses to `route`.
pub fn add(route: Route) -> Route {
    route
        .at(ROUTES[0].0, poem::get(make(authorize::ask)).post(make(authorize::decide)))
        .at(ROUTES[1].0, poem::post(make(token::exchange)))
        .at(ROUTES[2].0, poem::post(make(token::revoke)))
}

/// Why a request gets nothing, in the words of RFC 6749.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    error: &'static str,
    description: String,
    /// Whether the program named itself in the `Authorization` header.
    basic: bool,
}

impl Refusal {
    fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, description: description.into(), basic: false }
    }

    fn invalid(description: impl Into<String>) -> Self {
        Self::new("invalid_request", description)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": self.error, "error_description": self.description});
        let mut response = answer(self.status, &body);
        if self.basic {
            let wanted = HeaderValue::from_static("Basic realm=\"oauth\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, wanted);
        }
        response
    }
}

/// An answer that nobody may keep (RFC 6749, 5.1).
fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    Response::builder()
        .status(status)
        .content_type("application/json")
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::PRAGMA, "no-cache")
        .body(body.to_string())
}

/// The parameters of a request. What has no value counts as left out; nothing may be given twice (RFC 6749, 3.1).
#[derive(Debug)]
struct Params(HashMap<String, String>);

impl Params {
    fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let mut params = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(text).filter(|(_, value)| !value.is_empty()) {
            if value.contains('\0') {
                return Err(Refusal::invalid(format!("{name} has the character U+0000.")));
            }
            if params.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                return Err(Refusal::invalid(format!("{name} is there twice.")));
            }
        }
        Ok(Self(params))
    }

    /// The form in a request's body.
    async fn of_form(request: &mut Request) -> Result<Self, Refusal> {
        let form = "application/x-www-form-urlencoded";
        let is_form = |value: &str| value.split(';').next().is_some_and(|t| t.trim().eq_ignore_ascii_case(form));
        if !request.content_type().is_some_and(is_form) {
            return Err(Refusal::invalid(format!("The body must be {form}.")));
        }
        match request.take_body().into_bytes_limit(FORM_MAX).await {
            Ok(bytes) => Self::parse(&bytes),
            Err(_) => Err(Refusal::invalid("The body is too long or broke off.")),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn need(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::invalid(format!("{name} is missing.")))
    }
}

fn app(request: &Request) -> &App {
    request.data::<App>().expect("the server puts the app into every request")
}

/// What happens apart from the protocol: a refusal by it, or a failure of ours.
#[derive(Debug)]
enum Stop {
    Refused(Refusal),
    Failed(Failure),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
