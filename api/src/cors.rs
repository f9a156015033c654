//! CORS (Fetch Standard, 3.2): which answers a browser lets the pages of other hosts read, failures and pictures
//! included. Everything else stays closed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use poem::{
    Request, Response,
    http::{HeaderValue, Method, StatusCode, header},
};

/// For how long a browser need not ask again, in seconds: the most that Chromium keeps.
const KEPT_S: &str = "7200";

/// Paths that are open to pages of other hosts.
struct Rule {
    /// The path; with a slash at its end, all below it.
    path: &'static str,
    /// To whom.
    readers: Readers,
    /// The methods that a page may use.
    methods: &'static str,
    /// What it may send.
    taken: &'static str,
    /// What it may read beside the body.
    told: &'static str,
    /// Whether cookies go along.
    cookies: bool,
}

/// Who may read answers.
enum Readers {
    /// Whose origin looks like that.
    Known(fn(&str) -> bool),
    /// Whom the handler admits. Who asks beforehand is told what is taken wherever they are: only the body can tell
    /// more.
    Admitted,
}

const RULES: [Rule; 2] = [
    Rule {
        path: "/api/canva/",
        readers: Readers::Known(is_canvas),
        methods: "GET",
        taken: "Authorization, X-API-Key, If-None-Match, X-Request-Id, Content-Type",
        told: "ETag, Retry-After, X-Request-Id, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset",
        cookies: false,
    },
    Rule {
        path: "/api/public/conversions",
        readers: Readers::Admitted,
        methods: "POST",
        taken: "Content-Type, X-Request-Id",
        told: "Retry-After, X-Request-Id",
        cookies: true,
    },
];

/// Whether an origin is an app of Canva's: `https://app-<id>.canva-apps.com`.
fn is_canvas(origin: &str) -> bool {
    let id = origin.strip_prefix("https://app-").and_then(|rest| rest.strip_suffix(".canva-apps.com"));
    id.is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'))
}

/// A request to an open path.
#[derive(Clone)]
pub struct Crossing {
    rule: &'static Rule,
    origin: Option<HeaderValue>,
    admitted: Arc<AtomicBool>,
}

impl Crossing {
    /// The request as one to an open path, if it is.
    pub fn of(request: &Request) -> Option<Self> {
        let path = request.uri().path();
        let fits = |rule: &&Rule| path == rule.path || rule.path.ends_with('/') && path.starts_with(rule.path);
        let rule = RULES.iter().find(fits)?;
        let origin = request.headers().get(header::ORIGIN).cloned();
        let admitted = match rule.readers {
            Readers::Known(looks) => origin.as_ref().and_then(|origin| origin.to_str().ok()).is_some_and(looks),
            Readers::Admitted => false,
        };
        Some(Self { rule, origin, admitted: Arc::new(admitted.into()) })
    }

    /// The answer to a browser that asks what it may ask, if it does; [`Self::open`] completes it.
    pub fn preflight(&self, request: &Request) -> Option<Response> {
        let asks = *request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && self.origin.is_some();
        if asks && matches!(self.rule.readers, Readers::Admitted) {
            self.admit();
        }
        (asks && self.admitted.load(Ordering::Relaxed)).then(|| {
            Response::builder()
                .status(StatusCode::NO_CONTENT)
                .header(header::ACCESS_CONTROL_ALLOW_METHODS, self.rule.methods)
                .header(header::ACCESS_CONTROL_ALLOW_HEADERS, self.rule.taken)
                .header(header::ACCESS_CONTROL_MAX_AGE, KEPT_S)
                .finish()
        })
    }

    /// Lets the page read the answer.
    fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }

    /// Says in an answer who may read it.
    pub fn open(&self, response: &mut Response) {
        let headers = response.headers_mut();
        // Whatever lies between must not give one page's answer to another.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = self.origin.as_ref().filter(|_| self.admitted.load(Ordering::Relaxed)) else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(self.rule.told));
        if self.rule.cookies {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

/// Lets the page that sent a request read its answer: the handler knows it.
pub fn admit(request: &Request) {
    request.extensions().get::<Crossing>().inspect(|crossing| crossing.admit());
}
