//! A request's visitor, as rules ask for them.

use domain::{
    agent::Agent,
    route::{Choice, Route},
    routing::{Visitor, preferred_language},
};
use poem::{Request, http::header};

use super::{access, place::Place};
use crate::app::App;

/// Where a route leads who sent the request; `number` is the number of their visit. What has a price is read only where
/// the route's rules ask for it.
pub fn choose<'r>(app: &App, request: &Request, route: &'r Route, number: Option<i64>) -> Choice<'r> {
    if route.routing.is_empty() {
        return route.choose(&Visitor::default());
    }
    let header = |name| request.header(name).unwrap_or_default();
    let (needs, address) = (route.needs(), access::address(app, request));
    let agent = if needs.agent { Agent::read(header(header::USER_AGENT)) } else { Agent::default() };
    let place = if needs.place { app.places.of(&app.places.told(request), address) } else { Place::default() };
    route.choose(&Visitor {
        device: agent.device,
        system: agent.system,
        browser: agent.browser,
        language: preferred_language(header(header::ACCEPT_LANGUAGE)),
        country: &place.country,
        region: &place.region,
        address,
        agent: header(header::USER_AGENT),
        query: request.uri().query().unwrap_or_default(),
        referrer: header(header::REFERER),
        at: app.clock.now(),
        number,
    })
}
