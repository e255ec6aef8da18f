//! Receiving: long polls, and how a message looks on the wire.

use bytes::Bytes;
use http::header;
use http::{HeaderValue, Response, StatusCode};

use super::refusal::Refusal;
use super::route::Route;
use super::{BROKER_PROPERTIES, Failure, Origin, ServiceBus, XML, before, properties, respond};
use crate::broker::{Delivery, ReceiveMode};
use crate::faults::{Moment, Service};
use crate::http::casing::Names;
use crate::http::{Payload, query_pairs, scheme};

impl ServiceBus {
    pub(super) async fn receive(
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
        let patience = self.behaviour.patience(timeout_seconds(head.uri.query())?);
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
                .commit(|broker, now| {
                    broker.give_back(entity, delivery, now);
                    Ok(())
                })
                .await?;
        }
        if let (true, Some(lock)) = (late.lose_lock, lock) {
            let entity = &route.entity;
            self.namespace
                .commit(|broker, now| {
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

    /// Shows the first visible message and leaves it where it is.
    pub(super) async fn peek(&self, route: &Route) -> Result<Response<Payload>, Failure> {
        let entity = &route.entity;
        self.calls.count(Service::ServiceBus, route.operation.name());
        let found = self.namespace.commit(|broker, now| broker.peek(entity, now)).await.map_err(Refusal::from)?;
        Ok(match found {
            // Without a lock there is no location.
            Some(delivery) => self.delivery(&delivery, route, Origin { scheme: "http", host: "" }),
            None => self.no_content(),
        })
    }

    fn delivery(&self, delivery: &Delivery, route: &Route, origin: Origin<'_>) -> Response<Payload> {
        let message = &delivery.entry.message;
        let status = if delivery.entry.lock.is_some() { StatusCode::CREATED } else { StatusCode::OK };
        let payload = Payload::chunked(message.body.clone()).named(Names::of(message));
        let mut response = respond(status, payload, self.now());
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

    fn no_content(&self) -> Response<Payload> {
        let mut response = respond(StatusCode::NO_CONTENT, Payload::sized(Bytes::new()), self.now());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(XML));
        response
    }
}

/// `?timeout=N`, in seconds.
fn timeout_seconds(query: Option<&str>) -> Result<Option<u64>, Refusal> {
    let pairs = query_pairs(query);
    match pairs.iter().find(|(name, _)| name.eq_ignore_ascii_case("timeout")) {
        None => Ok(None),
        Some((_, value)) => {
            value.parse().map(Some).map_err(|_| Refusal::bad_request("40000: timeout must be a number of seconds."))
        }
    }
}
