//! The rows of links.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{After, Link};
use crate::{
    id::{LabelId, LinkId, OrgId, UserId},
    link_health::Health,
    place::{Sort, containing},
    routing::Routing,
    utm::Utm,
};

/// Which links a list has, beside those that are not archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// All.
    #[default]
    All,
    /// Those that lead somewhere now.
    Active,
    /// The others.
    Inactive,
    /// Those with an end that is at most [`SOON_DAYS`] away.
    Expiring,
    /// Those with variants.
    Ab,
    /// Those whose destination does not answer.
    HealthFailing,
    /// Those whose destination is asked.
    HealthMonitored,
    /// Those that were put away, which no other filter shows.
    Archived,
}

/// How near the end of an expiring link is.
pub const SOON_DAYS: i32 = 7;

impl Filter {
    const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Expiring => "expiring",
            Self::Ab => "ab",
            Self::HealthFailing => "health_failing",
            Self::HealthMonitored => "health_monitored",
            Self::Archived => "archived",
        }
    }
}

/// What a list is asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Which.
    pub filter: Filter,
    /// A part of title, slug or destination, in upper or lower case.
    pub search: Option<String>,
    /// In this folder.
    pub folder_id: Option<LabelId>,
    /// With each of these tags.
    pub tag_ids: Vec<LabelId>,
    /// In which order.
    pub sort: Sort,
}

macro_rules! select {
    ($tail:literal $(+ $more:literal)*, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Link,
            r#"select id as "id: LinkId", org_id as "org_id: OrgId", domain, slug, destination, fallback_destination,
                      (select to_jsonb(h) from link_health h where h.link_id = links.id) as "health: Json<Health>", title,
                      utm as "utm: Json<Utm>", routing as "routing: Json<Routing>", password_hash, password_version,
                      active, starts_at, expires_at, max_visits,
                      folder_id as "folder_id: LabelId", tag_ids,
                      array(select q.id from qr_codes q where q.link_id = links.id order by q.id) as "qr_ids!",
                      created_by as "created_by: UserId", created_at,
                      updated_at, archived_at
               from links "# + $tail $(+ $more)*,
            $($arg),*
        )
    };
}

/// One link of an organisation.
pub async fn find(conn: &mut PgConnection, org_id: OrgId, id: LinkId) -> Result<Option<Link>, sqlx::Error> {
    select!("where org_id = $1 and id = $2", org_id.0, id.0).fetch_optional(conn).await
}

/// The same, held against its deletion, and against nothing else, until the transaction ends.
pub async fn hold(conn: &mut PgConnection, org_id: OrgId, id: LinkId) -> Result<Option<Link>, sqlx::Error> {
    select!("where org_id = $1 and id = $2 for key share", org_id.0, id.0).fetch_optional(conn).await
}

/// Those of `ids` that are links, of any organisation.
pub async fn find_all(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Link>, sqlx::Error> {
    select!("where id = any($1)", ids).fetch_all(conn).await
}

/// Links of an organisation, held against other changes until the transaction ends, in the order of their ids so that two
/// who hold many never wait for each other; unknown ones are missing from the answer.
pub async fn lock_many(conn: &mut PgConnection, org_id: OrgId, ids: &[LinkId]) -> Result<Vec<Link>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    select!("where org_id = $1 and id = any($2) order by id for no key update", org_id.0, &ids).fetch_all(conn).await
}

/// Which of `ids` are links of an organisation, held against every change until the transaction ends.
pub async fn hold_many(conn: &mut PgConnection, org_id: OrgId, ids: &[LinkId]) -> Result<Vec<LinkId>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    sqlx::query_scalar!(
        r#"select id as "id: LinkId" from links where org_id = $1 and id = any($2) order by id for share"#,
        org_id.0,
        &ids,
    )
    .fetch_all(conn)
    .await
}

/// An organisation's links in the order in which they were made, those that are put away too, from behind `after`.
pub async fn list_behind(
    conn: &mut PgConnection,
    org_id: OrgId,
    after: LinkId,
    limit: i64,
) -> Result<Vec<Link>, sqlx::Error> {
    select!("where org_id = $1 and id > $2 order by id limit $3", org_id.0, after.0, limit).fetch_all(conn).await
}

/// Links of any organisation that are switched on and whose time is over, the longest over first; held against other
/// changes until the transaction ends. What somebody else holds is left out.
pub async fn lock_expired(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> Result<Vec<Link>, sqlx::Error> {
    select!(
        "where active and expires_at <= $1 order by expires_at, id limit $2 for no key update skip locked",
        now,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Switches off links that came from [`lock_expired`].
pub async fn deactivate(conn: &mut PgConnection, links: &[Link], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = links.iter().map(|link| link.id.0).collect();
    sqlx::query!("update links set active = false, updated_at = $2 where id = any($1)", &ids, now)
        .execute(conn)
        .await?;
    Ok(())
}

/// An organisation's links in the wanted order, from behind `after`.
pub async fn list(
    conn: &mut PgConnection,
    org_id: OrgId,
    wanted: &Wanted,
    after: Option<&After>,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<Link>, sqlx::Error> {
    let search = wanted.search.as_deref().map(containing);
    // One query for each order, so that each is read off its index.
    macro_rules! ordered {
        ($order:literal, $key:expr) => {
            select!(
                "where org_id = $1 and (archived_at is not null) = ($2 = 'archived')
                   and ($3::text is null or title ilike $3 or slug ilike $3 or destination ilike $3)
                   and ($4::uuid is null or folder_id = $4) and tag_ids @> $5
                   and case $2
                         when 'active' then active and (starts_at is null or starts_at <= $6)
                           and (expires_at is null or expires_at > $6)
                         when 'inactive' then not active or starts_at > $6 or expires_at <= $6
                         when 'expiring' then active and expires_at > $6
                           and expires_at <= $6 + make_interval(days => $7)
                         when 'ab' then routing ? 'variants'
                         when 'health_failing'
                           then exists (select from link_health h where h.link_id = links.id and h.state = 'failing')
                         when 'health_monitored' then exists (select from link_health h where h.link_id = links.id)
                         else true end
                   and ($8::uuid is null or "
                    + $order
                    + " limit $9",
                org_id.0,
                wanted.filter.name(),
                search,
                wanted.folder_id.map(|id| id.0),
                &wanted.tag_ids.iter().map(|id| id.0).collect::<Vec<_>>(),
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
            ordered!(
                "(lower(title), id) > (lower($10), $8)) order by lower(title), id",
                after.map(|after| &*after.title)
            )
        }
    }
}

/// Which of these codes of the installation's own domain belong to links of the organisation, and which links those are.
pub async fn find_by_slugs(
    conn: &mut PgConnection,
    org_id: OrgId,
    slugs: &[&str],
) -> Result<Vec<(String, LinkId)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select code, target_id as "id: LinkId" from codes
           where domain = '' and code = any($2) and org_id = $1 and kind = 1"#,
        org_id.0,
        slugs as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.code, row.id)).collect())
}

/// How many links of an organisation are not put away.
pub async fn count(conn: &mut PgConnection, org_id: OrgId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from links where org_id = $1 and archived_at is null"#, org_id.0)
        .fetch_one(conn)
        .await
}

/// A link as its row, for statements that store many at once: arrays of arrays are none that Postgres could take apart.
fn row(link: &Link) -> Value {
    let text = |id: Uuid| id.to_string();
    json!({
        "id": text(link.id.0), "org_id": text(link.org_id.0), "domain": link.domain, "slug": link.slug,
        "destination": link.destination, "title": link.title, "utm": link.utm, "password_hash": link.password_hash,
        "password_version": link.password_version, "active": link.active, "starts_at": link.starts_at,
        "expires_at": link.expires_at, "max_visits": link.max_visits, "folder_id": link.folder_id.map(|id| text(id.0)),
        "tag_ids": link.tag_ids.iter().copied().map(text).collect::<Vec<_>>(),
        "created_by": link.created_by.map(|id| text(id.0)), "created_at": link.created_at,
        "updated_at": link.updated_at, "archived_at": link.archived_at, "routing": link.routing,
        "fallback_destination": link.fallback_destination,
    })
}

/// Stores new links.
pub async fn insert_many(conn: &mut PgConnection, links: &[&Link]) -> Result<(), sqlx::Error> {
    let rows: Vec<Value> = links.iter().copied().map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into links (id, org_id, domain, slug, destination, title, utm, password_hash, password_version, active,
                            starts_at, expires_at, max_visits, folder_id, tag_ids, created_by, created_at, updated_at,
                            routing, fallback_destination)
         select id, org_id, domain, slug, destination, title, utm, password_hash, password_version, active, starts_at,
                expires_at, max_visits, folder_id, tag_ids, created_by, created_at, updated_at, routing,
                fallback_destination
         from jsonb_populate_recordset(null::links, $1)",
        Value::from(rows),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores everything that can change in links, as it now stands in them; they came from [`lock_many`].
pub async fn update_many(conn: &mut PgConnection, links: &[&Link]) -> Result<(), sqlx::Error> {
    let rows: Vec<Value> = links.iter().copied().map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update links l
         set domain = r.domain, slug = r.slug, destination = r.destination, title = r.title, utm = r.utm,
             password_hash = r.password_hash, password_version = r.password_version, active = r.active,
             starts_at = r.starts_at, expires_at = r.expires_at, max_visits = r.max_visits, folder_id = r.folder_id,
             tag_ids = r.tag_ids, updated_at = r.updated_at, archived_at = r.archived_at,
             routing = r.routing, fallback_destination = r.fallback_destination
         from jsonb_populate_recordset(null::links, $1) r
         where l.org_id = r.org_id and l.id = r.id",
        Value::from(rows),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes links.
pub async fn delete_many(conn: &mut PgConnection, org_id: OrgId, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!("delete from links where org_id = $1 and id = any($2)", org_id.0, ids).execute(conn).await?;
    Ok(())
}
