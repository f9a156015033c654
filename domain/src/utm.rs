//! UTM fields: what a link adds to its destination, so that the analytics of the site behind it know where people come
//! from.

use serde::{Deserialize, Serialize};
use url::Url;

/// The longest value, in characters.
pub const VALUE_MAX: usize = 200;

/// The five fields; those that are not there add nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Utm {
    /// `utm_source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `utm_medium`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<String>,
    /// `utm_campaign`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// `utm_term`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<String>,
    /// `utm_content`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

impl Utm {
    /// The fields with their parameters' names.
    pub fn fields(&self) -> [(&'static str, Option<&str>); 5] {
        [
            ("utm_source", self.source.as_deref()),
            ("utm_medium", self.medium.as_deref()),
            ("utm_campaign", self.campaign.as_deref()),
            ("utm_term", self.term.as_deref()),
            ("utm_content", self.content.as_deref()),
        ]
    }

    /// `destination` with the fields, in place of those that it has of the same name. Everything else stays as it was
    /// written.
    pub fn apply(&self, destination: &str) -> String {
        let added: Vec<(&str, &str)> = self
            .fields()
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.filter(|v| !v.is_empty())?)))
            .collect();
        let (Ok(mut url), false) = (Url::parse(destination), added.is_empty()) else { return destination.to_owned() };
        let name_of = |pair: &str| pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
        let mut query: Vec<String> = url
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty() && !added.iter().any(|(name, _)| *name == name_of(pair)))
            .map(str::to_owned)
            .collect();
        let mut more = url::form_urlencoded::Serializer::new(String::new());
        more.extend_pairs(added);
        query.push(more.finish());
        url.set_query(Some(&query.join("&")));
        url.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_take_the_place_of_their_like_and_leave_the_rest() {
        let utm = Utm { source: Some("news letter".into()), term: Some(String::new()), ..Utm::default() };
        assert_eq!(
            utm.apply("https://a.example/x?a=%20b&utm_source=old#part"),
            "https://a.example/x?a=%20b&utm_source=news+letter#part"
        );
        assert_eq!(utm.apply("https://a.example"), "https://a.example/?utm_source=news+letter");
        assert_eq!(Utm::default().apply("https://a.example?b"), "https://a.example?b");
    }
}
