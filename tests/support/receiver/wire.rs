//! Reads HTTP/1.1 requests with Content-Length from a connection; all that the client under test sends.

use std::time::Instant;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufStream},
    net::TcpStream,
};

use super::Received;

/// A connection that reads and writes through buffers.
pub type Connection = BufStream<TcpStream>;

/// Puts buffers around a connection.
pub fn buffered(stream: TcpStream) -> Connection {
    // Without it the second small write of an answer could wait for the client's acknowledgement.
    let _ = stream.set_nodelay(true);
    BufStream::new(stream)
}

/// The next request, or `None` when the client is gone or speaks something else.
pub async fn read(stream: &mut Connection) -> Option<Received> {
    let first = line(stream).await?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let next = line(stream).await?;
        if next.is_empty() {
            break;
        }
        let (name, value) = next.split_once(':')?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Received { at: Instant::now(), method, path, headers, body: Vec::new() };
    let length = request.header("content-length").map_or(Some(0), |length| length.parse().ok())?;
    request.body.resize(length, 0);
    stream.read_exact(&mut request.body).await.ok()?;
    request.at = Instant::now();
    Some(request)
}

async fn line(stream: &mut Connection) -> Option<String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}
