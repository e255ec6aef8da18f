//! A connection as hyper sees it, with one word changed: what hyper answers on its own account.
//!
//! A request that cannot be read never reaches a handler: hyper answers it alone, with a bare status. This
//! layer knows that answer by what it lacks — every answer of ours names its `server` — and sends the
//! service's own refusal in its place. Then it lingers: what the client still sends is read and dropped for
//! a moment, so that closing does not reset the connection before the refusal is seen.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;

use super::server::Handler;
use crate::time::UnixMillis;

/// How long a client may take to notice that it was refused.
const LINGER: Duration = Duration::from_secs(2);

/// That a request cannot be read, in a service's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nonsense {
    pub(crate) content_type: &'static str,
    pub(crate) server: &'static str,
    pub(crate) body: String,
}

impl Nonsense {
    /// The answer as it stands on the wire.
    pub(crate) fn response(&self, status: StatusCode, now: UnixMillis) -> Bytes {
        let Self { content_type, server, body } = self;
        let reason = status.canonical_reason().unwrap_or_default();
        let text = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {content_type}\r\nServer: {server}\r\nDate: {}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            status.as_u16(),
            now.http_date(),
            body.len(),
        );
        text.into()
    }
}

/// A connection.
pub(crate) struct Wire<S, H> {
    stream: TokioIo<S>,
    handler: Arc<H>,
    /// What is left to write of a refusal.
    refusal: Option<Bytes>,
    /// Runs once a refusal was written.
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S, H: Handler> Wire<S, H> {
    pub(crate) fn new(stream: S, handler: Arc<H>) -> Self {
        Self { stream: TokioIo::new(stream), handler, refusal: None, linger: None }
    }

    /// Takes hyper's own answer for what it is.
    fn replaces(&mut self, head: &[u8]) -> bool {
        let Some(status) = own_status(head) else { return false };
        self.refusal = Some(self.handler.nonsense(status).response(status, self.handler.time()));
        true
    }
}

/// The status of an answer that no handler wrote.
fn own_status(head: &[u8]) -> Option<StatusCode> {
    let rest = head.strip_prefix(b"HTTP/1.1 4").or_else(|| head.strip_prefix(b"HTTP/1.0 4"))?;
    let has = |text: &[u8]| rest.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text));
    if has(b"\r\nserver: ") || has(b"\r\nServer: ") || !has(b"\r\ncontent-length: 0\r\n") {
        return None;
    }
    let code = head.get(9..12)?;
    StatusCode::from_bytes(code).ok()
}

impl<S: AsyncRead + AsyncWrite + Unpin, H: Handler> Wire<S, H> {
    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(refusal) = &mut self.refusal {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, refusal))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            refusal.advance(written);
            if refusal.is_empty() {
                self.refusal = None;
                self.linger = Some(Box::pin(tokio::time::sleep(LINGER)));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(linger) = &mut self.linger else { return Poll::Ready(()) };
        let mut waste = [0; 4096];
        loop {
            if linger.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = tokio::io::ReadBuf::new(&mut waste);
            match Pin::new(self.stream.inner_mut()).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, H: Handler> Read for Wire<S, H> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, H: Handler> Write for Wire<S, H> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.replaces(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.first().is_some_and(|first| self.replaces(first)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        ready!(self.poll_linger(cx));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_ours_is_never_taken_for_hypers() {
        let own = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(own_status(own), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        let ours = b"HTTP/1.1 404 Not Found\r\nserver: Microsoft-HTTPAPI/2.0\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(own_status(ours), None);
        let success = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(own_status(success), None);
    }
}
