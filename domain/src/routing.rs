//! Routing: to which of a link's destinations a visitor is led. Rules come first, in their order; then variants, of which
//! a visitor always gets the same one; then the link's own destination.
//!
//! What is stored ([`Routing`]) only grows. It is read into [`Compiled`] once, when a process loads a route, with no
//! text left to parse. Nothing here knows of requests: whoever answers one describes its visitor.

mod compiled;
pub mod condition;
mod country;
mod explanation;
mod visitor;
mod window;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

pub use self::{
    compiled::{Compiled, End, Needs},
    condition::{Attribute, Condition, is_language},
    explanation::{Explanation, RuleVerdict, Share, TestVerdict},
    visitor::{Visitor, preferred_language},
    window::Day,
};
use crate::{chance::Chance, link::check_destination};

/// The most rules of one link.
pub const RULES_MAX: usize = 50;
/// The most conditions of one rule.
pub const CONDITIONS_MAX: usize = 20;
/// The most variants of one link.
pub const VARIANTS_MAX: usize = 20;
/// The longest name of a rule or variant, in characters.
pub const NAME_MAX: usize = 100;
/// The largest weight.
pub const WEIGHT_MAX: i64 = 10_000;
/// The longest id of a rule or variant, in characters.
pub const ID_MAX: usize = 16;
/// How long an id is that nobody chose.
const ID_LENGTH: usize = 6;

/// What a link has beside its destination. A stored format: members are added and never change their meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Routing {
    /// Asked in their order; the first that fits decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// An A/B test of those whom no rule takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
}

/// A destination for those visitors for whom all conditions hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// Names the rule in visits, whatever else of it changes; lower-case letters and digits, the link's only one.
    pub id: String,
    /// What it is called.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// Where it leads.
    pub destination: String,
}

/// A destination for a part of the visitors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Variant {
    /// Names the variant in visits, and decides with the visitor who gets it; as a rule's.
    pub id: String,
    /// What it is called.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it leads.
    pub destination: String,
    /// Its part of all variants' weights.
    pub weight: i64,
}

/// A field that breaks a rule, by its path, and the rule.
pub type Broken = (String, String);

impl Routing {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.variants.is_empty()
    }

    /// Every rule that it breaks. Ids may be missing: [`Self::complete`] gives them.
    pub fn broken(&self) -> Vec<Broken> {
        let mut wrong = vec![];
        most("rules", self.rules.len(), RULES_MAX, &mut wrong);
        most("variants", self.variants.len(), VARIANTS_MAX, &mut wrong);
        let mut ids = HashSet::new();
        for (n, rule) in self.rules.iter().take(RULES_MAX).enumerate() {
            let path = format!("rules[{n}]");
            check_part(&path, &rule.id, &rule.name, &rule.destination, &mut ids, &mut wrong);
            if rule.conditions.is_empty() || rule.conditions.len() > CONDITIONS_MAX {
                wrong.push((format!("{path}.conditions"), format!("must be 1 to {CONDITIONS_MAX}")));
            }
            for (n, condition) in rule.conditions.iter().take(CONDITIONS_MAX).enumerate() {
                let under = |(field, rule)| (format!("{path}.conditions[{n}].{field}"), rule);
                wrong.extend(condition.read().err().into_iter().flatten().map(under));
            }
        }
        for (n, variant) in self.variants.iter().take(VARIANTS_MAX).enumerate() {
            let path = format!("variants[{n}]");
            check_part(&path, &variant.id, &variant.name, &variant.destination, &mut ids, &mut wrong);
            if !(0..=WEIGHT_MAX).contains(&variant.weight) {
                wrong.push((format!("{path}.weight"), format!("must be 0 to {WEIGHT_MAX}")));
            }
        }
        if !self.variants.is_empty() && self.variants.iter().all(|variant| variant.weight == 0) {
            wrong.push(("variants".into(), "must have a weight above 0".into()));
        }
        wrong
    }

    /// Gives ids to those that have none: that of their like in `before`, by name and destination, or one of their own.
    pub fn complete(&mut self, before: Option<&Self>, chance: &Chance) {
        let ids = |routing: &Self| -> HashSet<String> {
            let rules = routing.rules.iter().map(|rule| rule.id.clone());
            rules.chain(routing.variants.iter().map(|variant| variant.id.clone())).collect()
        };
        let mut taken = ids(self);
        let mut kept: Vec<(bool, &str, &str, &str)> = vec![];
        if let Some(before) = before {
            kept.extend(before.rules.iter().map(|r| (true, &*r.id, &*r.name, &*r.destination)));
            kept.extend(before.variants.iter().map(|v| (false, &*v.id, &*v.name, &*v.destination)));
        }
        let rules = self.rules.iter_mut().map(|r| (true, &mut r.id, &r.name, &r.destination));
        let variants = self.variants.iter_mut().map(|v| (false, &mut v.id, &v.name, &v.destination));
        for (is_rule, id, name, destination) in rules.chain(variants).filter(|(_, id, ..)| id.is_empty()) {
            let like = kept
                .iter()
                .find(|(of, id, n, d)| *of == is_rule && n == name && d == destination && !taken.contains(*id));
            *id = match like {
                Some((_, id, ..)) => (*id).to_owned(),
                None => fresh(&taken, &kept, chance),
            };
            taken.insert(id.clone());
        }
    }
}

/// An id that neither is nor was one of the link's.
fn fresh(taken: &HashSet<String>, kept: &[(bool, &str, &str, &str)], chance: &Chance) -> String {
    loop {
        let id = chance.alphanumeric(ID_LENGTH).to_ascii_lowercase();
        if !taken.contains(&id) && !kept.iter().any(|(_, old, ..)| *old == id) {
            return id;
        }
    }
}

fn most(field: &str, count: usize, most: usize, wrong: &mut Vec<Broken>) {
    if count > most {
        wrong.push((field.into(), format!("must be at most {most}")));
    }
}

/// What rules and variants have in common.
fn check_part<'r>(
    path: &str,
    id: &'r str,
    name: &str,
    destination: &str,
    ids: &mut HashSet<&'r str>,
    wrong: &mut Vec<Broken>,
) {
    if id.len() > ID_MAX || !id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        wrong.push((format!("{path}.id"), format!("must be 1 to {ID_MAX} lower-case letters and digits")));
    } else if !id.is_empty() && !ids.insert(id) {
        wrong.push((format!("{path}.id"), "must not be given twice".into()));
    }
    if name.chars().count() > NAME_MAX || name.contains('\0') {
        wrong.push((format!("{path}.name"), format!("must be at most {NAME_MAX} characters")));
    }
    if let Err(rule) = check_destination(destination) {
        wrong.push((format!("{path}.destination"), rule));
    }
}
