//! The broker: queues as the service's HTTP gateway shows them, as a pure machine.
//!
//! No I/O, clock or randomness: `now` is handed to each operation, identifiers come from an injected
//! [`IdSource`]. An operation changes the state, answers, and leaves in an [`Outbox`] what the shell
//! must do: rows to write before the answer is given, receivers to wake. A receiver that finds nothing
//! waits outside; [`Broker::next_event`] says when time alone will change something.
//!
//! A subscription is a queue whose key is `{topic}/subscriptions/{name}`; its topic knows its rules.

mod change;
mod history;
mod message;
mod options;
mod path;
mod queue;
mod rule;
mod shelf;
pub(crate) mod sql;
#[cfg(test)]
mod tests;
mod topic;

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

pub use change::{Change, Outbox, Place};
pub use message::{BrokerProperties, Message, PropertyValue};
pub use options::{Description, QueueOptions, TopicOptions};
pub use path::{EntityPath, SubQueue, is_valid_name};
pub use rule::{Action, Filter, Rule};
pub use shelf::{Entry, Lock};
pub use sql::{Condition, Parameters, SqlError, Statements};

use crate::ids::IdSource;
use crate::time::UnixMillis;
use queue::Queue;
use topic::Topic;

/// Why an operation was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// Nothing of this name.
    #[error("no such entity")]
    NotFound,
    /// The token holds nothing: expired, settled, or never given.
    #[error("no message is held under this lock token")]
    LockLost,
    /// The message, or the batch, is larger than the queue takes.
    #[error("message of {size} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The queue is full.
    #[error("the queue has reached its maximum size of {limit} bytes")]
    QuotaExceeded {
        /// The limit in bytes.
        limit: u64,
    },
    /// A property breaks a rule.
    #[error("{0}")]
    InvalidProperty(&'static str),
    /// Dead-letter queues take no messages from outside.
    #[error("messages cannot be sent to a sub-queue")]
    NotSendable,
}

/// How a message is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiveMode {
    /// Locked until it is settled or the lock ends.
    PeekLock,
    /// Gone with the delivery.
    ReceiveAndDelete,
}

/// A message on its way to a receiver.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The message's number in its queue.
    pub sequence_number: u64,
    /// The number it had where it was first sent; 0 in a queue.
    pub enqueued_sequence_number: u64,
    /// The message, its count and, under peek-lock, its lock.
    pub entry: Entry,
}

/// How a settling URL names a message: by sequence number or by `MessageId`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRef(pub String);

impl MessageRef {
    fn names(&self, sequence_number: u64, message_id: &str) -> bool {
        self.0 == message_id || self.0.parse() == Ok(sequence_number)
    }
}

/// What a message is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageState {
    /// Visible to receivers.
    Active,
    /// Held by a receiver.
    Locked,
    /// Not yet due.
    Scheduled,
}

/// A message as an observer sees it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Its number; a scheduled message has none yet.
    pub sequence_number: Option<u64>,
    /// What it is doing.
    pub state: MessageState,
    /// Everything else.
    pub entry: Entry,
}

/// How full an entity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Messages that a receiver would get now.
    pub ready: usize,
    /// Messages that are visible or locked.
    pub total: usize,
    /// Messages that are not yet due.
    pub scheduled: usize,
    /// Bytes of bodies and properties of `total`.
    pub bytes: u64,
}

/// Something that has a path.
#[derive(Debug)]
enum Entity {
    Queue(Box<Queue>),
    Topic(Box<Topic>),
}

impl Entity {
    fn queue(&self) -> Option<&Queue> {
        match self {
            Self::Queue(queue) => Some(queue),
            Self::Topic(_) => None,
        }
    }

    fn queue_mut(&mut self) -> Option<&mut Queue> {
        match self {
            Self::Queue(queue) => Some(queue),
            Self::Topic(_) => None,
        }
    }

    fn topic(&self) -> Option<&Topic> {
        match self {
            Self::Topic(topic) => Some(topic),
            Self::Queue(_) => None,
        }
    }

    fn topic_mut(&mut self) -> Option<&mut Topic> {
        match self {
            Self::Topic(topic) => Some(topic),
            Self::Queue(_) => None,
        }
    }
}

/// A namespace: the entities by their keys.
pub struct Broker {
    entities: BTreeMap<Arc<str>, Entity>,
    ids: Box<dyn IdSource>,
    out: Outbox,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("entities", &self.entities.keys()).finish_non_exhaustive()
    }
}

impl Broker {
    /// An empty namespace. `keep_changes` says whether somebody writes the rows in the [`Outbox`].
    #[must_use]
    pub fn new(ids: Box<dyn IdSource>, keep_changes: bool) -> Self {
        Self { entities: BTreeMap::new(), ids, out: Outbox::new(keep_changes) }
    }

    /// Takes what the operations since the last call left to do.
    pub fn take_outbox(&mut self) -> Outbox {
        self.out.take()
    }

    // ---- entities

    /// Makes a queue, or gives an existing one new properties; its messages stay. A topic of the same name
    /// gives way.
    pub fn put_queue(&mut self, options: QueueOptions) {
        let key: Arc<str> = options.name.to_lowercase().into();
        if self.topic(&key).is_some() {
            let _ = self.remove_queue(&key);
        }
        let made = || Entity::Queue(Box::new(Queue::new(Arc::clone(&key), options.clone())));
        let entity = self.entities.entry(Arc::clone(&key)).or_insert_with(made);
        if let Some(queue) = entity.queue_mut() {
            queue.set_options(options);
            let described = queue.described();
            self.out.change(|| described);
        }
    }

    /// Makes a topic, or gives an existing one new properties; its subscriptions stay. A queue of the
    /// same name gives way.
    pub fn put_topic(&mut self, options: TopicOptions) {
        let key: Arc<str> = options.name.to_lowercase().into();
        let subscriptions = match self.topic(&key) {
            Some(topic) => topic.subscriptions.clone(),
            None => {
                let _ = self.remove_queue(&key);
                options.subscriptions.clone()
            }
        };
        let options = TopicOptions { subscriptions, ..options };
        let made = || Entity::Topic(Box::new(Topic::new(Arc::clone(&key), options.clone())));
        let entity = self.entities.entry(Arc::clone(&key)).or_insert_with(made);
        if let Some(topic) = entity.topic_mut() {
            *topic.options_mut() = options;
            let described = topic.described();
            self.out.change(|| described);
        }
    }

    /// Makes a subscription with these rules, or gives an existing one new properties and rules. The
    /// options' name is `{topic}/subscriptions/{name}`.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] when there is no such topic.
    pub fn put_subscription(
        &mut self,
        topic: &str,
        options: QueueOptions,
        rules: Vec<Rule>,
    ) -> Result<(), BrokerError> {
        let Self { entities, out, .. } = self;
        let topic =
            entities.get_mut(&*topic.to_lowercase()).and_then(Entity::topic_mut).ok_or(BrokerError::NotFound)?;
        topic.options_mut().subscriptions.insert(options.name.to_lowercase(), rules);
        out.change(|| topic.described());
        self.put_queue(options);
        Ok(())
    }

    /// Removes an entity and everything in it: a topic with its subscriptions.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`].
    pub fn remove_queue(&mut self, name: &str) -> Result<(), BrokerError> {
        let key: Arc<str> = name.to_lowercase().into();
        let removed = self.entities.remove(&key).ok_or(BrokerError::NotFound)?;
        for sub_queue in [SubQueue::Main, SubQueue::DeadLetter] {
            // Whoever waits there must look again.
            self.out.ready.push((EntityPath { key: Arc::clone(&key), sub_queue }, usize::MAX));
        }
        self.out.change(|| Change::QueueRemoved { key: Arc::clone(&key) });
        match removed {
            Entity::Topic(topic) => {
                for subscription in topic.options().subscriptions.keys() {
                    let _ = self.remove_queue(subscription);
                }
            }
            Entity::Queue(_) => {
                let topic = key.rsplit_once("/subscriptions/").map(|(topic, _)| topic);
                let Self { entities, out, .. } = self;
                let topic = topic.and_then(|topic| entities.get_mut(topic)).and_then(Entity::topic_mut);
                if let Some(topic) = topic
                    && topic.options_mut().subscriptions.remove(&*key).is_some()
                {
                    out.change(|| topic.described());
                }
            }
        }
        Ok(())
    }

    /// Whether there is anything at this path.
    #[must_use]
    pub fn contains(&self, path: &EntityPath) -> bool {
        self.entities.contains_key(&path.key)
    }

    /// The queues' and subscriptions' properties, in the order of their keys.
    pub fn queues(&self) -> impl Iterator<Item = &QueueOptions> {
        self.entities.values().filter_map(Entity::queue).map(Queue::options)
    }

    /// The topics' properties, in the order of their keys.
    pub fn topics(&self) -> impl Iterator<Item = &TopicOptions> {
        self.entities.values().filter_map(Entity::topic).map(Topic::options)
    }

    /// A topic's properties.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&TopicOptions> {
        self.entities.get(&*name.to_lowercase()).and_then(Entity::topic).map(Topic::options)
    }

    /// A queue's or subscription's properties.
    #[must_use]
    pub fn queue_options(&self, name: &str) -> Option<&QueueOptions> {
        self.entities.get(&*name.to_lowercase()).and_then(Entity::queue).map(Queue::options)
    }

    // ---- messages

    /// Sends one message or a batch: all are accepted, or none.
    ///
    /// # Errors
    /// When the entity is absent, takes no messages, is full, or a message breaks a rule.
    pub fn send(&mut self, path: &EntityPath, messages: Vec<Message>, now: UnixMillis) -> Result<(), BrokerError> {
        let Self { entities, ids, out } = self;
        let entity = entities.get_mut(&path.key).ok_or(BrokerError::NotFound)?;
        if path.sub_queue != SubQueue::Main {
            return Err(BrokerError::NotSendable);
        }
        let copies = match entity {
            Entity::Queue(queue) => return queue.send(messages, now, ids.as_mut(), out),
            Entity::Topic(topic) => topic.send(messages, now, ids.as_mut(), out)?,
        };
        for (key, message) in copies {
            if let Some(queue) = entities.get_mut(&key).and_then(Entity::queue_mut) {
                queue.deliver(message, now, out);
            }
        }
        Ok(())
    }

    /// Takes the first visible message, if there is one.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`].
    pub fn receive(
        &mut self,
        path: &EntityPath,
        mode: ReceiveMode,
        now: UnixMillis,
    ) -> Result<Option<Delivery>, BrokerError> {
        let token = match mode {
            ReceiveMode::PeekLock => Some(Uuid::from_u128(self.ids.next_id())),
            ReceiveMode::ReceiveAndDelete => None,
        };
        let (queue, out) = self.queue(path)?;
        Ok(queue.receive(path.sub_queue, token, now, out))
    }

    /// Undoes a delivery that could not be handed over: as if it had never been.
    pub fn give_back(&mut self, path: &EntityPath, delivery: Delivery, now: UnixMillis) {
        if let Ok((queue, out)) = self.queue(path) {
            queue.give_back(path.sub_queue, delivery, now, out);
        }
    }

    /// Completes a locked message.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`], [`BrokerError::LockLost`].
    pub fn complete(
        &mut self,
        path: &EntityPath,
        which: &MessageRef,
        token: Uuid,
        now: UnixMillis,
    ) -> Result<(), BrokerError> {
        let (queue, out) = self.queue(path)?;
        queue.complete(path.sub_queue, which, token, now, out)
    }

    /// Gives a locked message back to the queue; the delivery counts.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`], [`BrokerError::LockLost`].
    pub fn abandon(
        &mut self,
        path: &EntityPath,
        which: &MessageRef,
        token: Uuid,
        now: UnixMillis,
    ) -> Result<(), BrokerError> {
        let (queue, out) = self.queue(path)?;
        queue.abandon(path.sub_queue, which, token, now, out)
    }

    /// Makes a lock last a lock duration from now; answers until when.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`], [`BrokerError::LockLost`].
    pub fn renew(
        &mut self,
        path: &EntityPath,
        which: &MessageRef,
        token: Uuid,
        now: UnixMillis,
    ) -> Result<UnixMillis, BrokerError> {
        let (queue, out) = self.queue(path)?;
        queue.renew(path.sub_queue, which, token, now, out)
    }

    /// Ends a lock before its time, as if it had expired. A fault, not an operation of the service.
    pub fn lose_lock(&mut self, path: &EntityPath, token: Uuid, now: UnixMillis) {
        if let Ok((queue, out)) = self.queue(path) {
            queue.lose_lock(path.sub_queue, token, now, out);
        }
    }

    // ---- time

    /// Carries out everything that fell due by `now`, everywhere.
    pub fn advance(&mut self, now: UnixMillis) {
        let Self { entities, out, .. } = self;
        for queue in entities.values_mut().filter_map(Entity::queue_mut) {
            queue.advance(now, out);
        }
    }

    /// When time alone changes something next, anywhere.
    #[must_use]
    pub fn next_event(&self) -> Option<UnixMillis> {
        self.entities.values().filter_map(Entity::queue).filter_map(Queue::next_event).min()
    }

    /// When time alone changes something next at this path.
    #[must_use]
    pub fn next_event_at(&self, path: &EntityPath) -> Option<UnixMillis> {
        match self.entities.get(&path.key)? {
            Entity::Queue(queue) => queue.next_event(),
            // What was sent here stands in its subscriptions.
            Entity::Topic(topic) => {
                let keys = topic.options().subscriptions.keys();
                keys.filter_map(|key| self.entities.get(&**key)?.queue()?.next_event()).min()
            }
        }
    }

    // ---- looking

    /// The messages at this path; none when it does not exist.
    #[must_use]
    pub fn messages(&self, path: &EntityPath) -> Vec<Standing> {
        match self.entities.get(&path.key) {
            Some(Entity::Queue(queue)) => queue.messages(path.sub_queue),
            Some(Entity::Topic(_)) | None => Vec::new(),
        }
    }

    /// How full the entity at this path is.
    #[must_use]
    pub fn counts(&self, path: &EntityPath) -> Option<Counts> {
        let queue = self.entities.get(&path.key)?.queue()?;
        let (ready, total, bytes) = queue.counts(path.sub_queue);
        let scheduled = if path.sub_queue == SubQueue::Main { queue.scheduled_count() } else { 0 };
        Some(Counts { ready, total, scheduled, bytes })
    }

    // ---- restoring

    /// Applies a row that a store kept. Rows of a queue come after the queue's own.
    pub fn restore(&mut self, change: Change) {
        match change {
            Change::Queue { key, options, next_sequence, next_ticket } => {
                if let Some(options) = options {
                    let queue = Queue::new(Arc::clone(&key), *options);
                    self.entities.insert(Arc::clone(&key), Entity::Queue(Box::new(queue)));
                }
                if let Some(Entity::Queue(queue)) = self.entities.get_mut(&key) {
                    queue.restore_counters(next_sequence, next_ticket);
                }
            }
            Change::Topic { key, options, next_sequence } => {
                if let Some(options) = options {
                    let topic = Topic::new(Arc::clone(&key), *options);
                    self.entities.insert(Arc::clone(&key), Entity::Topic(Box::new(topic)));
                }
                if let Some(Entity::Topic(topic)) = self.entities.get_mut(&key) {
                    topic.restore_counter(next_sequence);
                }
            }
            Change::Message { key, place, number, entry } => {
                if let Some(Entity::Queue(queue)) = self.entities.get_mut(&key) {
                    queue.restore_message(place, number, entry);
                }
            }
            Change::Remembered { key, message_id, until } => match self.entities.get_mut(&key) {
                Some(Entity::Queue(queue)) => queue.restore_history(message_id, until),
                Some(Entity::Topic(topic)) => topic.restore_history(message_id, until),
                None => {}
            },
            // A store keeps the outcome of these, not the rows themselves.
            Change::QueueRemoved { .. }
            | Change::Standing { .. }
            | Change::MessageRemoved { .. }
            | Change::Forgotten { .. } => {}
        }
    }

    fn queue(&mut self, path: &EntityPath) -> Result<(&mut Queue, &mut Outbox), BrokerError> {
        let Self { entities, out, .. } = self;
        let queue = entities.get_mut(&path.key).and_then(Entity::queue_mut).ok_or(BrokerError::NotFound)?;
        Ok((queue, out))
    }
}
