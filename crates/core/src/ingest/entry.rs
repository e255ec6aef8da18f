//! A message as it was accepted, and the rules that everything which becomes one must keep.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::id::{IdError, MAX_BROKER_ID, broker_id, check_logical_id, payload_hash};
use crate::message::{Outgoing, Properties, PropertyValue, property};
use crate::problem::{Kind, Problem};
use crate::trace::Trace;

/// The most bytes of a content type. Real ones stay below 150.
const MAX_CONTENT_TYPE: usize = 256;

/// The most properties that a sender may set on a message. They come back as headers when the message is received, and HTTP clients
/// read about a hundred of those, the broker's own included.
pub const MAX_PROPERTIES: usize = 64;

/// The most bytes that a sender's properties may come to, names and values, for the same reason.
pub const MAX_PROPERTIES_BYTES: usize = 16 * 1024;

/// Sent alone under this content type, a body would be taken apart by the broker into messages of the sender's making.
const BATCH_CONTENT_TYPE: &str = "application/vnd.microsoft.servicebus.json";
/// What such a body travels as; its own content type travels as a property, from which the receiver restores it.
const OPAQUE_CONTENT_TYPE: &str = "application/octet-stream";

/// RFC 3986's unreserved characters stand for themselves in a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A message to send, and the id under which its sender knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The logical id.
    pub id: String,
    /// The message.
    pub message: Outgoing,
}

impl Entry {
    /// A message out of its parts. `id` and `key` are checked ([`check_logical_id`], [`check_key`]), as are the sender's
    /// properties ([`check_property`]); ours are added.
    #[must_use]
    pub fn new(id: String, key: Option<&str>, content_type: Option<&str>, body: Bytes, properties: Properties) -> Self {
        let mut properties = properties;
        properties.set(property::ID, id.as_str());
        if let Some(key) = key {
            properties.set(property::KEY, key);
        }
        let content_type = match content_type {
            Some(original) if is_media_type(original, BATCH_CONTENT_TYPE) => {
                properties.set(property::CONTENT_TYPE, original);
                Some(OPAQUE_CONTENT_TYPE)
            }
            other => other,
        };
        let message = Outgoing {
            message_id: Some(broker_id(&id)),
            content_type: content_type.map(str::to_owned),
            body,
            properties,
            ..Outgoing::default()
        };
        Self { id, message }
    }

    /// The same message as a part of this trace, or of the one in which its event began; unless its sender has made it one of another.
    #[must_use]
    pub fn traced(mut self, trace: Option<&Trace>) -> Self {
        let began = trace.is_none().then(|| Trace::of_event(&self.message.properties)).flatten();
        if let Some(trace) = trace.or(began.as_ref()) {
            trace.write(&mut self.message.properties);
        }
        self
    }

    /// The same message under another id, and with this lock key or none.
    #[must_use]
    pub fn renamed(mut self, id: String, key: Option<&str>) -> Self {
        self.message.message_id = Some(broker_id(&id));
        self.message.properties.set(property::ID, id.as_str());
        match key {
            Some(key) => self.message.properties.set(property::KEY, key),
            None => drop(self.message.properties.remove(property::KEY)),
        }
        self.id = id;
        self
    }

    /// The digest of content type and body, as the sender gave them.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let Outgoing { properties, content_type, body, .. } = &self.message;
        payload_hash(properties.text(property::CONTENT_TYPE).or(content_type.as_deref()), body)
    }

    /// The lock key.
    #[must_use]
    pub fn lock_key(&self) -> Option<&str> {
        self.message.properties.text(property::KEY)
    }

    /// With a `PartitionKey`, which is checked ([`check_partition_key`]).
    #[must_use]
    pub fn with_partition_key(mut self, partition_key: String) -> Self {
        self.message.addressing.partition_key = Some(partition_key);
        self
    }

    /// How many bytes it comes to: body, content type, ids and properties.
    #[must_use]
    pub fn size(&self) -> usize {
        let Outgoing { message_id, content_type, body, properties, addressing, .. } = &self.message;
        let texts: usize =
            [message_id, content_type, &addressing.partition_key].into_iter().flatten().map(String::len).sum();
        let properties: usize = properties.iter().map(|(name, value)| name.len() + value_size(value)).sum();
        body.len().saturating_add(texts).saturating_add(properties)
    }

    /// The same message with this body.
    #[must_use]
    pub fn with_body(mut self, body: Bytes) -> Self {
        self.message.body = body;
        self
    }

    /// How many bytes the body may have, of `limit` for the whole message.
    ///
    /// # Errors
    /// The rest is more than that by itself.
    pub fn body_limit(&self, limit: usize) -> Result<usize, Problem> {
        let rest = self.size().saturating_sub(self.message.body.len());
        limit.checked_sub(rest).ok_or_else(|| too_large(Some(rest), limit, "id, key, content type and properties"))
    }

    /// Checks its size.
    ///
    /// # Errors
    /// It is more than the limit: says how much the body may be.
    pub fn check_size(&self, limit: usize) -> Result<(), Problem> {
        let (size, limit) = (self.message.body.len(), self.body_limit(limit)?);
        if size <= limit { Ok(()) } else { Err(too_large(Some(size), limit, "the body")) }
    }
}

fn value_size(value: &PropertyValue) -> usize {
    value.as_text().map_or(8, str::len)
}

/// A problem about something that is too large; `size` where it is known.
#[must_use]
pub fn too_large(size: Option<usize>, limit: usize, what: &str) -> Problem {
    let more = size.map(|size| format!(", not {size}")).unwrap_or_default();
    let detail = format!("{what} may come to {limit} bytes{more}");
    Problem::new(Kind::TooLarge, detail).with("limit_bytes", limit)
}

/// The path under which a message's state is found.
#[must_use]
pub fn location(queue: &str, id: &str) -> String {
    let (queue, id) = (utf8_percent_encode(queue, SEGMENT), utf8_percent_encode(id, SEGMENT));
    format!("/queues/{queue}/messages/{id}")
}

/// Checks a lock key: the rules of an id, but for those of paths, where no key stands.
///
/// # Errors
/// What is wrong with it.
pub fn check_key(key: &str) -> Result<(), KeyError> {
    match check_logical_id(key) {
        Ok(()) | Err(IdError::Dots) => Ok(()),
        Err(IdError::Empty) => Err(KeyError::Empty),
        Err(IdError::TooLong) => Err(KeyError::TooLong),
        Err(IdError::Control) => Err(KeyError::Control),
    }
}

/// Checks a partition key: 1 to 128 characters, none of them a control character.
///
/// # Errors
/// What is wrong with it, to be read after its name.
pub fn check_partition_key(key: &str) -> Result<(), &'static str> {
    match key.chars().count() {
        0 => Err("is empty: leave it out where there is none"),
        1..=MAX_BROKER_ID if key.chars().any(char::is_control) => Err("contains control characters"),
        1..=MAX_BROKER_ID => Ok(()),
        _ => Err("has more than 128 characters"),
    }
}

/// Why a lock key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing there.
    #[error("is empty: leave it out where there is no key")]
    Empty,
    /// Longer than [`MAX_LOGICAL_ID`](crate::id::MAX_LOGICAL_ID).
    #[error("has more than {} bytes", crate::id::MAX_LOGICAL_ID)]
    TooLong,
    /// A control character, which no header carries.
    #[error("contains control characters")]
    Control,
}

/// Checks a content type: it goes into a header, word for word.
///
/// # Errors
/// What is wrong with it, to be read after its name.
pub fn check_content_type(content_type: &str) -> Result<(), &'static str> {
    if content_type.len() > MAX_CONTENT_TYPE {
        Err("has more than 256 bytes")
    } else if content_type.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        Ok(())
    } else {
        Err("has characters outside printable ASCII")
    }
}

/// Checks the name of a sender's property: a name that is ours is not the sender's to set. Whether HTTP can carry it is for
/// the dialect to say.
///
/// # Errors
/// It is one of ours.
pub fn check_property(name: &str) -> Result<(), Problem> {
    if property::is_ours(name) {
        let detail = format!("the property name {name:?} is reserved: names that begin with oncebus- are our own");
        return Err(Problem::new(Kind::Malformed, detail));
    }
    Ok(())
}

/// Whether a content type is this media type, whatever its parameters.
#[must_use]
pub fn is_media_type(content_type: &str, media_type: &str) -> bool {
    essence(content_type).eq_ignore_ascii_case(media_type)
}

/// Whether a content type is JSON: its subtype is `json`, or ends in `+json`.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let Some((_, subtype)) = essence(content_type).split_once('/') else { return false };
    let ending = subtype.len().checked_sub("+json".len()).and_then(|at| subtype.get(at..));
    subtype.eq_ignore_ascii_case("json") || ending.is_some_and(|ending| ending.eq_ignore_ascii_case("+json"))
}

/// A content type without its parameters.
pub(crate) fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, content_type: Option<&str>) -> Entry {
        Entry::new(id.to_owned(), Some("k"), content_type, Bytes::from_static(b"body"), Properties::new())
    }

    #[test]
    fn a_message_carries_its_id_and_key_and_no_partition_key() {
        let Entry { message, .. } = entry(&"ä".repeat(129), Some("text/plain"));
        assert_eq!(message.properties.text("oncebus-id"), Some("ä".repeat(129).as_str()));
        assert_eq!(message.properties.text("oncebus-key"), Some("k"));
        assert_eq!(message.message_id.map(|id| id.len()), Some(64));
        assert_eq!((message.addressing.partition_key, message.content_type.as_deref()), (None, Some("text/plain")));
    }

    #[test]
    fn another_name_makes_no_other_message() {
        let renamed = entry("a", Some(BATCH_CONTENT_TYPE)).renamed("b".into(), None);
        let fresh =
            Entry::new("b".into(), None, Some(BATCH_CONTENT_TYPE), Bytes::from_static(b"body"), Properties::new());
        assert_eq!((renamed.lock_key(), renamed.size()), (None, fresh.size()));
        assert_eq!((renamed.id, renamed.message.message_id), (fresh.id, fresh.message.message_id));
        assert_eq!(renamed.message.properties.text(property::ID), Some("b"));
        // As the handler computes it of what is delivered.
        assert_eq!(entry("a", Some(BATCH_CONTENT_TYPE)).fingerprint(), payload_hash(Some(BATCH_CONTENT_TYPE), b"body"));
        assert_eq!(entry("a", None).fingerprint(), payload_hash(None, b"body"));
    }

    #[test]
    fn a_body_that_the_broker_would_take_apart_travels_as_opaque_bytes() {
        for original in [BATCH_CONTENT_TYPE, "Application/VND.microsoft.servicebus.json ; charset=utf-8"] {
            let Entry { message, .. } = entry("a", Some(original));
            assert_eq!(message.content_type.as_deref(), Some(OPAQUE_CONTENT_TYPE));
            assert_eq!(message.properties.text(property::CONTENT_TYPE), Some(original));
        }
    }

    #[test]
    fn the_size_counts_everything_that_the_sender_chose() {
        // body 4, MessageId 2, oncebus-id 10 + 2, oncebus-key 11 + 1, content type 3.
        let entry = entry("id", Some("a/b"));
        assert_eq!(entry.size(), 33);
        assert_eq!(entry.check_size(33), Ok(()));
        let problem = entry.check_size(32).unwrap_err();
        assert_eq!(problem.kind, Kind::TooLarge);
        assert_eq!(problem.detail, "the body may come to 3 bytes, not 4");
        assert_eq!(problem.to_json()["limit_bytes"], 3);
        assert_eq!(entry.body_limit(29), Ok(0));
        let problem = entry.check_size(28).unwrap_err();
        assert_eq!(problem.detail, "id, key, content type and properties may come to 28 bytes, not 29");
    }

    #[test]
    fn a_location_is_one_segment_whatever_the_id() {
        assert_eq!(location("orders", "a/b c?%ä"), "/queues/orders/messages/a%2Fb%20c%3F%25%C3%A4");
    }

    #[test]
    fn json_is_told_by_its_media_type() {
        for yes in ["application/json", "Application/JSON; charset=utf-8", "application/cloudevents+json", "text/json"]
        {
            assert!(is_json(yes), "{yes}");
        }
        for no in ["", "json", "text/plain", "application/jsonl", "application/x-json+xml"] {
            assert!(!is_json(no), "{no}");
        }
    }

    #[test]
    fn our_property_names_are_not_the_senders() {
        assert!(check_property("Oncebus-Id").is_err());
        assert_eq!(check_property("priority"), Ok(()));
    }
}
