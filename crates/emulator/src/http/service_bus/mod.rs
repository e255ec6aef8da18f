//! The Service Bus gateway: the data plane over HTTP.
//!
//! Replies carry exactly the headers of the live service and no other: clients take every header that
//! they do not know for a custom property. So there is no request id, and the framing of a success is
//! `Transfer-Encoding: chunked` even when the body is empty.

mod batch;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod headers;
mod management;
mod properties;
mod receiving;
mod refusal;
mod route;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts as Head;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::server::Handler;
use super::wire::Nonsense;
use super::{Answer, BodyError, Hangup, Payload, Peer, Source, read_body};
use crate::auth::service_bus::{Claim, Rules};
use crate::behaviour::{Behaviour, GetHead};
use crate::broker::{Broker, BrokerProperties, Message, ReceiveMode};
use crate::calls::Calls;
use crate::emulator::Tier;
use crate::faults::{Faults, Moment, Service, Strike};
use crate::namespace::Namespace;
use crate::time::UnixMillis;
use refusal::{Refusal, Scene};
use route::{NoRoute, Operation, Route, Settled, route};

const XML: &str = "application/xml; charset=utf-8";
/// What every answer says about who gives it.
const SERVER: &str = "Microsoft-HTTPAPI/2.0";

const BROKER_PROPERTIES: HeaderName = HeaderName::from_static("brokerproperties");

/// More than any queue takes; what is larger is not read to its end.
const LARGEST_BODY: usize = 4 * 1024 * 1024;

/// The gateway of one namespace.
#[derive(Debug)]
pub(crate) struct ServiceBus {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) rules: Rules,
    pub(crate) faults: Arc<Faults>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) tier: Tier,
    pub(crate) behaviour: Behaviour,
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
        let mut response = self.answer(request).await?;
        response.body_mut().names.get_or_insert_default();
        Ok(response)
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
        let (head, body) = request.into_parts();
        let host = host(&head);
        match self.dispatch(&head, host, body).await {
            Ok(response) => Ok(response),
            Err(Failure::Hangup) => Err(Hangup),
            Err(Failure::Refused(refusal)) => {
                let path = head.uri.path();
                let entity = match route(&head.method, path) {
                    Ok(route) => route.name,
                    Err(_) => path.trim_matches('/').split('/').next().unwrap_or("").to_owned(),
                };
                let scene = Scene { host, entity: &entity, now: self.now() };
                Ok(refusal.response(scene, &self.behaviour))
            }
        }
    }

    async fn dispatch(&self, head: &Head, host: &str, body: impl Source) -> Result<Response<Payload>, Failure> {
        let route = match route(&head.method, head.uri.path()) {
            Ok(route) => route,
            Err(NoRoute::NotData) => {
                let body = read_body(body, LARGEST_BODY, self.patience).await;
                return self.management(head, host, body).await;
            }
            Err(NoRoute::Method) => {
                return Err(wrong_method().into());
            }
        };
        if route.operation == Operation::Peek && self.behaviour.get_head == GetHead::Refused {
            return Err(wrong_method().into());
        }
        let body = read_body(body, LARGEST_BODY, self.patience).await;
        if let Err(refusal) = self.authorize(head, route.operation.claim()) {
            self.calls.count(Service::ServiceBus, "refused");
            return Err(refusal.into());
        }
        let body = body.inspect_err(|_| self.calls.count(Service::ServiceBus, "refused"))?;
        let name = if is_batch(&head.headers) && route.operation == Operation::Send {
            "send-batch"
        } else {
            route.operation.name()
        };
        match route.operation {
            Operation::Peek => self.peek(&route).await,
            Operation::PeekLock => present(head, self.receive(head, &route, host, ReceiveMode::PeekLock)).await,
            Operation::ReceiveAndDelete => {
                present(head, self.receive(head, &route, host, ReceiveMode::ReceiveAndDelete)).await
            }
            _ => {
                self.calls.count(Service::ServiceBus, name);
                let strike = self.faults.strike(Service::ServiceBus, name, &route.name, Moment::Any);
                before(&strike).await?;
                let done = match &route.operation {
                    Operation::Send => self.send(head, &route, body).await,
                    Operation::Complete(settled) | Operation::Abandon(settled) | Operation::Renew(settled) => {
                        self.settle(&route, settled, &strike).await
                    }
                    Operation::Peek | Operation::PeekLock | Operation::ReceiveAndDelete => Ok(()),
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

    async fn send(&self, head: &Head, route: &Route, body: Bytes) -> Result<(), Refusal> {
        // Of a batch the whole text counts; of a single message the broker knows as much.
        let batch_bytes = is_batch(&head.headers).then_some(body.len());
        let messages = if batch_bytes.is_some() {
            batch::parse(&body).map_err(|rule| Refusal::bad_request(&format!("40000: {rule}.")))?
        } else {
            vec![single(head, body, &self.behaviour)?]
        };
        let entity = &route.entity;
        let send = |broker: &mut Broker, now| {
            batch_bytes.map_or(Ok(()), |bytes| broker.check_batch(entity, bytes))?;
            broker.send(entity, messages, now)
        };
        self.namespace.commit(send).await?;
        Ok(())
    }

    async fn settle(&self, route: &Route, settled: &Settled, strike: &Strike) -> Result<(), Refusal> {
        let entity = &route.entity;
        let Settled { message, token } = settled;
        let token = token.unwrap_or_default();
        self.namespace
            .commit(|broker, now| {
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

    /// Needs the right to manage, or to look at what may be looked at with less; faults and counts know it as
    /// `manage`.
    async fn management(
        &self,
        head: &Head,
        host: &str,
        body: Result<Bytes, BodyError>,
    ) -> Result<Response<Payload>, Failure> {
        let admitted = self.authorize(head, management::claim(&head.method, head.uri.path()));
        let body = admitted.and_then(|()| body.map_err(Refusal::from));
        let body = body.inspect_err(|_| self.calls.count(Service::ServiceBus, "refused"))?;
        self.calls.count(Service::ServiceBus, "manage");
        let strike = self.faults.strike(Service::ServiceBus, "manage", head.uri.path().trim_matches('/'), Moment::Any);
        before(&strike).await?;
        let response = self.manage(head, host, &body).await.map_err(|_| Refusal::Injected(500))?;
        if strike.drop_after { Err(Failure::Hangup) } else { Ok(response) }
    }

    fn authorize(&self, head: &Head, claim: Claim) -> Result<(), Refusal> {
        let authorization = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let path = crate::auth::decode(head.uri.path());
        self.check_token(authorization, &path, claim)
    }

    /// Whether a token is good for a path, by the namespace's rules and those of entities.
    fn check_token(&self, token: Option<&str>, path: &str, claim: Claim) -> Result<(), Refusal> {
        let own = |scope: &str, name: &str| self.namespace.glance(|broker| broker.access_rules(scope, name));
        self.rules.check(token, path, claim, self.now(), own).map_err(Refusal::from)
    }

    fn empty(&self, status: StatusCode) -> Response<Payload> {
        let mut response = respond(status, Payload::chunked(Bytes::new()), self.now());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(XML));
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

fn wrong_method() -> Refusal {
    let text = "40500: The specified HTTP verb is not valid here.";
    Refusal::Said(StatusCode::METHOD_NOT_ALLOWED, text.to_owned())
}

/// Goes on for as long as the client is there: one that went away while it waited takes no message.
async fn present<T>(head: &Head, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let gone = async {
        match head.extensions.get::<Peer>() {
            Some(peer) => peer.gone().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = gone => Err(Failure::Hangup),
        done = work => done,
    }
}

/// What a fault does before the operation.
async fn before(strike: &Strike) -> Result<(), Failure> {
    strike.wait().await;
    if strike.drop_before {
        return Err(Failure::Hangup);
    }
    match strike.status {
        Some(status) => Err(Refusal::Injected(status).into()),
        None => Ok(()),
    }
}

/// The message of a single send.
fn single(head: &Head, body: Bytes, behaviour: &Behaviour) -> Result<Message, Refusal> {
    let headers = &head.headers;
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
        properties: properties::custom_from_headers(headers, head.extensions.get(), behaviour),
        ..Message::default()
    })
}

fn is_batch(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(batch::CONTENT_TYPE.as_bytes()))
}

/// The host as the client knows it: some clients look for it in `Location`.
fn host(head: &Head) -> &str {
    let header = head.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    header.or_else(|| head.uri.authority().map(http::uri::Authority::as_str)).unwrap_or("localhost")
}
