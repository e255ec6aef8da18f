//! A letter, as it was received: what it says of itself, and how it is shown.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oncebus_core::message::{Delivery, PropertyValue, property};
use oncebus_core::record::redrive::Origin;
use oncebus_core::record::retention::in_words;
use oncebus_core::time::rfc3339;
use serde_json::{Map, Value, json};

use crate::operator::on_one_line;

/// The reason with which a handler turns away another payload under a known id.
const PAYLOAD_MISMATCH: &str = "payload-mismatch";

/// The widths of the columns of a line; what comes last is as long as it is.
pub(super) const HEADINGS: &str = "SEQUENCE  DELIVERED  AGE       REASON            ID, DESCRIPTION";

/// A message that lies on a poison queue or a dead-letter queue.
#[derive(Debug, Clone)]
pub(super) struct Letter<'a>(pub(super) &'a Delivery);

impl<'a> Letter<'a> {
    pub(super) fn id(&self) -> &'a str {
        self.0.logical_id()
    }

    /// Why the handler gave it up, also where the broker has moved the letter on since; else the broker's reason.
    pub(super) fn reason(&self) -> Option<&'a str> {
        self.0.properties.text(property::REASON).or_else(|| self.0.properties.text(property::DEAD_LETTER_REASON))
    }

    fn description(&self) -> Option<&'a str> {
        self.0.properties.text(property::DEAD_LETTER_DESCRIPTION)
    }

    /// The queue it was processed from, as our handler wrote it down.
    pub(super) fn source_queue(&self) -> Option<&'a str> {
        self.0.properties.text(property::SOURCE_QUEUE)
    }

    /// The epoch of the record for which it was put there.
    fn epoch(&self) -> Option<u64> {
        self.0.properties.get(property::EPOCH)?.to_string().parse().ok()
    }

    /// What it is to a redrive. On the broker's dead-letter queue lies what nobody settled, and what was a poison copy before.
    pub(super) fn origin(&self, is_brokers: bool) -> Origin {
        match self.source_queue() {
            _ if self.reason() == Some(PAYLOAD_MISMATCH) => Origin::Mismatch,
            None if is_brokers => Origin::Broker,
            _ => Origin::Poison(self.epoch()),
        }
    }

    pub(super) fn payload(&self) -> String {
        self.0.payload_hash()
    }

    /// How long ago it was put there, by the broker's clock.
    pub(super) fn age(&self) -> Option<Duration> {
        Some(self.0.answered_at?.since(self.0.enqueued_at?))
    }

    pub(super) fn line(&self) -> String {
        let age = self.age().map_or_else(|| "?".to_owned(), in_words);
        let (sequence, delivered) = (self.0.lock.sequence_number, self.0.delivery_count);
        let reason = on_one_line(self.reason().unwrap_or("-"));
        let description = self.description().map(|text| format!(": {}", on_one_line(text))).unwrap_or_default();
        format!("{sequence:>8}  {delivered:>9}  {age:<8}  {reason:<16}  {}{description}", on_one_line(self.id()))
    }

    /// All but the body and the sender's properties.
    pub(super) fn json(&self) -> Map<String, Value> {
        let letter = self.0;
        let members = json!({
            "id": self.id(),
            "sequence": letter.lock.sequence_number,
            "message_id": letter.message_id,
            "reason": self.reason(),
            "description": self.description(),
            "source_queue": self.source_queue(),
            "epoch": self.epoch(),
            "key": letter.key(),
            "enqueued_at": letter.enqueued_at.map(rfc3339),
            "age_seconds": self.age().map(|age| age.as_secs()),
            "delivery_count": letter.delivery_count,
            "content_type": letter.sent_content_type(),
            "bytes": letter.body.len(),
        });
        match members {
            Value::Object(members) => members.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            _ => Map::new(),
        }
    }

    /// The same with properties and body.
    pub(super) fn whole(&self) -> Map<String, Value> {
        let mut members = self.json();
        let own = self.0.properties.iter().filter(|(name, _)| is_senders(name));
        let properties: Map<String, Value> = own.map(|(name, value)| (name.to_owned(), scalar(value))).collect();
        members.insert("properties".to_owned(), properties.into());
        match std::str::from_utf8(&self.0.body) {
            Ok(text) => members.insert("body".to_owned(), text.into()),
            Err(_) => members.insert("body_base64".to_owned(), STANDARD.encode(&self.0.body).into()),
        };
        members
    }
}

/// Whether a property is the sender's: neither ours nor of a dead letter.
pub(super) fn is_senders(name: &str) -> bool {
    let of_letters = [property::DEAD_LETTER_REASON, property::DEAD_LETTER_DESCRIPTION];
    !property::is_ours(name) && !of_letters.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// A property as JSON.
pub(super) fn scalar(value: &PropertyValue) -> Value {
    match value {
        PropertyValue::Text(text) => text.as_str().into(),
        PropertyValue::Integer(number) => (*number).into(),
        PropertyValue::Double(number) => (*number).into(),
        PropertyValue::Bool(truth) => (*truth).into(),
    }
}
