//! Bodies, read no further than they may go.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::select;
use futures::{Stream, StreamExt as _};
use oncebus_core::ingest::entry::too_large;
use oncebus_core::problem::{Kind, Problem};
use oncebus_runtime::platform::Clock;

/// How much of a body that nobody wants is read before the answer.
const DISCARD_BYTES: usize = 8 * 1024 * 1024;
/// For how long.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// A body on its way to what a path does with it.
#[derive(Debug)]
pub enum Body<S> {
    /// As it comes.
    Live(S),
    /// Read before, to be handed on in one piece.
    Read(Option<Bytes>),
}

impl<S, E> Stream for Body<S>
where
    S: Stream<Item = Result<Vec<u8>, E>> + Unpin,
{
    type Item = Result<Vec<u8>, E>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Self::Live(stream) => Pin::new(stream).poll_next(context),
            Self::Read(body) => Poll::Ready(body.take().map(|body| Ok(body.into()))),
        }
    }
}

/// Reads a body whole.
///
/// `declared` is its `Content-Length`: a body that is declared too large is not read at all, one that turns out so is
/// not read further, and one that is shorter than declared was cut off on its way and is no message.
///
/// # Errors
/// It is too large, or broke off.
pub async fn read<S, E>(stream: S, declared: Option<u64>, limit: usize) -> Result<Bytes, Problem>
where
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    if let Some(length) = declared.map(|length| usize::try_from(length).unwrap_or(usize::MAX))
        && length > limit
    {
        return Err(too_large(Some(length), limit, "the body"));
    }
    let mut stream = pin!(stream);
    // As large as it is said to be: a buffer that grows is there twice while it does.
    let mut body = BytesMut::with_capacity(declared.and_then(|length| usize::try_from(length).ok()).unwrap_or(0));
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| broken_off())?;
        if body.len().saturating_add(chunk.len()) > limit {
            return Err(too_large(None, limit, "the body"));
        }
        body.extend_from_slice(&chunk);
    }
    if declared.is_some_and(|length| usize::try_from(length) != Ok(body.len())) {
        return Err(broken_off());
    }
    Ok(body.freeze())
}

/// Reads what is left of a body, and keeps nothing of it.
///
/// A client that is still writing when its answer comes and the connection closes sees a reset in place of the answer. Measured over
/// loopback: one in eight refusals of a body of 1 MB, and every one of 5 MB. So a refusal waits for the rest, as far as
/// that is likely to end.
pub async fn discard<S, E>(clock: &impl Clock, stream: S, declared: Option<u64>)
where
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    if declared.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > DISCARD_BYTES)) {
        return;
    }
    let rest = async {
        let mut stream = pin!(stream);
        let mut read = 0_usize;
        while let Some(Ok(chunk)) = stream.next().await {
            read = read.saturating_add(chunk.len());
            if read > DISCARD_BYTES {
                break;
            }
        }
    };
    select(pin!(rest), pin!(clock.sleep(DISCARD_TIME))).await;
}

/// A body that ended before its end.
pub(crate) fn broken_off() -> Problem {
    Problem::new(Kind::Malformed, "the body broke off before its end")
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use futures_executor::block_on;

    use super::*;

    fn read_all(chunks: &[Result<&str, ()>], declared: Option<u64>) -> Result<Bytes, Kind> {
        let chunks: Vec<Result<Vec<u8>, ()>> =
            chunks.iter().map(|chunk| chunk.map(|text| text.as_bytes().to_vec())).collect();
        block_on(read(stream::iter(chunks), declared, 5)).map_err(|problem| problem.kind)
    }

    #[test]
    fn a_body_is_read_whole() {
        assert_eq!(read_all(&[Ok("ab"), Ok(""), Ok("cde")], None).as_deref(), Ok(b"abcde".as_slice()));
        assert_eq!(read_all(&[], Some(0)).as_deref(), Ok(b"".as_slice()));
    }

    #[test]
    fn an_endless_body_is_not_read_further_than_the_limit() {
        let endless = stream::repeat_with(|| Ok::<_, ()>(vec![b'x'; 3]));
        assert_eq!(block_on(read(endless, None, 1_000)).unwrap_err().kind, Kind::TooLarge);
    }

    #[test]
    fn a_body_that_is_declared_too_large_is_not_read_at_all() {
        let untouched = stream::poll_fn(|_| -> std::task::Poll<Option<Result<Vec<u8>, ()>>> { panic!("was read") });
        assert_eq!(block_on(read(untouched, Some(u64::MAX), 5)).unwrap_err().kind, Kind::TooLarge);
    }

    #[test]
    fn half_a_body_is_no_message() {
        assert_eq!(read_all(&[Ok("ab"), Err(())], None), Err(Kind::Malformed));
        assert_eq!(read_all(&[Ok("ab")], Some(3)), Err(Kind::Malformed));
    }
}
