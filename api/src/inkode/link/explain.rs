//! `POST /api/links/{id}/explain` on the wire: a visitor described, and what becomes of them.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use domain::{
    agent::Agent,
    code::Target,
    link::Link,
    route::{self, Route, Step, Stop},
    routing::{Explanation, Routing, Visitor, preferred_language},
};
use poem_openapi::{Enum, Object};
use serde::Deserialize;
use sqlx::PgConnection;

use super::routing::RoutingAttribute;
use crate::{
    failure::{Failure, FieldError},
    inkode::asked::length,
    text::{self, Text},
    timestamp,
};

/// The longest text of a description, in characters.
const TEXT_MAX: usize = 2000;
/// The longest word of one.
const SHORT_MAX: usize = 200;

/// A visitor. What is not given is not known.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LinkVisitor {
    /// The user agent; device, system and browser are read from it where they are not given.
    user_agent: Option<Text<text::LongText>>,
    /// The kind of device.
    device: Option<Text<text::Name>>,
    /// The operating system.
    os: Option<Text<text::Name>>,
    /// The browser.
    browser: Option<Text<text::Name>>,
    /// A language, or what a browser sends as `Accept-Language`.
    language: Option<Text<text::Name>>,
    /// The country, two letters of ISO 3166-1.
    country: Option<Text<text::Name>>,
    /// The region, a code of ISO 3166-2.
    region: Option<Text<text::Name>>,
    /// The address that the request comes from; with the user agent it decides who gets which variant.
    address: Option<Text<text::IpAddress>>,
    /// The query of the short address, such as `from=poster`.
    query: Option<Text<text::LongText>>,
    /// The address of the page that led here.
    referrer: Option<Text<text::LongText>>,
    /// When; now if not given.
    #[serde(deserialize_with = "timestamp::read")]
    at: Option<DateTime<Utc>>,
    /// The how-manieth visit it is; the next one if not given.
    #[oai(validator(minimum(value = "1")))]
    visit: Option<i64>,
}

impl poem_openapi::types::Example for LinkVisitor {
    fn example() -> Self {
        Self {
            os: Some("iOS".into()),
            language: Some("de-AT,de;q=0.9,en;q=0.5".into()),
            country: Some("AT".into()),
            ..Self::default()
        }
    }
}

/// What becomes of a visitor, and why. Nothing is counted.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct LinkExplanation {
    /// Whether the link leads anywhere at that time. What follows is told in any case.
    state: LinkState,
    /// What decides: `rule:` or `variant:` and its id, or empty for the link's own destination.
    branch: Text<text::Branch>,
    /// Where the visitor is led, UTM fields included.
    destination: Text<text::Url>,
    /// The how-manieth visit it would be, as far as the link counts its visits.
    visit: i64,
    /// Each rule, in order.
    rules: Vec<RuleExplanation>,
    /// Each variant, in order.
    variants: Vec<VariantExplanation>,
}

/// Whether a link leads anywhere.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(super) enum LinkState {
    /// It does.
    Open,
    /// It asks for its password first.
    Protected,
    /// It is switched off or put away.
    Paused,
    /// Its time has not come.
    Early,
    /// Its time is over.
    Expired,
    /// It had all its visits.
    Full,
}

/// A rule and the visitor.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct RuleExplanation {
    /// The rule's id.
    id: Text<text::RoutingId>,
    /// Its name.
    name: Option<Text<text::PartName>>,
    /// Whether all its conditions hold.
    holds: bool,
    /// Whether it is the first of those, which decides.
    decides: bool,
    /// Each condition, in order.
    conditions: Vec<ConditionExplanation>,
}

/// A condition and the visitor.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct ConditionExplanation {
    /// What it asks for.
    attribute: RoutingAttribute,
    /// Whether it holds, `not` included.
    holds: bool,
    /// What it found of the visitor; absent if that is not known.
    seen: Option<String>,
}

/// A variant and the visitor.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct VariantExplanation {
    /// The variant's id.
    id: Text<text::RoutingId>,
    /// Its name.
    name: Option<Text<text::PartName>>,
    /// Which part of the visitors whom no rule takes it gets, from 0 to 1.
    share: f64,
    /// Whether it is this visitor's.
    fits: bool,
    /// Whether the visitor is led to it, because no rule decided.
    decides: bool,
}

/// Explains what `link` does with a visitor.
pub(super) async fn explain(
    conn: &mut PgConnection,
    link: &Link,
    visitor: LinkVisitor,
    now: DateTime<Utc>,
) -> Result<LinkExplanation, Failure> {
    let address = check(&visitor)?;
    let target = Target::Link(link.id);
    let counted = route::counted(conn, link.org_id, target).await?;
    let route = Route::of(link);
    let (at, number) = (visitor.at.unwrap_or(now), visitor.visit.unwrap_or(counted + 1));
    let agent = visitor.user_agent.as_deref().map(Agent::read).unwrap_or_default();
    let upper = |text: &Option<Text<text::Name>>| text.as_deref().unwrap_or_default().to_ascii_uppercase();
    let (country, region) = (upper(&visitor.country), upper(&visitor.region));
    let described = Visitor {
        device: visitor.device.as_deref().unwrap_or(agent.device),
        system: visitor.os.as_deref().unwrap_or(agent.system),
        browser: visitor.browser.as_deref().unwrap_or(agent.browser),
        language: preferred_language(visitor.language.as_deref().unwrap_or_default()),
        country: &country,
        region: &region,
        address,
        agent: visitor.user_agent.as_deref().unwrap_or_default(),
        query: visitor.query.as_deref().unwrap_or_default().trim_start_matches('?'),
        referrer: visitor.referrer.as_deref().unwrap_or_default(),
        at,
        number: Some(number),
    };
    let none = Routing::default();
    let routing = link.routing.as_ref().map_or(&none, |routing| &routing.0);
    let told = Explanation::new(routing, &route.routing, target.row().1, &described);
    let state = match route.step(None, at) {
        Step::Stop(stop) => stop.into(),
        _ if link.max_visits.is_some_and(|most| number > most) => LinkState::Full,
        Step::Password => LinkState::Protected,
        Step::Go => LinkState::Open,
    };
    Ok(LinkExplanation::new(told, &route.destination, state, number))
}

/// The address, if the description keeps to the rules.
fn check(visitor: &LinkVisitor) -> Result<Option<IpAddr>, Failure> {
    let mut wrong = vec![];
    let address = visitor.address.as_deref().map(str::parse);
    if let Some(Err(_)) = address {
        wrong.push(FieldError::new("address", "must be an IPv4 or IPv6 address"));
    }
    let short = [&visitor.device, &visitor.os, &visitor.browser, &visitor.language, &visitor.country, &visitor.region];
    let short =
        ["device", "os", "browser", "language", "country", "region"].into_iter().zip(short.map(|t| t.as_deref()));
    let long = [&visitor.user_agent, &visitor.query, &visitor.referrer].map(|text| text.as_deref());
    let long = ["userAgent", "query", "referrer"].into_iter().zip(long);
    for (field, text, most) in short.map(|(f, t)| (f, t, SHORT_MAX)).chain(long.map(|(f, t)| (f, t, TEXT_MAX))) {
        wrong.extend(text.and_then(|text| length(text, 0, most)).map(|rule| FieldError::new(field, rule)));
    }
    if visitor.visit.is_some_and(|visit| visit < 1) {
        wrong.push(FieldError::new("visit", "must be at least 1"));
    }
    if wrong.is_empty() { Ok(address.and_then(Result::ok)) } else { Err(Failure::invalid(wrong)) }
}

impl From<Stop> for LinkState {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Paused => Self::Paused,
            Stop::Early => Self::Early,
            Stop::Expired => Self::Expired,
            Stop::Full => Self::Full,
        }
    }
}

impl LinkExplanation {
    fn new(told: Explanation, own: &str, state: LinkState, visit: i64) -> Self {
        let name = |name: String| Some(name).filter(|name| !name.is_empty()).map(Text::from);
        let rules = told.rules.into_iter().map(|rule| RuleExplanation {
            id: rule.id.into(),
            name: name(rule.name),
            holds: rule.holds,
            decides: rule.decides,
            conditions: rule
                .conditions
                .into_iter()
                .map(|verdict| ConditionExplanation {
                    attribute: verdict.attribute.into(),
                    holds: verdict.holds,
                    seen: verdict.seen,
                })
                .collect(),
        });
        let variants = told.variants.into_iter().map(|variant| VariantExplanation {
            id: variant.id.into(),
            name: name(variant.name),
            share: variant.share,
            fits: variant.fits,
            decides: variant.decides,
        });
        Self {
            state,
            branch: told.branch.into(),
            destination: told.destination.unwrap_or_else(|| own.to_owned()).into(),
            visit,
            rules: rules.collect(),
            variants: variants.collect(),
        }
    }
}
