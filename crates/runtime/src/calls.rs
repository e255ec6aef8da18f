//! The one layer that retries.
//!
//! The first question for a call that failed is whether the server can have acted; the second, whether it
//! matters ([`Repeat`]). A retry waits with full jitter, or as long as the server says; it never begins after the
//! deadline that it was given: the end of the request, or of the run. What outlives a lock is refused by its ETag.
//!
//! Conditional writes to storage are repeated here only when nothing was sent. Everything else about them is
//! decided above, by the record protocol, which looks before it repeats.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use oncebus_core::retry::full_jitter;
use oncebus_core::time::Instant;

use crate::platform::{Platform, TransportError};

/// Whether a call may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Whatever happened to it: it reads, or it does the same again.
    Always,
    /// Only when the server cannot have acted.
    IfNotSent,
}

/// Bounds of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Whether it may be repeated.
    pub repeat: Repeat,
    /// The longest that one try may take.
    pub each: Duration,
    /// No try begins after this, and none lasts beyond it.
    pub deadline: Instant,
    /// Whether to wait when the server says that it is too busy, or to hand that to the caller at once.
    pub wait_when_throttled: bool,
}

/// How often a call is tried at the most.
const MAX_TRIES: u32 = 4;
const BACKOFF_BASE: Duration = Duration::from_millis(100);
const BACKOFF_CAP: Duration = Duration::from_secs(2);
/// What Service Bus asks for in its throttling answer (50009), which carries no `Retry-After`.
const THROTTLED_PAUSE: Duration = Duration::from_secs(2);

/// What became of a call, and how many requests it took.
#[derive(Debug)]
pub struct Called {
    /// The last answer, or why there is none.
    pub result: Result<Response<Bytes>, TransportError>,
    /// Requests sent, or tried to be.
    pub tries: u32,
    /// Whether a try before the last may have come through: whatever the last answer says, the server may have acted.
    pub may_have_acted: bool,
}

/// Sends a request, and again while its bounds allow and it helps.
pub async fn call<P: Platform>(platform: &P, request: Request<Bytes>, bounds: Bounds) -> Called {
    let (mut tries, mut may_have_acted) = (0, false);
    loop {
        tries += 1;
        let left = platform.now().until(bounds.deadline);
        if left.is_zero() {
            let result = Err(TransportError::NotSent("the time was up".to_owned()));
            return Called { result, tries: tries - 1, may_have_acted };
        }
        let result = platform.send(request.clone(), bounds.each.min(left)).await;
        let pause = match pause_before_next(&result, bounds, tries, platform.draw()) {
            Some(pause) if tries < MAX_TRIES && platform.now().plus(pause) < bounds.deadline => pause,
            _ => return Called { result, tries, may_have_acted },
        };
        may_have_acted |= is_ambiguous(&result);
        platform.sleep(pause).await;
    }
}

/// How long to wait before the next try; `None` when there is to be none.
fn pause_before_next(
    result: &Result<Response<Bytes>, TransportError>,
    bounds: Bounds,
    tries: u32,
    draw: u64,
) -> Option<Duration> {
    let backoff = full_jitter(tries, BACKOFF_BASE, BACKOFF_CAP, draw);
    match result {
        Err(TransportError::NotSent(_)) => Some(backoff),
        Err(TransportError::NoAnswer(_)) => (bounds.repeat == Repeat::Always).then_some(backoff),
        Ok(response) if bounds.repeat == Repeat::Always => match response.status() {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                bounds.wait_when_throttled.then(|| retry_after(response).unwrap_or(THROTTLED_PAUSE).max(backoff))
            }
            StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT
            | StatusCode::REQUEST_TIMEOUT => Some(backoff),
            _ => None,
        },
        Ok(_) => None,
    }
}

/// Whether the server may have acted, of a try that is followed by another.
fn is_ambiguous(result: &Result<Response<Bytes>, TransportError>) -> bool {
    match result {
        Err(TransportError::NotSent(_)) => false,
        Err(TransportError::NoAnswer(_)) => true,
        Ok(response) => !matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn retry_after(response: &Response<Bytes>) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;

    use futures_executor::block_on;
    use oncebus_core::time::UnixTime;

    use super::*;
    use crate::platform::{Clock, Entropy, Transport};

    /// A server that answers from a list, and a clock that only sleeping moves.
    #[derive(Default)]
    struct Scripted {
        answers: RefCell<VecDeque<Result<u16, TransportError>>>,
        now: Cell<Duration>,
    }

    impl Transport for Scripted {
        async fn send(&self, _: Request<Bytes>, _: Duration) -> Result<Response<Bytes>, TransportError> {
            let status = self.answers.borrow_mut().pop_front().expect("one more request than answers")?;
            Ok(Response::builder().status(status).body(Bytes::new()).unwrap())
        }
    }

    impl Clock for Scripted {
        fn now(&self) -> Instant {
            Instant(self.now.get())
        }
        fn wall(&self) -> UnixTime {
            UnixTime(0)
        }
        fn wall_millis(&self) -> u64 {
            0
        }
        async fn sleep(&self, duration: Duration) {
            self.now.set(self.now.get() + duration);
        }
    }

    impl Entropy for Scripted {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(0xff);
        }
    }

    fn not_sent() -> Result<u16, TransportError> {
        Err(TransportError::NotSent(String::new()))
    }

    fn no_answer() -> Result<u16, TransportError> {
        Err(TransportError::NoAnswer(String::new()))
    }

    fn tries(repeat: Repeat, answers: Vec<Result<u16, TransportError>>) -> u32 {
        let server = Scripted { answers: RefCell::new(answers.into()), ..Scripted::default() };
        let deadline = Instant(Duration::from_secs(10));
        let bounds = Bounds { repeat, each: Duration::from_secs(1), deadline, wait_when_throttled: true };
        let called = block_on(call(&server, Request::new(Bytes::new()), bounds));
        assert!(server.answers.borrow().is_empty(), "fewer requests than answers");
        called.tries
    }

    #[test]
    fn only_what_the_server_cannot_have_done_is_repeated_by_every_call() {
        assert_eq!(tries(Repeat::IfNotSent, vec![not_sent(), Ok(201)]), 2);
        assert_eq!(tries(Repeat::IfNotSent, vec![no_answer()]), 1);
        assert_eq!(tries(Repeat::IfNotSent, vec![Ok(500)]), 1);
        assert_eq!(tries(Repeat::IfNotSent, vec![Ok(503)]), 1);
    }

    #[test]
    fn a_harmless_call_is_repeated_until_it_has_an_answer() {
        assert_eq!(tries(Repeat::Always, vec![no_answer(), Ok(500), Ok(503), Ok(200)]), 4);
        assert_eq!(tries(Repeat::Always, vec![Ok(404)]), 1);
        assert_eq!(tries(Repeat::Always, vec![no_answer(), no_answer(), no_answer(), no_answer()]), 4);
    }

    #[test]
    fn an_earlier_try_that_may_have_come_through_is_not_forgotten() {
        for (first, expected) in [(no_answer(), true), (Ok(500), true), (Ok(503), false), (not_sent(), false)] {
            let server = Scripted { answers: RefCell::new(vec![first, Ok(400)].into()), ..Scripted::default() };
            let deadline = Instant(Duration::from_secs(10));
            let bounds =
                Bounds { repeat: Repeat::Always, each: Duration::from_secs(1), deadline, wait_when_throttled: true };
            assert_eq!(block_on(call(&server, Request::new(Bytes::new()), bounds)).may_have_acted, expected);
        }
    }

    #[test]
    fn no_try_begins_after_the_deadline() {
        let server = Scripted { answers: RefCell::new(vec![Ok(503)].into()), ..Scripted::default() };
        let deadline = Instant(Duration::from_secs(1));
        let bounds =
            Bounds { repeat: Repeat::Always, each: Duration::from_secs(1), deadline, wait_when_throttled: true };
        assert_eq!(block_on(call(&server, Request::new(Bytes::new()), bounds)).tries, 1);
    }
}
