//! Why a request failed, in sentences that are short, always the same, and tell nothing of our inside.
//!
//! The libraries' own texts change from version to version and speak of their own parts; customers read these.

use std::{error::Error, io};

use domain::address::Refusal;
use hyper_util::client::legacy;
use rustls::{CertificateError, Error as TlsError};

/// The answer, or its rest, did not come in time.
pub const READ_TIMED_OUT: &str = "Read timed out";
/// A flood of 1xx.
pub const TOO_MANY_INTERIM: &str = "Too many interim responses";
/// A header or a URL that is not fit for HTTP.
pub const INVALID_REQUEST: &str = "Invalid request headers";
/// The status came, and more body than is read.
pub const BODY_TOO_LONG: &str = "Response body longer than 64 KiB, not read to its end";
/// The body says it is gzip and is not.
pub const BAD_ENCODING: &str = "Response body cannot be unpacked";

const CONNECT_TIMED_OUT: &str = "Connect timed out";
const CONNECTION_CLOSED: &str = "Connection closed before the response was complete";
const HEADERS_TOO_LARGE: &str = "Response headers too large";
const INVALID_RESPONSE: &str = "Invalid HTTP response";
const INVALID_BODY: &str = "Invalid HTTP response body";
const TLS_CLOSED: &str = "TLS handshake failed: connection closed";
const UNKNOWN: &str = "Request failed";

const BY_KIND: &[(io::ErrorKind, &str)] = &[
    (io::ErrorKind::ConnectionRefused, "Connection refused"),
    (io::ErrorKind::ConnectionReset, "Connection reset"),
    (io::ErrorKind::ConnectionAborted, "Connection aborted"),
    (io::ErrorKind::BrokenPipe, CONNECTION_CLOSED),
    (io::ErrorKind::UnexpectedEof, CONNECTION_CLOSED),
    (io::ErrorKind::HostUnreachable, "Host unreachable"),
    (io::ErrorKind::NetworkUnreachable, "Network unreachable"),
    (io::ErrorKind::TimedOut, READ_TIMED_OUT),
];

/// The sentence for an address that may not be dialled.
pub fn of_refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Internal { .. } => refusal.to_string(),
        Refusal::Unresolved { source, .. } if source.kind() == io::ErrorKind::TimedOut => {
            "Name look-up timed out".to_owned()
        }
        Refusal::Unresolved { .. } | Refusal::NoAddress { .. } => "Name does not resolve".to_owned(),
    }
}

/// The sentence for a request without an answer.
pub fn of_request(error: &legacy::Error) -> String {
    match sentence(error) {
        Some(known) if !error.is_connect() => known,
        // While connecting, reading is the TLS handshake's.
        Some(known) if known == READ_TIMED_OUT => CONNECT_TIMED_OUT.to_owned(),
        Some(known) if known == CONNECTION_CLOSED => TLS_CLOSED.to_owned(),
        Some(known) => known,
        None => unknown(error),
    }
}

/// The sentence for a body that broke off.
pub fn of_body(error: &hyper::Error) -> String {
    sentence(error).unwrap_or_else(|| INVALID_BODY.to_owned())
}

fn unknown(error: &(dyn Error + 'static)) -> String {
    tracing::warn!(?error, "outbound request failed for a reason without a sentence");
    UNKNOWN.to_owned()
}

/// The sentence for the first cause that has one.
fn sentence(error: &(dyn Error + 'static)) -> Option<String> {
    causes(error).find_map(|cause| {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            Some(of_refusal(refusal))
        } else if let Some(error) = cause.downcast_ref::<TlsError>() {
            Some(format!("TLS handshake failed: {}", of_tls(error)))
        } else if let Some(error) = cause.downcast_ref::<io::Error>() {
            BY_KIND.iter().find(|(kind, _)| *kind == error.kind()).map(|(_, sentence)| (*sentence).to_owned())
        } else {
            cause.downcast_ref::<hyper::Error>().and_then(of_hyper).map(str::to_owned)
        }
    })
}

fn of_hyper(error: &hyper::Error) -> Option<&'static str> {
    if error.is_incomplete_message() {
        Some(CONNECTION_CLOSED)
    } else if error.is_parse() {
        // hyper tells this one apart for servers only.
        let is_too_large = error.to_string().contains("too large");
        Some(if is_too_large { HEADERS_TOO_LARGE } else { INVALID_RESPONSE })
    } else {
        None
    }
}

fn of_tls(error: &TlsError) -> &'static str {
    use CertificateError as Bad;
    match error {
        TlsError::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => "certificate expired",
        TlsError::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => "certificate not yet valid",
        TlsError::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "certificate is for another name"
        }
        TlsError::InvalidCertificate(Bad::UnknownIssuer) => "certificate's issuer is not trusted",
        TlsError::InvalidCertificate(Bad::Revoked) => "certificate revoked",
        TlsError::InvalidCertificate(_) => "certificate not valid",
        TlsError::InvalidMessage(_) => "the receiver does not speak TLS",
        TlsError::PeerIncompatible(_) => "no TLS version or cipher in common",
        TlsError::AlertReceived(_) => "the receiver gave up",
        _ => "protocol error",
    }
}

/// An error and all that is behind it. An `io::Error` that wraps another hides it from `source`.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner as &(dyn Error + 'static)),
        None => error.source(),
    })
}
