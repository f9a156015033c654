//! Notifications: what happened in an organisation, told to those of its members whom it concerns, in the workspace and
//! by mail.
//!
//! A notification is stored with a row for each of its readers. That row says whether they have read it, and when a mail
//! is to tell it; how they want to be told is [`Preferences`]. What is told at once by a mail of its own (an alert, an
//! endpoint that fails) is not told to the same person by another.

mod due;
mod gathered;
mod preference;
mod subscription;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::PgConnection;

pub use self::{
    due::{Due, LISTED, Untold, lock_due, put_off, take_untold},
    gathered::{GATHERS, Many, Single, gather},
    preference::{MORNING, Mode, Preferences, QuietHours, find_preferences, put_preferences},
    subscription::{Letters, Subscription, unsubscribe},
};
use crate::{
    chance::Chance,
    id::{NotificationId, OrgId, UserId, floor_uuid},
    member::Role,
    user::EmailAddress,
};

/// For how many days notifications are kept.
pub const KEPT_DAYS: i64 = 90;
/// The longest title, in characters.
const TITLE_MAX: usize = 200;
/// The longest text, in characters.
const TEXT_MAX: usize = 1000;

/// Whom a kind of notification concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every member.
    Everyone,
    /// Owners and admins: what a plain member could do nothing about.
    Managers,
    /// Whoever asked for it; owners and admins where they are not known.
    Maker,
}

/// What a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What an alert watches for has come to be.
    AlertRaised,
    /// Links or QR codes have expired.
    CodeExpired,
    /// An import has ended.
    ImportFinished,
    /// A link's destination does not answer.
    LinkFailing,
    /// It answers again.
    LinkRecovered,
    /// More is in use than the plan includes.
    PlanExceeded,
    /// Nearly as much is in use as the plan includes.
    PlanLimitNear,
    /// What is beyond the plan cannot be changed any more.
    PlanLocked,
    /// A share of a month's quota is used up.
    QuotaReached,
    /// A webhook endpoint fails.
    WebhookDegraded,
    /// It was switched off.
    WebhookDisabled,
    /// It answers again.
    WebhookRecovered,
}

/// What is said of a kind.
#[derive(Debug)]
pub struct Row {
    /// Which.
    pub kind: Kind,
    /// Its name in rows and answers.
    pub name: &'static str,
    /// Whom it concerns.
    pub audience: Audience,
    /// Whether a mail tells it; not where each of those whom it concerns has a mail of its own about it.
    pub by_mail: bool,
}

const fn row(kind: Kind, name: &'static str, audience: Audience, by_mail: bool) -> Row {
    Row { kind, name, audience, by_mail }
}

/// Every kind. What is to be done about a plan that is too small has letters of its own, and of a month's scans the audit of
/// plans tells by mail.
pub const KINDS: [Row; 12] = [
    row(Kind::AlertRaised, "alert.raised", Audience::Everyone, true),
    row(Kind::CodeExpired, "code.expired", Audience::Everyone, true),
    row(Kind::ImportFinished, "import.finished", Audience::Maker, true),
    row(Kind::LinkFailing, "link.health_failing", Audience::Everyone, true),
    row(Kind::LinkRecovered, "link.health_recovered", Audience::Everyone, true),
    row(Kind::PlanExceeded, "plan.exceeded", Audience::Managers, false),
    row(Kind::PlanLimitNear, "plan.limit_near", Audience::Managers, true),
    row(Kind::PlanLocked, "plan.locked", Audience::Managers, false),
    row(Kind::QuotaReached, "quota.reached", Audience::Managers, false),
    row(Kind::WebhookDegraded, "webhook.degraded", Audience::Managers, true),
    row(Kind::WebhookDisabled, "webhook.disabled", Audience::Managers, true),
    row(Kind::WebhookRecovered, "webhook.recovered", Audience::Managers, true),
];

impl Kind {
    /// Its row.
    pub fn row(self) -> &'static Row {
        KINDS.iter().find(|row| row.kind == self).expect("every kind has a row")
    }
}

/// Something that happened, to be told.
#[derive(Debug, Clone)]
pub struct News {
    /// In which organisation.
    pub org_id: OrgId,
    /// What it is about.
    pub kind: Kind,
    /// One line; cut to 200 characters.
    pub title: String,
    /// A sentence or some; cut to 1000 characters.
    pub text: String,
    /// Where the workspace shows more, such as `/links/link_…`.
    pub path: String,
    /// Who asked for it.
    pub maker: Option<UserId>,
    /// Who is told by a mail of its own, and by no other.
    pub told: Option<EmailAddress>,
}

/// A member who may be told.
#[derive(Debug)]
struct Reader {
    org_id: OrgId,
    user_id: UserId,
    role: Role,
    email: EmailAddress,
    zone: Tz,
    preferences: Preferences,
}

impl Reader {
    fn is_concerned(&self, news: &News, maker_is_here: bool) -> bool {
        self.org_id == news.org_id
            && match news.kind.row().audience {
                Audience::Everyone => true,
                Audience::Maker if maker_is_here => news.maker == Some(self.user_id),
                Audience::Managers | Audience::Maker => self.role.may_manage(),
            }
    }

    /// When a mail is to tell them.
    fn due_at(&self, news: &News, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let told = news.told.as_ref().is_some_and(|told| told.as_str().eq_ignore_ascii_case(self.email.as_str()));
        if told || !news.kind.row().by_mail { None } else { self.preferences.due(self.zone, now) }
    }
}

/// Stores news and whom each concerns, in three statements however many there are; returns their ids.
pub async fn insert(
    conn: &mut PgConnection,
    news: &[News],
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<Vec<NotificationId>, sqlx::Error> {
    if news.is_empty() {
        return Ok(vec![]);
    }
    let ids: Vec<NotificationId> = news.iter().map(|_| NotificationId::new(now, chance)).collect();
    sqlx::query!(
        "insert into notifications (id, org_id, kind, title, body, path, created_at)
         select n.*, $7 from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[]) n",
        &ids.iter().map(|id| id.0).collect::<Vec<_>>(),
        &news.iter().map(|it| it.org_id.0).collect::<Vec<_>>(),
        &news.iter().map(|it| it.kind.row().name).collect::<Vec<_>>() as &[&str],
        &news.iter().map(|it| cut(&it.title, TITLE_MAX)).collect::<Vec<_>>(),
        &news.iter().map(|it| cut(&it.text, TEXT_MAX)).collect::<Vec<_>>(),
        &news.iter().map(|it| it.path.clone()).collect::<Vec<_>>(),
        now,
    )
    .execute(&mut *conn)
    .await?;
    let readers = readers(conn, news).await?;
    let rows = concerned(&readers, news);
    let due_at = rows.iter().map(|(reader, n)| reader.due_at(&news[*n], now));
    sqlx::query!(
        "insert into notification_recipients (org_id, user_id, notification_id, due_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[])",
        &rows.iter().map(|(reader, _)| reader.org_id.0).collect::<Vec<_>>(),
        &rows.iter().map(|(reader, _)| reader.user_id.0).collect::<Vec<_>>(),
        &rows.iter().map(|(_, n)| ids[*n].0).collect::<Vec<_>>(),
        &due_at.collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
    )
    .execute(conn)
    .await?;
    Ok(ids)
}

/// Whom each of some news concerns, with its place among them.
fn concerned<'a>(readers: &'a [Reader], news: &[News]) -> Vec<(&'a Reader, usize)> {
    let of_one = |(n, news): (usize, &News)| {
        let maker = readers.iter().any(|it| it.org_id == news.org_id && Some(it.user_id) == news.maker);
        readers.iter().filter(|reader| reader.is_concerned(news, maker)).map(|reader| (reader, n)).collect::<Vec<_>>()
    };
    news.iter().enumerate().flat_map(of_one).collect()
}

/// The members of the organisations that news are of, held against leaving until the transaction ends.
async fn readers(conn: &mut PgConnection, news: &[News]) -> Result<Vec<Reader>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select m.org_id as "org_id: OrgId", m.user_id as "user_id: UserId", m.role as "role: Role",
                  u.email as "email: EmailAddress", u.time_zone, p.mode as "mode?: Mode", p.quiet_from as "quiet_from?",
                  p.quiet_to as "quiet_to?", p.weekly_digest as "weekly_digest?"
           from members m join users u on u.id = m.user_id
           left join notification_preferences p on p.org_id = m.org_id and p.user_id = m.user_id
           where m.org_id = any($1) for key share of m"#,
        &news.iter().map(|it| it.org_id.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    let readers = rows.into_iter().map(|row| Reader {
        org_id: row.org_id,
        user_id: row.user_id,
        role: row.role,
        email: row.email,
        zone: row.time_zone.parse().unwrap_or(Tz::UTC),
        preferences: Preferences::of_row(row.mode, row.quiet_from, row.quiet_to, row.weekly_digest),
    });
    Ok(readers.collect())
}

/// One line of at most `max` characters that Postgres keeps.
fn cut(text: &str, max: usize) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() <= max { text } else { text.chars().take(max - 1).chain(['…']).collect() }
}

/// A notification as one of its readers sees it.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Its id.
    pub id: NotificationId,
    /// A name of [`KINDS`].
    pub kind: String,
    /// One line.
    pub title: String,
    /// A sentence or some.
    pub text: String,
    /// Where the workspace shows more.
    pub path: String,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// When they read it.
    pub read_at: Option<DateTime<Utc>>,
}

/// A member's notifications, newest first, from before `before`.
pub async fn list(
    conn: &mut PgConnection,
    org_id: OrgId,
    user_id: UserId,
    unread: bool,
    before: Option<NotificationId>,
    limit: i64,
) -> Result<Vec<Notification>, sqlx::Error> {
    sqlx::query_as!(
        Notification,
        r#"select n.id as "id: NotificationId", n.kind, n.title, n.body as text, n.path, n.created_at, r.read_at
           from notification_recipients r join notifications n on n.id = r.notification_id
           where r.org_id = $1 and r.user_id = $2 and r.notification_id < $3 and (not $4 or r.read_at is null)
           order by r.notification_id desc limit $5"#,
        org_id.0,
        user_id.0,
        before.map_or(uuid::Uuid::max(), |id| id.0),
        unread,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// How many notifications a member has not read.
pub async fn count_unread(conn: &mut PgConnection, org_id: OrgId, user_id: UserId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from notification_recipients
           where org_id = $1 and user_id = $2 and read_at is null"#,
        org_id.0,
        user_id.0,
    )
    .fetch_one(conn)
    .await
}

/// Which notifications were read.
#[derive(Debug, Clone)]
pub enum Seen {
    /// These.
    Ids(Vec<NotificationId>),
    /// All up to this one, itself included.
    UpTo(NotificationId),
}

/// Notes that a member has read notifications of theirs; no mail tells them any more.
pub async fn mark_read(
    conn: &mut PgConnection,
    org_id: OrgId,
    user_id: UserId,
    seen: &Seen,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    // One after the other: of two who change many rows, each would wait for the other.
    hold_member(conn, org_id, user_id).await?;
    let (ids, up_to) = match seen {
        Seen::Ids(ids) => (ids.iter().map(|id| id.0).collect(), None),
        Seen::UpTo(id) => (vec![], Some(id.0)),
    };
    sqlx::query!(
        "update notification_recipients set read_at = $3, due_at = null
         where org_id = $1 and user_id = $2 and read_at is null and (notification_id = any($4) or notification_id <= $5)",
        org_id.0,
        user_id.0,
        now,
        &ids,
        up_to,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Holds a member, and with them what they were told and how they want to be, until the transaction ends.
async fn hold_member(conn: &mut PgConnection, org_id: OrgId, user_id: UserId) -> Result<(), sqlx::Error> {
    sqlx::query!("select from members where org_id = $1 and user_id = $2 for no key update", org_id.0, user_id.0)
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// Holds all of a person's memberships until the transaction ends, in an order that everybody keeps to.
async fn hold_memberships(conn: &mut PgConnection, user_id: UserId) -> Result<(), sqlx::Error> {
    sqlx::query!("select from members where user_id = $1 order by org_id for no key update", user_id.0)
        .fetch_all(conn)
        .await?;
    Ok(())
}

/// Forgets the notifications from before `before`.
pub async fn forget(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("delete from notifications where id < $1", floor_uuid(before)).execute(conn).await?;
    Ok(done.rows_affected())
}
