//! What all five management surfaces do with webhook endpoints: the rules are the dialect's row, the words are theirs.

mod rule;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    api_key::Scope,
    caller::Caller,
    delivery,
    dialect::{self, Dialect, DialectName, Health, Shown},
    downgrade,
    endpoint::{self, Endpoint, NewEndpoint, secret_context},
    event::NewEvent,
    id::{DeliveryId, EndpointId, EventId},
    json::JsonText,
    plan::Quota,
};
use jobs::{event::publish_test, store::Tx};
use poem_openapi::types::ToJSON;
use sqlx::PgConnection;

use crate::{
    app::App,
    failure::Failure,
    idempotency::{Begun, Created, Once},
    text::Text,
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
    /// Switched on? Switching on an endpoint that its health had switched off starts its health anew.
    pub enabled: Option<bool>,
    /// The caller's own new secret.
    pub secret: Option<String>,
    /// Whether its health starts anew in any case.
    pub forgive: bool,
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

/// The endpoint that a surface knows by `id`: its own dialect's, or any where `dialect` is `None`.
pub async fn find(app: &App, caller: &Caller, dialect: Option<DialectName>, id: &str) -> Result<Endpoint, Failure> {
    let key = endpoint::read_id(id).map_err(|_| no_endpoint())?;
    let mut conn = app.store.pool().acquire().await?;
    let found = endpoint::find(&mut conn, caller.org_id, key, dialect).await?;
    // One endpoint, one spelling: the ids of two dialects differ in their prefix only.
    found.filter(|endpoint| endpoint.public_id() == id).ok_or_else(no_endpoint)
}

/// The endpoint after which a page begins. `wrong` is the failure where `id` is none that the caller's organisation has or
/// had; a deleted one will do, so that a page can go on after what went meanwhile.
pub async fn position(
    conn: &mut PgConnection,
    caller: &Caller,
    dialect: Option<DialectName>,
    id: Option<&str>,
    wrong: impl Fn() -> Failure,
) -> Result<Option<EndpointId>, Failure> {
    let Some(id) = id else { return Ok(None) };
    let key = endpoint::read_id(id).map_err(|_| wrong())?;
    let found = endpoint::dialect_of(conn, caller.org_id, key).await?.ok_or_else(&wrong)?;
    let fits = dialect.is_none_or(|dialect| dialect == found) && Dialect::by_name(found).endpoint_id(key) == id;
    if fits { Ok(Some(key)) } else { Err(wrong()) }
}

/// Registers an endpoint of `dialect`, or gives the answer that the same request got before. All fields are checked
/// against the dialect's rules at once, then the target against the address guard, and only then a transaction begins.
pub async fn register<T: ToJSON>(
    app: &App,
    caller: &Caller,
    dialect: DialectName,
    draft: Draft,
    names: Names,
    once: Once<'_>,
    answer: impl FnOnce(Endpoint, Option<String>) -> T,
) -> Result<Created<T>, Failure> {
    authorise_change(caller)?;
    // Before the checks: what they say may have changed since the first request, and its answer may not.
    if let Some(before) = once.answered(app, caller).await? {
        return Ok(before);
    }
    let dialect = Dialect::by_name(dialect);
    let secret = check(app, caller, dialect, &draft, names).await?;
    let mut creation = match once.begin(app, caller).await? {
        Begun::Before(before) => return Ok(before),
        Begun::Fresh(creation) => creation,
    };
    let endpoint = create(app, caller, dialect, &draft, &secret, &mut creation.tx).await?;
    let shown = (dialect.secret.shown == Shown::Once).then_some(secret);
    creation.finish(&answer(endpoint, shown)).await
}

/// Checks a draft; returns the endpoint's secret.
async fn check(
    app: &App,
    caller: &Caller,
    dialect: &'static Dialect,
    draft: &Draft,
    names: Names,
) -> Result<String, Failure> {
    rule::plan(caller, dialect)?;
    let mut wrong = vec![];
    let url = rule::url(app, dialect, &draft.url).map_err(|e| wrong.push(e)).ok();
    wrong.extend(rule::name(dialect, &draft.name, names));
    wrong.extend(draft.events.as_deref().and_then(|events| rule::events(dialect, events, names)));
    let secret = rule::first_secret(app, dialect, draft.secret.as_deref()).map_err(|e| wrong.push(e)).ok();
    let (true, Some(url), Some(secret)) = (wrong.is_empty(), url, secret) else {
        return Err(Failure::invalid(wrong));
    };
    rule::target(app, &url).await?;
    Ok(secret)
}

async fn create(
    app: &App,
    caller: &Caller,
    dialect: &Dialect,
    draft: &Draft,
    secret: &str,
    tx: &mut Tx<'_>,
) -> Result<Endpoint, Failure> {
    if draft.enabled {
        rule::room(caller, dialect, tx).await?;
    }
    rule::included(caller, tx).await?;
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
    endpoint::find(tx, caller.org_id, id, None).await?.ok_or_else(no_endpoint)
}

/// Checks and stores a change of `endpoint`.
pub async fn update(
    app: &App,
    caller: &Caller,
    endpoint: Endpoint,
    patch: Patch,
    names: Names,
) -> Result<Endpoint, Failure> {
    authorise_change(caller)?;
    let dialect = endpoint.row();
    let mut wrong = vec![];
    let url = patch.url.as_deref().and_then(|url| rule::url(app, dialect, url).map_err(|e| wrong.push(e)).ok());
    wrong.extend(patch.name.as_deref().and_then(|name| rule::name(dialect, name, names)));
    wrong.extend(patch.events.as_deref().and_then(|events| rule::events(dialect, events, names)));
    wrong.extend(patch.secret.as_deref().and_then(|secret| rule::new_secret(dialect, secret).err()));
    if !wrong.is_empty() {
        return Err(Failure::invalid(wrong));
    }
    if let Some(url) = &url {
        rule::target(app, url).await?;
    }
    let mut tx = app.store.begin().await?;
    let now = app.clock.now();
    // Read anew under a lock: a worker may have recorded its health, or a second change may have come, since `find`.
    let endpoint = endpoint::lock(&mut tx, caller.org_id, endpoint.id).await?.ok_or_else(no_endpoint)?;
    let was_on = endpoint.takes_deliveries();
    let secret = patch.secret.clone();
    let mut endpoint = changed(endpoint, patch, now);
    // What is beyond the plan can be switched off.
    if endpoint.takes_deliveries()
        && let Some(edge) = downgrade::edge(&mut tx, caller.org_id, Quota::Endpoints).await?
    {
        edge.check(endpoint.id.0)?;
    }
    if !was_on && endpoint.takes_deliveries() {
        rule::plan(caller, dialect)?;
        rule::room(caller, dialect, &mut tx).await?;
    }
    endpoint::update(&mut tx, &endpoint, now).await?;
    if let Some(secret) = secret {
        let sealed = app.sealing.seal(secret.as_bytes(), &secret_context(endpoint.id), &app.chance);
        endpoint::rotate_secret(&mut tx, caller.org_id, endpoint.id, &sealed, None, now).await?;
    }
    tx.commit().await?;
    endpoint.updated_at = now;
    Ok(endpoint)
}

fn changed(mut endpoint: Endpoint, patch: Patch, now: DateTime<Utc>) -> Endpoint {
    let was_on = endpoint.takes_deliveries();
    endpoint.url = patch.url.unwrap_or(endpoint.url);
    endpoint.name = patch.name.unwrap_or(endpoint.name);
    endpoint.event_types = patch.events.or(endpoint.event_types);
    endpoint.enabled = patch.enabled.unwrap_or(endpoint.enabled);
    // Failures from before it was switched off, by its owner or by its health, say nothing of it now.
    let switched_on = !was_on && patch.enabled == Some(true);
    let has_failed = endpoint.health != Health::Active || endpoint.failures_in_row > 0;
    if (switched_on || patch.forgive) && has_failed {
        endpoint.set_health(endpoint.health_state().reactivate(now));
        endpoint.health_reason = None;
    }
    endpoint
}

/// Starts an endpoint's health anew and switches it on.
pub async fn reactivate(app: &App, caller: &Caller, endpoint: Endpoint, names: Names) -> Result<Endpoint, Failure> {
    let patch = Patch { enabled: Some(true), forgive: true, ..Patch::default() };
    update(app, caller, endpoint, patch, names).await
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
    check_type(dialect, &event_type, field)?;
    let sample = dialect.sample(&event_type).ok_or_else(|| Failure::internal("an event type without sample data"))?;
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

/// Checks one event type, given as `field`.
pub fn check_type(dialect: &Dialect, event_type: &str, field: &str) -> Result<(), Failure> {
    if dialect.catalogue.contains(&event_type) {
        return Ok(());
    }
    Err(Failure::field(field, rule::known_types(dialect)))
}

/// Checks event types as those of a subscription.
pub fn check_types(dialect: &Dialect, event_types: &[String], names: Names) -> Result<(), Failure> {
    rule::events(dialect, event_types, names).map_or(Ok(()), |error| Err(Failure::invalid(vec![error])))
}

/// What an endpoint subscribes to, spelled out where it is everything.
pub fn subscriptions<F>(endpoint: &Endpoint) -> Vec<Text<F>> {
    match &endpoint.event_types {
        Some(types) => types.iter().map(|name| name.as_str().into()).collect(),
        None => endpoint.row().catalogue.iter().map(|&name| name.into()).collect(),
    }
}
