//! What all five management surfaces do with webhook endpoints: the rules are the dialect's row, the words are theirs.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    api_key::Scope,
    caller::Caller,
    delivery,
    dialect::{self, Choice, Dialect, DialectName, Shown},
    endpoint::{self, Endpoint, NewEndpoint, secret_context},
    event::NewEvent,
    http_url::{HttpUrl, Rules},
    id::{DeliveryId, EndpointId, EventId},
    json::JsonText,
};
use jobs::{event::publish_test, store::Tx};

use crate::{
    app::App,
    failure::{Failure, FieldError},
};

/// How a surface spells the fields of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// The subscriptions.
    pub events: &'static str,
    /// What the owner calls it.
    pub name: &'static str,
}

/// An endpoint as a caller describes it.
#[derive(Debug, Default)]
pub struct Draft {
    /// Where it is.
    pub url: String,
    /// What it subscribes to; `None` for all.
    pub events: Option<Vec<String>>,
    /// What the owner calls it.
    pub name: String,
    /// Switched on?
    pub enabled: bool,
    /// The caller's own secret.
    pub secret: Option<String>,
}

/// What a caller changes; `None` leaves a setting as it is.
#[derive(Debug, Default)]
pub struct Patch {
    /// Where it is.
    pub url: Option<String>,
    /// What it subscribes to.
    pub events: Option<Vec<String>>,
    /// What the owner calls it.
    pub name: Option<String>,
    /// Switched on?
    pub enabled: Option<bool>,
    /// The caller's own new secret.
    pub secret: Option<String>,
}

/// A draft that breaks no rule.
#[derive(Debug)]
pub struct Checked {
    dialect: &'static Dialect,
    draft: Draft,
    secret: String,
}

/// Checks who asks: owners and admins manage, with a key that may.
pub fn authorise_change(caller: &Caller) -> Result<(), Failure> {
    caller.require_scope(Scope::WebhooksWrite)?;
    caller.require_manager()?;
    Ok(())
}

/// Checks who asks: every member reads, with a key that may.
pub fn authorise_read(caller: &Caller) -> Result<(), Failure> {
    Ok(caller.require_scope(Scope::WebhooksRead)?)
}

/// The failure where an id names no endpoint of the caller's organisation.
pub fn no_endpoint() -> Failure {
    Failure::not_found("webhook endpoint")
}

/// Checks a draft against its dialect's rules, all fields at once, and its target against the address guard.
pub async fn check(
    app: &App,
    caller: &Caller,
    dialect: DialectName,
    draft: Draft,
    names: Names,
) -> Result<Checked, Failure> {
    authorise_change(caller)?;
    let dialect = Dialect::by_name(dialect);
    check_plan(caller, dialect)?;
    let mut wrong = vec![];
    let url = parse_url(app, dialect, &draft.url).map_err(|e| wrong.push(e)).ok();
    wrong.extend(check_name(dialect, &draft.name, names));
    wrong.extend(draft.events.as_deref().and_then(|events| check_events(dialect, events, names)));
    let secret = match (dialect.secret.choice, &draft.secret) {
        (Choice::Generated | Choice::Either, None) => dialect::new_secret(dialect, &app.chance),
        (Choice::Generated, Some(_)) => {
            wrong.push(FieldError::new("secret", "is made by us for this dialect; leave it out"));
            String::new()
        }
        (Choice::Required, None) => {
            wrong.push(FieldError::new("secret", "is required"));
            String::new()
        }
        (_, Some(secret)) => {
            wrong.extend(check_secret(dialect, secret));
            secret.clone()
        }
    };
    let (true, Some(url)) = (wrong.is_empty(), url) else { return Err(Failure::invalid(wrong)) };
    check_target(app, &url).await?;
    Ok(Checked { dialect, draft, secret })
}

/// Stores a checked draft; returns the endpoint and the secret, if the dialect shows it.
pub async fn create(
    app: &App,
    caller: &Caller,
    checked: &Checked,
    tx: &mut Tx,
) -> Result<(Endpoint, Option<String>), Failure> {
    let Checked { dialect, draft, secret } = checked;
    if draft.enabled {
        check_room(caller, dialect, tx).await?;
    }
    let now = app.clock.now();
    let id = EndpointId::new(now, &app.chance);
    let sealed = app.sealing.seal(secret.as_bytes(), &secret_context(id), &app.chance);
    let new = NewEndpoint {
        id,
        org_id: caller.org_id,
        dialect: dialect.name,
        url: &draft.url,
        name: &draft.name,
        event_types: draft.events.as_deref(),
        enabled: draft.enabled,
        secret: &sealed,
        created_by: caller.user_id,
    };
    endpoint::insert(tx, &new, now).await?;
    let endpoint = endpoint::find(tx, caller.org_id, id, None).await?.ok_or_else(no_endpoint)?;
    let shown = (dialect.secret.shown == Shown::Once).then(|| secret.clone());
    Ok((endpoint, shown))
}

/// Checks and stores a change of `endpoint`. Switching an endpoint on that its health had switched off starts its health
/// anew.
pub async fn update(
    app: &App,
    caller: &Caller,
    mut endpoint: Endpoint,
    patch: Patch,
    names: Names,
) -> Result<Endpoint, Failure> {
    authorise_change(caller)?;
    let dialect = endpoint.row();
    let mut wrong = vec![];
    let url = patch.url.as_deref().and_then(|url| parse_url(app, dialect, url).map_err(|e| wrong.push(e)).ok());
    wrong.extend(patch.name.as_deref().and_then(|name| check_name(dialect, name, names)));
    wrong.extend(patch.events.as_deref().and_then(|events| check_events(dialect, events, names)));
    if let Some(secret) = &patch.secret {
        match dialect.secret.choice {
            Choice::Generated => wrong.push(FieldError::new("secret", "is made by us; rotate it instead")),
            _ => wrong.extend(check_secret(dialect, secret)),
        }
    }
    if !wrong.is_empty() {
        return Err(Failure::invalid(wrong));
    }
    if let Some(url) = &url {
        check_target(app, url).await?;
    }
    let mut tx = app.store.begin().await?;
    let now = app.clock.now();
    let was_on = endpoint.takes_deliveries();
    endpoint.url = patch.url.unwrap_or(endpoint.url);
    endpoint.name = patch.name.unwrap_or(endpoint.name);
    endpoint.event_types = patch.events.or(endpoint.event_types);
    if let Some(enabled) = patch.enabled {
        endpoint.enabled = enabled;
        if enabled && endpoint.health == dialect::Health::Disabled {
            endpoint.set_health(endpoint.health_state().reactivate(now));
            endpoint.health_reason = None;
        }
    }
    if !was_on && endpoint.takes_deliveries() {
        check_plan(caller, dialect)?;
        check_room(caller, dialect, &mut tx).await?;
    }
    endpoint::update(&mut tx, &endpoint, now).await?;
    if let Some(secret) = &patch.secret {
        let sealed = app.sealing.seal(secret.as_bytes(), &secret_context(endpoint.id), &app.chance);
        endpoint::rotate_secret(&mut tx, caller.org_id, endpoint.id, &sealed, None, now).await?;
    }
    tx.commit().await?;
    endpoint.updated_at = now;
    Ok(endpoint)
}

/// Starts an endpoint's health anew and switches it on.
pub async fn reactivate(app: &App, caller: &Caller, endpoint: Endpoint, names: Names) -> Result<Endpoint, Failure> {
    let mut endpoint = endpoint;
    let now = app.clock.now();
    if endpoint.health == dialect::Health::Degraded {
        endpoint.set_health(endpoint.health_state().reactivate(now));
        endpoint.health_reason = None;
    }
    update(app, caller, endpoint, Patch { enabled: Some(true), ..Patch::default() }, names).await
}

/// Makes a new secret; the old one signs beside it for `overlap_s` seconds, where the dialect can.
pub async fn rotate(
    app: &App,
    caller: &Caller,
    endpoint: &Endpoint,
    overlap_s: i64,
) -> Result<(String, DateTime<Utc>), Failure> {
    authorise_change(caller)?;
    let dialect = endpoint.row();
    let secret = dialect::new_secret(dialect, &app.chance);
    let sealed = app.sealing.seal(secret.as_bytes(), &secret_context(endpoint.id), &app.chance);
    let now = app.clock.now();
    let until = (overlap_s > 0 && dialect.signature.overlap != dialect::Overlap::Void)
        .then(|| now + TimeDelta::seconds(overlap_s));
    let mut tx = app.store.begin().await?;
    endpoint::rotate_secret(&mut tx, caller.org_id, endpoint.id, &sealed, until, now).await?;
    tx.commit().await?;
    Ok((secret, now))
}

/// Removes an endpoint; what is under way to it is cancelled.
pub async fn delete(app: &App, caller: &Caller, endpoint: &Endpoint) -> Result<(), Failure> {
    authorise_change(caller)?;
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    endpoint::delete(&mut tx, caller.org_id, endpoint.id, now).await?;
    delivery::cancel_for_endpoint(&mut tx, caller.org_id, endpoint.id, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Sends an event with sample data to one endpoint, once, whatever it subscribes to and however it does.
pub async fn test(
    app: &App,
    caller: &Caller,
    endpoint: &Endpoint,
    event_type: Option<String>,
    field: &str,
    request_id: Option<&str>,
) -> Result<(EventId, DeliveryId), Failure> {
    authorise_change(caller)?;
    let dialect = endpoint.row();
    let subscribed = endpoint.event_types.as_ref().and_then(|types| types.first().cloned());
    let event_type = event_type.or(subscribed).unwrap_or_else(|| dialect.catalogue[0].to_owned());
    let sample = dialect.sample(&event_type).ok_or_else(|| Failure::field(field, unknown_type(dialect)))?;
    let now = app.clock.now();
    let data = JsonText::parse(sample).map_err(Failure::internal)?;
    let event = NewEvent {
        id: EventId::new(now, &app.chance),
        org_id: caller.org_id,
        event_type,
        data,
        client_id: None,
        created_at: now,
    };
    let mut tx = app.store.begin().await?;
    let delivery_id = publish_test(&mut tx, &event, endpoint.id, request_id, now, &app.chance).await?;
    tx.commit().await?;
    Ok((event.id, delivery_id))
}

fn check_plan(caller: &Caller, dialect: &Dialect) -> Result<(), Failure> {
    if dialect.allows_plan(caller.plan) {
        return Ok(());
    }
    // QR Code Agency's own words, the only dialect with such a gate.
    Err(Failure::forbidden("Webhooks require Pro plan or higher."))
}

async fn check_room(caller: &Caller, dialect: &Dialect, tx: &mut Tx) -> Result<(), Failure> {
    let Some(most) = dialect.limits.max_active else { return Ok(()) };
    if endpoint::count_active(tx, caller.org_id, dialect.name).await? < most {
        return Ok(());
    }
    let message = format!("An organisation can have at most {most} active webhooks.");
    Err(Failure::new(poem::http::StatusCode::BAD_REQUEST, "endpoint_limit", message))
}

fn parse_url(app: &App, dialect: &Dialect, url: &str) -> Result<HttpUrl, FieldError> {
    let rules = Rules {
        allow_http: app.settings.allow_http_targets || !dialect.limits.https_only,
        max_chars: dialect.limits.max_url,
    };
    HttpUrl::parse(url, rules).map_err(|error| FieldError::new("url", error.to_string()))
}

async fn check_target(app: &App, url: &HttpUrl) -> Result<(), Failure> {
    app.guard.check(url).await.map(|_| ()).map_err(|refusal| Failure::field("url", refusal.registering()))
}

fn check_name(dialect: &Dialect, name: &str, names: Names) -> Option<FieldError> {
    let most = dialect.limits.max_name;
    if name.chars().count() > most {
        return Some(FieldError::new(names.name, format!("must be at most {most} characters")));
    }
    name.contains('\0').then(|| FieldError::new(names.name, "must not contain a NUL character"))
}

fn check_events(dialect: &Dialect, events: &[String], names: Names) -> Option<FieldError> {
    if events.is_empty() {
        return Some(FieldError::new(names.events, "must have at least one event type"));
    }
    let at = |n: usize| format!("{}[{n}]", names.events);
    for (n, event) in events.iter().enumerate() {
        if !dialect.catalogue.contains(&event.as_str()) {
            return Some(FieldError::new(at(n), unknown_type(dialect)));
        }
        if events[..n].contains(event) {
            return Some(FieldError::new(at(n), "is there twice"));
        }
    }
    None
}

fn unknown_type(dialect: &Dialect) -> String {
    format!("must be one of {}", dialect.catalogue.join(", "))
}

fn check_secret(dialect: &'static Dialect, secret: &str) -> Option<FieldError> {
    dialect::check_secret(dialect, secret).err().map(|error| FieldError::new("secret", error.to_string()))
}

/// What an endpoint subscribes to, spelled out where it is everything.
pub fn subscriptions(endpoint: &Endpoint) -> Vec<String> {
    match &endpoint.event_types {
        Some(types) => types.clone(),
        None => endpoint.row().catalogue.iter().map(|&name| name.to_owned()).collect(),
    }
}
