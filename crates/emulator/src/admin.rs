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
    BrokerError, Counts, EntityPath, MessageState, PropertyValue, QueueOptions, Standing, is_valid_name,
};
use crate::calls::Calls;
use crate::clocks::Clocks;
use crate::faults::{Fault, Faults, Service};
use crate::namespace::Namespace;
use crate::store::Journal;
use crate::time::UnixMillis;

/// Looks into a running emulator, moves its clocks and makes it fail. Clones are the same handle.
#[derive(Debug, Clone)]
pub struct Admin {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) account: Arc<Account>,
    pub(crate) clocks: Clocks,
    pub(crate) faults: Arc<Faults>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) journal: Arc<Journal>,
    /// What [`Admin::reset`] goes back to.
    pub(crate) queues: Vec<QueueOptions>,
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
    /// Queues and their dead-letter queues, by path.
    pub entities: BTreeMap<String, EntityView>,
    /// Containers by name.
    pub containers: BTreeMap<String, Vec<BlobView>>,
    /// Calls by operation.
    pub calls: BTreeMap<String, u64>,
}

/// A queue, or its dead-letter queue.
#[derive(Debug, Clone, Serialize)]
pub struct EntityView {
    /// How full it is.
    pub counts: Option<Counts>,
    /// Its messages, in order.
    pub messages: Vec<MessageView>,
}

/// Why something could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The service would not take the name.
    #[error("not a valid name: {0}")]
    Name(String),
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

    /// Back to the start: the queues and containers of the options, empty; no faults, no counts. The
    /// clocks stay where they are.
    pub fn reset(&self) {
        let inner = &self.inner;
        inner.faults.clear();
        inner.calls.clear();
        let durable = inner.journal.is_durable();
        inner.namespace.reset(|broker, now| {
            inner.queues.iter().cloned().for_each(|queue| broker.put_queue(queue, now));
        });
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

    /// Everything at once.
    #[must_use]
    pub fn state(&self) -> StateView {
        let inner = &self.inner;
        let names: Vec<String> = inner.namespace.look(|broker| broker.queues().map(|q| q.name.clone()).collect());
        let paths = names.into_iter().flat_map(|name| [format!("{name}/$DeadLetterQueue"), name]);
        let entities = paths
            .map(|path| {
                let view = EntityView { counts: self.counts(&path), messages: self.messages(&path) };
                (path, view)
            })
            .collect();
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
