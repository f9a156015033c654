//! SMTP by lettre.
//!
//! `smtps://user:password@host:465` speaks TLS from the first byte. `smtp://user:password@host:587` begins in the clear
//! and must go over to TLS (STARTTLS), except on this machine itself; `?tls=opportunistic` takes what the server offers,
//! `?tls=none` stays in the clear. Users and passwords are percent-encoded.

use std::{fmt, net::IpAddr, time::Duration};

use domain::mail::Mail;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Attachment, Mailbox, MultiPart, SinglePart,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{self, PoolConfig},
};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{InvalidSetting, SendError, unsubscribe_headers};

/// For each answer of the server.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECTIONS: u32 = 4;
const IDLE: Duration = Duration::from_secs(30);

/// A mail server, and a few connections to it.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    sender: Mailbox,
}

impl Smtp {
    pub(super) fn new(url: &SecretString, sender: Mailbox) -> Result<Self, InvalidSetting> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(secure(url.expose_secret())?.as_str())
            .map_err(|_| InvalidSetting::SmtpUrl)?
            .timeout(Some(COMMAND_TIMEOUT))
            .pool_config(PoolConfig::new().max_size(CONNECTIONS).idle_timeout(IDLE))
            .build();
        Ok(Self { transport, sender })
    }

    pub(super) async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        let message = self.message(mail)?;
        self.transport.send(message).await.map(drop).map_err(|error| judge(&error))
    }

    fn message(&self, mail: &Mail) -> Result<Message, SendError> {
        let recipient: Address = mail
            .recipient
            .parse()
            .map_err(|_| SendError::Permanent { reason: "the recipient is not an address that SMTP takes".into() })?;
        // RFC 3834: answering machines stay silent.
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        let mut message = Message::builder()
            .message_id(Some(format!("<{}@{}>", mail.id, self.sender.email.domain())))
            .date(mail.created_at.into())
            .from(self.sender.clone())
            .to(recipient.into())
            .subject(&mail.subject)
            .raw_header(automatic);
        for (name, value) in unsubscribe_headers(mail) {
            message = message.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value));
        }
        let (plain, page) = (SinglePart::plain(mail.text.clone()), SinglePart::html(mail.html.clone()));
        let parts = match &mail.image {
            None => MultiPart::alternative().singlepart(plain).singlepart(page),
            // RFC 2387: the page and the picture that it shows are one.
            Some(png) => {
                let picture = Attachment::new_inline("image".to_owned())
                    .body(png.clone(), ContentType::parse("image/png").expect("a type"));
                MultiPart::alternative()
                    .singlepart(plain)
                    .multipart(MultiPart::related().singlepart(page).singlepart(picture))
            }
        };
        message
            .multipart(parts)
            .map_err(|error| SendError::Permanent { reason: format!("the mail cannot be written: {error}") })
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("sender", &self.sender.to_string()).finish_non_exhaustive()
    }
}

/// Makes TLS the rule: lettre's own reading of a bare `smtp://` would send the password in the clear.
fn secure(setting: &str) -> Result<Url, InvalidSetting> {
    let mut url = Url::parse(setting).map_err(|_| InvalidSetting::SmtpUrl)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(InvalidSetting::SmtpUrl)?;
    let here = host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let tls = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
    match (url.scheme(), tls.as_deref()) {
        ("smtps", None) | ("smtp", Some("required" | "opportunistic")) => {}
        ("smtp", None) if here => {}
        ("smtp", None) => drop(url.query_pairs_mut().append_pair("tls", "required")),
        ("smtp", Some("none")) => url.set_query(None),
        _ => return Err(InvalidSetting::SmtpUrl),
    }
    Ok(url)
}

/// Only the server's own 5xx about this mail is final. A refused log-in is the operator's to mend, and the mail waits.
fn judge(error: &smtp::Error) -> SendError {
    let log_in = error.status().is_some_and(|code| matches!(u16::from(code), 530 | 534 | 535 | 538));
    let reason = match std::error::Error::source(error) {
        Some(source) if error.status().is_none() => format!("{error} ({source})"),
        _ => error.to_string(),
    };
    if error.is_permanent() && !log_in { SendError::Permanent { reason } } else { SendError::temporary(reason) }
}
