//! `/api/qr`: QR codes, made and changed with a session, and their pictures. Each change is told to every process that
//! redirects and to the webhooks that listen, in the transaction that makes it.

mod batch;
mod bulk;
mod change;
mod content;
mod draft;
mod shape;
mod style;

use std::collections::HashMap;

use domain::{
    caller::Caller,
    downgrade,
    id::{LinkId, OrgId, QrId},
    link::{self, Link},
    plan::Quota,
    qr::{self, After, QrCode as Row, Wanted, picture::Format},
    visit,
};
use poem::Request;
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};
use sqlx::PgConnection;

pub use self::bulk::QrBulkApi;
use self::{
    batch::Op,
    change::Update,
    shape::{QrCode, QrCodeInput, QrCodePage, QrCodePatch, QrFilter, QrSort},
};
use super::stats::{self, Stats};
use crate::{
    app::App,
    auth::{Auth, Session},
    failure::Failure,
    heavy,
    idempotency::{Begun, Created, Once},
    inkode::asked,
    input::Input,
    page,
    picture::{Picture, PictureFormat},
    server::{Tag, request_id},
    surface::{Failed, Own},
    text::{self, Text},
};

/// The width of a picture where none is asked for, in pixels.
pub(crate) const SIZE: u32 = 1024;

/// The answer to a deletion.
#[derive(Debug, ApiResponse)]
enum Deleted {
    /// Gone; its code is free.
    #[oai(status = 204)]
    Gone,
}

/// The routes of QR codes.
#[derive(Debug)]
pub struct QrApi(pub App);

#[OpenApi(prefix_path = "/api", tag = "Tag::Workspace")]
impl QrApi {
    /// List QR codes
    #[oai(path = "/qr", method = "get", operation_id = "listQrCodes")]
    #[allow(clippy::too_many_arguments)]
    async fn list(
        &self,
        auth: Auth<Session>,
        /// The workspace, which must be the session's.
        #[oai(name = "orgId")]
        org_id: Query<Option<Text<text::OrgId>>>,
        /// A part of name, code or content.
        search: Query<Option<Text<text::Search>>>,
        /// Which codes; `all` if not given.
        filter: Query<Option<QrFilter>>,
        /// Only codes in this folder.
        #[oai(name = "folderId")]
        folder_id: Query<Option<Text<text::FolderId>>>,
        /// Only codes with this tag.
        #[oai(name = "tagId")]
        tag_id: Query<Option<Text<text::TagId>>>,
        /// The order; `created` if not given.
        sort: Query<Option<QrSort>>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<Text<text::QrCursor>>>,
    ) -> Result<Json<QrCodePage>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        asked::check_org(app, caller, org_id.0.as_deref()).await?;
        let wanted = Wanted {
            filter: filter.0.map(Into::into).unwrap_or_default(),
            search: search.0.map(|text| asked::search(text.into())).transpose()?,
            folder_id: folder_id.0.as_deref().map(asked::folder).transpose()?,
            tag_id: tag_id.0.as_deref().map(|id| asked::tag("tagId", id)).transpose()?,
            sort: sort.0.map(Into::into).unwrap_or_default(),
        };
        let (limit, after) = (page::limit(limit.0)?, page::place(cursor.0.as_deref(), wanted.sort)?);
        Ok(Json(self.page(caller, &wanted, after.as_ref(), limit).await?))
    }

    /// Create a QR code
    ///
    /// It is drawn and read back before it is stored: what no scanner would read is refused with 422.
    #[oai(path = "/qr", method = "post", operation_id = "createQrCode")]
    async fn create(
        &self,
        auth: Auth<Session>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<QrCodeInput>,
        request: &Request,
    ) -> Result<Created<QrCode>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        let once = Once { operation: "createQrCode", key: key.0.as_deref(), hash: &input.hash };
        // Before the checks: the code is taken by now, if this was answered before.
        if let Some(before) = once.answered(app, caller).await? {
            return Ok(before);
        }
        let op = Op::Create(Box::new(draft::new(app, caller, input.value).await?));
        let mut creation = match once.begin(app, caller).await? {
            Begun::Before(before) => return Ok(before),
            Begun::Fresh(creation) => creation,
        };
        let (row, told) = batch::one(app, caller, &mut creation.tx, op, request_id(request)).await?;
        let shown = self.shown(&mut creation.tx, row).await?;
        let created = creation.finish(&shown).await?;
        app.routes.forget_all(&told).await;
        Ok(created)
    }

    /// Get a QR code
    #[oai(path = "/qr/:id", method = "get", operation_id = "getQrCode")]
    async fn get(
        &self,
        auth: Auth<Session>,
        /// The QR code.
        id: Path<Text<text::QrId>>,
    ) -> Result<Json<QrCode>, Failed<Own>> {
        let mut conn = self.0.store.pool().acquire().await?;
        let row = find(&mut conn, &auth.0, &id.0).await?;
        Ok(Json(self.shown(&mut conn, row).await?))
    }

    /// Get the statistics of a QR code
    ///
    /// What its scans of the last days sum up to, without those of programs, to the last one that was stored.
    #[oai(path = "/qr/:id/stats", method = "get", operation_id = "getQrCodeStats")]
    async fn stats(
        &self,
        auth: Auth<Session>,
        /// The QR code.
        id: Path<Text<text::QrId>>,
        /// How many days, today included; 30 if not given. Up to two days are told by the hour.
        #[oai(validator(minimum(value = "1"), maximum(value = "366")))]
        days: Query<Option<i64>>,
    ) -> Result<Json<Stats>, Failed<Own>> {
        let (app, org_id) = (&self.0, auth.0.org_id);
        let mut conn = app.store.pool().acquire().await?;
        let row = find(&mut conn, &auth.0, &id.0).await?;
        let link = match row.link_id {
            Some(id) => link::find(&mut conn, org_id, id).await?,
            None => None,
        };
        drop(conn);
        let routing = link.as_ref().and_then(|link| link.routing.as_deref());
        Ok(Json(stats::of(app, org_id, row.id.0, routing, days.0).await?))
    }

    /// Get the picture of a QR code
    ///
    /// Each module is a whole number of pixels wide; what is left of the size goes to the margins.
    #[oai(path = "/qr/:id/image", method = "get", operation_id = "getQrCodeImage")]
    async fn image(
        &self,
        auth: Auth<Session>,
        /// The QR code.
        id: Path<Text<text::QrId>>,
        /// What it is written as; `png` if not given.
        format: Query<Option<PictureFormat>>,
        /// Its width and height in pixels, 1024 if not given (96 to the inch where there are none); a PNG needs one for each module.
        #[oai(validator(minimum(value = "64"), maximum(value = "4096")))]
        size: Query<Option<u32>>,
        request: &Request,
    ) -> Result<Picture, Failed<Own>> {
        let (format, size) = (format.0.unwrap_or(PictureFormat::Png), size.0.unwrap_or(SIZE));
        Ok(Picture::new(picture(&self.0, &auth.0, &id.0, format, size).await?, format, request))
    }

    /// Update a QR code
    ///
    /// Where the change is one of its picture, that is read back first, as for a new one.
    #[oai(path = "/qr/:id", method = "patch", operation_id = "updateQrCode")]
    async fn update(
        &self,
        auth: Auth<Session>,
        /// The QR code.
        id: Path<Text<text::QrId>>,
        input: Input<QrCodePatch>,
        request: &Request,
    ) -> Result<Json<QrCode>, Failed<Own>> {
        Ok(Json(self.change(&auth.0, &id.0, input.value, request_id(request)).await?))
    }

    /// Delete a QR code
    #[oai(path = "/qr/:id", method = "delete", operation_id = "deleteQrCode")]
    async fn delete(
        &self,
        auth: Auth<Session>,
        /// The QR code.
        id: Path<Text<text::QrId>>,
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

impl QrApi {
    async fn page(
        &self,
        caller: &Caller,
        wanted: &Wanted,
        after: Option<&After>,
        limit: i64,
    ) -> Result<QrCodePage, Failure> {
        let (app, org_id) = (&self.0, caller.org_id);
        let mut conn = app.store.pool().acquire().await?;
        let rows = qr::list(&mut conn, org_id, wanted, after, limit + 1, app.clock.now()).await?;
        let (rows, next_cursor) = page::turn(rows, limit, |row| behind(wanted, row).to_string());
        let summary = qr::summary(&mut conn, org_id, app.clock.now()).await?.into();
        let items = complete(app, &mut conn, org_id, rows).await?;
        Ok(QrCodePage { items, summary, next_cursor })
    }

    async fn change(
        &self,
        caller: &Caller,
        id: &str,
        patch: QrCodePatch,
        request_id: Option<String>,
    ) -> Result<QrCode, Failure> {
        let app = &self.0;
        let mut conn = app.store.pool().acquire().await?;
        let row = find(&mut conn, caller, id).await?;
        drop(conn);
        let op = Op::Update(Box::new(Update::new(app, row, patch).await?));
        let mut tx = app.store.begin().await?;
        let (row, told) = batch::one(app, caller, &mut tx, op, request_id).await?;
        let shown = self.shown(&mut tx, row).await?;
        tx.commit().await?;
        app.routes.forget_all(&told).await;
        Ok(shown)
    }

    async fn shown(&self, conn: &mut PgConnection, row: Row) -> Result<QrCode, Failure> {
        complete(&self.0, conn, row.org_id, vec![row]).await?.pop().ok_or_else(no_code)
    }
}

/// Codes of an organisation with their scans and the links that they lead through.
async fn complete(app: &App, conn: &mut PgConnection, org_id: OrgId, rows: Vec<Row>) -> Result<Vec<QrCode>, Failure> {
    let through: Vec<_> = rows.iter().filter_map(|row| Some(row.link_id?.0)).collect();
    let links = if through.is_empty() { vec![] } else { link::find_all(conn, &through).await? };
    let links: HashMap<LinkId, Link> = links.into_iter().map(|link| (link.id, link)).collect();
    let scans = visit::totals(conn, org_id, &rows.iter().map(|row| row.id.0).collect::<Vec<_>>()).await?;
    let edge = downgrade::edge(conn, org_id, Quota::DynamicCodes).await?;
    let shown = rows.into_iter().map(|row| {
        let link = row.link_id.and_then(|id| links.get(&id).cloned());
        let scans = scans.get(&row.id.0).map_or(0, |total| total.sum.visits);
        QrCode::new(app, row, link, scans, edge)
    });
    Ok(shown.collect())
}

/// The picture of one of the caller's codes.
pub(crate) async fn picture(
    app: &App,
    caller: &Caller,
    id: &str,
    format: PictureFormat,
    size: u32,
) -> Result<Vec<u8>, Failure> {
    let mut conn = app.store.pool().acquire().await?;
    let row = find(&mut conn, caller, id).await?;
    let logo = if row.has_logo { qr::logo(&mut conn, row.org_id, row.id).await? } else { None };
    drop(conn);
    let format = match format {
        PictureFormat::Png => Format::Png,
        PictureFormat::Svg => Format::Svg,
        PictureFormat::Pdf => Format::Pdf,
    };
    let short_url = app.settings.short_url.clone();
    let drawn = heavy::run(move || qr::draw(&row, logo.as_deref(), &short_url, format, size)).await?;
    drawn.map_err(|why| Failure::unsupported("size", why.to_string()))
}

/// The place behind a row of a list.
fn behind(wanted: &Wanted, row: &Row) -> After {
    After { sort: wanted.sort, id: row.id, updated_at: row.updated_at, title: row.name.clone() }
}

async fn find(conn: &mut PgConnection, caller: &Caller, id: &str) -> Result<Row, Failure> {
    qr::find(conn, caller.org_id, read(id)?).await?.ok_or_else(no_code)
}

fn read(id: &str) -> Result<QrId, Failure> {
    id.parse().map_err(|_| no_code())
}

fn no_code() -> Failure {
    Failure::not_found("QR code")
}
