//! Thresholds of quotas. QR Code Agency alone has events of them.

use serde_json::{Value, json};

use super::{Change::Reached, Happened, Row, Subject, integer, owner_number};
use crate::{dialect::DialectName::Qrstudio, plan::Plan};

/// An organisation has used so much of what its plan includes per month.
#[derive(Debug, Clone, Copy)]
pub struct QuotaReached {
    /// Its plan.
    pub plan: Plan,
    /// What the plan includes.
    pub most: i64,
    /// What was used this month.
    pub used: i64,
    /// The share that was reached: 75 or 100, in per cent.
    pub threshold: i16,
}

impl Subject for QuotaReached {
    const TABLE: &'static [Row<Self>] = &[
        Row::new(Reached, Qrstudio, "quota.threshold_75", |it| reached(it, 75)),
        Row::new(Reached, Qrstudio, "quota.threshold_100", |it| reached(it, 100)),
    ];
}

fn reached(happened: &Happened<QuotaReached>, of: i16) -> Option<Value> {
    let QuotaReached { plan, most, used, threshold } = happened.subject;
    (threshold == of).then(|| {
        json!({
            "owner_id": owner_number(happened.org_id), "plan": plan.name(), "monthly_quota": integer(most),
            "used_this_month": integer(used), "threshold": threshold,
        })
    })
}
