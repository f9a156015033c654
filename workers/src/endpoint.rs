//! Endpoints' health beside the attempts: the look when a dialect's patience ends, and the letters to owners.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    attempt::Attempt,
    chance::Chance,
    dialect::{Observation, Transition, health_step},
    endpoint::{self, Endpoint},
    mail::{
        Letter, NewMail,
        webhook::{Degraded, DeliveryFailed, Disabled, EndpointFacts, Recovered},
    },
    notification::{Kind, News},
    org,
    user::{self, EmailAddress},
};
use jobs::{endpoint::CheckEndpoint, mail::post, notification::notify, store::Tx};

use crate::{
    context::Context,
    delivery::record::{Record, on_transition},
    registry::{Outcome, Run},
};

/// Who writes to endpoints' owners, and what letters say besides their subject.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// Where this installation is reached.
    pub public_url: &'a str,
    /// How many days deliveries are kept, and held ones can be replayed.
    pub held_days: u32,
    /// The present.
    pub now: DateTime<Utc>,
    /// For ids.
    pub chance: &'a Chance,
}

/// Lets time take its step on an endpoint's health.
///
/// Safe twice: the endpoint is locked, and a step that was taken does not come again.
pub async fn check(context: Context, job: CheckEndpoint, _: Run) -> anyhow::Result<Outcome> {
    let now = context.clock.now();
    let mut tx = context.store.begin().await?;
    let Some(mut endpoint) = endpoint::lock_many(&mut tx, &[job.endpoint_id]).await?.pop() else {
        return Ok(Outcome::Cancel("the endpoint is gone".into()));
    };
    if !endpoint.enabled {
        // Its owner switched it off, and switching it on again starts its health anew.
        return Ok(Outcome::Done);
    }
    let (state, transition) = health_step(&endpoint.row().ladder, &endpoint.health_state(), Observation::Tick, now);
    endpoint.set_health(state);
    if let Some(transition) = transition {
        let settings = &context.settings;
        let (public_url, held_days) = (settings.public_url.as_str(), settings.retention_days);
        let writer = Writer { public_url, held_days, now, chance: &context.chance };
        on_transition(&mut tx, &mut endpoint, &transition, writer).await?;
        endpoint::store_health(&mut tx, &[&endpoint]).await?;
    }
    tx.commit().await?;
    Ok(Outcome::Done)
}

/// Tells the owner of a change of health, and notifies those who manage the organisation with them: once per change.
pub async fn tell_owner(
    tx: &mut Tx<'_>,
    endpoint: &Endpoint,
    transition: &Transition,
    writer: Writer<'_>,
) -> Result<(), sqlx::Error> {
    let (id, now) = (endpoint.public_id(), writer.now);
    let slot = format!("{id}/{}", now.to_rfc3339_opts(SecondsFormat::Micros, true));
    let told = write(tx, endpoint, &slot, writer, |facts| match transition {
        Transition::Degraded { disable_at } => Degraded {
            endpoint: facts,
            failures_in_row: u32::try_from(endpoint.failures_in_row).unwrap_or(0),
            failing_since: endpoint.first_failure_at.unwrap_or(now),
            last_error: &last_answer(endpoint.last_response_status),
            disabled_at: *disable_at,
        }
        .letter(),
        Transition::Recovered => Recovered { endpoint: facts, recovered_at: now }.letter(),
        Transition::Disabled { reason } => Disabled {
            endpoint: facts,
            reason: &reason.to_string(),
            disabled_at: now,
            how_to_enable: "Mend the receiver, then switch the endpoint on in the settings or through the API.",
            held_days: writer.held_days,
        }
        .letter(),
    })
    .await?;
    notify(tx, &[news(endpoint, transition, told)], now, writer.chance).await
}

fn news(endpoint: &Endpoint, transition: &Transition, told: Option<EmailAddress>) -> News {
    let id = endpoint.public_id();
    let name = if endpoint.name.trim().is_empty() { &id } else { &endpoint.name };
    let (kind, title, text) = match transition {
        Transition::Degraded { disable_at } => (
            Kind::WebhookDegraded,
            format!("The webhook endpoint {name} fails"),
            format!("If nothing succeeds until {}, it is switched off.", disable_at.format("%-d %B %Y, %H:%M UTC")),
        ),
        Transition::Disabled { reason } => (
            Kind::WebhookDisabled,
            format!("The webhook endpoint {name} was switched off"),
            format!("{reason} Deliveries are held and can be replayed."),
        ),
        Transition::Recovered => (
            Kind::WebhookRecovered,
            format!("The webhook endpoint {name} answers again"),
            "Nothing is left to do.".to_owned(),
        ),
    };
    let path = format!("/webhooks/endpoints/{id}");
    News { org_id: endpoint.org_id, kind, title, text, path, maker: endpoint.created_by, told }
}

/// Tells the owner of a delivery that was given up: one letter per endpoint and hour, however many there are.
pub async fn tell_failed(
    tx: &mut Tx<'_>,
    endpoint: &Endpoint,
    record: &Record,
    attempt: &Attempt,
    writer: Writer<'_>,
) -> Result<(), sqlx::Error> {
    let slot = format!("{}/{}", endpoint.public_id(), writer.now.format("%Y-%m-%dT%H"));
    let last_error = if attempt.error.is_empty() { last_answer(attempt.status) } else { attempt.error.clone() };
    write(tx, endpoint, &slot, writer, |facts| {
        DeliveryFailed {
            endpoint: facts,
            delivery_id: &attempt.delivery_id.to_string(),
            event_id: &endpoint.row().event_id(record.event_id),
            event_type: &record.event_type,
            attempts: u32::try_from(attempt.number).unwrap_or(0),
            last_error: &last_error,
            failed_at: writer.now,
        }
        .letter()
    })
    .await?;
    Ok(())
}

fn last_answer(status: Option<i32>) -> String {
    status.map_or_else(|| "no answer".to_owned(), |status| format!("HTTP {status}"))
}

/// Posts a letter to whoever made the endpoint (for Inkr: the owner of the API key), or to the organisation's owner, and
/// says to whom.
async fn write(
    tx: &mut Tx<'_>,
    endpoint: &Endpoint,
    slot: &str,
    writer: Writer<'_>,
    letter: impl FnOnce(EndpointFacts<'_>) -> Letter,
) -> Result<Option<EmailAddress>, sqlx::Error> {
    let Some(org) = org::find(tx, endpoint.org_id).await? else { return Ok(None) };
    let maker = match endpoint.created_by {
        Some(id) => user::find(tx, endpoint.org_id, id).await?.map(|user| user.email),
        None => None,
    };
    let recipient = match maker {
        Some(email) => Some(email),
        None => org::owner_email(tx, endpoint.org_id).await?,
    };
    let Some(recipient) = recipient else {
        tracing::warn!(org = %endpoint.org_id, "nobody to write to: the organisation has no owner");
        return Ok(None);
    };
    let id = endpoint.public_id();
    let log_url = format!("{}/api/webhooks/endpoints/{id}/deliveries", writer.public_url);
    let facts =
        EndpointFacts { id: &id, name: &endpoint.name, url: &endpoint.url, org_name: &org.name, log_url: &log_url };
    let mail = NewMail::new(endpoint.org_id, letter(facts), slot, recipient);
    post(tx, &mail, writer.now, writer.chance).await?;
    Ok(Some(mail.recipient))
}
