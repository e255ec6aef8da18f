//! A connection as hyper sees it, with one word changed: what hyper answers on its own account.
//!
//! A request that cannot be read never reaches a handler: hyper answers it alone, with a bare status, or not
//! at all. This layer knows such an answer: it begins when no handler has a request, and it lacks what every
//! answer of ours has, a `server`. It is withheld, and when hyper is done with the connection
//! [`refusal`] says what the client is told instead, in the service's own words.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::line::{Line, State, Turn};
use crate::time::UnixMillis;

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

/// The refusal that a client is owed when hyper is done with its connection: for what hyper answered itself,
/// and for bytes that it left without an answer.
pub(super) fn refusal<S>(line: &Line<S>, ended: &hyper::Result<()>) -> Option<StatusCode> {
    let state = line.lock();
    if state.withheld.is_some() {
        return state.withheld;
    }
    match ended {
        Err(error) if state.turn == Turn::Head => {
            let is_late = error.is_timeout();
            Some(if is_late { StatusCode::REQUEST_TIMEOUT } else { StatusCode::BAD_REQUEST })
        }
        _ => None,
    }
}

/// A connection.
pub(super) struct Wire<S>(Arc<Line<S>>);

impl<S> Wire<S> {
    pub(super) fn new(line: Arc<Line<S>>) -> Self {
        Self(line)
    }
}

/// Whether bytes that hyper writes are to be kept from the client.
fn withholds<S>(state: &mut State<S>, bytes: &[u8]) -> bool {
    match state.turn {
        // An interim answer at most, which asks for the body.
        Turn::Handler => {}
        Turn::Answer => state.turn = Turn::Writing,
        Turn::Idle | Turn::Head => {
            state.turn = Turn::Writing;
            state.withheld = own_status(bytes);
        }
        // Whatever follows on the first bytes of an answer may look like anything.
        Turn::Writing => {}
    }
    state.withheld.is_some()
}

/// The status of an answer that no handler wrote.
fn own_status(head: &[u8]) -> Option<StatusCode> {
    let rest = head.strip_prefix(b"HTTP/1.1 4").or_else(|| head.strip_prefix(b"HTTP/1.0 4"))?;
    let has = |text: &[u8]| rest.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text));
    if has(b"\r\nserver: ") || !has(b"\r\ncontent-length: 0\r\n") {
        return None;
    }
    let code = head.get(9..12)?;
    StatusCode::from_bytes(code).ok()
}

impl<S: AsyncRead + Unpin> Read for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if !state.ahead.is_empty() {
            let length = state.ahead.len().min(buffer.remaining());
            buffer.put_slice(&state.ahead.split_to(length));
        } else if state.turn == Turn::Idle {
            // hyper's buffer does not tell afterwards whether anything was read.
            let mut space = [const { MaybeUninit::uninit() }; 8 * 1024];
            let length = space.len().min(buffer.remaining());
            let mut read = ReadBuf::uninit(space.get_mut(..length).unwrap_or_default());
            ready!(Pin::new(state.stream.inner_mut()).poll_read(cx, &mut read))?;
            buffer.put_slice(read.filled());
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        } else {
            return Pin::new(&mut state.stream).poll_read(cx, buffer);
        }
        if state.turn == Turn::Idle {
            state.turn = Turn::Head;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        if withholds(&mut state, bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut state.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        if withholds(&mut state, slices.first().map_or(&[], |first| first)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        Pin::new(&mut state.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        ready!(Pin::new(&mut state.stream).poll_flush(cx))?;
        // hyper flushes when it has nothing more to write: the answer is complete.
        if state.turn == Turn::Writing {
            state.turn = Turn::Idle;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if state.withheld.is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut state.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    const OWN: &[u8] =
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

    #[test]
    fn an_answer_of_ours_is_never_taken_for_hypers() {
        assert_eq!(own_status(OWN), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        let ours = b"HTTP/1.1 404 Not Found\r\nserver: Microsoft-HTTPAPI/2.0\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(own_status(ours), None);
        let success = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(own_status(success), None);
    }

    #[tokio::test]
    async fn only_the_beginning_of_an_answer_without_a_request_is_withheld() {
        let (near, mut far) = tokio::io::duplex(1024);
        let line = Arc::new(Line::new(near));
        let mut wire = Wire::new(Arc::clone(&line));
        let mut sent = Vec::new();
        // A message may quote an answer of hyper's, and a write may end just before it; even a head that
        // lacks everything is a handler's, when a handler answered.
        line.turn(Turn::Answer);
        for bytes in [OWN, b"HTTP/1.1 200 OK\r\n\r\n", OWN] {
            let written = poll_fn(|cx| Pin::new(&mut wire).poll_write(cx, bytes)).await.unwrap();
            assert_eq!(written, bytes.len());
            sent.extend_from_slice(bytes);
        }
        poll_fn(|cx| Pin::new(&mut wire).poll_flush(cx)).await.unwrap();
        let written = poll_fn(|cx| Pin::new(&mut wire).poll_write(cx, OWN)).await.unwrap();
        assert_eq!(written, OWN.len());
        assert_eq!(refusal(&line, &Ok(())), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        drop((wire, line));
        let mut seen = Vec::new();
        far.read_to_end(&mut seen).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&seen), String::from_utf8_lossy(&sent));
    }
}
