//! Messages as Oncebus thinks of them, apart from how a broker spells them.
//!
//! [`Outgoing`] is what we hand to the broker, [`Delivery`] what the broker hands to us under a peek-lock. Both
//! carry the same kind of [`Properties`]. The REST dialect (`oncebus-azure`) translates; nothing here knows
//! of headers or JSON.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;

use crate::claim::Claim;
use crate::id::{payload_hash, payload_hash_of};
use crate::time::UnixTime;

/// Names of the properties that Oncebus sets on its messages. All are text on the wire.
pub mod property {
    /// The logical id: the same for every delivery and copy of a message. Beats `MessageId`, which copies do not share.
    pub const ID: &str = "oncebus-id";
    /// The lock key: messages that share it must not be processed side by side.
    pub const KEY: &str = "oncebus-key";
    /// The sequence number of the first broker message, kept by copies, so that order survives a retry.
    pub const SEQUENCE: &str = "oncebus-seq";
    /// The epoch of the record for which a copy was made.
    pub const EPOCH: &str = "oncebus-ep";
    /// The content type of a message that was sent in a batch, which has no place for one.
    pub const CONTENT_TYPE: &str = "oncebus-content-type";
    /// The blob that holds the body, by its name in the container ([`crate::claim`]).
    pub const CLAIM: &str = "oncebus-claim";
    /// How many bytes that body has.
    pub const CLAIM_SIZE: &str = "oncebus-claim-size";
    /// The SHA-256 of that body, in hex.
    pub const CLAIM_SHA256: &str = "oncebus-claim-sha256";
    /// The queue that a message on a poison queue came from.
    pub const SOURCE_QUEUE: &str = "oncebus-source-queue";
    /// Why a message was parked: a short code. The broker overwrites its own name for it when it moves the letter on, and this one not.
    pub const REASON: &str = "oncebus-reason";
    /// The same. The broker's own name for it.
    pub const DEAD_LETTER_REASON: &str = "DeadLetterReason";
    /// Why a message was parked: a sentence. The broker's own name for it.
    pub const DEAD_LETTER_DESCRIPTION: &str = "DeadLetterErrorDescription";

    /// Whether a property is one of ours, and not the sender's.
    #[must_use]
    pub fn is_ours(name: &str) -> bool {
        name.get(..8).is_some_and(|prefix| prefix.eq_ignore_ascii_case("oncebus-"))
    }
}

/// The value of an application property: what REST can carry in a header, a JSON scalar.
#[derive(Debug, Clone, PartialEq)]
pub enum PropertyValue {
    /// Text; also dates and GUIDs, which REST returns as text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Double(f64),
    /// True or false.
    Bool(bool),
}

impl PropertyValue {
    /// The text inside, for a text property.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Integer(_) | Self::Double(_) | Self::Bool(_) => None,
        }
    }
}

impl Hash for PropertyValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Text(text) => text.hash(state),
            Self::Integer(number) => number.hash(state),
            // The two zeros are equal, so they must hash alike: adding zero makes one of them.
            Self::Double(number) => (number + 0.0).to_bits().hash(state),
            Self::Bool(truth) => truth.hash(state),
        }
    }
}

impl std::fmt::Display for PropertyValue {
    /// Text as it is, everything else as its JSON.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Double(number) => write!(f, "{number:?}"),
            Self::Bool(truth) => write!(f, "{truth}"),
        }
    }
}

impl From<&str> for PropertyValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for PropertyValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Application properties in the order they were set. Names are unique without regard to case, as REST
/// carries them in HTTP headers.
#[derive(Debug, Clone, Default, PartialEq, Hash)]
pub struct Properties(Vec<(String, PropertyValue)>);

impl Properties {
    /// No properties.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Sets a property; a former value under the same name, in any case, is replaced.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<PropertyValue>) {
        let name = name.into();
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
            Some(slot) => *slot = (name, value),
            None => self.0.push((name, value)),
        }
    }

    /// The value under a name, in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&PropertyValue> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The text under a name, in any case; `None` where there is none or it is not text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(PropertyValue::as_text)
    }

    /// Removes a property and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<PropertyValue> {
        let at = self.0.iter().position(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(self.0.remove(at).1)
    }

    /// All properties, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &PropertyValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<String>, V: Into<PropertyValue>> FromIterator<(N, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut properties = Self::new();
        for (name, value) in pairs {
            properties.set(name, value);
        }
        properties
    }
}

/// What a message carries for brokers, and for others that work on the same queue. It decides nothing here, and copies keep it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Addressing {
    /// `CorrelationId`.
    pub correlation_id: Option<String>,
    /// `Label`, which AMQP calls the subject.
    pub label: Option<String>,
    /// `ReplyTo`.
    pub reply_to: Option<String>,
    /// `To`.
    pub to: Option<String>,
    /// `PartitionKey`, at most 128 characters.
    pub partition_key: Option<String>,
}

/// A message to be sent.
#[derive(Debug, Clone, Default, PartialEq, Hash)]
pub struct Outgoing {
    /// `MessageId`, at most 128 characters; the broker makes one up where it is absent.
    pub message_id: Option<String>,
    /// The content type of the body; kept by the broker word for word.
    pub content_type: Option<String>,
    /// The body: opaque bytes.
    pub body: Bytes,
    /// Application properties.
    pub properties: Properties,
    /// What brokers, and those beside us, go by.
    pub addressing: Addressing,
    /// `TimeToLive`; the entity's own limit caps it.
    pub time_to_live: Option<Duration>,
    /// `ScheduledEnqueueTimeUtc`: invisible until then.
    pub scheduled_for: Option<UnixTime>,
}

/// A message received under a peek-lock.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Delivery {
    /// Where the lock is settled.
    pub lock: LockRef,
    /// `MessageId`.
    pub message_id: String,
    /// `DeliveryCount`: 1 on the first delivery.
    pub delivery_count: u32,
    /// `EnqueuedTimeUtc`, by the broker's clock.
    pub enqueued_at: Option<UnixTime>,
    /// `LockedUntilUtc`, by the broker's clock.
    pub locked_until: Option<UnixTime>,
    /// The `Date` of the answer: the broker's clock when it answered.
    pub answered_at: Option<UnixTime>,
    /// The content type of the body.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
    /// Application properties.
    pub properties: Properties,
    /// What brokers, and those beside us, go by.
    pub addressing: Addressing,
    /// `TimeToLive`: how long after `enqueued_at` it may be delivered; `None` where there is no end to it.
    pub time_to_live: Option<Duration>,
}

impl Delivery {
    /// The logical id: `oncebus-id` where Oncebus sent the message, else `MessageId`.
    #[must_use]
    pub fn logical_id(&self) -> &str {
        self.properties.text(property::ID).unwrap_or(&self.message_id)
    }

    /// What is left of its time to live, as of when it was delivered, by the broker's clock.
    #[must_use]
    pub fn remaining_time_to_live(&self) -> Option<Duration> {
        let passed = self.answered_at.zip(self.enqueued_at).map(|(now, then)| now.since(then));
        Some(self.time_to_live?.saturating_sub(passed.unwrap_or_default()))
    }

    /// The lock key, where the message has one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.properties.text(property::KEY)
    }

    /// The digest of what it carries, or of what lies in a blob for it.
    #[must_use]
    pub fn payload_hash(&self) -> String {
        match Claim::of(&self.properties) {
            Some(Ok(claim)) => payload_hash_of(self.sent_content_type(), &claim.sha256),
            Some(Err(_)) | None => payload_hash(self.sent_content_type(), &self.body),
        }
    }

    /// How long the broker's lock lasts, as its answer tells: both times have a resolution of 1 s. Recorded answers of the service tell
    /// 60 to 62 s of a lock of 60 s.
    #[must_use]
    pub fn lock_duration(&self) -> Option<Duration> {
        Some(self.locked_until?.since(self.answered_at?))
    }

    /// The content type as the sender gave it: a batch carries it as a property.
    #[must_use]
    pub fn sent_content_type(&self) -> Option<&str> {
        self.properties.text(property::CONTENT_TYPE).or(self.content_type.as_deref())
    }
}

/// Names a peek-lock: enough to complete, abandon or renew it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockRef {
    /// `SequenceNumber`, unique in its queue. On partitioned entities it exceeds 2^53.
    pub sequence_number: i64,
    /// `LockToken`: a GUID.
    pub lock_token: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_found_in_any_case_and_set_once() {
        let mut properties = Properties::new();
        properties.set("Oncebus-Id", "a");
        properties.set("oncebus-id", "b");
        assert_eq!(properties.text("ONCEBUS-ID"), Some("b"));
        assert_eq!(properties.len(), 1);
        assert_eq!(properties.remove("oncebus-ID"), Some(PropertyValue::from("b")));
        assert!(properties.is_empty());
    }
}
