//! Visits of codes: noted in batches by whoever redirects, counted once by a worker, and read as sums.
//!
//! A batch is one row, because what the redirecting process pays for is the hottest path of the program. A worker moves
//! batches into the day's visits and into the sums, and removes them, in one transaction.

mod batch;
mod count;
mod list;
mod pace;
mod rank;
mod read;
mod store;
mod tally;

use chrono::{DateTime, NaiveDate, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sqlx::PgConnection;
use uuid::Uuid;

pub use self::{
    batch::insert_batch,
    count::{Counted, Portion, count_batches, last_batch},
    list::{Kept, Place, list_behind, targets},
    rank::{Ranked, Span, branches, days, is_counted, scans, tested_links, top_codes, top_links},
    read::{Traffic, hours, since, totals, traffic},
    tally::{FACETS, Facets, OTHERS, Sum, Tally, Total},
};
use crate::id::OrgId;

/// What is noted of a visit is short; most of it fits without memory of its own.
pub type Text = compact_str::CompactString;

/// A visit as it is noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Its id, of the time that it was noted.
    pub id: Uuid,
    /// Whose code it was.
    pub org_id: OrgId,
    /// The link or QR code.
    pub target_id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// Who, for this day (UTC) only.
    pub visitor: i64,
    /// Whether a program and no person came.
    pub is_bot: bool,
    /// One of [`crate::agent::DEVICES`].
    pub device: Text,
    /// The operating system; empty where it is not known, as all that follows.
    pub system: Text,
    /// The browser.
    pub browser: Text,
    /// The country, two letters (ISO 3166-1).
    pub country: Text,
    /// The region, such as `US-CA` (ISO 3166-2).
    pub region: Text,
    /// The language that is preferred (BCP 47, without its region).
    pub language: Text,
    /// The host of the page that led here.
    pub referrer: Text,
    /// Which rule or variant led on, `rule:<id>` or `variant:<id>`.
    pub branch: Text,
}

/// Who a visitor is, as far as a day's salt tells: the same address and user agent are one, and another tomorrow.
pub fn visitor(salt: &[u8], address: &str, agent: &str) -> i64 {
    let mut hash = Hmac::<Sha256>::new_from_slice(salt).expect("HMAC takes keys of any length");
    hash.update(address.as_bytes());
    hash.update(&[0]);
    hash.update(agent.as_bytes());
    let [a, b, c, d, e, f, g, h, ..] = hash.finalize().into_bytes().0;
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The salt of a day; made by whoever asks first.
pub async fn salt(conn: &mut PgConnection, day: NaiveDate, fresh: [u8; 32]) -> Result<Vec<u8>, sqlx::Error> {
    sqlx::query!("insert into visit_salts (day, salt) values ($1, $2) on conflict do nothing", day, &fresh)
        .execute(&mut *conn)
        .await?;
    sqlx::query_scalar!("select salt from visit_salts where day = $1", day).fetch_one(conn).await
}

/// Forgets the salts of days before `before`, and with them who the visitors were; and which batches were counted, those
/// of before that day.
pub async fn forget(conn: &mut PgConnection, before: NaiveDate) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from visit_salts where day < $1", before).execute(&mut *conn).await?;
    let floor = crate::id::floor_uuid(before.and_time(chrono::NaiveTime::MIN).and_utc());
    sqlx::query!("delete from visit_batches_counted where id < $1", floor).execute(conn).await?;
    Ok(())
}
