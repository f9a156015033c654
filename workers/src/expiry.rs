//! The sweep that switches off what has expired. Visitors see the end at its second, by the route; what follows from it,
//! the owner's switch and the webhook events, comes here, in portions that each commit on their own.

use chrono::{DateTime, Utc};
use domain::{
    change::{Change, Happened, LinkChange},
    link::{self, Link},
    route,
};
use jobs::{change, expiry::ExpireCodes, store::Tx};

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
        let links = expire_links(&context, &mut tx, context.clock.now()).await?;
        tx.commit().await?;
        if links < PORTION as usize {
            return Ok(Outcome::Done);
        }
    }
    Ok(Outcome::Snooze(context.clock.now()))
}

/// Ends one portion of links; returns how many there were.
async fn expire_links(context: &Context, tx: &mut Tx<'_>, now: DateTime<Utc>) -> Result<usize, sqlx::Error> {
    let links = link::lock_expired(tx, now, PORTION).await?;
    if links.is_empty() {
        return Ok(0);
    }
    link::deactivate(tx, &links, now).await?;
    let codes: Vec<(&str, &str)> = links.iter().map(|link| (link.domain.as_str(), link.slug.as_str())).collect();
    route::tell_all_changed(tx, &codes).await?;
    let ended = links.iter().map(|link| Link { active: false, updated_at: now, ..link.clone() });
    let happened: Vec<Happened<LinkChange>> = ended
        .map(|link| {
            let base = context.settings.short_url.clone();
            let org_id = link.org_id;
            Happened { org_id, change: Change::Expired, at: now, subject: LinkChange { before: None, link, base } }
        })
        .collect();
    change::publish(tx, &happened, None, now, &context.chance).await?;
    Ok(links.len())
}
