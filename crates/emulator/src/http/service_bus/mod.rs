//! The Service Bus gateway: the data plane over HTTP.
//!
//! Replies carry exactly the headers of the live service and no other: clients take every header that
//! they do not know for a custom property. So there is no request id, and the framing of a success is
//! `Transfer-Encoding: chunked` even when the body is empty.

mod batch;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod management;
mod properties;
mod refusal;
mod route;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::server::Handler;
use super::wire::Nonsense;
use super::{Answer, BodyError, Hangup, Payload, Source, query_pairs, read_body, scheme};
use crate::auth::service_bus::{Claim, Rules};
use crate::broker::{BrokerProperties, Delivery, Message, ReceiveMode};
use crate::calls::Calls;
use crate::emulator::Tier;
use crate::faults::{Faults, Moment, Service, Strike};
use crate::namespace::Namespace;
use crate::time::UnixMillis;
use refusal::Refusal;
use route::{NoRoute, Operation, Route, Settled, route};

const XML: &str = "application/xml; charset=utf-8";
/// What every answer says about who gives it.
const SERVER: &str = "Microsoft-HTTPAPI/2.0";

const BROKER_PROPERTIES: HeaderName = HeaderName::from_static("brokerproperties");

/// More than any queue takes; what is larger is not read to its end.
const LARGEST_BODY: usize = 4 * 1024 * 1024;

/// How long a receive waits that does not say how long. The service documents no default; its clients
/// use 60 s.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);

/// The longest wait that may be asked for: the service's front end closes idle connections after 4 min.
const LONGEST_PATIENCE: Duration = Duration::from_secs(240);

/// The gateway of one namespace.
#[derive(Debug)]
pub(crate) struct ServiceBus {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) rules: Rules,
    pub(crate) faults: Arc<Faults>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) tier: Tier,
    /// How long a body may take to arrive.
    pub(crate) patience: Duration,
}

/// What the client called the namespace.
#[derive(Debug, Clone, Copy)]
struct Origin<'a> {
    scheme: &'static str,
    /// With its port, if the client gave one.
    host: &'a str,
}

/// Why there is no success to answer with.
enum Failure {
    Refused(Refusal),
    Hangup,
}

impl<E: Into<Refusal>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl Handler for ServiceBus {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        self.answer(request).await
    }

    fn nonsense(&self, status: StatusCode) -> Nonsense {
        Nonsense { content_type: XML, server: SERVER, body: refusal::nonsense(status, self.now()) }
    }

    fn time(&self) -> UnixMillis {
        self.now()
    }
}

impl ServiceBus {
    /// Answers a request, wherever its body comes from.
    async fn answer(&self, request: Request<impl Source>) -> Answer {
        let host = host(&request);
        let path = request.uri().path().to_owned();
        match self.dispatch(request, &host).await {
            Ok(response) => Ok(response),
            Err(Failure::Hangup) => Err(Hangup),
            Err(Failure::Refused(refusal)) => {
                let entity = path.trim_matches('/').split('/').next().unwrap_or("");
                Ok(refusal.response(&host, entity, self.now()))
            }
        }
    }

    async fn dispatch(&self, request: Request<impl Source>, host: &str) -> Result<Response<Payload>, Failure> {
        let (head, body) = request.into_parts();
        let route = match route(&head.method, head.uri.path()) {
            Ok(route) => route,
            Err(NoRoute::NotData) => {
                let body = read_body(body, LARGEST_BODY, self.patience).await.unwrap_or_default();
                return self.management(&head, host, &body).await;
            }
            Err(NoRoute::Method) => {
                return Err(Refusal::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "40500: The specified HTTP verb is not valid here.",
                )
                .into());
            }
        };
        let body = read_body(body, LARGEST_BODY, self.patience).await;
        if let Err(refusal) = self.authorize(&head, route.operation.claim()) {
            self.calls.count(Service::ServiceBus, "refused");
            return Err(refusal.into());
        }
        let name = if is_batch(&head.headers) && route.operation == Operation::Send {
            "send-batch"
        } else {
            route.operation.name()
        };
        match route.operation {
            Operation::PeekLock => self.receive(&head, &route, host, ReceiveMode::PeekLock).await,
            Operation::ReceiveAndDelete => self.receive(&head, &route, host, ReceiveMode::ReceiveAndDelete).await,
            _ => {
                self.calls.count(Service::ServiceBus, name);
                let strike = self.faults.strike(Service::ServiceBus, name, &route.name, Moment::Any);
                before(&strike).await?;
                let done = match &route.operation {
                    Operation::Send => self.send(&head.headers, &route, body).await,
                    Operation::Complete(settled) | Operation::Abandon(settled) | Operation::Renew(settled) => {
                        self.settle(&route, settled, &strike).await
                    }
                    Operation::PeekLock | Operation::ReceiveAndDelete => Ok(()),
                };
                if strike.drop_after {
                    return Err(Failure::Hangup);
                }
                done?;
                let status = if route.operation == Operation::Send { StatusCode::CREATED } else { StatusCode::OK };
                Ok(self.empty(status))
            }
        }
    }

    async fn send(&self, headers: &HeaderMap, route: &Route, body: Result<Bytes, BodyError>) -> Result<(), Refusal> {
        let body = match body {
            Ok(body) => body,
            Err(BodyError::TooLarge) => return Err(Refusal::injected(403)),
            Err(BodyError::Broken) => return Err(Refusal::bad_request("40000: The body ended early.")),
        };
        let messages = if is_batch(headers) {
            batch::parse(&body).map_err(|rule| Refusal::bad_request(&format!("40000: {rule}.")))?
        } else {
            vec![single(headers, body)?]
        };
        let entity = &route.entity;
        self.namespace.commit(entity, |broker, now| broker.send(entity, messages, now)).await?;
        Ok(())
    }

    async fn settle(&self, route: &Route, settled: &Settled, strike: &Strike) -> Result<(), Refusal> {
        let entity = &route.entity;
        let Settled { message, token } = settled;
        let token = token.unwrap_or_default();
        self.namespace
            .commit(entity, |broker, now| {
                if strike.lose_lock {
                    broker.lose_lock(entity, token, now);
                }
                match route.operation {
                    Operation::Complete(_) => broker.complete(entity, message, token, now),
                    Operation::Abandon(_) => broker.abandon(entity, message, token, now),
                    _ => broker.renew(entity, message, token, now).map(|_| ()),
                }
            })
            .await?;
        Ok(())
    }

    async fn receive(
        &self,
        head: &http::request::Parts,
        route: &Route,
        host: &str,
        mode: ReceiveMode,
    ) -> Result<Response<Payload>, Failure> {
        let name = route.operation.name();
        let empty_name = match mode {
            ReceiveMode::PeekLock => "peek-lock-empty",
            ReceiveMode::ReceiveAndDelete => "receive-and-delete-empty",
        };
        let patience = patience(head.uri.query())?;
        let early = self.faults.strike(Service::ServiceBus, name, &route.name, Moment::Early);
        if early.drop_before || early.status.is_some() {
            self.calls.count(Service::ServiceBus, name);
        }
        before(&early).await?;
        let Some(lent) = self.namespace.receive(&route.entity, mode, patience).await? else {
            self.calls.count(Service::ServiceBus, empty_name);
            return Ok(self.no_content());
        };
        self.calls.count(Service::ServiceBus, name);
        let late = self.faults.strike(Service::ServiceBus, name, &route.name, Moment::Late);
        late.wait().await;
        let origin = Origin { scheme: scheme(&head.extensions), host };
        let response = lent.delivery().map(|delivery| self.delivery(delivery, route, origin));
        // From here to the socket nothing waits: the message is the receiver's.
        let delivery = lent.hand_over();
        let lock = delivery.as_ref().and_then(|delivery| delivery.entry.lock);
        if let (true, Some(delivery)) = (late.duplicate, delivery) {
            let entity = &route.entity;
            self.namespace
                .commit(entity, |broker, now| {
                    broker.give_back(entity, delivery, now);
                    Ok(())
                })
                .await?;
        }
        if let (true, Some(lock)) = (late.lose_lock, lock) {
            let entity = &route.entity;
            self.namespace
                .commit(entity, |broker, now| {
                    broker.lose_lock(entity, lock.token, now);
                    Ok(())
                })
                .await?;
        }
        match response {
            Some(response) if !late.drop_after => Ok(response),
            _ => Err(Failure::Hangup),
        }
    }

    fn delivery(&self, delivery: &Delivery, route: &Route, origin: Origin<'_>) -> Response<Payload> {
        let message = &delivery.entry.message;
        let status = if delivery.entry.lock.is_some() { StatusCode::CREATED } else { StatusCode::OK };
        let mut response = respond(status, Payload::chunked(message.body.clone()), self.now());
        let headers = response.headers_mut();
        let content_type = message.content_type.as_deref().and_then(|text| HeaderValue::try_from(text).ok());
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, content_type);
        }
        if let Some(lock) = delivery.entry.lock {
            let (number, token) = (delivery.sequence_number, lock.token);
            let Origin { scheme, host } = origin;
            let location = format!("{scheme}://{host}/{}/messages/{number}/{token}", route.name);
            if let Ok(location) = HeaderValue::try_from(location) {
                headers.insert(header::LOCATION, location);
            }
        }
        if let Ok(properties) = HeaderValue::try_from(properties::write_broker(delivery)) {
            headers.insert(BROKER_PROPERTIES, properties);
        }
        properties::write_custom(&message.properties, headers);
        response
    }

    /// Needs the right to manage; faults and counts know it as `manage`.
    async fn management(
        &self,
        head: &http::request::Parts,
        host: &str,
        body: &[u8],
    ) -> Result<Response<Payload>, Failure> {
        if let Err(refusal) = self.authorize(head, Claim::Manage) {
            self.calls.count(Service::ServiceBus, "refused");
            return Err(refusal.into());
        }
        self.calls.count(Service::ServiceBus, "manage");
        let strike = self.faults.strike(Service::ServiceBus, "manage", head.uri.path().trim_matches('/'), Moment::Any);
        before(&strike).await?;
        let response = self.manage(head, host, body).await.map_err(|_| Refusal::injected(500))?;
        if strike.drop_after { Err(Failure::Hangup) } else { Ok(response) }
    }

    fn authorize(&self, head: &http::request::Parts, claim: Claim) -> Result<(), Refusal> {
        let authorization = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let path = crate::auth::decode(head.uri.path());
        self.rules.check(authorization, &path, claim, self.now()).map_err(Refusal::from)
    }

    fn empty(&self, status: StatusCode) -> Response<Payload> {
        let mut response = respond(status, Payload::chunked(Bytes::new()), self.now());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(XML));
        response
    }

    fn no_content(&self) -> Response<Payload> {
        let mut response = respond(StatusCode::NO_CONTENT, Payload::sized(Bytes::new()), self.now());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(XML));
        response
    }

    fn now(&self) -> UnixMillis {
        self.namespace.clock().now()
    }
}

/// An answer with the headers that all answers have.
fn respond(status: StatusCode, payload: Payload, now: UnixMillis) -> Response<Payload> {
    let mut response = Response::new(payload);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
    headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    if let Ok(date) = HeaderValue::try_from(now.http_date()) {
        headers.insert(header::DATE, date);
    }
    response
}

/// What a fault does before the operation.
async fn before(strike: &Strike) -> Result<(), Failure> {
    strike.wait().await;
    if strike.drop_before {
        return Err(Failure::Hangup);
    }
    match strike.status {
        Some(status) => Err(Refusal::injected(status).into()),
        None => Ok(()),
    }
}

/// The message of a single send.
fn single(headers: &HeaderMap, body: Bytes) -> Result<Message, Refusal> {
    let broker = match headers.get(BROKER_PROPERTIES) {
        None => BrokerProperties::default(),
        Some(header) => serde_json::from_slice(header.as_bytes())
            .map_err(|_| "BrokerProperties is not JSON")
            .and_then(|object| properties::parse_broker(&object))
            .map_err(|rule| Refusal::bad_request(&format!("40000: {rule}.")))?,
    };
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    Ok(Message {
        body,
        content_type: content_type.filter(|text| !text.is_empty()).map(std::borrow::Cow::into_owned),
        broker,
        properties: properties::custom_from_headers(headers),
        enqueued_sequence_number: 0,
    })
}

fn is_batch(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(batch::CONTENT_TYPE.as_bytes()))
}

/// `?timeout=N`, in seconds.
fn patience(query: Option<&str>) -> Result<Duration, Refusal> {
    let pairs = query_pairs(query);
    match pairs.iter().find(|(name, _)| name.eq_ignore_ascii_case("timeout")) {
        None => Ok(DEFAULT_PATIENCE),
        Some((_, value)) => value
            .parse()
            .map(|seconds| Duration::from_secs(seconds).min(LONGEST_PATIENCE))
            .map_err(|_| Refusal::bad_request("40000: timeout must be a number of seconds.")),
    }
}

/// The host as the client knows it: some clients look for it in `Location`.
fn host<B>(request: &Request<B>) -> String {
    let header = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    header.or_else(|| request.uri().authority().map(http::uri::Authority::as_str)).unwrap_or("localhost").to_owned()
}
