//! The own domains that this process knows: all of them, because a request must not wait for Postgres to learn that its
//! host is nobody's.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use domain::own_domain;
use jobs::store::{ANSWER, within};
use sqlx::PgPool;
use tokio::sync::Mutex;

/// Every own domain of the installation, as it was when it was last loaded. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Hosts {
    known: Arc<RwLock<HashSet<String>>>,
    /// One load at a time, so that an older answer never takes the place of a newer one.
    loading: Arc<Mutex<()>>,
    pool: PgPool,
}

impl Hosts {
    /// None, until they are loaded.
    pub fn new(pool: PgPool) -> Self {
        Self { known: Arc::default(), loading: Arc::default(), pool }
    }

    /// Whether a host, in lower case and without its port, is an own domain.
    pub fn contains(&self, host: &str) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).contains(host)
    }

    /// Loads them anew. Where Postgres does not answer, those stay that are known.
    pub async fn load(&self) {
        let _one = self.loading.lock().await;
        let load = async { own_domain::hosts(&mut *self.pool.acquire().await?).await };
        match within(ANSWER, load).await {
            Ok(hosts) => *self.known.write().unwrap_or_else(PoisonError::into_inner) = hosts.into_iter().collect(),
            Err(error) => tracing::debug!(%error, "own domains could not be loaded"),
        }
    }
}
