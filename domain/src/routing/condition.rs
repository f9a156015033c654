//! Conditions: what is stored of one, the rules that it must keep to, and the test that it is read into. One function
//! reads and judges ([`Condition::read`]), so nothing is accepted that would not be understood later.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use url::{Host, Url, form_urlencoded};

use super::{
    Broken, Visitor,
    country::is_country,
    window::{Day, Window, minutes},
};
use crate::agent::{DEVICES, browsers, systems};

/// The most values of one condition.
pub const VALUES_MAX: usize = 100;
/// The longest value or parameter's name, in characters.
pub const VALUE_MAX: usize = 200;

/// What a condition asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// The kind of device.
    Device,
    /// The operating system.
    Os,
    /// The browser.
    Browser,
    /// The language that the browser prefers; `de` also holds for `de-AT`.
    Language,
    /// The country.
    Country,
    /// The region of a country.
    Region,
    /// When.
    Time,
    /// A parameter of the query.
    Query,
    /// The how-manieth visit of the link it is.
    Visit,
    /// The site that led here; `example.com` also holds for `www.example.com`.
    Referrer,
    /// What a newer program stored: never holds.
    #[serde(other)]
    Unknown,
}

/// A condition as it is stored. Which members it has depends on its attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it asks for.
    pub attribute: Attribute,
    /// Turned round: it holds where it else would not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
    /// It holds for each of these; of a parameter or a referrer, if empty, for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// The parameter's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The first visit for which it holds, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<i64>,
    /// The last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<i64>,
    /// On these days; on all, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// From this time of the day on, such as `09:30`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until this one, of the next day if it is before `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Whose clock shows these, by its IANA name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// From this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<DateTime<Utc>>,
    /// Until this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<DateTime<Utc>>,
}

/// A condition, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Test {
    not: bool,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Device(Vec<String>),
    Os(Vec<String>),
    Browser(Vec<String>),
    Language(Vec<String>),
    Country(Vec<String>),
    Region(Vec<String>),
    Time(Window),
    Query { name: String, values: Vec<String> },
    Visit { least: i64, most: i64 },
    Referrer(Vec<String>),
    Never,
}

impl Condition {
    /// A condition on `attribute` with nothing else.
    pub const fn new(attribute: Attribute) -> Self {
        Self {
            attribute,
            not: false,
            values: vec![],
            name: None,
            least: None,
            most: None,
            days: vec![],
            from: None,
            to: None,
            time_zone: None,
            starts_at: None,
            ends_at: None,
        }
    }

    /// What it tests, or every rule that it breaks.
    pub(super) fn read(&self) -> Result<Test, Vec<Broken>> {
        let mut wrong = Wrong(vec![]);
        self.check_members(&mut wrong);
        let kind = match self.attribute {
            Attribute::Device => Kind::Device(self.words(&DEVICES, &mut wrong)),
            Attribute::Os => Kind::Os(self.words(&systems(), &mut wrong)),
            Attribute::Browser => Kind::Browser(self.words(&browsers(), &mut wrong)),
            Attribute::Language => {
                Kind::Language(self.each("must be a language such as de or pt-BR", &mut wrong, language))
            }
            Attribute::Country => {
                Kind::Country(self.each("must be a country of ISO 3166-1 such as DE", &mut wrong, |text| {
                    is_country(text).then(|| text.to_owned())
                }))
            }
            Attribute::Region => {
                Kind::Region(self.each("must be a region of ISO 3166-2 such as US-CA", &mut wrong, region))
            }
            Attribute::Time => self.window(&mut wrong).map_or(Kind::Never, Kind::Time),
            Attribute::Query => {
                let name = self.name.clone().unwrap_or_default();
                wrong.unless(is_text(&name, 1), "name", || format!("must be 1 to {VALUE_MAX} characters"));
                let rule = format!("must be at most {VALUE_MAX} characters");
                let values = self.each(&rule, &mut wrong, |text| is_text(text, 0).then(|| text.to_owned()));
                Kind::Query { name, values }
            }
            Attribute::Visit => self.visits(&mut wrong),
            Attribute::Referrer => Kind::Referrer(self.each("must be a host such as example.com", &mut wrong, host)),
            Attribute::Unknown => {
                wrong.unless(false, "attribute", || "must be one that this version knows".into());
                Kind::Never
            }
        };
        if wrong.0.is_empty() { Ok(Test { not: self.not, kind }) } else { Err(wrong.0) }
    }

    /// Members that say nothing of this attribute, and values where there must be some.
    fn check_members(&self, wrong: &mut Wrong) {
        let of = self.attribute;
        let (time, visit) = (of == Attribute::Time, of == Attribute::Visit);
        for (field, given, fits) in [
            ("values", !self.values.is_empty(), !time && !visit),
            ("name", self.name.is_some(), of == Attribute::Query),
            ("least", self.least.is_some(), visit),
            ("most", self.most.is_some(), visit),
            ("days", !self.days.is_empty(), time),
            ("from", self.from.is_some(), time),
            ("to", self.to.is_some(), time),
            ("timeZone", self.time_zone.is_some(), time),
            ("startsAt", self.starts_at.is_some(), time),
            ("endsAt", self.ends_at.is_some(), time),
        ] {
            wrong.unless(!given || fits, field, || "must not be given with this attribute".into());
        }
        let optional = time || visit || matches!(of, Attribute::Query | Attribute::Referrer);
        let least = usize::from(!optional);
        wrong.unless((least..=VALUES_MAX).contains(&self.values.len()), "values", || {
            format!("must be {least} to {VALUES_MAX}")
        });
    }

    /// The values, read; those that cannot be are wrong.
    fn each(&self, rule: &str, wrong: &mut Wrong, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let mut values = vec![];
        for (n, text) in self.values.iter().take(VALUES_MAX).enumerate() {
            match read(text) {
                Some(value) => values.push(value),
                None => wrong.0.push((format!("values[{n}]"), rule.to_owned())),
            }
        }
        values
    }

    /// The values, each one of the words that user agents are told in, in upper or lower case.
    fn words(&self, known: &[&str], wrong: &mut Wrong) -> Vec<String> {
        let word =
            |text: &str| known.iter().find(|word| word.eq_ignore_ascii_case(text)).map(|word| (*word).to_owned());
        self.each(&format!("must be one of {}", known.join(", ")), wrong, word)
    }

    fn visits(&self, wrong: &mut Wrong) -> Kind {
        let (least, most) = (self.least.unwrap_or(1), self.most.unwrap_or(i64::MAX));
        wrong.unless(self.least.is_some() || self.most.is_some(), "least", || "must be given, or most".into());
        wrong.unless(least >= 1, "least", || "must be at least 1".into());
        wrong.unless(most >= least.max(1), "most", || "must be at least 1 and not below least".into());
        Kind::Visit { least, most }
    }

    fn window(&self, wrong: &mut Wrong) -> Option<Window> {
        let form = || "must be a time of day such as 09:30".to_owned();
        let read = |text: &Option<String>| text.as_deref().map(minutes);
        let (from, to) = (read(&self.from), read(&self.to));
        wrong.unless(from != Some(None), "from", form);
        wrong.unless(to != Some(None), "to", form);
        let (from, to) = (from.flatten(), to.flatten());
        wrong.unless(from.is_none() || from != to, "to", || "must be another time than from".into());
        wrong.unless(to != Some(0) || from.is_some(), "to", || "must not be 00:00 without from".into());
        let by_clock = self.from.is_some() || self.to.is_some() || !self.days.is_empty();
        let by_moment = self.starts_at.is_some() || self.ends_at.is_some();
        wrong.unless(by_clock || by_moment, "from", || "must be given, or days, to, startsAt or endsAt".into());
        let zone = self.time_zone.as_deref().map(Tz::from_str);
        wrong.unless(!matches!(zone, Some(Err(_))), "timeZone", || "must be a time zone such as Europe/Berlin".into());
        wrong.unless(zone.is_some() || !by_clock, "timeZone", || "is required with from, to and days".into());
        let ordered = self.starts_at.zip(self.ends_at).is_none_or(|(starts, ends)| starts < ends);
        wrong.unless(ordered, "endsAt", || "must be after startsAt".into());
        let zone = zone.transpose().ok()?.unwrap_or(Tz::UTC);
        let (starts_at, ends_at) = (self.starts_at, self.ends_at);
        Some(Window { zone, days: self.days.clone(), from, to, starts_at, ends_at })
    }
}

struct Wrong(Vec<Broken>);

impl Wrong {
    fn unless(&mut self, kept: bool, field: &str, rule: impl FnOnce() -> String) {
        if !kept {
            self.0.push((field.to_owned(), rule()));
        }
    }
}

fn is_text(text: &str, least: usize) -> bool {
    (least..=VALUE_MAX).contains(&text.chars().count()) && !text.contains('\0')
}

/// Whether a text has the form of a language's tag (BCP 47), such as `de` or `pt-BR`.
pub fn is_language(text: &str) -> bool {
    language(text).is_some()
}

fn language(text: &str) -> Option<String> {
    let mut parts = text.split('-');
    let first = parts.next()?;
    let fits = (2..=3).contains(&first.len())
        && first.bytes().all(|b| b.is_ascii_alphabetic())
        && text.len() <= 35
        && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    fits.then(|| text.to_ascii_lowercase())
}

fn region(text: &str) -> Option<String> {
    let (country, rest) = text.split_once('-')?;
    let fits = (1..=3).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    (fits && is_country(country)).then(|| text.to_owned())
}

/// A host as addresses have it: in lower case and ASCII.
fn host(text: &str) -> Option<String> {
    let host = Host::parse(text).ok().filter(|_| is_text(text, 1))?.to_string();
    Some(host.trim_end_matches('.').to_owned()).filter(|host| !host.is_empty())
}

impl Test {
    /// Reads a stored condition; one that cannot be understood never holds.
    pub fn new(condition: &Condition) -> Self {
        condition.read().unwrap_or(Self { not: false, kind: Kind::Never })
    }

    /// Whether it holds for a visitor.
    pub fn holds(&self, visitor: &Visitor<'_>) -> bool {
        match &self.kind {
            Kind::Never => false,
            kind => kind.fits(visitor) != self.not,
        }
    }

    pub fn asks_agent(&self) -> bool {
        matches!(self.kind, Kind::Device(_) | Kind::Os(_) | Kind::Browser(_))
    }

    pub fn asks_place(&self) -> bool {
        matches!(self.kind, Kind::Country(_) | Kind::Region(_))
    }

    pub fn asks_number(&self) -> bool {
        matches!(self.kind, Kind::Visit { .. })
    }

    /// What it finds of a visitor; `None` if that is not known.
    pub fn seen(&self, visitor: &Visitor<'_>) -> Option<String> {
        let known = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        match &self.kind {
            Kind::Device(_) => known(visitor.device),
            Kind::Os(_) => known(visitor.system),
            Kind::Browser(_) => known(visitor.browser),
            Kind::Language(_) => known(visitor.language),
            Kind::Country(_) => known(visitor.country),
            Kind::Region(_) => known(visitor.region),
            Kind::Time(window) => Some(window.seen(visitor.at)),
            Kind::Query { name, .. } => parameter(visitor, name).next(),
            Kind::Visit { .. } => visitor.number.map(|number| number.to_string()),
            Kind::Referrer(_) => referring_host(visitor),
            Kind::Never => None,
        }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let more = match &self.kind {
            Kind::Device(texts)
            | Kind::Os(texts)
            | Kind::Browser(texts)
            | Kind::Language(texts)
            | Kind::Country(texts)
            | Kind::Region(texts)
            | Kind::Query { values: texts, .. }
            | Kind::Referrer(texts) => texts.iter().map(|text| size_of::<String>() + text.len()).sum(),
            Kind::Time(_) | Kind::Visit { .. } | Kind::Never => 0,
        };
        size_of::<Self>() + more
    }
}

impl Kind {
    fn fits(&self, visitor: &Visitor<'_>) -> bool {
        let word = |words: &[String], own: &str| words.iter().any(|word| word.eq_ignore_ascii_case(own));
        match self {
            Self::Device(words) => word(words, visitor.device),
            Self::Os(words) => word(words, visitor.system),
            Self::Browser(words) => word(words, visitor.browser),
            Self::Language(tags) => tags.iter().any(|tag| is_within(visitor.language, tag)),
            Self::Country(codes) => codes.iter().any(|code| code == visitor.country),
            Self::Region(codes) => codes.iter().any(|code| code == visitor.region),
            Self::Time(window) => window.holds(visitor.at),
            Self::Query { name, values } => {
                parameter(visitor, name).any(|value| values.is_empty() || values.contains(&value))
            }
            Self::Visit { least, most } => visitor.number.is_some_and(|number| (*least..=*most).contains(&number)),
            Self::Referrer(hosts) => referring_host(visitor).is_some_and(|own| {
                let under = |host: &String| own.strip_suffix(host.as_str()).is_some_and(|rest| rest.ends_with('.'));
                hosts.is_empty() || hosts.iter().any(|host| own == *host || under(host))
            }),
            Self::Never => false,
        }
    }
}

/// Whether a language is `tag` or a kind of it (RFC 4647, 3.3.1); `tag` is in lower case.
fn is_within(own: &str, tag: &str) -> bool {
    own.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag))
        && matches!(own.as_bytes().get(tag.len()), None | Some(b'-'))
}

/// The values of a parameter of the visitor's query.
fn parameter<'v>(visitor: &Visitor<'v>, name: &'v str) -> impl Iterator<Item = String> + use<'v> {
    let pairs = form_urlencoded::parse(visitor.query.as_bytes());
    pairs.filter(move |(own, _)| own == name).map(|(_, value)| value.into_owned())
}

fn referring_host(visitor: &Visitor<'_>) -> Option<String> {
    let url = Url::parse(visitor.referrer).ok()?;
    Some(url.host_str()?.trim_end_matches('.').to_owned())
}
