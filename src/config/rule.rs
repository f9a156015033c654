//! One function per kind of value. An error is the end of the sentence that begins with the variable's name.

use std::{
    fmt::Display,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use domain::{
    http_url::{HttpUrl, Rules},
    plan::Plan,
    sealed::SealingKeys,
    session::{SessionIssuer, SessionKeys},
    user::EmailAddress,
};
use jobs::job::Queue;
use poem::http::{HeaderName, Uri};
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use tracing_subscriber::EnvFilter;

use super::LogFormat;

type Read<T> = Result<T, String>;

pub(super) fn whole<T, const MIN: u64, const MAX: u64>(text: &str) -> Read<T>
where
    T: TryFrom<u64> + Display,
{
    let number = text.trim().parse().ok().filter(|number| (MIN..=MAX).contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("must be a whole number from {MIN} to {MAX}"))
}

pub(super) fn switch(text: &str) -> Read<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

pub(super) fn text(text: &str) -> Read<String> {
    let text = text.trim();
    if text.is_empty() { Err("must not be blank".to_owned()) } else { Ok(text.to_owned()) }
}

pub(super) fn secret(text: &str) -> Read<SecretString> {
    self::text(text).map(SecretString::from)
}

/// What a header and an address can both carry.
pub(super) fn cron_secret(text: &str) -> Read<SecretString> {
    let text = text.trim();
    let fits = (16..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(text.into()) } else { Err("must be 16 to 255 visible ASCII characters without blanks".to_owned()) }
}

pub(super) fn ip_address(text: &str) -> Read<IpAddr> {
    IpAddr::from_str(text.trim()).map_err(|_| "must be an IP address, such as 0.0.0.0 or ::1".to_owned())
}

/// An address and a port.
pub(super) fn socket_address(text: &str) -> Read<SocketAddr> {
    text.trim().parse().map_err(|_| "must be an address with a port, such as 0.0.0.0:9100".to_owned())
}

pub(super) fn http_url(text: &str) -> Read<HttpUrl> {
    HttpUrl::parse(text.trim(), Rules { allow_http: true, max_chars: 2000 }).map_err(|error| error.to_string())
}

/// What goes there goes with a key, which must not leave this machine in the clear.
pub(super) fn api_url(text: &str) -> Read<HttpUrl> {
    let url = http_url(text)?;
    let rule = "must be an https:// URL (http:// only on this machine)";
    if url.scheme() == "https" || url.is_local() { Ok(url) } else { Err(rule.to_owned()) }
}

pub(super) fn price(text: &str) -> Read<(String, Plan)> {
    let rule = "must be prices with their plans, such as price_a=pro,price_b=business";
    let (price, plan) = text.trim().split_once('=').ok_or(rule)?;
    let plan = Plan::by_name(plan.trim()).ok_or(rule)?;
    let fits = !price.is_empty() && price.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fits { Ok((price.to_owned(), plan)) } else { Err(rule.to_owned()) }
}

pub(super) fn header_name(text: &str) -> Read<String> {
    let name = text.trim().parse::<HeaderName>();
    name.map(|name| name.to_string()).map_err(|_| "must be the name of a header, such as x-forwarded-for".to_owned())
}

pub(super) fn origin(text: &str) -> Read<String> {
    let url = http_url(text)?;
    // WHATWG URL: an origin as a browser sends it, without a path.
    let origin = url.url().origin().ascii_serialization();
    let rule = "must be origins such as https://app.example, separated by commas";
    if origin == url.as_str().trim_end_matches('/') { Ok(origin) } else { Err(rule.to_owned()) }
}

pub(super) fn postgres_url(text: &str) -> Read<SecretString> {
    let rule = "must be an address such as postgres://user:password@host:5432/name";
    let text = text.trim();
    let known = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
    if !known || PgConnectOptions::from_str(text).is_err() {
        return Err(rule.to_owned());
    }
    Ok(text.into())
}

pub(super) fn smtp_url(text: &str) -> Read<SecretString> {
    let rule = "must be an address such as smtp://user:password@host:587?tls=required or smtps://user:password@host";
    let uri: Option<Uri> = text.trim().parse().ok();
    let fits = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("smtp" | "smtps")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if fits { Ok(text.trim().into()) } else { Err(rule.to_owned()) }
}

pub(super) fn sealing_keys(text: &str) -> Read<SealingKeys> {
    SealingKeys::parse(&text.into()).map_err(|error| error.to_string())
}

pub(super) fn public_key(text: &str) -> Read<SessionKeys> {
    SessionKeys::from_pem(&pem(text)).map_err(|error| error.to_string())
}

pub(super) fn private_key(text: &str) -> Read<SecretString> {
    let pem = SecretString::from(pem(text));
    // Only whether it can be read matters here; the name of the issuer is settled later.
    SessionIssuer::from_pem(&pem, "", None).map_err(|error| error.to_string())?;
    Ok(pem)
}

/// Environment files and dashboards often cannot hold a line end.
fn pem(text: &str) -> String {
    text.trim().replace("\\n", "\n")
}

pub(super) fn queue(text: &str) -> Read<Queue> {
    Queue::by_name(text.trim()).ok_or_else(|| {
        let names: Vec<&str> = Queue::ALL.into_iter().map(Queue::name).collect();
        format!("must name queues of {}, separated by commas", names.join(", "))
    })
}

pub(super) fn sender(text: &str) -> Read<String> {
    let text = text.trim();
    let address = match text.strip_suffix('>') {
        Some(head) => head.rsplit_once('<').map(|(_, address)| address),
        None => Some(text),
    };
    let fits = address.is_some_and(|address| EmailAddress::from_str(address).is_ok());
    let rule = "must be an address such as Inkfleet <fleet@example.com>";
    if fits && !text.contains(char::is_control) { Ok(text.to_owned()) } else { Err(rule.to_owned()) }
}

pub(super) fn log_filter(text: &str) -> Read<String> {
    let rule = |_| "must be a level such as info, or levels by module such as info,workers=debug".to_owned();
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(rule)
}

pub(super) fn log_format(text: &str) -> Read<LogFormat> {
    match text.trim() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".to_owned()),
    }
}
