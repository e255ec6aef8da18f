//! A connection's socket, in the hands of two: of hyper, and of whoever waits on the client's behalf.
//!
//! hyper looks for the end of a connection only while it has nothing of the client in its buffer. A single byte
//! behind a request, of the next one or a stray line feed, and a client that goes away is not noticed before
//! the answer is written: its long poll would take a message for nobody. So a handler that waits reads on by
//! itself, through [`Peer`]. What it finds is kept for hyper, which gets it first when it reads again.
//!
//! The line also knows whose turn it is. That tells an answer that hyper writes on its own account from one of
//! a handler's, bytes that were never answered from an idle connection, and the beginning of a head from whatever
//! looks like one. See [`super::wire`] for what follows from that.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::StatusCode;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::casing::Names;

/// What a client may send ahead of the answer that it waits for. One that sends more is taken to be gone:
/// its end could not be seen behind it. Ahead of answers that nobody waits for there is no such limit.
const AHEAD: usize = 256 * 1024;

/// How long a client may take to notice that it was refused.
const LINGER: Duration = Duration::from_secs(2);

/// Buffers up to this size are kept for the next call.
const KEPT: usize = 4 * 1024;

/// An extension of requests: the client at the other end.
#[derive(Clone)]
pub(crate) struct Peer(Arc<dyn Watched>);

impl Peer {
    pub(super) fn of<S: AsyncRead + Unpin + Send + 'static>(line: &Arc<Line<S>>) -> Self {
        Self(Arc::<Line<S>>::clone(line))
    }

    /// Returns when the client has closed its side, and not before. Only for whoever has read the request's
    /// body: the end may stand behind it.
    pub(crate) async fn gone(&self) {
        poll_fn(|cx| self.0.poll_gone(cx)).await;
    }

    /// Takes the request's head as the client wrote it, perhaps with something behind it. Nothing, when the client
    /// did not wait for the answer to an earlier request.
    pub(crate) fn head(&self) -> Vec<u8> {
        self.0.take_head()
    }
}

/// A line of any kind of stream.
trait Watched: Send + Sync {
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()>;
    fn take_head(&self) -> Vec<u8>;
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The client's, and it is silent.
    Idle,
    /// The client's, and something of a request has come.
    Head,
    /// A handler has a request.
    Handler,
    /// A handler's answer is ready to be written.
    Answer,
    /// The first bytes of an answer were written, and others may follow.
    Writing,
}

/// A socket and what is known of it.
pub(super) struct Line<S>(Mutex<State<S>>);

pub(super) struct State<S> {
    pub(super) stream: TokioIo<S>,
    /// What was read while a handler waited, and hyper has not seen.
    pub(super) ahead: BytesMut,
    is_gone: bool,
    pub(super) turn: Turn,
    /// What was read of a request before a handler had it.
    pub(super) head: Vec<u8>,
    /// How names are written in the answer that is next, if not in lower case.
    pub(super) names: Option<Names>,
    /// Whether something of an earlier answer is yet to be written before it.
    pub(super) is_behind: bool,
    /// The beginning of the answer in hand as it is written, and how much of it was.
    pub(super) out: Vec<u8>,
    pub(super) sent: usize,
    /// The status of an answer of hyper's own, which was kept from the client.
    pub(super) withheld: Option<StatusCode>,
}

impl<S> Line<S> {
    pub(super) fn new(stream: S) -> Self {
        let (stream, ahead) = (TokioIo::new(stream), BytesMut::new());
        Self(Mutex::new(State {
            stream,
            ahead,
            is_gone: false,
            turn: Turn::Idle,
            head: Vec::new(),
            names: None,
            is_behind: false,
            out: Vec::new(),
            sent: 0,
            withheld: None,
        }))
    }

    /// Nobody else waits for this lock: all who use a line are polled by its connection's task.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets an answer of hyper's own, and lets the next hyper have what this one could not read.
    pub(super) fn read_again(&self, head: &[u8]) {
        let mut state = self.lock();
        let behind = std::mem::replace(&mut state.ahead, BytesMut::from(head));
        state.ahead.extend_from_slice(&behind);
        (state.turn, state.withheld) = (Turn::Idle, None);
    }

    /// A handler has a request.
    pub(super) fn asks(&self) {
        let mut state = self.lock();
        state.is_behind = state.turn == Turn::Writing;
        state.turn = Turn::Handler;
    }

    /// A handler's answer is ready to be written, with its names written so.
    pub(super) fn answers(&self, names: Option<Names>) {
        let mut state = self.lock();
        (state.turn, state.names) = (Turn::Answer, names);
        state.head.clear();
        state.head.shrink_to(KEPT);
    }
}

impl<S> State<S> {
    /// Notes what was read, where it may be of a head.
    pub(super) fn note(&mut self, read: &[u8]) {
        if self.turn == Turn::Idle {
            self.head.clear();
            self.turn = Turn::Head;
        }
        if self.turn == Turn::Head {
            self.head.extend_from_slice(read);
        }
    }

    /// Notes that so many bytes of the prepared ones were written.
    pub(super) fn note_sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.out.len() {
            self.sent = 0;
            self.out.clear();
            self.out.shrink_to(KEPT);
        }
    }
}

impl<S: AsyncRead + Unpin + Send> Watched for Line<S> {
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let mut space = [const { MaybeUninit::uninit() }; 4096];
        while !state.is_gone {
            let mut buffer = ReadBuf::uninit(&mut space);
            match Pin::new(state.stream.inner_mut()).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    state.ahead.extend_from_slice(buffer.filled());
                    state.is_gone = state.ahead.len() > AHEAD;
                }
                Poll::Ready(_) => state.is_gone = true,
            }
        }
        Poll::Ready(())
    }

    fn take_head(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock().head)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// Writes the last answer of a connection and closes it. Then it lingers: what the client still sends is
    /// read and dropped for a moment, so that closing does not reset the connection before the answer is seen.
    pub(super) async fn refuse(&self, mut answer: Bytes) {
        let all = async {
            while !answer.is_empty() {
                let written = poll_fn(|cx| Pin::new(self.lock().stream.inner_mut()).poll_write(cx, &answer)).await?;
                if written == 0 {
                    return Err(std::io::ErrorKind::WriteZero.into());
                }
                answer.advance(written);
            }
            poll_fn(|cx| Pin::new(self.lock().stream.inner_mut()).poll_shutdown(cx)).await?;
            while poll_fn(|cx| self.poll_waste(cx)).await? > 0 {}
            Ok(())
        };
        let done: Result<std::io::Result<()>, _> = tokio::time::timeout(LINGER, all).await;
        if let Ok(Err(error)) = done {
            tracing::debug!(%error, "a refusal was not seen to its end");
        }
    }

    fn poll_waste(&self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let mut space = [const { MaybeUninit::uninit() }; 4096];
        let mut buffer = ReadBuf::uninit(&mut space);
        let read = Pin::new(self.lock().stream.inner_mut()).poll_read(cx, &mut buffer);
        read.map_ok(|()| buffer.filled().len())
    }
}
