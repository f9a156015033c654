//! How a member wants to be told: at once, once a day, once a week or not at all, and when they want no mail.

use chrono::{DateTime, Datelike, Days, NaiveTime, TimeDelta, Utc, Weekday};
use chrono_tz::Tz;
use sqlx::PgConnection;

use crate::{
    id::{OrgId, UserId},
    local_time,
};

/// When collected news and digests come, by the clock on the recipient's wall.
pub const MORNING: NaiveTime = NaiveTime::from_hms_opt(8, 0, 0).unwrap();

/// How often mails tell of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Mode {
    /// With the next run of the sweep: one mail for all that came since the last.
    Immediate,
    /// In the morning.
    Daily,
    /// On Monday morning.
    Weekly,
    /// Never.
    Off,
}

impl Mode {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Off => "off",
        }
    }
}

/// Hours without mail, by the clock on the wall; with an end before their beginning they go over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    /// Their beginning.
    pub from: NaiveTime,
    /// Their end, which is another time.
    pub to: NaiveTime,
}

impl QuietHours {
    /// When they end, if `at` lies in them.
    fn end(self, zone: Tz, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = at.with_timezone(&zone);
        let (today, time) = (local.date_naive(), local.time());
        let day = if self.from < self.to {
            (self.from..self.to).contains(&time).then_some(today)
        } else if time < self.to {
            Some(today)
        } else {
            (time >= self.from).then(|| today + Days::new(1))
        }?;
        // Where clocks are set back, the end may have been shown once before.
        let end = local_time::moment(day, self.to, zone);
        Some(if end > at { end } else { at + TimeDelta::hours(1) })
    }
}

/// A member's wishes in one organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// How often.
    pub mode: Mode,
    /// When not.
    pub quiet: Option<QuietHours>,
    /// Whether the weekly digest comes.
    pub weekly_digest: bool,
}

impl Default for Preferences {
    fn default() -> Self {
        Self { mode: Mode::Daily, quiet: None, weekly_digest: true }
    }
}

impl Preferences {
    /// Those of a row, or the defaults where there is none.
    pub(crate) fn of_row(
        mode: Option<Mode>,
        from: Option<NaiveTime>,
        to: Option<NaiveTime>,
        weekly_digest: Option<bool>,
    ) -> Self {
        let (Some(mode), Some(weekly_digest)) = (mode, weekly_digest) else { return Self::default() };
        Self { mode, quiet: from.zip(to).map(|(from, to)| QuietHours { from, to }), weekly_digest }
    }

    /// When a mail is to tell what happens at `now` to somebody in `zone`; `None` for never.
    pub fn due(&self, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let at = match self.mode {
            Mode::Off => return None,
            Mode::Immediate => now,
            Mode::Daily => next_morning(zone, now, |_| true),
            Mode::Weekly => next_morning(zone, now, |day| day == Weekday::Mon),
        };
        Some(self.loud(zone, at))
    }

    /// `at`, or the end of the quiet hours that it lies in.
    pub fn loud(&self, zone: Tz, at: DateTime<Utc>) -> DateTime<Utc> {
        self.quiet.and_then(|quiet| quiet.end(zone, at)).unwrap_or(at)
    }
}

/// The first morning after `now` of a day that is wanted.
fn next_morning(zone: Tz, now: DateTime<Utc>, wanted: fn(Weekday) -> bool) -> DateTime<Utc> {
    let today = local_time::day(now, zone);
    let days = today.iter_days().take(9).filter(|day| wanted(day.weekday()));
    let mut mornings = days.map(|day| local_time::moment(day, MORNING, zone));
    mornings.find(|morning| *morning > now).unwrap_or(now + TimeDelta::days(7))
}

/// A member's wishes; the defaults where they have said nothing.
pub async fn find_preferences(
    conn: &mut PgConnection,
    org_id: OrgId,
    user_id: UserId,
) -> Result<Preferences, sqlx::Error> {
    let row = sqlx::query!(
        r#"select mode as "mode: Mode", quiet_from, quiet_to, weekly_digest from notification_preferences
           where org_id = $1 and user_id = $2"#,
        org_id.0,
        user_id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map_or_else(Preferences::default, |row| {
        Preferences::of_row(Some(row.mode), row.quiet_from, row.quiet_to, Some(row.weekly_digest))
    }))
}

/// Notes a member's wishes, which count for what is untold too. Somebody who is no member has none.
pub async fn put_preferences(
    conn: &mut PgConnection,
    org_id: OrgId,
    user_id: UserId,
    preferences: &Preferences,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    super::hold_memberships(conn, user_id).await?;
    sqlx::query!(
        "insert into notification_preferences (org_id, user_id, mode, quiet_from, quiet_to, weekly_digest, updated_at)
         select m.org_id, m.user_id, $3, $4, $5, $6, $7 from members m where m.org_id = $1 and m.user_id = $2
         on conflict (org_id, user_id) do update set mode = excluded.mode, quiet_from = excluded.quiet_from,
           quiet_to = excluded.quiet_to, weekly_digest = excluded.weekly_digest, updated_at = excluded.updated_at",
        org_id.0,
        user_id.0,
        preferences.mode.name(),
        preferences.quiet.map(|quiet| quiet.from),
        preferences.quiet.map(|quiet| quiet.to),
        preferences.weekly_digest,
        now,
    )
    .execute(&mut *conn)
    .await?;
    // In every organisation: the time zone, which may have changed, is the person's.
    let rows = sqlx::query!(
        r#"select m.org_id as "org_id: OrgId", u.time_zone, p.mode as "mode?: Mode", p.quiet_from as "quiet_from?",
                  p.quiet_to as "quiet_to?", p.weekly_digest as "weekly_digest?"
           from members m join users u on u.id = m.user_id
           left join notification_preferences p on p.org_id = m.org_id and p.user_id = m.user_id
           where m.user_id = $1 order by m.org_id for no key update of m"#,
        user_id.0,
    )
    .fetch_all(&mut *conn)
    .await?;
    let due_at = rows.iter().map(|row| {
        let preferences = Preferences::of_row(row.mode, row.quiet_from, row.quiet_to, row.weekly_digest);
        preferences.due(row.time_zone.parse().unwrap_or(Tz::UTC), now)
    });
    sqlx::query!(
        "update notification_recipients r set due_at = d.due_at
         from unnest($2::uuid[], $3::timestamptz[]) as d(org_id, due_at)
         where r.org_id = d.org_id and r.user_id = $1 and r.due_at is not null",
        user_id.0,
        &rows.iter().map(|row| row.org_id.0).collect::<Vec<_>>(),
        &due_at.collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn time(text: &str) -> NaiveTime {
        NaiveTime::parse_from_str(text, "%H:%M").unwrap()
    }

    fn due(mode: Mode, quiet: Option<(&str, &str)>, zone: Tz, now: &str) -> Option<DateTime<Utc>> {
        let quiet = quiet.map(|(from, to)| QuietHours { from: time(from), to: time(to) });
        Preferences { mode, quiet, weekly_digest: true }.due(zone, utc(now))
    }

    #[test]
    fn news_wait_for_the_morning_where_somebody_lives() {
        for (mode, zone, now, expected) in [
            (Mode::Immediate, Tz::Europe__Berlin, "2026-03-02T12:00:00Z", "2026-03-02T12:00:00Z"),
            (Mode::Daily, Tz::Europe__Berlin, "2026-03-02T06:59:59Z", "2026-03-02T07:00:00Z"),
            (Mode::Daily, Tz::Europe__Berlin, "2026-03-02T07:00:00Z", "2026-03-03T07:00:00Z"),
            // Clocks are set forward in the night: the morning comes an hour earlier.
            (Mode::Daily, Tz::Europe__Berlin, "2026-03-28T12:00:00Z", "2026-03-29T06:00:00Z"),
            (Mode::Daily, Tz::America__New_York, "2026-03-07T14:00:00Z", "2026-03-08T12:00:00Z"),
            (Mode::Daily, Tz::Pacific__Auckland, "2026-04-04T12:00:00Z", "2026-04-04T20:00:00Z"),
            (Mode::Weekly, Tz::Pacific__Auckland, "2026-03-02T12:00:00Z", "2026-03-08T19:00:00Z"),
            (Mode::Weekly, Tz::UTC, "2026-03-02T08:00:00Z", "2026-03-09T08:00:00Z"),
        ] {
            assert_eq!(due(mode, None, zone, now), Some(utc(expected)), "{mode:?} {zone} {now}");
        }
        assert_eq!(due(Mode::Off, None, Tz::UTC, "2026-03-02T12:00:00Z"), None);
    }

    #[test]
    fn quiet_hours_are_waited_out_also_over_midnight_and_when_clocks_are_set() {
        let night = Some(("22:00", "07:00"));
        let berlin = Tz::Europe__Berlin;
        for (mode, quiet, now, expected) in [
            (Mode::Immediate, night, "2026-03-02T20:59:59Z", "2026-03-02T20:59:59Z"),
            (Mode::Immediate, night, "2026-03-02T21:00:00Z", "2026-03-03T06:00:00Z"),
            (Mode::Immediate, night, "2026-03-03T02:00:00Z", "2026-03-03T06:00:00Z"),
            (Mode::Immediate, night, "2026-03-03T06:00:00Z", "2026-03-03T06:00:00Z"),
            (Mode::Immediate, night, "2026-03-28T23:00:00Z", "2026-03-29T05:00:00Z"),
            (Mode::Immediate, Some(("12:00", "14:00")), "2026-03-02T11:30:00Z", "2026-03-02T13:00:00Z"),
            // Their end is left out in spring, and shown twice in autumn.
            (Mode::Immediate, Some(("01:00", "02:30")), "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"),
            (Mode::Immediate, Some(("01:00", "02:30")), "2026-10-25T00:10:00Z", "2026-10-25T00:30:00Z"),
            (Mode::Daily, Some(("22:00", "09:30")), "2026-03-02T12:00:00Z", "2026-03-03T08:30:00Z"),
        ] {
            assert_eq!(due(mode, quiet, berlin, now), Some(utc(expected)), "{mode:?} {quiet:?} {now}");
        }
    }
}
