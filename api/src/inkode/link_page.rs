//! `/api/link-pages`: small public pages of links. What visitors see of them is made in `redirect::link_page`.

mod draft;
mod shape;

use domain::{
    id::LinkPageId,
    link_page::{self, Entry, LinkPage as Row},
};
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};
use sqlx::PgConnection;

pub(super) use self::shape::LinkPageOfLink;
use self::shape::{LinkPage, LinkPageInput, LinkPageList, LinkPagePatch};
use crate::{
    app::App,
    auth::{Auth, Session},
    failure::Failure,
    idempotency::{Begun, Created, Once},
    input::Input,
    page,
    server::Tag,
    surface::{Failed, Own},
    text::{self, Text},
};

/// The answer to a deletion.
#[derive(Debug, ApiResponse)]
enum Deleted {
    /// Gone; its address is free.
    #[oai(status = 204)]
    Gone,
}

/// The routes of link pages.
#[derive(Debug)]
pub struct LinkPageApi(pub App);

#[OpenApi(prefix_path = "/api", tag = "Tag::Workspace")]
impl LinkPageApi {
    /// List link pages
    #[oai(path = "/link-pages", method = "get", operation_id = "listLinkPages")]
    async fn list(
        &self,
        auth: Auth<Session>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<Text<text::LinkPageId>>>,
    ) -> Result<Json<LinkPageList>, Failed<Own>> {
        let (app, org_id) = (&self.0, auth.0.org_id);
        let (limit, before) = (page::limit(limit.0)?, page::cursor::<LinkPageId>(cursor.0.as_deref())?);
        let mut conn = app.store.pool().acquire().await?;
        let rows = link_page::list(&mut conn, org_id, before, limit + 1).await?;
        let (rows, next_cursor) = page::turn(rows, limit, |row| row.id.to_string());
        let ids: Vec<LinkPageId> = rows.iter().map(|row| row.id).collect();
        let entries = link_page::entries(&mut conn, org_id, &ids).await?;
        let of = |id| entries.iter().filter(|(page, _)| *page == id).map(|(_, entry)| entry.clone()).collect();
        let items =
            rows.into_iter().map(|row| (of(row.id), row)).map(|(entries, row)| LinkPage::new(app, row, entries));
        Ok(Json(LinkPageList { items: items.collect(), next_cursor }))
    }

    /// Create a link page
    #[oai(path = "/link-pages", method = "post", operation_id = "createLinkPage")]
    async fn create(
        &self,
        auth: Auth<Session>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<LinkPageInput>,
    ) -> Result<Created<LinkPage>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        let once = Once { operation: "createLinkPage", key: key.0.as_deref(), hash: &input.hash };
        // Before the checks: the slug is taken by now, if this was answered before.
        if let Some(before) = once.answered(app, caller).await? {
            return Ok(before);
        }
        let (row, entries) = draft::new(app, caller, input.value)?;
        let mut creation = match once.begin(app, caller).await? {
            Begun::Before(before) => return Ok(before),
            Begun::Fresh(creation) => creation,
        };
        let row = draft::store(app, &mut creation.tx, row, &entries).await?;
        Ok(creation.finish(&LinkPage::new(app, row, entries)).await?)
    }

    /// Get a link page
    #[oai(path = "/link-pages/:id", method = "get", operation_id = "getLinkPage")]
    async fn get(
        &self,
        auth: Auth<Session>,
        /// The page.
        id: Path<Text<text::LinkPageId>>,
    ) -> Result<Json<LinkPage>, Failed<Own>> {
        let mut conn = self.0.store.pool().acquire().await?;
        let row = link_page::find(&mut conn, auth.0.org_id, read(&id.0)?).await?.ok_or_else(no_page)?;
        let entries = entries_of(&mut conn, &row).await?;
        Ok(Json(LinkPage::new(&self.0, row, entries)))
    }

    /// Update a link page
    #[oai(path = "/link-pages/:id", method = "patch", operation_id = "updateLinkPage")]
    async fn update(
        &self,
        auth: Auth<Session>,
        /// The page.
        id: Path<Text<text::LinkPageId>>,
        input: Input<LinkPagePatch>,
    ) -> Result<Json<LinkPage>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        let change = draft::change(input.value)?;
        let mut tx = app.store.begin().await?;
        let mut row = link_page::lock(&mut tx, caller.org_id, read(&id.0)?).await?.ok_or_else(no_page)?;
        let entries = change.apply(&mut row, app.clock.now());
        draft::restore(&mut tx, &row, entries.as_deref()).await?;
        let entries = entries_of(&mut tx, &row).await?;
        tx.commit().await?;
        Ok(Json(LinkPage::new(app, row, entries)))
    }

    /// Delete a link page
    #[oai(path = "/link-pages/:id", method = "delete", operation_id = "deleteLinkPage")]
    async fn delete(
        &self,
        auth: Auth<Session>,
        /// The page.
        id: Path<Text<text::LinkPageId>>,
    ) -> Result<Deleted, Failed<Own>> {
        let mut tx = self.0.store.begin().await?;
        if !link_page::delete(&mut tx, auth.0.org_id, read(&id.0)?).await? {
            return Err(no_page().into());
        }
        tx.commit().await?;
        Ok(Deleted::Gone)
    }
}

async fn entries_of(conn: &mut PgConnection, row: &Row) -> Result<Vec<Entry>, Failure> {
    let entries = link_page::entries(conn, row.org_id, &[row.id]).await?;
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

fn read(id: &str) -> Result<LinkPageId, Failure> {
    id.parse().map_err(|_| no_page())
}

fn no_page() -> Failure {
    Failure::not_found("link page")
}
