//! The rows. Where a document is silent the value is ours, marked D.

use std::time::Duration;

use crate::plan::Plan;
use chrono::TimeDelta;

use super::{
    Alphabet, Choice, Dialect, DialectName, DisableRule, Encoding, Field, Key, Ladder, Limits, Overlap, Part, Schedule,
    SecretPolicy, Shown, Signature, Source, sample,
};

type Header = (&'static str, Source);

const JSON: Header = ("Content-Type", Source::Text("application/json"));
/// D: only InkLink names its own.
const AGENT: Header = ("User-Agent", Source::Text("Inkfleet-Webhooks/1.0"));
/// InkLink's own; D for the others, whose headers carry nothing to tell a repeated event by.
const WEBHOOK_ID: Header = ("webhook-id", Source::EventId);

/// D, where a document states none.
const LADDER: Ladder =
    Ladder { degrade_after: 5, disable: DisableRule::FailuresFor(TimeDelta::days(5)), notice: TimeDelta::days(1) };

/// D, where a document states none; the columns of `endpoints` allow no more.
const LIMITS: Limits = Limits { least_plan: None, max_active: None, max_url: 2000, max_name: 200, https_only: true };

/// `whsec_` and letters and digits, as both Stripe-like documents show; the lengths are D.
const WHSEC_TEXT: SecretPolicy = SecretPolicy {
    prefix: "whsec_",
    alphabet: Alphabet::LettersAndDigits,
    generated: 32,
    least: 24,
    most: 64,
    choice: Choice::Generated,
    shown: Shown::Once,
};

/// Every dialect, in the order of [`DialectName::ALL`].
pub static DIALECTS: [Dialect; 5] = [
    Dialect {
        name: DialectName::Inkode,
        title: "Inkode",
        endpoint_prefix: "we_",
        event_prefix: "evt_",
        signature: Signature {
            header: "X-Inkode-Signature",
            encoding: Encoding::Hex("sha256="),
            parts: &[Part::Body],
            key: Key::Text,
            overlap: Overlap::OwnHeader("X-Inkode-Signature-Previous"), // D
        },
        headers: &[
            JSON,
            AGENT,
            ("X-Inkode-Event", Source::EventType),
            ("X-Inkode-Delivery", Source::EndpointId),
            ("X-Inkode-Attempt", Source::AttemptNumber),
            WEBHOOK_ID,
        ],
        envelope: &[("event", Field::EventType), ("payload", Field::Data), ("timestamp", Field::CreatedAtMillis)],
        // Only qr.created and qr.expired survive in the document; the rest is D.
        catalogue: &[
            "qr.created",
            "qr.updated",
            "qr.deleted",
            "qr.scanned",
            "qr.expired",
            "link.created",
            "link.updated",
            "link.deleted",
            "link.clicked",
            "link.expired",
            "link.health_failing",
            "link.health_recovered",
            "barcode.created",
            "barcode.updated",
            "barcode.deleted",
            "conversion.recorded",
            "campaign.sent",
            "contact.unsubscribed",
            "contact.suppressed",
        ],
        samples: sample::INKODE,
        schedule: Schedule::Gaps(&[0, 60, 300, 1500]), // three retries; the gaps are D
        timeout: Duration::from_secs(10),              // D
        secret: SecretPolicy {
            prefix: "",
            alphabet: Alphabet::Printable,
            generated: 40,
            least: 32,
            most: 255,
            choice: Choice::Either,
            shown: Shown::Once,
        }, // D
        ladder: LADDER,
        mail_on_failed_delivery: false,
        limits: LIMITS,
    },
    Dialect {
        name: DialectName::Iloveqr,
        title: "iloveQR",
        endpoint_prefix: "wh_",
        event_prefix: "evt_",
        signature: Signature {
            header: "X-Webhook-Signature",
            encoding: Encoding::Hex(""),
            parts: &[Part::Body],
            key: Key::Text,
            overlap: Overlap::Void, // D
        },
        headers: &[JSON, AGENT, WEBHOOK_ID],
        envelope: &[
            ("id", Field::EventId),
            ("event", Field::EventType),
            ("createdAt", Field::CreatedAtSeconds),
            ("organizationId", Field::OrgId),
            ("data", Field::Data),
        ],
        catalogue: &[
            "qr.created",
            "qr.updated",
            "qr.deleted",
            "qr.scanned",
            "qr.archived",
            "qr.restored",
            "subscription.created",
            "subscription.updated",
            "subscription.cancelled",
            "subscription.payment_succeeded",
            "subscription.payment_failed",
            "member.joined",
            "member.left",
            "member.role_changed",
        ],
        samples: sample::ILOVEQR,
        // Five retries by the document's table; its note says five attempts, and the table wins (D).
        schedule: Schedule::Gaps(&[0, 60, 300, 1800, 7200, 86_400]),
        timeout: Duration::from_secs(5), // D: receivers are advised to answer within it
        secret: SecretPolicy {
            prefix: "",
            alphabet: Alphabet::Printable,
            generated: 32,
            least: 8,
            most: 255,
            choice: Choice::Required,
            shown: Shown::Never,
        },
        ladder: LADDER,
        mail_on_failed_delivery: true,
        limits: LIMITS,
    },
    Dialect {
        name: DialectName::Inklink,
        title: "InkLink",
        endpoint_prefix: "wh_end_",
        event_prefix: "wh_evt_",
        signature: Signature {
            header: "webhook-signature",
            encoding: Encoding::V1List,
            parts: &[Part::EventId, Part::Timestamp, Part::Body],
            key: Key::Base64,
            overlap: Overlap::SameHeader,
        },
        headers: &[
            JSON,
            ("User-Agent", Source::Text("InkLink-Webhooks/1.0")),
            WEBHOOK_ID,
            ("webhook-timestamp", Source::Timestamp),
        ],
        envelope: &[("type", Field::EventType), ("timestamp", Field::CreatedAtMillis), ("data", Field::Data)],
        catalogue: &[
            "kyc.result.pending",
            "kyc.result.manual_review",
            "kyc.result.approved",
            "kyc.result.rejected",
            "kyc.result.failed",
            "web.result.pending",
            "web.result.manual_review",
            "web.result.approved",
            "web.result.rejected",
            "web.result.failed",
        ],
        samples: sample::INKLINK,
        schedule: Schedule::Absolute(&[0, 30, 90, 270, 720]),
        timeout: Duration::from_secs(8),
        // The bounds are Standard Webhooks' own.
        secret: SecretPolicy {
            prefix: "whsec_",
            alphabet: Alphabet::Base64,
            generated: 32,
            least: 24,
            most: 64,
            choice: Choice::Generated,
            shown: Shown::Once,
        },
        ladder: LADDER,
        mail_on_failed_delivery: false,
        limits: Limits { max_name: 120, ..LIMITS },
    },
    Dialect {
        name: DialectName::Inkr,
        title: "Inkr",
        endpoint_prefix: "we_",
        event_prefix: "evt_",
        signature: Signature {
            header: "Inkr-Signature",
            encoding: Encoding::TimeAndV1,
            parts: &[Part::Timestamp, Part::Body],
            key: Key::Text,
            overlap: Overlap::Void, // its sample verifiers keep the last v1 they see
        },
        headers: &[JSON, AGENT, WEBHOOK_ID],
        envelope: &[
            ("id", Field::EventId),
            ("type", Field::EventType),
            ("created_at", Field::CreatedAtMillis),
            ("data", Field::DataObject),
        ],
        catalogue: &[
            "submission.created",
            "submission.sent",
            "submission.viewed",
            "submission.partially_signed",
            "submission.completed",
            "submission.declined",
            "submission.expired",
            "submission.cancelled",
            "submitter.opened",
            "submitter.signed",
        ],
        samples: sample::INKR,
        // Absolute is D: only then is it the 72 hours in total that the document promises.
        schedule: Schedule::Absolute(&[0, 30, 300, 1800, 7200, 21_600, 86_400, 259_200]),
        timeout: Duration::from_secs(5), // D: receivers are advised to answer within it
        secret: WHSEC_TEXT,
        ladder: Ladder {
            degrade_after: 8,
            disable: DisableRule::NoSuccessFor(TimeDelta::days(7)),
            notice: TimeDelta::days(1), // D
        },
        mail_on_failed_delivery: false,
        limits: LIMITS,
    },
    Dialect {
        name: DialectName::Qrstudio,
        title: "QR Code Agency",
        endpoint_prefix: "we_", // on other surfaces; its own shows the endpoint's number
        event_prefix: "evt_",
        signature: Signature {
            header: "X-QRStudio-Signature",
            encoding: Encoding::TimeAndV1,
            parts: &[Part::Timestamp, Part::Body],
            key: Key::Text,
            overlap: Overlap::Void,
        },
        headers: &[JSON, AGENT, WEBHOOK_ID],
        envelope: &[
            ("type", Field::EventType),
            ("id", Field::EventId),
            ("created_at", Field::CreatedAtSeconds),
            ("data", Field::Data),
        ],
        catalogue: &[
            "scan.created",
            "dynamic_qr.created",
            "dynamic_qr.updated",
            "quota.threshold_75",
            "quota.threshold_100",
        ],
        samples: sample::QRSTUDIO,
        schedule: Schedule::Gaps(&[0, 60, 300, 1800, 7200]),
        timeout: Duration::from_secs(5),
        secret: WHSEC_TEXT,
        ladder: Ladder {
            degrade_after: 5,
            disable: DisableRule::FailuresFor(TimeDelta::hours(24)),
            notice: TimeDelta::hours(1), // D
        },
        mail_on_failed_delivery: false,
        limits: Limits { least_plan: Some(Plan::Pro), max_active: Some(25), ..LIMITS },
    },
];

// `Dialect::by_name` finds a row by its place.
const _: () = {
    let mut place = 0;
    while place < DIALECTS.len() {
        assert!(DIALECTS[place].name as usize == place && DialectName::ALL[place] as usize == place);
        place += 1;
    }
};
