//! What must be true when a round is over: of the answers that publishers got, of the requests that receivers noted, and
//! of the rows.

mod books;
mod delivery;
mod health;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use self::books::Books;
use super::{
    cast::Endpoint,
    publisher::{Accepted, Order},
    receiver::Receipt,
};

/// A fault that may repeat requests: the deliveries whose outcome it may have lost.
#[derive(Debug)]
pub struct Incident {
    /// When, by Postgres's clock.
    pub at: DateTime<Utc>,
    /// What was done to whom.
    pub what: String,
    /// The deliveries that the process held.
    pub in_flight: HashSet<Uuid>,
}

/// A crash of Postgres.
#[derive(Debug)]
pub struct Crash {
    /// When, by Postgres's clock.
    pub at: DateTime<Utc>,
    /// The deliveries whose jobs waited and were due when it was up again, before anybody could claim them: those of
    /// forgotten claims are among them.
    pub waiting: HashSet<Uuid>,
}

/// All that is known of a round.
pub struct Ledger<'a> {
    /// The cast.
    pub endpoints: &'a [Endpoint],
    /// Their organisations' ids.
    pub orgs: Vec<Uuid>,
    /// What was published.
    pub orders: &'a [Order],
    /// What was accepted.
    pub accepted: Accepted,
    /// What each endpoint's receiver noted.
    pub receipts: Vec<Vec<Receipt>>,
    /// What was done.
    pub incidents: Vec<Incident>,
    /// When Postgres crashed, which may make it forget the claims of its last instant.
    pub crashes: Vec<Crash>,
    /// What the database holds.
    pub books: Books,
}

/// Sums for the round's line.
#[derive(Debug, Default)]
pub struct Sums {
    /// Deliveries by state, in words.
    pub states: String,
    /// Requests that receivers noted.
    pub requests: usize,
    /// Requests beyond the recorded attempts.
    pub repeats: usize,
    /// Those of them whose claim a crash of Postgres forgot.
    pub forgotten: usize,
    /// Attempts in flight at the faults.
    pub in_flight: usize,
}

impl Ledger<'_> {
    /// Every promise that was broken, in sentences; and the sums.
    pub fn check(&self) -> (Vec<String>, Sums) {
        let mut broken = self.accepted.contradictions.clone();
        self.check_events(&mut broken);
        self.check_queue(&mut broken);
        let (repeats, forgotten) = self.check_deliveries(&mut broken);
        self.check_health(&mut broken);
        let sums = Sums {
            states: self.books.states(),
            requests: self.receipts.iter().map(Vec::len).sum(),
            repeats,
            forgotten,
            in_flight: self.incidents.iter().map(|incident| incident.in_flight.len()).sum(),
        };
        (broken, sums)
    }

    /// Accepted events are stored once, each with a delivery for every endpoint that wants its type; nothing else is.
    fn check_events(&self, broken: &mut Vec<String>) {
        let wanted: usize = self.orders.iter().map(|order| order.events.len()).sum();
        if self.accepted.events.len() != wanted {
            broken.push(format!("{} of {wanted} events were accepted", self.accepted.events.len()));
        }
        if self.books.events.len() != wanted {
            broken.push(format!("{} events are stored for {wanted} that were published", self.books.events.len()));
        }
        let have: HashSet<(Uuid, Uuid)> =
            self.books.deliveries.iter().map(|delivery| (delivery.event_id, delivery.endpoint_id)).collect();
        let mut owed = 0;
        for order in self.orders {
            for event in &order.events {
                let Some(id) = self.accepted.events.get(&(order.org, event.id.clone())) else { continue };
                match self.books.events.get(id) {
                    None => broken.push(format!("the accepted event {} ({id}) is not stored", event.id)),
                    Some((org, event_type)) if *org != self.orgs[order.org] || event_type != event.event_type => {
                        broken.push(format!("the event {} ({id}) is stored as another", event.id));
                    }
                    Some(_) => {}
                }
                for endpoint in self.endpoints.iter().filter(|e| e.org == order.org && e.event_type == event.event_type)
                {
                    owed += 1;
                    if !have.contains(&(*id, endpoint.id)) {
                        broken.push(format!("the event {} has no delivery for the endpoint {}", event.id, endpoint.id));
                    }
                }
            }
        }
        if self.books.deliveries.len() != owed {
            broken.push(format!("{} deliveries are stored, and {owed} are owed", self.books.deliveries.len()));
        }
    }

    /// Nothing is left running, waiting without a reason, or held by a process that is gone.
    fn check_queue(&self, broken: &mut Vec<String>) {
        for job in &self.books.jobs {
            let of_a_delivery = job.kind == "delivery.attempt";
            if of_a_delivery || job.state != 0 {
                broken.push(format!("a job is left: {}", job.tell()));
            }
        }
        for worker in &self.books.workers {
            broken.push(format!("the session of a process that ended is left: {worker}"));
        }
    }

    /// The receipts of one endpoint by event.
    fn receipts_by_event(&self, endpoint: usize) -> HashMap<Uuid, Vec<&Receipt>> {
        let mut by_event: HashMap<Uuid, Vec<&Receipt>> = HashMap::new();
        for receipt in &self.receipts[endpoint] {
            by_event.entry(receipt.event).or_default().push(receipt);
        }
        by_event
    }
}
