//! A connection that gives way after every read, so that a receiver that floods us shares the thread with the others.
//!
//! Without it a single poll of hyper's connection may read and parse megabytes: tokio counts reads, not what they cost.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

use super::connect::CertificateEnd;

/// Reads at most once in a poll; writes as the stream inside does.
#[derive(Debug)]
pub struct Paced<T> {
    inner: T,
    has_just_read: bool,
    certificate: Option<CertificateEnd>,
}

impl<T> Paced<T> {
    /// Paces `inner`, whose answers are to carry when the other end's certificate ends.
    pub fn new(inner: T, certificate: Option<CertificateEnd>) -> Self {
        Self { inner, has_just_read: false, certificate }
    }
}

impl<T: Read + Unpin> Read for Paced<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.has_just_read {
            self.has_just_read = false;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.has_just_read = read.is_ready();
        read
    }
}

impl<T: Write + Unpin> Write for Paced<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }
}

impl<T: Connection> Connection for Paced<T> {
    fn connected(&self) -> Connected {
        let connected = self.inner.connected();
        match self.certificate {
            Some(end) => connected.extra(end),
            None => connected,
        }
    }
}
