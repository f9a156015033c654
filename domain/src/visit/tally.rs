//! Tallies: what a day's visits of one target sum up to. Both the sums that are stored and the visits that nobody has
//! counted yet become one, so that statistics are right to the last visit that was stored.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Timelike, Utc};
use serde::{Deserialize, Serialize};

use super::Counted;

/// What visits are told apart by.
pub const FACETS: [&str; 9] =
    ["branch", "browser", "country", "device", "hour", "language", "referrer", "region", "system"];
/// The most values of one facet that a day keeps apart; a visitor can invent any number of referrers.
const VALUES_MAX: usize = 500;
/// What the others are counted under.
pub const OTHERS: &str = "(other)";

/// So many visits by so many visitors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "[i64; 2]", into = "[i64; 2]")]
pub struct Sum {
    /// All visits of people.
    pub visits: i64,
    /// Those that were a visitor's first of the day.
    pub uniques: i64,
}

impl From<[i64; 2]> for Sum {
    fn from([visits, uniques]: [i64; 2]) -> Self {
        Self { visits, uniques }
    }
}

impl From<Sum> for [i64; 2] {
    fn from(sum: Sum) -> Self {
        [sum.visits, sum.uniques]
    }
}

impl std::ops::AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.visits += other.visits;
        self.uniques += other.uniques;
    }
}

/// Visits summed up. Programs' visits are in `bots` and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Of people.
    pub sum: Sum,
    /// Of programs.
    pub bots: i64,
    /// By facet and value; where nothing is known, the value is empty.
    pub facets: BTreeMap<String, BTreeMap<String, Sum>>,
}

impl Tally {
    /// The tally of a row.
    pub(super) fn read(sum: Sum, bots: i64, facets: &[u8]) -> Result<Self, sqlx::Error> {
        let facets = postcard::from_bytes(facets).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Self { sum, bots, facets })
    }

    /// The facets as a row has them.
    pub(super) fn facets_bytes(&self) -> Result<Vec<u8>, sqlx::Error> {
        postcard::to_stdvec(&self.facets).map_err(|error| sqlx::Error::Encode(error.into()))
    }

    /// Counts a visit.
    pub fn count(&mut self, visit: &Counted) {
        if visit.is_bot {
            self.bots += 1;
            return;
        }
        let one = Sum { visits: 1, uniques: i64::from(visit.is_unique) };
        self.sum += one;
        let hour = visit.at.hour().to_string();
        let values: [&str; FACETS.len()] = [
            &visit.branch,
            &visit.browser,
            &visit.country,
            &visit.device,
            &hour,
            &visit.language,
            &visit.referrer,
            &visit.region,
            &visit.system,
        ];
        for (facet, value) in FACETS.into_iter().zip(values) {
            self.add(facet, value, one);
        }
    }

    /// The hours (UTC) of `day`, whose tally this is.
    pub fn hours(&self, day: NaiveDate) -> impl Iterator<Item = (DateTime<Utc>, Sum)> {
        let hours = self.facets.get("hour").into_iter().flatten();
        hours.filter_map(move |(hour, sum)| Some((day.and_hms_opt(hour.parse().ok()?, 0, 0)?.and_utc(), *sum)))
    }

    /// Takes another tally in.
    pub fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.bots += other.bots;
        for (facet, values) in &other.facets {
            for (value, sum) in values {
                self.add(facet, value, *sum);
            }
        }
    }

    fn add(&mut self, facet: &str, value: &str, sum: Sum) {
        if !self.facets.contains_key(facet) {
            self.facets.insert(facet.to_owned(), BTreeMap::new());
        }
        let Some(values) = self.facets.get_mut(facet) else { return };
        if let Some(known) = values.get_mut(value) {
            *known += sum;
        } else {
            let value = if values.len() < VALUES_MAX { value } else { OTHERS };
            *values.entry(value.to_owned()).or_default() += sum;
        }
    }
}

/// What a link or QR code has had in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    /// Of people.
    pub sum: Sum,
    /// Of programs.
    pub bots: i64,
    /// When a person came last.
    pub last_at: Option<DateTime<Utc>>,
}

impl Total {
    /// Counts a visit.
    pub fn count(&mut self, visit: &Counted) {
        if visit.is_bot {
            self.bots += 1;
        } else {
            self.sum += Sum { visits: 1, uniques: i64::from(visit.is_unique) };
            self.last_at = self.last_at.max(Some(visit.at));
        }
    }
}
