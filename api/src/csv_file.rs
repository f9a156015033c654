//! CSV files as answers (RFC 4180, UTF-8), written while they are read, so that any size fits.

use std::future::Future;

use futures::stream;
use poem::{Body, IntoResponse, Response, http::header};
use poem_openapi::{
    ApiResponse,
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
};

/// A file.
#[derive(Debug)]
pub struct CsvFile {
    name: &'static str,
    body: Body,
}

/// A portion of a file, and what the next one begins with; nothing behind the last.
pub type Portion<S> = Result<Option<(Vec<u8>, S)>, sqlx::Error>;

impl CsvFile {
    /// A file that browsers keep as `name`. `portion` is asked for what is next until there is nothing; an error cuts the
    /// answer off, so that nobody takes a part for the whole.
    pub fn new<S, P, F>(name: &'static str, first: S, portion: P) -> Self
    where
        S: Send + 'static,
        P: Fn(S) -> F + Send + Clone + 'static,
        F: Future<Output = Portion<S>> + Send + 'static,
    {
        let parts = stream::try_unfold(first, move |at| {
            let portion = portion.clone();
            async move { portion(at).await.map_err(std::io::Error::other) }
        });
        Self { name, body: Body::from_bytes_stream(parts) }
    }
}

/// Lines of a file.
pub fn lines<R, C>(rows: impl IntoIterator<Item = R>) -> Result<Vec<u8>, sqlx::Error>
where
    R: IntoIterator<Item = C>,
    C: AsRef<str>,
{
    let mut csv = csv::Writer::from_writer(vec![]);
    let written = (|| {
        for row in rows {
            csv.write_record(row.into_iter().map(|cell| guarded(cell.as_ref())))?;
        }
        csv.flush().map_err(csv::Error::from)
    })();
    written.map_err(|error: csv::Error| sqlx::Error::Io(std::io::Error::other(error)))?;
    Ok(csv.into_inner().unwrap_or_default())
}

/// A cell that no spreadsheet takes for a formula.
fn guarded(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() }
}

impl IntoResponse for CsvFile {
    fn into_response(self) -> Response {
        Response::builder()
            .content_type("text/csv; charset=utf-8; header=present")
            .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", self.name))
            .header(header::CACHE_CONTROL, "private, no-store")
            .body(self.body)
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
