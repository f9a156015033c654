//! The job that looks whether a domain is its organisation's.

use chrono::{DateTime, Utc};
use domain::{
    chance::Chance,
    id::{OrgId, OwnDomainId},
    own_domain::OwnDomain,
};
use serde::{Deserialize, Serialize};

use crate::{
    job::{Job, NewJob, Queue},
    queue,
    store::Tx,
};

/// Looks up the record that proves a domain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyDomain {
    /// Which domain.
    pub domain_id: OwnDomainId,
}

impl Job for VerifyDomain {
    const KIND: &'static str = "domain.verify";
    const QUEUE: Queue = Queue::System;
}

/// Enqueues the next look, if there is one.
pub async fn look_again(
    tx: &mut Tx<'_>,
    org_id: OrgId,
    domain: &OwnDomain,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<(), sqlx::Error> {
    let Some(at) = domain.next_check_at else { return Ok(()) };
    let job = NewJob::new(org_id, &VerifyDomain { domain_id: domain.id }, now, chance).at(at);
    queue::enqueue(tx, job).await
}
