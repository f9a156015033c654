//! Reminders of unpaid invoices, and the end of a suspension.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    chance::Chance,
    dunning,
    id::{OrgId, UserId},
    mail::{NewMail, billing::PlanResumed},
    org, user,
};
use serde::{Deserialize, Serialize};

use crate::{
    job::{Job, Queue},
    mail,
    store::Tx,
};

/// Finds invoices that have come to a rung of the ladder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepInvoices {}

impl Job for SweepInvoices {
    const KIND: &'static str = "dunning.sweep";
    const QUEUE: Queue = Queue::System;
    // Stripe may be asked many times.
    const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(600);
}

/// Reminds one owner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemindInvoice {
    /// Whose invoice.
    pub org_id: OrgId,
    /// Which.
    pub invoice_id: String,
    /// Which rung.
    pub step: String,
    /// Whom.
    pub user_id: UserId,
}

impl Job for RemindInvoice {
    const KIND: &'static str = "dunning.remind";
    const QUEUE: Queue = Queue::System;
}

/// Ends an organisation's suspension if it owes nothing any more, and tells its owners. For whoever changes invoices, in
/// the transaction that changes them.
pub async fn settle(tx: &mut Tx<'_>, org_id: OrgId, now: DateTime<Utc>, chance: &Chance) -> Result<(), sqlx::Error> {
    let Some(org) = org::find(tx, org_id).await? else { return Ok(()) };
    let Some(suspended_at) = org.suspended_at else { return Ok(()) };
    if dunning::is_owing(tx, org_id, now).await? {
        return Ok(());
    }
    org::resume(tx, org_id).await?;
    tracing::info!(org = %org_id, "nothing is owed any more: the plan is back");
    let slot = suspended_at.to_rfc3339_opts(SecondsFormat::Micros, true);
    for owner in user::owners(tx, org_id).await? {
        let letter = PlanResumed { org_name: &org.name }.letter();
        mail::post(tx, &NewMail::new(org_id, letter, slot.clone(), owner.email), now, chance).await?;
    }
    Ok(())
}
