//! Who is due to be told by mail, and what.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::PgConnection;

use super::{Mode, Preferences};
use crate::{
    id::{NotificationId, OrgId, UserId},
    user::EmailAddress,
};

/// The most news that one mail lists; the others are counted.
pub const LISTED: i64 = 20;
/// The most rows that one look for who is due reads.
const LOOKED_AT: i64 = 1000;

/// A member who is due to be told.
#[derive(Debug, Clone)]
pub struct Due {
    /// In which organisation.
    pub org_id: OrgId,
    /// What it is called.
    pub org_name: String,
    /// Who.
    pub user_id: UserId,
    /// Where they are written to.
    pub email: EmailAddress,
    /// Where they live.
    pub zone: Tz,
    /// How they want to be told, as of now.
    pub preferences: Preferences,
}

/// Members who are due to be told at `now`, those first who are so for longest, held until the transaction ends; whom
/// somebody else holds is left out.
pub async fn lock_due(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> Result<Vec<Due>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select m.org_id as "org_id: OrgId", o.name as org_name, m.user_id as "user_id: UserId",
                  u.email as "email: EmailAddress", u.time_zone, p.mode as "mode?: Mode", p.quiet_from as "quiet_from?",
                  p.quiet_to as "quiet_to?", p.weekly_digest as "weekly_digest?"
           from (select r.org_id, r.user_id, min(r.due_at) as due_at
                 from (select org_id, user_id, due_at from notification_recipients
                       where due_at <= $1 order by due_at limit $3) r
                 group by 1, 2 order by 3 limit $2) d
           join members m on m.org_id = d.org_id and m.user_id = d.user_id
           join organizations o on o.id = m.org_id
           join users u on u.id = m.user_id
           left join notification_preferences p on p.org_id = m.org_id and p.user_id = m.user_id
           order by d.due_at, m.org_id, m.user_id
           for no key update of m skip locked"#,
        now,
        limit,
        LOOKED_AT,
    )
    .fetch_all(conn)
    .await?;
    let due = rows.into_iter().map(|row| Due {
        org_id: row.org_id,
        org_name: row.org_name,
        user_id: row.user_id,
        email: row.email,
        zone: row.time_zone.parse().unwrap_or(Tz::UTC),
        preferences: Preferences::of_row(row.mode, row.quiet_from, row.quiet_to, row.weekly_digest),
    });
    Ok(due.collect())
}

/// Something that a member was not told yet.
#[derive(Debug, Clone)]
pub struct Untold {
    /// Its id.
    pub id: NotificationId,
    /// One line.
    pub title: String,
    /// A sentence or some.
    pub text: String,
    /// Where the workspace shows more.
    pub path: String,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// When it last grew, or happened.
    pub changed_at: DateTime<Utc>,
}

/// Takes what a member was not told yet: the newest of it, and how much that is in all. It is told from then on, each of it
/// once; what is stored meanwhile is not among it.
pub async fn take_untold(
    conn: &mut PgConnection,
    org_id: OrgId,
    user_id: UserId,
) -> Result<(Vec<Untold>, i64), sqlx::Error> {
    let rows = sqlx::query!(
        r#"with told as (
             update notification_recipients set due_at = null
             where org_id = $1 and user_id = $2 and due_at is not null
             returning notification_id
           )
           select n.id as "id: NotificationId", n.title, n.body, n.path, n.created_at,
                  coalesce(n.last_at, n.created_at) as "changed_at!", count(*) over () as "all!"
           from told t join notifications n on n.id = t.notification_id
           order by n.id desc limit $3"#,
        org_id.0,
        user_id.0,
        LISTED,
    )
    .fetch_all(conn)
    .await?;
    let all = rows.first().map_or(0, |row| row.all);
    let untold = rows.into_iter().map(|row| Untold {
        id: row.id,
        title: row.title,
        text: row.body,
        path: row.path,
        created_at: row.created_at,
        changed_at: row.changed_at,
    });
    Ok((untold.collect(), all))
}

/// Puts off what a member was not told yet.
pub async fn put_off(
    conn: &mut PgConnection,
    org_id: OrgId,
    user_id: UserId,
    until: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update notification_recipients set due_at = greatest(due_at, $3)
         where org_id = $1 and user_id = $2 and due_at is not null",
        org_id.0,
        user_id.0,
        until,
    )
    .execute(conn)
    .await?;
    Ok(())
}
