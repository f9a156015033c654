//! `/api/links`: short links, made and changed with a session. Each change is told to every process that redirects and to
//! the webhooks that listen, in the transaction that makes it.

mod batch;
mod bulk;
mod draft;
mod explain;
mod health;
mod routing;
mod shape;

use domain::{
    id::LinkId,
    link::{self, After, Link, Wanted, batch::Op},
};
use poem::Request;
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};
use sqlx::PgConnection;

pub use self::bulk::LinkBulkApi;
use self::{
    explain::{LinkExplanation, LinkVisitor},
    shape::{LinkFilter, LinkSort, ShortLink, ShortLinkInput, ShortLinkPage, ShortLinkPatch},
};
use super::stats::{self, Stats};
use crate::{
    app::App,
    auth::{Auth, Session},
    failure::Failure,
    idempotency::{Begun, Created, Once},
    inkode::asked,
    input::Input,
    page,
    server::{Tag, request_id},
    surface::{Failed, Own},
    text::{self, Text},
};

/// The answer to a deletion.
#[derive(Debug, ApiResponse)]
enum Deleted {
    /// Gone; its code is free.
    #[oai(status = 204)]
    Gone,
}

/// The routes of short links.
#[derive(Debug)]
pub struct LinkApi(pub App);

#[OpenApi(prefix_path = "/api", tag = "Tag::Workspace")]
impl LinkApi {
    /// List short links
    #[oai(path = "/links", method = "get", operation_id = "listLinks")]
    #[allow(clippy::too_many_arguments)]
    async fn list(
        &self,
        auth: Auth<Session>,
        /// The workspace, which must be the session's.
        #[oai(name = "orgId")]
        org_id: Query<Option<Text<text::OrgId>>>,
        /// A part of title, slug or destination.
        search: Query<Option<Text<text::Search>>>,
        /// Which links; `all` if not given.
        filter: Query<Option<LinkFilter>>,
        /// Only links in this folder.
        #[oai(name = "folderId")]
        folder_id: Query<Option<Text<text::FolderId>>>,
        /// Only links with this tag.
        #[oai(name = "tagId")]
        tag_id: Query<Option<Text<text::TagId>>>,
        /// The order; `created` if not given.
        sort: Query<Option<LinkSort>>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<Text<text::LinkCursor>>>,
    ) -> Result<Json<ShortLinkPage>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        asked::check_org(app, caller, org_id.0.as_deref()).await?;
        let wanted = Wanted {
            filter: filter.0.map(Into::into).unwrap_or_default(),
            search: search.0.map(|text| asked::search(text.into())).transpose()?,
            folder_id: folder_id.0.as_deref().map(asked::folder).transpose()?,
            tag_ids: tag_id.0.as_deref().map(|id| asked::tag("tagId", id)).transpose()?.into_iter().collect(),
            sort: sort.0.map(Into::into).unwrap_or_default(),
        };
        let (limit, after) = (page::limit(limit.0)?, page::place(cursor.0.as_deref(), wanted.sort)?);
        let mut conn = app.store.pool().acquire().await?;
        let rows = link::list(&mut conn, caller.org_id, &wanted, after.as_ref(), limit + 1, app.clock.now()).await?;
        let (rows, next_cursor) = page::turn(rows, limit, |row| behind(&wanted, row).to_string());
        Ok(Json(ShortLinkPage { items: shape::complete(app, &mut conn, caller.org_id, rows).await?, next_cursor }))
    }

    /// Create a short link
    #[oai(path = "/links", method = "post", operation_id = "createLink")]
    async fn create(
        &self,
        auth: Auth<Session>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<ShortLinkInput>,
        request: &Request,
    ) -> Result<Created<ShortLink>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        let once = Once { operation: "createLink", key: key.0.as_deref(), hash: &input.hash };
        // Before the checks: the slug is taken by now, if this was answered before.
        if let Some(before) = once.answered(app, caller).await? {
            return Ok(before);
        }
        let draft = draft::new(app, caller, input.value).await?;
        let mut creation = match once.begin(app, caller).await? {
            Begun::Before(before) => return Ok(before),
            Begun::Fresh(creation) => creation,
        };
        let op = Op::Create(Box::new(draft));
        let (done, told) = batch::one(app, caller, &mut creation.tx, op, request_id(request)).await?;
        let created = creation.finish(&ShortLink::new(app, done.link)).await?;
        app.routes.forget_all(&told).await;
        Ok(created)
    }

    /// Get a short link
    #[oai(path = "/links/:id", method = "get", operation_id = "getLink")]
    async fn get(
        &self,
        auth: Auth<Session>,
        /// The link.
        id: Path<Text<text::LinkId>>,
    ) -> Result<Json<ShortLink>, Failed<Own>> {
        let mut conn = self.0.store.pool().acquire().await?;
        let found = link::find(&mut conn, auth.0.org_id, read(&id.0)?).await?.ok_or_else(no_link)?;
        Ok(Json(self.show(&mut conn, found).await?))
    }

    /// Get a short link's statistics
    #[oai(path = "/links/:id/stats", method = "get", operation_id = "getLinkStats")]
    async fn stats(
        &self,
        auth: Auth<Session>,
        /// The link.
        id: Path<Text<text::LinkId>>,
        /// Of how many days, today included; 30 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "366")))]
        days: Query<Option<i64>>,
    ) -> Result<Json<Stats>, Failed<Own>> {
        let (app, org_id, id) = (&self.0, auth.0.org_id, read(&id.0)?);
        let found = link::find(&mut *app.store.pool().acquire().await?, org_id, id).await?;
        let link = found.ok_or_else(no_link)?;
        Ok(Json(stats::of(app, org_id, link.id.0, link.routing.as_deref(), days.0).await?))
    }

    /// Explain where a short link leads a visitor
    #[oai(path = "/links/:id/explain", method = "post", operation_id = "explainLink")]
    async fn explain(
        &self,
        auth: Auth<Session>,
        /// The link.
        id: Path<Text<text::LinkId>>,
        input: Input<LinkVisitor>,
    ) -> Result<Json<LinkExplanation>, Failed<Own>> {
        let (app, org_id) = (&self.0, auth.0.org_id);
        let mut conn = app.store.pool().acquire().await?;
        let link = link::find(&mut conn, org_id, read(&id.0)?).await?.ok_or_else(no_link)?;
        Ok(Json(explain::explain(&mut conn, &link, input.value, app.clock.now()).await?))
    }

    /// Update a short link
    #[oai(path = "/links/:id", method = "patch", operation_id = "updateLink")]
    async fn update(
        &self,
        auth: Auth<Session>,
        /// The link.
        id: Path<Text<text::LinkId>>,
        input: Input<ShortLinkPatch>,
        request: &Request,
    ) -> Result<Json<ShortLink>, Failed<Own>> {
        let (app, id) = (&self.0, read(&id.0)?);
        let change = draft::change(app, input.value).await?;
        let mut tx = app.store.begin().await?;
        let op = Op::Update(id, batch::edit(app, change));
        let (done, told) = batch::one(app, &auth.0, &mut tx, op, request_id(request)).await?;
        tx.commit().await?;
        app.routes.forget_all(&told).await;
        let mut conn = app.store.pool().acquire().await?;
        Ok(Json(self.show(&mut conn, done.link).await?))
    }

    /// Delete a short link
    #[oai(path = "/links/:id", method = "delete", operation_id = "deleteLink")]
    async fn delete(
        &self,
        auth: Auth<Session>,
        /// The link.
        id: Path<Text<text::LinkId>>,
        request: &Request,
    ) -> Result<Deleted, Failed<Own>> {
        let (app, id) = (&self.0, read(&id.0)?);
        let mut tx = app.store.begin().await?;
        let (_, told) = batch::one(app, &auth.0, &mut tx, Op::Delete(id), request_id(request)).await?;
        tx.commit().await?;
        app.routes.forget_all(&told).await;
        Ok(Deleted::Gone)
    }
}

impl LinkApi {
    async fn show(&self, conn: &mut PgConnection, link: Link) -> Result<ShortLink, Failure> {
        let mut shown = shape::complete(&self.0, conn, link.org_id, vec![link]).await?;
        shown.pop().ok_or_else(no_link)
    }
}

/// The place behind a row of a list.
fn behind(wanted: &Wanted, row: &Link) -> After {
    After { sort: wanted.sort, id: row.id, updated_at: row.updated_at, title: row.title.clone() }
}

fn read(id: &str) -> Result<LinkId, Failure> {
    id.parse().map_err(|_| no_link())
}

fn no_link() -> Failure {
    Failure::not_found("link")
}
