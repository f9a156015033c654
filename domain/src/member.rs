//! Membership: which person belongs to which organisation, and in which role.
//!
//! The role here decides what a caller may do, whatever a session's own claims say of it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    id::{OrgId, UserId},
    plan::Plan,
    user::EmailAddress,
};

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type, serde::Serialize, serde::Deserialize)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Manages, and is told by mail.
    Owner,
    /// Manages.
    Admin,
    /// Reads.
    Member,
}

impl Role {
    /// Every role, the mightiest first.
    pub const ALL: [Self; 3] = [Self::Owner, Self::Admin, Self::Member];

    /// The name in rows, claims and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }

    /// The role of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether it may create, change and delete.
    pub const fn may_manage(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }
}

/// A person in an organisation, with what every request needs of both.
#[derive(Debug, Clone)]
pub struct Membership {
    /// The organisation.
    pub org_id: OrgId,
    /// The person.
    pub user_id: UserId,
    /// What they may do there.
    pub role: Role,
    /// What the organisation has paid for.
    pub plan: Plan,
    /// Whether that is suspended.
    pub suspended: bool,
    /// Where the person is written to.
    pub email: EmailAddress,
}

/// Makes a person a member, or gives a member another role.
pub async fn put(
    conn: &mut PgConnection,
    org_id: OrgId,
    user_id: UserId,
    role: Role,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into members (org_id, user_id, role, created_at) values ($1, $2, $3, $4)
         on conflict (org_id, user_id) do update set role = excluded.role",
        org_id.0,
        user_id.0,
        role.name(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a membership; `false` when there was none. The person's keys stop working with it.
pub async fn remove(conn: &mut PgConnection, org_id: OrgId, user_id: UserId) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!("delete from members where org_id = $1 and user_id = $2", org_id.0, user_id.0)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Membership,
            r#"select m.org_id as "org_id: OrgId", m.user_id as "user_id: UserId", m.role as "role: Role",
                      o.plan as "plan: Plan", o.suspended_at is not null as "suspended!", u.email as "email: EmailAddress"
               from members m join organizations o on o.id = m.org_id join users u on u.id = m.user_id "# + $tail,
            $($arg),*
        )
    };
}

/// One member of an organisation.
pub async fn find(conn: &mut PgConnection, org_id: OrgId, user_id: UserId) -> Result<Option<Membership>, sqlx::Error> {
    select!("where m.org_id = $1 and m.user_id = $2", org_id.0, user_id.0).fetch_optional(conn).await
}

/// How many members an organisation has.
pub async fn count(conn: &mut PgConnection, org_id: OrgId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from members where org_id = $1"#, org_id.0).fetch_one(conn).await
}

/// The membership that a session speaks for. `subject` and `org` are the session's claims: the issuer's ids, or our own
/// `user_…` and `org_…`.
pub async fn find_by_subject(
    conn: &mut PgConnection,
    subject: &str,
    org: &str,
) -> Result<Option<Membership>, sqlx::Error> {
    // Our spelling of an id is fixed in length and alphabet, so at most one of each pair can be meant. The issuer's id
    // goes first all the same: it is the one that others chose.
    select!(
        "where u.id = coalesce((select id from users where external_id = $1), $2)
           and o.id = coalesce((select id from organizations where external_id = $3), $4)",
        subject,
        subject.parse::<UserId>().ok().map(|id| id.0),
        org,
        org.parse::<OrgId>().ok().map(|id| id.0),
    )
    .fetch_optional(conn)
    .await
}
