//! Routing as a process keeps it, with nothing left to read.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use uuid::Uuid;

use super::{Routing, Visitor, condition::Test};
use crate::utm::Utm;

/// Rules and variants, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compiled {
    pub(super) rules: Vec<CompiledRule>,
    pub(super) variants: Vec<CompiledVariant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CompiledRule {
    pub tests: Vec<Test>,
    pub end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CompiledVariant {
    pub id: String,
    pub weight: u32,
    pub end: End,
}

/// Where a visitor was led, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// `rule:` or `variant:` and its id; empty where neither decided.
    pub branch: String,
    /// Where it leads, UTM fields included.
    pub destination: String,
}

/// What of a visitor is asked for that has a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Device, system or browser, which are read from the user agent.
    pub agent: bool,
    /// Country or region, which are looked up.
    pub place: bool,
    /// The number of the visit, which is counted.
    pub number: bool,
}

impl Compiled {
    /// Reads what is stored. What this program does not know, because a newer one stored it, never holds.
    pub fn new(routing: &Routing, utm: Option<&Utm>) -> Self {
        let end = |kind: &str, id: &str, destination: &str| End {
            branch: format!("{kind}:{id}"),
            destination: utm.map_or_else(|| destination.to_owned(), |utm| utm.apply(destination)),
        };
        let rules = routing.rules.iter().map(|rule| CompiledRule {
            tests: rule.conditions.iter().map(Test::new).collect(),
            end: end("rule", &rule.id, &rule.destination),
        });
        let variants = routing.variants.iter().map(|variant| CompiledVariant {
            id: variant.id.clone(),
            weight: variant.weight.try_into().unwrap_or(0),
            end: end("variant", &variant.id, &variant.destination),
        });
        Self { rules: rules.collect(), variants: variants.collect() }
    }

    /// Whether it leads everybody to the link's own destination.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.variants.is_empty()
    }

    /// What it asks for.
    pub fn needs(&self) -> Needs {
        let tests = || self.rules.iter().flat_map(|rule| &rule.tests);
        Needs {
            agent: tests().any(Test::asks_agent),
            place: tests().any(Test::asks_place),
            number: tests().any(Test::asks_number),
        }
    }

    /// Where a visitor of the link is led; `None` for the link's own destination.
    pub fn choose(&self, link: Uuid, visitor: &Visitor<'_>) -> Option<&End> {
        let rule = self.rules.iter().find(|rule| rule.tests.iter().all(|test| test.holds(visitor)));
        rule.map(|rule| &rule.end).or_else(|| Some(&self.variant(link, visitor)?.end))
    }

    /// Where a rule or variant leads, by the branch that a visit names.
    pub fn end(&self, branch: &str) -> Option<&End> {
        let rules = self.rules.iter().map(|rule| &rule.end);
        rules.chain(self.variants.iter().map(|variant| &variant.end)).find(|end| end.branch == branch)
    }

    /// The visitor's variant, by weighted rendezvous: each variant draws a number for the visitor, with a chance by its
    /// weight, and the highest has it. So each draws for itself, and who changes a weight moves only visitors from or to
    /// that variant.
    pub(super) fn variant(&self, link: Uuid, visitor: &Visitor<'_>) -> Option<&CompiledVariant> {
        let mark = visitor.mark(link);
        let drawn = |variant: &CompiledVariant| {
            let mut hasher = SipHasher13::new_with_keys(mark.0, mark.1);
            hasher.write(variant.id.as_bytes());
            // From 53 bits, above 0 and below 1.
            let unit = ((hasher.finish() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            -f64::from(variant.weight) / unit.ln()
        };
        let able = self.variants.iter().filter(|variant| variant.weight > 0);
        able.max_by(|a, b| drawn(a).total_cmp(&drawn(b)))
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let end = |end: &End| size_of::<End>() + end.branch.len() + end.destination.len();
        let rules = self.rules.iter().map(|rule| end(&rule.end) + rule.tests.iter().map(Test::size).sum::<usize>());
        rules.sum::<usize>() + self.variants.iter().map(|variant| end(&variant.end) + 64).sum::<usize>()
    }
}
