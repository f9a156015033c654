//! Verifying: the receiver's side of every dialect, for `inkfleet listen` and for tests.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::Mac;

use super::{
    DIALECTS, Dialect, Encoding, InvalidSecret, Overlap, Part, Source,
    sign::{self, Signature},
};

/// Why a request is not believed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum VerifyError {
    /// A header that the dialect always sends is not there.
    #[error("the header {0} is missing")]
    Missing(&'static str),
    /// A header's value is not written as the dialect writes it.
    #[error("the header {0} cannot be read")]
    Malformed(&'static str),
    /// No signature fits this body and secret.
    #[error("the signature does not fit the body and the secret")]
    WrongSignature,
    /// The signature fits, but its time is too far from the present: perhaps a replay.
    #[error("the signature was made {0} s away from the present")]
    Stale(i64),
    /// The secret cannot belong to the dialect.
    #[error("the secret {0}")]
    Secret(#[from] InvalidSecret),
}

/// The dialect whose signature header is there.
pub fn recognise<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Option<&'static Dialect> {
    DIALECTS.iter().find(|dialect| header(dialect.signature.header).is_some())
}

/// Whether `body` was signed with `secret` at most `tolerance` away from `now` (where the dialect signs a time).
///
/// `header` finds a header's value by its name, whatever the case. Comparisons take constant time.
pub fn verify<'h>(
    dialect: &'static Dialect,
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    secret: &str,
    tolerance: TimeDelta,
    now: DateTime<Utc>,
) -> Result<(), VerifyError> {
    let Signature { header: name, encoding, parts, overlap, .. } = &dialect.signature;
    let value = header(name).ok_or(VerifyError::Missing(name))?;
    let claims = read(*encoding, value);

    // A header matters only where its content is signed: other systems need not send our extra `webhook-id`.
    let signed = |part: &Part, source: Source| {
        let entry = dialect.headers.iter().find(|(_, held)| *held == source && parts.contains(part));
        entry.map(|(name, _)| header(name).ok_or(VerifyError::Missing(name))).transpose()
    };
    let event_id = signed(&Part::EventId, Source::EventId)?.unwrap_or_default();
    let seconds = claims.seconds.or(signed(&Part::Timestamp, Source::Timestamp)?).unwrap_or_default();

    let mac = sign::mac(dialect, secret, event_id, seconds, body)?;
    let mut macs = claims.macs;
    if let Overlap::OwnHeader(previous) = overlap {
        macs.extend(header(previous).map(|value| read(*encoding, value).macs).unwrap_or_default());
    }
    if macs.is_empty() {
        return Err(VerifyError::Malformed(name));
    }
    if !macs.iter().any(|theirs| mac.clone().verify_slice(theirs).is_ok()) {
        return Err(VerifyError::WrongSignature);
    }
    if parts.contains(&Part::Timestamp) {
        let signed_at = seconds.parse::<i64>().map_err(|_| VerifyError::Malformed(name))?;
        let away = now.timestamp().saturating_sub(signed_at).saturating_abs();
        if away > tolerance.num_seconds() {
            return Err(VerifyError::Stale(away));
        }
    }
    Ok(())
}

/// What a signature header says: its time, where it has one, and the MACs that can be read.
struct Claims<'h> {
    seconds: Option<&'h str>,
    macs: Vec<Vec<u8>>,
}

fn read(encoding: Encoding, value: &str) -> Claims<'_> {
    let value = value.trim();
    match encoding {
        Encoding::Hex(start) => {
            let tail = value.get(..start.len()).filter(|s| s.eq_ignore_ascii_case(start)).map(|s| &value[s.len()..]);
            Claims { seconds: None, macs: tail.and_then(|tail| hex::decode(tail).ok()).into_iter().collect() }
        }
        Encoding::V1List => {
            let entries = value.split_whitespace().filter_map(|entry| entry.strip_prefix("v1,"));
            Claims { seconds: None, macs: entries.filter_map(|entry| STANDARD.decode(entry).ok()).collect() }
        }
        Encoding::TimeAndV1 => {
            let pairs = || value.split(',').filter_map(|pair| pair.split_once('='));
            let seconds = pairs().find(|(key, _)| *key == "t").map(|(_, seconds)| seconds);
            let macs = pairs().filter(|(key, _)| *key == "v1").filter_map(|(_, mac)| hex::decode(mac).ok());
            Claims { seconds, macs: macs.collect() }
        }
    }
}
