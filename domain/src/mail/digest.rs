//! The weekly digest as a letter.

use chrono::NaiveDate;

use super::letter::{Letter, Part, quote, write};
use crate::{
    code,
    digest::{Report, Variant, chart},
    visit::Ranked,
};

/// What the picture's colours mean.
const KEY: &str = "Visits by day: blue this week, grey the week before.";

/// An organisation's week.
#[derive(Debug, Clone, Copy)]
pub struct WeeklyDigest<'a> {
    /// The organisation's name.
    pub org_name: &'a str,
    /// What there is to tell.
    pub report: &'a Report,
    /// Where codes are reached.
    pub short_url: &'a str,
    /// Where this installation is reached.
    pub public_url: &'a str,
    /// The address that ends these letters.
    pub unsubscribe: &'a str,
}

impl WeeklyDigest<'_> {
    /// The kind of these mails.
    pub const KIND: &'static str = "digest.weekly";

    /// Writes the letter.
    pub fn letter(&self) -> Letter {
        let (report, org) = (self.report, quote(self.org_name));
        let (now, before, span) = (report.sum(), report.sum_before(), report.week.span());
        let visits = count(now.visits, "visit");
        let mut parts = vec![
            Part::Text(format!(
                "From {} to {} (UTC), people came by the links and QR codes of {org} {}: {}.",
                long(span.first),
                long(span.last),
                if now.visits == 1 { "once".into() } else { format!("{} times", number(now.visits)) },
                compared(now.visits, before.visits),
            )),
            Part::Table(
                "The week, and how it compares with the one before",
                vec![
                    row("Visits", now.visits, before.visits),
                    row("Visitors, each counted once a day", now.uniques, before.uniques),
                    row("Scans of QR codes among the visits", report.scans, report.scans_before),
                ],
            ),
            Part::Picture { png: chart::draw(&report.days, &report.days_before), alt: self.days(), key: KEY },
        ];
        let mut table = |title, rows: Vec<(String, String)>| {
            if !rows.is_empty() {
                parts.push(Part::Table(title, rows));
            }
        };
        let ranked = |all: &[Ranked]| -> Vec<(String, String)> {
            all.iter().map(|it| (self.name(&it.name, &it.domain, &it.code), number(it.visits))).collect()
        };
        table("Most visited links", ranked(&report.links));
        table("Most scanned QR codes", ranked(&report.codes));
        let tests = report.tests.iter().flat_map(|test| {
            let link = self.name(&test.link.name, &test.link.domain, &test.link.code);
            test.variants.iter().map(move |variant| (format!("{link}: {}", quote(&variant.name)), result(variant)))
        });
        table("A/B tests: which share of the visitors converted", tests.collect());
        let failing = report.failing.iter().map(|link| {
            let since = link.changed_at.map_or_else(|| "now".into(), |at| format!("since {}", at.format("%-d %B")));
            (self.name(&link.title, &link.domain, &link.slug), since)
        });
        table("Links whose destination does not answer", failing.collect());
        let more = report.failing_all - report.failing.len() as i64;
        if more > 0 {
            parts.push(Part::Text(format!("And {} more.", count(more, "such link"))));
        }
        parts.push(Part::Link("Open the workspace", self.public_url.to_owned()));
        let subject = format!("{org}: {visits} last week, {}", compared(now.visits, before.visits));
        write(Self::KIND, &subject, &format!("The week of {org}"), &parts).until_unsubscribed(self.unsubscribe)
    }

    /// What the picture shows.
    fn days(&self) -> String {
        let mut lines = vec!["Visits by day, and in brackets those of the week before:".to_owned()];
        for ((day, sum), (_, before)) in self.report.days.iter().zip(&self.report.days_before) {
            lines.push(format!("{}: {} ({})", day.format("%a %-d %B"), number(sum.visits), number(before.visits)));
        }
        lines.join("\n")
    }

    fn name(&self, name: &str, domain: &str, code: &str) -> String {
        let address = code::address(self.short_url, domain, code);
        let address = address.split_once("://").map_or(&*address, |(_, rest)| rest);
        if name.trim().is_empty() { quote(address) } else { format!("{} ({})", quote(name), quote(address)) }
    }
}

fn result(variant: &Variant) -> String {
    if variant.visitors == 0 {
        return "no visitors".into();
    }
    format!("{:.1} % of {}", variant.rate.share * 100.0, number(variant.visitors))
}

fn row(label: &str, now: i64, before: i64) -> (String, String) {
    (label.to_owned(), format!("{} ({})", number(now), change(now, before)))
}

/// A change in per cent, with its sign.
fn change(now: i64, before: i64) -> String {
    match percent(now, before) {
        None if now == 0 => "as before".into(),
        None => "none before".into(),
        Some(0) => "±0 %".into(),
        Some(percent) => format!("{percent:+} %"),
    }
}

/// The same in words.
fn compared(now: i64, before: i64) -> String {
    match percent(now, before) {
        None if now == 0 => "as before".into(),
        None => "the first after a week without any".into(),
        Some(0) => "about as many as the week before".into(),
        Some(percent) if percent > 0 => format!("{percent} % more than the week before"),
        Some(percent) => format!("{} % fewer than the week before", -percent),
    }
}

fn percent(now: i64, before: i64) -> Option<i64> {
    (before > 0).then(|| ((now - before) as f64 / before as f64 * 100.0).round() as i64)
}

fn long(day: NaiveDate) -> String {
    day.format("%A %-d %B %Y").to_string()
}

fn count(n: i64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{} {noun}s", number(n)) }
}

/// A number with commas between its thousands.
fn number(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut spelled = if n < 0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            spelled.push(',');
        }
        spelled.push(digit);
    }
    spelled
}
