//! What is written about webhooks: an endpoint fails, is switched off, has recovered; a delivery was given up.
//!
//! Each struct holds the facts of one letter; who asks for it knows the dialect and its ladder.

use chrono::{DateTime, Utc};

use super::letter::{Letter, Part, moment, quote, quote_url, write};

/// Which endpoint a letter is about.
#[derive(Debug, Clone, Copy)]
pub struct EndpointFacts<'a> {
    /// Its id as its dialect spells it.
    pub id: &'a str,
    /// What its owner calls it; may be empty.
    pub name: &'a str,
    /// Where it is. The query is not shown.
    pub url: &'a str,
    /// The organisation's name.
    pub org_name: &'a str,
    /// Where its delivery log can be read.
    pub log_url: &'a str,
}

impl EndpointFacts<'_> {
    fn title(&self) -> String {
        if self.name.trim().is_empty() { quote_url(self.url) } else { format!("“{}”", quote(self.name)) }
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        vec![("Endpoint", quote(self.id)), ("Address", quote_url(self.url)), ("Organisation", quote(self.org_name))]
    }
}

/// An endpoint has failed several times in a row. It still takes deliveries.
#[derive(Debug, Clone, Copy)]
pub struct Degraded<'a> {
    /// Which endpoint.
    pub endpoint: EndpointFacts<'a>,
    /// Failed attempts since the last success.
    pub failures_in_row: u32,
    /// The first of them.
    pub failing_since: DateTime<Utc>,
    /// What the last attempt met: `HTTP 500`, `timed out after 5 s`.
    pub last_error: &'a str,
    /// When it will be switched off if nothing succeeds before.
    pub disabled_at: DateTime<Utc>,
}

impl Degraded<'_> {
    /// The kind of these mails.
    pub const KIND: &'static str = "webhook.degraded";

    /// Writes the letter.
    pub fn letter(&self) -> Letter {
        let title = self.endpoint.title();
        let mut facts = self.endpoint.facts();
        facts.extend([
            ("Failed attempts in a row", self.failures_in_row.to_string()),
            ("Failing since", moment(self.failing_since)),
            ("Last attempt", quote(self.last_error)),
            ("Will be switched off", moment(self.disabled_at)),
        ]);
        write(
            Self::KIND,
            &format!("Webhook endpoint is failing: {title}"),
            "A webhook endpoint is failing",
            &[
                Part::Text(format!(
                    "The endpoint {title} has not answered with a success since {}. We go on trying, and one success \
                     puts everything right. If nothing succeeds until {}, the endpoint will be switched off.",
                    moment(self.failing_since),
                    moment(self.disabled_at),
                )),
                Part::Facts(facts),
                Part::Text(
                    "Please look at the server behind this address. The delivery log shows each attempt with \
                            its answer."
                        .into(),
                ),
            ],
        )
    }
}

/// An endpoint was switched off.
#[derive(Debug, Clone, Copy)]
pub struct Disabled<'a> {
    /// Which endpoint.
    pub endpoint: EndpointFacts<'a>,
    /// Why, in a sentence of ours.
    pub reason: &'a str,
    /// When.
    pub disabled_at: DateTime<Utc>,
    /// The request that switches it on again, as its dialect has it.
    pub how_to_enable: &'a str,
    /// How long held deliveries are kept, in days.
    pub held_days: u32,
}

impl Disabled<'_> {
    /// The kind of these mails.
    pub const KIND: &'static str = "webhook.disabled";

    /// Writes the letter.
    pub fn letter(&self) -> Letter {
        let title = self.endpoint.title();
        let mut facts = self.endpoint.facts();
        facts.extend([("Reason", quote(self.reason)), ("Switched off", moment(self.disabled_at))]);
        write(
            Self::KIND,
            &format!("Webhook endpoint switched off: {title}"),
            "A webhook endpoint was switched off",
            &[
                Part::Text(format!("The endpoint {title} takes no more deliveries.")),
                Part::Facts(facts),
                Part::Text(format!(
                    "Nothing is lost: deliveries that come due from now on are held for {} days and can be replayed. \
                     When the server behind the address is well again, switch the endpoint on with this request:",
                    self.held_days,
                )),
                Part::Code(self.how_to_enable.into()),
            ],
        )
    }
}

/// An endpoint about which a warning was sent answers again.
#[derive(Debug, Clone, Copy)]
pub struct Recovered<'a> {
    /// Which endpoint.
    pub endpoint: EndpointFacts<'a>,
    /// The first success.
    pub recovered_at: DateTime<Utc>,
}

impl Recovered<'_> {
    /// The kind of these mails.
    pub const KIND: &'static str = "webhook.recovered";

    /// Writes the letter.
    pub fn letter(&self) -> Letter {
        let title = self.endpoint.title();
        let mut facts = self.endpoint.facts();
        facts.push(("Answered again", moment(self.recovered_at)));
        write(
            Self::KIND,
            &format!("Webhook endpoint is well again: {title}"),
            "A webhook endpoint is well again",
            &[
                Part::Text(format!("The endpoint {title} answered with a success. Nothing is left for you to do.")),
                Part::Facts(facts),
            ],
        )
    }
}

/// A delivery was given up after its last attempt.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryFailed<'a> {
    /// Which endpoint did not take it.
    pub endpoint: EndpointFacts<'a>,
    /// The delivery's id.
    pub delivery_id: &'a str,
    /// The event's id.
    pub event_id: &'a str,
    /// The event's type.
    pub event_type: &'a str,
    /// How many requests were made.
    pub attempts: u32,
    /// What the last one met.
    pub last_error: &'a str,
    /// When the last one was made.
    pub failed_at: DateTime<Utc>,
}

impl DeliveryFailed<'_> {
    /// The kind of these mails.
    pub const KIND: &'static str = "webhook.delivery_failed";

    /// Writes the letter.
    pub fn letter(&self) -> Letter {
        let mut facts = vec![
            ("Event", format!("{} ({})", quote(self.event_type), quote(self.event_id))),
            ("Delivery", quote(self.delivery_id)),
        ];
        facts.extend(self.endpoint.facts());
        facts.extend([
            ("Attempts", self.attempts.to_string()),
            ("Last attempt", format!("{}: {}", moment(self.failed_at), quote(self.last_error))),
        ]);
        let title = self.endpoint.title();
        write(
            Self::KIND,
            &format!("Webhook delivery failed: {} to {title}", quote(self.event_type)),
            "A webhook delivery failed",
            &[
                Part::Text(format!(
                    "We could not deliver {} to the endpoint {title} and have stopped trying. The event is kept: the \
                     delivery can be retried from the delivery log.",
                    quote(self.event_type),
                )),
                Part::Facts(facts),
            ],
        )
    }
}
