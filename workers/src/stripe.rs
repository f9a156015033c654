//! Stripe's HTTP API, as far as it is read: <https://docs.stripe.com/api>. There is no request here that changes anything
//! there: nobody is ever charged by this program.

use std::{
    fmt,
    time::{Duration, Instant},
};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use domain::{
    billing::{
        stated::Stated,
        stripe::{Charge, Customer, Invoice, InvoicePayment, List, Subscription},
    },
    http_url::HttpUrl,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use crate::operator_api::operator_client;

/// The version whose shapes are asked for: <https://docs.stripe.com/changelog/basil/2025-03-31>.
const VERSION: &str = "2025-03-31.basil";
/// The most of a list that Stripe gives at once.
pub const PAGE: usize = 100;

/// A hundred invoices with all their lines are a few million bytes.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
const REASON_CHARS_MAX: usize = 300;
/// How long Stripe is left alone where it does not say.
const RATE_WAIT: Duration = Duration::from_secs(2);
const AWAY_WAIT: Duration = Duration::from_secs(30);
/// No wish to wait counts for more.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// An account at Stripe, to be read.
pub struct Stripe {
    client: reqwest::Client,
    url: Url,
}

/// A setting that makes no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("STRIPE_SECRET_KEY holds characters that no HTTP header takes")]
pub struct InvalidKey;

/// What Stripe said, and as of when, by its own clock.
#[derive(Debug)]
pub struct Answer<T> {
    /// What.
    pub value: T,
    /// When it was asked; whatever this machine's clock says.
    pub stated: Stated,
}

/// Why Stripe said nothing of use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StripeError {
    /// It may later: too many requests, or something is wrong there or on the way.
    #[error("{reason}")]
    Later {
        /// What happened.
        reason: String,
        /// How long to leave it alone.
        wait: Duration,
    },
    /// It does not take the key, or the key may not read this.
    #[error("Stripe refuses STRIPE_SECRET_KEY: {reason}")]
    Key {
        /// What it said.
        reason: String,
    },
    /// It does not know what was asked for.
    #[error("{reason}")]
    Unknown {
        /// What it said.
        reason: String,
    },
    /// It will not answer this request, or not so that it can be read.
    #[error("{reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
}

/// <https://docs.stripe.com/api/errors>
#[derive(Deserialize, Default)]
struct Problem {
    #[serde(default)]
    error: Detail,
}

#[derive(Deserialize, Default)]
struct Detail {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Stripe {
    /// The account that `key` opens, at `url`.
    pub fn new(key: &SecretString, url: &HttpUrl) -> Result<Self, InvalidKey> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose_secret())).map_err(|_| InvalidKey)?;
        bearer.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (header::AUTHORIZATION, bearer),
            (HeaderName::from_static("stripe-version"), HeaderValue::from_static(VERSION)),
        ]);
        Ok(Self { client: operator_client(headers), url: url.url().clone() })
    }

    /// A page of all invoices, newest first: from `from` on, behind `after`. Of each, the customer too.
    pub async fn invoices(
        &self,
        from: Option<DateTime<Utc>>,
        after: Option<&str>,
    ) -> Result<Answer<List<Invoice>>, StripeError> {
        let from = from.map(|from| from.timestamp().to_string());
        let wanted =
            [("created[gte]", from.as_deref()), ("starting_after", after), ("expand[]", Some("data.customer"))];
        self.list("/v1/invoices", &wanted).await
    }

    /// The newest invoices of a customer.
    pub async fn invoices_of(&self, customer_id: &str) -> Result<Answer<List<Invoice>>, StripeError> {
        self.list("/v1/invoices", &[("customer", Some(customer_id))]).await
    }

    /// The subscriptions of a customer, those that ended too. More than a hundred nobody has.
    pub async fn subscriptions_of(&self, customer_id: &str) -> Result<Answer<List<Subscription>>, StripeError> {
        self.list("/v1/subscriptions", &[("customer", Some(customer_id)), ("status", Some("all"))]).await
    }

    /// An invoice with its customer.
    pub async fn invoice(&self, invoice_id: &str) -> Result<Answer<Invoice>, StripeError> {
        self.get(&["v1", "invoices", invoice_id], &[("expand[]", Some("customer"))]).await
    }

    /// A customer.
    pub async fn customer(&self, customer_id: &str) -> Result<Answer<Customer>, StripeError> {
        self.get(&["v1", "customers", customer_id], &[]).await
    }

    /// What a payment paid, as far as those were invoices.
    pub async fn paid_by(&self, payment_intent_id: &str) -> Result<Answer<List<InvoicePayment>>, StripeError> {
        let wanted = [("payment[type]", Some("payment_intent")), ("payment[payment_intent]", Some(payment_intent_id))];
        self.list("/v1/invoice_payments", &wanted).await
    }

    /// A charge.
    pub async fn charge(&self, charge_id: &str) -> Result<Answer<Charge>, StripeError> {
        self.get(&["v1", "charges", charge_id], &[]).await
    }

    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        wanted: &[(&str, Option<&str>)],
    ) -> Result<Answer<List<T>>, StripeError> {
        let limit = PAGE.to_string();
        let wanted = [&[("limit", Some(limit.as_str()))], wanted].concat();
        self.get(&path.split('/').skip(1).collect::<Vec<_>>(), &wanted).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        wanted: &[(&str, Option<&str>)],
    ) -> Result<Answer<T>, StripeError> {
        let mut url = self.url.clone();
        // One segment each, whatever is in an id.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        for (name, value) in wanted {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let asked = Instant::now();
        let mut answer = self.client.get(url).send().await.map_err(|error| unreachable(&error))?;
        let took = TimeDelta::from_std(asked.elapsed()).unwrap_or_default();
        let (status, at) = (answer.status(), date(answer.headers()));
        let wait = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let mut bytes = Vec::new();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) if status.is_success() => return Err(unreachable(&error)),
                // The status has decided.
                Err(_) => break,
            }
            if bytes.len() > ANSWER_BYTES_MAX {
                let reason = format!("Stripe's answer is larger than {ANSWER_BYTES_MAX} bytes");
                return Err(StripeError::Refused { reason });
            }
        }
        if !status.is_success() {
            return Err(judge(
                status,
                &serde_json::from_slice(&bytes).unwrap_or_default(),
                wait.map(Duration::from_secs),
            ));
        }
        let unread = |error| StripeError::Refused { reason: format!("Stripe's answer cannot be read: {error}") };
        let value = serde_json::from_slice(&bytes).map_err(unread)?;
        let at = at.ok_or_else(|| StripeError::Refused { reason: "Stripe's answer has no Date".into() })?;
        Ok(Answer { value, stated: Stated::by_answer(at, took) })
    }
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripe").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl StripeError {
    /// Whether it is about the one thing that was asked for, so that others may be asked for all the same.
    pub fn is_of_one(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Refused { .. })
    }

    /// How long to leave Stripe alone, where it may say more later.
    pub fn wait(&self) -> Option<TimeDelta> {
        match self {
            Self::Later { wait, .. } => TimeDelta::from_std(*wait).ok(),
            _ => None,
        }
    }
}

/// RFC 9110, 6.6.1: the moment at which the answer was made.
fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    NaiveDateTime::parse_from_str(text, "%a, %d %b %Y %H:%M:%S GMT").ok().map(|at| at.and_utc())
}

fn unreachable(error: &reqwest::Error) -> StripeError {
    // The error's own text would show the address with all that was asked for.
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    StripeError::Later { reason: format!("Stripe did not answer{source}"), wait: AWAY_WAIT }
}

/// What an answer that is no success means.
fn judge(status: StatusCode, problem: &Problem, wait: Option<Duration>) -> StripeError {
    let Detail { kind, code, message } = &problem.error;
    let text = format!("Stripe answered {} {kind} {code}: {message}", status.as_u16());
    let reason = text.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect();
    let later = |least: Duration| wait.unwrap_or(least).clamp(least, LONGEST_WAIT);
    match status {
        StatusCode::TOO_MANY_REQUESTS => StripeError::Later { wait: later(RATE_WAIT), reason },
        // 409 is a lock on the object; 424 another service of theirs.
        StatusCode::CONFLICT | StatusCode::FAILED_DEPENDENCY => StripeError::Later { wait: later(RATE_WAIT), reason },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => StripeError::Key { reason },
        status if status.is_server_error() => StripeError::Later { wait: later(AWAY_WAIT), reason },
        StatusCode::NOT_FOUND => StripeError::Unknown { reason },
        _ if code == "resource_missing" => StripeError::Unknown { reason },
        _ => StripeError::Refused { reason },
    }
}
