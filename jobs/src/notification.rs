//! Notifications: stored in the transaction of what happened, and told by mail by a sweep.

use chrono::{DateTime, Utc};
use domain::{
    chance::Chance,
    notification::{self, Many, News, Single},
};
use serde::{Deserialize, Serialize};

use crate::{
    job::{Job, Queue},
    store::Tx,
};

/// Writes to members who are due to be told what happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeliverNotifications {}

impl Job for DeliverNotifications {
    const KIND: &'static str = "notifications.deliver";
    const QUEUE: Queue = Queue::System;
}

/// Notifies the members whom news concern, in the transaction of what happened. The sweep finds whom a mail is to tell: no
/// job is needed here.
pub async fn notify(tx: &mut Tx<'_>, news: &[News], now: DateTime<Utc>, chance: &Chance) -> Result<(), sqlx::Error> {
    notification::insert(tx, news, now, chance).await.map(|_| ())
}

/// Notifies of what happened to one thing; with others to which the same happened for the same cause, it is one
/// notification, which reads as `many` says.
pub async fn notify_gathered(
    tx: &mut Tx<'_>,
    single: &Single<'_>,
    many: impl FnOnce(&Many) -> News,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<(), sqlx::Error> {
    notification::gather(tx, single, many, now, chance).await
}
