//! Link pages: small public pages of links, for where only one address fits.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::id::{LinkId, LinkPageId, OrgId, UserId};

/// The longest title of a page or an entry, in characters.
pub const TITLE_MAX: usize = 100;
/// The longest description, in characters.
pub const DESCRIPTION_MAX: usize = 500;
/// The most entries of one page.
pub const ENTRIES_MAX: usize = 100;
/// The least contrast of a text to what is behind it (WCAG 2.2, 1.4.3).
const CONTRAST_LEAST: f64 = 4.5;

/// A page.
#[derive(Debug, Clone)]
pub struct LinkPage {
    /// Its id.
    pub id: LinkPageId,
    /// Whose it is.
    pub org_id: OrgId,
    /// Its address behind `/p/`, the installation's only one.
    pub slug: String,
    /// What stands above.
    pub title: String,
    /// What stands below that.
    pub description: String,
    /// The language of its texts (BCP 47), for those who have them read aloud.
    pub language: String,
    /// Its colours.
    pub theme: Option<Json<Theme>>,
    /// The owner's switch.
    pub active: bool,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// What a page leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is read.
    pub title: String,
    /// Where it leads.
    pub target: Target,
}

/// Where an entry leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To a link of the organisation's, whose visits count as ever.
    Link(LinkId),
    /// To an address.
    Url(String),
}

/// Colours, `#rrggbb`; those that are not there are the browser's. A stored format: it changes by addition only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Theme {
    /// Behind everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<String>,
    /// Of the texts on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Of the buttons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub button: Option<String>,
    /// Of the texts on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub button_text: Option<String>,
}

impl Theme {
    /// Every rule that it breaks, by field: colours come in pairs that can be read.
    pub fn broken(&self) -> Vec<(&'static str, String)> {
        let mut wrong = vec![];
        for (behind, front) in [
            (("background", &self.background), ("text", &self.text)),
            (("button", &self.button), ("buttonText", &self.button_text)),
        ] {
            let light = |(field, colour): (&'static str, &Option<String>)| match colour.as_deref().map(luminance) {
                None => Ok(None),
                Some(Some(light)) => Ok(Some(light)),
                Some(None) => Err((field, "must be a colour such as #1a2b3c".to_owned())),
            };
            match (light(behind), light(front)) {
                (Ok(Some(a)), Ok(Some(b))) => {
                    let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                    if contrast < CONTRAST_LEAST {
                        let rule =
                            format!("must have a contrast of {CONTRAST_LEAST} to {} and has {contrast:.1}", behind.0);
                        wrong.push((front.0, rule));
                    }
                }
                (Ok(Some(_)), Ok(None)) => wrong.push((front.0, format!("is required with {}", behind.0))),
                (Ok(None), Ok(Some(_))) => wrong.push((behind.0, format!("is required with {}", front.0))),
                (Ok(None), Ok(None)) => {}
                (a, b) => wrong.extend([a.err(), b.err()].into_iter().flatten()),
            }
        }
        wrong
    }
}

/// How light `#rrggbb` is, from 0 to 1 (WCAG 2.2, relative luminance).
fn luminance(colour: &str) -> Option<f64> {
    let digits = colour.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let part = |at: usize| {
        let value = f64::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or(0)) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    Some(0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4))
}

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            LinkPage,
            r#"select id as "id: LinkPageId", org_id as "org_id: OrgId", slug, title, description, language,
                      theme as "theme: Json<Theme>", active, created_by as "created_by: UserId", created_at, updated_at
               from link_pages "# + $tail,
            $($arg),*
        )
    };
}

/// One page of an organisation.
pub async fn find(conn: &mut PgConnection, org_id: OrgId, id: LinkPageId) -> Result<Option<LinkPage>, sqlx::Error> {
    select!("where org_id = $1 and id = $2", org_id.0, id.0).fetch_optional(conn).await
}

/// The same, held against other changes until the transaction ends.
pub async fn lock(conn: &mut PgConnection, org_id: OrgId, id: LinkPageId) -> Result<Option<LinkPage>, sqlx::Error> {
    select!("where org_id = $1 and id = $2 for no key update", org_id.0, id.0).fetch_optional(conn).await
}

/// An organisation's pages, newest first, from before `before`.
pub async fn list(
    conn: &mut PgConnection,
    org_id: OrgId,
    before: Option<LinkPageId>,
    limit: i64,
) -> Result<Vec<LinkPage>, sqlx::Error> {
    let before = before.map_or(Uuid::max(), |id| id.0);
    select!("where org_id = $1 and id < $2 order by id desc limit $3", org_id.0, before, limit).fetch_all(conn).await
}

/// The page of an address, whoever asks.
pub async fn find_public(conn: &mut PgConnection, slug: &str) -> Result<Option<LinkPage>, sqlx::Error> {
    select!("where slug = $1", slug).fetch_optional(conn).await
}

/// The entries of pages, in their order, each with its page.
pub async fn entries(
    conn: &mut PgConnection,
    org_id: OrgId,
    pages: &[LinkPageId],
) -> Result<Vec<(LinkPageId, Entry)>, sqlx::Error> {
    let pages: Vec<Uuid> = pages.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"select page_id as "page_id: LinkPageId", title, link_id as "link_id: LinkId", url
           from link_page_entries where org_id = $1 and page_id = any($2) order by page_id, position"#,
        org_id.0,
        &pages,
    )
    .fetch_all(conn)
    .await?;
    let entry = |title, link_id: Option<LinkId>, url: Option<String>| Entry {
        title,
        target: link_id.map_or_else(|| Target::Url(url.unwrap_or_default()), Target::Link),
    };
    Ok(rows.into_iter().map(|row| (row.page_id, entry(row.title, row.link_id, row.url))).collect())
}

/// An entry as visitors see it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// What is read.
    pub title: String,
    /// Where it leads, if not to a link.
    pub url: Option<String>,
    /// The domain and code of the link.
    pub link: Option<(String, String)>,
}

/// The entries of a page that lead somewhere now.
pub async fn shown(conn: &mut PgConnection, page: &LinkPage, now: DateTime<Utc>) -> Result<Vec<Shown>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select e.title, e.url, l.domain as "domain?", l.slug as "slug?"
           from link_page_entries e left join links l on l.id = e.link_id and l.org_id = e.org_id
           where e.org_id = $1 and e.page_id = $2 and (e.url is not null or l.active and l.archived_at is null
             and (l.starts_at is null or l.starts_at <= $3) and (l.expires_at is null or l.expires_at > $3))
           order by e.position"#,
        page.org_id.0,
        page.id.0,
        now,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter();
    Ok(rows.map(|row| Shown { title: row.title, url: row.url, link: row.domain.zip(row.slug) }).collect())
}

/// A page that has a link among its entries.
#[derive(Debug, Clone)]
pub struct PageOfLink {
    /// The link.
    pub link_id: LinkId,
    /// The page.
    pub page_id: LinkPageId,
    /// Its address.
    pub slug: String,
    /// Its title.
    pub title: String,
}

/// The pages that links are on, by title.
pub async fn of_links(conn: &mut PgConnection, org_id: OrgId, links: &[Uuid]) -> Result<Vec<PageOfLink>, sqlx::Error> {
    sqlx::query_as!(
        PageOfLink,
        r#"select distinct e.link_id as "link_id!: LinkId", p.id as "page_id: LinkPageId", p.slug, p.title
           from link_page_entries e join link_pages p on p.id = e.page_id
           where e.org_id = $1 and e.link_id = any($2) order by p.title, p.id"#,
        org_id.0,
        links,
    )
    .fetch_all(conn)
    .await
}

/// Stores a new page; `false` where its slug is taken.
pub async fn insert(conn: &mut PgConnection, page: &LinkPage) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into link_pages (id, org_id, slug, title, description, language, theme, active, created_by, created_at,
                                 updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10) on conflict (slug) do nothing",
        page.id.0,
        page.org_id.0,
        page.slug,
        page.title,
        page.description,
        page.language,
        page.theme.as_ref() as Option<&Json<Theme>>,
        page.active,
        page.created_by.map(|id| id.0),
        page.created_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Stores what can change in a page, which came from [`lock`]; `false` where its slug is another's.
pub async fn update(conn: &mut PgConnection, page: &LinkPage) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update link_pages set slug = $3, title = $4, description = $5, language = $6, theme = $7, active = $8,
                updated_at = $9
         where org_id = $1 and id = $2",
        page.org_id.0,
        page.id.0,
        page.slug,
        page.title,
        page.description,
        page.language,
        page.theme.as_ref() as Option<&Json<Theme>>,
        page.active,
        page.updated_at,
    )
    .execute(conn)
    .await;
    match done {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Those of `links` that are the organisation's, held until the transaction ends.
pub async fn hold_links(conn: &mut PgConnection, org_id: OrgId, links: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!("select id from links where org_id = $1 and id = any($2) for key share", org_id.0, links)
        .fetch_all(conn)
        .await
}

/// Stores a page's entries in the place of those that it has. Their links are held by [`hold_links`].
pub async fn put_entries(conn: &mut PgConnection, page: &LinkPage, entries: &[Entry]) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from link_page_entries where org_id = $1 and page_id = $2", page.org_id.0, page.id.0)
        .execute(&mut *conn)
        .await?;
    let titles: Vec<String> = entries.iter().map(|entry| entry.title.clone()).collect();
    let links: Vec<Option<Uuid>> = entries
        .iter()
        .map(|entry| match &entry.target {
            Target::Link(id) => Some(id.0),
            Target::Url(_) => None,
        })
        .collect();
    let urls: Vec<Option<String>> = entries
        .iter()
        .map(|entry| match &entry.target {
            Target::Link(_) => None,
            Target::Url(url) => Some(url.clone()),
        })
        .collect();
    sqlx::query!(
        "insert into link_page_entries (page_id, org_id, position, title, link_id, url)
         select $1, $2, n, title, link_id, url
         from unnest($3::text[], $4::uuid[], $5::text[]) with ordinality as e (title, link_id, url, n)",
        page.id.0,
        page.org_id.0,
        &titles,
        &links as &[Option<Uuid>],
        &urls as &[Option<String>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes a page; `false` when there is none.
pub async fn delete(conn: &mut PgConnection, org_id: OrgId, id: LinkPageId) -> Result<bool, sqlx::Error> {
    let done =
        sqlx::query!("delete from link_pages where org_id = $1 and id = $2", org_id.0, id.0).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}
