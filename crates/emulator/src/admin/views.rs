//! What an observer sees: messages, blobs, entities, locks, as the admin port shows them.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::blob::{BlobStore, Metadata};
use crate::broker::{Broker, Counts, EntityPath, MessageState, PropertyValue, Rule, Standing, SubQueue};
use crate::time::UnixMillis;

/// A message as an observer sees it.
#[derive(Debug, Clone, Serialize)]
pub struct MessageView {
    /// Its number; a scheduled message has none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence_number: Option<u64>,
    /// `MessageId`.
    pub message_id: String,
    /// Active, locked or scheduled.
    pub state: MessageState,
    /// Deliveries so far, the one in flight included.
    pub delivery_count: u32,
    /// When it became visible; when it will, for a scheduled message.
    pub enqueued_at: UnixMillis,
    /// Until when it is locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<UnixMillis>,
    /// The token that settles it until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock_token: Option<String>,
    /// `Content-Type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `Label`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `CorrelationId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// `SessionId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Custom properties.
    pub properties: BTreeMap<String, Value>,
    /// The body; in JSON as text, or as `{"base64": …}` when it is no text.
    #[serde(serialize_with = "body_as_json")]
    pub body: Bytes,
}

/// A blob as an observer sees it.
#[derive(Debug, Clone, Serialize)]
pub struct BlobView {
    /// Its name.
    pub name: String,
    /// The version, in quotes as in the header.
    pub etag: String,
    /// The last write, metadata included.
    pub last_modified: UnixMillis,
    /// Metadata.
    pub metadata: Metadata,
    /// Bytes of the body.
    pub length: usize,
}

/// Everything that there is.
#[derive(Debug, Clone, Serialize)]
pub struct StateView {
    /// The broker's time.
    pub service_bus_now: UnixMillis,
    /// The storage's time.
    pub blob_now: UnixMillis,
    /// Queues, topics and subscriptions with their dead-letter queues, by path.
    pub entities: BTreeMap<String, EntityView>,
    /// Containers by name.
    pub containers: BTreeMap<String, Vec<BlobView>>,
    /// Calls by operation.
    pub calls: BTreeMap<String, u64>,
}

/// An entity, or its dead-letter queue.
#[derive(Debug, Clone, Serialize)]
pub struct EntityView {
    /// What it is.
    pub kind: EntityKind,
    /// How full it is; a topic keeps only what is not yet due.
    pub counts: Option<Counts>,
    /// The first of its messages, in order; scheduled ones last.
    pub messages: Vec<MessageView>,
    /// How many more there are.
    pub more_messages: usize,
    /// The rules of a subscription.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleView>,
}

/// What an entity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntityKind {
    /// A queue.
    Queue,
    /// A topic.
    Topic,
    /// A subscription.
    Subscription,
    /// The dead-letter queue of a queue or a subscription.
    DeadLetterQueue,
}

/// A rule as an observer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// Filter and action, as XML.
    pub description: String,
}

/// A peek-lock as an observer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockView {
    /// Where the message is.
    pub entity: String,
    /// The message's number.
    pub sequence_number: Option<u64>,
    /// Its `MessageId`.
    pub message_id: String,
    /// What settles it.
    pub token: String,
    /// Until when.
    pub until: UnixMillis,
}
pub(super) fn entity_view(broker: &Broker, at: &EntityPath, skip: usize, top: usize) -> Option<EntityView> {
    let counts = broker.counts(at)?;
    let topic = at.key.rsplit_once("/subscriptions/").and_then(|(topic, _)| broker.topic(topic));
    let rules = topic.and_then(|topic| topic.subscriptions.get(&*at.key));
    let kind = match at.sub_queue {
        SubQueue::Main if broker.topic(&at.key).is_some() => EntityKind::Topic,
        SubQueue::Main if rules.is_some() => EntityKind::Subscription,
        SubQueue::Main => EntityKind::Queue,
        SubQueue::DeadLetter | SubQueue::TransferDeadLetter => EntityKind::DeadLetterQueue,
    };
    let shown = |rule: &Rule| RuleView { name: rule.name.clone(), description: rule.shown.clone() };
    let messages: Vec<MessageView> = broker.page(at, skip, top).into_iter().map(MessageView::from).collect();
    let all = counts.total + counts.scheduled;
    Some(EntityView {
        kind,
        counts: Some(counts),
        more_messages: all.saturating_sub(skip.saturating_add(messages.len())),
        messages,
        rules: rules.filter(|_| kind == EntityKind::Subscription).into_iter().flatten().map(shown).collect(),
    })
}

pub(super) fn blobs(store: &BlobStore, container: &str) -> Vec<BlobView> {
    let Ok(found) = store.list(container, "", "") else { return Vec::new() };
    found
        .map(|(name, blob)| BlobView {
            name: name.to_owned(),
            etag: blob.properties.etag.quoted(),
            last_modified: blob.properties.last_modified,
            metadata: blob.properties.metadata.clone(),
            length: blob.body.len(),
        })
        .collect()
}

impl From<Standing> for MessageView {
    fn from(standing: Standing) -> Self {
        let entry = standing.entry;
        let message = &entry.message;
        let value = |value: &PropertyValue| match value {
            PropertyValue::Text(text) => Value::from(text.as_str()),
            PropertyValue::Integer(whole) => Value::from(*whole),
            PropertyValue::Double(double) => Value::from(*double),
            PropertyValue::Boolean(flag) => Value::from(*flag),
        };
        Self {
            sequence_number: standing.sequence_number,
            message_id: message.broker.message_id.clone(),
            state: standing.state,
            delivery_count: entry.deliveries,
            enqueued_at: entry.enqueued_at,
            locked_until: entry.lock.map(|lock| lock.until),
            lock_token: entry.lock.map(|lock| lock.token.to_string()),
            content_type: message.content_type.clone(),
            label: message.broker.label.clone(),
            correlation_id: message.broker.correlation_id.clone(),
            session_id: message.broker.session_id.clone(),
            properties: message.properties.iter().map(|(name, v)| (name.clone(), value(v))).collect(),
            body: message.body.clone(),
        }
    }
}

fn body_as_json<S: Serializer>(body: &Bytes, to: S) -> Result<S::Ok, S::Error> {
    use base64::Engine as _;
    match std::str::from_utf8(body) {
        Ok(text) => to.serialize_str(text),
        Err(_) => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(body);
            to.collect_map([("base64", encoded)])
        }
    }
}
