//! Response bodies, framed as the services frame them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::casing::Names;

/// A body in one piece.
#[derive(Debug)]
pub(crate) struct Payload {
    bytes: Option<Bytes>,
    framing: Framing,
    /// How the names of the answer's headers are written, if not in lower case.
    pub(crate) names: Option<Names>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Chunked,
    Sized,
    None,
}

impl Payload {
    /// `Transfer-Encoding: chunked`, even when there is nothing in it.
    pub(crate) fn chunked(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: Some(bytes.into()), framing: Framing::Chunked, names: None }
    }

    /// `Content-Length`, `0` included.
    pub(crate) fn sized(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: Some(bytes.into()), framing: Framing::Sized, names: None }
    }

    /// No body at all; the headers may still speak of one, as in answers to HEAD.
    pub(crate) fn none() -> Self {
        Self { bytes: None, framing: Framing::None, names: None }
    }

    /// The same, in an answer whose headers are named so.
    pub(crate) fn named(self, names: Names) -> Self {
        Self { names: Some(names), ..self }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = self.bytes.take().filter(|bytes| !bytes.is_empty());
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        // A body that is known to be over has no framing headers; hyper then drops a Content-Length of 0
        // from a 204, and answers with one where the service has chunks.
        self.framing == Framing::None
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.bytes.as_ref().map_or(0, Bytes::len);
        match self.framing {
            Framing::Chunked => SizeHint::default(),
            Framing::Sized | Framing::None => SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX)),
        }
    }
}
