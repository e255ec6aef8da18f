//! What can be said about a queue or a topic when it is made.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rule::Rule;
use crate::time::UnixMillis;

/// What management clients said about an entity. The broker keeps it and shows it again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Description {
    /// When the entity was made.
    pub created_at: Option<UnixMillis>,
    /// When it was last changed.
    pub updated_at: Option<UnixMillis>,
    /// The elements of the description as they were sent, by name.
    pub elements: BTreeMap<String, String>,
}

impl Description {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A topic's name and properties, and the rules of its subscriptions. The defaults are those of the
/// service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicOptions {
    /// The name; may hold `/`.
    pub name: String,
    /// Whether a second message with the same `MessageId` is accepted and dropped. Default no.
    pub requires_duplicate_detection: bool,
    /// How long a `MessageId` is remembered. Default 10 min.
    #[serde(with = "millis", rename = "duplicate_detection_window_ms")]
    pub duplicate_detection_window: Duration,
    /// The longest time to live of a message here; absent means for ever.
    #[serde(with = "optional_millis", rename = "default_time_to_live_ms")]
    pub default_time_to_live: Option<Duration>,
    /// The largest message or batch, in bytes. Default 256 KB, as on the standard tier.
    pub max_message_bytes: usize,
    /// The rules of each subscription, by the subscription's key. A message goes to those of whose rules
    /// at least one matches.
    pub subscriptions: BTreeMap<String, Vec<Rule>>,
    /// What management clients said.
    pub description: Description,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            requires_duplicate_detection: false,
            duplicate_detection_window: Duration::from_secs(600),
            default_time_to_live: None,
            max_message_bytes: 256 * 1024,
            subscriptions: BTreeMap::new(),
            description: Description::default(),
        }
    }
}

/// A queue's name and properties. The defaults are those of the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueOptions {
    /// The name; may hold `/`. Compared without regard to case, shown as written here.
    pub name: String,
    /// How long a peek-lock holds; also what a renewal gives. Default 60 s, at most 5 min.
    #[serde(with = "millis", rename = "lock_duration_ms")]
    pub lock_duration: Duration,
    /// After this many failed deliveries the message goes to the dead-letter queue. Default 10.
    pub max_delivery_count: u32,
    /// Whether a second message with the same `MessageId` is accepted and dropped. Default no.
    pub requires_duplicate_detection: bool,
    /// How long a `MessageId` is remembered. Default 10 min.
    #[serde(with = "millis", rename = "duplicate_detection_window_ms")]
    pub duplicate_detection_window: Duration,
    /// The longest time to live of a message here; absent means for ever.
    #[serde(with = "optional_millis", rename = "default_time_to_live_ms")]
    pub default_time_to_live: Option<Duration>,
    /// Whether expired messages go to the dead-letter queue instead of nowhere. Default no.
    pub dead_lettering_on_expiration: bool,
    /// The largest message or batch, in bytes. Default 256 KB, as on the standard tier.
    pub max_message_bytes: usize,
    /// The largest sum of all messages, in bytes. Default 1 GB.
    pub max_queue_bytes: u64,
    /// What management clients said.
    #[serde(skip_serializing_if = "Description::is_empty")]
    pub description: Description,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            lock_duration: Duration::from_secs(60),
            max_delivery_count: 10,
            requires_duplicate_detection: false,
            duplicate_detection_window: Duration::from_secs(600),
            default_time_to_live: None,
            dead_lettering_on_expiration: false,
            max_message_bytes: 256 * 1024,
            max_queue_bytes: 1024 * 1024 * 1024,
            description: Description::default(),
        }
    }
}

impl From<&str> for QueueOptions {
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

impl From<String> for QueueOptions {
    fn from(name: String) -> Self {
        Self { name, ..Self::default() }
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

mod optional_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}
