//! Signing: all headers of one request, with HMAC-SHA256 in each dialect's spelling.
//!
//! Ids stay the same over the attempts of a delivery; times and numbers are those of the attempt at hand.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Dialect, EventFacts, InvalidSecret};

/// How a request is signed.
#[derive(Debug)]
pub struct Signature {
    /// The header that carries it.
    pub header: &'static str,
    /// How the header's value is written.
    pub encoding: Encoding,
    /// What is signed, joined by full stops.
    pub parts: &'static [Part],
    /// What of the secret is the key.
    pub key: Key,
    /// Whether the previous secret can sign beside the present one for a while after a rotation.
    pub overlap: Overlap,
}

/// How a signature header is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Lower-case hex after a fixed beginning, which may be empty.
    Hex(&'static str),
    /// Entries `v1,<base64>` with a space between them (Standard Webhooks).
    V1List,
    /// `t=<seconds>,v1=<hex>` without spaces (as Stripe does).
    TimeAndV1,
}

/// One of the things signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The event's id with the dialect's prefix.
    EventId,
    /// The attempt's time in Unix seconds.
    Timestamp,
    /// The body.
    Body,
}

/// What of a secret is the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The whole text, its prefix included.
    Text,
    /// The bytes that the text after the prefix is the base64 of.
    Base64,
}

/// What the previous secret may still do while a rotation's overlap lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// Nothing: it is void at once.
    Void,
    /// It adds an entry to the signature header.
    SameHeader,
    /// It signs a header of its own, because the dialect's verifiers read one signature only.
    OwnHeader(&'static str),
}

/// What a header holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The event's type.
    EventType,
    /// The endpoint's id, as the dialect shows it.
    EndpointId,
    /// The attempt's number, from 1.
    AttemptNumber,
    /// The event's id with the dialect's prefix.
    EventId,
    /// The attempt's time in Unix seconds.
    Timestamp,
    /// Always the same text.
    Text(&'static str),
}

/// All headers of one request, names as the document spells them (so not all in lower case).
///
/// `secrets` are the endpoint's present one and, during an overlap, the previous one behind it; `endpoint_id` is the
/// id as shown, `number` the attempt's from 1, `at` its time, `body` what [`super::body`] made.
pub fn sign(
    dialect: &'static Dialect,
    secrets: &[&str],
    endpoint_id: &str,
    event: &EventFacts<'_>,
    number: i32,
    at: DateTime<Utc>,
    body: &str,
) -> Result<Vec<(&'static str, String)>, InvalidSecret> {
    let (event_id, seconds) = (dialect.event_id(event.id), at.timestamp().to_string());
    let value = |source: &Source| match source {
        Source::EventType => event.event_type.to_owned(),
        Source::EndpointId => endpoint_id.to_owned(),
        Source::AttemptNumber => number.to_string(),
        Source::EventId => event_id.clone(),
        Source::Timestamp => seconds.clone(),
        Source::Text(text) => (*text).to_owned(),
    };
    let mut headers: Vec<_> = dialect.headers.iter().map(|(name, source)| (*name, value(source))).collect();

    let Signature { header, encoding, overlap, .. } = dialect.signature;
    let signature = |secret: &str| -> Result<String, InvalidSecret> {
        let mac = mac(dialect, secret, &event_id, &seconds, body.as_bytes())?.finalize().into_bytes();
        Ok(match encoding {
            Encoding::Hex(start) => format!("{start}{}", hex::encode(mac)),
            Encoding::V1List => format!("v1,{}", STANDARD.encode(mac)),
            Encoding::TimeAndV1 => format!("t={seconds},v1={}", hex::encode(mac)),
        })
    };
    let (present, previous) = secrets.split_first().ok_or(InvalidSecret(&dialect.secret))?;
    headers.push((header, signature(present)?));
    for secret in previous {
        match overlap {
            Overlap::Void => {}
            Overlap::SameHeader => {
                let entry = signature(secret)?;
                headers.last_mut().expect("the signature was just added").1.extend([" ", &entry]);
            }
            Overlap::OwnHeader(name) => headers.push((name, signature(secret)?)),
        }
    }
    Ok(headers)
}

/// The MAC over the dialect's parts, not yet finished, so that a verifier can compare in constant time.
pub(super) fn mac(
    dialect: &'static Dialect,
    secret: &str,
    event_id: &str,
    seconds: &str,
    body: &[u8],
) -> Result<Hmac<Sha256>, InvalidSecret> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key(dialect, secret)?).expect("HMAC takes a key of any length");
    for (index, part) in dialect.signature.parts.iter().enumerate() {
        if index > 0 {
            mac.update(b".");
        }
        mac.update(match part {
            Part::EventId => event_id.as_bytes(),
            Part::Timestamp => seconds.as_bytes(),
            Part::Body => body,
        });
    }
    Ok(mac)
}

fn key<'s>(dialect: &'static Dialect, secret: &'s str) -> Result<Cow<'s, [u8]>, InvalidSecret> {
    match dialect.signature.key {
        Key::Text => Ok(Cow::Borrowed(secret.as_bytes())),
        Key::Base64 => secret
            .strip_prefix(dialect.secret.prefix)
            .and_then(|tail| STANDARD.decode(tail).ok())
            .map(Cow::Owned)
            .ok_or(InvalidSecret(&dialect.secret)),
    }
}
