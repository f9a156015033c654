//! The installation's own housekeeping.

use chrono::TimeDelta;
use domain::{
    billing, conversion, digest, event, idempotency, import, link_health, mail, notification, oauth, partition, replay,
    visit,
};
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
        tracing::warn!("another change of partitions is under way; the next hour makes the coming days");
    }
    let dropped = partition::drop_before(&mut conn, (now - retention).date_naive()).await?;
    if !dropped.gone.is_empty() {
        tracing::info!(dropped = ?dropped.gone, "partitions past retention dropped");
    }
    if dropped.left > 0 {
        tracing::warn!(
            left = dropped.left,
            "partitions past retention are in use by a long transaction; the next hour tries again"
        );
    }
    replay::forget(&mut conn, now - retention).await?;
    import::forget(&mut conn, now - retention).await?;
    mail::forget(&mut conn, now - retention).await?;
    notification::forget(&mut conn, now - TimeDelta::days(notification::KEPT_DAYS)).await?;
    digest::forget(&mut conn, (now - TimeDelta::days(notification::KEPT_DAYS)).date_naive()).await?;
    billing::event::forget(&mut conn, now - TimeDelta::days(30)).await?;
    visit::forget(&mut conn, (now - TimeDelta::days(2)).date_naive()).await?;
    conversion::forget(&mut conn, now - TimeDelta::days(conversion::KEPT_DAYS)).await?;
    idempotency::forget(&mut conn, now - TimeDelta::days(1)).await?;
    event::forget_client_ids(&mut conn, now - TimeDelta::days(30)).await?;
    link_health::forget_hosts(&mut conn, now - TimeDelta::days(7)).await?;
    oauth::forget_old(&mut conn, now).await?;
    admin::forget(&mut conn, now - TimeDelta::days(35), now - TimeDelta::days(3)).await?;
    Ok(Outcome::Done)
}
