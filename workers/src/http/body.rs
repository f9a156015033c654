//! Reads the beginning of an answer's body: bounded in bytes, on the wire and unpacked, and in time.

use std::io::Read;

use domain::attempt::BODY_BYTES_MAX;
use flate2::read::MultiGzDecoder;
use http::{Response, header::CONTENT_ENCODING};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::failure;

/// A body up to this size on the wire is read to its end, so that the connection can be used again.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Enough to fill what is kept, with room for the rest of a character that the cut would split.
const KEPT_BYTES_MAX: usize = BODY_BYTES_MAX + 4;

/// The beginning of the body as text, and what went wrong while it was read, if something did.
pub async fn read(response: Response<Incoming>, deadline: Instant) -> (String, String) {
    let is_packed = response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| {
        let encoding = encoding.as_bytes();
        encoding.eq_ignore_ascii_case(b"gzip") || encoding.eq_ignore_ascii_case(b"x-gzip")
    });
    let keep = if is_packed { READ_BYTES_MAX } else { KEPT_BYTES_MAX };
    let (bytes, error) = collect(response.into_body(), keep, deadline).await;
    if !is_packed {
        return (text(bytes), error);
    }
    let (bytes, is_sound) = unpack(&bytes);
    let error = if error.is_empty() && !is_sound { failure::BAD_ENCODING.to_owned() } else { error };
    (text(bytes), error)
}

/// The first `keep` bytes as they came.
async fn collect(mut body: Incoming, keep: usize, deadline: Instant) -> (Vec<u8>, String) {
    let mut kept = Vec::new();
    let mut seen = 0;
    let error = loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            // Asked again, because a time-out is only noticed while nothing arrives.
            Ok(Some(Ok(frame))) if Instant::now() < deadline => frame,
            Ok(Some(Err(error))) => break failure::of_body(&error),
            Ok(None) => break String::new(),
            Ok(Some(Ok(_))) | Err(_) => break failure::READ_TIMED_OUT.to_owned(),
        };
        let Ok(data) = frame.into_data() else { continue };
        seen += data.len();
        kept.extend_from_slice(&data[..data.len().min(keep - kept.len())]);
        if seen > READ_BYTES_MAX {
            break failure::BODY_TOO_LONG.to_owned();
        }
    };
    (kept, error)
}

/// As much of a gzip stream as is kept, and whether it was sound so far.
fn unpack(packed: &[u8]) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let result = MultiGzDecoder::new(packed).take(KEPT_BYTES_MAX as u64).read_to_end(&mut bytes);
    (bytes, result.is_ok())
}

/// At most 16 KiB of text that Postgres takes.
fn text(bytes: Vec<u8>) -> String {
    let mut text =
        String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    if text.contains('\0') {
        text = text.replace('\0', "\u{fffd}");
    }
    text.truncate(text.floor_char_boundary(BODY_BYTES_MAX));
    text
}
