//! What happens to many things for one cause, such as to all links that lead to a host that is gone: one notification, which
//! grows with each of them.
//!
//! Who has read it finds it unread again when it has grown. Who was told it by mail is told again, but not with each thing:
//! after some hours, of all that joined meanwhile.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{News, TEXT_MAX, TITLE_MAX, concerned, cut, insert, readers};
use crate::{
    chance::Chance,
    id::{NotificationId, OrgId},
};

/// How long after the last of them another one joins, and how long after it joined a mail tells what an earlier one did not.
pub const GATHERS: TimeDelta = TimeDelta::hours(6);
/// How many things are named.
const NAMED: i64 = 3;

/// One of the things, and what happened to it.
#[derive(Debug, Clone)]
pub struct Single<'a> {
    /// What the things have in common.
    pub about: &'a str,
    /// Which.
    pub thing: Uuid,
    /// What it is called.
    pub name: &'a str,
    /// How it reads alone.
    pub news: News,
}

/// The things of a notification that has more than one.
#[derive(Debug, Clone)]
pub struct Many {
    /// How many there are.
    pub things: i32,
    /// The first of them, as they are called.
    pub named: Vec<String>,
}

impl Many {
    /// The first by their names, and how many others there are.
    pub fn names(&self) -> String {
        let named = self.named.join(", ");
        match self.things - self.named.len() as i32 {
            ..=0 => named,
            others => format!("{named} and {others} more"),
        }
    }
}

/// Stores what happened to one thing: beside others that have as much in common, told by `many`, or alone. What happens to
/// the same thing again begins anew.
pub async fn gather(
    conn: &mut PgConnection,
    single: &Single<'_>,
    many: impl FnOnce(&Many) -> News,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<(), sqlx::Error> {
    let Single { about, news, .. } = single;
    let open = sqlx::query!(
        r#"select id as "id: NotificationId", things from notifications
           where org_id = $1 and kind = $2 and about = $3 and last_at > $4
           order by id desc limit 1 for no key update"#,
        news.org_id.0,
        news.kind.row().name,
        about,
        now - GATHERS,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(open) = open
        && join(conn, open.id, single, open.things + 1).await?
    {
        let many = many(&Many { things: open.things + 1, named: named(conn, open.id).await? });
        return grow(conn, open.id, open.things + 1, &many, now).await;
    }
    for id in insert(conn, std::slice::from_ref(news), now, chance).await? {
        sqlx::query!("update notifications set about = $2, last_at = $3 where id = $1", id.0, about, now)
            .execute(&mut *conn)
            .await?;
        join(conn, id, single, 1).await?;
    }
    Ok(())
}

/// Notes that a thing belongs to a notification; `false` where it does already.
async fn join(
    conn: &mut PgConnection,
    id: NotificationId,
    single: &Single<'_>,
    place: i32,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into notification_things (notification_id, thing_id, place, name) values ($1, $2, $3, $4)
         on conflict do nothing",
        id.0,
        single.thing,
        place,
        single.name,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The names of a notification's first things.
async fn named(conn: &mut PgConnection, id: NotificationId) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "select name from notification_things where notification_id = $1 order by place limit $2",
        id.0,
        NAMED,
    )
    .fetch_all(conn)
    .await
}

/// Has a notification read as `news`, and be told as far as it was told before.
async fn grow(
    conn: &mut PgConnection,
    id: NotificationId,
    things: i32,
    news: &News,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update notifications set title = $2, body = $3, path = $4, things = $5, last_at = $6 where id = $1",
        id.0,
        cut(&news.title, TITLE_MAX),
        cut(&news.text, TEXT_MAX),
        news.path,
        things,
        now,
    )
    .execute(&mut *conn)
    .await?;
    hold_members(conn, news.org_id).await?;
    let readers = readers(conn, std::slice::from_ref(news)).await?;
    let rows = concerned(&readers, std::slice::from_ref(news));
    let due_at = rows.iter().map(|(reader, _)| reader.due_at(news, now + GATHERS));
    sqlx::query!(
        "insert into notification_recipients as r (org_id, user_id, notification_id, due_at)
         select $1, u.user_id, $2, u.due_at from unnest($3::uuid[], $4::timestamptz[]) as u(user_id, due_at)
         on conflict (org_id, user_id, notification_id) do update
           set read_at = null, due_at = coalesce(r.due_at, excluded.due_at)",
        news.org_id.0,
        id.0,
        &rows.iter().map(|(reader, _)| reader.user_id.0).collect::<Vec<_>>(),
        &due_at.collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Holds all members of an organisation until the transaction ends: what they were told is changed, which others do under
/// the same lock. In an order that goes with that in which a person's memberships are held.
async fn hold_members(conn: &mut PgConnection, org_id: OrgId) -> Result<(), sqlx::Error> {
    sqlx::query!("select from members where org_id = $1 order by user_id for no key update", org_id.0)
        .fetch_all(conn)
        .await?;
    Ok(())
}
