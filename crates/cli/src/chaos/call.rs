//! What an outbound request of a component is about.

use std::fmt;

use http::{HeaderMap, Method};
use oncebus_core::message::property;
use oncebus_host::OutboundCall;
use serde_json::Value;

/// What stands before a blob's name in the path of its address.
const IN_CONTAINER: &str = "/oncebus/";

/// Kinds of requests, as the protocol tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Ingest puts a message on the queue.
    Send,
    /// A poll for a message.
    Poll,
    /// A look at a record.
    Look,
    /// The create of a blob: a first claim, a key's lock, a large checkpoint.
    Create,
    /// A conditional write: takeover, checkpoint, renewal, done, release, park.
    Write,
    /// The renewal of a peek-lock.
    Renew,
    /// The completion of a delivery.
    Complete,
    /// A delivery handed back.
    Abandon,
    /// The queue handler sends a copy.
    Copy,
    /// The record of what is done and completed is deleted.
    Delete,
}

impl Kind {
    /// How many there are.
    pub(super) const COUNT: u32 = 10;
    /// All of them.
    pub(super) const ALL: [Self; 10] = [
        Self::Send,
        Self::Poll,
        Self::Look,
        Self::Create,
        Self::Write,
        Self::Renew,
        Self::Complete,
        Self::Abandon,
        Self::Copy,
        Self::Delete,
    ];

    /// As in the table at the end.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Poll => "poll",
            Self::Look => "look",
            Self::Create => "create",
            Self::Write => "write",
            Self::Renew => "renew",
            Self::Complete => "complete",
            Self::Abandon => "abandon",
            Self::Copy => "copy",
            Self::Delete => "delete",
        }
    }

    /// The kind of a request; `None` for one that no rule of the protocol is about.
    pub(super) fn of(call: &OutboundCall) -> Option<Self> {
        let (path, query) = (call.uri.path(), call.uri.query().unwrap_or_default());
        if call.headers.contains_key("x-ms-version") {
            return match call.method {
                Method::HEAD | Method::GET => Some(Self::Look),
                Method::PUT if query.contains("comp=metadata") => Some(Self::Write),
                Method::PUT => Some(Self::Create),
                Method::DELETE => Some(Self::Delete),
                _ => None,
            };
        }
        // …/messages/{sequence number}/{lock token}
        let settles = path.rsplit('/').nth(2) == Some("messages");
        match call.method {
            Method::POST if path.ends_with("/messages/head") => Some(Self::Poll),
            Method::POST if path.ends_with("/messages") && call.component == "ingest" => Some(Self::Send),
            Method::POST if path.ends_with("/messages") => Some(Self::Copy),
            Method::POST if settles => Some(Self::Renew),
            Method::DELETE if settles => Some(Self::Complete),
            Method::PUT if settles => Some(Self::Abandon),
            _ => None,
        }
    }
}

/// What a request is about, without what is random in it: the message's own number at the broker, the blob.
pub(super) fn target(call: &OutboundCall, kind: Kind) -> &str {
    let path = call.uri.path();
    match kind {
        // The last part is the lock token.
        Kind::Renew | Kind::Complete | Kind::Abandon => path.rsplit_once('/').map_or(path, |(target, _)| target),
        _ => path,
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a request says that changes a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordWrite {
    /// Name of the blob in the container.
    pub(super) blob: String,
    /// The run that writes.
    pub(super) owner: String,
    /// The epoch that it writes.
    pub(super) epoch: u64,
    /// The state that it writes: `p`, `r`, `d` or `x`.
    pub(super) state: String,
    /// Whether there must have been no such blob before.
    pub(super) creates: bool,
}

/// The name of the blob that a request is about, in the container of the records.
pub(super) fn blob(call: &OutboundCall) -> Option<&str> {
    Some(call.uri.path().split_once(IN_CONTAINER)?.1)
}

impl RecordWrite {
    /// `None` when the request writes no record.
    pub(super) fn of(call: &OutboundCall) -> Option<Self> {
        let metadata = |name: &str| call.headers.get(format!("x-ms-meta-{name}"))?.to_str().ok().map(str::to_owned);
        Some(Self {
            blob: blob(call)?.to_owned(),
            owner: metadata("own")?,
            epoch: metadata("ep")?.parse().ok()?,
            state: metadata("st")?,
            creates: Kind::of(call) == Some(Kind::Create),
        })
    }

    /// Whether it is the lock of a key.
    pub(super) fn is_key(&self) -> bool {
        self.blob.starts_with("keys/")
    }
}

/// A delivery, as the answer to a poll tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    /// The message's logical id.
    pub(super) id: String,
    /// What settles it is about this: see [`target`].
    pub(super) target: String,
    /// Its place among those of its key.
    pub(super) order: i64,
}

impl Received {
    /// `None` when the answer has no message of ours.
    pub(super) fn of(poll: &OutboundCall, answer: &HeaderMap) -> Option<Self> {
        let json = |name: &str| serde_json::from_str::<Value>(answer.get(name)?.to_str().ok()?).ok();
        let number = json("brokerproperties")?.get("SequenceNumber")?.as_i64()?;
        let first = json(property::SEQUENCE).and_then(|value| match value {
            Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        });
        Some(Self {
            id: json(property::ID)?.as_str()?.to_owned(),
            target: format!("{}/{number}", poll.uri.path().strip_suffix("/head")?),
            order: first.unwrap_or(number),
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn call(component: &str, method: Method, uri: &str, blob: bool) -> OutboundCall {
        let mut headers = HeaderMap::new();
        if blob {
            headers.insert("x-ms-version", HeaderValue::from_static("2021-12-02"));
        }
        OutboundCall { component: component.to_owned(), instance: 1, method, uri: uri.parse().unwrap(), headers }
    }

    #[test]
    fn every_request_of_the_protocol_has_its_kind() {
        let bus = "http://h/q/messages";
        for (component, method, uri, blob, kind) in [
            ("ingest", Method::POST, bus.to_owned(), false, Some(Kind::Send)),
            ("queue-handler", Method::POST, bus.to_owned(), false, Some(Kind::Copy)),
            ("queue-handler", Method::POST, format!("{bus}/head?timeout=5"), false, Some(Kind::Poll)),
            ("queue-handler", Method::POST, format!("{bus}/7/0a-b"), false, Some(Kind::Renew)),
            ("queue-handler", Method::DELETE, format!("{bus}/7/0a-b"), false, Some(Kind::Complete)),
            ("queue-handler", Method::PUT, format!("{bus}/7/0a-b"), false, Some(Kind::Abandon)),
            ("queue-handler", Method::PUT, "http://h/a/c/0ab/q/x".to_owned(), true, Some(Kind::Create)),
            ("queue-handler", Method::PUT, "http://h/a/c/0ab/q/x?comp=metadata".to_owned(), true, Some(Kind::Write)),
            ("queue-handler", Method::HEAD, "http://h/a/c/0ab/q/x".to_owned(), true, Some(Kind::Look)),
            ("queue-handler", Method::DELETE, "http://h/a/c/0ab/q/x".to_owned(), true, Some(Kind::Delete)),
            ("processor", Method::GET, "http://h/else".to_owned(), false, None),
        ] {
            assert_eq!(Kind::of(&call(component, method.clone(), &uri, blob)), kind, "{method} {uri}");
        }
    }

    #[test]
    fn a_write_says_whose_it_is() {
        let mut write = call("queue-handler", Method::PUT, "http://h/a/oncebus/0ab/q/x?comp=metadata", true);
        assert_eq!(RecordWrite::of(&write), None);
        for (name, value) in [("x-ms-meta-own", "ab12"), ("x-ms-meta-ep", "3"), ("x-ms-meta-st", "d")] {
            write.headers.insert(name, HeaderValue::from_static(value));
        }
        let expected =
            RecordWrite { blob: "0ab/q/x".into(), owner: "ab12".into(), epoch: 3, state: "d".into(), creates: false };
        assert_eq!(RecordWrite::of(&write), Some(expected));
    }

    #[test]
    fn a_delivery_is_settled_under_the_target_that_its_poll_told() {
        let poll = call("queue-handler", Method::POST, "http://h/q/messages/head?timeout=5", false);
        let mut answer = HeaderMap::new();
        assert_eq!(Received::of(&poll, &answer), None);
        answer.insert("brokerproperties", HeaderValue::from_static(r#"{"SequenceNumber":7}"#));
        answer.insert("oncebus-id", HeaderValue::from_static(r#""a""#));
        let received = Received::of(&poll, &answer).unwrap();
        assert_eq!((received.id.as_str(), received.order), ("a", 7));
        let complete = call("queue-handler", Method::DELETE, "http://h/q/messages/7/0a-b", false);
        assert_eq!(target(&complete, Kind::Complete), received.target);
        for first in ["3", r#""3""#] {
            answer.insert("oncebus-seq", HeaderValue::from_static(first));
            assert_eq!(Received::of(&poll, &answer).unwrap().order, 3, "kept by copies");
        }
    }
}
