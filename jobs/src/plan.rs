//! Work about plans: what an organisation uses is held against what it has paid for.

use chrono::{DateTime, Utc};
use domain::{chance::Chance, id::OrgId, org, plan::Plan};
use serde::{Deserialize, Serialize};

use crate::{
    job::{Job, NewJob, Queue},
    queue,
    store::Tx,
};

/// Has every organisation's plan audited.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditPlans {}

impl Job for AuditPlans {
    const KIND: &'static str = "plans.audit";
    const QUEUE: Queue = Queue::System;
}

/// Audits the plan of the organisation whose job it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditPlan {}

impl Job for AuditPlan {
    const KIND: &'static str = "plan.audit";
    const QUEUE: Queue = Queue::System;
    const HISTORY: bool = false;
}

/// Puts an organisation on another plan and has that audited; `false` when there is no such organisation.
pub async fn change(
    tx: &mut Tx<'_>,
    org_id: OrgId,
    plan: Plan,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<bool, sqlx::Error> {
    let known = org::set_plan(tx, org_id, plan).await?;
    if known {
        queue::enqueue(tx, NewJob::new(org_id, &AuditPlan {}, now, chance)).await?;
    }
    Ok(known)
}
