//! `GET /api/links/export`: all links as CSV, some hundred at a time, so that any number fits.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    code,
    id::{LabelId, LinkId, OrgId},
    label::{self, Kind},
    link::{self, Link},
    visit::{self, Total},
};
use futures::stream;
use poem::{Body, IntoResponse, Response, http::header};
use poem_openapi::{
    ApiResponse, OpenApi,
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
};
use uuid::Uuid;

use crate::{
    app::App,
    auth::{Auth, Session},
    server::Tag,
    surface::{Failed, Own},
};

/// How many links are read at a time.
const PORTION: i64 = 500;

const COLUMNS: [&str; 21] = [
    "id",
    "shortUrl",
    "slug",
    "destination",
    "title",
    "utmSource",
    "utmMedium",
    "utmCampaign",
    "utmTerm",
    "utmContent",
    "active",
    "startsAt",
    "expiresAt",
    "maxVisits",
    "folder",
    "tags",
    "archived",
    "visits",
    "uniqueVisits",
    "createdAt",
    "updatedAt",
];

/// A CSV file that is written while it is read.
struct CsvFile(Body);

impl IntoResponse for CsvFile {
    fn into_response(self) -> Response {
        Response::builder()
            .content_type("text/csv; charset=utf-8; header=present")
            .header(header::CONTENT_DISPOSITION, "attachment; filename=\"links.csv\"")
            .header(header::CACHE_CONTROL, "private, no-store")
            .body(self.0)
    }
}

impl ApiResponse for CsvFile {
    fn meta() -> MetaResponses {
        let schema = MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        MetaResponses {
            responses: vec![MetaResponse {
                description: "The file.",
                status: Some(200),
                status_range: None,
                content: vec![MetaMediaType { content_type: "text/csv", schema }],
                headers: vec![],
            }],
        }
    }

    fn register(_: &mut Registry) {}
}

/// The routes of files with links.
#[derive(Debug)]
pub struct LinkExportApi(pub App);

#[OpenApi(prefix_path = "/api", tag = "Tag::Workspace")]
impl LinkExportApi {
    /// Export all short links
    ///
    /// CSV (RFC 4180), oldest first, those that are put away too. What a spreadsheet would take for a formula has an
    /// apostrophe before it, which an import takes away again.
    #[oai(path = "/links/export", method = "get", operation_id = "exportLinks")]
    async fn export(&self, auth: Auth<Session>) -> Result<CsvFile, Failed<Own>> {
        let (app, org_id) = (self.0.clone(), auth.0.org_id);
        let mut conn = app.store.pool().acquire().await?;
        let mut labels = HashMap::new();
        for kind in [Kind::Folder, Kind::Tag] {
            labels.extend(label::list(&mut conn, org_id, kind, true).await?.into_iter().map(|it| (it.id, it.name)));
        }
        drop(conn);
        let file = Writer { app, org_id, labels };
        let body = stream::try_unfold((file, None), |(file, after)| async move {
            let (text, last) = file.portion(after).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(last.map(|last| (text, (file, Some(last)))))
        });
        Ok(CsvFile(Body::from_bytes_stream(body)))
    }
}

struct Writer {
    app: App,
    org_id: OrgId,
    labels: HashMap<LabelId, String>,
}

impl Writer {
    /// The lines of the links behind `after`, and the last of them; with the names of the columns at the beginning.
    async fn portion(&self, after: Option<LinkId>) -> Result<(Vec<u8>, Option<LinkId>), sqlx::Error> {
        let mut conn = self.app.store.pool().acquire().await?;
        let from = after.unwrap_or(LinkId(Uuid::nil()));
        let links = link::list_behind(&mut conn, self.org_id, from, PORTION).await?;
        let ids: Vec<Uuid> = links.iter().map(|link| link.id.0).collect();
        let totals = visit::totals(&mut conn, self.org_id, &ids).await?;
        drop(conn);
        let mut csv = csv::Writer::from_writer(vec![]);
        let written = (|| {
            if after.is_none() {
                csv.write_record(COLUMNS)?;
            }
            for link in &links {
                csv.write_record(self.cells(link, totals.get(&link.id.0)).map(|cell| guarded(&cell)))?;
            }
            csv.flush().map_err(csv::Error::from)
        })();
        written.map_err(|error: csv::Error| sqlx::Error::Io(std::io::Error::other(error)))?;
        let last = links.last().map(|link| link.id).or_else(|| after.is_none().then_some(from));
        Ok((csv.into_inner().unwrap_or_default(), last))
    }

    fn cells(&self, link: &Link, total: Option<&Total>) -> [String; COLUMNS.len()] {
        let name = |id: LabelId| self.labels.get(&id).cloned().unwrap_or_default();
        let tags: Vec<String> = link.tag_ids.iter().map(|id| name(LabelId(*id))).collect();
        let at =
            |at: Option<DateTime<Utc>>| at.map_or(String::new(), |at| at.to_rfc3339_opts(SecondsFormat::Millis, true));
        let utm = link.utm.as_ref().map(|utm| utm.0.clone()).unwrap_or_default();
        let text = Option::unwrap_or_default;
        let sum = total.map(|total| total.sum).unwrap_or_default();
        [
            link.id.to_string(),
            code::address(&self.app.settings.short_url, &link.domain, &link.slug),
            link.slug.clone(),
            link.destination.clone(),
            link.title.clone(),
            text(utm.source),
            text(utm.medium),
            text(utm.campaign),
            text(utm.term),
            text(utm.content),
            link.active.to_string(),
            at(link.starts_at),
            at(link.expires_at),
            link.max_visits.map_or(String::new(), |most| most.to_string()),
            link.folder_id.map_or(String::new(), name),
            tags.join("|"),
            link.archived_at.is_some().to_string(),
            sum.visits.to_string(),
            sum.uniques.to_string(),
            at(Some(link.created_at)),
            at(Some(link.updated_at)),
        ]
    }
}

/// A cell that no spreadsheet takes for a formula.
fn guarded(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() }
}
