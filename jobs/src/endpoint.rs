//! Jobs about endpoints.

use domain::id::EndpointId;
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue};

/// Looks at an endpoint's health when its dialect's patience ends, for dialects that disable without traffic (Inkr).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckEndpoint {
    /// Which endpoint.
    pub endpoint_id: EndpointId,
}

impl Job for CheckEndpoint {
    const KIND: &'static str = "endpoint.check";
    const QUEUE: Queue = Queue::System;
}
