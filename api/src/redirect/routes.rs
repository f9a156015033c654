//! The routes that this process keeps. Postgres tells it which codes have changed (`domain::route::tell_changed`); a route
//! that nobody told of is loaded anew after [`KEEP`] at the latest.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::route::{self, CHANNEL, HOSTS, Route};
use jobs::store::{ANSWER, within};
use moka::future::Cache;
use sqlx::{PgPool, postgres::PgListener};
use tokio::time::Instant;

use super::hosts::Hosts;

/// How many routes of half a kilobyte are kept; a larger one counts for several.
const MOST: u64 = 200_000;
/// What counts as one.
const UNIT: usize = 512;
/// The net under lost notifications.
const KEEP: Duration = Duration::from_secs(60);
/// The wait before listening is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a listener looks up.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Routes by domain and code. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct Routes {
    /// Also that there is none for a code, so that guessing costs a question per code and not per guess.
    kept: Cache<String, Option<Arc<Route>>>,
    /// How many changes were told of.
    changes: Arc<AtomicU64>,
    /// Every own domain.
    pub hosts: Hosts,
    pool: PgPool,
}

impl Routes {
    /// Routes that are loaded from `pool` when they are asked for.
    pub fn new(pool: PgPool) -> Self {
        let kept = Cache::builder().weigher(weight).max_capacity(MOST).time_to_live(KEEP).build();
        Self { kept, changes: Arc::default(), hosts: Hosts::new(pool.clone()), pool }
    }

    /// The route of a code. Whoever asks for one that is being loaded waits for that.
    pub async fn find(&self, domain: &str, code: &str) -> Result<Option<Arc<Route>>, Arc<sqlx::Error>> {
        let key = key(domain, code);
        if let Some(route) = self.kept.get(&key).await {
            return Ok(route);
        }
        if code.parse::<domain::code::Code>().is_err() {
            return Ok(None);
        }
        let before = self.changes.load(Ordering::Acquire);
        let load = async {
            let find = async { route::find(&mut *self.pool.acquire().await?, domain, code).await };
            Ok(within(ANSWER, find).await?.map(Arc::new))
        };
        let route = self.kept.try_get_with_by_ref(&key, load).await?;
        // What changed while this was loaded may be this one: good enough for who asked before, and not to be kept.
        if self.changes.load(Ordering::Acquire) != before {
            self.kept.invalidate(&key).await;
        }
        Ok(route)
    }

    /// Forgets a code that this process has changed itself: whoever made the change sees it at once.
    pub async fn forget(&self, domain: &str, code: &str) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.kept.invalidate(&key(domain, code)).await;
    }

    /// The same of all that a change was told of.
    pub async fn forget_all(&self, told: &[(String, String)]) {
        for (domain, code) in told {
            self.forget(domain, code).await;
        }
    }

    /// Hears of changes until the routes and their clones are gone. `direct` leads past any pooler.
    pub fn listen(&self, direct: PgPool) {
        let (kept, hosts, changes) = (self.kept.clone(), self.hosts.clone(), Arc::downgrade(&self.changes));
        tokio::spawn(async move {
            while changes.strong_count() > 0 {
                if let Err(error) = hear(&direct, &kept, &hosts, &changes).await {
                    tracing::debug!(%error, "changes of routes are not heard of");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        });
    }
}

/// Hears of changes on one connection, until it breaks or nobody wants to know.
async fn hear(
    direct: &PgPool,
    kept: &Cache<String, Option<Arc<Route>>>,
    hosts: &Hosts,
    changes: &Weak<AtomicU64>,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(direct).await?;
    listener.listen(CHANNEL).await?;
    // What was told before is not known.
    let mut told: Option<String> = None;
    let mut loaded = Instant::now();
    loop {
        let Some(counter) = changes.upgrade() else { return Ok(()) };
        counter.fetch_add(1, Ordering::AcqRel);
        drop(counter);
        match told {
            Some(told) if told == HOSTS => hosts.load().await,
            Some(key) => kept.invalidate(&key).await,
            None => {
                kept.invalidate_all();
                hosts.load().await;
            }
        }
        told = loop {
            // Looks up now and then to see whether anybody still wants to know.
            match tokio::time::timeout(LOOK_UP, listener.try_recv()).await {
                Ok(heard) => break heard?.map(|heard| heard.payload().to_owned()),
                Err(_) if changes.strong_count() > 0 => {
                    if loaded.elapsed() > KEEP {
                        hosts.load().await;
                        loaded = Instant::now();
                    }
                }
                Err(_) => return Ok(()),
            }
        };
    }
}

/// For how many a kept route counts.
fn weight(_: &String, route: &Option<Arc<Route>>) -> u32 {
    let bytes = route.as_ref().map_or(0, |route| route.size());
    u32::try_from(bytes.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX)
}

/// As notifications spell it.
fn key(domain: &str, code: &str) -> String {
    format!("{domain} {code}")
}
