//! One of each letter, about things that are not: what developers look at and tests draw.

use chrono::{DateTime, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use super::{
    Letter,
    alert::AlertRaised,
    billing::{InvoiceUnpaid, PlanResumed, TrialEnded, TrialEnding, Urgency},
    digest::WeeklyDigest,
    notification::NotificationsTold,
    plan::PlanExceeded,
    webhook::{Degraded, DeliveryFailed, Disabled, EndpointFacts, Recovered},
};
use crate::{
    alert::{Figures, Watch},
    billing::invoice::{Invoice, Status},
    conversion::rate,
    digest::{Report, Test, Variant, Week},
    downgrade::Use,
    id::NotificationId,
    link_health::FailingLink,
    notification::Untold,
    plan::{Plan, Quota},
    visit::{Ranked, Sum},
};

const ORG: &str = "Analog & Sons";
const HERE: &str = "https://fleet.example";
const OUT: &str = "https://fleet.example/api/public/notifications/unsubscribe?t=a-token";

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 16, 9, 30, 0).single().expect("a moment that exists")
}

/// Each letter, by a name of its own.
pub fn letters() -> Vec<(&'static str, Letter)> {
    let mut letters = webhooks();
    letters.extend(plans());
    letters.extend(billing());
    letters.extend([("alert.raised", alert()), ("notifications.told", news()), ("digest.weekly", digest())]);
    letters
}

fn webhooks() -> Vec<(&'static str, Letter)> {
    let endpoint = EndpointFacts {
        id: "ep_01KJQ6PSG0EC78V5NZFZCHSTM3",
        name: "Warehouse",
        url: "https://hooks.example/inkfleet/a-rather-long-path-that-has-to-be-broken-somewhere-on-a-small-screen",
        org_name: ORG,
        log_url: "https://fleet.example/api/webhooks/endpoints/ep_01KJQ6PSG0EC78V5NZFZCHSTM3/deliveries",
    };
    let (failing_since, last_error) = (now() - TimeDelta::hours(5), "HTTP 500");
    let degraded =
        Degraded { endpoint, failures_in_row: 12, failing_since, last_error, disabled_at: now() + TimeDelta::days(2) };
    let disabled = Disabled {
        endpoint,
        reason: "Every attempt of the last three days failed; the last one met HTTP 500.",
        disabled_at: now(),
        how_to_enable: "curl -X PATCH https://fleet.example/api/webhooks/endpoints/ep_01KJQ6PSG0EC78V5NZFZCHSTM3 \\\n  -d '{\"enabled\": true}'",
        held_days: 30,
    };
    let failed = DeliveryFailed {
        endpoint,
        delivery_id: "dlv_01KJQ6PSG0EC78V5NZFZCHSTM3",
        event_id: "evt_01KJQ6PSG0EC78V5NZFZCHSTM3",
        event_type: "qr.scanned",
        attempts: 8,
        last_error,
        failed_at: now(),
    };
    vec![
        ("webhook.degraded", degraded.letter()),
        ("webhook.disabled", disabled.letter()),
        ("webhook.recovered", Recovered { endpoint, recovered_at: now() }.letter()),
        ("webhook.delivery_failed", failed.letter()),
    ]
}

fn plans() -> Vec<(&'static str, Letter)> {
    let (org_name, plan) = (ORG, Plan::Free);
    let uses = [
        Use { quota: Quota::Links, most: Some(50), used: 73 },
        Use { quota: Quota::DynamicCodes, most: Some(10), used: 14 },
    ];
    let exceeded =
        PlanExceeded { org_name, plan, uses: &uses, locks_at: now() + TimeDelta::days(14), is_locked: false };
    vec![("plan.exceeded", exceeded.letter()), ("plan.locked", PlanExceeded { is_locked: true, ..exceeded }.letter())]
}

fn billing() -> Vec<(&'static str, Letter)> {
    let (org_name, trial_end) = (ORG, now() + TimeDelta::days(3));
    let invoice = Invoice {
        invoice_id: "in_1".into(),
        subscription_id: Some("sub_1".into()),
        number: Some("A-1042".into()),
        status: Status::Open,
        collects: true,
        currency: "eur".into(),
        amount_due: 4_900,
        amount_paid: 0,
        amount_remaining: 4_900,
        attempt_count: 2,
        next_payment_attempt: Some(now() + TimeDelta::days(2)),
        hosted_invoice_url: Some("https://pay.example/in_1".into()),
        created_at: now() - TimeDelta::days(3),
        due_at: None,
        paid_at: None,
        voided_at: None,
        failed_at: Some(now() - TimeDelta::days(3)),
        disputed_at: None,
        stated_at: now(),
    };
    let unpaid = |urgency| {
        InvoiceUnpaid { org_name, invoice: &invoice, urgency, suspended_at: now() + TimeDelta::days(11) }.letter()
    };
    vec![
        ("trial.ending", TrialEnding { org_name, plan: Plan::Pro, trial_end, days: 3, cancelled: false }.letter()),
        ("trial.ended", TrialEnded { org_name, plan: Plan::Free, trial_end: now() }.letter()),
        ("dunning.first", unpaid(Urgency::First)),
        ("dunning.again", unpaid(Urgency::Again)),
        ("dunning.last", unpaid(Urgency::Last)),
        ("dunning.suspended", unpaid(Urgency::Suspended)),
        ("dunning.resumed", PlanResumed { org_name }.letter()),
    ]
}

fn alert() -> Letter {
    let figures = Figures { total: 12_430, last_at: Some(now()), hour: 412, week: 2_100 };
    let watch = Watch::Spike { factor: 3, visits: 20 };
    AlertRaised { address: "fleet.example/r/summer", org_name: ORG, watch, figures, raised_at: now() }.letter()
}

fn news() -> Letter {
    let untold = |n: u128, title: &str, text: &str| Untold {
        id: NotificationId(Uuid::from_u128(n)),
        title: title.into(),
        text: text.into(),
        path: "/api/links".into(),
        created_at: now() - TimeDelta::minutes(10),
        changed_at: now() - TimeDelta::minutes(10),
    };
    let untold = [
        untold(1, "A link does not answer", "fleet.example/r/summer has failed three times in a row: HTTP 503"),
        untold(2, "An import has ended", "480 of 500 lines became links"),
    ];
    let told = NotificationsTold {
        org_name: ORG,
        untold: &untold,
        all: 4,
        zone: Tz::Europe__Berlin,
        public_url: HERE,
        unsubscribe: OUT,
    };
    told.letter()
}

fn digest() -> Letter {
    let week = Week { first: NaiveDate::from_ymd_opt(2026, 3, 9).unwrap_or_default() };
    let days = |first: NaiveDate, visits: [i64; 7]| {
        first.iter_days().zip(visits.map(|visits| Sum { visits, uniques: visits * 4 / 5 })).collect()
    };
    let ranked = |n: u128, name: &str, code: &str, visits| Ranked {
        id: Uuid::from_u128(n),
        name: name.into(),
        domain: String::new(),
        code: code.into(),
        visits,
    };
    let variant =
        |name: &str, converted, visitors| Variant { name: name.into(), visitors, rate: rate(converted, visitors) };
    let report = Report {
        week,
        days: days(week.first, [310, 280, 402, 377, 510, 120, 95]),
        days_before: days(week.before().first, [290, 300, 310, 305, 420, 160, 130]),
        scans: 640,
        scans_before: 512,
        links: vec![ranked(1, "Summer sale", "summer", 811), ranked(2, "", "h7Gk2p", 402)],
        codes: vec![ranked(3, "Poster at the station", "poster", 388)],
        failing: vec![FailingLink {
            title: "Old catalogue".into(),
            domain: String::new(),
            slug: "catalogue".into(),
            changed_at: Some(now() - TimeDelta::days(4)),
        }],
        failing_all: 1,
        tests: vec![Test {
            link: ranked(1, "Summer sale", "summer", 811),
            variants: vec![variant("Short", 61, 402), variant("Long", 38, 398)],
        }],
    };
    WeeklyDigest {
        org_name: ORG,
        report: &report,
        short_url: "https://fleet.example/r",
        public_url: HERE,
        unsubscribe: OUT,
    }
    .letter()
}
