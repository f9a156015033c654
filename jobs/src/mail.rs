//! Jobs about mail: the row is stored first, in the transaction of what it tells about.

use chrono::{DateTime, Utc};
use domain::{
    chance::Chance,
    id::MailId,
    mail::{self, NewMail},
};
use serde::{Deserialize, Serialize};

use crate::{
    job::{Job, NewJob, Queue},
    queue,
    store::Tx,
};

/// Sends a stored mail.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SendMail {
    /// Which mail.
    pub mail_id: MailId,
}

impl Job for SendMail {
    const KIND: &'static str = "mail.send";
    const QUEUE: Queue = Queue::Mail;
    // About a day at the queue's backoff: mail servers are away for hours.
    const MAX_ATTEMPTS: i16 = 150;
}

/// Stores a mail and the job that sends it; `false` when the same occasion has its mail already.
pub async fn post(tx: &mut Tx<'_>, new: &NewMail, now: DateTime<Utc>, chance: &Chance) -> Result<bool, sqlx::Error> {
    let Some(mail_id) = mail::insert(tx, new, now, chance).await? else { return Ok(false) };
    queue::enqueue(tx, NewJob::new(new.org_id, &SendMail { mail_id }, now, chance)).await?;
    Ok(true)
}
