//! The session issuer's public keys, fetched into Postgres for the API.

use std::time::Duration;

use anyhow::{Context as _, bail};
use domain::session::store_keys;
use jobs::session_key::FetchSessionKeys;

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// The most bytes of a key set.
const BYTES_MAX: usize = 256 * 1024;

/// Fetches the key set that the operator named.
///
/// Safe twice: the table holds what the issuer publishes, however often it is asked.
pub async fn fetch(context: Context, _: FetchSessionKeys, _: Run) -> anyhow::Result<Outcome> {
    let Some(url) = &context.settings.session_jwks_url else {
        return Ok(Outcome::Cancel("no key set is configured".into()));
    };
    // The operator's own setting, so the address guard for customers' targets has no say here.
    #[expect(clippy::disallowed_methods, reason = "an address of the operator's, once in minutes, bounded below")]
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    let mut response = client.get(url).send().await.context("the session issuer's keys")?.error_for_status()?;
    let mut bytes = vec![];
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > BYTES_MAX {
            bail!("the session issuer's key set is larger than {BYTES_MAX} bytes");
        }
    }
    let document = serde_json::from_slice(&bytes).context("the session issuer's keys are no JSON")?;
    let mut conn = context.store.pool().acquire().await?;
    let kept = store_keys(&mut conn, &document, context.clock.now()).await?;
    tracing::debug!(kept, "session keys fetched");
    Ok(Outcome::Done)
}
