//! Gauges that are read from Postgres when somebody asks for the metrics.

use domain::{dialect::Health, endpoint};
use jobs::{queue::admin::depths, schedule};

use crate::App;

/// Reads the depth of the queues, the health of the endpoints, and when scheduled work last ended well.
pub async fn refresh(app: &App) {
    let read = async {
        let mut conn = app.store.pool().acquire().await?;
        for depth in depths(&mut conn, app.clock.now()).await? {
            let queue = depth.queue.name();
            let states =
                [("due", depth.due), ("scheduled", depth.scheduled), ("running", depth.running), ("dead", depth.dead)];
            for (state, count) in states {
                metrics::gauge!("inkfleet_queue_jobs", "queue" => queue, "state" => state).set(count as f64);
            }
            metrics::gauge!("inkfleet_queue_oldest_due_seconds", "queue" => queue).set(depth.oldest_due_s);
        }
        let counts = endpoint::count_by_health(&mut conn).await?;
        for health in [Health::Active, Health::Degraded, Health::Disabled] {
            // A health that nobody has any more is zero, not what it was.
            let count = counts.iter().find(|(of, _)| *of == health).map_or(0, |(_, count)| *count);
            metrics::gauge!("inkfleet_endpoints", "health" => health.as_str()).set(count as f64);
        }
        for entry in schedule::run::list(&mut conn, app.clock.now()).await? {
            if let Some(at) = entry.last_success_at {
                metrics::gauge!("inkfleet_schedule_last_success_timestamp_seconds", "entry" => entry.kind)
                    .set(at.timestamp() as f64);
            }
        }
        Ok::<_, sqlx::Error>(())
    };
    let up = tokio::time::timeout(std::time::Duration::from_secs(2), read).await.is_ok_and(|read| read.is_ok());
    metrics::gauge!("inkfleet_database_up").set(f64::from(u8::from(up)));
}
