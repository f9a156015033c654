//! Labels: the folders and tags by which people order their links and codes. A name is an organisation's once per kind,
//! among those that are not archived; upper and lower case are one.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    chance::Chance,
    id::{InvalidId, LabelId, OrgId, spell},
};

/// The longest name, in characters.
pub const NAME_MAX: usize = 100;

/// A kind of label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Kind {
    /// A thing is in one folder or in none.
    Folder,
    /// A thing has any number of tags.
    Tag,
}

impl Kind {
    /// Its name in rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Tag => "tag",
        }
    }

    /// What one must be to be given to a thing.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Folder => "must be a folder of yours that is not archived",
            Self::Tag => "must be a tag of yours that is not archived",
        }
    }

    /// What stands before the 26 characters of an id, with its underscore.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Folder => "fld_",
            Self::Tag => "tag_",
        }
    }

    /// An id as this kind spells it.
    pub fn spell(self, id: LabelId) -> String {
        format!("{}{}", self.prefix(), spell(id.0))
    }

    /// Reads an id of this kind.
    pub fn read(self, text: &str) -> Result<LabelId, InvalidId> {
        let plain = text.strip_prefix(self.prefix()).ok_or(InvalidId)?;
        format!("{}{plain}", LabelId::PREFIX).parse()
    }
}

/// A folder or tag.
#[derive(Debug, Clone)]
pub struct Label {
    /// Its id.
    pub id: LabelId,
    /// What it is.
    pub kind: Kind,
    /// What it is called.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last renamed, archived or restored.
    pub updated_at: DateTime<Utc>,
    /// When it was archived: it is not offered any more, and keeps what it has.
    pub archived_at: Option<DateTime<Utc>>,
}

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Label,
            r#"select id as "id: LabelId", kind as "kind: Kind", name, created_at, updated_at, archived_at from labels "#
                + $tail,
            $($arg),*
        )
    };
}

/// Stores a label; `None` when its name is taken.
pub async fn create(
    conn: &mut PgConnection,
    org_id: OrgId,
    kind: Kind,
    name: &str,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<Option<Label>, sqlx::Error> {
    let id = LabelId::new(now, chance);
    sqlx::query!(
        "insert into labels (id, org_id, kind, name, created_at, updated_at) values ($1, $2, $3, $4, $5, $5)
         on conflict do nothing",
        id.0,
        org_id.0,
        kind.name(),
        name,
        now,
    )
    .execute(&mut *conn)
    .await?;
    find(conn, org_id, kind, id).await
}

/// One label of an organisation.
pub async fn find(
    conn: &mut PgConnection,
    org_id: OrgId,
    kind: Kind,
    id: LabelId,
) -> Result<Option<Label>, sqlx::Error> {
    select!("where org_id = $1 and kind = $2 and id = $3", org_id.0, kind.name(), id.0).fetch_optional(conn).await
}

/// The same, held against other changes until the transaction ends.
pub async fn lock(
    conn: &mut PgConnection,
    org_id: OrgId,
    kind: Kind,
    id: LabelId,
) -> Result<Option<Label>, sqlx::Error> {
    select!("where org_id = $1 and kind = $2 and id = $3 for no key update", org_id.0, kind.name(), id.0)
        .fetch_optional(conn)
        .await
}

/// An organisation's labels of a kind by name, with those that are archived if `archived`.
pub async fn list(
    conn: &mut PgConnection,
    org_id: OrgId,
    kind: Kind,
    archived: bool,
) -> Result<Vec<Label>, sqlx::Error> {
    select!(
        "where org_id = $1 and kind = $2 and (archived_at is null or $3) order by lower(name), id",
        org_id.0,
        kind.name(),
        archived,
    )
    .fetch_all(conn)
    .await
}

/// Stores a label's name and whether it is archived; `false` when another has that name.
pub async fn update(conn: &mut PgConnection, org_id: OrgId, label: &Label) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update labels set name = $3, archived_at = $4, updated_at = $5 where org_id = $1 and id = $2",
        org_id.0,
        label.id.0,
        label.name,
        label.archived_at,
        label.updated_at,
    )
    .execute(conn)
    .await;
    match done {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The labels of these names, in upper or lower case, that are not archived; those that are not there are made.
pub async fn ensure(
    conn: &mut PgConnection,
    org_id: OrgId,
    kind: Kind,
    names: &[&str],
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<Vec<(String, LabelId)>, sqlx::Error> {
    if names.is_empty() {
        return Ok(vec![]);
    }
    let ids: Vec<Uuid> = names.iter().map(|_| LabelId::new(now, chance).0).collect();
    sqlx::query!(
        "insert into labels (id, org_id, kind, name, created_at, updated_at)
         select f.id, $1, $2, f.name, $3, $3 from unnest($4::uuid[], $5::text[]) as f(id, name)
         order by lower(f.name)
         on conflict do nothing",
        org_id.0,
        kind.name(),
        now,
        &ids,
        names as &[&str],
    )
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query!(
        r#"select f.name as "name!", l.id as "id: LabelId" from unnest($3::text[]) as f(name)
           join labels l on l.org_id = $1 and l.kind = $2 and lower(l.name) = lower(f.name) and l.archived_at is null"#,
        org_id.0,
        kind.name(),
        names as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.name, row.id)).collect())
}

/// Those of `ids` that are labels of the organisation and the kind and not archived, held until the transaction ends.
pub async fn lock_known(
    conn: &mut PgConnection,
    org_id: OrgId,
    kind: Kind,
    ids: &[LabelId],
) -> Result<Vec<LabelId>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let known = sqlx::query_scalar!(
        r#"select id as "id: LabelId" from labels
           where org_id = $1 and kind = $2 and id = any($3) and archived_at is null for key share"#,
        org_id.0,
        kind.name(),
        &ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(known)
}
