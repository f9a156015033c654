//! Which addresses a webhook may go to, so that nobody reaches the operator's own network through us (SSRF).
//!
//! The same guard is asked twice: when a URL is registered, and at every connect, where the addresses that it returns
//! are the ones dialled. Between the two a name may change its answer, so the first verdict is never remembered.
//! A NAT64 prefix of the operator's own, or public addresses that his network routes inside, cannot be known here.

mod network;

use std::{fmt, future::Future, io, net::IpAddr, net::Ipv4Addr, pin::Pin, sync::Arc, time::Duration};

use url::Host;

pub use self::network::{Kind, refusal};
use crate::http_url::HttpUrl;

/// How long the system may look for a name. Behind it stands the attempt's own time-out; registration has no other.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why no request may go to a host.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// One of its addresses is none of the public Internet's; the text is the one QR Code Agency documents.
    #[error("resolves to private/internal IP {ip}")]
    Internal {
        /// The first such address.
        ip: IpAddr,
        /// What it is instead.
        kind: Kind,
    },
    /// The look-up failed, for now or for good.
    #[error("host name {host} does not resolve")]
    Unresolved {
        /// The name that was asked for.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The look-up succeeded with nothing in it.
    #[error("host name {host} has no address")]
    NoAddress {
        /// The name that was asked for.
        host: String,
    },
}

impl Refusal {
    /// The sentence that a registration is refused with.
    pub fn registering(&self) -> String {
        format!("refusing to register webhook: {self}")
    }
}

/// What the operator allows beyond the public Internet; by default nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Lets every address through, for development (`INKFLEET_ALLOW_PRIVATE_TARGETS`).
    pub allow_private: bool,
}

/// The answer to a look-up, when it comes.
pub type LookUp<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Turns a host name into its addresses, in the order in which they should be tried.
pub trait Resolve: Send + Sync {
    /// All addresses of `host`, v4 and v6.
    fn resolve<'a>(&'a self, host: &'a str) -> LookUp<'a>;
}

/// The operating system's resolver, bounded to five seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> LookUp<'a> {
        Box::pin(async move {
            let found = tokio::time::timeout(LOOK_UP_TIMEOUT, tokio::net::lookup_host((host, 0))).await;
            Ok(found.map_err(|_| io::ErrorKind::TimedOut)??.map(|address| address.ip()).collect())
        })
    }
}

/// The policy and the resolver that go together in one process. Cheap to clone.
#[derive(Clone)]
pub struct Guard {
    policy: Policy,
    resolver: Arc<dyn Resolve>,
}

impl Guard {
    /// A guard that asks `resolver` and judges by `policy`.
    pub fn new(policy: Policy, resolver: Arc<dyn Resolve>) -> Self {
        Self { policy, resolver }
    }

    /// The addresses of a URL's host, all of them allowed; for registration.
    pub async fn check(&self, url: &HttpUrl) -> Result<Vec<IpAddr>, Refusal> {
        check(url, self.policy, &*self.resolver).await
    }

    /// Judges a URL whose host is an address, and lets names pass: clients dial addresses without asking a resolver.
    pub fn check_literal(&self, url: &HttpUrl) -> Result<(), Refusal> {
        literal(url.host()).map_or(Ok(()), |ip| judge(ip, self.policy))
    }

    /// The addresses of `host`, all of them allowed; to be dialled as they are.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Refusal> {
        resolve(host, self.policy, &*self.resolver).await
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// The addresses of a URL's host: a name is looked up once, and one refused address refuses them all.
pub async fn check(url: &HttpUrl, policy: Policy, resolver: &dyn Resolve) -> Result<Vec<IpAddr>, Refusal> {
    match (literal(url.host()), url.host()) {
        (Some(ip), _) => judge(ip, policy).map(|()| vec![ip]),
        (None, host) => resolve(&host.to_string(), policy, resolver).await,
    }
}

async fn resolve(host: &str, policy: Policy, resolver: &dyn Resolve) -> Result<Vec<IpAddr>, Refusal> {
    // RFC 6761 6.3: these names mean the own machine, whatever a resolver would say.
    if is_localhost(host) {
        judge(Ipv4Addr::LOCALHOST.into(), policy)?;
    }
    let found = resolver.resolve(host).await;
    let addresses = found.map_err(|source| Refusal::Unresolved { host: host.to_owned(), source })?;
    if addresses.is_empty() {
        return Err(Refusal::NoAddress { host: host.to_owned() });
    }
    addresses.iter().try_for_each(|&ip| judge(ip, policy))?;
    Ok(addresses)
}

fn judge(ip: IpAddr, policy: Policy) -> Result<(), Refusal> {
    match refusal(ip) {
        Some(kind) if !policy.allow_private => Err(Refusal::Internal { ip, kind }),
        _ => Ok(()),
    }
}

fn literal(host: Host<&str>) -> Option<IpAddr> {
    match host {
        Host::Ipv4(ip) => Some(ip.into()),
        Host::Ipv6(ip) => Some(ip.into()),
        Host::Domain(_) => None,
    }
}

fn is_localhost(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last_label = name.rsplit('.').next().unwrap_or(name);
    last_label.eq_ignore_ascii_case("localhost")
}
