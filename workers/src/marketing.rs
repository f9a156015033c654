//! E-mail marketing on a schedule.

use jobs::marketing::{SendQueued, StartCampaigns};

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

const NOTHING: &str = "nothing to send: this version has no campaigns";

/// Starts the campaigns whose time has come: there are none.
///
/// Safe twice: it does nothing.
pub async fn start(_: Context, _: StartCampaigns, _: Run) -> anyhow::Result<Outcome> {
    Ok(Outcome::Cancel(NOTHING.into()))
}

/// Sends what campaigns have queued: there is nothing.
///
/// Safe twice: it does nothing.
pub async fn send(_: Context, _: SendQueued, _: Run) -> anyhow::Result<Outcome> {
    Ok(Outcome::Cancel(NOTHING.into()))
}
