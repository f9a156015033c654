//! Outbound HTTP, for webhook attempts and for looks at links' destinations: to allowed addresses only, within a time, and with an answer of bounded size.
//!
//! Whatever is at the other end, a request ends in an [`Answer`], never in an error or a panic. One call is one request:
//! no redirect, no proxy and no repetition stands between. When to try again is the delivery's schedule's business.

mod body;
mod connect;
mod failure;
mod interim;
mod look;
mod paced;
mod retry_after;

use std::{io, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{address::Guard, http_url::HttpUrl};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header::RETRY_AFTER};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::{
    client::legacy::{self, connect::HttpInfo},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, timeout_at};

pub use self::look::{Look, LookRequest};
use self::{connect::Connector, interim::Interim};

/// From the look-up of the name to the end of the TLS handshake. Below every dialect's time-out, so that a receiver
/// that does not even accept is told from one that does not answer; several addresses share it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// How long a connection is kept without a request. Common servers close after five seconds (Node.js among them), and
/// a request that meets such a close has failed. There is no other limit: what is closed has to be opened again, TLS
/// included, and no more can be idle than the fleet's concurrency had in use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// The largest head of an answer, in bytes, and with it the most that is read at a time.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How much of an HTTP/2 answer may arrive unread, in bytes.
const HTTP2_WINDOW: u32 = 64 * 1024;

/// The fleet's one HTTP client. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    guard: Guard,
    http: legacy::Client<Connector, Full<Bytes>>,
}

/// A POST request to make.
#[derive(Debug)]
pub struct Request<'a> {
    /// Where to.
    pub url: &'a HttpUrl,
    /// Names and values; `Host` and `Content-Length` are added.
    pub headers: &'a [(&'a str, String)],
    /// The bytes to send.
    pub body: Vec<u8>,
    /// From the start of the call to the last byte of the answer that is read.
    pub timeout: Duration,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The status, if one came; it stands whatever became of the body behind it.
    pub status: Option<u16>,
    /// The beginning of the body, at most 16 KiB of UTF-8; what is not UTF-8, and NUL, is U+FFFD.
    pub body: String,
    /// What went wrong, in a short sentence without secrets; empty if nothing did.
    pub error: String,
    /// The address and port that answered.
    pub remote_addr: Option<String>,
    /// From the start of the call to its end.
    pub duration: Duration,
    /// How long after the end of the call the receiver wants to be left alone (RFC 9110, 10.2.3).
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// The answer to a request that was not made, and why.
    pub fn refused(error: impl Into<String>) -> Self {
        Self { error: error.into(), ..Self::default() }
    }
}

impl Client {
    /// A client that dials what `guard` allows; fails if the machine has no root certificates.
    pub fn new(guard: Guard) -> io::Result<Self> {
        let connector = Connector::new(guard.clone())?;
        Ok(Self::over(guard, connector))
    }

    /// A client that trusts whom `tls` trusts.
    pub fn with_tls(guard: Guard, tls: rustls::ClientConfig) -> Self {
        let connector = Connector::with_tls(guard.clone(), tls);
        Self::over(guard, connector)
    }

    fn over(guard: Guard, connector: Connector) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http2_initial_stream_window_size(HTTP2_WINDOW)
            .http2_initial_connection_window_size(HTTP2_WINDOW * 4)
            .build(connector);
        Self { guard, http }
    }

    /// Makes one POST request and reads the beginning of its answer; `now` is when the call starts.
    pub async fn post(&self, request: Request<'_>, now: DateTime<Utc>) -> Answer {
        let start = Instant::now();
        let (mut answer, retry_after) = self.send(request, start).await;
        answer.duration = start.elapsed();
        let end = now + TimeDelta::from_std(answer.duration).unwrap_or_default();
        answer.retry_after = retry_after.and_then(|value| retry_after::parse(&value, end));
        answer
    }

    /// The answer but for its times, and its Retry-After header.
    async fn send(&self, request: Request<'_>, start: Instant) -> (Answer, Option<HeaderValue>) {
        let deadline = start + request.timeout;
        // Addresses are dialled without asking the resolver.
        if let Err(refusal) = self.guard.check_literal(request.url) {
            return (Answer::refused(failure::of_refusal(&refusal)), None);
        }
        let Some(outgoing) = outgoing(request) else {
            return (Answer::refused(failure::INVALID_REQUEST), None);
        };
        let response = match timeout_at(deadline, self.head_of(outgoing)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return (Answer::refused(error), None),
            Err(_) => return (Answer::refused(failure::READ_TIMED_OUT), None),
        };
        let status = Some(response.status().as_u16());
        let remote_addr = response.extensions().get::<HttpInfo>().map(|info| info.remote_addr().to_string());
        let retry_after = response.headers().get(RETRY_AFTER).cloned();
        let (body, error) = body::read(response, deadline).await;
        (Answer { status, body, error, remote_addr, ..Answer::default() }, retry_after)
    }

    /// The answer up to its body, or why there is none.
    async fn head_of(&self, mut request: http::Request<Full<Bytes>>) -> Result<http::Response<Incoming>, String> {
        let interim = Interim::count(&mut request);
        tokio::select! {
            response = self.http.request(request) => response.map_err(|error| failure::of_request(&error)),
            () = interim.too_many() => Err(failure::TOO_MANY_INTERIM.to_owned()),
        }
    }
}

/// `None` where the URL, a name or a value is not fit for HTTP.
fn outgoing(request: Request<'_>) -> Option<http::Request<Full<Bytes>>> {
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for (name, value) in request.headers {
        headers.append(HeaderName::try_from(*name).ok()?, HeaderValue::try_from(value).ok()?);
    }
    let mut outgoing = http::Request::new(Full::from(request.body));
    *outgoing.method_mut() = Method::POST;
    *outgoing.uri_mut() = Uri::try_from(request.url.url().as_str()).ok()?;
    *outgoing.headers_mut() = headers;
    Some(outgoing)
}
