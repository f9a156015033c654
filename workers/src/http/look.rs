//! A look at an address: the head of one answer, and nothing of its body. No redirect is followed; where one leads is the
//! caller's to judge, and each further address passes the guard as the first one did.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::http_url::HttpUrl;
use http::{
    HeaderValue, Method, Uri,
    header::{ACCEPT, LOCATION, RETRY_AFTER, USER_AGENT},
};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::time::{Instant, timeout_at};

use super::{Client, connect::CertificateEnd, failure, retry_after};

/// A request without a body.
#[derive(Debug)]
pub struct LookRequest<'a> {
    /// `HEAD` or `GET`.
    pub method: &'static str,
    /// Where to.
    pub url: &'a HttpUrl,
    /// Who asks.
    pub agent: &'a str,
    /// From the start of the call to the end of the answer's head.
    pub timeout: Duration,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// The status, if an answer came.
    pub status: Option<u16>,
    /// Where the answer leads, as it says.
    pub location: Option<String>,
    /// How long the host wants to be left alone.
    pub retry_after: Option<Duration>,
    /// When the host's certificate ends, where there was one.
    pub certificate_expires_at: Option<DateTime<Utc>>,
    /// Why no answer came, in a short sentence without secrets; empty if one did.
    pub error: String,
}

impl Client {
    /// Makes one request and looks at the head of its answer; `now` is when the call starts.
    pub async fn look(&self, request: LookRequest<'_>, now: DateTime<Utc>) -> Look {
        let start = Instant::now();
        let failed = |error: String| Look { error, ..Look::default() };
        // Addresses are dialled without asking the resolver.
        if let Err(refusal) = self.guard.check_literal(request.url) {
            return failed(failure::of_refusal(&refusal));
        }
        let timeout = request.timeout;
        let Some(outgoing) = outgoing(&request) else { return failed(failure::INVALID_REQUEST.to_owned()) };
        let response = match timeout_at(start + timeout, self.head_of(outgoing)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return failed(error),
            Err(_) => return failed(failure::READ_TIMED_OUT.to_owned()),
        };
        let end = now + TimeDelta::from_std(start.elapsed()).unwrap_or_default();
        let headers = response.headers();
        Look {
            status: Some(response.status().as_u16()),
            // Some servers send UTF-8 here, which a text header has no room for.
            location: headers.get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            retry_after: headers.get(RETRY_AFTER).and_then(|value| retry_after::parse(value, end)),
            certificate_expires_at: response.extensions().get::<CertificateEnd>().map(|end| end.0),
            error: String::new(),
        }
    }
}

fn outgoing(request: &LookRequest<'_>) -> Option<http::Request<Full<Bytes>>> {
    let mut outgoing = http::Request::new(Full::default());
    *outgoing.method_mut() = Method::from_bytes(request.method.as_bytes()).ok()?;
    *outgoing.uri_mut() = Uri::try_from(request.url.url().as_str()).ok()?;
    let headers = outgoing.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::try_from(request.agent).ok()?);
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    Some(outgoing)
}
