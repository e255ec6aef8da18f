//! CloudEvents 1.0 over HTTP: one message for an event, however it travelled.
//!
//! # Which mode
//!
//! **`Content-Type` alone tells.** `application/cloudevents+json` is one event in a body of JSON (structured),
//! `application/cloudevents-batch+json` an array of them (batched). Any other type that begins with `application/cloudevents` is a format
//! that we do not read: 415. Every other content type is that of the data: the request is an event in binary mode if one of the headers `ce-specversion`,
//! `ce-id`, `ce-source` and `ce-type` is there, and otherwise no event but a plain message.
//!
//! # What the processor gets
//!
//! **The data as the body, `datacontenttype` as the content type, every other attribute as a property `cloudEvents_{name}`**, in all three
//! modes. An event in JSON is unwrapped, for two reasons. Producers change the mode without telling (Event Grid begins to batch when a
//! setting is changed), and a processor should not have to notice. And the same event may come by two ways: a retry in another mode must be the same message
//! with the same payload, or it would be refused as `payload-mismatch`.
//!
//! Nothing of the data is altered. `data` that is JSON goes on byte for byte as it stands in the event; a string whose `datacontenttype` is not JSON
//! goes on as the text itself; `data_base64` as the bytes it stands for. `"data": null` is the JSON `null`, and no data is an empty body. Where `datacontenttype` is absent, an event in JSON means
//! `application/json`, as its format says. Values of attributes go on as text in their canonical form, since headers know nothing else.
//!
//! # Who it is
//!
//! `source` and `id` together name an event, so together they are the message's id: **`{source} {id}`**, with one space between. A URI reference
//! has no white space (one that has is refused), so the first space ends the source, and no two pairs make the same id. Where that is longer than an
//! id may be, it is `sha256:` and the SHA-256 of that text in hex. `Idempotency-Key` and `Message-Id` do not count: a
//! retry from another hop has the same event and another key. `partitionkey` is the lock key, unless `Oncebus-Lock-Key` names one.
//!
//! # What is refused
//!
//! 400 `invalid-event`, with the `attribute` that is wrong: a required one (`specversion`, `id`, `source`, `type`) that is missing or empty, another `specversion` than
//! `1.0`, a name with anything but lower-case letters and digits, a value with control characters or of no type that CloudEvents knows, `data` beside
//! `data_base64`. `time` and the extensions are passed on and not judged.

mod binary;
pub mod handshake;
mod structured;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

pub use structured::{event, event_of};

use super::entry::{Entry, MAX_PROPERTIES, MAX_PROPERTIES_BYTES, check_key, is_media_type, too_large};
use super::head::Head;
use crate::id::{MAX_LOGICAL_ID, check_logical_id, sha256_hex};
use crate::message::Properties;
use crate::problem::{Kind, Problem};

/// The content type of one event in JSON.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// The content type of an array of events.
pub const BATCHED: &str = "application/cloudevents-batch+json";
/// What every CloudEvents format begins with.
const FAMILY: &str = "application/cloudevents";

/// Before the name of an attribute in the name of its property: the prefix of the AMQP binding.
const PREFIX: &str = "cloudEvents_";
/// The only version.
const VERSION: &str = "1.0";
/// What every event has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// How a request carries events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Attributes in headers, data in the body.
    Binary,
    /// One event in JSON.
    Structured,
    /// An array of events in JSON.
    Batched,
}

impl Mode {
    /// The mode of a request; `None`: it carries no event.
    ///
    /// # Errors
    /// It carries events in a format that we do not read, or its content type cannot be read.
    pub fn of(head: &Head) -> Result<Option<Self>, Problem> {
        let content_type = head.content_type()?.unwrap_or_default();
        if is_media_type(content_type, STRUCTURED) {
            return Ok(Some(Self::Structured));
        }
        if is_media_type(content_type, BATCHED) {
            return Ok(Some(Self::Batched));
        }
        if content_type.get(..FAMILY.len()).is_some_and(|start| start.eq_ignore_ascii_case(FAMILY)) {
            let detail = format!("of the CloudEvents formats, {STRUCTURED} and {BATCHED} are read");
            return Err(Problem::new(Kind::UnsupportedContentType, detail));
        }
        Ok(binary::is_event(head).then_some(Self::Binary))
    }
}

/// The event of a request in binary mode, still without its body.
///
/// # Errors
/// It is no event, or a header cannot be read.
pub fn binary(head: &Head) -> Result<Entry, Problem> {
    let content_type = head.content_type()?;
    binary::attributes(head)?.into_entry(content_type, Bytes::new(), head.lock_key()?.as_deref())
}

/// The attributes of an event but `datacontenttype`, as text.
#[derive(Debug, Default)]
struct Attributes<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Attributes<'a> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    fn add(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) -> Result<(), Problem> {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            return Err(invalid(&name, "is no name of an attribute: lower-case letters and digits"));
        }
        if value.chars().any(char::is_control) {
            return Err(invalid(&name, "contains control characters"));
        }
        if self.get(&name).is_some() {
            return Err(invalid(&name, "is there twice"));
        }
        self.0.push((name, value));
        Ok(())
    }

    /// `source` and `id` as one, if they are good.
    fn logical_id(&self) -> Result<String, Problem> {
        for name in REQUIRED {
            if self.get(name).is_none_or(str::is_empty) {
                return Err(invalid(name, "is missing: every event has specversion, id, source and type"));
            }
        }
        if self.get("specversion") != Some(VERSION) {
            return Err(invalid("specversion", "must be 1.0"));
        }
        let (source, id) = (self.get("source").unwrap_or_default(), self.get("id").unwrap_or_default());
        if source.contains(char::is_whitespace) {
            return Err(invalid("source", "is a URI reference, which has no white space"));
        }
        let both = format!("{source} {id}");
        let logical_id =
            if both.len() > MAX_LOGICAL_ID { format!("sha256:{}", sha256_hex(both.as_bytes())) } else { both };
        check_logical_id(&logical_id).map_err(|error| Problem::new(Kind::InvalidId, error.to_string()))?;
        Ok(logical_id)
    }

    /// The message. `key` beats `partitionkey`.
    fn into_entry(self, content_type: Option<&str>, body: Bytes, key: Option<&str>) -> Result<Entry, Problem> {
        let id = self.logical_id()?;
        let key = key.or(self.get("partitionkey")).map(str::to_owned);
        if let Some(key) = &key {
            check_key(key).map_err(|error| invalid("partitionkey", &error.to_string()))?;
        }
        let size: usize = self.0.iter().map(|(name, value)| PREFIX.len() + name.len() + value.len()).sum();
        if size > MAX_PROPERTIES_BYTES {
            return Err(too_large(Some(size), MAX_PROPERTIES_BYTES, "the attributes"));
        }
        if self.0.len() > MAX_PROPERTIES {
            return Err(Problem::new(Kind::InvalidEvent, format!("at most {MAX_PROPERTIES} attributes are allowed")));
        }
        let properties: Properties =
            self.0.into_iter().map(|(name, value)| (format!("{PREFIX}{name}"), value.into_owned())).collect();
        Ok(Entry::new(id, key.as_deref(), content_type, body, properties))
    }
}

fn invalid(attribute: &str, what: &str) -> Problem {
    Problem::new(Kind::InvalidEvent, format!("the attribute {attribute} {what}")).with("attribute", attribute)
}
