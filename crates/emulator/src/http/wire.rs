//! A connection as hyper sees it, with two things changed: what hyper answers on its own account, and how
//! header names are written (see [`super::casing`]).
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

/// Copies the beginning of an answer to where its names can be written anew: its head, which comes in one
/// piece, and what more of it is small.
fn prepare<S>(state: &mut State<S>, slices: &[io::IoSlice<'_>]) {
    /// Bytes. What is copied is written in one piece, which is faster than in many.
    const SMALL: usize = 16 * 1024;
    let begins = state.turn == Turn::Answer && !state.is_behind;
    let Some(names) = state.names.take().filter(|_| begins) else { return };
    for slice in slices {
        if !state.out.is_empty() && state.out.len() + slice.len() > SMALL {
            break;
        }
        state.out.extend_from_slice(slice);
    }
    names.write_into(&mut state.out);
}

impl<S: AsyncRead + Unpin> Read for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if !state.ahead.is_empty() {
            let length = state.ahead.len().min(buffer.remaining());
            let ahead = state.ahead.split_to(length);
            state.note(&ahead);
            buffer.put_slice(&ahead);
        } else if matches!(state.turn, Turn::Idle | Turn::Head) {
            // hyper's buffer does not tell afterwards what was read.
            let mut space = [const { MaybeUninit::uninit() }; 8 * 1024];
            let length = space.len().min(buffer.remaining());
            let mut read = ReadBuf::uninit(space.get_mut(..length).unwrap_or_default());
            ready!(Pin::new(state.stream.inner_mut()).poll_read(cx, &mut read))?;
            buffer.put_slice(read.filled());
            if !read.filled().is_empty() {
                state.note(read.filled());
            }
        } else {
            return Pin::new(&mut state.stream).poll_read(cx, buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        prepare(&mut state, slices);
        if withholds(&mut state, slices.first().map_or(&[], |first| first)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let State { stream, out, sent, .. } = &mut *state;
        match out.get(*sent..).filter(|prepared| !prepared.is_empty()) {
            // hyper takes it for its own bytes, and goes on behind what was written.
            Some(prepared) => {
                let written = ready!(Pin::new(stream).poll_write(cx, prepared))?;
                state.note_sent(written);
                Poll::Ready(Ok(written))
            }
            None => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        ready!(Pin::new(&mut state.stream).poll_flush(cx))?;
        // hyper flushes when it has nothing more to write: the answer is complete.
        state.is_behind = false;
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
    use crate::http::casing::Names;

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
        line.answers(None);
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

    /// What a client sees of an answer that hyper writes in pieces of any size.
    async fn seen(slices: &[&[u8]], room: usize) -> String {
        let (near, mut far) = tokio::io::duplex(room);
        let line = Arc::new(Line::new(near));
        let mut wire = Wire::new(Arc::clone(&line));
        line.asks();
        line.answers(Some(Names::default()));
        let write = async move {
            let mut left = slices.concat();
            let mut lengths: Vec<usize> = slices.iter().map(|slice| slice.len()).collect();
            while !left.is_empty() {
                let mut rest = &*left;
                let io: Vec<io::IoSlice<'_>> = lengths
                    .iter()
                    .map(|length| {
                        let (slice, behind) = rest.split_at(*length);
                        rest = behind;
                        io::IoSlice::new(slice)
                    })
                    .collect();
                let mut written = poll_fn(|cx| Pin::new(&mut wire).poll_write_vectored(cx, &io)).await.unwrap();
                left.drain(..written);
                for length in &mut lengths {
                    let part = written.min(*length);
                    (*length, written) = (*length - part, written - part);
                }
            }
            drop((wire, line));
        };
        let mut seen = Vec::new();
        let (_, read) = tokio::join!(write, far.read_to_end(&mut seen));
        read.unwrap();
        String::from_utf8(seen).unwrap()
    }

    #[tokio::test]
    async fn names_are_written_anew_however_an_answer_is_written() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: x\r\nlocation: date: \r\n\r\n";
        let body = b"5\r\ndate:\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ndate: x\r\n\r\n";
        let large = vec![b'x'; 20_000];
        for room in [1, 7, 64, 4096] {
            for slices in [vec![&head[..], &body[..]], vec![&head[..], &large, &body[..]], vec![&head[..]]] {
                let expected = String::from_utf8(slices.concat()).unwrap();
                let expected = expected.replacen("content-type", "Content-Type", 1).replacen("location", "Location", 1);
                assert_eq!(seen(&slices, room).await, expected, "{room}");
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_taken_for_a_head_behind_an_answer_that_is_not_written_yet() {
        let (near, mut far) = tokio::io::duplex(1024);
        let line = Arc::new(Line::new(near));
        let mut wire = Wire::new(Arc::clone(&line));
        let quoted = b"HTTP/1.1 200 OK\r\ndate: x\r\n\r\n";
        line.asks();
        line.answers(Some(Names::default()));
        poll_fn(|cx| Pin::new(&mut wire).poll_write(cx, b"HTTP/1.1 200 OK\r\ndate: 1\r\n\r\n")).await.unwrap();
        // The next is answered while the first, whose body looks like a head, is still being written.
        line.asks();
        line.answers(Some(Names::default()));
        poll_fn(|cx| Pin::new(&mut wire).poll_write(cx, quoted)).await.unwrap();
        poll_fn(|cx| Pin::new(&mut wire).poll_flush(cx)).await.unwrap();
        line.asks();
        line.answers(Some(Names::default()));
        poll_fn(|cx| Pin::new(&mut wire).poll_write(cx, quoted)).await.unwrap();
        drop((wire, line));
        let mut seen = String::new();
        far.read_to_string(&mut seen).await.unwrap();
        let found: Vec<&str> = seen.lines().filter(|line| line.contains(": ")).collect();
        assert_eq!(found, ["Date: 1", "date: x", "Date: x"]);
    }
}
