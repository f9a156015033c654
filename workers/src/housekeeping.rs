//! The installation's own housekeeping.

use chrono::TimeDelta;
use domain::{event, idempotency, partition};
use jobs::{housekeeping::KeepHouse, queue::admin};

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// Makes the coming days' partitions, drops those past retention, and forgets what is kept for a time only.
///
/// Safe twice: every step asks what is there.
pub async fn keep(context: Context, _: KeepHouse, _: Run) -> anyhow::Result<Outcome> {
    let now = context.clock.now();
    let retention = TimeDelta::days(i64::from(context.settings.retention_days));
    let mut conn = context.store.pool().acquire().await?;
    if !partition::ensure(&mut conn, now).await? {
        tracing::warn!("the coming days' partitions wait for a long transaction; the next hour tries again");
    }
    let dropped = partition::drop_before(&mut conn, (now - retention).date_naive()).await?;
    if !dropped.is_empty() {
        tracing::info!(?dropped, "partitions past retention dropped");
    }
    idempotency::forget(&mut conn, now - TimeDelta::days(1)).await?;
    event::forget_client_ids(&mut conn, now - TimeDelta::days(30)).await?;
    admin::forget(&mut conn, now - TimeDelta::days(35), now - TimeDelta::days(3)).await?;
    Ok(Outcome::Done)
}
