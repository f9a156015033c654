//! Fetching the session issuer's public keys: by schedule, and when a token names a key that is not known.

use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue};

/// Fetches the JWKS of the session issuer into `session_keys`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FetchSessionKeys {}

impl Job for FetchSessionKeys {
    const KIND: &'static str = "session_keys.fetch";
    const QUEUE: Queue = Queue::System;
    const MAX_ATTEMPTS: i16 = 5;
    const HISTORY: bool = false;
}
