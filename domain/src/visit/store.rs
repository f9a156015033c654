//! Visits one by one, as they are kept: which were their visitors' first, and all of them by `COPY`, which takes half of what
//! inserting them takes.

use std::collections::HashSet;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Visit, pace::Pace};
use crate::id::floor_uuid;

const COPY: &str = "copy visits (id, org_id, target_id, at, visitor, is_bot, is_unique, device, system, browser, country, \
                    region, language, referrer, branch) from stdin (format binary)";
/// How many columns these are.
const COLUMNS: i16 = 15;
/// About how many bytes a visit takes.
const ROW: usize = 256;
/// Postgres's days begin there: 2000-01-01 as seconds since the Unix epoch.
const EPOCH: i64 = 946_684_800;

/// Which of these visits are their visitors' first of the day and target: neither came one of these before, nor one that is
/// stored. Programs' visits are nobody's first.
pub(super) async fn firsts(
    conn: &mut PgConnection,
    visits: &[Visit],
    pace: &mut Pace,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let day = |visit: &Visit| visit.at.date_naive();
    let mut people: Vec<&Visit> = visits.iter().filter(|visit| !visit.is_bot).collect();
    // In the order of the index, in which looking each up is cheapest.
    people.sort_unstable_by_key(|visit| (visit.target_id, visit.visitor, day(visit), visit.id));
    people.dedup_by_key(|visit| (visit.target_id, visit.visitor, day(visit)));
    let days = people.iter().map(|visit| day(visit));
    let (Some(first), Some(last)) = (days.clone().min(), days.max()) else { return Ok(HashSet::new()) };
    let floor = |day: NaiveDate| floor_uuid(day.and_time(NaiveTime::MIN).and_utc());
    let mut firsts = HashSet::with_capacity(people.len());
    for some in people.chunks(pace.size()) {
        pace.piece().await;
        let seen = sqlx::query_file_scalar!(
            "src/visit/seen.sql",
            &some.iter().map(|visit| visit.target_id).collect::<Vec<_>>(),
            &some.iter().map(|visit| visit.visitor).collect::<Vec<_>>(),
            floor(first),
            floor(last + Days::new(1)),
        )
        .fetch_all(&mut *conn)
        .await?;
        let seen: HashSet<usize> = seen.into_iter().filter_map(|n| usize::try_from(n - 1).ok()).collect();
        let first = some.iter().enumerate().filter(|(n, _)| !seen.contains(n));
        firsts.extend(first.map(|(_, visit)| visit.id));
    }
    Ok(firsts)
}

/// Stores visits.
pub(super) async fn insert(
    conn: &mut PgConnection,
    visits: &[Visit],
    firsts: &HashSet<Uuid>,
    pace: &mut Pace,
) -> Result<(), sqlx::Error> {
    let mut visits: Vec<&Visit> = visits.iter().collect();
    // In the order of the index: its next place is beside the last one.
    visits.sort_unstable_by_key(|visit| (visit.target_id, visit.visitor, visit.id));
    for some in visits.chunks(pace.size()) {
        pace.piece().await;
        let mut copy = conn.copy_in_raw(COPY).await?;
        copy.send(rows(some, firsts)).await?;
        copy.finish().await?;
    }
    Ok(())
}

/// The rows as Postgres's binary format of `COPY` has them
/// (<https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.55.9.4>).
fn rows(visits: &[&Visit], firsts: &HashSet<Uuid>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ROW * visits.len());
    // The signature, no flags, and no more header.
    bytes.extend(b"PGCOPY\n\xff\r\n\0");
    bytes.extend([0; 8]);
    for visit in visits {
        bytes.extend(COLUMNS.to_be_bytes());
        field(&mut bytes, visit.id.as_bytes());
        field(&mut bytes, visit.org_id.0.as_bytes());
        field(&mut bytes, visit.target_id.as_bytes());
        field(&mut bytes, &moment(visit.at).to_be_bytes());
        field(&mut bytes, &visit.visitor.to_be_bytes());
        field(&mut bytes, &[visit.is_bot.into()]);
        field(&mut bytes, &[firsts.contains(&visit.id).into()]);
        let texts = [&visit.device, &visit.system, &visit.browser, &visit.country, &visit.region];
        let more = [&visit.language, &visit.referrer, &visit.branch];
        texts.into_iter().chain(more).for_each(|text| field(&mut bytes, text.as_bytes()));
    }
    bytes.extend((-1_i16).to_be_bytes());
    bytes
}

fn field(bytes: &mut Vec<u8>, value: &[u8]) {
    let length = i32::try_from(value.len()).expect("what is noted of a visit is short");
    bytes.extend(length.to_be_bytes());
    bytes.extend(value);
}

/// Microseconds since Postgres's days begin.
fn moment(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros() - EPOCH * 1_000_000
}
