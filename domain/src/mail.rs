//! Mails: a row first, then the job that sends it, then its outcome.
//!
//! The row makes a mail unique: one organisation, kind, slot (the occasion) and recipient have one mail, however often
//! the occasion is noticed. What carries it is `workers::mail`; what it says is [`webhook`] and its like to come.

pub mod alert;
pub mod billing;
pub mod digest;
mod letter;
pub mod notification;
pub mod plan;
pub mod sample;
pub mod webhook;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

pub use letter::{Letter, escape};

use crate::{
    chance::Chance,
    id::{MailId, OrgId, floor_uuid},
    user::EmailAddress,
};

/// Where a mail stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type, serde::Serialize, serde::Deserialize)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not handed over yet.
    Waiting,
    /// Handed over to the transport.
    Sent,
    /// Refused for good.
    Failed,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Sent, Self::Failed];

    /// The name in rows and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }

    /// The state of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A mail.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Its id: the idempotency key and the local part of the Message-ID wherever it is sent.
    pub id: MailId,
    /// On whose behalf.
    pub org_id: OrgId,
    /// What it is about, such as `webhook.degraded`.
    pub kind: String,
    /// Which occasion of that kind.
    pub slot: String,
    /// To whom.
    pub recipient: String,
    /// One line.
    pub subject: String,
    /// The plain part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// Where one click, by a program, ends mails of this kind.
    pub unsubscribe: Option<String>,
    /// The picture that the HTML part shows as `cid:image`, a PNG.
    pub image: Option<Vec<u8>>,
    /// Where it stands.
    pub state: State,
    /// What carried it: `smtp`, `resend` or `mailbox`.
    pub transport: Option<String>,
    /// Why it was refused.
    pub error: Option<String>,
    /// When it was stored; its `Date`.
    pub created_at: DateTime<Utc>,
    /// When it was handed over.
    pub sent_at: Option<DateTime<Utc>>,
}

/// A mail that is about to be stored.
#[derive(Debug, Clone)]
pub struct NewMail {
    /// On whose behalf.
    pub org_id: OrgId,
    /// What it is about.
    pub kind: String,
    /// Which occasion of that kind: an id, with a time where the same thing can happen again.
    pub slot: String,
    /// To whom.
    pub recipient: EmailAddress,
    /// One line.
    pub subject: String,
    /// The plain part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// Where one click, by a program, ends mails of this kind.
    pub unsubscribe: Option<String>,
    /// The picture that the HTML part shows as `cid:image`, a PNG.
    pub image: Option<Vec<u8>>,
}

impl NewMail {
    /// `letter` to `recipient`, once for `slot`.
    pub fn new(org_id: OrgId, letter: Letter, slot: impl Into<String>, recipient: EmailAddress) -> Self {
        let Letter { kind, subject, text, html, unsubscribe, image } = letter;
        Self { org_id, kind: kind.into(), slot: slot.into(), recipient, subject, text, html, unsubscribe, image }
    }
}

/// Stores a mail; `None` when the occasion has one for this recipient already.
pub async fn insert(
    conn: &mut PgConnection,
    new: &NewMail,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<Option<MailId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"insert into mails (id, org_id, kind, slot, recipient, subject, text_body, html_body, unsubscribe, image, created_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
           on conflict (org_id, kind, slot, recipient) do nothing
           returning id as "id: MailId""#,
        MailId::new(now, chance).0,
        new.org_id.0,
        new.kind,
        new.slot,
        new.recipient.as_str(),
        new.subject,
        new.text,
        new.html,
        new.unsubscribe,
        new.image.as_deref(),
        now,
    )
    .fetch_optional(conn)
    .await
}

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Mail,
            r#"select id as "id: MailId", org_id as "org_id: OrgId", kind, slot, recipient, subject, text_body as text,
                      html_body as html, unsubscribe, image, state as "state: State", transport, error, created_at, sent_at
               from mails "# + $tail,
            $($arg),*
        )
    };
}

/// A mail, for the worker that sends it.
pub async fn find(conn: &mut PgConnection, id: MailId) -> Result<Option<Mail>, sqlx::Error> {
    select!("where id = $1", id.0).fetch_optional(conn).await
}

/// Records that `transport` took the mail; `false` when it was recorded before.
pub async fn mark_sent(
    conn: &mut PgConnection,
    id: MailId,
    transport: &str,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update mails set state = 'sent', transport = $2, error = null, sent_at = $3 where id = $1 and state <> 'sent'",
        id.0,
        transport,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records that the mail was refused for good, and why; `false` when it has been sent.
pub async fn mark_failed(
    conn: &mut PgConnection,
    id: MailId,
    transport: &str,
    error: &str,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update mails set state = 'failed', transport = $2, error = $3 where id = $1 and state <> 'sent'",
        id.0,
        transport,
        error,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes mails from before `before` that were sent or refused. What still waits stays.
pub async fn forget(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("delete from mails where id < $1 and state in ('sent', 'failed')", floor_uuid(before))
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// Which mails are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this organisation's.
    pub org_id: Option<OrgId>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only from before this mail (the cursor; newest come first).
    pub before: Option<MailId>,
}

/// Mails for operators, newest first.
pub async fn list(conn: &mut PgConnection, filter: &Filter, limit: i64) -> Result<Vec<Mail>, sqlx::Error> {
    select!(
        "where id < $1 and ($2::uuid is null or org_id = $2) and ($3::text is null or state = $3)
         order by id desc limit $4",
        filter.before.map_or(Uuid::max(), |id| id.0),
        filter.org_id.map(|org_id| org_id.0),
        filter.state.map(State::name),
        limit,
    )
    .fetch_all(conn)
    .await
}
