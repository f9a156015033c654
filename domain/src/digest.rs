//! The weekly digest: what an organisation's links and codes had in seven days, for each of its members on their own Monday
//! morning.
//!
//! Visits are summed by day in UTC, so a digest tells of the seven days in UTC that are over when its reader's Monday
//! morning comes: Monday to Sunday nearly everywhere, Sunday to Saturday where that morning is still Sunday in UTC.

pub mod chart;
mod report;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use sqlx::PgConnection;

pub use self::report::{Report, Test, Variant, Week, report};
use crate::{
    id::{OrgId, UserId},
    local_time,
    notification::{MORNING, Mode, Preferences},
    user::EmailAddress,
};

/// The days of a digest.
const DAYS: u64 = 7;
/// On so many days of a week its digest is told, from its Monday on: one that was missed is better late than never, and
/// after Wednesday nobody wants it.
const TOLD_DAYS: u64 = 3;

/// When the digest of a Monday is told no more in `zone`.
fn over(monday: NaiveDate, zone: Tz) -> DateTime<Utc> {
    local_time::moment(monday + Days::new(TOLD_DAYS), NaiveTime::MIN, zone)
}

/// A time zone where it was Monday morning lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Morning {
    /// Where.
    pub zone: Tz,
    /// Which Monday.
    pub monday: NaiveDate,
    /// When.
    pub at: DateTime<Utc>,
    /// The first of the seven days (UTC) that are over by then.
    pub first_day: NaiveDate,
}

/// Every time zone where it was Monday morning, and is not yet Thursday.
pub fn mornings(now: DateTime<Utc>) -> Vec<Morning> {
    let morning = |zone: Tz| {
        let (monday, at) = local_time::last_monday(now, MORNING, zone);
        let first_day = at.date_naive() - Days::new(DAYS);
        (now < over(monday, zone)).then_some(Morning { zone, monday, at, first_day })
    };
    TZ_VARIANTS.iter().copied().filter_map(morning).collect()
}

/// Notes digests for the members of `orgs` whose Monday morning it was: those who want one, were there by then, have none for
/// that Monday, and whose organisation had visits in the week or the one before. Returns the organisations, each as often as
/// it has members among them.
pub async fn note_due(
    conn: &mut PgConnection,
    orgs: &[OrgId],
    mornings: &[Morning],
    now: DateTime<Utc>,
) -> Result<Vec<OrgId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"insert into digests (org_id, user_id, monday, first_day, created_at)
           select m.org_id, m.user_id, z.monday, z.first_day, $5
           from members m join users u on u.id = m.user_id
           join unnest($1::text[], $2::date[], $3::date[], $4::timestamptz[]) as z(zone, monday, first_day, at)
             on z.zone = u.time_zone
           left join notification_preferences p on p.org_id = m.org_id and p.user_id = m.user_id
           where m.org_id = any($6) and coalesce(p.weekly_digest, true) and m.created_at <= z.at
             and not exists (select from digests d
                             where d.org_id = m.org_id and d.user_id = m.user_id and d.monday = z.monday)
             and exists (select from visit_days v
                         where v.org_id = m.org_id and v.target_id = '00000000-0000-0000-0000-000000000000'
                           and v.day between z.first_day - 7 and z.first_day + 6 and v.visits > 0)
           order by m.org_id, m.user_id for key share of m
           on conflict do nothing
           returning org_id as "org_id: OrgId""#,
        &mornings.iter().map(|it| it.zone.name()).collect::<Vec<_>>() as &[&str],
        &mornings.iter().map(|it| it.monday).collect::<Vec<_>>(),
        &mornings.iter().map(|it| it.first_day).collect::<Vec<_>>(),
        &mornings.iter().map(|it| it.at).collect::<Vec<_>>(),
        now,
        &orgs.iter().map(|org| org.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await
}

/// A digest that is to be sent.
#[derive(Debug, Clone)]
pub struct Open {
    /// Who gets it.
    pub user_id: UserId,
    /// Where they are written to.
    pub email: EmailAddress,
    /// Where they live.
    pub zone: Tz,
    /// What they wish, as of now.
    pub preferences: Preferences,
    /// On which Monday of theirs.
    pub monday: NaiveDate,
    /// The days that it tells of.
    pub week: Week,
}

impl Open {
    /// Whether it is still wanted by `at`, and its news are not old by then.
    pub fn is_wanted(&self, at: DateTime<Utc>) -> bool {
        self.preferences.weekly_digest && at < over(self.monday, self.zone)
    }
}

/// An organisation's digests that were not settled and need not wait, held until the transaction ends; those that somebody
/// else holds are left out.
pub async fn lock_open(
    conn: &mut PgConnection,
    org_id: OrgId,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Open>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select d.user_id as "user_id: UserId", u.email as "email: EmailAddress", u.time_zone, d.monday, d.first_day,
                  p.mode as "mode?: Mode", p.quiet_from as "quiet_from?", p.quiet_to as "quiet_to?",
                  p.weekly_digest as "weekly_digest?"
           from digests d join users u on u.id = d.user_id
           left join notification_preferences p on p.org_id = d.org_id and p.user_id = d.user_id
           where d.org_id = $1 and d.settled_at is null and (d.not_before is null or d.not_before <= $2)
           order by d.monday, d.user_id limit $3 for no key update of d skip locked"#,
        org_id.0,
        now,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let open = rows.into_iter().map(|row| Open {
        user_id: row.user_id,
        email: row.email,
        zone: row.time_zone.parse().unwrap_or(Tz::UTC),
        preferences: Preferences::of_row(row.mode, row.quiet_from, row.quiet_to, row.weekly_digest),
        monday: row.monday,
        week: Week { first: row.first_day },
    });
    Ok(open.collect())
}

/// Has a digest from [`lock_open`] wait.
pub async fn put_off(
    conn: &mut PgConnection,
    org_id: OrgId,
    open: &Open,
    until: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update digests set not_before = $4 where org_id = $1 and user_id = $2 and monday = $3",
        org_id.0,
        open.user_id.0,
        open.monday,
        until,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When the next of an organisation's digests is done waiting.
pub async fn next_open(conn: &mut PgConnection, org_id: OrgId) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!("select min(not_before) from digests where org_id = $1 and settled_at is null", org_id.0)
        .fetch_one(conn)
        .await
}

/// Notes that digests from [`lock_open`] were sent, or need not be.
pub async fn settle(
    conn: &mut PgConnection,
    org_id: OrgId,
    open: &[&Open],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update digests d set settled_at = $4 from unnest($2::uuid[], $3::date[]) as o(user_id, monday)
         where d.org_id = $1 and d.user_id = o.user_id and d.monday = o.monday",
        org_id.0,
        &open.iter().map(|it| it.user_id.0).collect::<Vec<_>>(),
        &open.iter().map(|it| it.monday).collect::<Vec<_>>(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the digests of Mondays before `before`.
pub async fn forget(conn: &mut PgConnection, before: NaiveDate) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from digests where monday < $1", before).execute(conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_zone_has_its_monday_and_the_seven_days_that_are_over() {
        let of = |now: &str, zone: Tz| mornings(now.parse().unwrap()).into_iter().find(|it| it.zone == zone);
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        // Auckland's Monday morning is Sunday in UTC.
        let found = of("2026-03-08T19:00:00Z", Tz::Pacific__Auckland).unwrap();
        assert_eq!((found.monday, found.first_day), (day("2026-03-09"), day("2026-03-01")));
        assert_eq!(of("2026-03-08T19:00:00Z", Tz::Europe__Berlin), None);
        let found = of("2026-03-09T07:00:00Z", Tz::Europe__Berlin).unwrap();
        assert_eq!((found.monday, found.first_day), (day("2026-03-09"), day("2026-03-02")));
        // New York's clocks were set forward the day before.
        assert_eq!(of("2026-03-09T11:59:59Z", Tz::America__New_York), None);
        assert!(of("2026-03-09T12:00:00Z", Tz::America__New_York).is_some());
        // It is made up for until Wednesday is over there.
        for (zone, ends) in
            [(Tz::America__New_York, "2026-03-12T04:00:00Z"), (Tz::Pacific__Auckland, "2026-03-11T11:00:00Z")]
        {
            let ends: DateTime<Utc> = ends.parse().unwrap();
            let last = (ends - chrono::TimeDelta::seconds(1)).to_rfc3339();
            assert!(of(&last, zone).is_some_and(|it| ends - it.at < chrono::TimeDelta::days(3)), "{zone}");
            assert_eq!(of(&ends.to_rfc3339(), zone), None, "{zone}");
        }
    }
}
