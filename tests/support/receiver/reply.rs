//! What a receiver can answer, and how each answer goes over the wire.

use std::{future, io, time::Duration};

use tokio::{io::AsyncWriteExt, time::sleep};

use super::{Received, wire::Connection};

/// An answer, or a way to misbehave. All but [`Reply::Answer`] and the redirects end the connection.
#[derive(Debug, Clone)]
pub enum Reply {
    /// An ordinary answer; Content-Length is added, the connection stays open.
    Answer {
        /// From 100 to 999; nobody checks.
        status: u16,
        /// As they are to be sent.
        headers: Vec<(String, String)>,
        /// Any bytes.
        body: Vec<u8>,
    },
    /// 302 to another URL.
    Redirect(String),
    /// 302 to itself.
    RedirectLoop,
    /// Reads the request and says nothing, for ever.
    Hang,
    /// 200, then a body without end as fast as it is taken.
    EndlessBody,
    /// 200 and a promise of 1,000 bytes, of which one comes at once and one more every second.
    Drip,
    /// 200, then a gzip stream without end that unpacks to 158 times its size.
    GzipBomb,
    /// A status line, then one header without end.
    HugeHeaders,
    /// A status line, then 1,000 small headers and an empty body.
    ManyHeaders,
    /// A status line that never ends, one byte every 50 ms.
    SlowHeaders,
    /// 200 and a promise of 1,000 bytes, then a TCP reset.
    ResetAfterHeaders,
    /// 200 and a promise of 1,000 bytes, then the connection is closed after three.
    BrokenBody,
    /// Closes the connection when the request is read.
    CloseWithoutAnswer,
    /// 100, 102 and 103 in turn, as fast as they are taken, and never an answer.
    InformationalFlood,
    /// 200 with 20,000 bytes that are no UTF-8, a NUL among them.
    InvalidUtf8,
    /// These bytes as they are, then the connection is closed.
    Raw(Vec<u8>),
    /// Another reply, later.
    Delay(Duration, Box<Reply>),
}

impl Reply {
    /// 200 with the body `ok`.
    pub fn ok() -> Self {
        Self::status(200).with_body("ok")
    }

    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: Vec::new() }
    }

    /// The same with one more header; only for [`Reply::Answer`].
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let Self::Answer { headers, .. } = &mut self else { panic!("{self:?} takes no headers") };
        headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with a body; only for [`Reply::Answer`].
    pub fn with_body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        let Self::Answer { body, .. } = &mut self else { panic!("{self:?} takes no body") };
        *body = bytes.into();
        self
    }

    /// `reply` after `delay` of real time.
    pub fn delay(delay: Duration, reply: Reply) -> Self {
        Self::Delay(delay, Box::new(reply))
    }

    /// Writes the reply; whether the connection can take another request.
    pub(super) async fn write(&self, to: &mut Connection, request: &Received) -> io::Result<bool> {
        let mut reply = self;
        while let Self::Delay(delay, later) = reply {
            sleep(*delay).await;
            reply = later;
        }
        match reply {
            Self::Answer { status, headers, body } => return answer(to, *status, headers, body).await,
            Self::Redirect(url) => return redirect(to, url).await,
            Self::RedirectLoop => return redirect(to, &request.path).await,
            Self::Hang => future::pending().await,
            Self::EndlessBody => flood(to, b"HTTP/1.1 200 OK\r\n\r\n", b"All work and no play. ").await,
            Self::GzipBomb => flood(to, BOMB_START, BOMB_GOES_ON).await,
            Self::HugeHeaders => flood(to, b"HTTP/1.1 200 OK\r\nX-Huge: ", b"more and ").await,
            Self::InformationalFlood => flood(to, b"", INFORMATIONAL).await,
            Self::Drip => drip(to, PROMISE, b".", Duration::from_secs(1)).await,
            Self::SlowHeaders => drip(to, b"HTTP/1.1 200 ", b"O", Duration::from_millis(50)).await,
            Self::ManyHeaders => raw(to, many_headers().as_bytes()).await,
            Self::InvalidUtf8 => raw(to, &invalid_utf8()).await,
            Self::BrokenBody => raw(to, &[PROMISE, b"abc"].concat()).await,
            Self::Raw(bytes) => raw(to, bytes).await,
            Self::CloseWithoutAnswer => Ok(()),
            Self::ResetAfterHeaders => reset(to).await,
            Self::Delay(..) => unreachable!("delays were waited for"),
        }?;
        Ok(false)
    }
}

const PROMISE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";

const INFORMATIONAL: &[u8] =
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n";

/// Head, gzip header and the first byte of a deflate block with fixed codes (RFC 1951 3.2.6): one zero byte …
const BOMB_START: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\xff\x62";
/// … and eight times "repeat the last byte 258 times", in 13 bits each.
const BOMB_GOES_ON: &[u8] = b"\x18\x05\xa3\x60\x14\x8c\x82\x51\x30\x0a\x46\xc1\x28";

async fn answer(to: &mut Connection, status: u16, headers: &[(String, String)], body: &[u8]) -> io::Result<bool> {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if status != 204 && status != 304 {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    head += "\r\n";
    to.write_all(head.as_bytes()).await?;
    to.write_all(body).await?;
    to.flush().await?;
    Ok(true)
}

async fn redirect(to: &mut Connection, url: &str) -> io::Result<bool> {
    answer(to, 302, &[("Location".to_owned(), url.to_owned())], b"").await
}

async fn raw(to: &mut Connection, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

/// `start`, then `goes_on` until the client leaves.
async fn flood(to: &mut Connection, start: &[u8], goes_on: &[u8]) -> io::Result<()> {
    raw(to, start).await?;
    let many = goes_on.repeat(1_000);
    loop {
        raw(to, &many).await?;
    }
}

/// `start`, then `byte` at once and once in every `pause`, until the client leaves.
async fn drip(to: &mut Connection, start: &[u8], byte: &[u8], pause: Duration) -> io::Result<()> {
    raw(to, start).await?;
    loop {
        raw(to, byte).await?;
        sleep(pause).await;
    }
}

async fn reset(to: &mut Connection) -> io::Result<()> {
    raw(to, PROMISE).await?;
    // A reset overtakes what is still on its way.
    sleep(Duration::from_millis(50)).await;
    to.get_ref().set_zero_linger()
}

fn many_headers() -> String {
    let headers: String = (0..1_000).map(|n| format!("X-Header-{n}: {n}\r\n")).collect();
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n")
}

fn invalid_utf8() -> Vec<u8> {
    let body = b"\xff\xfe\0\xc3".repeat(5_000);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), &body].concat()
}
