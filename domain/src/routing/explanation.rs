//! Why a visitor is led where: every rule and variant with what speaks for it, by the tests that lead real visitors.

use uuid::Uuid;

use super::{Attribute, Compiled, Routing, Visitor};

/// What becomes of a visitor, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// As in visits: `rule:…`, `variant:…` or empty.
    pub branch: String,
    /// Where the visitor is led, UTM fields included; `None` for the link's own destination.
    pub destination: Option<String>,
    /// Each rule, in order.
    pub rules: Vec<RuleVerdict>,
    /// Each variant, in order.
    pub variants: Vec<Share>,
}

/// A rule and the visitor.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleVerdict {
    /// The rule's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether all its conditions hold.
    pub holds: bool,
    /// Whether it is the first of those, which decides.
    pub decides: bool,
    /// Each condition, in order.
    pub conditions: Vec<TestVerdict>,
}

/// A condition and the visitor.
#[derive(Debug, Clone, PartialEq)]
pub struct TestVerdict {
    /// What it asks for.
    pub attribute: Attribute,
    /// Whether it holds, `not` included.
    pub holds: bool,
    /// What it found of the visitor; `None` if that is not known.
    pub seen: Option<String>,
}

/// A variant and the visitor.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// The variant's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Which part of the visitors whom no rule takes it gets, from 0 to 1.
    pub share: f64,
    /// Whether it is this visitor's.
    pub fits: bool,
    /// Whether the visitor is led to it, because no rule decided.
    pub decides: bool,
}

impl Explanation {
    /// Explains what `compiled`, which was made of `routing`, does with a visitor of the link.
    pub fn new(routing: &Routing, compiled: &Compiled, link: Uuid, visitor: &Visitor<'_>) -> Self {
        let end = compiled.choose(link, visitor);
        let branch = end.map(|end| end.branch.clone()).unwrap_or_default();
        let rules = routing.rules.iter().zip(&compiled.rules).map(|(rule, led)| {
            let conditions = rule.conditions.iter().zip(&led.tests).map(|(condition, test)| TestVerdict {
                attribute: condition.attribute,
                holds: test.holds(visitor),
                seen: test.seen(visitor),
            });
            let conditions: Vec<TestVerdict> = conditions.collect();
            RuleVerdict {
                id: rule.id.clone(),
                name: rule.name.clone(),
                holds: conditions.iter().all(|verdict| verdict.holds),
                decides: led.end.branch == branch,
                conditions,
            }
        });
        let total: f64 = compiled.variants.iter().map(|variant| f64::from(variant.weight)).sum();
        let own = compiled.variant(link, visitor).map(|variant| &variant.id);
        let variants = routing.variants.iter().zip(&compiled.variants).map(|(variant, led)| Share {
            id: variant.id.clone(),
            name: variant.name.clone(),
            share: if total > 0.0 { f64::from(led.weight) / total } else { 0.0 },
            fits: own == Some(&led.id),
            decides: led.end.branch == branch,
        });
        Self {
            rules: rules.collect(),
            variants: variants.collect(),
            destination: end.map(|end| end.destination.clone()),
            branch,
        }
    }
}
