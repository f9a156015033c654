//! Stripe's signature: `t=<seconds>,v1=<hex>`, with several `v1` while a secret is being replaced.
//! <https://docs.stripe.com/webhooks/signature>

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// How far a signature's time may be from the present, in seconds.
pub const TOLERANCE_S: u64 = 300;

/// Why a body is not believed to be Stripe's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The header is not written as Stripe writes it.
    #[error("must be written as t=<seconds>,v1=<hex>")]
    Malformed,
    /// No signature fits.
    #[error("does not fit the body")]
    Wrong,
    /// One fits, but it is too old or from the future: perhaps a repetition by somebody else.
    #[error("was made more than {TOLERANCE_S} seconds away from the present")]
    Stale,
}

/// Whether Stripe signed `body`, as `header` (`Stripe-Signature`) says. Comparisons take constant time.
pub fn verify(header: &str, body: &[u8], secret: &SecretString, now: DateTime<Utc>) -> Result<(), Refused> {
    let pairs = || header.split(',').filter_map(|pair| pair.trim().split_once('='));
    let seconds = pairs().find(|(key, _)| *key == "t").map(|(_, seconds)| seconds).ok_or(Refused::Malformed)?;
    let signed_at: i64 = seconds.parse().map_err(|_| Refused::Malformed)?;
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes a key of any length");
    mac.update(seconds.as_bytes());
    mac.update(b".");
    mac.update(body);
    let signatures = pairs().filter(|(key, _)| *key == "v1").filter_map(|(_, text)| hex::decode(text).ok());
    let (mut there, mut fits) = (false, false);
    for signature in signatures {
        there = true;
        fits |= mac.clone().verify_slice(&signature).is_ok();
    }
    match (there, fits) {
        (false, _) => Err(Refused::Malformed),
        (true, false) => Err(Refused::Wrong),
        (true, true) if now.timestamp().abs_diff(signed_at) > TOLERANCE_S => Err(Refused::Stale),
        (true, true) => Ok(()),
    }
}
