//! Pictures as answers: with a strong `ETag`, so that whoever has one asks only whether it still is the same.

use poem::{
    IntoResponse, Request, Response,
    http::{StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Enum,
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
    types::Type,
};
use sha2::{Digest, Sha256};

/// What a picture is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub enum PictureFormat {
    /// PNG.
    Png,
    /// SVG.
    Svg,
    /// PDF.
    Pdf,
}

impl PictureFormat {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Svg => "image/svg+xml",
            Self::Pdf => "application/pdf",
        }
    }
}

/// A picture, or that the caller has it. `VECTORS` is whether it may be an SVG or PDF.
#[derive(Debug)]
pub struct Picture<const VECTORS: bool = true> {
    bytes: Vec<u8>,
    format: PictureFormat,
    etag: String,
    known: bool,
}

impl<const VECTORS: bool> Picture<VECTORS> {
    /// A picture for a caller who may have it: the request's `If-None-Match` (RFC 9110, 13.1.2), which is HTTP's own and
    /// no parameter of the OpenAPI file.
    pub fn new(bytes: Vec<u8>, format: PictureFormat, request: &Request) -> Self {
        let known = request.header(header::IF_NONE_MATCH);
        let etag = format!("\"{}\"", hex::encode(&Sha256::digest(&bytes)[..16]));
        // A weak tag of the same text will do.
        let mut tags = known.unwrap_or_default().split(',').map(str::trim);
        let known = tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag);
        Self { bytes, format, etag, known }
    }
}

impl<const VECTORS: bool> IntoResponse for Picture<VECTORS> {
    fn into_response(self) -> Response {
        let response = Response::builder().header(header::ETAG, self.etag).header(header::CACHE_CONTROL, KEEPING);
        if self.known {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        response
            .content_type(self.format.media_type())
            // Opened by itself, an SVG is a page: it may do nothing.
            .header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
            .body(self.bytes)
    }
}

/// Kept by the caller alone, and asked for before it is used again: an edit is seen at once.
const KEEPING: &str = "private, no-cache";

impl<const VECTORS: bool> ApiResponse for Picture<VECTORS> {
    fn meta() -> MetaResponses {
        // `openapi::answer` says what they are.
        let header = |name: &str| MetaHeader {
            name: name.into(),
            description: None,
            required: true,
            deprecated: false,
            schema: String::schema_ref(),
        };
        let content = |format: PictureFormat| MetaMediaType {
            content_type: format.media_type(),
            schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary"))),
        };
        let formats = [PictureFormat::Png, PictureFormat::Svg, PictureFormat::Pdf];
        let formats = formats.into_iter().take(if VECTORS { 3 } else { 1 });
        let answer = |status, description, content| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content,
            headers: vec![header("ETag"), header("Cache-Control")],
        };
        MetaResponses {
            responses: vec![
                answer(200, "The picture.", formats.map(content).collect()),
                answer(304, "The caller has the picture.", vec![]),
            ],
        }
    }

    fn register(_: &mut Registry) {}
}
