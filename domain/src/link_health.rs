//! The health of links' destinations: what a request says, what is counted, and when the next check is due.
//!
//! A check is a chain of requests: to the destination, and to whatever it redirects to. The row in `link_health` is the
//! state of that chain, so that each request is a step of its own, taken when its host is free, by any process. A link
//! without a row is not monitored.

mod row;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

pub use self::row::*;

/// How our requests name themselves; their version follows. The redirects of this program do not count them.
pub const AGENT: &str = "Inkfleet-Health/";
/// The most redirects of one check.
pub const HOPS_MAX: i16 = 10;
/// So many failures in a row make a link failing.
pub const FAILURES: i32 = 3;
/// So many successes in a row end that.
pub const SUCCESSES: i32 = 2;
/// From check to check while something is changing, in seconds.
pub const INTERVAL: i32 = 5 * 60;
/// The longest time from check to check of a link that is healthy, in seconds.
pub const HEALTHY_INTERVAL_MAX: i32 = 24 * 3600;
/// The longest time from check to check of a link that is failing, in seconds.
pub const FAILING_INTERVAL_MAX: i32 = 3600;

/// What is known of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not enough was seen yet.
    Unknown,
    /// It answers.
    Healthy,
    /// It has not answered for several checks in a row.
    Failing,
}

impl State {
    /// The word in rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Failing => "failing",
        }
    }
}

/// What is counted from check to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// What is known.
    pub state: State,
    /// Failures in a row.
    pub failures: i32,
    /// Successes in a row.
    pub successes: i32,
    /// The time to the next check, in seconds.
    pub interval_s: i32,
}

impl Count {
    /// Before the first check.
    pub const NONE: Self = Self { state: State::Unknown, failures: 0, successes: 0, interval_s: INTERVAL };
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody is there.
    Reachable,
    /// Nobody is, or nothing to look at.
    Unreachable,
}

/// A change that is told to subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// From now on it is failing.
    Failing,
    /// It answers again.
    Recovered,
}

/// Counts a check. A first success is enough where nothing was known: there is nothing to recover from.
pub fn count(before: Count, verdict: Verdict) -> (Count, Option<Transition>) {
    let (failures, successes) = match verdict {
        Verdict::Reachable => (0, before.successes.saturating_add(1)),
        Verdict::Unreachable => (before.failures.saturating_add(1), 0),
    };
    let (state, transition) = match before.state {
        State::Unknown if successes > 0 => (State::Healthy, None),
        State::Unknown | State::Healthy if failures >= FAILURES => (State::Failing, Some(Transition::Failing)),
        State::Failing if successes >= SUCCESSES => (State::Healthy, Some(Transition::Recovered)),
        state => (state, None),
    };
    let most = match (state, verdict) {
        (State::Healthy, Verdict::Reachable) => HEALTHY_INTERVAL_MAX,
        (State::Failing, Verdict::Unreachable) => FAILING_INTERVAL_MAX,
        _ => INTERVAL,
    };
    let interval_s =
        if state == before.state { before.interval_s.saturating_mul(2).clamp(INTERVAL, most) } else { INTERVAL };
    (Count { state, failures, successes, interval_s }, transition)
}

/// How a destination is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// For the head only: tried first.
    Head,
    /// As visitors ask: where the answer to a HEAD leaves doubt.
    Get,
}

impl Method {
    /// The word in rows and requests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Head => "HEAD",
            Self::Get => "GET",
        }
    }
}

/// What came of one request.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The status, if one came.
    pub status: Option<u16>,
    /// Where the answer leads on.
    pub location: Option<String>,
    /// Why no answer came, in a short sentence; empty if one did.
    pub error: String,
}

/// What follows from one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The chain goes on with another request.
    Ask {
        /// To this address.
        url: Url,
        /// In this way.
        method: Method,
        /// After so many redirects.
        hops: i16,
    },
    /// The check has come to its end.
    End {
        /// What it says.
        verdict: Verdict,
        /// Why, in a sentence; empty if all is well.
        reason: String,
    },
}

/// What follows from `seen`, the answer to a request with `method` for `url` after `hops` redirects.
///
/// Who answers 401, 403 or 429 is there, and only does not want us. A HEAD is believed when it says well or leads on; what
/// else it says, or that it says nothing, is asked again with GET, because many servers do not do HEAD right.
pub fn judge(method: Method, url: &Url, hops: i16, seen: &Seen) -> Step {
    let end = |verdict, reason: &str| Step::End { verdict, reason: reason.to_owned() };
    match seen.status {
        Some(200..=299 | 401 | 403 | 429) => return end(Verdict::Reachable, ""),
        Some(301 | 302 | 303 | 307 | 308) if hops >= HOPS_MAX => {
            return end(Verdict::Unreachable, &format!("more than {HOPS_MAX} redirects"));
        }
        Some(301 | 302 | 303 | 307 | 308) => {
            if let Some(next) = seen.location.as_deref().and_then(|location| url.join(location).ok()) {
                return lead_on(next, hops + 1);
            }
        }
        _ => {}
    }
    if method == Method::Head {
        return Step::Ask { url: url.clone(), method: Method::Get, hops };
    }
    match seen.status {
        Some(status @ 300..=399) => end(Verdict::Unreachable, &format!("HTTP {status} that leads nowhere")),
        Some(status) => end(Verdict::Unreachable, &format!("HTTP {status}")),
        None => end(Verdict::Unreachable, &seen.error),
    }
}

/// A place that a request can be sent to: no fragment, and no name or password, which are the browser's affair.
pub fn place(mut url: Url) -> Url {
    url.set_fragment(None);
    let _ = (url.set_username(""), url.set_password(None));
    url
}

fn lead_on(next: Url, hops: i16) -> Step {
    if !["http", "https"].contains(&next.scheme()) {
        // An app's own address: whoever sends there is well, and what is behind it only a phone can tell.
        return Step::End { verdict: Verdict::Reachable, reason: format!("leads to a {}: address", next.scheme()) };
    }
    let url = place(next);
    if url.as_str().len() > URL_MAX {
        let reason = "redirects to an address that is too long".to_owned();
        return Step::End { verdict: Verdict::Unreachable, reason };
    }
    Step::Ask { url, method: Method::Head, hops }
}

/// The longest address of a request, in bytes.
const URL_MAX: usize = 8000;

/// From one request to a host to the next one.
pub const SPACING: Duration = Duration::from_secs(1);
