//! Who takes part: three organisations, their endpoints in every dialect, and what each receiver does in a round.

use std::time::Duration;

use anyhow::Context;
use domain::{clock::Clock, dialect::DialectName, id::read_any};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use uuid::Uuid;

use super::receiver::{Manner, Receiver};
use crate::program::{Keys, Program};

/// Organisations.
pub const ORGS: usize = 3;

/// Event types and their weights. The last ones are rare: their receivers hang, fail for good or are gone.
pub const TYPES: [(&str, u32); 8] = [
    ("qr.created", 240),
    ("kyc.result.approved", 240),
    ("submission.created", 240),
    ("scan.created", 240),
    ("kyc.result.failed", 10),
    ("submission.declined", 10),
    ("qr.deleted", 10),
    ("quota.threshold_100", 10),
];
const RARE_FROM: usize = 4;

/// An endpoint and its receiver.
#[derive(Debug)]
pub struct Endpoint {
    /// Whose, as an index.
    pub org: usize,
    /// How it is spoken to.
    pub dialect: DialectName,
    /// The one type that it subscribes to.
    pub event_type: &'static str,
    /// Its id.
    pub id: Uuid,
    /// What it points to.
    pub receiver: Receiver,
}

impl Endpoint {
    /// Whether few events go there.
    pub fn is_rare(&self) -> bool {
        TYPES[RARE_FROM..].iter().any(|(name, _)| *name == self.event_type)
    }
}

/// Makes the organisations and their endpoints through the front door, at `url`.
pub async fn make(program: &Program, url: &str, clock: &Clock) -> anyhow::Result<(Vec<Keys>, Vec<Endpoint>)> {
    let http = crate::program::client()?;
    let (mut keys, mut endpoints) = (vec![], vec![]);
    for org in 0..ORGS {
        let key = program.organisation(&format!("org-{org}")).await?;
        for (event_type, _) in TYPES {
            for dialect in domain::dialect::dialects_of(event_type) {
                let receiver = Receiver::start(dialect, clock.clone()).await?;
                let own = (dialect.name == DialectName::Iloveqr).then_some("an own secret of iloveQR");
                let mut wanted = json!({
                    "url": format!("http://{}/hook", receiver.address), "dialect": dialect.name, "eventTypes": [event_type],
                });
                if let Some(own) = own {
                    wanted["secret"] = own.into();
                }
                let request =
                    http.post(format!("{url}/api/webhooks/endpoints")).bearer_auth(&key.session).json(&wanted);
                let answer: Value = request.send().await?.error_for_status()?.json().await?;
                let secret = answer["secret"].as_str().or(own).context("a secret")?;
                receiver.know(secret.to_owned());
                let id = read_any(answer["id"].as_str().context("an id")?)?;
                endpoints.push(Endpoint { org, dialect: dialect.name, event_type, id, receiver });
            }
        }
        keys.push(key);
    }
    Ok((keys, endpoints))
}

/// What a receiver does: from each moment after the start on, until the next.
#[derive(Debug, Clone)]
pub struct Part {
    /// When it begins to behave how.
    pub scenes: Vec<(Duration, Manner)>,
    /// How it behaves when the faults are over.
    pub ending: Manner,
}

/// Chooses every receiver's part in a round whose events flow for `flow`.
pub fn choose_parts(rng: &mut StdRng, endpoints: &[Endpoint], flow: Duration) -> Vec<Part> {
    // One that fails for good in the dialect with the shortest schedule, in each round; another one in some.
    let lost = rng.random_range(0..ORGS);
    let also = rng.random_bool(0.3).then(|| DialectName::ALL[rng.random_range(0..DialectName::ALL.len())]);
    let mut parts = vec![];
    for endpoint in endpoints {
        let for_good = endpoint.org == lost && [Some(DialectName::Inklink), also].contains(&Some(endpoint.dialect));
        parts.push(match endpoint.is_rare() {
            true if for_good => {
                Part { scenes: vec![(Duration::ZERO, Manner::Status(500))], ending: Manner::Status(500) }
            }
            true => rare(rng, flow),
            false => busy(rng, flow),
        });
    }
    parts
}

fn busy(rng: &mut StdRng, flow: Duration) -> Part {
    let usual =
        if rng.random_bool(0.3) { Manner::Slow(Duration::from_millis(rng.random_range(5..150))) } else { Manner::Well };
    let mut scenes = vec![(Duration::ZERO, usual)];
    if rng.random_bool(0.4) {
        let bad = *[Manner::Status(500), Manner::Status(503), Manner::Refuse, Manner::Busy(rng.random_range(1..100))]
            .choose(rng)
            .expect("there are some");
        let from = flow.mul_f64(rng.random_range(0.1..0.7));
        scenes.push((from, bad));
        scenes.push((from + Duration::from_millis(rng.random_range(200..1500)), usual));
    }
    Part { scenes, ending: Manner::Well }
}

fn rare(rng: &mut StdRng, flow: Duration) -> Part {
    let bad = *[Manner::Hang, Manner::Status(410), Manner::Busy(45), Manner::Well, Manner::Refuse, Manner::Status(404)]
        .choose(rng)
        .expect("there are some");
    let from = flow.mul_f64(rng.random_range(0.0..0.6));
    let ending = if bad == Manner::Status(410) { bad } else { Manner::Well };
    Part { scenes: vec![(Duration::ZERO, Manner::Well), (from, bad)], ending }
}
