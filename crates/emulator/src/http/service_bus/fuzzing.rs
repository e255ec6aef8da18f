//! Fuzz targets: what a message brings with it, and paths.

mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::headers::TAKEN;
use super::{batch as batches, properties, route};
use crate::behaviour::Behaviour;
use crate::broker::{
    Broker, BrokerError, BrokerProperties, Delivery, EntityPath, Message, PropertyValue, QueueOptions, ReceiveMode,
};
use crate::http::casing;
use crate::ids::CountingIds;
use crate::time::UnixMillis;

pub use super::management::fuzzing::{atom, config};
pub use whole::whole_request;

const NOW: UnixMillis = UnixMillis(1_795_000_000_500);

/// A `BrokerProperties` header: what is accepted comes back, as a header that reads the same again.
pub fn broker_properties(data: &[u8]) {
    let Ok(json) = serde_json::from_slice(data) else { return };
    let Ok(broker) = properties::parse_broker(&json) else { return };
    let sent = Message { broker, ..Message::default() };
    let Ok(deliveries) = deliver(vec![sent.clone()]) else { return };
    let Some(delivery) = deliveries.first() else {
        assert!(!lives(&sent), "a message that had not expired is gone");
        return;
    };
    let returned = read_back(delivery);
    let expected = as_shown(&expected(&sent, delivery).broker);
    assert_eq!(BrokerProperties { time_to_live: None, ..returned.clone() }, expected);
    let seconds = |broker: &BrokerProperties| broker.time_to_live.map_or(-1.0, |ttl| ttl.as_secs_f64());
    let (one, other) = (seconds(&returned), seconds(&sent.broker));
    assert!((one - other).abs() <= other.abs() * 1e-9 + 1e-9, "{other} s to live became {one} s");
}

/// Custom properties as headers: each comes back under its name with its type and value. Whatever a head is, only
/// letters of it change, and names become what they are in it.
pub fn property_headers(data: &[u8]) {
    let headers = header_lines(data);
    let mut custom = properties::custom_from_headers(&headers, None, &Behaviour::default());
    let head = [b"HTTP/1.1 200 OK\r\n", data, b"\r\n\r\n", data].concat();
    spell(&mut custom, &head);
    let sent = Message { properties: custom, ..Message::default() };
    let Ok(deliveries) = deliver(vec![sent.clone()]) else { return };
    assert_eq!(deliveries.len(), 1);
    let Some(delivery) = deliveries.first() else { return };
    assert_eq!(*delivery.entry.message, expected(&sent, delivery));
    let mut answer = HeaderMap::new();
    properties::write_custom(&delivery.entry.message.properties, &mut answer);
    let last = |properties: Vec<(String, PropertyValue)>| properties.into_iter().collect::<BTreeMap<_, _>>();
    let mut visible = last(sent.properties);
    visible.retain(|name, _| !TAKEN.contains(&name.as_str()));
    assert_eq!(last(properties::custom_from_headers(&answer, None, &Behaviour::default())), visible);
}

/// Names as they are in a head, and a head with these names.
fn spell(custom: &mut [(String, PropertyValue)], head: &[u8]) {
    let small: Vec<String> = custom.iter().map(|(name, _)| name.clone()).collect();
    casing::as_written(custom.iter_mut().map(|(name, _)| name), head);
    let properties = custom.to_vec();
    custom.iter_mut().zip(small).for_each(|((name, _), small)| {
        assert!(name.eq_ignore_ascii_case(&small), "{small} became {name}");
        *name = small;
    });
    let mut written = head.to_vec();
    casing::Names::of(&Arc::new(Message { properties, ..Message::default() })).write_into(&mut written);
    assert!(written.eq_ignore_ascii_case(head));
    let end = head.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(head.len());
    assert_eq!(written.get(end..), head.get(end..));
}

/// A batch: all of its messages come back, or none was accepted.
pub fn batch(data: &[u8]) {
    let Ok(messages) = batches::parse(data) else { return };
    let Ok(deliveries) = deliver(messages.clone()) else { return };
    for delivery in &deliveries {
        let returned = read_back(delivery);
        assert_eq!(returned.message_id, delivery.entry.message.broker.message_id);
        properties::write_custom(&delivery.entry.message.properties, &mut HeaderMap::new());
    }
    let at_once = |message: &Message| lives(message) && message.broker.scheduled_enqueue_time.is_none();
    if messages.iter().all(at_once) {
        assert_eq!(deliveries.len(), messages.len());
        for (sent, delivery) in messages.iter().zip(&deliveries) {
            assert_eq!(*delivery.entry.message, expected(sent, delivery));
        }
    }
}

/// A method and a path: the words mean the same in any case and with a slash at their end.
pub fn request_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (method, path) = text.split_once(' ').unwrap_or(("GET", text));
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let found = route::route(&method, path);
    assert_eq!(route::route(&method, &format!("{path}/")), found);
    let shouted = route::route(&method, &path.to_ascii_uppercase());
    assert_eq!(shouted.as_ref().err(), found.as_ref().err());
    super::management::fuzzing::path(path);
    let (Ok(found), Ok(shouted)) = (found, shouted) else { return };
    assert!(!found.name.is_empty());
    assert_eq!(shouted.operation.name(), found.operation.name());
    if found.name.is_ascii() {
        assert_eq!(shouted.entity, found.entity);
    }
    assert_eq!(EntityPath::parse(&found.name), found.entity);
}

/// Sends, and receives everything at the moment when it may be received.
fn deliver(messages: Vec<Message>) -> Result<Vec<Delivery>, BrokerError> {
    let mut broker = Broker::new(Box::new(CountingIds::default()), false);
    broker.put_queue(QueueOptions::from("q"), NOW);
    let path = EntityPath::parse("q");
    let (count, mut now) = (messages.len(), NOW);
    broker.send(&path, messages, now)?;
    let mut deliveries = Vec::new();
    loop {
        while let Some(delivery) = broker.receive(&path, ReceiveMode::ReceiveAndDelete, now)? {
            deliveries.push(delivery);
        }
        assert!(deliveries.len() <= count, "more came than was sent");
        match broker.next_event() {
            Some(next) => {
                assert!(next > now, "what was due at {next:?} is not done at {now:?}");
                now = next;
            }
            None => return Ok(deliveries),
        }
    }
}

/// Whether a message lives long enough to be received in the moment in which it becomes visible.
fn lives(message: &Message) -> bool {
    message.broker.time_to_live.is_none_or(|ttl| ttl.as_millis() > 0)
}

/// A message with what the broker adds.
fn expected(sent: &Message, delivery: &Delivery) -> Message {
    let mut expected = sent.clone();
    if expected.broker.message_id.is_empty() {
        let id = &delivery.entry.message.broker.message_id;
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id} is no generated id");
        expected.broker.message_id.clone_from(id);
    }
    if expected.broker.partition_key.is_none() {
        expected.broker.partition_key.clone_from(&expected.broker.session_id);
    }
    expected
}

/// Broker properties as a header shows them, their time to live apart: dates have whole seconds.
fn as_shown(broker: &BrokerProperties) -> BrokerProperties {
    let date = |at: UnixMillis| UnixMillis::parse_http_date(&at.http_date());
    BrokerProperties {
        time_to_live: None,
        scheduled_enqueue_time: broker.scheduled_enqueue_time.and_then(date),
        ..broker.clone()
    }
}

/// Writes a delivery's header and reads it as a sender's.
#[allow(clippy::expect_used, reason = "a broken promise is a panic")]
fn read_back(delivery: &Delivery) -> BrokerProperties {
    let text = properties::write_broker(delivery);
    assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{text} is no header");
    let json = serde_json::from_str(&text).expect("the header is JSON");
    properties::parse_broker(&json).expect("what is shown may be sent")
}

/// Lines of `name: value`; what is none is left out, as no server hands it on.
fn header_lines(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|b| *b == b'\n') {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let (name, value) =
            (HeaderName::from_bytes(name), HeaderValue::from_maybe_shared(Bytes::copy_from_slice(value)));
        if let (Ok(name), Ok(value)) = (name, value) {
            let _ = headers.try_append(name, value);
        }
    }
    headers
}
