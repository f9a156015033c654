//! Tallies: what a day's visits of one target sum up to. Both the sums that are stored and the visits that nobody has
//! counted yet become one, so that statistics are right to the last visit that was stored.

use std::fmt;

use chrono::{DateTime, NaiveDate, Timelike, Utc};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

use super::{Counted, Text};

/// What visits are told apart by.
pub const FACETS: [&str; 9] =
    ["branch", "browser", "country", "device", "hour", "language", "referrer", "region", "system"];
/// The hours of a day, as values.
const HOURS: [&str; 24] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20",
    "21", "22", "23",
];
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
    pub facets: Facets,
}

/// The visits of people by what they are told apart by. Lists and no maps: a facet has a handful of values, and counting
/// reads and writes the facets of some thousand targets at a time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facets([Values; FACETS.len()]);

/// The values of a facet, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Values(Vec<(Text, Sum)>);

impl Facets {
    /// The values of a facet, in their order.
    pub fn get(&self, facet: &str) -> &[(Text, Sum)] {
        FACETS.iter().position(|name| *name == facet).map_or(&[], |n| &self.0[n].0)
    }

    /// What a value of a facet sums up to.
    pub fn sum(&self, facet: &str, value: &str) -> Sum {
        let values = self.get(facet);
        values.binary_search_by(|(known, _)| known.as_str().cmp(value)).map_or_else(|_| Sum::default(), |n| values[n].1)
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|values| values.0.is_empty())
    }
}

impl Values {
    fn add(&mut self, value: &str, sum: Sum) {
        let find =
            |values: &[(Text, Sum)], value: &str| values.binary_search_by(|(known, _)| known.as_str().cmp(value));
        match find(&self.0, value) {
            Ok(n) => self.0[n].1 += sum,
            Err(n) if self.0.len() < VALUES_MAX => self.0.insert(n, (value.into(), sum)),
            Err(_) => match find(&self.0, OTHERS) {
                Ok(n) => self.0[n].1 += sum,
                Err(n) => self.0.insert(n, (OTHERS.into(), sum)),
            },
        }
    }
}

impl Serialize for Facets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The number first, because postcard writes it so.
        let known: Vec<_> = FACETS.iter().zip(&self.0).filter(|(_, values)| !values.0.is_empty()).collect();
        serializer.collect_map(known)
    }
}

impl<'de> Deserialize<'de> for Facets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FacetsVisitor)
    }
}

struct FacetsVisitor;

impl<'de> Visitor<'de> for FacetsVisitor {
    type Value = Facets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("values by facet")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Facets, A::Error> {
        let mut facets = Facets::default();
        while let Some((facet, values)) = map.next_entry::<Text, Values>()? {
            // One that this program does not know is left out.
            if let Some(n) = FACETS.iter().position(|name| facet == *name) {
                facets.0[n] = values;
            }
        }
        Ok(facets)
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(value, sum)| (value, sum)))
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sums by value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
        let mut values = Vec::with_capacity(map.size_hint().unwrap_or_default().min(VALUES_MAX + 1));
        while let Some((value, sum)) = map.next_entry::<Text, Sum>()? {
            values.push((value, sum));
        }
        // They are written in their order; this costs nothing then.
        values.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Values(values))
    }
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
        // In the order of the facets.
        let values: [&str; FACETS.len()] = [
            &visit.branch,
            &visit.browser,
            &visit.country,
            &visit.device,
            HOURS[visit.at.hour() as usize],
            &visit.language,
            &visit.referrer,
            &visit.region,
            &visit.system,
        ];
        for (known, value) in self.facets.0.iter_mut().zip(values) {
            known.add(value, one);
        }
    }

    /// The hours (UTC) of `day`, whose tally this is.
    pub fn hours(&self, day: NaiveDate) -> impl Iterator<Item = (DateTime<Utc>, Sum)> {
        let hours = self.facets.get("hour").iter();
        hours.filter_map(move |(hour, sum)| Some((day.and_hms_opt(hour.parse().ok()?, 0, 0)?.and_utc(), *sum)))
    }

    /// Takes another tally in.
    pub fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.bots += other.bots;
        for (known, values) in self.facets.0.iter_mut().zip(&other.facets.0) {
            values.0.iter().for_each(|(value, sum)| known.add(value, *sum));
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
