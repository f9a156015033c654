//! Which event types there are, and who hears of them.

use super::{DIALECTS, Dialect};

impl Dialect {
    /// Whether an endpoint that chose `event_types` (`None`: all of the catalogue) is sent events of `event_type`.
    pub fn subscribes(&self, event_types: Option<&[String]>, event_type: &str) -> bool {
        self.catalogue.contains(&event_type)
            && event_types.is_none_or(|chosen| chosen.iter().any(|wanted| wanted == event_type))
    }

    /// Example data of `event_type` as canonical JSON; `None` for a type outside the catalogue.
    pub fn sample(&self, event_type: &str) -> Option<&'static str> {
        let fits = |pattern: &str| match pattern.strip_suffix('*') {
            Some(family) => event_type.starts_with(family),
            None => event_type == pattern,
        };
        let known = self.catalogue.contains(&event_type);
        self.samples.iter().find(|(pattern, _)| known && fits(pattern)).map(|(_, data)| *data)
    }
}

/// The dialects whose catalogue has `event_type`; an endpoint of any other never hears of it.
pub fn dialects_of(event_type: &str) -> impl Iterator<Item = &'static Dialect> {
    DIALECTS.iter().filter(move |dialect| dialect.catalogue.contains(&event_type))
}

/// Whether any dialect knows `event_type`.
pub fn is_known_type(event_type: &str) -> bool {
    dialects_of(event_type).next().is_some()
}
