//! The contract between the API and the workers: payloads, enqueueing, fan-out, schedules, and the queue's SQL.
//!
//! A producer commits its rows and their jobs in one [`store::Tx`]; a worker claims, runs and completes. No queue
//! runner is named here: `workers` wraps [`queue`] for apalis.

pub mod alert;
pub mod batch;
pub mod billing;
pub mod change;
pub mod delivery;
pub mod digest;
pub mod dunning;
pub mod endpoint;
pub mod event;
pub mod expiry;
pub mod housekeeping;
pub mod import;
pub mod job;
pub mod lane;
pub mod line;
pub mod link;
pub mod link_health;
pub mod mail;
pub mod marketing;
pub mod notification;
pub mod own_domain;
pub mod plan;
pub mod qr;
pub mod queue;
pub mod quota;
pub mod replay;
pub mod schedule;
pub mod session_key;
pub mod store;
pub mod trial;
pub mod visit;

use job::Job as _;

/// Every kind of job there is. A worker that lacks a handler for one of them does not start.
pub const KINDS: [&str; 28] = [
    alert::CheckAlerts::KIND,
    billing::BackfillInvoices::KIND,
    billing::SyncCustomer::KIND,
    billing::SyncSnapshots::KIND,
    billing::TakeEvent::KIND,
    delivery::AttemptDelivery::KIND,
    digest::SendDigests::KIND,
    digest::SweepDigests::KIND,
    dunning::RemindInvoice::KIND,
    dunning::SweepInvoices::KIND,
    endpoint::CheckEndpoint::KIND,
    expiry::ExpireCodes::KIND,
    housekeeping::KeepHouse::KIND,
    import::RunImport::KIND,
    link_health::AskHost::KIND,
    link_health::SweepLinkHealth::KIND,
    mail::SendMail::KIND,
    marketing::SendQueued::KIND,
    marketing::StartCampaigns::KIND,
    notification::DeliverNotifications::KIND,
    own_domain::VerifyDomain::KIND,
    plan::AuditPlan::KIND,
    plan::AuditPlans::KIND,
    replay::RunReplay::KIND,
    session_key::FetchSessionKeys::KIND,
    trial::RemindTrial::KIND,
    trial::SweepTrials::KIND,
    visit::CountVisits::KIND,
];
