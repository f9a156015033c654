//! Batches: what a process noted in some milliseconds, one value in one row.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Text, Visit};
use crate::id::OrgId;

/// A visit as a batch holds it. The order of the fields is that of the bytes: postcard writes no names.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    id: [u8; 16],
    org_id: [u8; 16],
    target_id: [u8; 16],
    /// Microseconds since the Unix epoch.
    at: i64,
    visitor: i64,
    is_bot: bool,
    #[serde(borrow)]
    texts: [&'a str; 8],
}

impl<'a> From<&'a Visit> for Stored<'a> {
    fn from(visit: &'a Visit) -> Self {
        Self {
            id: visit.id.into_bytes(),
            org_id: visit.org_id.0.into_bytes(),
            target_id: visit.target_id.into_bytes(),
            at: visit.at.timestamp_micros(),
            visitor: visit.visitor,
            is_bot: visit.is_bot,
            texts: [
                &visit.device,
                &visit.system,
                &visit.browser,
                &visit.country,
                &visit.region,
                &visit.language,
                &visit.referrer,
                &visit.branch,
            ],
        }
    }
}

impl From<Stored<'_>> for Visit {
    fn from(stored: Stored<'_>) -> Self {
        let [device, system, browser, country, region, language, referrer, branch] = stored.texts.map(Text::from);
        Self {
            id: Uuid::from_bytes(stored.id),
            org_id: OrgId(Uuid::from_bytes(stored.org_id)),
            target_id: Uuid::from_bytes(stored.target_id),
            at: DateTime::from_timestamp_micros(stored.at).unwrap_or_default(),
            visitor: stored.visitor,
            is_bot: stored.is_bot,
            device,
            system,
            browser,
            country,
            region,
            language,
            referrer,
            branch,
        }
    }
}

fn write(visits: &[Visit]) -> Result<Vec<u8>, sqlx::Error> {
    let stored: Vec<Stored<'_>> = visits.iter().map(Stored::from).collect();
    postcard::to_stdvec(&stored).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn read(bytes: &[u8]) -> Result<Vec<Visit>, sqlx::Error> {
    let stored: Vec<Stored<'_>> = postcard::from_bytes(bytes).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(stored.into_iter().map(Visit::from).collect())
}

/// Stores what a process noted. The same batch a second time changes nothing.
pub async fn insert_batch(conn: &mut PgConnection, id: Uuid, visits: &[Visit]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into visit_batches (id, size, visits) values ($1, $2, $3) on conflict do nothing",
        id,
        i32::try_from(visits.len()).unwrap_or(i32::MAX),
        write(visits)?,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A row, as this program stores it or as one of before did.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) visits: Option<Vec<u8>>,
    pub(super) ids: Option<Vec<Uuid>>,
    pub(super) org_ids: Option<Vec<Uuid>>,
    pub(super) target_ids: Option<Vec<Uuid>>,
    pub(super) ats: Option<Vec<DateTime<Utc>>>,
    pub(super) visitors: Option<Vec<i64>>,
    pub(super) bots: Option<Vec<bool>>,
    pub(super) devices: Option<Vec<String>>,
    pub(super) systems: Option<Vec<String>>,
    pub(super) browsers: Option<Vec<String>>,
    pub(super) countries: Option<Vec<String>>,
    pub(super) regions: Option<Vec<String>>,
    pub(super) languages: Option<Vec<String>>,
    pub(super) referrers: Option<Vec<String>>,
    pub(super) branches: Option<Vec<String>>,
}

impl Row {
    /// The visits of the batch.
    pub(super) fn read(self) -> Result<Vec<Visit>, sqlx::Error> {
        match &self.visits {
            Some(bytes) => read(bytes),
            None => Ok(self.arrays()),
        }
    }

    /// The visits of a batch that a program of before stored.
    fn arrays(self) -> Vec<Visit> {
        let ids = self.ids.unwrap_or_default();
        let (mut orgs, mut targets) = (values(self.org_ids), values(self.target_ids));
        let (mut ats, mut visitors, mut bots) = (values(self.ats), values(self.visitors), values(self.bots));
        let texts = [
            self.devices,
            self.systems,
            self.browsers,
            self.countries,
            self.regions,
            self.languages,
            self.referrers,
            self.branches,
        ];
        let mut texts = texts.map(values);
        let visit = |id| {
            let [device, system, browser, country, region, language, referrer, branch] =
                texts.each_mut().map(|texts| Text::from(texts.next().unwrap_or_default()));
            Visit {
                id,
                org_id: OrgId(orgs.next().unwrap_or_default()),
                target_id: targets.next().unwrap_or_default(),
                at: ats.next().unwrap_or_default(),
                visitor: visitors.next().unwrap_or_default(),
                is_bot: bots.next().unwrap_or_default(),
                device,
                system,
                browser,
                country,
                region,
                language,
                referrer,
                branch,
            }
        };
        ids.into_iter().map(visit).collect()
    }
}

fn values<T>(values: Option<Vec<T>>) -> std::vec::IntoIter<T> {
    values.unwrap_or_default().into_iter()
}
