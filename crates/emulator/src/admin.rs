//! The handle by which tests and the admin port look into an emulator and disturb it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::account::Account;
use crate::blob::{BlobError, BlobStore, Metadata};
use crate::broker::{
    Broker, BrokerError, Counts, EntityPath, MessageState, PropertyValue, QueueOptions, Rule, Standing, SubQueue,
    is_valid_name,
};
use crate::calls::Calls;
use crate::clocks::Clocks;
use crate::entities::{Entities, RuleProperties};
use crate::faults::{Fault, Faults, Service};
use crate::http::service_bus::ServiceBus;
use crate::namespace::Namespace;
use crate::store::{Journal, Ticket};
use crate::time::UnixMillis;

/// Looks into a running emulator, moves its clocks and makes it fail. Clones are the same handle.
#[derive(Debug, Clone)]
pub struct Admin {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) service_bus: Arc<ServiceBus>,
    pub(crate) account: Arc<Account>,
    pub(crate) clocks: Clocks,
    pub(crate) faults: Arc<Faults>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) journal: Arc<Journal>,
    /// What [`Admin::reset`] goes back to.
    pub(crate) queues: Vec<QueueOptions>,
    pub(crate) entities: Entities,
    pub(crate) containers: Vec<String>,
}

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

/// An entity cannot be as it is declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct DeclarationError {
    /// Where it was declared: a place in a file, or a flag.
    pub origin: String,
    /// What the service says about it.
    pub problem: String,
}

/// Makes entities in their order, or gives those that are there these properties. What was made before an
/// error stays.
pub(crate) fn declare_all(service_bus: &ServiceBus, entities: &Entities) -> Result<Vec<Ticket>, DeclarationError> {
    let mut tickets = Vec::new();
    for one in entities.in_order() {
        let (done, ticket) = service_bus.declare(&one.path, &one.description, one.rules.as_deref());
        done.map_err(|problem| DeclarationError { origin: one.origin.clone(), problem })?;
        tickets.push(ticket);
    }
    Ok(tickets)
}

/// Why something could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The service would not take the name.
    #[error("not a valid name: {0}")]
    Name(String),
    /// An entity cannot be as it is declared.
    #[error(transparent)]
    Entity(#[from] DeclarationError),
    /// There is no such thing, or it cannot be removed.
    #[error("{path}: {problem}")]
    Remove {
        /// Its path.
        path: String,
        /// What the service says.
        problem: String,
    },
}

impl Admin {
    /// Moves both services' clocks forward. Locks end, schedules fall due and long polls end at once.
    pub fn advance_clock(&self, by: Duration) {
        self.inner.clocks.advance(None, by);
        self.let_time_act();
    }

    /// Moves the broker's clock alone.
    pub fn advance_service_bus_clock(&self, by: Duration) {
        self.inner.clocks.advance(Some(Service::ServiceBus), by);
        self.let_time_act();
    }

    /// Moves the storage's clock alone.
    pub fn advance_storage_clock(&self, by: Duration) {
        self.inner.clocks.advance(Some(Service::Blob), by);
    }

    /// Moves one service's clock by so many milliseconds; back when negative. A clock that goes back only
    /// delays: locks, schedules and times to live end that much later, nothing that has happened is undone,
    /// and no long poll lasts longer. Dates that answers show go back with it.
    pub fn shift_clock(&self, service: Service, millis: i64) {
        self.inner.clocks.shift(Some(service), millis);
        self.let_time_act();
    }

    /// Whoever looks next shall see what has fallen due.
    fn let_time_act(&self) {
        self.inner.namespace.look(|_| ());
    }

    /// Adds a fault; those that were added earlier are asked first.
    pub fn add_fault(&self, fault: Fault) {
        self.inner.faults.add(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.inner.faults.clear();
    }

    /// The faults, and how often each has struck.
    #[must_use]
    pub fn faults(&self) -> Vec<(Fault, u64)> {
        self.inner.faults.list()
    }

    /// Makes entities, or gives those that are there these properties; their messages stay.
    ///
    /// # Errors
    /// When the service would not have it so. What was made before that stays.
    pub fn put_entities(&self, entities: &Entities) -> Result<(), AdminError> {
        let _tickets = declare_all(&self.inner.service_bus, entities)?;
        Ok(())
    }

    /// Removes a queue, a topic with its subscriptions, `{topic}/subscriptions/{name}`, or
    /// `{topic}/subscriptions/{name}/rules/{rule}`.
    ///
    /// # Errors
    /// When there is no such thing.
    pub fn remove_entity(&self, path: &str) -> Result<(), AdminError> {
        let (done, _ticket) = self.inner.service_bus.undeclare(path);
        done.map_err(|problem| AdminError::Remove { path: path.to_owned(), problem })
    }

    /// Adds a rule to a subscription, or changes it.
    ///
    /// # Errors
    /// When there is no such subscription.
    pub fn put_rule(
        &self,
        topic: &str,
        subscription: &str,
        name: &str,
        properties: &RuleProperties,
    ) -> Result<(), AdminError> {
        let path = format!("{topic}/subscriptions/{subscription}/rules/{name}");
        let (done, _ticket) = self.inner.service_bus.declare(&path, &properties.description(), None);
        done.map_err(|problem| DeclarationError { origin: path, problem }.into())
    }

    /// Back to the start: the entities and containers of the options, empty; no faults, no counts. The
    /// clocks stay where they are.
    pub fn reset(&self) {
        let inner = &self.inner;
        inner.faults.clear();
        inner.calls.clear();
        let durable = inner.journal.is_durable();
        inner.namespace.reset(|broker, now| {
            inner.queues.iter().cloned().for_each(|queue| broker.put_queue(queue, now));
        });
        // They were made once.
        let _tickets = declare_all(&inner.service_bus, &inner.entities);
        inner.account.reset(BlobStore::new(durable), |store, now| {
            for container in &inner.containers {
                // Fresh: it cannot exist.
                let _ = store.create_container(container, Metadata::new(), now);
            }
        });
    }

    /// Makes a queue, or gives an existing one new properties.
    ///
    /// # Errors
    /// When the name is none.
    pub fn put_queue(&self, queue: impl Into<QueueOptions>) -> Result<(), AdminError> {
        let queue = queue.into();
        if !is_valid_name(&queue.name) {
            return Err(AdminError::Name(queue.name));
        }
        let (_, _ticket) = self.inner.namespace.apply(|broker, now| broker.put_queue(queue, now));
        Ok(())
    }

    /// Removes a queue and its messages; whether there was one.
    pub fn remove_queue(&self, name: &str) -> bool {
        let (removed, _ticket) = self.inner.namespace.apply(|broker, now| broker.remove_entity(name, now));
        !matches!(removed, Err(BrokerError::NotFound))
    }

    /// Makes a container if it is absent.
    ///
    /// # Errors
    /// When the name is none.
    pub fn put_container(&self, name: &str) -> Result<(), AdminError> {
        if !crate::blob::is_container_name(name) {
            return Err(AdminError::Name(name.to_owned()));
        }
        match self.inner.account.apply(|store, now| store.create_container(name, Metadata::new(), now)) {
            Ok(_) | Err(BlobError::ContainerExists) => Ok(()),
            Err(_) => Err(AdminError::Name(name.to_owned())),
        }
    }

    /// The messages of an entity, in order; `q/$DeadLetterQueue` names a dead-letter queue. Empty when
    /// there is no such entity.
    #[must_use]
    pub fn messages(&self, entity: &str) -> Vec<MessageView> {
        let path = EntityPath::parse(entity);
        self.inner.namespace.look(|broker| broker.messages(&path)).into_iter().map(MessageView::from).collect()
    }

    /// How full an entity is.
    #[must_use]
    pub fn counts(&self, entity: &str) -> Option<Counts> {
        let path = EntityPath::parse(entity);
        self.inner.namespace.look(|broker| broker.counts(&path))
    }

    /// How many receivers wait at an entity for a message.
    #[must_use]
    pub fn waiting(&self, entity: &str) -> usize {
        self.inner.namespace.waiting(&EntityPath::parse(entity))
    }

    /// The blobs of a container by name. Empty when there is no such container.
    #[must_use]
    pub fn blobs(&self, container: &str) -> Vec<BlobView> {
        self.inner.account.look(|store| blobs(store, container))
    }

    /// How often each operation was called: `service-bus.send`, `service-bus.peek-lock`,
    /// `service-bus.peek-lock-empty`, `blob.put`, ….
    #[must_use]
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.inner.calls.all()
    }

    /// One entity with `top` of its messages, those after the first `skip`.
    #[must_use]
    pub fn entity(&self, path: &str, skip: usize, top: usize) -> Option<EntityView> {
        let at = EntityPath::parse(path);
        self.inner.namespace.look(|broker| entity_view(broker, &at, skip, top))
    }

    /// Every lock, with at most `top` of each entity.
    #[must_use]
    pub fn locks(&self, top: usize) -> Vec<LockView> {
        let mut locks = Vec::new();
        for path in self.paths() {
            let at = EntityPath::parse(&path);
            let standing = self.inner.namespace.look(|broker| broker.held(&at, top));
            let held = standing.into_iter().filter_map(|standing| {
                let lock = standing.entry.lock?;
                Some(LockView {
                    entity: path.clone(),
                    sequence_number: standing.sequence_number,
                    message_id: standing.entry.message.broker.message_id.clone(),
                    token: lock.token.to_string(),
                    until: lock.until,
                })
            });
            locks.extend(held);
        }
        locks
    }

    /// Everything at once, with the first hundred messages of each entity.
    #[must_use]
    pub fn state(&self) -> StateView {
        self.state_of(100)
    }

    /// Everything at once, with the first `top` messages of each entity.
    #[must_use]
    pub fn state_of(&self, top: usize) -> StateView {
        let inner = &self.inner;
        let view = |path: String| self.entity(&path, 0, top).map(|view| (path, view));
        let entities = self.paths().into_iter().filter_map(view).collect();
        let containers =
            inner.account.look(|store| store.containers().map(|name| (name.to_owned(), blobs(store, name))).collect());
        StateView {
            service_bus_now: inner.namespace.clock().now(),
            blob_now: inner.account.clock().now(),
            entities,
            containers,
            calls: self.calls(),
        }
    }

    /// The paths of all entities and dead-letter queues.
    fn paths(&self) -> Vec<String> {
        self.inner.namespace.look(|broker| {
            let queues = broker.queues().flat_map(|queue| [queue.name.clone(), format!("{}{DEAD_LETTER}", queue.name)]);
            queues.chain(broker.topics().map(|topic| topic.name.clone())).collect()
        })
    }
}

const DEAD_LETTER: &str = "/$DeadLetterQueue";

fn entity_view(broker: &Broker, at: &EntityPath, skip: usize, top: usize) -> Option<EntityView> {
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

fn blobs(store: &BlobStore, container: &str) -> Vec<BlobView> {
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
