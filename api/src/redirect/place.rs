//! Where visitors are: told by the proxy in front, where it knows, and otherwise by a database of addresses (MaxMind DB)
//! that the operator put beside the program.

use std::{net::IpAddr, path::Path};

use maxminddb::{Reader, geoip2};
use poem::Request;

/// A country and a region of it; empty where they are not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Two letters (ISO 3166-1), in upper case.
    pub country: String,
    /// Such as `US-CA` (ISO 3166-2).
    pub region: String,
}

/// What tells places.
#[derive(Default)]
pub struct Places {
    country_header: Option<String>,
    region_header: Option<String>,
    database: Option<Reader<Vec<u8>>>,
}

/// What a request's headers tell of its place.
#[derive(Debug, Clone, Default)]
pub struct Told {
    country: Option<Box<str>>,
    region: Option<Box<str>>,
}

impl Places {
    /// Places by headers that the proxy in front sets, and by a database file for what they do not tell. The file is read
    /// whole.
    pub fn new(
        country_header: Option<String>,
        region_header: Option<String>,
        file: Option<&Path>,
    ) -> Result<Self, maxminddb::MaxMindDbError> {
        let database = file.map(Reader::open_readfile).transpose()?;
        Ok(Self { country_header, region_header, database })
    }

    /// Takes from a request what [`Places::of`] needs later.
    pub fn told(&self, request: &Request) -> Told {
        let read = |name: &Option<String>| request.header(name.as_ref()?).map(Box::from);
        Told { country: read(&self.country_header), region: read(&self.region_header) }
    }

    /// The place of a visitor.
    pub fn of(&self, told: &Told, address: Option<IpAddr>) -> Place {
        let country = told.country.as_deref().map(country).unwrap_or_default();
        let found = match (country.is_empty(), &self.database, address) {
            (true, Some(database), Some(address)) => look_up(database, address),
            _ => Place::default(),
        };
        let country = if country.is_empty() { found.country } else { country };
        let told = told.region.as_deref().map(|code| region(&country, code)).unwrap_or_default();
        Place { region: if told.is_empty() { found.region } else { told }, country }
    }
}

fn look_up(database: &Reader<Vec<u8>>, address: IpAddr) -> Place {
    let found = database.lookup(address).ok().and_then(|found| found.decode::<geoip2::City<'_>>().ok().flatten());
    let Some(city) = found else { return Place::default() };
    let country = city.country.iso_code.map(country).unwrap_or_default();
    let code = city.subdivisions.first().and_then(|division| division.iso_code);
    Place { region: code.map(|code| region(&country, code)).unwrap_or_default(), country }
}

/// Edges say `XX` where they do not know, and `T1` for Tor.
fn country(text: &str) -> String {
    let code = text.trim().to_ascii_uppercase();
    let fits = code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()) && code != "XX";
    if fits { code } else { String::new() }
}

/// Some say `CA`, others `US-CA`.
fn region(country: &str, text: &str) -> String {
    let code = text.trim().to_ascii_uppercase();
    let code = code.strip_prefix(&format!("{country}-")).unwrap_or(&code);
    let fits = (1..=3).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric()) && !country.is_empty();
    if fits { format!("{country}-{code}") } else { String::new() }
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Places").field("database", &self.database.is_some()).finish_non_exhaustive()
    }
}
