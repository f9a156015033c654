//! Resend's HTTP API: <https://resend.com/docs/api-reference/emails/send-email>.

use std::{fmt, net::IpAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::mail::Mail;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use lettre::message::Mailbox;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, json};
use url::{Host, Url};

use super::{InvalidSetting, SendError, unsubscribe_headers};
use crate::operator_api::operator_client;

/// More than any answer of theirs needs.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const MAX_REASON_CHARS: usize = 500;
/// No wish to wait counts for more.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
/// What is known of a limit when the answer does not say when it ends.
const RATE_WAIT: Duration = Duration::from_secs(1);
const QUOTA_WAIT: Duration = Duration::from_secs(3600);

/// An account at Resend.
pub struct Resend {
    client: reqwest::Client,
    url: Url,
    sender: String,
    domain: String,
}

#[derive(Deserialize, Default)]
struct Problem {
    #[serde(default)]
    name: String,
    #[serde(default)]
    message: String,
}

impl Resend {
    pub(super) fn new(api_key: &SecretString, base_url: &str, sender: Mailbox) -> Result<Self, InvalidSetting> {
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", api_key.expose_secret())).map_err(|_| InvalidSetting::ApiKey)?;
        bearer.set_sensitive(true);
        Ok(Self {
            client: operator_client(HeaderMap::from_iter([(header::AUTHORIZATION, bearer)])),
            url: endpoint(base_url)?,
            domain: sender.email.domain().into(),
            sender: sender.to_string(),
        })
    }

    pub(super) async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        let mut headers = Map::from_iter([
            ("Message-ID".to_owned(), json!(format!("<{}@{}>", mail.id, self.domain))),
            ("Auto-Submitted".to_owned(), json!("auto-generated")),
        ]);
        headers.extend(unsubscribe_headers(mail).map(|(name, value)| (name.to_owned(), value.into())));
        // Their keys last a day; a repetition after that can still be told by its Message-ID.
        let mut body = json!({
            "from": self.sender,
            "to": [mail.recipient],
            "subject": mail.subject,
            "text": mail.text,
            "html": mail.html,
            "headers": headers,
            "tags": [{ "name": "org", "value": mail.org_id }, { "name": "mail", "value": mail.id }],
        });
        if let Some(png) = &mail.image {
            let image = json!({"filename": "image.png", "content_id": "image", "content": STANDARD.encode(png)});
            body["attachments"] = json!([image]);
        }
        let request = self.client.post(self.url.clone()).header("idempotency-key", mail.id.to_string()).json(&body);
        let mut answer = request.send().await.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        // A body that breaks off changes nothing: the status has decided.
        while let Ok(Some(chunk)) = answer.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_ANSWER_BYTES {
                break;
            }
        }
        let problem = serde_json::from_slice(&bytes).unwrap_or_default();
        Err(judge(status, &problem, answer.headers()))
    }
}

impl fmt::Debug for Resend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resend").field("url", &self.url.as_str()).field("sender", &self.sender).finish_non_exhaustive()
    }
}

/// `{base_url}/emails`. The key travels with every request, so it must not leave this machine in the clear.
fn endpoint(base_url: &str) -> Result<Url, InvalidSetting> {
    let url = Url::parse(&format!("{}/emails", base_url.trim_end_matches('/'))).map_err(|_| InvalidSetting::ApiUrl)?;
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if here => Ok(url),
        _ => Err(InvalidSetting::ApiUrl),
    }
}

fn unreachable(error: &reqwest::Error) -> SendError {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    SendError::temporary(format!("the mail API did not answer{source}"))
}

/// What an answer that is no success means for the mail.
fn judge(status: StatusCode, problem: &Problem, headers: &HeaderMap) -> SendError {
    let text = format!("{} {}: {}", status.as_u16(), problem.name, problem.message);
    let reason: String = text.chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect();
    let retry_after = match (status, problem.name.as_str()) {
        // Our own requests overlap: a moment later the first one has its answer.
        (StatusCode::CONFLICT, "concurrent_idempotent_requests") => Some(RATE_WAIT),
        // A quota ends when its day or month does; asking more often than hourly would change nothing.
        (StatusCode::TOO_MANY_REQUESTS, "daily_quota_exceeded" | "monthly_quota_exceeded") => {
            Some(seconds(headers, "retry-after").unwrap_or(QUOTA_WAIT).max(QUOTA_WAIT))
        }
        (StatusCode::TOO_MANY_REQUESTS, _) => {
            let wished = seconds(headers, "retry-after").or_else(|| seconds(headers, "ratelimit-reset"));
            Some(wished.unwrap_or(RATE_WAIT).max(RATE_WAIT))
        }
        (StatusCode::SERVICE_UNAVAILABLE, _) => seconds(headers, "retry-after"),
        // A sender or a key that they refuse (401, 403) is the operator's to mend, and the mail waits for it.
        (StatusCode::UNPROCESSABLE_ENTITY, "invalid_from_address") => None,
        (StatusCode::BAD_REQUEST | StatusCode::CONFLICT, _)
        | (StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY, _) => {
            return SendError::Permanent { reason };
        }
        _ => None,
    };
    SendError::Temporary { reason, retry_after }
}

/// A header that holds a number of seconds.
fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    let seconds = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}
