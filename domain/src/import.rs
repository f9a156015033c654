//! Imports: links that come from a file, line by line, as a durable job. Each line ends once, and says how.

mod read;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

pub use self::read::{Unreadable, read};
use crate::{
    chance::Chance,
    code::Code,
    id::{ImportId, LinkId, OrgId, UserId},
    label,
    link::{self, Link, TAGS_MAX, TITLE_MAX},
    link_health::Health,
};

/// The most lines of an import.
pub const LINES_MAX: usize = 50_000;

/// Where a file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Format {
    /// CSV with a line of names.
    Csv,
    /// Bitly.
    Bitly,
    /// YOURLS.
    Yourls,
    /// Shlink.
    Shlink,
}

impl Format {
    /// Its name in rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Bitly => "bitly",
            Self::Yourls => "yourls",
            Self::Shlink => "shlink",
        }
    }
}

/// The names of a CSV file's columns, where they are others than the usual.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// Where links lead.
    pub destination: Option<String>,
    /// Their codes.
    pub slug: Option<String>,
    /// What they are called.
    pub title: Option<String>,
    /// Names of tags, separated by comma, semicolon or bar.
    pub tags: Option<String>,
    /// From when on they lead anywhere.
    pub starts_at: Option<String>,
    /// Until when.
    pub expires_at: Option<String>,
    /// After how many visits they end.
    pub max_visits: Option<String>,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Where it begins, from 1; in JSON the number of the item.
    pub number: u64,
    /// The link that it describes, or why it does not.
    pub record: Result<Record, String>,
}

/// A link as a file describes it, not checked yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Where it leads.
    pub destination: String,
    /// Its code.
    pub slug: Option<String>,
    /// What it is called.
    pub title: String,
    /// The names of its tags.
    pub tags: Vec<String>,
    /// From when on it leads anywhere.
    pub starts_at: Option<DateTime<Utc>>,
    /// Until when.
    pub expires_at: Option<DateTime<Utc>>,
    /// After how many visits it ends.
    pub max_visits: Option<i64>,
    /// Whether it is put away.
    pub archived: bool,
}

impl Record {
    /// The rule that keeps it from being a link, if one does. Titles that are too long are cut instead.
    pub fn check(&self) -> Result<(), String> {
        link::check_destination(&self.destination).map_err(|rule| format!("destination {rule}"))?;
        if let Some(slug) = &self.slug {
            slug.parse::<Code>().map_err(|rule| format!("slug {rule}"))?;
        }
        if self.tags.len() > TAGS_MAX {
            return Err(format!("tags must be at most {TAGS_MAX}"));
        }
        if self.tags.iter().any(|tag| tag.chars().count() > label::NAME_MAX) {
            return Err(format!("tags must be at most {} characters", label::NAME_MAX));
        }
        match (self.starts_at, self.expires_at) {
            (Some(starts), Some(expires)) if starts >= expires => Err("expiresAt must be after startsAt".into()),
            _ => Ok(()),
        }
    }

    /// A new link of `import`, whose tags have the ids `tags`.
    pub fn link(&self, import: &Import, tags: Vec<Uuid>, now: DateTime<Utc>, chance: &Chance) -> Link {
        let mut link = Link::new(LinkId::new(now, chance), import.org_id, now);
        link.slug = self.slug.clone().unwrap_or_default();
        link.created_by = import.created_by;
        self.apply(&mut link, tags, now);
        link
    }

    /// Makes a link what the line says of it; what it does not say stays, and tags are added.
    pub fn apply(&self, link: &mut Link, tags: Vec<Uuid>, now: DateTime<Utc>) {
        // What was known of the destination is known of the other one.
        if link.destination != self.destination {
            link.health = link.health.take().map(|_| Json(Health::unknown(now)));
        }
        link.destination.clone_from(&self.destination);
        if !self.title.is_empty() {
            link.title = self.title.chars().take(TITLE_MAX).collect();
        }
        link.starts_at = self.starts_at.or(link.starts_at);
        link.expires_at = self.expires_at.or(link.expires_at);
        link.max_visits = self.max_visits.or(link.max_visits);
        for tag in tags {
            if !link.tag_ids.contains(&tag) && link.tag_ids.len() < TAGS_MAX {
                link.tag_ids.push(tag);
            }
        }
        if self.archived {
            link.archived_at = link.archived_at.or(Some(now));
        }
        link.updated_at = now;
    }
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Outcome {
    /// A link was created.
    Created,
    /// The link with its code was changed.
    Updated,
    /// Nothing, for a reason.
    Skipped,
}

impl Outcome {
    /// Its name in rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Skipped => "skipped",
        }
    }
}

/// An import.
#[derive(Debug, Clone)]
pub struct Import {
    /// Its id.
    pub id: ImportId,
    /// Whose it is.
    pub org_id: OrgId,
    /// Where its file comes from.
    pub format: Format,
    /// Whether a link that has a line's code already is changed.
    pub update_existing: bool,
    /// How many lines it has.
    pub total: i32,
    /// The last line that ended; 0 before the first.
    pub cursor: i32,
    /// How many lines created a link.
    pub created: i32,
    /// How many changed one.
    pub updated: i32,
    /// How many did nothing.
    pub skipped: i32,
    /// Who asked.
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When its last line ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A line on its way.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its place among the lines, from 1.
    pub place: i32,
    /// The link, unless the line has none.
    pub record: Option<Json<Record>>,
    /// Why it has none.
    pub reason: Option<String>,
}

/// How a line ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its place among the lines, from 1.
    pub place: i32,
    /// What became of it.
    pub outcome: Outcome,
    /// Why nothing did.
    pub reason: Option<String>,
    /// The link.
    pub link_id: Option<LinkId>,
}

/// A result as its owner sees it.
#[derive(Debug, Clone)]
pub struct LineResult {
    /// Its place among the lines, from 1.
    pub place: i32,
    /// Where it begins in the file.
    pub line: i64,
    /// What became of it.
    pub outcome: Outcome,
    /// Why nothing did.
    pub reason: Option<String>,
    /// The link.
    pub link_id: Option<LinkId>,
}

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Import,
            r#"select id as "id: ImportId", org_id as "org_id: OrgId", format as "format: Format", update_existing,
                      total, cursor, created, updated, skipped, created_by as "created_by: UserId", created_at,
                      finished_at
               from imports "# + $tail,
            $($arg),*
        )
    };
}

/// Stores an import with its lines.
pub async fn insert(conn: &mut PgConnection, import: &Import, lines: &[Line]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into imports (id, org_id, format, update_existing, total, created_by, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        import.id.0,
        import.org_id.0,
        import.format.name(),
        import.update_existing,
        import.total,
        import.created_by.map(|id| id.0),
        import.created_at,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into import_lines (import_id, org_id, place, line, record, reason)
         select $1, $2, place, line, record, reason
         from unnest($3::bigint[], $4::jsonb[], $5::text[]) with ordinality as f(line, record, reason, place)",
        import.id.0,
        import.org_id.0,
        &lines.iter().map(|line| i64::try_from(line.number).unwrap_or(i64::MAX)).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.record.clone().ok().map(Json)).collect::<Vec<_>>() as &[Option<Json<Record>>],
        &lines.iter().map(|line| line.record.clone().err()).collect::<Vec<_>>() as &[Option<String>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One import of an organisation.
pub async fn find(conn: &mut PgConnection, org_id: OrgId, id: ImportId) -> Result<Option<Import>, sqlx::Error> {
    select!("where org_id = $1 and id = $2", org_id.0, id.0).fetch_optional(conn).await
}

/// The same, held against other changes until the transaction ends.
pub async fn lock(conn: &mut PgConnection, org_id: OrgId, id: ImportId) -> Result<Option<Import>, sqlx::Error> {
    select!("where org_id = $1 and id = $2 for update", org_id.0, id.0).fetch_optional(conn).await
}

/// An organisation's imports, newest first, from before `before`.
pub async fn list(
    conn: &mut PgConnection,
    org_id: OrgId,
    before: Option<ImportId>,
    limit: i64,
) -> Result<Vec<Import>, sqlx::Error> {
    let before = before.map_or(Uuid::max(), |id| id.0);
    select!("where org_id = $1 and id < $2 order by id desc limit $3", org_id.0, before, limit).fetch_all(conn).await
}

/// The lines behind the cursor.
pub async fn waiting(conn: &mut PgConnection, import: &Import, limit: i64) -> Result<Vec<Waiting>, sqlx::Error> {
    sqlx::query_as!(
        Waiting,
        r#"select place, record as "record: Json<Record>", reason from import_lines
           where import_id = $1 and org_id = $2 and place > $3 order by place limit $4"#,
        import.id.0,
        import.org_id.0,
        import.cursor,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Records how the lines of a portion ended, and moves the import on behind the last of them.
pub async fn advance(
    conn: &mut PgConnection,
    import: &Import,
    ended: &[Ended],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update import_lines l set outcome = f.outcome, reason = f.reason, link_id = f.link_id, record = null
         from unnest($3::int[], $4::text[], $5::text[], $6::uuid[]) as f(place, outcome, reason, link_id)
         where l.import_id = $1 and l.org_id = $2 and l.place = f.place",
        import.id.0,
        import.org_id.0,
        &ended.iter().map(|line| line.place).collect::<Vec<_>>(),
        &ended.iter().map(|line| line.outcome.name()).collect::<Vec<_>>() as &[&str],
        &ended.iter().map(|line| line.reason.clone()).collect::<Vec<_>>() as &[Option<String>],
        &ended.iter().map(|line| line.link_id.map(|id| id.0)).collect::<Vec<_>>() as &[Option<Uuid>],
    )
    .execute(&mut *conn)
    .await?;
    let count = |of: Outcome| ended.iter().filter(|line| line.outcome == of).count() as i32;
    sqlx::query!(
        "update imports set cursor = $3, created = created + $4, updated = updated + $5, skipped = skipped + $6,
                finished_at = case when $3 >= total then $7::timestamptz end
         where org_id = $1 and id = $2",
        import.org_id.0,
        import.id.0,
        ended.last().map_or(import.total, |line| line.place),
        count(Outcome::Created),
        count(Outcome::Updated),
        count(Outcome::Skipped),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How lines ended, in their order, from behind the place `after`.
pub async fn results(
    conn: &mut PgConnection,
    org_id: OrgId,
    id: ImportId,
    outcome: Option<Outcome>,
    after: i32,
    limit: i64,
) -> Result<Vec<LineResult>, sqlx::Error> {
    sqlx::query_as!(
        LineResult,
        r#"select place, line, outcome as "outcome!: Outcome", reason, link_id as "link_id: LinkId" from import_lines
           where org_id = $1 and import_id = $2 and place > $3 and outcome is not null
             and ($4::text is null or outcome = $4)
           order by place limit $5"#,
        org_id.0,
        id.0,
        after,
        outcome.map(Outcome::name),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Removes imports that ended before `before`.
pub async fn forget(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("delete from imports where finished_at < $1", before).execute(conn).await?;
    Ok(done.rows_affected())
}
