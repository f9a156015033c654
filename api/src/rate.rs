//! How often a key may ask: a token bucket per API key or session user, kept in each web process.

use std::num::NonZeroU32;

use domain::caller::{Caller, Via};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DefaultKeyedStateStore,
};
use poem::http::StatusCode;
use uuid::Uuid;

use crate::failure::Failure;

/// The buckets of one process.
pub struct Limiter {
    buckets: RateLimiter<Uuid, DefaultKeyedStateStore<Uuid>, DefaultClock, StateInformationMiddleware>,
    burst: u32,
}

/// What is left of a bucket, for the `RateLimit-*` headers.
#[derive(Debug, Clone, Copy)]
pub struct Left {
    /// The bucket's size.
    pub limit: u32,
    /// Requests left.
    pub remaining: u32,
    /// Seconds until the bucket is full, or until the next request is allowed.
    pub reset_s: u64,
}

impl Limiter {
    /// Buckets of `burst` requests that fill at `per_second`.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(per_second).allow_burst(NonZeroU32::new(burst).unwrap_or(per_second));
        Self {
            buckets: RateLimiter::keyed(quota).with_middleware::<StateInformationMiddleware>(),
            burst: quota.burst_size().get(),
        }
    }

    /// Takes one request from the caller's bucket: what is left of it, and 429 with `Retry-After` when it was empty.
    pub fn take(&self, caller: &Caller) -> (Left, Result<(), Failure>) {
        let key = match caller.via {
            Via::ApiKey { id, .. } => id.0,
            Via::Oauth { id } => id.0,
            Via::Session => caller.user_id.0,
        };
        match self.buckets.check_key(&key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let missing = f64::from(self.burst - remaining.min(self.burst));
                let interval = state.quota().replenish_interval().as_secs_f64();
                (Left { limit: self.burst, remaining, reset_s: (missing * interval).ceil() as u64 }, Ok(()))
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(DefaultClock::default().now());
                // Rounded up: who comes back after the whole seconds finds a request in the bucket.
                let wait_s = (wait.as_secs_f64().ceil() as u64).max(1);
                let message = format!("More than {} requests at once for this key.", self.burst);
                let failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).retry_after(wait_s);
                (Left { limit: self.burst, remaining: 0, reset_s: wait_s }, Err(failure))
            }
        }
    }

    /// Forgets the buckets that are full again.
    pub fn shrink(&self) {
        self.buckets.retain_recent();
    }
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").field("burst", &self.burst).finish_non_exhaustive()
    }
}
