//! How often one address may try something with one link or QR code, in this process.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use poem::http::StatusCode;
use uuid::Uuid;

use crate::failure::Failure;

/// Who has tried what lately.
pub struct Tries(DefaultKeyedRateLimiter<(Uuid, IpAddr)>);

impl Tries {
    /// So many tries at once, and so many per minute after that.
    pub fn per_minute(most: NonZeroU32) -> Self {
        Self(RateLimiter::keyed(Quota::per_minute(most)))
    }

    /// Counts a try; where there is none left, it says after how many seconds there is another. All whose address is
    /// not known share one.
    pub fn take(&self, target: Uuid, address: Option<IpAddr>) -> Result<(), u64> {
        let address = address.unwrap_or(Ipv6Addr::UNSPECIFIED.into());
        self.0.check_key(&(target, address)).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            (wait.as_secs_f64().ceil() as u64).max(1)
        })
    }

    /// Forgets those who may try as often as ever.
    pub fn shrink(&self) {
        self.0.retain_recent();
    }
}

impl std::fmt::Debug for Tries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tries").finish_non_exhaustive()
    }
}

/// 429, with the wait.
pub fn too_many(message: &str, seconds: u64) -> Failure {
    Failure::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).retry_after(seconds)
}
