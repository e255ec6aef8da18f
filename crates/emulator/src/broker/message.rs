//! What a message is, apart from where it stands in a queue.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::time::UnixMillis;

/// A message as its sender described it. Never changed after it was accepted, so that queue, stores
/// and replies share one copy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Message {
    /// Opaque bytes; may be empty. Stores keep them apart from the rest.
    #[serde(skip)]
    pub body: Bytes,
    /// As sent, nonsense included; absent when the sender gave none.
    pub content_type: Option<String>,
    /// The settable broker properties.
    pub broker: BrokerProperties,
    /// Custom (application) properties in the order in which they were sent.
    pub properties: Vec<(String, PropertyValue)>,
    /// The number that a topic or a forwarding queue gave it; 0 when it was sent to the queue it is in.
    #[serde(default)]
    pub enqueued_sequence_number: u64,
    /// How often it was forwarded from one entity to another.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hops: u8,
    /// The entity in which it was dead-lettered, when it was forwarded from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_source: Option<String>,
}

fn is_zero(hops: &u8) -> bool {
    *hops == 0
}

/// The broker properties that a sender may set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BrokerProperties {
    /// The sender's id of the message; the broker draws one when it is empty.
    pub message_id: String,
    /// `CorrelationId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// `Label` (the subject of AMQP).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `To`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// `ReplyTo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// `ReplyToSessionId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to_session_id: Option<String>,
    /// `SessionId`; implies the same `PartitionKey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// `PartitionKey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
    /// `ViaPartitionKey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via_partition_key: Option<String>,
    /// `ForcePersistence`; echoed only when it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_persistence: Option<bool>,
    /// `TimeToLive`; absent means for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<Duration>,
    /// `ScheduledEnqueueTimeUtc`: invisible until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_enqueue_time: Option<UnixMillis>,
}

/// A custom property's value: a JSON scalar with the types that the service tells apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PropertyValue {
    /// Text. A date in quotes is text too, and comes back as it was sent.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Double(f64),
    /// True or false.
    Boolean(bool),
}

impl Message {
    /// Bytes that count towards the size limits: the body and every property. The service publishes
    /// no formula; names and values as text are close to what it counts.
    #[must_use]
    pub fn size(&self) -> usize {
        let texts = [
            Some(&self.broker.message_id),
            self.broker.correlation_id.as_ref(),
            self.broker.label.as_ref(),
            self.broker.to.as_ref(),
            self.broker.reply_to.as_ref(),
            self.broker.reply_to_session_id.as_ref(),
            self.broker.session_id.as_ref(),
            self.broker.partition_key.as_ref(),
            self.broker.via_partition_key.as_ref(),
            self.content_type.as_ref(),
        ];
        let broker: usize = texts.into_iter().flatten().map(String::len).sum();
        let custom: usize = self.properties.iter().map(|(name, value)| name.len() + value.size()).sum();
        self.body.len() + broker + custom
    }

    /// Bytes that it takes in an entity, headers of the broker included.
    #[must_use]
    pub fn stored_size(&self) -> u64 {
        /// An estimate: how the live service counts is not documented. It reported 376 bytes for a body of 26 with eight
        /// properties, whose lengths are not known; with names and values of 8 to 10 characters this comes to 340 to 370.
        const MESSAGE: usize = 80;
        const PROPERTY: usize = 8;
        u64::try_from(self.size() + MESSAGE + PROPERTY * self.properties.len()).unwrap_or(u64::MAX)
    }

    /// Sets a custom property; names that differ only by case are one.
    pub fn set_property(&mut self, name: &str, value: PropertyValue) {
        match self.properties.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            Some((_, old)) => *old = value,
            None => self.properties.push((name.to_owned(), value)),
        }
    }
}

impl PropertyValue {
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Integer(_) | Self::Double(_) => 8,
            Self::Boolean(_) => 1,
        }
    }
}
