//! Times of day and week where somebody lives: what is written on a schedule arrives while people are awake.
//!
//! Clocks are set forward and back: a time that a day leaves out is the moment at which the clock jumps over it, and of two
//! the first counts.

use std::ops::Range;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Timelike, Utc, Weekday};
use chrono_tz::Tz;

/// The hours in which people are reminded.
pub const DAYTIME: Range<u32> = 9..18;

/// The moment at which clocks in `tz` show `time` on `day`.
pub fn moment(day: NaiveDate, time: NaiveTime, tz: Tz) -> DateTime<Utc> {
    let wanted = day.and_time(time);
    // A gap is some hours long at most, but for the one day that Samoa left out.
    let steps = (0..=26 * 4).map(|n| wanted + TimeDelta::minutes(15 * n));
    let found = steps.filter_map(|local| local.and_local_timezone(tz).earliest()).next();
    found.map_or_else(|| wanted.and_utc(), |at| at.with_timezone(&Utc))
}

/// The day on which clocks in `tz` are at `at`.
pub fn day(at: DateTime<Utc>, tz: Tz) -> NaiveDate {
    at.with_timezone(&tz).date_naive()
}

/// The first moment from `at` on that lies in somebody's [`DAYTIME`].
pub fn daytime(at: DateTime<Utc>, tz: Tz) -> DateTime<Utc> {
    let local = at.with_timezone(&tz);
    if DAYTIME.contains(&local.hour()) {
        return at;
    }
    let late = local.hour() >= DAYTIME.end;
    let day = if late { local.date_naive() + Days::new(1) } else { local.date_naive() };
    moment(day, NaiveTime::from_hms_opt(DAYTIME.start, 0, 0).unwrap_or_default(), tz)
}

/// The Monday of the week that clocks in `tz` are in at `at`.
pub fn week(at: DateTime<Utc>, tz: Tz) -> NaiveDate {
    day(at, tz).week(Weekday::Mon).first_day()
}

/// The last moment up to `at` at which a week had its Monday, `time` o'clock, in `tz`; and that Monday.
pub fn last_monday(at: DateTime<Utc>, time: NaiveTime, tz: Tz) -> (NaiveDate, DateTime<Utc>) {
    let monday = week(at, tz);
    let begins = moment(monday, time, tz);
    if begins <= at {
        return (monday, begins);
    }
    let monday = monday - Days::new(7);
    (monday, moment(monday, time, tz))
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, TimeZone};

    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn daytime_begins_where_somebody_lives() {
        let at = utc("2026-03-02T12:00:00Z");
        assert_eq!(daytime(at, Tz::Europe__Berlin), at);
        assert_eq!(daytime(at, Tz::America__Los_Angeles), utc("2026-03-02T17:00:00Z"));
        // It is one in the morning of the next day there.
        assert_eq!(daytime(at, Tz::Pacific__Auckland), utc("2026-03-02T20:00:00Z"));
        // After the day's end.
        assert_eq!(daytime(utc("2026-03-02T17:00:00Z"), Tz::Europe__Berlin), utc("2026-03-03T08:00:00Z"));
    }

    #[test]
    fn clocks_that_are_set_move_the_day() {
        // Berlin's clocks are set forward on 29 March 2026, New York's on 8 March; Auckland's back on 5 April.
        for (zone, before, after) in [
            (Tz::Europe__Berlin, "2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z"),
            (Tz::America__New_York, "2026-03-07T14:00:00Z", "2026-03-08T13:00:00Z"),
            (Tz::Pacific__Auckland, "2026-04-03T20:00:00Z", "2026-04-04T21:00:00Z"),
        ] {
            assert_eq!(daytime(utc(before) - TimeDelta::minutes(1), zone), utc(before));
            assert_eq!(daytime(utc(before) + TimeDelta::hours(12), zone), utc(after));
        }
    }

    #[test]
    fn a_time_that_a_day_leaves_out_is_where_the_clock_jumps_and_of_two_the_first_counts() {
        let time = NaiveTime::from_hms_opt(2, 30, 0).unwrap();
        let spring = NaiveDate::from_ymd_opt(2026, 3, 29).unwrap();
        assert_eq!(moment(spring, time, Tz::Europe__Berlin), utc("2026-03-29T01:00:00Z"));
        let autumn = NaiveDate::from_ymd_opt(2026, 10, 25).unwrap();
        assert_eq!(moment(autumn, time, Tz::Europe__Berlin), utc("2026-10-25T00:30:00Z"));
        // Samoa had no 30 December 2011.
        let none = NaiveDate::from_ymd_opt(2011, 12, 30).unwrap();
        assert_eq!(moment(none, time, Tz::Pacific__Apia), Utc.with_ymd_and_hms(2011, 12, 30, 10, 0, 0).unwrap());
    }

    #[test]
    fn a_week_has_one_monday_morning() {
        let eight = NaiveTime::from_hms_opt(8, 0, 0).unwrap();
        let monday = NaiveDate::from_ymd_opt(2026, 3, 2).unwrap();
        let noon = utc("2026-03-02T12:00:00Z");
        assert_eq!(last_monday(noon, eight, Tz::Europe__Berlin), (monday, utc("2026-03-02T07:00:00Z")));
        // It is seven there.
        let before = NaiveDate::from_ymd_opt(2026, 2, 23).unwrap();
        assert_eq!(last_monday(noon, eight, Tz::America__New_York), (before, utc("2026-02-23T13:00:00Z")));
        assert_eq!(week(noon, Tz::Pacific__Auckland), monday);
        assert_eq!(day(noon, Tz::Pacific__Auckland).day(), 3);
    }
}
