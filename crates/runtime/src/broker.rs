//! Service Bus, as the handler and ingest use it.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use oncebus_azure::batch::Batch;
use oncebus_azure::connection::ServiceBusConnection;
use oncebus_azure::servicebus::{ServiceBus, ServiceBusError, parse_peek_lock, parse_sent, parse_settled};
use oncebus_core::message::{Delivery, LockRef, Outgoing};
use oncebus_core::time::{Instant, UnixTime, parse_http_date};

use crate::calls::{Bounds, Called, Repeat, call};
use crate::failure::Failure;
use crate::platform::Platform;

/// The longest that one request may take, its own waiting for a message not counted.
const EACH: Duration = Duration::from_secs(10);

/// How long a signed token is good for: an hour more than any run or request takes, for a clock of ours that is an hour slow
/// signs what is an hour old.
const TOKEN_LIFETIME: Duration = Duration::from_secs(2 * 3_600);

/// Service Bus behind one credential.
#[derive(Debug)]
pub struct Broker<'p, P> {
    platform: &'p P,
    service: ServiceBus,
    /// Scheme, host and port.
    origin: String,
}

/// What came of a call, and how many requests it took.
pub type Counted<T> = (Result<T, Failure>, u32);

impl<'p, P: Platform> Broker<'p, P> {
    /// Signs once; the token serves for all calls.
    #[must_use]
    pub fn new(platform: &'p P, connection: &ServiceBusConnection) -> Self {
        let service = ServiceBus::new(connection, platform.wall(), TOKEN_LIFETIME);
        Self { platform, service, origin: connection.origin().to_owned() }
    }

    /// What time it is, by the broker's clock: the `Date` of whatever it answers to a request for nothing.
    pub async fn time(&self, deadline: Instant) -> Counted<UnixTime> {
        let request = match Request::get(format!("{}/", self.origin)).body(Bytes::new()) {
            Ok(request) => request,
            Err(error) => return (Err(Failure::Refused(error.to_string())), 0),
        };
        let bounds = Bounds { repeat: Repeat::Always, each: EACH, deadline, wait_when_throttled: false };
        let Called { result, tries, .. } = call(self.platform, request, bounds).await;
        let date = |response: &Response<Bytes>| parse_http_date(response.headers().get(header::DATE)?.to_str().ok()?);
        let unsaid = || Failure::Ambiguous("the broker does not tell the time".to_owned());
        (result.map_err(Failure::from).and_then(|response| date(&response).ok_or_else(unsaid)), tries)
    }

    /// Sends a message. Repeated when the answer is lost: its id is set, so a second copy is recognised by its record.
    ///
    /// `wait_when_throttled`: whether to wait for a busy broker, or to say so at once.
    pub async fn send(
        &self,
        queue: &str,
        message: &Outgoing,
        deadline: Instant,
        wait_when_throttled: bool,
    ) -> Counted<()> {
        match self.service.send(queue, message) {
            Ok(request) => self.sent(request, deadline, wait_when_throttled).await,
            Err(error) => (Err(error.into()), 0),
        }
    }

    /// Sends a batch: all of it or nothing. Repeated as [`Broker::send`].
    pub async fn send_batch(
        &self,
        queue: &str,
        batch: Batch,
        deadline: Instant,
        wait_when_throttled: bool,
    ) -> Counted<()> {
        self.sent(self.service.send_batch(queue, batch), deadline, wait_when_throttled).await
    }

    async fn sent(&self, request: Request<Bytes>, deadline: Instant, wait_when_throttled: bool) -> Counted<()> {
        let bounds = Bounds { repeat: Repeat::Always, each: EACH, deadline, wait_when_throttled };
        let Called { result, tries, may_have_acted } = call(self.platform, request, bounds).await;
        let sent = parsed(result, parse_sent);
        (if may_have_acted { sent.map_err(Failure::after_an_unanswered_try) } else { sent }, tries)
    }

    /// One long poll. Not repeated once it is sent: what it may have locked comes back by itself.
    pub async fn peek_lock(&self, queue: &str, timeout_seconds: u32, deadline: Instant) -> Counted<Option<Delivery>> {
        let each = EACH.saturating_add(Duration::from_secs(u64::from(timeout_seconds)));
        let bounds = Bounds { repeat: Repeat::IfNotSent, each, deadline, wait_when_throttled: false };
        let request = self.service.peek_lock(queue, timeout_seconds);
        let Called { result, tries, .. } = call(self.platform, request, bounds).await;
        (parsed(result, parse_peek_lock), tries)
    }

    /// Completes a delivery. Repeated: completing twice does no more than once.
    pub async fn complete(&self, queue: &str, lock: &LockRef, deadline: Instant) -> Counted<()> {
        self.settled(self.service.complete(queue, lock), deadline).await
    }

    /// Gives a delivery back at once. Repeated: the token is spent by the first.
    pub async fn abandon(&self, queue: &str, lock: &LockRef, deadline: Instant) -> Counted<()> {
        self.settled(self.service.abandon(queue, lock), deadline).await
    }

    /// Renews the lock of a delivery. Repeated: it only lasts longer.
    pub async fn renew(&self, queue: &str, lock: &LockRef, deadline: Instant) -> Counted<()> {
        self.settled(self.service.renew(queue, lock), deadline).await
    }

    async fn settled(&self, request: Request<Bytes>, deadline: Instant) -> Counted<()> {
        let bounds = Bounds { repeat: Repeat::Always, each: EACH, deadline, wait_when_throttled: true };
        let Called { result, tries, .. } = call(self.platform, request, bounds).await;
        (parsed(result, parse_settled), tries)
    }
}

fn parsed<T>(
    result: Result<Response<Bytes>, crate::platform::TransportError>,
    parse: impl FnOnce(Response<Bytes>) -> Result<T, ServiceBusError>,
) -> Result<T, Failure> {
    Ok(parse(result?)?)
}
