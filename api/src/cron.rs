//! `/api/cron/…`: scheduled work, asked for by a scheduler outside. A slot makes one job, whoever announces it and
//! however often: a scheduler outside, several of them, and the workers' own may stand beside each other.

mod secret;

use jobs::{
    alert::CheckAlerts,
    billing::{BackfillInvoices, SyncSnapshots},
    digest::SweepDigests,
    dunning::SweepInvoices,
    expiry::ExpireCodes,
    job::Job as _,
    link_health::SweepLinkHealth,
    marketing::{SendQueued, StartCampaigns},
    notification::DeliverNotifications,
    plan::AuditPlans,
    schedule,
    trial::SweepTrials,
};
use poem::Request;
use poem_openapi::{ApiResponse, Object, OpenApi, param::Path, payload::Json, registry::MetaSchema};

pub use self::secret::Access;
use self::secret::CronSecret;
use crate::{
    app::App,
    failure::Failure,
    server::{Tag, request_id},
    surface::{Failed, Own},
    text::{self, Form, Text},
    timestamp::Timestamp,
};

/// The last part of each path, and the kind of the schedule's entry that it announces.
pub const ROUTES: [(&str, &str); 12] = [
    ("billing-snapshot-sync", SyncSnapshots::KIND),
    ("downgrade-audit", AuditPlans::KIND),
    ("dunning-reminders", SweepInvoices::KIND),
    ("expire", ExpireCodes::KIND),
    ("invoice-records-backfill", BackfillInvoices::KIND),
    ("link-health-checks", SweepLinkHealth::KIND),
    ("marketing-campaigns", StartCampaigns::KIND),
    ("marketing-send-queue", SendQueued::KIND),
    ("notifications", DeliverNotifications::KIND),
    ("qr-alerts", CheckAlerts::KIND),
    ("trial-reminders", SweepTrials::KIND),
    ("weekly-workspace-digest", SweepDigests::KIND),
];

/// The name of scheduled work.
#[derive(Debug)]
struct Work;

impl Form for Work {
    fn schema() -> MetaSchema {
        let enum_items = ROUTES.iter().map(|(name, _)| (*name).into()).collect();
        MetaSchema { description: Some("The name of scheduled work."), enum_items, ..MetaSchema::new("string") }
    }

    /// None: at another address there is nothing, as everywhere.
    fn broken(_: &str) -> Option<String> {
        None
    }
}

/// Scheduled work that was asked for.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
struct ScheduledWork {
    /// The slot's one job; absent where a version that kept no note of it made the job.
    job_id: Option<Text<text::JobId>>,
    /// The beginning of the slot.
    slot: Timestamp,
    /// Whether the slot had its job before: nothing was added.
    repeated: bool,
}

impl poem_openapi::types::Example for ScheduledWork {
    fn example() -> Self {
        Self {
            job_id: Some("job_01KJQ6PSG0EC78V5NZFZCHSTM3".into()),
            slot: "2026-03-02T12:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().expect("a moment").into(),
            repeated: false,
        }
    }
}

/// The answer to a request for scheduled work.
#[derive(Debug, ApiResponse)]
enum Accepted {
    /// The slot has its job.
    #[oai(status = 202)]
    Accepted(Json<ScheduledWork>),
}

/// The routes of scheduled work.
#[derive(Debug)]
pub struct CronApi(pub App);

#[OpenApi(prefix_path = "/api/cron", tag = "Tag::Operations")]
impl CronApi {
    /// Start scheduled work
    ///
    /// The work is due in slots of a fixed length; each has one job, however often it is asked for.
    #[oai(path = "/:work", method = "post", operation_id = "startScheduledWork")]
    async fn start(
        &self,
        _secret: CronSecret,
        request: &Request,
        /// What to do.
        work: Path<Text<Work>>,
    ) -> Result<Accepted, Failed<Own>> {
        Ok(self.announce(&work.0, request).await?)
    }

    /// Start scheduled work, for schedulers that can only fetch
    #[oai(path = "/:work", method = "get", operation_id = "startScheduledWorkByGet")]
    async fn start_by_get(
        &self,
        _secret: CronSecret,
        request: &Request,
        /// What to do.
        work: Path<Text<Work>>,
    ) -> Result<Accepted, Failed<Own>> {
        Ok(self.announce(&work.0, request).await?)
    }
}

impl CronApi {
    async fn announce(&self, work: &str, request: &Request) -> Result<Accepted, Failure> {
        let (app, now) = (&self.0, self.0.clock.now());
        let entry = ROUTES.iter().find(|(name, _)| *name == work).and_then(|(_, kind)| schedule::entry(kind));
        let entry = entry.ok_or_else(|| Failure::not_found("scheduled work"))?;
        let mut tx = app.store.begin().await?;
        let occasion = entry.announce(&mut tx, request_id(request), now, &app.chance).await?;
        tx.commit().await?;
        Ok(Accepted::Accepted(Json(ScheduledWork {
            job_id: occasion.job_id.map(|id| id.to_string().into()),
            slot: entry.slot(now).into(),
            repeated: !occasion.is_first,
        })))
    }
}
