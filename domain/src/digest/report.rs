//! What a digest tells: asked once per organisation and week, in a fixed number of statements.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use sqlx::PgConnection;

use super::DAYS;
use crate::{
    conversion::{self, Rate},
    id::OrgId,
    link_health::{self, FailingLink},
    visit::{self, Ranked, Span, Sum},
};

/// The most links, codes and failing links that are named.
const NAMED: i64 = 5;
/// The most A/B tests.
const TESTS: i64 = 3;

/// Seven days (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Week {
    /// The first.
    pub first: NaiveDate,
}

impl Week {
    /// Its days.
    pub fn span(self) -> Span {
        Span::days_from(self.first, DAYS)
    }

    /// The seven days before.
    pub fn before(self) -> Self {
        Self { first: self.first - Days::new(DAYS) }
    }

    fn days(self) -> impl Iterator<Item = NaiveDate> {
        self.first.iter_days().take(DAYS as usize)
    }

    /// The first day after it.
    pub fn end(self) -> NaiveDate {
        self.first + Days::new(DAYS)
    }

    fn begin(self) -> DateTime<Utc> {
        self.first.and_time(NaiveTime::MIN).and_utc()
    }
}

/// How the variants of a link did against each other.
#[derive(Debug, Clone)]
pub struct Test {
    /// The link.
    pub link: Ranked,
    /// Its variants.
    pub variants: Vec<Variant>,
}

/// How a variant did.
#[derive(Debug, Clone)]
pub struct Variant {
    /// What it is called, or its id.
    pub name: String,
    /// How many visitors it had; somebody is new every day.
    pub visitors: i64,
    /// Which share of them converted.
    pub rate: Rate,
}

/// A week of an organisation.
#[derive(Debug, Clone)]
pub struct Report {
    /// Which week.
    pub week: Week,
    /// Each of its days.
    pub days: Vec<(NaiveDate, Sum)>,
    /// Each day of the week before.
    pub days_before: Vec<(NaiveDate, Sum)>,
    /// Scans of QR codes.
    pub scans: i64,
    /// Those of the week before.
    pub scans_before: i64,
    /// The most visited links.
    pub links: Vec<Ranked>,
    /// The most scanned QR codes.
    pub codes: Vec<Ranked>,
    /// Links that fail now, those first that began to last.
    pub failing: Vec<FailingLink>,
    /// How many fail in all.
    pub failing_all: i64,
    /// The A/B tests that had most visitors.
    pub tests: Vec<Test>,
}

impl Report {
    /// All visits of the week.
    pub fn sum(&self) -> Sum {
        sum(&self.days)
    }

    /// All visits of the week before.
    pub fn sum_before(&self) -> Sum {
        sum(&self.days_before)
    }
}

fn sum(days: &[(NaiveDate, Sum)]) -> Sum {
    days.iter().fold(Sum::default(), |mut all, (_, sum)| {
        all += *sum;
        all
    })
}

/// What an organisation had in a week and the one before; `None` if that is nothing.
pub async fn report(conn: &mut PgConnection, org_id: OrgId, week: Week) -> Result<Option<Report>, sqlx::Error> {
    let (span, before) = (week.span(), week.before());
    let sums = visit::days(conn, org_id, Span { first: before.first, last: span.last }).await?;
    if sums.values().all(|sum| sum.visits == 0) {
        return Ok(None);
    }
    let of = |week: Week| week.days().map(|day| (day, sums.get(&day).copied().unwrap_or_default())).collect();
    let (failing, failing_all) = link_health::failing(conn, org_id, NAMED).await?;
    Ok(Some(Report {
        week,
        days: of(week),
        days_before: of(before),
        scans: visit::scans(conn, org_id, span).await?,
        scans_before: visit::scans(conn, org_id, before.span()).await?,
        links: visit::top_links(conn, org_id, span, NAMED).await?,
        codes: visit::top_codes(conn, org_id, span, NAMED).await?,
        failing,
        failing_all,
        tests: tests(conn, org_id, week).await?,
    }))
}

async fn tests(conn: &mut PgConnection, org_id: OrgId, week: Week) -> Result<Vec<Test>, sqlx::Error> {
    let links = visit::tested_links(conn, org_id, week.span(), TESTS).await?;
    if links.is_empty() {
        return Ok(vec![]);
    }
    let ids: Vec<_> = links.iter().map(|(link, _)| link.id).collect();
    let led = visit::branches(conn, org_id, &ids, week.span()).await?;
    let end = week.begin() + Days::new(DAYS);
    let converted = conversion::converted(conn, org_id, &ids, week.begin(), end).await?;
    let test = |(link, routing): (Ranked, crate::routing::Routing)| {
        let variants = routing.variants.into_iter().map(|variant| {
            let key = (link.id, format!("variant:{}", variant.id));
            let visitors = led.get(&key).map_or(0, |sum| sum.uniques);
            let rate = conversion::rate(converted.get(&key).copied().unwrap_or(0), visitors);
            Variant { name: if variant.name.is_empty() { variant.id } else { variant.name }, visitors, rate }
        });
        Test { variants: variants.collect(), link }
    };
    Ok(links.into_iter().map(test).collect())
}
