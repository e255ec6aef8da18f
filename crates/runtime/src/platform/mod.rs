//! The outside world, as three traits: a [`Transport`], a [`Clock`], an [`Entropy`] source.
//!
//! Two backends implement them: [`spin`] inside a component (WASI 0.2), [`native`] on tokio for the command line
//! and tests. Futures need not be `Send`: a component has one thread, and a native caller runs them on one.
//!
//! **A transport sends what it is given, once.** It always declares the length of the body (`Content-Length`, `0`
//! included), since Azure refuses requests without one and Spin never sets it. It follows no redirect, repeats nothing and
//! interprets no status: the layer above ([`crate::calls`]) does, and it needs the truth for that.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use oncebus_core::time::{Instant, UnixTime};

#[cfg(feature = "native")]
pub mod native;
#[cfg(feature = "spin")]
pub mod spin;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Nothing was sent: the connection was refused, or the host is not allowed. The server cannot have acted.
    #[error("not sent: {0}")]
    NotSent(String),
    /// Something may have been sent, and no whole answer came back. The server may have acted.
    #[error("no answer: {0}")]
    NoAnswer(String),
}

/// Sends HTTP requests.
pub trait Transport {
    /// Sends a request and collects the answer, whatever its status.
    ///
    /// # Errors
    /// [`TransportError`] says whether the server can have acted. No answer within `limit` is
    /// [`TransportError::NoAnswer`].
    fn send(
        &self,
        request: Request<Bytes>,
        limit: Duration,
    ) -> impl Future<Output = Result<Response<Bytes>, TransportError>>;
}

/// Tells and lets pass time.
pub trait Clock {
    /// The monotonic clock.
    fn now(&self) -> Instant;
    /// The wall clock. Only for signing tokens and making up ids: it decides nothing (the servers' clocks do).
    fn wall(&self) -> UnixTime;
    /// Milliseconds since 1970-01-01 UTC by the wall clock.
    fn wall_millis(&self) -> u64;
    /// Ready after this long. Runs beside requests that are under way.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
}

/// Draws random bytes.
pub trait Entropy {
    /// Fills the buffer with bytes that nobody can predict.
    fn fill(&self, buffer: &mut [u8]);

    /// Eight of them, as a number.
    fn draw(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// All three at once.
pub trait Platform: Transport + Clock + Entropy {}

impl<T: Transport + Clock + Entropy> Platform for T {}

/// Declares the body's length, as every backend must.
#[cfg(any(feature = "native", feature = "spin"))]
pub(crate) fn declare_length(request: &mut Request<Bytes>) {
    let length = http::HeaderValue::from(request.body().len());
    request.headers_mut().insert(http::header::CONTENT_LENGTH, length);
}
