//! `/api/barcode`: barcodes, made and changed with a session, and their pictures.

mod draft;
mod event;
mod shape;

use domain::{
    barcode::{self, Barcode as Row, Modules, Unrenderable, Wanted},
    caller::Caller,
    change::Change,
    downgrade,
    id::BarcodeId,
    plan::Quota,
    user,
};
use poem::Request;
use poem_openapi::{
    OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};
use sqlx::PgConnection;

use self::shape::{Barcode, BarcodeFilter, BarcodeInput, BarcodePage, BarcodePatch};
use crate::{
    app::App,
    auth::{Auth, Session},
    deleted::Deleted,
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
pub(crate) const SIZE: u32 = 800;

/// The routes of barcodes.
#[derive(Debug)]
pub struct BarcodeApi(pub App);

#[OpenApi(prefix_path = "/api", tag = "Tag::Workspace")]
impl BarcodeApi {
    /// List barcodes
    #[oai(path = "/barcode", method = "get", operation_id = "listBarcodes")]
    #[allow(clippy::too_many_arguments)]
    async fn list(
        &self,
        auth: Auth<Session>,
        /// The workspace, which must be the session's.
        #[oai(name = "orgId")]
        org_id: Query<Option<Text<text::OrgId>>>,
        /// A part of name, value or the id in another system.
        search: Query<Option<Text<text::Search>>>,
        /// Which barcodes; `all` if not given.
        filter: Query<Option<BarcodeFilter>>,
        /// Only barcodes of this type.
        r#type: Query<Option<Text<text::BarcodeType>>>,
        /// Only barcodes in this folder.
        #[oai(name = "folderId")]
        folder_id: Query<Option<Text<text::FolderId>>>,
        /// Only barcodes with this tag.
        #[oai(name = "tagId")]
        tag_id: Query<Option<Text<text::TagId>>>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<Text<text::BarcodeId>>>,
    ) -> Result<Json<BarcodePage>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        asked::check_org(app, caller, org_id.0.as_deref()).await?;
        let wanted = Wanted {
            filter: filter.0.map(Into::into).unwrap_or_default(),
            search: search.0.map(|text| asked::search(text.into())).transpose()?,
            kind: r#type.0.as_deref().and_then(|name| name.parse().ok()),
            folder_id: folder_id.0.as_deref().map(asked::folder).transpose()?,
            tag_id: tag_id.0.as_deref().map(|id| asked::tag("tagId", id)).transpose()?,
        };
        let (limit, before) = (page::limit(limit.0)?, page::cursor::<BarcodeId>(cursor.0.as_deref())?);
        let mut conn = app.store.pool().acquire().await?;
        let rows = barcode::list(&mut conn, caller.org_id, &wanted, before, limit + 1).await?;
        let (rows, next_cursor) = page::turn(rows, limit, |row| row.id.to_string());
        let edge = downgrade::edge(&mut conn, caller.org_id, Quota::Barcodes).await?;
        let items = rows.into_iter().map(|row| Barcode::new(row, None, edge)).collect();
        Ok(Json(BarcodePage { items, next_cursor }))
    }

    /// Create a barcode
    #[oai(path = "/barcode", method = "post", operation_id = "createBarcode")]
    async fn create(
        &self,
        request: &Request,
        auth: Auth<Session>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<BarcodeInput>,
    ) -> Result<Created<Barcode>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        let once = Once { operation: "createBarcode", key: key.0.as_deref(), hash: &input.hash };
        // Before the checks, which draw the barcode and read it.
        if let Some(before) = once.answered(app, caller).await? {
            return Ok(before);
        }
        let row = draft::new(app, caller, input.value).await?;
        let mut creation = match once.begin(app, caller).await? {
            Begun::Before(before) => return Ok(before),
            Begun::Fresh(creation) => creation,
        };
        asked::check_room(&mut creation.tx, caller, Quota::Barcodes, barcode::count).await?;
        asked::check_labels(&mut creation.tx, caller.org_id, (row.folder_id, &row.tag_ids), (None, &[])).await?;
        barcode::insert(&mut creation.tx, &row).await?;
        event::publish(app, &mut creation.tx, Change::Created, None, &row, request_id(request)).await?;
        let shown = shown(&mut creation.tx, row).await?;
        Ok(creation.finish(&shown).await?)
    }

    /// Get a barcode
    #[oai(path = "/barcode/:id", method = "get", operation_id = "getBarcode")]
    async fn get(
        &self,
        auth: Auth<Session>,
        /// The barcode.
        id: Path<Text<text::BarcodeId>>,
    ) -> Result<Json<Barcode>, Failed<Own>> {
        let mut conn = self.0.store.pool().acquire().await?;
        let row = find(&mut conn, &auth.0, &id.0).await?;
        Ok(Json(shown(&mut conn, row).await?))
    }

    /// Update a barcode
    #[oai(path = "/barcode/:id", method = "patch", operation_id = "updateBarcode")]
    async fn update(
        &self,
        request: &Request,
        auth: Auth<Session>,
        /// The barcode.
        id: Path<Text<text::BarcodeId>>,
        input: Input<BarcodePatch>,
    ) -> Result<Json<Barcode>, Failed<Own>> {
        let (app, org_id) = (&self.0, auth.0.org_id);
        let mut tx = app.store.begin().await?;
        let before = barcode::lock(&mut tx, org_id, read(&id.0)?).await?.ok_or_else(no_barcode)?;
        let row = draft::changed(&before, input.value, app.clock.now()).await?;
        if before.archived_at.is_none() && row.archived_at.is_none() {
            asked::check_edge(&mut tx, &auth.0, Quota::Barcodes, before.id.0).await?;
        }
        if before.archived_at.is_some() && row.archived_at.is_none() {
            asked::check_room(&mut tx, &auth.0, Quota::Barcodes, barcode::count).await?;
        }
        let (labels, labels_before) = ((row.folder_id, &*row.tag_ids), (before.folder_id, &*before.tag_ids));
        asked::check_labels(&mut tx, org_id, labels, labels_before).await?;
        barcode::update(&mut tx, &row).await?;
        event::publish(app, &mut tx, Change::Updated, Some(&before), &row, request_id(request)).await?;
        let shown = shown(&mut tx, row).await?;
        tx.commit().await?;
        Ok(Json(shown))
    }

    /// Delete a barcode
    #[oai(path = "/barcode/:id", method = "delete", operation_id = "deleteBarcode")]
    async fn delete(
        &self,
        request: &Request,
        auth: Auth<Session>,
        /// The barcode.
        id: Path<Text<text::BarcodeId>>,
    ) -> Result<Deleted, Failed<Own>> {
        let (app, org_id, id) = (&self.0, auth.0.org_id, read(&id.0)?);
        let mut tx = app.store.begin().await?;
        let row = barcode::lock(&mut tx, org_id, id).await?.ok_or_else(no_barcode)?;
        barcode::delete(&mut tx, org_id, id).await?;
        event::publish(app, &mut tx, Change::Deleted, None, &row, request_id(request)).await?;
        tx.commit().await?;
        Ok(Deleted::Gone)
    }

    /// Get the picture of a barcode
    ///
    /// Each module is a whole number of pixels wide; what is left of the width goes to the margins.
    #[oai(path = "/barcode/:id/image", method = "get", operation_id = "getBarcodeImage")]
    async fn image(
        &self,
        request: &Request,
        auth: Auth<Session>,
        /// The barcode.
        id: Path<Text<text::BarcodeId>>,
        /// What it is written as; `png` if not given.
        format: Query<Option<PictureFormat>>,
        /// Its width in pixels, 800 if not given; a PNG needs one for each module.
        #[oai(validator(minimum(value = "64"), maximum(value = "4096")))]
        size: Query<Option<u32>>,
    ) -> Result<Picture, Failed<Own>> {
        let mut conn = self.0.store.pool().acquire().await?;
        let row = find(&mut conn, &auth.0, &id.0).await?;
        drop(conn);
        let (format, size) = (format.0.unwrap_or(PictureFormat::Png), size.0.unwrap_or(SIZE));
        Ok(Picture::new(draw(row, format, size).await?, format, request))
    }
}

/// The picture of a barcode, `size` pixels wide.
pub(crate) async fn draw(row: Row, format: PictureFormat, size: u32) -> Result<Vec<u8>, Failure> {
    let draw = move || -> Result<Vec<u8>, Unrenderable> {
        let modules = Modules::encode(row.kind, &row.value)?;
        match format {
            PictureFormat::Png => barcode::png(&modules, &row.style, size),
            PictureFormat::Svg => Ok(barcode::svg(&modules, &row.style, size).into_bytes()),
            PictureFormat::Pdf => Ok(barcode::pdf(&modules, &row.style, size)),
        }
    };
    Ok(heavy::run(draw).await??)
}

async fn find(conn: &mut PgConnection, caller: &Caller, id: &str) -> Result<Row, Failure> {
    barcode::find(conn, caller.org_id, read(id)?).await?.ok_or_else(no_barcode)
}

/// A barcode with its maker.
async fn shown(conn: &mut PgConnection, row: Row) -> Result<Barcode, Failure> {
    let maker = match row.created_by {
        Some(id) => user::find(conn, row.org_id, id).await?,
        None => None,
    };
    let edge = downgrade::edge(conn, row.org_id, Quota::Barcodes).await?;
    Ok(Barcode::new(row, maker, edge))
}

fn read(id: &str) -> Result<BarcodeId, Failure> {
    id.parse().map_err(|_| no_barcode())
}

fn no_barcode() -> Failure {
    Failure::not_found("barcode")
}
