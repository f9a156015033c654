//! One request as it arrived: whose dialect it speaks, whether its signature is right, and how it is shown.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use domain::dialect::{DialectName, VerifyError, recognise, verify};
use poem::{RequestParts, http::HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

/// How old a signature may be: what the Standard Webhooks libraries allow.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// Headers of the connection rather than of the webhook.
const UNINTERESTING: [&str; 6] =
    ["accept", "accept-encoding", "connection", "content-length", "host", "transfer-encoding"];

pub(super) struct Received {
    at: DateTime<Utc>,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    dialect: Option<DialectName>,
    verdict: Verdict,
}

enum Verdict {
    Verified,
    /// Why not.
    Refused(String),
    /// Why there is nothing to say.
    Unknown(&'static str),
}

impl Received {
    /// Recognises the dialect, and tries every secret on the signature.
    pub(super) fn judge(parts: RequestParts, body: Vec<u8>, secrets: &[SecretString], now: DateTime<Utc>) -> Self {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let dialect = recognise(header);
        let verdict = match dialect {
            None => Verdict::Unknown("no signature header of any dialect"),
            Some(_) if secrets.is_empty() => Verdict::Unknown("not checked: no --secret was given"),
            Some(dialect) => {
                let tried = secrets
                    .iter()
                    .map(|secret| verify(dialect, header, &body, secret.expose_secret(), TOLERANCE, now))
                    .min_by_key(telling);
                match tried {
                    Some(Ok(())) => Verdict::Verified,
                    Some(Err(error)) => Verdict::Refused(error.to_string()),
                    None => Verdict::Unknown("not checked"),
                }
            }
        };
        Self {
            at: now,
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            headers: texts(&parts.headers),
            dialect: dialect.map(|dialect| dialect.name),
            verdict,
            body,
        }
    }

    /// For people: a line of verdict, the headers, the body.
    pub(super) fn text(&self) -> String {
        let dialect = self.dialect.map_or("no dialect", DialectName::as_str);
        let verdict = match &self.verdict {
            Verdict::Verified => "signature verified".to_owned(),
            Verdict::Refused(reason) => format!("SIGNATURE WRONG: {reason}"),
            Verdict::Unknown(reason) => (*reason).to_owned(),
        };
        let at = self.at.format("%H:%M:%S%.3f");
        let mut text = format!("{at} {} {}  [{dialect}] {verdict}\n", self.method, self.path);
        for (name, value) in self.headers.iter().filter(|(name, _)| !UNINTERESTING.contains(&name.as_str())) {
            let _ = writeln!(text, "  {name}: {value}");
        }
        for line in self.pretty_body().lines() {
            let _ = writeln!(text, "    {line}");
        }
        text.push('\n');
        harmless(&text)
    }

    /// For scripts: one object on one line; `verified` is null where there was nothing to check.
    pub(super) fn json(&self) -> String {
        let (verified, reason) = match &self.verdict {
            Verdict::Verified => (Some(true), None),
            Verdict::Refused(reason) => (Some(false), Some(reason.as_str())),
            Verdict::Unknown(reason) => (None, Some(*reason)),
        };
        let headers: Map<String, Value> =
            self.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let line = json!({
            "at": self.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "method": self.method,
            "path": self.path,
            "dialect": self.dialect,
            "verified": verified,
            "reason": reason,
            "headers": headers,
            "body": String::from_utf8_lossy(&self.body),
        });
        format!("{line}\n")
    }

    fn pretty_body(&self) -> String {
        let json = serde_json::from_slice::<Value>(&self.body).and_then(|value| serde_json::to_string_pretty(&value));
        json.unwrap_or_else(|_| String::from_utf8_lossy(&self.body).into_owned())
    }
}

/// Which of several answers says most: with one secret per endpoint, most secrets do not fit most requests.
fn telling(result: &Result<(), VerifyError>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(VerifyError::Stale(_)) => 1,
        Err(VerifyError::Secret(_)) => 3,
        Err(_) => 2,
    }
}

/// Names in lower case; values of one name joined by commas.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let values = |name| -> Vec<_> {
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect()
    };
    headers.keys().map(|name| (name.to_string(), values(name).join(", "))).collect()
}

/// What arrives is untrusted, and a terminal obeys control characters.
fn harmless(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(shown).collect()
}
