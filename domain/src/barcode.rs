//! Barcodes: a value of some kind that scanners read, how it is drawn, and which thing of another system it stands for.

mod kind;
mod picture;
mod style;
mod value;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

pub use self::{
    kind::{InvalidKind, Kind},
    picture::{Modules, SIZES, Unrenderable, pdf, png, prove, svg},
    style::{BAR_HEIGHT, QUIET_MAX, Style},
    value::{BARS_MAX, InvalidValue, VALUE_MAX, normal},
};
use crate::{
    id::{BarcodeId, LabelId, OrgId, UserId},
    place::containing,
};

/// The longest name, in characters.
pub const NAME_MAX: usize = 200;
/// The longest name of another system, in characters.
pub const PROVIDER_MAX: usize = 64;
/// The longest id of a thing there, in characters.
pub const EXTERNAL_ID_MAX: usize = 255;
/// The longest address of a thing there, in characters.
pub const URL_MAX: usize = 2000;

/// A barcode.
#[derive(Debug, Clone)]
pub struct Barcode {
    /// Its id.
    pub id: BarcodeId,
    /// Whose it is.
    pub org_id: OrgId,
    /// What it is called.
    pub name: String,
    /// What kind it is of.
    pub kind: Kind,
    /// What scanners read, check digit included.
    pub value: String,
    /// How it is drawn.
    pub style: Json<Style>,
    /// The owner's switch.
    pub active: bool,
    /// Its folder.
    pub folder_id: Option<LabelId>,
    /// Its tags.
    pub tag_ids: Vec<Uuid>,
    /// What it stands for in another system.
    pub integration: Option<Integration>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was put away.
    pub archived_at: Option<DateTime<Utc>>,
}

/// A thing of another system, such as a product of a shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integration {
    /// The system's name.
    pub provider: String,
    /// The thing's id there.
    pub external_id: String,
    /// Where it is seen.
    pub url: Option<String>,
    /// Since when the barcode stands for it.
    pub at: DateTime<Utc>,
}

/// Which barcodes a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// All that were not put away.
    #[default]
    All,
    /// Of these, those that are switched on.
    Active,
    /// The others of these.
    Inactive,
    /// Those that were put away, which no other filter shows.
    Archived,
}

impl Filter {
    const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Archived => "archived",
        }
    }
}

/// What a list is asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Which.
    pub filter: Filter,
    /// A part of name, value or the id in another system, in upper or lower case.
    pub search: Option<String>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In this folder.
    pub folder_id: Option<LabelId>,
    /// With this tag.
    pub tag_id: Option<LabelId>,
}

/// A barcode's row.
struct Row {
    id: BarcodeId,
    org_id: OrgId,
    name: String,
    kind: Kind,
    value: String,
    style: Json<Style>,
    active: bool,
    folder_id: Option<LabelId>,
    tag_ids: Vec<Uuid>,
    integration_provider: Option<String>,
    integration_external_id: Option<String>,
    integration_url: Option<String>,
    integration_at: Option<DateTime<Utc>>,
    created_by: Option<UserId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    archived_at: Option<DateTime<Utc>>,
}

impl From<Row> for Barcode {
    fn from(row: Row) -> Self {
        let bound = (row.integration_provider, row.integration_external_id, row.integration_at);
        let integration = match bound {
            (Some(provider), Some(external_id), Some(at)) => {
                Some(Integration { provider, external_id, url: row.integration_url, at })
            }
            _ => None,
        };
        Self {
            id: row.id,
            org_id: row.org_id,
            name: row.name,
            kind: row.kind,
            value: row.value,
            style: row.style,
            active: row.active,
            folder_id: row.folder_id,
            tag_ids: row.tag_ids,
            integration,
            created_by: row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
            archived_at: row.archived_at,
        }
    }
}

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select id as "id: BarcodeId", org_id as "org_id: OrgId", name, kind as "kind: Kind", value,
                      style as "style: Json<Style>", active, folder_id as "folder_id: LabelId", tag_ids,
                      integration_provider, integration_external_id, integration_url, integration_at,
                      created_by as "created_by: UserId", created_at, updated_at, archived_at
               from barcodes "# + $tail,
            $($arg),*
        )
    };
}

/// One barcode of an organisation.
pub async fn find(conn: &mut PgConnection, org_id: OrgId, id: BarcodeId) -> Result<Option<Barcode>, sqlx::Error> {
    let row = select!("where org_id = $1 and id = $2", org_id.0, id.0).fetch_optional(conn).await?;
    Ok(row.map(Into::into))
}

/// The same, held against other changes until the transaction ends.
pub async fn lock(conn: &mut PgConnection, org_id: OrgId, id: BarcodeId) -> Result<Option<Barcode>, sqlx::Error> {
    let row = select!("where org_id = $1 and id = $2 for no key update", org_id.0, id.0).fetch_optional(conn).await?;
    Ok(row.map(Into::into))
}

/// An organisation's barcodes, newest first, from before `before`.
pub async fn list(
    conn: &mut PgConnection,
    org_id: OrgId,
    wanted: &Wanted,
    before: Option<BarcodeId>,
    limit: i64,
) -> Result<Vec<Barcode>, sqlx::Error> {
    let rows = select!(
        "where org_id = $1 and id < $2 and (archived_at is not null) = ($3 = 'archived')
           and case $3 when 'active' then active when 'inactive' then not active else true end
           and ($4::text is null or name ilike $4 or value ilike $4 or integration_external_id ilike $4)
           and ($5::text is null or kind = $5) and ($6::uuid is null or folder_id = $6)
           and ($7::uuid is null or tag_ids @> array[$7])
         order by id desc limit $8",
        org_id.0,
        before.map_or(Uuid::max(), |id| id.0),
        wanted.filter.name(),
        wanted.search.as_deref().map(containing),
        wanted.kind.map(Kind::name),
        wanted.folder_id.map(|id| id.0),
        wanted.tag_id.map(|id| id.0),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// A barcode as a library shows it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its id.
    pub id: BarcodeId,
    /// What it is called.
    pub name: String,
    /// What kind it is of.
    pub kind: Kind,
    /// What scanners read.
    pub value: String,
    /// The name of its folder.
    pub folder_name: Option<String>,
    /// How many there are of what was asked for.
    pub total: i64,
}

/// The barcodes of an organisation that are switched on and not put away, newest first.
pub async fn library(
    conn: &mut PgConnection,
    org_id: OrgId,
    search: Option<&str>,
    folder_id: Option<LabelId>,
    limit: i64,
) -> Result<Vec<Shown>, sqlx::Error> {
    sqlx::query_as!(
        Shown,
        r#"select b.id as "id: BarcodeId", b.name, b.kind as "kind: Kind", b.value, l.name as "folder_name?",
                  count(*) over () as "total!"
           from barcodes b left join labels l on l.id = b.folder_id
           where b.org_id = $1 and b.active and b.archived_at is null
             and ($2::text is null or b.name ilike $2 or b.value ilike $2) and ($3::uuid is null or b.folder_id = $3)
           order by b.id desc limit $4"#,
        org_id.0,
        search.map(containing),
        folder_id.map(|id| id.0),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// How many barcodes an organisation has that are not put away.
pub async fn count(conn: &mut PgConnection, org_id: OrgId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from barcodes where org_id = $1 and archived_at is null"#,
        org_id.0
    )
    .fetch_one(conn)
    .await
}

/// Stores a new barcode.
pub async fn insert(conn: &mut PgConnection, barcode: &Barcode) -> Result<(), sqlx::Error> {
    let bound = barcode.integration.as_ref();
    sqlx::query!(
        "insert into barcodes (id, org_id, name, kind, value, style, active, folder_id, tag_ids, integration_provider,
                               integration_external_id, integration_url, integration_at, created_by, created_at,
                               updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15)",
        barcode.id.0,
        barcode.org_id.0,
        barcode.name,
        barcode.kind.name(),
        barcode.value,
        &barcode.style as &Json<Style>,
        barcode.active,
        barcode.folder_id.map(|id| id.0),
        &barcode.tag_ids,
        bound.map(|bound| &bound.provider),
        bound.map(|bound| &bound.external_id),
        bound.and_then(|bound| bound.url.as_ref()),
        bound.map(|bound| bound.at),
        barcode.created_by.map(|id| id.0),
        barcode.created_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores everything that can change in a barcode, as it now stands in `barcode`, which came from [`lock`].
pub async fn update(conn: &mut PgConnection, barcode: &Barcode) -> Result<(), sqlx::Error> {
    let bound = barcode.integration.as_ref();
    sqlx::query!(
        "update barcodes set name = $3, kind = $4, value = $5, style = $6, active = $7, folder_id = $8, tag_ids = $9,
                integration_provider = $10, integration_external_id = $11, integration_url = $12, integration_at = $13,
                updated_at = $14, archived_at = $15
         where org_id = $1 and id = $2",
        barcode.org_id.0,
        barcode.id.0,
        barcode.name,
        barcode.kind.name(),
        barcode.value,
        &barcode.style as &Json<Style>,
        barcode.active,
        barcode.folder_id.map(|id| id.0),
        &barcode.tag_ids,
        bound.map(|bound| &bound.provider),
        bound.map(|bound| &bound.external_id),
        bound.and_then(|bound| bound.url.as_ref()),
        bound.map(|bound| bound.at),
        barcode.updated_at,
        barcode.archived_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes a barcode; `false` when there is none.
pub async fn delete(conn: &mut PgConnection, org_id: OrgId, id: BarcodeId) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!("delete from barcodes where org_id = $1 and id = $2", org_id.0, id.0).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}
