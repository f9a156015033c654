//! The schedule: one table, read by the scheduler that ticks in every worker process.
//!
//! There is no leader. Each process announces each slot, and [`queue::enqueue_once`] makes one job of it; an HTTP cron
//! route uses the same slots.

pub mod run;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{chance::Chance, id::OrgId};

use crate::{
    alert::CheckAlerts,
    billing::{BackfillInvoices, SyncSnapshots},
    digest::SweepDigests,
    dunning::SweepInvoices,
    expiry::ExpireCodes,
    housekeeping::KeepHouse,
    job::{Job, NewJob},
    link_health::SweepLinkHealth,
    marketing::{SendQueued, StartCampaigns},
    notification::DeliverNotifications,
    plan::AuditPlans,
    queue::{self, Occasion},
    session_key::FetchSessionKeys,
    store::Tx,
    trial::SweepTrials,
    visit::CountVisits,
};

/// Work that comes back.
pub struct Entry {
    /// The job's kind, which is also the entry's name.
    pub kind: &'static str,
    /// The time from slot to slot; slots are counted from the Unix epoch.
    pub every: TimeDelta,
    make: fn(DateTime<Utc>, &Chance) -> NewJob,
}

/// Everything that is scheduled.
pub const ENTRIES: [Entry; 15] = [
    Entry {
        kind: CheckAlerts::KIND,
        every: TimeDelta::minutes(10),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &CheckAlerts {}, now, chance),
    },
    Entry {
        kind: SweepDigests::KIND,
        every: TimeDelta::hours(1),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &SweepDigests {}, now, chance),
    },
    Entry {
        kind: DeliverNotifications::KIND,
        every: TimeDelta::minutes(5),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &DeliverNotifications {}, now, chance),
    },
    Entry {
        kind: BackfillInvoices::KIND,
        every: TimeDelta::hours(6),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &BackfillInvoices {}, now, chance),
    },
    Entry {
        kind: SyncSnapshots::KIND,
        every: TimeDelta::hours(1),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &SyncSnapshots {}, now, chance),
    },
    Entry {
        kind: SweepInvoices::KIND,
        every: TimeDelta::hours(1),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &SweepInvoices {}, now, chance),
    },
    Entry {
        kind: SweepTrials::KIND,
        every: TimeDelta::hours(1),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &SweepTrials {}, now, chance),
    },
    Entry {
        kind: ExpireCodes::KIND,
        every: TimeDelta::minutes(1),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &ExpireCodes {}, now, chance),
    },
    Entry {
        kind: KeepHouse::KIND,
        every: TimeDelta::hours(1),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &KeepHouse {}, now, chance),
    },
    Entry {
        kind: SweepLinkHealth::KIND,
        every: TimeDelta::minutes(1),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &SweepLinkHealth {}, now, chance),
    },
    Entry {
        kind: StartCampaigns::KIND,
        every: TimeDelta::minutes(5),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &StartCampaigns {}, now, chance),
    },
    Entry {
        kind: SendQueued::KIND,
        every: TimeDelta::minutes(1),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &SendQueued {}, now, chance),
    },
    Entry {
        kind: AuditPlans::KIND,
        every: TimeDelta::hours(1),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &AuditPlans {}, now, chance),
    },
    Entry {
        kind: FetchSessionKeys::KIND,
        every: TimeDelta::minutes(5),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &FetchSessionKeys {}, now, chance),
    },
    Entry {
        kind: CountVisits::KIND,
        every: TimeDelta::minutes(1),
        make: |now, chance| NewJob::new(OrgId::SYSTEM, &CountVisits {}, now, chance),
    },
];

impl Entry {
    /// The beginning of the slot that `now` lies in.
    pub fn slot(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let every = self.every.num_seconds();
        let start = now.timestamp().div_euclid(every) * every;
        DateTime::from_timestamp(start, 0).unwrap_or(now)
    }

    /// The same times as cron writes them: every so many minutes, hours or days.
    pub fn cron(&self) -> String {
        let (minutes, hours) = (self.every.num_minutes(), self.every.num_hours());
        match (minutes, hours) {
            (1, _) => "* * * * *".to_owned(),
            (minutes, 0) => format!("*/{minutes} * * * *"),
            (_, 1) => "0 * * * *".to_owned(),
            (_, hours) if hours < 24 => format!("0 */{hours} * * *"),
            _ => "0 0 * * *".to_owned(),
        }
    }

    /// Announces the slot of `now`, for the HTTP request `request_id` if one asks for it.
    pub async fn announce(
        &self,
        tx: &mut Tx<'_>,
        request_id: Option<String>,
        now: DateTime<Utc>,
        chance: &Chance,
    ) -> Result<Occasion, sqlx::Error> {
        let key = self.slot(now).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        queue::enqueue_once(tx, (self.make)(now, chance).request(request_id), &key).await
    }
}

/// The entry of a kind.
pub fn entry(kind: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.kind == kind)
}

/// When the next slot of any entry begins.
pub fn next_slot(now: DateTime<Utc>) -> DateTime<Utc> {
    ENTRIES.iter().map(|entry| entry.slot(now) + entry.every).min().unwrap_or(now + TimeDelta::hours(1))
}
