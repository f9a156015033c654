//! What subscribers are told of links.

use domain::{
    change::{Change, Happened, LinkChange},
    link::Link,
};
use jobs::{change, store::Tx};

use crate::app::App;

/// What happened to a link.
pub(super) fn happened(app: &App, change: Change, before: Option<Link>, link: Link) -> Happened<LinkChange> {
    let base = app.settings.short_url.clone();
    Happened { org_id: link.org_id, change, at: app.clock.now(), subject: LinkChange { before, link, base } }
}

/// Publishes what happened to links, in the transaction of the changes.
pub(super) async fn publish(
    app: &App,
    tx: &mut Tx<'_>,
    happened: &[Happened<LinkChange>],
    request_id: Option<String>,
) -> Result<(), sqlx::Error> {
    change::publish(tx, happened, request_id.as_deref(), app.clock.now(), &app.chance).await.map(drop)
}
