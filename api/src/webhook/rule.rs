//! The rules that an endpoint must keep to: its dialect's row says which, a surface's [`Names`] say what they are about.

use domain::{
    caller::Caller,
    dialect::{self, Choice, Dialect},
    endpoint,
    http_url::{HttpUrl, Rules},
    plan::Quota,
    quota,
};
use jobs::store::Tx;
use poem::http::StatusCode;

use super::Names;
use crate::{
    app::App,
    failure::{Failure, FieldError},
};

/// Whether the organisation has paid for the dialect.
pub(super) fn plan(caller: &Caller, dialect: &Dialect) -> Result<(), Failure> {
    if dialect.allows_plan(caller.plan) {
        return Ok(());
    }
    // QR Code Agency's own words, the only dialect with such a gate.
    Err(Failure::forbidden("Webhooks require Pro plan or higher."))
}

/// Whether one more endpoint may be active.
pub(super) async fn room(caller: &Caller, dialect: &Dialect, tx: &mut Tx<'_>) -> Result<(), Failure> {
    let Some(most) = dialect.limits.max_active else { return Ok(()) };
    if endpoint::count_active(tx, caller.org_id, dialect.name).await? < most {
        return Ok(());
    }
    let message = format!("An organisation can have at most {most} active webhooks.");
    Err(Failure::new(StatusCode::BAD_REQUEST, "endpoint_limit", message))
}

/// Whether the plan includes one more endpoint, switched on or off.
pub(super) async fn included(caller: &Caller, tx: &mut Tx<'_>) -> Result<(), Failure> {
    if let Some(most) = quota::lock(tx, caller.org_id, caller.plan, Quota::Endpoints).await? {
        quota::room(Quota::Endpoints, most, endpoint::count(tx, caller.org_id).await?, 1)?;
    }
    Ok(())
}

/// The text of a URL.
pub(super) fn url(app: &App, dialect: &Dialect, url: &str) -> Result<HttpUrl, FieldError> {
    let rules = Rules {
        allow_http: app.settings.allow_http_targets || !dialect.limits.https_only,
        max_chars: dialect.limits.max_url,
    };
    HttpUrl::parse(url, rules).map_err(|error| FieldError::new("url", error.to_string()))
}

/// Where a URL leads.
pub(super) async fn target(app: &App, url: &HttpUrl) -> Result<(), Failure> {
    app.guard.check(url).await.map(|_| ()).map_err(|refusal| Failure::field("url", refusal.registering()))
}

/// What an endpoint is called.
pub(super) fn name(dialect: &Dialect, name: &str, names: Names) -> Option<FieldError> {
    let most = dialect.limits.max_name;
    if name.chars().count() > most {
        return Some(FieldError::new(names.name, format!("must be at most {most} characters")));
    }
    name.contains('\0').then(|| FieldError::new(names.name, "must not contain a NUL character"))
}

/// What an endpoint subscribes to.
pub(super) fn events(dialect: &Dialect, events: &[String], names: Names) -> Option<FieldError> {
    if events.is_empty() {
        return Some(FieldError::new(names.events, "must have at least one event type"));
    }
    let at = |n: usize| format!("{}[{n}]", names.events);
    for (n, event) in events.iter().enumerate() {
        if !dialect.catalogue.contains(&event.as_str()) {
            return Some(FieldError::new(at(n), known_types(dialect)));
        }
        if events[..n].contains(event) {
            return Some(FieldError::new(at(n), "is there twice"));
        }
    }
    None
}

/// The rule for an event type.
pub(super) fn known_types(dialect: &Dialect) -> String {
    format!("must be one of {}", dialect.catalogue.join(", "))
}

/// The secret of a new endpoint: the caller's or a new one, by the dialect's choice.
pub(super) fn first_secret(app: &App, dialect: &'static Dialect, own: Option<&str>) -> Result<String, FieldError> {
    let wrong = |rule: &str| Err(FieldError::new("secret", rule));
    match (dialect.secret.choice, own) {
        (Choice::Generated | Choice::Either, None) => Ok(dialect::new_secret(dialect, &app.chance)),
        (Choice::Generated, Some(_)) => wrong("is made by us for this dialect; leave it out"),
        (Choice::Required, None) => wrong("is required"),
        (Choice::Either | Choice::Required, Some(own)) => secret(dialect, own).map(|()| own.to_owned()),
    }
}

/// A caller's own new secret.
pub(super) fn new_secret(dialect: &'static Dialect, own: &str) -> Result<(), FieldError> {
    match dialect.secret.choice {
        Choice::Generated => Err(FieldError::new("secret", "is made by us; rotate it instead")),
        Choice::Either | Choice::Required => secret(dialect, own),
    }
}

fn secret(dialect: &'static Dialect, secret: &str) -> Result<(), FieldError> {
    dialect::check_secret(dialect, secret).map_err(|error| FieldError::new("secret", error.to_string()))
}
