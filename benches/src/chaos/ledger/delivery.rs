//! Delivery by delivery: it ends, in a state that its attempts explain; its attempts were really made, none before its
//! time; and what was received beyond them was in flight at a fault.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::dialect::{Dialect, next_attempt};
use uuid::Uuid;

use super::{
    Crash, Ledger,
    books::{Attempt, Delivery},
};
use crate::chaos::{cast::Endpoint, receiver::Receipt};

/// How far a worker's clock may be behind Postgres's: the slowest round trip when it asked. It is never ahead.
const BEHIND: TimeDelta = TimeDelta::milliseconds(500);
/// How far the receivers' clock may be behind Postgres's: the quickest of several round trips.
const ROUNDED: TimeDelta = TimeDelta::milliseconds(5);

/// Claims of so long before a crash of Postgres may be forgotten: three times `wal_writer_delay`, and a little.
const FORGETS: TimeDelta = TimeDelta::seconds(1);
/// How long after a crash a process that has loaded such a delivery may still make its request: it may wait in line.
const LATE: TimeDelta = TimeDelta::seconds(2);

/// A delivery with all that belongs to it.
struct Case<'a> {
    delivery: &'a Delivery,
    endpoint: &'a Endpoint,
    attempts: &'a [Attempt],
    receipts: Vec<&'a Receipt>,
    /// When faults hit it.
    incidents: Vec<DateTime<Utc>>,
    /// The crashes of Postgres that may have forgotten a claim of it.
    crashes: Vec<DateTime<Utc>>,
}

impl Ledger<'_> {
    /// Checks every delivery; returns how many requests were received beyond the recorded attempts, and how many of these
    /// only a forgotten claim explains.
    pub fn check_deliveries(&self, broken: &mut Vec<String>) -> (usize, usize) {
        let mut in_flight: HashMap<Uuid, Vec<DateTime<Utc>>> = HashMap::new();
        for incident in &self.incidents {
            for id in &incident.in_flight {
                in_flight.entry(*id).or_default().push(incident.at);
            }
        }
        let mut receipts: Vec<_> = (0..self.endpoints.len()).map(|n| self.receipts_by_event(n)).collect();
        let places: HashMap<Uuid, usize> = self.endpoints.iter().enumerate().map(|(n, e)| (e.id, n)).collect();
        let (mut repeats, mut forgotten) = (0, 0);
        let mut rest = &self.books.attempts[..];
        for delivery in &self.books.deliveries {
            let count = rest.iter().take_while(|attempt| attempt.delivery_id == delivery.id).count();
            let (attempts, others) = rest.split_at(count);
            rest = others;
            let Some(place) = places.get(&delivery.endpoint_id) else { continue };
            let receipts = receipts[*place].remove(&delivery.event_id).unwrap_or_default();
            let forgets = |crash: &&Crash| {
                crash.waiting.contains(&delivery.id)
                    && receipts.iter().any(|r| (crash.at - FORGETS..crash.at + LATE).contains(&r.at))
            };
            let case = Case {
                delivery,
                endpoint: &self.endpoints[*place],
                attempts,
                crashes: self.crashes.iter().filter(forgets).map(|crash| crash.at).collect(),
                receipts,
                incidents: in_flight.remove(&delivery.id).unwrap_or_default(),
            };
            let mut wrong = vec![];
            let more = case.check(&mut wrong);
            repeats += more;
            forgotten += more.saturating_sub(case.incidents.len());
            broken.extend(wrong.into_iter().map(|what| case.tell(&what)));
        }
        if !rest.is_empty() {
            broken.push(format!("{} attempts belong to no delivery", rest.len()));
        }
        for (endpoint, left) in self.endpoints.iter().zip(receipts) {
            for event in left.keys() {
                broken.push(format!("{} was sent the event {event}, which is not for it", endpoint.id));
            }
        }
        (repeats, forgotten)
    }
}

impl Case<'_> {
    fn check(&self, wrong: &mut Vec<String>) -> usize {
        self.check_numbers(wrong);
        self.check_state(wrong);
        for receipt in &self.receipts {
            wrong.extend(receipt.unverified.iter().map(|error| format!("its signature does not verify: {error}")));
            if receipt.body != self.receipts[0].body {
                wrong.push("its body is not the same on every attempt".into());
            }
        }
        let (repeats, retry_after) = self.match_receipts(wrong);
        self.check_times(&retry_after, wrong);
        repeats
    }

    fn check_numbers(&self, wrong: &mut Vec<String>) {
        let numbers: Vec<i32> = self.attempts.iter().map(|attempt| attempt.number).collect();
        if numbers != (1..=self.delivery.attempts).collect::<Vec<_>>() {
            wrong.push(format!("it counts {} attempts and has {numbers:?}", self.delivery.attempts));
        }
    }

    fn check_state(&self, wrong: &mut Vec<String>) {
        let sends = Dialect::by_name(self.endpoint.dialect).schedule.sends();
        let successes = self.attempts.iter().filter(|attempt| succeeded(attempt)).count();
        let ends_well = self.attempts.last().is_some_and(succeeded) && successes == 1;
        let fits = match self.delivery.state.as_str() {
            "delivered" => ends_well,
            "failed" => successes == 0 && self.attempts.len() == sends,
            // An endpoint that answered 410, or failed for so long, takes nothing until its owner says so.
            "held" => successes == 0 && self.attempts.len() < sends,
            _ => false,
        };
        if !fits {
            wrong.push("its state does not follow from its attempts".into());
        }
        if self.delivery.state == "delivered" && !self.receipts.iter().any(|r| r.status == Some(200)) {
            wrong.push("it is delivered and was never received with 200".into());
        }
    }

    /// Finds the request of every attempt. Returns how many requests have none, and the Retry-After of each attempt.
    fn match_receipts(&self, wrong: &mut Vec<String>) -> (usize, Vec<Option<u32>>) {
        let mut left: Vec<&Receipt> = self.receipts.clone();
        let mut retry_after = vec![None; self.attempts.len()];
        // Those with an answer first: what they match is certain.
        for answered in [true, false] {
            for (n, attempt) in self.attempts.iter().enumerate().filter(|(_, a)| a.status.is_some() == answered) {
                let fits = |receipt: &&Receipt| {
                    let during =
                        attempt.started_at - ROUNDED <= receipt.at && receipt.at <= attempt.ended_at() + BEHIND;
                    let status = receipt.status.map(i32::from);
                    during && (if answered { status == attempt.status } else { true })
                };
                match left.iter().position(fits) {
                    Some(place) => retry_after[n] = left.remove(place).retry_after.filter(|_| answered),
                    None if answered => wrong.push(format!("attempt {} was never received", attempt.number)),
                    None => {}
                }
            }
        }
        if left.len() > self.incidents.len() + self.crashes.len() {
            wrong.push(format!(
                "{} requests have no attempt, and it was in flight at {} faults and may have been forgotten at {} crashes",
                left.len(),
                self.incidents.len(),
                self.crashes.len()
            ));
        }
        (left.len(), retry_after)
    }

    /// No attempt starts, and no request arrives, before the schedule allows it.
    fn check_times(&self, retry_after: &[Option<u32>], wrong: &mut Vec<String>) {
        // From each moment on, when the next request may come.
        let mut due: Vec<(DateTime<Utc>, DateTime<Utc>)> =
            vec![(DateTime::<Utc>::MIN_UTC, self.delivery.scheduled_from)];
        let dialect = Dialect::by_name(self.endpoint.dialect);
        for (n, (attempt, wait)) in self.attempts.iter().zip(retry_after).enumerate() {
            let (_, allowed) = *due.last().expect("it begins with one");
            if attempt.started_at < allowed {
                wrong.push(format!("attempt {} starts {} early", attempt.number, allowed - attempt.started_at));
            }
            let wait = wait.map(|seconds| std::time::Duration::from_secs(seconds.into()));
            let next = next_attempt(dialect, self.delivery.scheduled_from, n as i32 + 1, attempt.ended_at(), wait);
            let over = succeeded(attempt);
            due.push((attempt.ended_at(), next.filter(|_| !over).unwrap_or(DateTime::<Utc>::MAX_UTC)));
        }
        let due_at = |at: DateTime<Utc>| due.iter().rfind(|(from, _)| *from < at).unwrap_or(&due[0]).1;
        for receipt in &self.receipts {
            // A process that lost the delivery at a fault may still make the request that was due then.
            let lost = self.incidents.iter().chain(&self.crashes).filter(|at| **at <= receipt.at).map(|at| due_at(*at));
            // An attempt that had just ended when this arrived may be this one's own.
            let allowed = lost.chain([due_at(receipt.at - BEHIND)]).min().expect("there is one");
            if receipt.at + ROUNDED < allowed {
                wrong.push(format!("a request at {} comes before {allowed}", receipt.at));
            }
        }
    }

    fn tell(&self, what: &str) -> String {
        let attempts: Vec<String> = self
            .attempts
            .iter()
            .map(|a| {
                let (from, to) = (a.started_at.format("%d %T%.3f"), a.ended_at().format("%T%.3f"));
                format!(
                    "{} {from}–{to} {:?} {:?} committed {}",
                    a.number,
                    a.status,
                    a.error,
                    a.committed_at.format("%d %T%.3f")
                )
            })
            .collect();
        let receipts: Vec<String> =
            self.receipts.iter().map(|r| format!("{} {:?}", r.at.format("%d %T%.3f"), r.status)).collect();
        format!(
            "delivery {} ({}, {}, {}): {what}\n    why: {}\n    attempts: {}\n    received: {}",
            self.delivery.id,
            self.endpoint.dialect,
            self.endpoint.event_type,
            self.delivery.state,
            self.delivery.reason,
            attempts.join("; "),
            receipts.join("; ")
        )
    }
}

fn succeeded(attempt: &Attempt) -> bool {
    attempt.status.is_some_and(|status| (200..300).contains(&status))
}
