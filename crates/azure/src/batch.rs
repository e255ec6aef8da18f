//! Many messages in one send: a JSON array, which the broker takes apart.
//!
//! A [`Batch`] is filled until it is full, sent with [`ServiceBus::send_batch`](crate::servicebus::ServiceBus::send_batch), and
//! followed by the next. The broker accepts all of it or nothing.
//!
//! The form has two gaps. It has no binary: a body that is not UTF-8 text is refused ([`PushError::NotText`]) and must be
//! sent alone. It has no content type: the message's travels as the property
//! [`property::CONTENT_TYPE`], from which the receiver restores it
//! ([`Delivery::sent_content_type`](oncebus_core::message::Delivery::sent_content_type)).

use bytes::Bytes;
use oncebus_core::message::{Outgoing, Properties, PropertyValue, property};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::servicebus::{BrokerProperties, EncodeError, TtlForm, check_property};

/// The content type that makes the broker take the array apart. Exactly this: a `charset` makes it one message.
pub const CONTENT_TYPE: &str = "application/vnd.microsoft.servicebus.json";

/// How many bytes a batch may have as it is sent.
///
/// The broker's limit is 256 KB (262,144 bytes) for a batch on the Basic and Standard tiers, payload and properties
/// together. How it counts what it adds to each message is not documented; 16 KB are left for that.
pub const DEFAULT_LIMIT: usize = 240 * 1024;

/// Messages that go out together. Each is serialised once, when it is added.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[`, the messages, and commas between them; the closing bracket is added by `into_body`.
    json: Vec<u8>,
    count: usize,
    limit: usize,
}

/// Why a message was not added. The batch is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// It does not fit beside the others: send the batch, then add it to the next.
    #[error("the batch is full")]
    Full,
    /// It does not fit into a batch of its own.
    #[error("the message takes {size} bytes in a batch: at most {limit} are allowed")]
    TooLarge {
        /// The size of a batch of this message alone.
        size: usize,
        /// The batch's limit.
        limit: usize,
    },
    /// Its body is not UTF-8 text: send it alone.
    #[error("the body is not utf-8 text: a batch cannot carry it")]
    NotText,
    /// It has something that REST cannot carry, alone or in a batch.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Batch {
    /// An empty batch with the [`DEFAULT_LIMIT`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(DEFAULT_LIMIT)
    }

    /// An empty batch that may have this many bytes as it is sent.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { json: vec![b'['], count: 0, limit }
    }

    /// Adds a message.
    ///
    /// # Errors
    /// It does not fit, or a batch cannot carry it.
    pub fn push(&mut self, message: &Outgoing) -> Result<(), PushError> {
        let item = Item::of(message)?;
        let before = self.json.len();
        if self.count > 0 {
            self.json.push(b',');
        }
        let start = self.json.len();
        #[expect(
            clippy::expect_used,
            reason = "strings and finite numbers are JSON, and a Vec takes all that is written"
        )]
        serde_json::to_writer(&mut self.json, &item).expect("strings and finite numbers");
        let alone = self.json.len() - start + "[]".len();
        if self.size() <= self.limit {
            self.count += 1;
            return Ok(());
        }
        self.json.truncate(before);
        Err(if alone > self.limit { PushError::TooLarge { size: alone, limit: self.limit } } else { PushError::Full })
    }

    /// How many messages are in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes its request body has.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.json.len() + "]".len()
    }

    /// The request body.
    pub(crate) fn into_body(mut self) -> Bytes {
        self.json.push(b']');
        self.json.into()
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// A message as the broker takes it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item<'a> {
    body: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    broker_properties: BrokerProperties<'a>,
    #[serde(skip_serializing_if = "UserProperties::is_empty")]
    user_properties: UserProperties<'a>,
}

fn is_default(properties: &BrokerProperties<'_>) -> bool {
    *properties == BrokerProperties::default()
}

impl<'a> Item<'a> {
    fn of(message: &'a Outgoing) -> Result<Self, PushError> {
        let body = std::str::from_utf8(&message.body).map_err(|_| PushError::NotText)?;
        for (name, value) in message.properties.iter() {
            check_property(name, value)?;
        }
        // A property that is there already is the original of a message that came in a batch itself.
        let content_type = message.content_type.as_deref().filter(|text| !text.is_empty());
        let content_type = content_type.filter(|_| message.properties.get(property::CONTENT_TYPE).is_none());
        Ok(Self {
            body,
            broker_properties: BrokerProperties::of(message, TtlForm::TimeSpan)?,
            user_properties: UserProperties { properties: &message.properties, content_type },
        })
    }
}

/// The properties, and the content type beside them.
struct UserProperties<'a> {
    properties: &'a Properties,
    content_type: Option<&'a str>,
}

impl UserProperties<'_> {
    fn is_empty(&self) -> bool {
        self.properties.is_empty() && self.content_type.is_none()
    }
}

impl Serialize for UserProperties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.properties.iter() {
            match value {
                PropertyValue::Text(text) => map.serialize_entry(name, text)?,
                PropertyValue::Integer(number) => map.serialize_entry(name, number)?,
                PropertyValue::Double(number) => map.serialize_entry(name, number)?,
                PropertyValue::Bool(truth) => map.serialize_entry(name, truth)?,
            }
        }
        if let Some(content_type) = self.content_type {
            map.serialize_entry(property::CONTENT_TYPE, content_type)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use oncebus_core::message::Addressing;
    use oncebus_core::time::UnixTime;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn text(body: &str) -> Outgoing {
        Outgoing { body: Bytes::copy_from_slice(body.as_bytes()), ..Outgoing::default() }
    }

    fn parsed(batch: &Batch) -> Value {
        serde_json::from_slice(&batch.clone().into_body()).unwrap()
    }

    #[test]
    fn everything_a_message_has_is_in_the_batch() {
        let mut batch = Batch::new();
        let message = Outgoing {
            message_id: Some("m".into()),
            content_type: Some("application/json".into()),
            addressing: Addressing { partition_key: Some("p".into()), ..Addressing::default() },
            time_to_live: Some(Duration::from_secs(90_000)),
            scheduled_for: Some(UnixTime(784_111_777)),
            properties: Properties::from_iter([("n", PropertyValue::Integer(7)), ("t", PropertyValue::from("é"))]),
            ..text("{\"a\":1}")
        };
        batch.push(&message).unwrap();
        let expected = serde_json::json!([{
            "Body": "{\"a\":1}",
            "BrokerProperties": {
                "MessageId": "m",
                "PartitionKey": "p",
                "ScheduledEnqueueTimeUtc": "Sun, 06 Nov 1994 08:49:37 GMT",
                "TimeToLiveTimeSpan": "1.01:00:00",
            },
            "UserProperties": { "n": 7, "t": "é", "oncebus-content-type": "application/json" },
        }]);
        assert_eq!(parsed(&batch), expected);
    }

    #[test]
    fn the_original_content_type_of_a_copy_is_kept() {
        let mut batch = Batch::new();
        let message = Outgoing {
            content_type: Some("application/xml; charset=utf-8".into()),
            properties: Properties::from_iter([(property::CONTENT_TYPE, "text/csv")]),
            ..text("a,b")
        };
        batch.push(&message).unwrap();
        assert_eq!(parsed(&batch)[0]["UserProperties"], serde_json::json!({ "oncebus-content-type": "text/csv" }));
    }

    #[test]
    fn what_a_batch_cannot_carry_is_refused_and_leaves_it_as_it_was() {
        let mut batch = Batch::with_limit(30);
        batch.push(&text("one")).unwrap();
        let before = batch.clone().into_body();
        let binary = Outgoing { body: Bytes::from_static(b"\xff"), ..Outgoing::default() };
        assert_eq!(batch.push(&binary), Err(PushError::NotText));
        assert_eq!(batch.push(&text("two")), Err(PushError::Full));
        assert_eq!(batch.push(&text(&"x".repeat(30))), Err(PushError::TooLarge { size: 43, limit: 30 }));
        let reserved = Outgoing { properties: Properties::from_iter([("Host", "x")]), ..text("") };
        assert!(matches!(batch.push(&reserved), Err(PushError::Encode(_))));
        assert_eq!(batch.clone().into_body(), before);
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn a_batch_may_be_filled_to_its_last_byte() {
        let one = "[{\"Body\":\"one\"}]".len();
        assert!(Batch::with_limit(one).push(&text("one")).is_ok());
        assert!(Batch::with_limit(one - 1).push(&text("one")).is_err());
        let mut two = Batch::with_limit(2 * one - 1);
        two.push(&text("one")).unwrap();
        two.push(&text("two")).unwrap();
        assert_eq!(two.size(), 2 * one - 1);
    }

    proptest! {
        #[test]
        fn its_size_is_what_is_sent_and_its_bodies_are_what_was_added(bodies in prop::collection::vec(".{0,40}", 0..30), limit in 2usize..900) {
            let mut batch = Batch::with_limit(limit);
            let added: Vec<&String> = bodies.iter().filter(|body| batch.push(&text(body)).is_ok()).collect();
            prop_assert_eq!(batch.size(), batch.clone().into_body().len());
            prop_assert!(batch.size() <= limit);
            prop_assert_eq!(batch.len(), added.len());
            let sent: Vec<Value> = added.into_iter().map(|body| serde_json::json!({ "Body": body })).collect();
            prop_assert_eq!(parsed(&batch), Value::from(sent));
        }
    }
}
