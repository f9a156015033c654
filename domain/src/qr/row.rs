//! The rows of QR codes.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{After, QrCode, content::Content, style::Style};
use crate::{
    id::{LabelId, LinkId, OrgId, QrId, UserId},
    link::SOON_DAYS,
    place::{Sort, containing},
};

/// Which codes a list has, beside those that are not archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// All.
    #[default]
    All,
    /// Those that can be scanned now.
    Active,
    /// The others.
    Inactive,
    /// Those with an end that is at most [`SOON_DAYS`] away.
    Expiring,
    /// Those that lead through a code.
    Dynamic,
    /// Those that carry their content.
    Static,
    /// Those that were put away, which no other filter shows.
    Archived,
}

impl Filter {
    const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Expiring => "expiring",
            Self::Dynamic => "dynamic",
            Self::Static => "static",
            Self::Archived => "archived",
        }
    }
}

/// What a list is asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Which.
    pub filter: Filter,
    /// A part of name, code or content, in upper or lower case.
    pub search: Option<String>,
    /// In this folder.
    pub folder_id: Option<LabelId>,
    /// With this tag.
    pub tag_id: Option<LabelId>,
    /// In which order.
    pub sort: Sort,
}

/// How many codes an organisation has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Those that are not put away.
    pub total: i64,
    /// Of these, those that can be scanned now.
    pub active: i64,
    /// Of these, those that lead through a code.
    pub dynamic: i64,
    /// Those that are put away.
    pub archived: i64,
    /// How often all of them were scanned, by people, as far as it was counted.
    pub scans: i64,
}

macro_rules! select {
    ($tail:literal $(+ $more:literal)*, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            QrCode,
            r#"select id as "id: QrId", org_id as "org_id: OrgId", name, content as "content: Json<Content>", payload,
                      domain, short_code, link_id as "link_id: LinkId", style as "style: Json<Style>",
                      logo is not null as "has_logo!", password_hash, password_version, active, starts_at, expires_at,
                      max_scans, folder_id as "folder_id: LabelId", tag_ids, created_by as "created_by: UserId",
                      created_at, updated_at, archived_at
               from qr_codes "# + $tail $(+ $more)*,
            $($arg),*
        )
    };
}

/// One code of an organisation.
pub async fn find(conn: &mut PgConnection, org_id: OrgId, id: QrId) -> Result<Option<QrCode>, sqlx::Error> {
    select!("where org_id = $1 and id = $2", org_id.0, id.0).fetch_optional(conn).await
}

/// The same, held against its deletion, and against nothing else, until the transaction ends.
pub async fn hold(conn: &mut PgConnection, org_id: OrgId, id: QrId) -> Result<Option<QrCode>, sqlx::Error> {
    select!("where org_id = $1 and id = $2 for key share", org_id.0, id.0).fetch_optional(conn).await
}

/// Codes of an organisation, held against other changes until the transaction ends, in the order of their ids so that two
/// who hold many never wait for each other; unknown ones are missing from the answer.
pub async fn lock_many(conn: &mut PgConnection, org_id: OrgId, ids: &[QrId]) -> Result<Vec<QrCode>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    select!("where org_id = $1 and id = any($2) order by id for no key update", org_id.0, &ids).fetch_all(conn).await
}

/// The logo of a code, as [`super::logo::kept`] wrote it.
pub async fn logo(conn: &mut PgConnection, org_id: OrgId, id: QrId) -> Result<Option<Vec<u8>>, sqlx::Error> {
    let found = sqlx::query_scalar!("select logo from qr_codes where org_id = $1 and id = $2", org_id.0, id.0);
    Ok(found.fetch_optional(conn).await?.flatten())
}

/// An organisation's codes in the wanted order, from behind `after`.
pub async fn list(
    conn: &mut PgConnection,
    org_id: OrgId,
    wanted: &Wanted,
    after: Option<&After>,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<QrCode>, sqlx::Error> {
    let search = wanted.search.as_deref().map(containing);
    // One query for each order, so that each is read off its index.
    macro_rules! ordered {
        ($order:literal, $key:expr) => {
            select!(
                "where org_id = $1 and (archived_at is not null) = ($2 = 'archived')
                   and ($3::text is null or name ilike $3 or short_code ilike $3 or payload ilike $3
                        or content ->> 'url' ilike $3)
                   and ($4::uuid is null or folder_id = $4) and ($5::uuid is null or tag_ids @> array[$5])
                   and case $2
                         when 'active' then active and (starts_at is null or starts_at <= $6)
                           and (expires_at is null or expires_at > $6)
                         when 'inactive' then not active or starts_at > $6 or expires_at <= $6
                         when 'expiring' then active and expires_at > $6
                           and expires_at <= $6 + make_interval(days => $7)
                         when 'dynamic' then short_code is not null
                         when 'static' then short_code is null
                         else true end
                   and ($8::uuid is null or "
                    + $order
                    + " limit $9",
                org_id.0,
                wanted.filter.name(),
                search,
                wanted.folder_id.map(|id| id.0),
                wanted.tag_id.map(|id| id.0),
                now,
                SOON_DAYS,
                after.map(|after| after.id.0),
                limit,
                $key,
            )
            .fetch_all(conn)
            .await
        };
    }
    match wanted.sort {
        Sort::Created => ordered!("id < $8 and $10::uuid is null) order by id desc", None::<Uuid>),
        Sort::Updated => ordered!(
            "(updated_at, id) < ($10, $8)) order by updated_at desc, id desc",
            after.map(|after| after.updated_at)
        ),
        Sort::Title => {
            ordered!("(lower(name), id) > (lower($10), $8)) order by lower(name), id", after.map(|after| &*after.title))
        }
    }
}

/// Codes of whatever organisations.
pub async fn find_all(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<QrCode>, sqlx::Error> {
    select!("where id = any($1)", ids).fetch_all(conn).await
}

/// An organisation's codes in the order in which they were made, those that are put away too, from behind `after`.
pub async fn list_behind(
    conn: &mut PgConnection,
    org_id: OrgId,
    after: QrId,
    limit: i64,
) -> Result<Vec<QrCode>, sqlx::Error> {
    select!("where org_id = $1 and id > $2 order by id limit $3", org_id.0, after.0, limit).fetch_all(conn).await
}

/// Up to `limit` codes whose time is over and that are switched on, held until the transaction ends; what others hold is
/// left to them.
pub async fn lock_expired(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> Result<Vec<QrCode>, sqlx::Error> {
    select!(
        "where active and expires_at <= $1 order by expires_at, id limit $2 for no key update skip locked",
        now,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Switches off codes that came from [`lock_expired`].
pub async fn deactivate(conn: &mut PgConnection, codes: &[QrCode], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = codes.iter().map(|code| code.id.0).collect();
    sqlx::query!("update qr_codes set active = false, updated_at = $2 where id = any($1)", &ids, now)
        .execute(conn)
        .await?;
    Ok(())
}

/// A code as a library shows it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its id.
    pub id: QrId,
    /// What it is called.
    pub name: String,
    /// What it holds, by the name of its kind.
    pub kind: String,
    /// A dynamic one's code.
    pub short_code: Option<String>,
    /// The name of its folder.
    pub folder_name: Option<String>,
    /// How many there are of what was asked for.
    pub total: i64,
}

/// The codes of an organisation that are switched on and not put away, newest first.
pub async fn library(
    conn: &mut PgConnection,
    org_id: OrgId,
    search: Option<&str>,
    folder_id: Option<LabelId>,
    limit: i64,
) -> Result<Vec<Shown>, sqlx::Error> {
    sqlx::query_as!(
        Shown,
        r#"select q.id as "id: QrId", q.name, q.kind, q.short_code, l.name as "folder_name?", count(*) over () as "total!"
           from qr_codes q left join labels l on l.id = q.folder_id
           where q.org_id = $1 and q.active and q.archived_at is null
             and ($2::text is null or q.name ilike $2 or q.short_code ilike $2)
             and ($3::uuid is null or q.folder_id = $3)
           order by q.id desc limit $4"#,
        org_id.0,
        search.map(containing),
        folder_id.map(|id| id.0),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// How many codes an organisation has, and what they were scanned.
pub async fn summary(conn: &mut PgConnection, org_id: OrgId, now: DateTime<Utc>) -> Result<Summary, sqlx::Error> {
    sqlx::query_as!(
        Summary,
        r#"select count(*) filter (where archived_at is null) as "total!",
                  count(*) filter (where archived_at is null and active and (starts_at is null or starts_at <= $2)
                                     and (expires_at is null or expires_at > $2)) as "active!",
                  count(*) filter (where archived_at is null and short_code is not null) as "dynamic!",
                  count(*) filter (where archived_at is not null) as "archived!",
                  coalesce(sum(t.visits), 0)::bigint as "scans!"
           from qr_codes q left join visit_totals t on t.target_id = q.id and t.org_id = q.org_id
           where q.org_id = $1"#,
        org_id.0,
        now,
    )
    .fetch_one(conn)
    .await
}

/// How many of an organisation's codes lead through a code and are not put away.
pub async fn count_dynamic(conn: &mut PgConnection, org_id: OrgId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from qr_codes
           where org_id = $1 and short_code is not null and archived_at is null"#,
        org_id.0
    )
    .fetch_one(conn)
    .await
}

/// Those of `ids` that are dynamic codes of an organisation, held against other changes until the transaction ends.
pub async fn lock_dynamic(conn: &mut PgConnection, org_id: OrgId, ids: &[Uuid]) -> Result<Vec<QrCode>, sqlx::Error> {
    select!(
        "where org_id = $1 and id = any($2) and short_code is not null order by id for no key update",
        org_id.0,
        ids,
    )
    .fetch_all(conn)
    .await
}

/// The codes that lead through links, held against other changes until the transaction ends.
pub async fn lock_through(conn: &mut PgConnection, org_id: OrgId, links: &[Uuid]) -> Result<Vec<QrCode>, sqlx::Error> {
    select!("where org_id = $1 and link_id = any($2) order by id for no key update", org_id.0, links)
        .fetch_all(conn)
        .await
}

/// Has codes from [`lock_dynamic`] lead through a link.
pub async fn attach(
    conn: &mut PgConnection,
    org_id: OrgId,
    link: LinkId,
    codes: &[Uuid],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    if codes.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update qr_codes set link_id = $2, updated_at = $4 where org_id = $1 and id = any($3)",
        org_id.0,
        link.0,
        codes,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores a new code.
pub async fn insert(conn: &mut PgConnection, code: &QrCode, logo: Option<&[u8]>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into qr_codes (id, org_id, name, kind, content, payload, domain, short_code, link_id, style, logo,
                               password_hash, password_version, active, starts_at, expires_at, max_scans, folder_id,
                               tag_ids, created_by, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $21)",
        code.id.0,
        code.org_id.0,
        code.name,
        code.kind().name(),
        code.content.as_ref() as Option<&Json<Content>>,
        code.payload,
        code.domain,
        code.short_code,
        code.link_id.map(|id| id.0),
        &code.style as &Json<Style>,
        logo,
        code.password_hash,
        code.password_version,
        code.active,
        code.starts_at,
        code.expires_at,
        code.max_scans,
        code.folder_id.map(|id| id.0),
        &code.tag_ids,
        code.created_by.map(|id| id.0),
        code.created_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores everything that can change in a code, as it now stands in `code`, which came from [`lock_many`]; its logo too, if
/// `logo` says anything of it.
pub async fn update(conn: &mut PgConnection, code: &QrCode, logo: Option<Option<&[u8]>>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update qr_codes set name = $3, kind = $4, content = $5, payload = $6, domain = $22, short_code = $7, link_id = $8, style = $9,
                logo = case when $10 then $11 else logo end, password_hash = $12, password_version = $13, active = $14,
                starts_at = $15, expires_at = $16, max_scans = $17, folder_id = $18, tag_ids = $19, updated_at = $20,
                archived_at = $21
         where org_id = $1 and id = $2",
        code.org_id.0,
        code.id.0,
        code.name,
        code.kind().name(),
        code.content.as_ref() as Option<&Json<Content>>,
        code.payload,
        code.short_code,
        code.link_id.map(|id| id.0),
        &code.style as &Json<Style>,
        logo.is_some(),
        logo.flatten(),
        code.password_hash,
        code.password_version,
        code.active,
        code.starts_at,
        code.expires_at,
        code.max_scans,
        code.folder_id.map(|id| id.0),
        &code.tag_ids,
        code.updated_at,
        code.archived_at,
        code.domain,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes a code; `false` when there is none.
pub async fn delete(conn: &mut PgConnection, org_id: OrgId, id: QrId) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!("delete from qr_codes where org_id = $1 and id = $2", org_id.0, id.0).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}
