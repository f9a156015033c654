//! The five webhook systems as rows of plain data: what each sends, when, signed how, and when it stops.
//!
//! A row is data only; every field is read by one function, and no function asks for a dialect by its name. A sixth
//! dialect is one more row in `table.rs`, its samples and a file of vectors. Nothing here touches the network or the
//! database. Sources: `docs/decisions/`, and the documents of the five products.

mod catalogue;
mod envelope;
mod health;
mod sample;
mod schedule;
mod secret;
mod sign;
mod table;
mod verify;

use std::{fmt, str::FromStr, time::Duration};

pub use self::{
    catalogue::{dialects_of, is_known_type},
    envelope::{EventFacts, Field, body},
    health::{DisableReason, DisableRule, Health, HealthState, Ladder, Observation, Transition, health_step},
    schedule::{Schedule, next_attempt},
    secret::{Alphabet, Choice, InvalidSecret, SecretPolicy, Shown, check_secret, new_secret},
    sign::{Encoding, Key, Overlap, Part, Signature, Source, sign},
    table::DIALECTS,
    verify::{VerifyError, recognise, verify},
};
use crate::{
    id::{EndpointId, EventId, InvalidId, read_any, spell},
    plan::Plan,
};

/// One webhook system, as its document describes it.
#[derive(Debug)]
pub struct Dialect {
    /// The word that rows and requests use.
    pub name: DialectName,
    /// The product's name, for people.
    pub title: &'static str,
    /// What stands before the 26 characters of an endpoint's id outside, with its underscore.
    pub endpoint_prefix: &'static str,
    /// What stands before the 26 characters of an event's id outside, with its underscore.
    pub event_prefix: &'static str,
    /// How a request is signed.
    pub signature: Signature,
    /// Every other header of a request, in the order they are sent.
    pub headers: &'static [(&'static str, Source)],
    /// The members of the body, in their order.
    pub envelope: &'static [(&'static str, Field)],
    /// Every event type an endpoint can subscribe to.
    pub catalogue: &'static [&'static str],
    /// Example data as canonical JSON, by event type or by family (`qr.*`); the first entry that fits counts.
    pub samples: &'static [(&'static str, &'static str)],
    /// When the requests of one delivery are made, and how many at most.
    pub schedule: Schedule,
    /// How long one request may take in all.
    pub timeout: Duration,
    /// What a signing secret looks like, and who makes it.
    pub secret: SecretPolicy,
    /// What happens to an endpoint that keeps failing.
    pub ladder: Ladder,
    /// Whether the owner gets an e-mail for each delivery that is given up.
    pub mail_on_failed_delivery: bool,
    /// The bounds on endpoints.
    pub limits: Limits,
}

/// The bounds that a dialect sets on endpoints and on who may have them.
#[derive(Debug)]
pub struct Limits {
    /// The lowest plan that includes webhooks; `None` where every plan does.
    pub least_plan: Option<Plan>,
    /// Active endpoints per organisation.
    pub max_active: Option<i64>,
    /// Characters of an endpoint's URL.
    pub max_url: usize,
    /// Characters of an endpoint's name or description.
    pub max_name: usize,
    /// Whether a URL must be https, unless the operator allows others by setting.
    pub https_only: bool,
}

impl Dialect {
    /// The row of a name.
    pub fn by_name(name: DialectName) -> &'static Self {
        &DIALECTS[name as usize]
    }

    /// An endpoint's id as this dialect shows it.
    pub fn endpoint_id(&self, id: EndpointId) -> String {
        format!("{}{}", self.endpoint_prefix, spell(id.0))
    }

    /// Reads what [`Dialect::endpoint_id`] wrote.
    pub fn read_endpoint_id(&self, text: &str) -> Result<EndpointId, InvalidId> {
        let tail = text.strip_prefix(self.endpoint_prefix).ok_or(InvalidId)?;
        if tail.len() != 26 {
            return Err(InvalidId);
        }
        read_any(text).map(EndpointId)
    }

    /// An event's id as this dialect shows it, in the body or in `webhook-id`.
    pub fn event_id(&self, id: EventId) -> String {
        format!("{}{}", self.event_prefix, spell(id.0))
    }

    /// Whether an organisation on `plan` may have endpoints.
    pub fn allows_plan(&self, plan: Plan) -> bool {
        self.limits.least_plan.is_none_or(|least| plan >= least)
    }
}

/// Which of the five. Stored and sent as its lower-case word.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize, sqlx::Type,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum DialectName {
    /// Inkode.
    Inkode,
    /// iloveQR.
    Iloveqr,
    /// InkLink.
    Inklink,
    /// Inkr.
    Inkr,
    /// QR Code Agency.
    Qrstudio,
}

impl DialectName {
    /// Every name, in the order of [`DIALECTS`].
    pub const ALL: [Self; 5] = [Self::Inkode, Self::Iloveqr, Self::Inklink, Self::Inkr, Self::Qrstudio];

    /// The lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inkode => "inkode",
            Self::Iloveqr => "iloveqr",
            Self::Inklink => "inklink",
            Self::Inkr => "inkr",
            Self::Qrstudio => "qrstudio",
        }
    }
}

impl fmt::Display for DialectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no dialect.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be one of inkode, iloveqr, inklink, inkr, qrstudio")]
pub struct UnknownDialect;

impl FromStr for DialectName {
    type Err = UnknownDialect;
    fn from_str(text: &str) -> Result<Self, UnknownDialect> {
        Self::ALL.into_iter().find(|name| name.as_str() == text).ok_or(UnknownDialect)
    }
}
