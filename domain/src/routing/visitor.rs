//! Who follows a link, as far as rules ask.

use std::{hash::Hasher, net::IpAddr};

use chrono::{DateTime, Utc};
use siphasher::sip128::{Hasher128, SipHasher13};
use uuid::Uuid;

/// A visitor. What is not known is empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Visitor<'v> {
    /// The kind of device, a word of [`crate::agent`].
    pub device: &'v str,
    /// The operating system, a word of [`crate::agent`].
    pub system: &'v str,
    /// The browser, a word of [`crate::agent`].
    pub browser: &'v str,
    /// The language that is preferred, as a tag of BCP 47.
    pub language: &'v str,
    /// The country, two capital letters of ISO 3166-1.
    pub country: &'v str,
    /// The region, a code of ISO 3166-2 such as `US-CA`.
    pub region: &'v str,
    /// Where the request came from.
    pub address: Option<IpAddr>,
    /// The user agent as it was sent.
    pub agent: &'v str,
    /// The query of the request, percent-encoded.
    pub query: &'v str,
    /// The address of the page that led here.
    pub referrer: &'v str,
    /// When.
    pub at: DateTime<Utc>,
    /// The how-manieth visit of the link this is.
    pub number: Option<i64>,
}

impl Visitor<'_> {
    /// 128 bits that are this visitor's for one link: the same in every process, and others for another link. Of an IPv6
    /// address the first half counts, because the other changes by the hour.
    pub(super) fn mark(&self, link: Uuid) -> (u64, u64) {
        let (a, b) = link.as_u64_pair();
        let mut hasher = SipHasher13::new_with_keys(a, b);
        match self.address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => hasher.write(&address.octets()),
            Some(IpAddr::V6(address)) => hasher.write(&address.octets()[..8]),
            None => {}
        }
        hasher.write(&[0xff]);
        hasher.write(self.agent.as_bytes());
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }
}

/// The language that an `Accept-Language` header prefers; of several equal ones the first. Empty if it names none.
pub fn preferred_language(header: &str) -> &str {
    let mut best = ("", 0.0);
    for part in header.split(',') {
        let mut parts = part.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default();
        let quality = parts.find_map(|p| p.strip_prefix("q=")?.trim().parse::<f32>().ok()).unwrap_or(1.0);
        if !tag.is_empty() && tag != "*" && quality > best.1 {
            best = (tag, quality);
        }
    }
    best.0
}
