//! Reading exports: CSV with the columns of many products, and the JSON that Bitly, YOURLS and Shlink answer with.
//!
//! Bitly: the dashboard's CSV (link, custom link, destination URL, title, tags, …) and `GET /v4/groups/…/bitlinks`.
//! YOURLS: CSV of its table (keyword, url, title, timestamp, ip, clicks), the Import Export plugin's CSV (source, target,
//! hits) and `action=stats`. Shlink: the web client's CSV (createdAt, title, shortUrl, domain, shortCode, longUrl, tags,
//! visits) and `GET /rest/v3/short-urls`. No input makes it panic.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::Value;

use super::{Columns, Format, LINES_MAX, Line, Record};

/// Why nothing of a file can be read, as a rule for its field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// There is no line, or none behind the names of the columns.
    #[error("has no lines")]
    Empty,
    /// More than an import takes.
    #[error("must have at most {LINES_MAX} lines")]
    TooMany,
    /// No column says where links lead.
    #[error("has no column with the destination; it has {0}")]
    NoDestination(String),
    /// A column that was named is not there.
    #[error("must name columns of the data, which has no {0}")]
    NoColumn(String),
    /// It looks like JSON and is none that the product answers with.
    #[error("is no JSON that this product answers with")]
    Json,
}

/// What a line can have, with the names that products give it, as [`plain`] spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Field {
    Destination,
    Slug,
    Address,
    Title,
    Tags,
    StartsAt,
    ExpiresAt,
    MaxVisits,
    Archived,
}

/// In the order of preference: a custom link of Bitly's goes before the one that was made up.
const NAMES: [(Field, &[&str]); 9] = [
    (Field::Destination, &["destination", "destinationurl", "longurl", "target", "originalurl", "url", "longlink"]),
    (Field::Slug, &["slug", "keyword", "shortcode", "code", "custombackhalf", "backhalf", "source"]),
    (Field::Address, &["customlink", "custombitlinks", "shorturl", "shortlink", "link", "bitlink", "id"]),
    (Field::Title, &["title", "name"]),
    (Field::Tags, &["tags", "tag"]),
    (Field::StartsAt, &["startsat", "validsince"]),
    (Field::ExpiresAt, &["expiresat", "validuntil"]),
    (Field::MaxVisits, &["maxvisits"]),
    (Field::Archived, &["archived", "isarchived"]),
];

/// A name without what spellings differ in: `Long URL`, `long_url` and `longUrl` are one.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Values by the plain names of their columns.
type Cells = HashMap<String, Vec<String>>;

/// Reads a file. Lines that cannot be links say why; whatever is wrong with the file as a whole is an error.
pub fn read(format: Format, bytes: &[u8], columns: &Columns) -> Result<Vec<Line>, Unreadable> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    let lines = match text.trim_start().starts_with(['{', '[']) && format != Format::Csv {
        true => from_json(text)?,
        false => from_csv(text, columns)?,
    };
    match lines.len() {
        0 => Err(Unreadable::Empty),
        count if count > LINES_MAX => Err(Unreadable::TooMany),
        _ => Ok(lines),
    }
}

fn from_csv(text: &str, columns: &Columns) -> Result<Vec<Line>, Unreadable> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(text))
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let names: Vec<String> = match records.next() {
        Some(Ok(names)) => names.iter().map(plain).collect(),
        _ => return Err(Unreadable::Empty),
    };
    let chosen = columns.chosen();
    for (_, name) in &chosen {
        if !names.contains(&plain(name)) {
            return Err(Unreadable::NoColumn((*name).to_owned()));
        }
    }
    let chosen: Vec<(Field, String)> = chosen.into_iter().map(|(field, name)| (field, plain(name))).collect();
    let has_destination = |name: &String| NAMES[0].1.contains(&name.as_str());
    if !chosen.iter().any(|(field, _)| *field == Field::Destination) && !names.iter().any(has_destination) {
        return Err(Unreadable::NoDestination(names.join(", ")));
    }
    let mut lines = vec![];
    for record in records {
        // The text is UTF-8 and lines may be of any length, so there is nothing else that a record could fail of.
        let Ok(record) = record else { continue };
        let number = record.position().map_or(0, csv::Position::line);
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let cells = names.iter().zip(&record).map(|(name, cell)| (name.clone(), vec![unguarded(cell)])).collect();
        lines.push(line(number, &cells, &chosen));
        if lines.len() > LINES_MAX {
            break;
        }
    }
    Ok(lines)
}

/// What separates the columns: whichever of comma, semicolon and tab the first line has most of, outside quotes.
fn delimiter(text: &str) -> u8 {
    let first = text.lines().next().unwrap_or_default();
    let (mut counts, mut quoted) = ([0; 3], false);
    for byte in first.bytes() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => counts[0] += 1,
            b';' if !quoted => counts[1] += 1,
            b'\t' if !quoted => counts[2] += 1,
            _ => {}
        }
    }
    if counts[1] > counts[0] && counts[1] >= counts[2] {
        b';'
    } else if counts[2] > counts[0] {
        b'\t'
    } else {
        b','
    }
}

/// A cell without the quote that exports put before what a spreadsheet would take for a formula, ours included.
fn unguarded(cell: &str) -> String {
    let cell = cell.trim();
    match cell.strip_prefix('\'') {
        Some(rest) if rest.starts_with(['=', '+', '-', '@']) => rest.to_owned(),
        _ => cell.to_owned(),
    }
}

fn from_json(text: &str) -> Result<Vec<Line>, Unreadable> {
    let root: Value = serde_json::from_str(text).map_err(|_| Unreadable::Json)?;
    let within = |path: &str| root.pointer(path).filter(|found| found.is_array() || found.is_object());
    let found = ["/shortUrls/data", "/links", "/data"].iter().find_map(|path| within(path)).unwrap_or(&root);
    let items: Vec<&Value> = match found {
        Value::Array(items) => items.iter().collect(),
        // YOURLS numbers them: link_1, link_2, …
        Value::Object(items) if items.values().all(Value::is_object) => items.values().collect(),
        _ => return Err(Unreadable::Json),
    };
    if items.iter().any(|item| !item.is_object()) {
        return Err(Unreadable::Json);
    }
    let lines = items.into_iter().take(LINES_MAX + 1).zip(1..).map(|(item, number)| line(number, &cells(item), &[]));
    Ok(lines.collect())
}

/// The members of an object and of the objects in it.
fn cells(item: &Value) -> Cells {
    let mut cells = Cells::new();
    for (name, value) in item.as_object().into_iter().flatten() {
        match value {
            Value::Object(inner) => {
                for (name, value) in inner {
                    cells.entry(plain(name)).or_insert_with(|| texts(value));
                }
            }
            other => drop(cells.insert(plain(name), texts(other))),
        }
    }
    cells
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::Bool(_) | Value::Number(_) => vec![value.to_string()],
        Value::Null | Value::Object(_) => vec![],
    }
}

fn line(number: u64, cells: &Cells, chosen: &[(Field, String)]) -> Line {
    let all = |field: Field| -> Vec<&str> {
        let named = chosen.iter().find(|(of, _)| *of == field).map(|(_, name)| std::slice::from_ref(name));
        let own: Vec<&str> = named.unwrap_or_default().iter().map(String::as_str).collect();
        let names = NAMES.iter().find(|(of, _)| *of == field).map_or(&[][..], |(_, names)| *names);
        let names = if own.is_empty() { names } else { &own };
        let values = |name: &&str| cells.get(*name).map(Vec::as_slice).filter(|v| v.iter().any(|t| !t.is_empty()));
        names.iter().find_map(values).unwrap_or_default().iter().map(String::as_str).collect()
    };
    let one = |field: Field| all(field).into_iter().map(str::trim).find(|text| !text.is_empty());
    if cells.values().flatten().any(|text| text.contains('\0')) {
        return Line { number, record: Err("has a NUL character".into()) };
    }
    let Some(destination) = one(Field::Destination) else {
        return Line { number, record: Err("has no destination".into()) };
    };
    let slug = one(Field::Slug).map(|slug| slug.trim_matches('/')).or_else(|| one(Field::Address).map(last_segment));
    let tags = all(Field::Tags).into_iter().flat_map(|tags| tags.split([',', ';', '|'])).map(str::trim);
    let moment = |field: Field| one(field).map(|text| moment(text).ok_or(text)).transpose();
    let record = (|| {
        let wrong = |field: &str, text: &str| format!("{field} is no date and time: {}", start(text));
        let most = one(Field::MaxVisits).map(|most| most.parse::<i64>().ok().filter(|most| *most >= 1).ok_or(most));
        Ok(Record {
            destination: destination.to_owned(),
            slug: slug.filter(|slug| !slug.is_empty()).map(str::to_owned),
            title: one(Field::Title).unwrap_or_default().to_owned(),
            tags: tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            starts_at: moment(Field::StartsAt).map_err(|text| wrong("startsAt", text))?,
            expires_at: moment(Field::ExpiresAt).map_err(|text| wrong("expiresAt", text))?,
            max_visits: most.transpose().map_err(|text| format!("maxVisits is no number from 1: {}", start(text)))?,
            archived: one(Field::Archived).is_some_and(|text| ["true", "1", "yes"].contains(&&*plain(text))),
        })
    })();
    Line { number, record }
}

/// Enough of a text to find it by.
fn start(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The code of a short address: `https://bit.ly/summer` and `bit.ly/summer` lead by `summer`.
fn last_segment(address: &str) -> &str {
    let path = address.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    path.rsplit('/').next().unwrap_or_default()
}

/// A moment as exports write it; without a zone it is UTC.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let zoned = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%z"));
    let plain = |form: &str| NaiveDateTime::parse_from_str(text, form).ok().map(|at| at.and_utc());
    zoned.ok().map(|at| at.to_utc()).or_else(|| plain("%Y-%m-%d %H:%M:%S")).or_else(|| plain("%Y-%m-%dT%H:%M:%S"))
}

impl Columns {
    fn chosen(&self) -> Vec<(Field, &str)> {
        [
            (Field::Destination, &self.destination),
            (Field::Slug, &self.slug),
            (Field::Title, &self.title),
            (Field::Tags, &self.tags),
            (Field::StartsAt, &self.starts_at),
            (Field::ExpiresAt, &self.expires_at),
            (Field::MaxVisits, &self.max_visits),
        ]
        .into_iter()
        .filter_map(|(field, name)| Some((field, name.as_deref()?)))
        .collect()
    }
}
