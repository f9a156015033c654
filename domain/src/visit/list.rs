//! Visits one by one, as far as they were counted and are kept.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    code::Target,
    id::{LinkId, OrgId, QrId, floor_uuid},
};

/// A visit that was counted.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its id.
    pub id: Uuid,
    /// What was visited.
    pub target: Target,
    /// When.
    pub at: DateTime<Utc>,
    /// Who, for this day only.
    pub visitor: i64,
    /// Whether it was the visitor's first of the day and target.
    pub is_unique: bool,
    /// Whether a program and no person came.
    pub is_bot: bool,
    /// As in [`super::Visit`], and so on.
    pub device: String,
    /// The operating system.
    pub system: String,
    /// The browser.
    pub browser: String,
    /// The country.
    pub country: String,
    /// The region.
    pub region: String,
    /// The language.
    pub language: String,
    /// The host of the page that led here.
    pub referrer: String,
    /// Which rule or variant led on.
    pub branch: String,
}

/// A place among the visits of a day; before all of them by default. They are read off the index that counting has, which
/// goes by target and visitor.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    target: Uuid,
    visitor: i64,
    id: Uuid,
}

impl Default for Place {
    fn default() -> Self {
        Self { target: Uuid::nil(), visitor: i64::MIN, id: Uuid::nil() }
    }
}

impl Kept {
    /// The place behind this visit.
    pub fn place(&self) -> Place {
        Place { target: self.target.row().1, visitor: self.visitor, id: self.id }
    }
}

/// All links and QR codes of an organisation.
pub async fn targets(conn: &mut PgConnection, org_id: OrgId) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select id as "id!" from links where org_id = $1 union all select id from qr_codes where org_id = $1 order by 1"#,
        org_id.0,
    )
    .fetch_all(conn)
    .await
}

/// The visits of a day (UTC) behind `place`, of some of an organisation's links and QR codes.
pub async fn list_behind(
    conn: &mut PgConnection,
    org_id: OrgId,
    targets: &[Uuid],
    day: NaiveDate,
    place: Place,
    limit: i64,
) -> Result<Vec<Kept>, sqlx::Error> {
    let floor = |day: NaiveDate| floor_uuid(day.and_time(NaiveTime::MIN).and_utc());
    let rows = sqlx::query!(
        r#"select id, target_id, at, visitor, is_unique, is_bot, device, system, browser, country, region, language, referrer,
                  branch, exists (select from qr_codes q where q.id = target_id) as "is_qr!"
           from visits
           where org_id = $1 and id >= $2 and id < $3 and target_id = any($4)
             and (target_id, visitor, id) > ($5, $6, $7)
           order by target_id, visitor, id limit $8"#,
        org_id.0,
        floor(day),
        floor(day + Days::new(1)),
        targets,
        place.target,
        place.visitor,
        place.id,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Kept {
            id: row.id,
            target: if row.is_qr { Target::Qr(QrId(row.target_id)) } else { Target::Link(LinkId(row.target_id)) },
            at: row.at,
            visitor: row.visitor,
            is_unique: row.is_unique,
            is_bot: row.is_bot,
            device: row.device,
            system: row.system,
            browser: row.browser,
            country: row.country,
            region: row.region,
            language: row.language,
            referrer: row.referrer,
            branch: row.branch,
        })
        .collect())
}
