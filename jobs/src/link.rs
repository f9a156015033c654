//! What happened to links is told to the webhooks that listen, in the transaction in which it happened.

use chrono::{DateTime, Utc};
use domain::{
    chance::Chance,
    change::{Happened, LinkChange},
    link::batch::Done,
};

use crate::{change, store::Tx};

/// Publishes changes of links; `base` is where the installation's own codes are reached, and `request_id` goes with the
/// jobs.
pub async fn publish(
    tx: &mut Tx<'_>,
    done: &[&Done],
    base: &str,
    request_id: Option<&str>,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<usize, sqlx::Error> {
    let happened: Vec<Happened<LinkChange>> = done
        .iter()
        .map(|done| Happened {
            org_id: done.link.org_id,
            change: done.change,
            at: now,
            subject: LinkChange { before: done.before.clone(), link: done.link.clone(), base: base.to_owned() },
        })
        .collect();
    change::publish(tx, &happened, request_id, now, chance).await
}
