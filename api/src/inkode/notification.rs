//! `/api/org/{orgId}/notifications`: what happened in a workspace, for the member who asks, and how they want to be told.

mod shape;

use domain::{
    id::NotificationId,
    notification::{self, Preferences, Seen, find_preferences, put_preferences},
    user,
};
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
    payload::Json,
};

use self::shape::{
    NotificationPage, NotificationPreferences, NotificationPreferencesInput, NotificationsRead, ReadInput,
};
use super::asked;
use crate::{
    app::App,
    auth::{Auth, Session},
    input::Input,
    page,
    server::Tag,
    surface::{Failed, Own},
    text::{self, Text},
};

/// The routes of notifications.
#[derive(Debug)]
pub struct NotificationApi(pub App);

#[OpenApi(prefix_path = "/api", tag = "Tag::Workspace")]
impl NotificationApi {
    /// List notifications
    ///
    /// Those of the member who asks: what happened since they joined and concerns them.
    #[oai(path = "/org/:orgId/notifications", method = "get", operation_id = "listNotifications")]
    async fn list(
        &self,
        auth: Auth<Session>,
        /// The workspace, which must be the session's.
        #[oai(name = "orgId")]
        org_id: Path<Text<text::OrgId>>,
        /// Only those that were not read yet.
        unread: Query<Option<bool>>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<Text<text::NotificationId>>>,
    ) -> Result<Json<NotificationPage>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        asked::check_org_in_path(app, caller, &org_id.0).await?;
        let (limit, before) = (page::limit(limit.0)?, page::cursor::<NotificationId>(cursor.0.as_deref())?);
        let (org, user, unread) = (caller.org_id, caller.user_id, unread.0.unwrap_or(false));
        let mut conn = app.store.pool().acquire().await?;
        let rows = notification::list(&mut conn, org, user, unread, before, limit + 1).await?;
        let unread_count = notification::count_unread(&mut conn, org, user).await?;
        let (rows, more) = page::split(rows, limit);
        let next_cursor = rows.last().filter(|_| more).map(|row| row.id.to_string().into());
        Ok(Json(NotificationPage { items: rows.into_iter().map(Into::into).collect(), unread_count, next_cursor }))
    }

    /// Mark notifications as read
    ///
    /// What was read is not told by mail any more. The same request again changes nothing.
    #[oai(path = "/org/:orgId/notifications/read", method = "post", operation_id = "recordReadNotifications")]
    async fn read(
        &self,
        auth: Auth<Session>,
        /// The workspace, which must be the session's.
        #[oai(name = "orgId")]
        org_id: Path<Text<text::OrgId>>,
        input: Input<ReadInput>,
    ) -> Result<Json<NotificationsRead>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        asked::check_org_in_path(app, caller, &org_id.0).await?;
        let seen: Seen = input.value.read()?;
        let mut tx = app.store.begin().await?;
        notification::mark_read(&mut tx, caller.org_id, caller.user_id, &seen, app.clock.now()).await?;
        let unread_count = notification::count_unread(&mut tx, caller.org_id, caller.user_id).await?;
        tx.commit().await?;
        Ok(Json(NotificationsRead { unread_count }))
    }

    /// Get how notifications are told
    ///
    /// The wishes of the member who asks, in this workspace.
    #[oai(path = "/org/:orgId/notifications/preferences", method = "get", operation_id = "getNotificationPreferences")]
    async fn preferences(
        &self,
        auth: Auth<Session>,
        /// The workspace, which must be the session's.
        #[oai(name = "orgId")]
        org_id: Path<Text<text::OrgId>>,
    ) -> Result<Json<NotificationPreferences>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        asked::check_org_in_path(app, caller, &org_id.0).await?;
        let mut conn = app.store.pool().acquire().await?;
        let preferences = find_preferences(&mut conn, caller.org_id, caller.user_id).await?;
        let zone = user::time_zone(&mut conn, caller.user_id).await?;
        Ok(Json(NotificationPreferences::new(&preferences, zone)))
    }

    /// Set how notifications are told
    ///
    /// For the member who asks, in this workspace; the time zone counts in all of theirs. What was not told yet goes by it too.
    #[oai(
        path = "/org/:orgId/notifications/preferences",
        method = "put",
        operation_id = "updateNotificationPreferences"
    )]
    async fn update_preferences(
        &self,
        auth: Auth<Session>,
        /// The workspace, which must be the session's.
        #[oai(name = "orgId")]
        org_id: Path<Text<text::OrgId>>,
        input: Input<NotificationPreferencesInput>,
    ) -> Result<Json<NotificationPreferences>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        asked::check_org_in_path(app, caller, &org_id.0).await?;
        let (preferences, zone): (Preferences, _) = input.value.read()?;
        let mut tx = app.store.begin().await?;
        if let Some(zone) = zone {
            user::set_time_zone(&mut tx, caller.user_id, zone).await?;
        }
        put_preferences(&mut tx, caller.org_id, caller.user_id, &preferences, app.clock.now()).await?;
        let zone = user::time_zone(&mut tx, caller.user_id).await?;
        tx.commit().await?;
        Ok(Json(NotificationPreferences::new(&preferences, zone)))
    }
}
