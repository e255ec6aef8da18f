//! The whole of ingest against services that answer as a test tells them to.

mod access;
mod batches;
mod claims;
mod door;
mod events;
mod looking;
mod routing;
mod sending;
mod streaming;
mod tracing;
mod webhooks;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use futures_executor::block_on;
use http::{HeaderMap, Method, Request, Response};
use oncebus_azure::connection::{ServiceBusConnection, StorageConnection};
use oncebus_core::config::{Config, ConfigError};
use oncebus_core::ingest::head::Head;
use oncebus_core::secret::Secret;
use oncebus_core::time::{Instant, UnixTime};
use oncebus_runtime::platform::{Clock, Entropy, Transport, TransportError};
use serde_json::Value;

use crate::serve::{Settings, serve};

type Reply = Result<Response<Bytes>, TransportError>;
type Answers = Box<dyn Fn(&Request<Bytes>) -> Reply>;

/// Services that answer by a function, and a clock that only sleeping moves.
struct World {
    reply: Answers,
    /// What was sent to them.
    sent: RefCell<Vec<Request<Bytes>>>,
    now: Cell<Duration>,
    drawn: Cell<u8>,
    config: &'static str,
    webhook_secrets: &'static [&'static str],
    secrets: Vec<(&'static str, &'static str)>,
}

impl World {
    /// Where everything is answered alike.
    fn answering(status: u16) -> Self {
        Self::new(move |_| Ok(response(status, &[])))
    }

    fn new(reply: impl Fn(&Request<Bytes>) -> Reply + 'static) -> Self {
        let config = "public_url = 'https://example.com'\nmax_message_bytes = 2048\nmax_batch_items = 40\nmax_batch_bytes = 20000\n[queues.orders]\ngroup = 'shop'\n[queues.texts]\n[webhooks.twilio]\nqueue = 'texts'\n[webhooks.github]\nqueue = 'orders'\n[webhooks.slack]\nqueue = 'orders'\n";
        let (sent, now, drawn) = (RefCell::default(), Cell::default(), Cell::default());
        let webhook_secrets = &["12345"][..];
        Self { reply: Box::new(reply), sent, now, drawn, config, webhook_secrets, secrets: Vec::new() }
    }

    fn settings(&self) -> Result<Settings, ConfigError> {
        let service_bus = "Endpoint=sb://bus.example;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0";
        let storage = "BlobEndpoint=https://store.example;SharedAccessSignature=sv=1&sig=c2VjcmV0";
        Ok(Settings {
            config: Config::parse(self.config)?,
            service_bus: ServiceBusConnection::parse(service_bus).unwrap(),
            storage: StorageConnection::parse(storage).unwrap(),
            webhook_secrets: self.webhook_secrets.iter().map(|secret| Secret::new(*secret)).collect(),
            access_secrets: self
                .secrets
                .iter()
                .map(|(name, secret)| ((*name).to_owned(), Secret::new(*secret)))
                .collect(),
        })
    }

    fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Told {
        let chunks = body.as_bytes().chunks(100).map(|chunk| Ok(chunk.to_vec()));
        self.ask_with(method, target, headers, stream::iter(chunks))
    }

    fn ask_with<S>(&self, method: &str, target: &str, headers: &[(&str, &str)], body: S) -> Told
    where
        S: Stream<Item = Result<Vec<u8>, ()>>,
    {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let head = Head { method: method.to_owned(), target: target.to_owned(), headers };
        let response = block_on(serve(self, |_| self.settings(), &head, body));
        let (parts, body) = response.into_parts();
        Told { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// How many requests the services got, and the only one if there was one.
    fn only_sent(&self) -> Request<Bytes> {
        let mut sent = self.sent.borrow_mut();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }
}

/// An answer of ingest.
struct Told {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Told {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and problem type, which must agree.
    fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let json = self.json();
        assert_eq!(json["status"], self.status);
        (self.status, json["type"].as_str().unwrap().strip_prefix("urn:oncebus:problem:").unwrap().to_owned())
    }
}

fn response(status: u16, headers: &[(&str, &str)]) -> Response<Bytes> {
    let builder =
        headers.iter().fold(Response::builder().status(status), |all, (name, value)| all.header(*name, *value));
    builder.body(Bytes::new()).unwrap()
}

/// A header of what was sent, which has it.
fn sent_header<'a>(request: &'a Request<Bytes>, name: &str) -> &'a str {
    request.headers()[name].to_str().unwrap()
}

/// A problem as tests write it.
fn problem(status: u16, slug: &str) -> (u16, String) {
    (status, slug.to_owned())
}

impl Transport for World {
    async fn send(&self, request: Request<Bytes>, _: Duration) -> Reply {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            assert_eq!(request.headers()["content-length"], request.body().len().to_string());
        }
        let reply = (self.reply)(&request);
        self.sent.borrow_mut().push(request);
        reply
    }
}

impl Clock for World {
    fn now(&self) -> Instant {
        Instant(self.now.get())
    }
    fn wall(&self) -> UnixTime {
        UnixTime(1_795_174_201 + self.now.get().as_secs())
    }
    fn wall_millis(&self) -> u64 {
        1_795_174_201_000
    }
    async fn sleep(&self, duration: Duration) {
        self.now.set(self.now.get() + duration);
    }
}

impl Entropy for World {
    fn fill(&self, buffer: &mut [u8]) {
        self.drawn.set(self.drawn.get().wrapping_add(1));
        buffer.fill(self.drawn.get());
    }
}
