//! Inside a component: spin-sdk 5.2 on WASI 0.2.
//!
//! One thread, an instance per request. The executor of the SDK polls what is registered with it; a timer
//! registers a pollable of the monotonic clock, so that it runs beside requests.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use http::{Request, Response};
use oncebus_core::time::{Instant, UnixTime};
use spin_executor::{CancelOnDropToken, push_waker_and_get_token};
use spin_sdk::http::{ErrorCode, SendError};
use wasi::clocks::{monotonic_clock, wall_clock};

use super::{Clock, Entropy, Transport, TransportError, declare_length};

/// The platform that Spin gives to a component.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spin;

impl Transport for Spin {
    async fn send(&self, mut request: Request<Bytes>, limit: Duration) -> Result<Response<Bytes>, TransportError> {
        declare_length(&mut request);
        let sent = pin!(spin_sdk::http::send::<_, Response<Bytes>>(request.map(Vec::from)));
        match select(sent, pin!(self.sleep(limit))).await {
            Either::Left((answer, _)) => answer.map_err(|error| translate(&error)),
            Either::Right(_) => Err(TransportError::NoAnswer(format!("nothing within {} ms", limit.as_millis()))),
        }
    }
}

fn translate(error: &SendError) -> TransportError {
    match error {
        SendError::RequestConversion(cause) => TransportError::NotSent(cause.to_string()),
        SendError::Http(
            code @ (ErrorCode::HttpRequestDenied
            | ErrorCode::ConnectionRefused
            | ErrorCode::ConnectionTimeout
            | ErrorCode::DestinationNotFound
            | ErrorCode::DestinationUnavailable
            | ErrorCode::DestinationIpProhibited
            | ErrorCode::DestinationIpUnroutable
            | ErrorCode::DnsTimeout
            | ErrorCode::DnsError(_)
            | ErrorCode::TlsProtocolError
            | ErrorCode::TlsCertificateError),
        ) => TransportError::NotSent(code.to_string()),
        SendError::Http(code) => TransportError::NoAnswer(code.to_string()),
        SendError::Io(cause) => TransportError::NoAnswer(cause.to_string()),
        SendError::ResponseConversion(cause) => TransportError::NoAnswer(cause.to_string()),
    }
}

impl Clock for Spin {
    fn now(&self) -> Instant {
        Instant(Duration::from_nanos(monotonic_clock::now()))
    }

    fn wall(&self) -> UnixTime {
        UnixTime(wall_clock::now().seconds)
    }

    fn wall_millis(&self) -> u64 {
        let now = wall_clock::now();
        now.seconds.saturating_mul(1_000).saturating_add(u64::from(now.nanoseconds / 1_000_000))
    }

    async fn sleep(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let due = monotonic_clock::now().saturating_add(nanoseconds);
        // Held while waiting: a timer that is dropped takes its pollable off the executor's list.
        let mut registration: Option<CancelOnDropToken> = None;
        poll_fn(|context| {
            drop(registration.take());
            if monotonic_clock::now() >= due {
                return Poll::Ready(());
            }
            let pollable = monotonic_clock::subscribe_instant(due);
            registration = Some(push_waker_and_get_token(pollable, context.waker().clone()).into());
            Poll::Pending
        })
        .await;
    }
}

impl Entropy for Spin {
    fn fill(&self, buffer: &mut [u8]) {
        let drawn = wasi::random::random::get_random_bytes(u64::try_from(buffer.len()).unwrap_or(0));
        for (slot, byte) in buffer.iter_mut().zip(drawn) {
            *slot = byte;
        }
    }
}
