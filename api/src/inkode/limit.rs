//! `/api/org/{orgId}/limits`: what a workspace's plan includes, how much of it is in use, and what is locked.

use domain::{downgrade, limit, org, plan::Quota};
use poem_openapi::{Enum, Object, OpenApi, param::Path, payload::Json};

use super::{asked, billing::PlanName};
use crate::{
    app::App,
    auth::{Auth, Session},
    failure::Failure,
    server::Tag,
    surface::{Failed, Own},
    text::{self, Text},
    timestamp::Timestamp,
};

/// What a plan limits.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum LimitName {
    /// Short links that are not put away.
    Links,
    /// Dynamic QR codes that are not put away.
    DynamicCodes,
    /// Barcodes that are not put away.
    Barcodes,
    /// Webhook endpoints of all dialects together.
    Endpoints,
    /// Contacts.
    Contacts,
    /// Members.
    Seats,
    /// Visits of links and codes in a calendar month (UTC), without those of programs. Nothing ends when they are used.
    MonthlyScans,
}

impl From<Quota> for LimitName {
    fn from(quota: Quota) -> Self {
        match quota {
            Quota::Links => Self::Links,
            Quota::DynamicCodes => Self::DynamicCodes,
            Quota::Barcodes => Self::Barcodes,
            Quota::Endpoints => Self::Endpoints,
            Quota::Contacts => Self::Contacts,
            Quota::Seats => Self::Seats,
            Quota::MonthlyScans => Self::MonthlyScans,
        }
    }
}

/// A limit of the plan.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct PlanLimit {
    /// What it limits.
    name: LimitName,
    /// How many the plan includes; absent where it is any number.
    limit: Option<i64>,
    /// How many are in use.
    used: i64,
    /// How many of them are beyond the plan and cannot be changed: the newest.
    locked: i64,
    /// When it is counted from 0 again; absent for what is not counted by the month.
    resets_at: Option<Timestamp>,
}

impl From<limit::Limit> for PlanLimit {
    fn from(row: limit::Limit) -> Self {
        Self {
            name: row.of.quota.into(),
            limit: row.of.most,
            used: row.of.used,
            locked: row.locked,
            resets_at: row.resets_at.map(Into::into),
        }
    }
}

/// What a workspace's plan includes, and how much of it is in use.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct PlanLimits {
    /// The workspace.
    org_id: Text<text::OrgId>,
    /// The plan.
    plan: PlanName,
    /// Whether the plan is suspended because an invoice stayed unpaid: nothing can be made or changed until it is paid.
    suspended: bool,
    /// Since when.
    suspended_at: Option<Timestamp>,
    /// When what is beyond the plan is or was locked; absent where no more is known to be in use than the plan includes.
    locks_at: Option<Timestamp>,
    /// Since when it is.
    locked_at: Option<Timestamp>,
    /// Each of the plan's limits.
    limits: Vec<PlanLimit>,
}

/// The routes of limits.
#[derive(Debug)]
pub struct LimitApi(pub App);

#[OpenApi(prefix_path = "/api/org", tag = "Tag::Workspace")]
impl LimitApi {
    /// Get what a workspace's plan includes and what is in use
    ///
    /// For every member.
    #[oai(path = "/:orgId/limits", method = "get", operation_id = "getLimits")]
    async fn get(
        &self,
        auth: Auth<Session>,
        /// The workspace, which must be the session's.
        #[oai(name = "orgId")]
        org_id: Path<Text<text::OrgId>>,
    ) -> Result<Json<PlanLimits>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        asked::check_org_in_path(app, caller, &org_id.0).await?;
        let mut conn = app.store.pool().acquire().await?;
        let org = org::find(&mut conn, caller.org_id).await?;
        let org = org.ok_or_else(|| Failure::not_found("workspace of yours"))?;
        let known = downgrade::find(&mut conn, org.id).await?;
        let limits = limit::list(&mut conn, &org, known, app.clock.now()).await?;
        Ok(Json(PlanLimits {
            org_id: org.id.to_string().into(),
            plan: org.plan.into(),
            suspended: org.suspended_at.is_some(),
            suspended_at: org.suspended_at.map(Into::into),
            locks_at: known.map(|known| known.locks_at.into()),
            locked_at: known.and_then(|known| known.locked_at).map(Into::into),
            limits: limits.into_iter().map(Into::into).collect(),
        }))
    }
}
