//! Statistics on the wire: what the visits of a link or QR code sum up to, to the last one that was stored.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Timelike, Utc};
use domain::{
    id::OrgId,
    routing::Routing,
    visit::{self, OTHERS, Sum, Tally, Text, Traffic},
};
use poem_openapi::Object;
use uuid::Uuid;

use super::conversion::{StepConversions, VariantResult, results};
use crate::{app::App, failure::Failure, timestamp::Timestamp};

/// The days of statistics that nobody asked a number for.
const DAYS: i64 = 30;
/// The most days.
const DAYS_MAX: i64 = 366;
/// Up to so many days the series goes by the hour.
const HOURLY_DAYS: i64 = 2;
/// The most values that a list has; the rest are summed up in its last.
const VALUES_MAX: usize = 100;

/// What visits sum up to. Programs (crawlers, link previews, monitors) are counted in `bots` and nowhere else.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct Stats {
    /// How many days these are, today included; days are UTC's.
    days: i64,
    /// Where they begin.
    from: Timestamp,
    /// The moment that they go to.
    to: Timestamp,
    /// Visits of people.
    visits: i64,
    /// Visitors: of a day, the same address and user agent are one.
    uniques: i64,
    /// Visits of programs.
    bots: i64,
    /// Visits since the beginning.
    total_visits: i64,
    /// When a person came last.
    #[oai(skip_serializing_if_is_none)]
    last_visit_at: Option<Timestamp>,
    /// `hour` for up to two days, and `day` for more.
    interval: String,
    /// Over time, without gaps.
    series: Vec<Point>,
    /// By device: desktop, mobile, tablet, other.
    devices: Vec<Share>,
    /// By operating system.
    systems: Vec<Share>,
    /// By browser.
    browsers: Vec<Share>,
    /// By country (ISO 3166-1).
    countries: Vec<Share>,
    /// By region (ISO 3166-2).
    regions: Vec<Share>,
    /// By preferred language.
    languages: Vec<Share>,
    /// By the host of the page that led here; empty for none.
    referrers: Vec<Share>,
    /// By what decided where they went: `rule:<id>`, `variant:<id>`, or empty for the destination itself.
    routing: Vec<Share>,
    /// Conversions, by step and currency; the 200 most frequent, first those.
    conversions: Vec<StepConversions>,
    /// How the A/B variants do that the link has now.
    variants: Vec<VariantResult>,
}

/// Visits of a time.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct Point {
    /// Where it begins.
    at: Timestamp,
    /// Visits of people.
    visits: i64,
    /// Visitors who came for the first time that day.
    uniques: i64,
}

/// Visits with something in common.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct Share {
    /// What they have in common; empty where it is not known, and `(other)` for all that are too rare to be listed.
    value: String,
    /// Visits of people.
    visits: i64,
    /// Visitors.
    uniques: i64,
}

/// The statistics of one link or QR code with that routing over `days`.
pub(super) async fn of(
    app: &App,
    org_id: OrgId,
    target: Uuid,
    routing: Option<&Routing>,
    days: Option<i64>,
) -> Result<Stats, Failure> {
    let days = days.unwrap_or(DAYS);
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(Failure::field("days", format!("must be a whole number from 1 to {DAYS_MAX}")));
    }
    let now = app.clock.now();
    let today = now.date_naive();
    let first = today - TimeDelta::days(days - 1);
    let mut conn = app.store.pool().acquire().await?;
    let Traffic { days: tallies, total } = visit::traffic(&mut conn, org_id, Some(target), first, today).await?;
    let mut all = Tally::default();
    tallies.values().for_each(|tally| all.merge(tally));
    let (conversions, variants) = results(&mut conn, org_id, target, routing, begin(first), &all).await?;
    let interval = if days <= HOURLY_DAYS { "hour" } else { "day" };
    let series = if days <= HOURLY_DAYS { hourly(&tallies, first, now) } else { daily(&tallies, first, today) };
    let shares = |facet: &str| shares(all.facets.get(facet));
    Ok(Stats {
        days,
        from: begin(first).into(),
        to: now.into(),
        visits: all.sum.visits,
        uniques: all.sum.uniques,
        bots: all.bots,
        total_visits: total.sum.visits,
        last_visit_at: total.last_at.map(Into::into),
        interval: interval.into(),
        series,
        devices: shares("device"),
        systems: shares("system"),
        browsers: shares("browser"),
        countries: shares("country"),
        regions: shares("region"),
        languages: shares("language"),
        referrers: shares("referrer"),
        routing: shares("branch"),
        conversions,
        variants,
    })
}

fn begin(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn point(at: DateTime<Utc>, sum: Sum) -> Point {
    Point { at: at.into(), visits: sum.visits, uniques: sum.uniques }
}

fn daily(tallies: &BTreeMap<NaiveDate, Tally>, first: NaiveDate, last: NaiveDate) -> Vec<Point> {
    let days = first.iter_days().take_while(|day| *day <= last);
    days.map(|day| point(begin(day), tallies.get(&day).map(|tally| tally.sum).unwrap_or_default())).collect()
}

fn hourly(tallies: &BTreeMap<NaiveDate, Tally>, first: NaiveDate, now: DateTime<Utc>) -> Vec<Point> {
    let hours = (0..).map(|n| begin(first) + TimeDelta::hours(n)).take_while(|hour| *hour <= now);
    let sum = |hour: DateTime<Utc>| {
        let tally = tallies.get(&hour.date_naive());
        tally.map(|tally| tally.facets.sum("hour", &hour.hour().to_string())).unwrap_or_default()
    };
    hours.map(|hour| point(hour, sum(hour))).collect()
}

/// The values of a facet, the most frequent first; those that are too rare together at the end.
fn shares(values: &[(Text, Sum)]) -> Vec<Share> {
    let share = |value: &str, sum: Sum| Share { value: value.to_owned(), visits: sum.visits, uniques: sum.uniques };
    let (others, mut sums): (Vec<_>, Vec<_>) =
        values.iter().map(|(value, sum)| (value, sum)).partition(|(value, _)| *value == OTHERS);
    sums.sort_by_key(|(value, sum)| (-sum.visits, *value));
    let mut rest = others.first().map(|(_, sum)| **sum).unwrap_or_default();
    sums.iter().skip(VALUES_MAX).for_each(|(_, sum)| rest += **sum);
    let mut shares: Vec<Share> = sums.iter().take(VALUES_MAX).map(|(value, sum)| share(value, **sum)).collect();
    shares.extend((rest.visits > 0).then(|| share(OTHERS, rest)));
    shares
}
