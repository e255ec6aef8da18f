//! Service Bus over REST: send, peek-lock, complete, abandon, renew.
//!
//! A [`ServiceBus`] holds an address and one token for everything under it, and builds requests; `parse_…` reads what came back. Entities
//! are queues, or any path that can be received from (`queue/$DeadLetterQueue`).
//!
//! What REST cannot do (dead-letter with a reason, defer, delay) is not here, and no settling call says how long a lock
//! holds: a renewed lock ends a lock duration after the broker renewed it.

#![expect(clippy::needless_pass_by_value, reason = "an answer is read once: every parse function takes it")]

mod delivery;
mod error;
mod headers;

use std::time::Duration;

use bytes::Bytes;
use error::Operation;
pub use error::{ServiceBusError, ServiceBusErrorKind};
pub use headers::EncodeError;
pub(crate) use headers::{BrokerProperties, TtlForm, check_property};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use oncebus_core::message::{Delivery, LockRef, Outgoing};
use oncebus_core::time::UnixTime;

use crate::batch::{self, Batch};
use crate::connection::{ServiceBusConnection, ServiceBusCredential};
use crate::sas;
use crate::wire::{self, encode_path, sensitive};

/// Builds requests to one namespace, all with the same token.
///
/// A token ends ([`token_expires_at`](Self::token_expires_at)); make a new value before it does.
#[derive(Debug, Clone)]
pub struct ServiceBus {
    origin: String,
    /// Marked as sensitive: `Debug` does not show it.
    authorization: HeaderValue,
    expires: Option<UnixTime>,
}

impl ServiceBus {
    /// Signs a token for the namespace, or for the connection's `EntityPath`, once; or takes the connection's ready-made one.
    #[must_use]
    pub fn new(connection: &ServiceBusConnection, now: UnixTime, token_lifetime: Duration) -> Self {
        let origin = connection.origin().to_owned();
        let token = match connection.credential() {
            ServiceBusCredential::Token(token) => token.clone(),
            ServiceBusCredential::Key { name, key } => {
                let resource = match connection.entity_path() {
                    Some(entity) => format!("{origin}/{}", encode_path(entity)),
                    None => origin.clone(),
                };
                sas::service_bus::token(&resource, name, key, now.plus(token_lifetime))
            }
        };
        #[expect(
            clippy::expect_used,
            reason = "a signed token is percent-encoded, a ready-made one was checked when parsed"
        )]
        let authorization = HeaderValue::from_str(token.expose()).expect("a token of printable ASCII");
        let expires = sas::service_bus::expires_at(&token);
        Self { origin, authorization: sensitive(authorization), expires }
    }

    /// When the token ends; `None` where a ready-made one does not say.
    #[must_use]
    pub const fn token_expires_at(&self) -> Option<UnixTime> {
        self.expires
    }

    /// Sends one message: any body, its content type kept word for word. Read the answer with [`parse_sent`].
    ///
    /// # Errors
    /// The message has something that REST cannot carry.
    pub fn send(&self, queue: &str, message: &Outgoing) -> Result<Request<Bytes>, EncodeError> {
        let mut headers = self.headers();
        headers::encode(message, &mut headers)?;
        let uri = format!("{}/{}/messages", self.origin, encode_path(queue));
        Ok(wire::request(Method::POST, &uri, headers, message.body.clone()))
    }

    /// Sends a batch: all of it is accepted, or nothing. Read the answer with [`parse_sent`].
    #[must_use]
    pub fn send_batch(&self, queue: &str, batch: Batch) -> Request<Bytes> {
        let mut headers = self.headers();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(batch::CONTENT_TYPE));
        let uri = format!("{}/{}/messages", self.origin, encode_path(queue));
        wire::request(Method::POST, &uri, headers, batch.into_body())
    }

    /// Asks for the next message under a lock. The broker holds the answer back for up to `timeout_seconds` until there
    /// is one; 0 asks and returns, and above 60 is not established to work. Read the answer with [`parse_peek_lock`].
    #[must_use]
    pub fn peek_lock(&self, queue: &str, timeout_seconds: u32) -> Request<Bytes> {
        let uri = format!("{}/{}/messages/head?timeout={timeout_seconds}", self.origin, encode_path(queue));
        wire::request(Method::POST, &uri, self.headers(), Bytes::new())
    }

    /// Takes a locked message off the queue. Read the answer with [`parse_settled`].
    #[must_use]
    pub fn complete(&self, queue: &str, lock: &LockRef) -> Request<Bytes> {
        self.settle(Method::DELETE, queue, lock)
    }

    /// Gives a locked message back; it is delivered again at once, with its count one higher. Read the answer with
    /// [`parse_settled`].
    #[must_use]
    pub fn abandon(&self, queue: &str, lock: &LockRef) -> Request<Bytes> {
        self.settle(Method::PUT, queue, lock)
    }

    /// Renews a lock for its queue's lock duration. The lock token stays. Read the answer with [`parse_settled`].
    #[must_use]
    pub fn renew(&self, queue: &str, lock: &LockRef) -> Request<Bytes> {
        self.settle(Method::POST, queue, lock)
    }

    fn settle(&self, method: Method, queue: &str, lock: &LockRef) -> Request<Bytes> {
        let (queue, token) = (encode_path(queue), encode_path(&lock.lock_token));
        let uri = format!("{}/{queue}/messages/{}/{token}", self.origin, lock.sequence_number);
        wire::request(method, &uri, self.headers(), Bytes::new())
    }

    fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, self.authorization.clone())])
    }
}

/// Reads the answer to [`ServiceBus::send`] and [`ServiceBus::send_batch`].
///
/// # Errors
/// The broker did not accept it, or did not say that it did.
pub fn parse_sent(response: Response<Bytes>) -> Result<(), ServiceBusError> {
    match response.status() {
        StatusCode::CREATED | StatusCode::OK => Ok(()),
        _ => Err(ServiceBusError::read(Operation::Send, &response)),
    }
}

/// Reads the answer to [`ServiceBus::peek_lock`]. `None`: no message came within the timeout, which on a partitioned
/// queue does not prove that there is none.
///
/// # Errors
/// The broker refused, or its answer is not a message.
pub fn parse_peek_lock(response: Response<Bytes>) -> Result<Option<Delivery>, ServiceBusError> {
    match response.status() {
        StatusCode::CREATED | StatusCode::OK => {
            delivery::read(&response).map(Some).map_err(|reason| ServiceBusError::malformed(response.status(), reason))
        }
        StatusCode::NO_CONTENT => Ok(None),
        _ => Err(ServiceBusError::read(Operation::Receive, &response)),
    }
}

/// Reads the answer to [`ServiceBus::complete`], [`ServiceBus::abandon`] and [`ServiceBus::renew`].
///
/// # Errors
/// [`LockLost`](ServiceBusErrorKind::LockLost) where the lock is not ours any more; or the broker refused.
pub fn parse_settled(response: Response<Bytes>) -> Result<(), ServiceBusError> {
    match response.status() {
        StatusCode::OK | StatusCode::NO_CONTENT => Ok(()),
        _ => Err(ServiceBusError::read(Operation::Settle, &response)),
    }
}
