//! Mail leaves the program here, by one of three transports: SMTP, Resend's HTTP API, or the mailbox, which only keeps
//! the row for the operator to read.
//!
//! A mail is sent at least once. A repetition (the process died between sending and recording) can be told by what stays
//! the same: the Idempotency-Key at Resend, the Message-ID everywhere.

mod resend;
mod smtp;

use std::time::Duration;

use anyhow::bail;
use chrono::TimeDelta;
use domain::mail::{self, Mail, State};
use jobs::{job::Job as _, mail::SendMail};
use lettre::message::Mailbox;
use secrecy::SecretString;

pub use resend::Resend;
pub use smtp::Smtp;

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// How long one hand-over may take. Shorter than the job's own limit, so that the transport's reason is what is seen.
const SEND_TIMEOUT: Duration = Duration::from_secs(45);

/// What carries mails. A new connection is made when the pooled ones are gone; nothing is sent before the first mail.
#[derive(Debug)]
pub enum Mailer {
    /// A mail server.
    Smtp(Smtp),
    /// Resend's HTTP API.
    Resend(Resend),
    /// Nothing: the row in `mails` is the mail.
    Mailbox,
}

/// A setting that makes no transport. No text shows what was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    /// The sender.
    #[error("the sender is not an e-mail address, with or without a name: Inkfleet <no-reply@example.com>")]
    Sender,
    /// The mail server.
    #[error(
        "the mail server is not of the form smtp://user:password@host:587 or smtps://user:password@host, with \
         ?tls=required, opportunistic or none after smtp://"
    )]
    SmtpUrl,
    /// The address of the HTTP API.
    #[error("the address of the mail API is not an https:// URL (http:// only on this machine)")]
    ApiUrl,
    /// The key of the HTTP API.
    #[error("the key of the mail API holds characters that no HTTP header takes")]
    ApiKey,
}

/// Why a mail was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may be taken later.
    #[error("{reason}")]
    Temporary {
        /// What happened.
        reason: String,
        /// How long the transport wants to be left alone. The wait is its wish and no failure of the mail: no attempt
        /// is counted for it.
        retry_after: Option<Duration>,
    },
    /// It will never be taken as it is.
    #[error("{reason}")]
    Permanent {
        /// What the transport said.
        reason: String,
    },
}

impl SendError {
    fn temporary(reason: impl Into<String>) -> Self {
        Self::Temporary { reason: reason.into(), retry_after: None }
    }
}

impl Mailer {
    /// Sends through the mail server `url` as `sender` (see [`Smtp`] for the forms). Needs a Tokio runtime.
    pub fn smtp(url: &SecretString, sender: &str) -> Result<Self, InvalidSetting> {
        Ok(Self::Smtp(Smtp::new(url, read_sender(sender)?)?))
    }

    /// Sends through Resend's API at `base_url` as `sender`.
    pub fn resend(api_key: &SecretString, base_url: &str, sender: &str) -> Result<Self, InvalidSetting> {
        Ok(Self::Resend(Resend::new(api_key, base_url, read_sender(sender)?)?))
    }

    /// The name that is recorded with a sent mail.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Smtp(_) => "smtp",
            Self::Resend(_) => "resend",
            Self::Mailbox => "mailbox",
        }
    }

    /// Hands a mail over.
    pub async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        let sending = async {
            match self {
                Self::Smtp(smtp) => smtp.send(mail).await,
                Self::Resend(resend) => resend.send(mail).await,
                Self::Mailbox => Ok(()),
            }
        };
        tokio::time::timeout(SEND_TIMEOUT, sending)
            .await
            .unwrap_or_else(|_| Err(SendError::temporary(format!("no answer within {} s", SEND_TIMEOUT.as_secs()))))
    }
}

/// The headers of a mail that ends with one click (RFC 8058, RFC 2369).
fn unsubscribe_headers(mail: &Mail) -> impl Iterator<Item = (&'static str, String)> {
    let address = mail.unsubscribe.as_ref().map(|address| format!("<{address}>"));
    let click = address.is_some().then(|| ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()));
    address.map(|address| ("List-Unsubscribe", address)).into_iter().chain(click)
}

fn read_sender(sender: &str) -> Result<Mailbox, InvalidSetting> {
    sender.parse().map_err(|_| InvalidSetting::Sender)
}

/// Sends a stored mail.
///
/// Safe twice: a mail that is recorded as sent is left alone, and one that was sent but not recorded goes out with the
/// same Idempotency-Key and Message-ID.
pub async fn send(context: Context, job: SendMail, run: Run) -> anyhow::Result<Outcome> {
    let pool = context.store.pool();
    let Some(mail) = mail::find(&mut *pool.acquire().await?, job.mail_id).await? else {
        return Ok(Outcome::Cancel("the mail is gone".into()));
    };
    if mail.state == State::Sent {
        return Ok(Outcome::Done);
    }
    let transport = context.mailer.name();
    match context.mailer.send(&mail).await {
        Ok(()) => {
            mail::mark_sent(&mut *pool.acquire().await?, mail.id, transport, context.clock.now()).await?;
            Ok(Outcome::Done)
        }
        Err(SendError::Temporary { reason, retry_after: Some(wait) }) => {
            tracing::warn!(mail.id = %mail.id, transport, reason, wait_s = wait.as_secs(), "the mail transport asks to wait");
            Ok(Outcome::Snooze(context.clock.now() + TimeDelta::from_std(wait)?))
        }
        Err(SendError::Temporary { reason, retry_after: None }) => {
            if run.attempt >= SendMail::MAX_ATTEMPTS {
                // The job stays with the operator, who may run it again; the mail says the same.
                mail::mark_failed(&mut *pool.acquire().await?, mail.id, transport, &reason).await?;
            }
            bail!("{transport}: {reason}")
        }
        Err(SendError::Permanent { reason }) => {
            mail::mark_failed(&mut *pool.acquire().await?, mail.id, transport, &reason).await?;
            Ok(Outcome::Cancel(format!("{transport}: {reason}")))
        }
    }
}
