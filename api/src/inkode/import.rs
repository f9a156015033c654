//! `/api/imports`: links from a file, as a durable job that tells of every line.

mod shape;

use std::num::NonZeroU16;

use domain::{
    caller::Caller,
    id::ImportId,
    import::{self, Import as Row, Line, Unreadable},
};
use jobs::{import::RunImport, job::NewJob, queue};
use poem::Request;
use poem_openapi::{
    OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};

use self::shape::{Import, ImportInput, ImportOutcome, ImportPage, ImportResultPage};
use crate::{
    app::App,
    auth::{Auth, Session},
    failure::Failure,
    heavy,
    idempotency::{Begun, Created, Once},
    input::Input,
    page,
    server::{Tag, request_id},
    surface::{Failed, Own},
    text::{self, Text},
};

/// The most bytes of a call.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// The routes of imports.
#[derive(Debug)]
pub struct ImportApi(pub App);

#[OpenApi(prefix_path = "/api", tag = "Tag::Workspace")]
impl ImportApi {
    /// Import links from a file
    ///
    /// CSV with a line of names, or what Bitly, YOURLS or Shlink export: up to 50,000 lines. The file is read before the
    /// answer; the links are made by a job.
    #[oai(path = "/imports", method = "post", operation_id = "createImport")]
    async fn create(
        &self,
        auth: Auth<Session>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<ImportInput, { BYTES_MAX }>,
        request: &Request,
    ) -> Result<Created<Import, 202>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        let once = Once { operation: "createImport", key: key.0.as_deref(), hash: &input.hash };
        let (row, lines) = read(app, caller, input.value).await?;
        let mut creation = match once.begin(app, caller).await? {
            Begun::Before(before) => return Ok(before),
            Begun::Fresh(creation) => creation,
        };
        import::insert(&mut creation.tx, &row, &lines).await?;
        let job = NewJob::new(row.org_id, &RunImport { import_id: row.id }, row.created_at, &app.chance);
        queue::enqueue(&mut creation.tx, job.request(request_id(request))).await?;
        Ok(creation.finish(&Import::from(row)).await?)
    }

    /// List imports
    #[oai(path = "/imports", method = "get", operation_id = "listImports")]
    async fn list(
        &self,
        auth: Auth<Session>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<Text<text::ImportId>>>,
    ) -> Result<Json<ImportPage>, Failed<Own>> {
        let (limit, before) = (page::limit(limit.0)?, page::cursor::<ImportId>(cursor.0.as_deref())?);
        let mut conn = self.0.store.pool().acquire().await?;
        let rows = import::list(&mut conn, auth.0.org_id, before, limit + 1).await?;
        let (rows, next_cursor) = page::turn(rows, limit, |row| row.id.to_string());
        Ok(Json(ImportPage { items: rows.into_iter().map(Into::into).collect(), next_cursor }))
    }

    /// Get an import
    #[oai(path = "/imports/:id", method = "get", operation_id = "getImport")]
    async fn get(
        &self,
        auth: Auth<Session>,
        /// The import.
        id: Path<Text<text::ImportId>>,
    ) -> Result<Json<Import>, Failed<Own>> {
        Ok(Json(self.find(&auth.0, &id.0).await?.into()))
    }

    /// List the results of an import
    ///
    /// One for each line that has ended, in the order of the file.
    #[oai(path = "/imports/:id/results", method = "get", operation_id = "listImportResults")]
    async fn results(
        &self,
        auth: Auth<Session>,
        /// The import.
        id: Path<Text<text::ImportId>>,
        /// Only lines that ended like this.
        outcome: Query<Option<ImportOutcome>>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<Text<text::PlaceCursor>>>,
    ) -> Result<Json<ImportResultPage>, Failed<Own>> {
        let (limit, after) = (page::limit(limit.0)?, page::cursor::<NonZeroU16>(cursor.0.as_deref())?);
        let row = self.find(&auth.0, &id.0).await?;
        let mut conn = self.0.store.pool().acquire().await?;
        let outcome = outcome.0.map(Into::into);
        let rows = import::results(
            &mut conn,
            row.org_id,
            row.id,
            outcome,
            after.map_or(0, |place| i32::from(place.get())),
            limit + 1,
        )
        .await?;
        let (rows, next_cursor) = page::turn(rows, limit, |row| row.place.to_string());
        Ok(Json(ImportResultPage { items: rows.into_iter().map(Into::into).collect(), next_cursor }))
    }
}

impl ImportApi {
    async fn find(&self, caller: &Caller, id: &str) -> Result<Row, Failure> {
        let missing = || Failure::not_found("import");
        let id: ImportId = id.parse().map_err(|_| missing())?;
        let mut conn = self.0.store.pool().acquire().await?;
        import::find(&mut conn, caller.org_id, id).await?.ok_or_else(missing)
    }
}

/// Reads the file; what is wrong with it as a whole is told at once.
async fn read(app: &App, caller: &Caller, input: ImportInput) -> Result<(Row, Vec<Line>), Failure> {
    if input.data.contains('\0') {
        return Err(Failure::field("data", "must not contain a NUL character"));
    }
    let (format, columns) = (input.format.into(), input.columns.map(Into::into).unwrap_or_default());
    let data = String::from(input.data);
    // Some tenths of a second for the largest file.
    let read = heavy::run(move || import::read(format, data.as_bytes(), &columns)).await?;
    let lines = read.map_err(|rule| match rule {
        Unreadable::NoColumn(_) => Failure::field("columns", rule.to_string()),
        rule => Failure::field("data", rule.to_string()),
    })?;
    let now = app.clock.now();
    let row = Row {
        id: ImportId::new(now, &app.chance),
        org_id: caller.org_id,
        format,
        update_existing: input.update_existing.unwrap_or(false),
        total: i32::try_from(lines.len()).unwrap_or(i32::MAX),
        cursor: 0,
        created: 0,
        updated: 0,
        skipped: 0,
        created_by: Some(caller.user_id),
        created_at: now,
        finished_at: None,
    };
    Ok((row, lines))
}
