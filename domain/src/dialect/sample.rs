//! Example data for test events: the shapes of the documents' examples with values of our own, as canonical JSON.

pub(super) const INKODE: &[(&str, &str)] = &[
    ("qr.scanned", r#"{"id":"qr_7h2k9d","country":"NL","device":"mobile"}"#),
    ("qr.*", r#"{"id":"qr_7h2k9d"}"#),
    ("link.clicked", r#"{"id":"link_3f8w1s","country":"NL","device":"desktop"}"#),
    ("link.health_failing", r#"{"id":"link_3f8w1s","status":503}"#),
    ("link.health_recovered", r#"{"id":"link_3f8w1s","status":200}"#),
    ("link.*", r#"{"id":"link_3f8w1s"}"#),
    ("barcode.*", r#"{"id":"barcode_6p4r0z"}"#),
    (
        "conversion.recorded",
        r#"{"sourceType":"qr","sourceId":"qr_7h2k9d","step":"signup","value":42.5,"currency":"EUR"}"#,
    ),
    ("campaign.sent", r#"{"id":"campaign_9b5v2x","recipients":1204}"#),
    ("contact.*", r#"{"id":"contact_1n6y8q","email":"reader@example.com"}"#),
];

pub(super) const ILOVEQR: &[(&str, &str)] = &[
    (
        "qr.scanned",
        concat!(
            r#"{"qrCodeId":"qr_5u1e7g","qrCodeName":"Window sticker","shortCode":"5u1e7g","#,
            r#""destinationUrl":"https://shop.example.com/autumn","scan":{"id":"scan_2j9l4a","#,
            r#""timestamp":"2026-03-09T08:15:42Z","location":{"country":"NL","city":"Utrecht","#,
            r#""latitude":52.0907,"longitude":5.1214},"#,
            r#""device":{"type":"mobile","os":"Android","browser":"Firefox"},"isUnique":true}}"#,
        ),
    ),
    (
        "qr.*",
        concat!(
            r#"{"qrCode":{"id":"qr_5u1e7g","type":"URL","name":"Window sticker","#,
            r#""shortUrl":"https://go.example.com/5u1e7g","destinationUrl":"https://shop.example.com/autumn","#,
            r#""createdBy":"user_0k3t6m"}}"#,
        ),
    ),
    (
        "subscription.payment_*",
        concat!(
            r#"{"subscription":{"id":"sub_8w3n5r","plan":"pro","interval":"month"},"#,
            r#""payment":{"amount":1900,"currency":"EUR"}}"#,
        ),
    ),
    ("subscription.*", r#"{"subscription":{"id":"sub_8w3n5r","plan":"pro","interval":"month"}}"#),
    (
        "member.role_changed",
        r#"{"member":{"userId":"user_0k3t6m","email":"noor@example.com","role":"admin","previousRole":"member"}}"#,
    ),
    ("member.*", r#"{"member":{"userId":"user_0k3t6m","email":"noor@example.com","role":"member"}}"#),
];

pub(super) const INKLINK: &[(&str, &str)] = &[
    ("kyc.result.*", r#"{"inquiry_id":"kyc_iq_5d1x8v","subject_id":"user_907"}"#),
    ("web.result.*", r#"{"inquiry_id":"web_iq_4c7b2h","subject_id":"user_907"}"#),
];

macro_rules! submission {
    ($status:literal, $submitter:literal, $more:literal) => {
        concat!(
            r#"{"id":"sub_01JQ8Z","status":""#,
            $status,
            r#"","template_id":"tpl_01JQ8Y","metadata":{"case":"lease-318"},"#,
            r#""submitters":[{"id":"sbm_01JQ90","email":"samir@example.com","external_id":"tenant_12","status":""#,
            $submitter,
            r#""}]"#,
            $more,
            "}",
        )
    };
}

macro_rules! submitter {
    ($status:literal) => {
        concat!(
            r#"{"id":"sbm_01JQ90","submission_id":"sub_01JQ8Z","email":"samir@example.com","#,
            r#""external_id":"tenant_12","status":""#,
            $status,
            r#""}"#,
        )
    };
}

pub(super) const INKR: &[(&str, &str)] = &[
    ("submission.created", submission!("created", "pending", "")),
    ("submission.sent", submission!("sent", "sent", "")),
    ("submission.viewed", submission!("viewed", "opened", "")),
    ("submission.partially_signed", submission!("partially_signed", "signed", "")),
    ("submission.completed", submission!("completed", "signed", r#","completed_at":"2026-03-09T08:15:42.107Z""#)),
    ("submission.declined", submission!("declined", "declined", "")),
    ("submission.expired", submission!("expired", "pending", r#","expires_at":"2026-03-09T00:00:00.000Z""#)),
    ("submission.cancelled", submission!("cancelled", "pending", "")),
    ("submitter.opened", submitter!("opened")),
    ("submitter.signed", submitter!("signed")),
];

pub(super) const QRSTUDIO: &[(&str, &str)] = &[
    (
        "scan.created",
        concat!(
            r#"{"short_id":"Kp3Xw8Lm","name":"Museum leaflet","owner_id":318,"#,
            r#""destination_url":"https://museum.example.com/tour","scanned_at":"2026-03-09T08:15:42.107Z","#,
            r#""country":"NL","city":"Utrecht","device_family":"Pixel 9","os_family":"Android","#,
            r#""browser_family":"Firefox","referer":"","user_agent":"Mozilla/5.0","is_bot":false,"#,
            r#""variant_label":"(default)"}"#,
        ),
    ),
    (
        "dynamic_qr.created",
        concat!(
            r#"{"short_id":"Kp3Xw8Lm","name":"Museum leaflet","#,
            r#""destination_url":"https://museum.example.com/tour","owner_id":318}"#,
        ),
    ),
    (
        "dynamic_qr.updated",
        concat!(
            r#"{"short_id":"Kp3Xw8Lm","changes":{"destination_url":{"old":"https://museum.example.com/tour","#,
            r#""new":"https://museum.example.com/night"}},"owner_id":318}"#,
        ),
    ),
    (
        "quota.threshold_75",
        r#"{"owner_id":318,"plan":"pro","monthly_quota":4000,"used_this_month":3000,"threshold":75}"#,
    ),
    (
        "quota.threshold_100",
        r#"{"owner_id":318,"plan":"pro","monthly_quota":4000,"used_this_month":4000,"threshold":100}"#,
    ),
];
