//! Mail on its way out: SMTP to a small server, Resend to a small HTTP server, and what the letters look like.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeZone, Utc};
use domain::{
    chance::Chance,
    id::{MailId, OrgId},
    mail::{
        Mail, State,
        webhook::{Degraded, DeliveryFailed, Disabled, EndpointFacts, Recovered},
    },
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::Mutex,
};
use workers::mail::{InvalidSetting, Mailer, SendError};

const SENDER: &str = "Inkfleet <no-reply@mail.test>";

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 21, 12, 0, 0).unwrap()
}

fn mail() -> Mail {
    Mail {
        id: MailId::new(now(), &Chance::seeded(1)),
        org_id: OrgId::SYSTEM,
        kind: "webhook.disabled".into(),
        slot: "one".into(),
        recipient: "ada@customer.test".into(),
        subject: "Webhook endpoint switched off: “Café”".into(),
        text: "The plain part.\n".into(),
        html: "<p>The HTML part.</p>\n".into(),
        unsubscribe: None,
        image: None,
        state: State::Waiting,
        transport: None,
        error: None,
        created_at: now(),
        sent_at: None,
    }
}

/// What a small server heard, one text per connection and part.
type Heard = Arc<Mutex<Vec<String>>>;

/// A mail server that answers the command beginning with `at` with `answer`, and everything else kindly.
async fn smtp_server(at: &'static str, answer: &'static str) -> (u16, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Heard::default();
    let ears = heard.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let ears = ears.clone();
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                let mut in_data = false;
                let _ = write.write_all(b"220 mail.test ESMTP\r\n").await;
                while let Ok(Some(line)) = lines.next_line().await {
                    ears.lock().await.push(line.clone());
                    let reply = match line.as_str() {
                        "." if in_data && at == "." => answer,
                        "." if in_data => "250 taken",
                        _ if in_data => continue,
                        command if command.starts_with(at) => answer,
                        command if command.starts_with("EHLO") => "250-mail.test\r\n250-8BITMIME\r\n250 AUTH PLAIN",
                        "DATA" => "354 go on",
                        command if command.starts_with("AUTH") => "235 welcome",
                        _ => "250 ok",
                    };
                    in_data = reply.starts_with("354");
                    if write.write_all(format!("{reply}\r\n").as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, heard)
}

async fn smtp(at: &'static str, answer: &'static str) -> (Result<(), SendError>, Vec<String>) {
    let (port, heard) = smtp_server(at, answer).await;
    let url = SecretString::from(format!("smtp://us%40er:p%3Ass@127.0.0.1:{port}"));
    let sent = Mailer::smtp(&url, SENDER).unwrap().send(&mail()).await;
    let heard = heard.lock().await.clone();
    (sent, heard)
}

#[tokio::test]
async fn a_mail_goes_out_by_smtp_with_both_parts_and_a_name_of_its_own() {
    let (sent, heard) = smtp("nothing", "").await;
    assert_eq!(sent, Ok(()));
    assert!(heard.contains(&"MAIL FROM:<no-reply@mail.test>".to_owned()), "{heard:#?}");
    assert!(heard.contains(&"RCPT TO:<ada@customer.test>".to_owned()));
    let text = heard.join("\n");
    assert!(text.contains(&format!("Message-ID: <{}@mail.test>", mail().id)));
    assert!(text.contains("Date: Sat, 21 Nov 2026 12:00:00 +0000"));
    assert!(text.contains("Auto-Submitted: auto-generated"));
    assert!(
        text.contains("Subject: =?utf-8?b?") || text.contains("Subject: Webhook endpoint switched off: =?utf-8?b?")
    );
    let (plain, html) = (text.find("The plain part.").unwrap(), text.find("<p>The HTML part.</p>").unwrap());
    assert!(plain < html, "the plainest part comes first");
}

#[tokio::test]
async fn a_mail_that_is_sent_again_has_the_same_name() {
    let id = |heard: Vec<String>| heard.into_iter().find(|line| line.starts_with("Message-ID")).unwrap();
    let (_, first) = smtp("nothing", "").await;
    let (_, second) = smtp("nothing", "").await;
    assert_eq!(id(first), id(second));
}

#[tokio::test]
async fn an_smtp_refusal_is_final_only_if_it_is_about_the_mail() {
    for (at, answer, is_final) in [
        ("RCPT", "550 5.1.1 no such person", true),
        (".", "554 5.7.1 not this one", true),
        ("MAIL", "552 5.3.4 too long", true),
        ("RCPT", "451 4.7.1 greylisted", false),
        (".", "421 4.3.2 closing", false),
        ("AUTH", "535 5.7.8 wrong password", false),
        ("MAIL", "530 5.7.0 log in first", false),
        ("EHLO", "banana", false),
    ] {
        match (smtp(at, answer).await.0, is_final) {
            (Err(SendError::Permanent { reason }), true) => assert!(reason.contains(&answer[..3]), "{reason}"),
            (Err(SendError::Temporary { retry_after: None, reason }), false) => assert!(!reason.is_empty()),
            (other, _) => panic!("{at} {answer}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_mail_server_that_is_not_there_is_a_reason_to_try_again() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mailer = Mailer::smtp(&SecretString::from(format!("smtp://127.0.0.1:{port}")), SENDER).unwrap();
    assert!(matches!(mailer.send(&mail()).await, Err(SendError::Temporary { retry_after: None, .. })));
}

#[tokio::test]
async fn nothing_is_said_in_the_clear_when_tls_is_required_and_not_offered() {
    let (port, heard) = smtp_server("nothing", "").await;
    let url = SecretString::from(format!("smtp://user:secret@127.0.0.1:{port}?tls=required"));
    let sent = Mailer::smtp(&url, SENDER).unwrap().send(&mail()).await;
    assert!(matches!(sent, Err(SendError::Temporary { .. })), "{sent:?}");
    let heard = heard.lock().await.join("\n");
    assert!(!heard.contains("AUTH") && !heard.contains("MAIL"), "{heard}");
}

#[tokio::test]
async fn bad_mail_settings_are_told_without_the_password_in_them() {
    for url in
        ["", "mail.test", "http://u:pw@mail.test", "smtp://", "smtp://u:pw@mail.test?tls=maybe", "smtps://h?tls=none"]
    {
        let error = Mailer::smtp(&SecretString::from(url), SENDER).unwrap_err();
        assert_eq!(error, InvalidSetting::SmtpUrl, "{url}");
    }
    let url = SecretString::from("smtps://u:pw@mail.test");
    assert_eq!(Mailer::smtp(&url, "nobody").unwrap_err(), InvalidSetting::Sender);
    let printed = format!("{:?}", Mailer::smtp(&url, SENDER).unwrap());
    assert!(!printed.contains("pw"), "{printed}");
    let key = SecretString::from("re_secret");
    for base in ["", "api.resend.com", "http://api.resend.com", "ftp://127.0.0.1"] {
        assert_eq!(Mailer::resend(&key, base, SENDER).unwrap_err(), InvalidSetting::ApiUrl, "{base}");
    }
    assert_eq!(Mailer::resend(&"a\nb".into(), "https://x.test", SENDER).unwrap_err(), InvalidSetting::ApiKey);
    let printed = format!("{:?}", Mailer::resend(&key, "https://api.resend.com", SENDER).unwrap());
    assert!(!printed.contains("re_secret"), "{printed}");
}

/// An HTTP server that gives every request the same answer (everything after `HTTP/1.1 `).
async fn http_server(answer: String) -> (String, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let heard = Heard::default();
    let ears = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                request.extend_from_slice(&buffer[..read]);
                if is_whole(&request) {
                    break;
                }
            }
            ears.lock().await.push(String::from_utf8_lossy(&request).into_owned());
            let _ = stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await;
        }
    });
    (base, heard)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn http_answer(status: &str, headers: &str, body: &Value) -> String {
    let body = body.to_string();
    format!("{status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

async fn resend(answer: String) -> (Result<(), SendError>, Vec<String>) {
    let (base, heard) = http_server(answer).await;
    let sent = Mailer::resend(&"re_secret".into(), &format!("{base}/"), SENDER).unwrap().send(&mail()).await;
    let heard = heard.lock().await.clone();
    (sent, heard)
}

#[tokio::test]
async fn a_mail_goes_out_by_resend_once_with_its_key() {
    let (sent, heard) = resend(http_answer("200 OK", "", &json!({ "id": "re_1" }))).await;
    assert_eq!((sent, heard.len()), (Ok(()), 1));
    let (head, body) = heard[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /emails HTTP/1.1"), "{head}");
    assert!(head.contains("authorization: Bearer re_secret"));
    assert!(head.contains(&format!("idempotency-key: {}", mail().id)));
    assert!(head.contains("user-agent: inkfleet/"), "they refuse requests without one");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["from"], "Inkfleet <no-reply@mail.test>");
    assert_eq!(body["to"], json!(["ada@customer.test"]));
    assert_eq!(body["subject"], mail().subject);
    assert_eq!((&body["text"], &body["html"]), (&json!(mail().text), &json!(mail().html)));
    assert_eq!(body["headers"]["Message-ID"], format!("<{}@mail.test>", mail().id));
}

/// One that a click ends, with a picture.
fn digest() -> Mail {
    let out = "https://ink.example/api/public/notifications/unsubscribe?t=eyJhbGciOiJub25lIn0.a-long-token-of-ninety-characters";
    Mail { unsubscribe: Some(out.into()), image: Some(vec![0x89, b'P', b'N', b'G', 1, 2, 3]), ..mail() }
}

#[tokio::test]
async fn a_mail_that_one_click_ends_tells_programs_how_and_carries_its_picture() {
    let (port, heard) = smtp_server("nothing", "").await;
    let url = SecretString::from(format!("smtp://127.0.0.1:{port}"));
    assert_eq!(Mailer::smtp(&url, SENDER).unwrap().send(&digest()).await, Ok(()));
    let text = heard.lock().await.join("\n");
    let out = format!("<{}>", digest().unsubscribe.unwrap());
    assert!(text.contains(&format!("List-Unsubscribe: {out}")), "{text}");
    assert!(text.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"), "{text}");
    assert!(text.contains("Content-ID: <image>") && text.contains("Content-Type: multipart/related"), "{text}");
    assert!(text.contains("iVBORwECAw=="), "{text}");

    let (base, heard) = http_server(http_answer("200 OK", "", &json!({ "id": "re_1" }))).await;
    assert_eq!(Mailer::resend(&"re_secret".into(), &base, SENDER).unwrap().send(&digest()).await, Ok(()));
    let heard = heard.lock().await.clone();
    let body: Value = serde_json::from_str(heard[0].split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["headers"]["List-Unsubscribe"], out);
    assert_eq!(body["headers"]["List-Unsubscribe-Post"], "List-Unsubscribe=One-Click");
    assert_eq!(body["attachments"][0]["content_id"], "image");
    assert_eq!(body["attachments"][0]["content"], "iVBORwECAw==");
}

#[tokio::test]
async fn resends_answers_are_final_only_if_they_are_about_the_mail() {
    let hour = Duration::from_secs(3600);
    let seconds = |n| Some(Some(Duration::from_secs(n)));
    // status, name, headers; None: final, Some(wait): temporary.
    let cases: [(&str, &str, &str, Option<Option<Duration>>); 14] = [
        ("422 Unprocessable Entity", "missing_required_field", "", None),
        ("422 Unprocessable Entity", "invalid_from_address", "", Some(None)),
        ("400 Bad Request", "validation_error", "", None),
        ("409 Conflict", "invalid_idempotent_request", "", None),
        ("409 Conflict", "concurrent_idempotent_requests", "", seconds(1)),
        ("401 Unauthorized", "missing_api_key", "ratelimit-reset: 1\r\n", Some(None)),
        ("403 Forbidden", "invalid_api_key", "", Some(None)),
        ("429 Too Many Requests", "rate_limit_exceeded", "retry-after: 7\r\n", seconds(7)),
        ("429 Too Many Requests", "rate_limit_exceeded", "ratelimit-reset: 3\r\n", seconds(3)),
        ("429 Too Many Requests", "rate_limit_exceeded", "retry-after: 0\r\n", seconds(1)),
        ("429 Too Many Requests", "daily_quota_exceeded", "retry-after: 1\r\n", Some(Some(hour))),
        ("429 Too Many Requests", "monthly_quota_exceeded", "retry-after: 99999999\r\n", Some(Some(hour * 24))),
        ("500 Internal Server Error", "internal_server_error", "ratelimit-reset: 1\r\n", Some(None)),
        ("503 Service Unavailable", "", "retry-after: 30\r\n", seconds(30)),
    ];
    for (status, name, headers, wanted) in cases {
        let body = json!({ "statusCode": 0, "name": name, "message": "because" });
        let got = match resend(http_answer(status, headers, &body)).await.0 {
            Err(SendError::Permanent { reason }) => {
                assert!(reason.contains("because"), "{reason}");
                None
            }
            Err(SendError::Temporary { retry_after, .. }) => Some(retry_after),
            Ok(()) => panic!("{status} is no success"),
        };
        assert_eq!(got, wanted, "{status} {name}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_json_or_leads_elsewhere_is_a_reason_to_try_again() {
    let (elsewhere, visits) = http_server(http_answer("200 OK", "", &json!({}))).await;
    for answer in [
        "502 Bad Gateway\r\nconnection: close\r\n\r\n<html>".to_owned(),
        format!(
            "307 Temporary Redirect\r\nconnection: close\r\nlocation: {elsewhere}/emails\r\ncontent-length: 0\r\n\r\n"
        ),
        "banana\r\n\r\n".to_owned(),
    ] {
        let sent = resend(answer.clone()).await.0;
        assert!(matches!(sent, Err(SendError::Temporary { retry_after: None, .. })), "{answer}: {sent:?}");
    }
    assert!(visits.lock().await.is_empty(), "the key is not carried to another address");
}

#[tokio::test]
async fn the_mailbox_takes_everything() {
    assert_eq!(Mailer::Mailbox.send(&mail()).await, Ok(()));
    assert_eq!(Mailer::Mailbox.name(), "mailbox");
}

const ENDPOINT: EndpointFacts<'static> = EndpointFacts {
    id: "we_01",
    name: "CRM <script>alert(1)</script>",
    url: "https://customer.test/hook?token=secret",
    org_name: "Acme & Sons",
    log_url: "https://inkfleet.test/api/webhooks/endpoints/we_01/deliveries",
};

#[test]
fn a_warning_says_when_the_endpoint_will_be_switched_off() {
    let letter = Degraded {
        endpoint: ENDPOINT,
        failures_in_row: 5,
        failing_since: now(),
        last_error: "HTTP 500",
        disabled_at: now() + chrono::Duration::days(5),
    }
    .letter();
    assert_eq!(letter.kind, "webhook.degraded");
    for part in [&letter.text, &letter.html] {
        assert!(part.contains("26 November 2026, 12:00 UTC") && part.contains("HTTP 500"), "{part}");
        assert!(!part.contains("token=secret"), "the query of an address is nobody's business");
    }
}

#[test]
fn a_notice_says_why_and_how_to_switch_on_again() {
    let letter = Disabled {
        endpoint: ENDPOINT,
        reason: "the endpoint answered 410 Gone",
        disabled_at: now(),
        how_to_enable: "PATCH https://inkfleet.test/api/v1/webhooks/7/\n{\"status\": \"active\"}",
        held_days: 30,
    }
    .letter();
    assert!(
        letter.text.contains("410 Gone") && letter.text.contains("    {\"status\": \"active\"}"),
        "{}",
        letter.text
    );
    assert!(letter.html.contains("{&quot;status&quot;: &quot;active&quot;}"));
    assert!(letter.text.contains("held for 30 days"));
}

#[test]
fn what_customers_wrote_is_escaped_and_kept_on_one_line() {
    let endpoint = EndpointFacts { name: "a\r\nBcc: eve@evil.test\u{202e}", ..ENDPOINT };
    let long = format!("<img src=x>{}", "x".repeat(5000));
    let failed = DeliveryFailed {
        endpoint,
        delivery_id: "del_1",
        event_id: "evt_1",
        event_type: "qr.scanned",
        attempts: 6,
        last_error: &long,
        failed_at: now(),
    };
    let letter = failed.letter();
    assert_eq!(letter.subject, "Webhook delivery failed: qr.scanned to “a Bcc: eve@evil.test”");
    assert!(letter.html.contains("&lt;img src=x&gt;") && !letter.html.contains("<img"));
    assert!(letter.text.len() < 2000, "{}", letter.text.len());
    let recovered = Recovered { endpoint: ENDPOINT, recovered_at: now() }.letter();
    assert!(recovered.html.contains("Acme &amp; Sons") && !recovered.html.contains("<script"));
}

#[test]
fn letters_are_readable_on_small_screens_and_in_the_dark() {
    let html = Recovered { endpoint: ENDPOINT, recovered_at: now() }.letter().html;
    for needed in
        ["width=device-width", "prefers-color-scheme:dark", "overflow-wrap:anywhere", "max-width:560px", "lang=\"en\""]
    {
        assert!(html.contains(needed), "{needed}");
    }
    assert!(!html.contains("<img") && !html.contains("<script") && !html.contains("href"));
}
