//! A web process's look at Postgres, every few seconds: it follows the clock, and says when Postgres goes away and when it
//! is back. Workers do both on their session's connection.

use std::{sync::Arc, time::Duration};

use jobs::store::within;

use crate::App;

/// From look to look.
const EVERY: Duration = Duration::from_secs(5);
/// The same while Postgres is away.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a look may take.
const LOOK: Duration = Duration::from_secs(4);

/// Looks until `app` and its clones are gone.
pub fn start(app: &App) {
    let (pool, clock, alive) = (app.store.pool().clone(), app.clock.clone(), Arc::downgrade(&app.limiter));
    tokio::spawn(async move {
        let mut away = false;
        while alive.strong_count() > 0 {
            let look = async { clock.follow(&mut *pool.acquire().await?).await };
            match within(LOOK, look).await {
                Ok(ahead) => {
                    if std::mem::take(&mut away) {
                        tracing::info!("Postgres answers again");
                    }
                    metrics::gauge!("inkfleet_clock_ahead_seconds").set(ahead.as_seconds_f64());
                    tokio::time::sleep(EVERY).await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut away, true) {
                        tracing::error!(%error, "Postgres does not answer; requests get 503 until it is back");
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    });
}
