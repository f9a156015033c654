//! The sweep that switches off what has expired. Visitors see the end at its second, by the route; what follows from it,
//! the owner's switch and the webhook events, comes here, in portions that each commit on their own.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    chance::Chance,
    event::NewEvent,
    id::EventId,
    json::{JsonText, Part},
    link::{self, Link},
    route,
};
use jobs::{event::publish, expiry::ExpireCodes, store::Tx};

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// The most links of one transaction.
const PORTION: i64 = 200;
/// The most transactions of one run; what is left has another run at once.
const PORTIONS: usize = 50;

/// Switches off every link whose time is over, tells the processes that redirect, and publishes the events.
///
/// Safe twice: what is switched off is not found again, and a link's switch and its event commit together.
pub async fn expire(context: Context, _: ExpireCodes, _: Run) -> anyhow::Result<Outcome> {
    for _ in 0..PORTIONS {
        let mut tx = context.store.begin().await?;
        let links = expire_links(&mut tx, context.clock.now(), &context.chance).await?;
        tx.commit().await?;
        if links < PORTION as usize {
            return Ok(Outcome::Done);
        }
    }
    Ok(Outcome::Snooze(context.clock.now()))
}

/// Ends one portion of links; returns how many there were.
async fn expire_links(tx: &mut Tx<'_>, now: DateTime<Utc>, chance: &Chance) -> Result<usize, sqlx::Error> {
    let links = link::lock_expired(tx, now, PORTION).await?;
    if links.is_empty() {
        return Ok(0);
    }
    link::deactivate(tx, &links, now).await?;
    let codes: Vec<(&str, &str)> = links.iter().map(|link| (link.domain.as_str(), link.slug.as_str())).collect();
    route::tell_all_changed(tx, &codes).await?;
    let events: Vec<NewEvent> = links.iter().map(|link| expired(link, now, chance)).collect();
    publish(tx, &events, None, now, chance).await?;
    Ok(links.len())
}

fn expired(link: &Link, now: DateTime<Utc>, chance: &Chance) -> NewEvent {
    let id = link.id.to_string();
    let at = link.expires_at.unwrap_or(now).to_rfc3339_opts(SecondsFormat::Millis, true);
    NewEvent {
        id: EventId::new(now, chance),
        org_id: link.org_id,
        event_type: "link.expired".into(),
        data: JsonText::object(&[
            ("id", Part::Text(&id)),
            ("slug", Part::Text(&link.slug)),
            ("destination", Part::Text(&link.destination)),
            ("expiresAt", Part::Text(&at)),
        ]),
        client_id: None,
        created_at: now,
    }
}
