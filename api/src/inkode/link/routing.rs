//! Routing on the wire: rules and variants as they are given and shown, one shape for both.

use chrono::{DateTime, Utc};
use domain::routing::{Attribute, Condition, Day, Routing, Rule, Variant};
use poem_openapi::{Enum, Object};
use serde::Deserialize;

use crate::{
    input,
    text::{self, Text},
    timestamp,
};

/// Where a link leads beside its destination: rules in their order, then an A/B test of those whom no rule takes. It is
/// replaced as a whole.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(skip_serializing_if_is_none)]
#[serde(remote = "Self", default)]
pub(super) struct LinkRouting {
    /// Asked in their order; the first whose conditions all hold decides.
    #[oai(validator(max_items = 50))]
    pub(super) rules: Option<Vec<RoutingRule>>,
    /// Those whom no rule takes are divided among them by weight. A visitor always gets the same one.
    #[oai(validator(max_items = 20))]
    pub(super) variants: Option<Vec<RoutingVariant>>,
}

/// A destination for those visitors for whom all conditions hold.
#[derive(Debug, Object, Deserialize)]
#[oai(skip_serializing_if_is_none)]
#[serde(remote = "Self")]
pub(super) struct RoutingRule {
    /// Names the rule in statistics; every answer has it. Give it back to keep it when the rule is changed. One is made if
    /// not given.
    id: Option<Text<text::RoutingId>>,
    /// What it is called.
    name: Option<Text<text::PartName>>,
    /// What must hold.
    #[oai(validator(min_items = 1, max_items = 20))]
    conditions: Vec<RoutingCondition>,
    /// Where it leads.
    destination: Text<text::Destination>,
}

/// A destination for a part of the visitors.
#[derive(Debug, Object, Deserialize)]
#[oai(skip_serializing_if_is_none)]
#[serde(remote = "Self")]
pub(super) struct RoutingVariant {
    /// Names the variant in statistics; as a rule's. A variant with another id gets other visitors.
    id: Option<Text<text::RoutingId>>,
    /// What it is called.
    name: Option<Text<text::PartName>>,
    /// Where it leads.
    destination: Text<text::Destination>,
    /// Its part of the sum of all weights; 0 gets nobody.
    #[oai(validator(minimum(value = "0"), maximum(value = "10000")))]
    weight: i64,
}

/// What must hold for a visitor. `device`, `os`, `browser`, `language`, `country` and `region` take `values`, one of which
/// must fit; `query` takes `name` and, if not any will do, `values`; `referrer` takes `values`, or none for any; `visit`
/// takes `least` and `most`; `time` takes `from`, `to`, `days` and `timeZone`, and `startsAt` and `endsAt`.
#[derive(Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub(super) struct RoutingCondition {
    /// What it asks for.
    #[serde(deserialize_with = "input::required_word")]
    attribute: RoutingAttribute,
    /// Turned round: it holds where it else would not, also where nothing is known.
    not: Option<bool>,
    /// Devices, systems and browsers in upper or lower case; languages such as `de`, which also holds for `de-AT`; countries
    /// of ISO 3166-1 (`DE`); regions of ISO 3166-2 (`US-CA`); parameters' values as they are; referring hosts, with those
    /// under them (`example.com`).
    #[oai(validator(max_items = 100))]
    values: Option<Vec<Text<text::Name>>>,
    /// The parameter's name.
    name: Option<Text<text::Name>>,
    /// The first visit of the link for which it holds, from 1.
    #[oai(validator(minimum(value = "1")))]
    least: Option<i64>,
    /// The last one.
    #[oai(validator(minimum(value = "1")))]
    most: Option<i64>,
    /// On these days of the week; on all if not given. A window over midnight belongs to the day on which it begins.
    #[oai(validator(max_items = 7))]
    #[serde(default, deserialize_with = "input::words")]
    days: Option<Vec<RoutingDay>>,
    /// From this time of the day on.
    from: Option<Text<text::TimeOfDay>>,
    /// Until this one; of the next day if it is before `from`.
    to: Option<Text<text::TimeOfDay>>,
    /// Whose clock shows `from`, `to` and `days`: an IANA time zone.
    time_zone: Option<Text<text::TimeZone>>,
    /// From this moment on.
    #[serde(default, deserialize_with = "timestamp::read")]
    starts_at: Option<DateTime<Utc>>,
    /// Until this one.
    #[serde(default, deserialize_with = "timestamp::read")]
    ends_at: Option<DateTime<Utc>>,
}

input::objects!(LinkRouting RoutingRule RoutingVariant RoutingCondition);

/// What a condition asks for.
#[derive(Debug, Clone, Copy, Enum, Deserialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub(super) enum RoutingAttribute {
    /// The kind of device.
    Device,
    /// The operating system.
    Os,
    /// The browser.
    Browser,
    /// The language that the browser prefers.
    Language,
    /// The country.
    Country,
    /// The region of a country.
    Region,
    /// When.
    Time,
    /// A parameter of the query of the short address.
    Query,
    /// The how-manieth counted visit of the link it is.
    Visit,
    /// The site that led here.
    Referrer,
    /// Shown where a newer version of the program stored something: never holds, and is not taken.
    Unknown,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, Enum, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub(super) enum RoutingDay {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

macro_rules! same {
    ($ours:ident, $theirs:ident: $($name:ident)*) => {
        impl From<$ours> for $theirs {
            fn from(ours: $ours) -> Self {
                match ours { $($ours::$name => Self::$name,)* }
            }
        }

        impl From<$theirs> for $ours {
            fn from(theirs: $theirs) -> Self {
                match theirs { $($theirs::$name => Self::$name,)* }
            }
        }
    };
}

same!(RoutingAttribute, Attribute: Device Os Browser Language Country Region Time Query Visit Referrer Unknown);
same!(RoutingDay, Day: Mon Tue Wed Thu Fri Sat Sun);

fn plain<F>(text: Option<Text<F>>) -> String {
    text.map(String::from).unwrap_or_default()
}

fn shown<F>(text: String) -> Option<Text<F>> {
    Some(text).filter(|text| !text.is_empty()).map(Text::from)
}

fn each<A, B: From<A>>(of: Vec<A>) -> Vec<B> {
    of.into_iter().map(B::from).collect()
}

fn some<T>(of: Vec<T>) -> Option<Vec<T>> {
    Some(of).filter(|of| !of.is_empty())
}

impl From<LinkRouting> for Routing {
    fn from(fields: LinkRouting) -> Self {
        Self { rules: each(fields.rules.unwrap_or_default()), variants: each(fields.variants.unwrap_or_default()) }
    }
}

impl From<Routing> for LinkRouting {
    fn from(routing: Routing) -> Self {
        Self { rules: Some(each(routing.rules)), variants: Some(each(routing.variants)) }
    }
}

impl From<RoutingRule> for Rule {
    fn from(fields: RoutingRule) -> Self {
        let RoutingRule { id, name, conditions, destination } = fields;
        Self { id: plain(id), name: plain(name), conditions: each(conditions), destination: destination.into() }
    }
}

impl From<Rule> for RoutingRule {
    fn from(rule: Rule) -> Self {
        let Rule { id, name, conditions, destination } = rule;
        Self { id: shown(id), name: shown(name), conditions: each(conditions), destination: destination.into() }
    }
}

impl From<RoutingVariant> for Variant {
    fn from(fields: RoutingVariant) -> Self {
        let RoutingVariant { id, name, destination, weight } = fields;
        Self { id: plain(id), name: plain(name), destination: destination.into(), weight }
    }
}

impl From<Variant> for RoutingVariant {
    fn from(variant: Variant) -> Self {
        let Variant { id, name, destination, weight } = variant;
        Self { id: shown(id), name: shown(name), destination: destination.into(), weight }
    }
}

impl From<RoutingCondition> for Condition {
    fn from(fields: RoutingCondition) -> Self {
        Self {
            attribute: fields.attribute.into(),
            not: fields.not.unwrap_or_default(),
            values: fields.values.map(text::plain).unwrap_or_default(),
            name: fields.name.map(Into::into),
            least: fields.least,
            most: fields.most,
            days: each(fields.days.unwrap_or_default()),
            from: fields.from.map(Into::into),
            to: fields.to.map(Into::into),
            time_zone: fields.time_zone.map(Into::into),
            starts_at: fields.starts_at,
            ends_at: fields.ends_at,
        }
    }
}

impl From<Condition> for RoutingCondition {
    fn from(condition: Condition) -> Self {
        Self {
            attribute: condition.attribute.into(),
            not: Some(true).filter(|_| condition.not),
            values: some(each(condition.values)),
            name: condition.name.map(Into::into),
            least: condition.least,
            most: condition.most,
            days: some(each(condition.days)),
            from: condition.from.map(Into::into),
            to: condition.to.map(Into::into),
            time_zone: condition.time_zone.map(Into::into),
            starts_at: condition.starts_at,
            ends_at: condition.ends_at,
        }
    }
}

impl LinkRouting {
    /// For the examples of the OpenAPI file.
    pub(super) fn example() -> Self {
        let condition = |attribute, values: &[&str]| RoutingCondition {
            values: Some(values.iter().map(|&value| value.into()).collect()),
            ..Condition::new(attribute).into()
        };
        Self {
            rules: Some(vec![RoutingRule {
                id: Some("ios1".into()),
                name: Some("Apple phones".into()),
                conditions: vec![condition(Attribute::Os, &["iOS"]), condition(Attribute::Language, &["de", "fr"])],
                destination: "https://apps.example.com/shop".into(),
            }]),
            variants: None,
        }
    }
}
