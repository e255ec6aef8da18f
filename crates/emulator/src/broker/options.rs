//! What can be said about a queue or a topic when it is made.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rule::Rule;
use crate::auth::service_bus::AccessRule;
use crate::iso_duration;
use crate::time::UnixMillis;

/// What an entity lets happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum EntityStatus {
    /// Everything.
    #[default]
    Active,
    /// Neither sending nor receiving.
    Disabled,
    /// No sending.
    SendDisabled,
    /// No receiving, no settling.
    ReceiveDisabled,
}

impl EntityStatus {
    /// Reads a description's word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "Active" => Self::Active,
            "Disabled" => Self::Disabled,
            "SendDisabled" => Self::SendDisabled,
            "ReceiveDisabled" => Self::ReceiveDisabled,
            _ => return None,
        })
    }

    pub(super) fn sends(self) -> bool {
        matches!(self, Self::Active | Self::ReceiveDisabled)
    }

    pub(super) fn receives(self) -> bool {
        matches!(self, Self::Active | Self::SendDisabled)
    }
}

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

    fn text(&self, name: &str) -> Option<&str> {
        self.elements.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.text(name), Some("true" | "1"))
    }

    fn status(&self) -> EntityStatus {
        self.text("Status").and_then(EntityStatus::parse).unwrap_or_default()
    }

    fn idle(&self) -> Option<Duration> {
        let idle = self.text("AutoDeleteOnIdle").and_then(iso_duration::parse);
        idle.filter(|idle| !iso_duration::is_for_ever(*idle))
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
    /// The largest sum of all messages, scheduled ones and those of its subscriptions, in bytes. Default
    /// 1 GB.
    pub max_topic_bytes: u64,
    /// What it lets happen. Default everything.
    pub status: EntityStatus,
    /// Removed when it was idle for so long; absent means never.
    #[serde(with = "optional_millis", rename = "auto_delete_on_idle_ms")]
    pub auto_delete_on_idle: Option<Duration>,
    /// Whether its messages are spread over partitions. Default no.
    pub partitioned: bool,
    /// Its own access rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_rules: Vec<AccessRule>,
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
            max_topic_bytes: 1024 * 1024 * 1024,
            status: EntityStatus::Active,
            auto_delete_on_idle: None,
            partitioned: false,
            access_rules: Vec::new(),
            subscriptions: BTreeMap::new(),
            description: Description::default(),
        }
    }
}

impl TopicOptions {
    /// Lets what the description says take effect.
    pub fn obey_description(&mut self) {
        let description = &self.description;
        self.status = description.status();
        self.auto_delete_on_idle = description.idle();
        self.partitioned = description.flag("EnablePartitioning");
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
    /// Whether it hands out sessions; then it cannot be received from over HTTP. Default no.
    pub requires_session: bool,
    /// The queue or topic that gets every message instead of receivers: a name, or `sb://host/name`.
    pub forward_to: Option<String>,
    /// The queue or topic that gets every dead letter.
    pub forward_dead_letters_to: Option<String>,
    /// What it lets happen. Default everything.
    pub status: EntityStatus,
    /// Removed when it was idle for so long; absent means never.
    #[serde(with = "optional_millis", rename = "auto_delete_on_idle_ms")]
    pub auto_delete_on_idle: Option<Duration>,
    /// Whether its messages are spread over partitions. Default no.
    pub partitioned: bool,
    /// Its own access rules. A subscription has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_rules: Vec<AccessRule>,
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
            requires_session: false,
            forward_to: None,
            forward_dead_letters_to: None,
            status: EntityStatus::Active,
            auto_delete_on_idle: None,
            partitioned: false,
            access_rules: Vec::new(),
            description: Description::default(),
        }
    }
}

impl QueueOptions {
    /// Lets what the description says take effect.
    pub fn obey_description(&mut self) {
        let description = &self.description;
        self.requires_session = description.flag("RequiresSession");
        self.forward_to = description.text("ForwardTo").map(str::to_owned);
        self.forward_dead_letters_to = description.text("ForwardDeadLetteredMessagesTo").map(str::to_owned);
        self.status = description.status();
        self.auto_delete_on_idle = description.idle();
        self.partitioned = description.flag("EnablePartitioning");
    }
}

/// The key of the entity that a description names as a target: `sb://host/name`, or a name.
#[must_use]
pub fn target_key(target: &str) -> String {
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => target,
    };
    path.trim_matches('/').to_lowercase()
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
