//! The broker: queues as the service's HTTP gateway shows them, as a pure machine.
//!
//! No I/O, clock or randomness: `now` is handed to each operation, identifiers come from an injected
//! [`IdSource`]. An operation changes the state, answers, and leaves in an [`Outbox`] what the shell
//! must do: rows to write before the answer is given, receivers to wake. A receiver that finds nothing
//! waits outside; [`Broker::next_event`] says when time alone will change something.
//!
//! Topics are not here yet. Their place is [`Entity`]: a subscription is a queue whose key is
//! `{topic}/subscriptions/{name}`.

mod change;
mod history;
mod message;
mod options;
mod path;
mod queue;
mod shelf;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

pub use change::{Change, Outbox, Place};
pub use message::{BrokerProperties, Message, PropertyValue};
pub use options::QueueOptions;
pub use path::{EntityPath, SubQueue, is_valid_name};
pub use shelf::{Entry, Lock};

use crate::ids::IdSource;
use crate::time::UnixMillis;
use queue::Queue;

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

    /// Makes a queue, or gives an existing one new properties; its messages stay.
    pub fn put_queue(&mut self, options: QueueOptions) {
        let key: Arc<str> = options.name.to_lowercase().into();
        let entity = self
            .entities
            .entry(Arc::clone(&key))
            .or_insert_with(|| Entity::Queue(Box::new(Queue::new(key, options.clone()))));
        let Entity::Queue(queue) = entity;
        queue.set_options(options);
        let described = queue.described();
        self.out.change(|| described);
    }

    /// Removes a queue and everything in it.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`].
    pub fn remove_queue(&mut self, name: &str) -> Result<(), BrokerError> {
        let key: Arc<str> = name.to_lowercase().into();
        self.entities.remove(&key).ok_or(BrokerError::NotFound)?;
        for sub_queue in [SubQueue::Main, SubQueue::DeadLetter] {
            // Whoever waits there must look again.
            self.out.ready.push((EntityPath { key: Arc::clone(&key), sub_queue }, usize::MAX));
        }
        self.out.change(|| Change::QueueRemoved { key });
        Ok(())
    }

    /// Whether there is anything at this path.
    #[must_use]
    pub fn contains(&self, path: &EntityPath) -> bool {
        self.entities.contains_key(&path.key)
    }

    /// The queues' properties, by key.
    pub fn queues(&self) -> impl Iterator<Item = &QueueOptions> {
        self.entities.values().map(|Entity::Queue(queue)| queue.options())
    }

    // ---- messages

    /// Sends one message or a batch: all are accepted, or none.
    ///
    /// # Errors
    /// When the entity is absent, takes no messages, is full, or a message breaks a rule.
    pub fn send(&mut self, path: &EntityPath, messages: Vec<Message>, now: UnixMillis) -> Result<(), BrokerError> {
        let Self { entities, ids, out } = self;
        let Entity::Queue(queue) = entities.get_mut(&path.key).ok_or(BrokerError::NotFound)?;
        if path.sub_queue != SubQueue::Main {
            return Err(BrokerError::NotSendable);
        }
        queue.send(messages, now, ids.as_mut(), out)
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
        for Entity::Queue(queue) in entities.values_mut() {
            queue.advance(now, out);
        }
    }

    /// When time alone changes something next, anywhere.
    #[must_use]
    pub fn next_event(&self) -> Option<UnixMillis> {
        self.entities.values().filter_map(|Entity::Queue(queue)| queue.next_event()).min()
    }

    /// When time alone changes something next at this path.
    #[must_use]
    pub fn next_event_at(&self, path: &EntityPath) -> Option<UnixMillis> {
        self.entities.get(&path.key).and_then(|Entity::Queue(queue)| queue.next_event())
    }

    // ---- looking

    /// The messages at this path; none when it does not exist.
    #[must_use]
    pub fn messages(&self, path: &EntityPath) -> Vec<Standing> {
        match self.entities.get(&path.key) {
            Some(Entity::Queue(queue)) => queue.messages(path.sub_queue),
            None => Vec::new(),
        }
    }

    /// How full the entity at this path is.
    #[must_use]
    pub fn counts(&self, path: &EntityPath) -> Option<Counts> {
        let Entity::Queue(queue) = self.entities.get(&path.key)?;
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
            Change::Message { key, place, number, entry } => {
                if let Some(Entity::Queue(queue)) = self.entities.get_mut(&key) {
                    queue.restore_message(place, number, entry);
                }
            }
            Change::Remembered { key, message_id, until } => {
                if let Some(Entity::Queue(queue)) = self.entities.get_mut(&key) {
                    queue.restore_history(message_id, until);
                }
            }
            // A store keeps the outcome of these, not the rows themselves.
            Change::QueueRemoved { .. }
            | Change::Standing { .. }
            | Change::MessageRemoved { .. }
            | Change::Forgotten { .. } => {}
        }
    }

    fn queue(&mut self, path: &EntityPath) -> Result<(&mut Queue, &mut Outbox), BrokerError> {
        let Self { entities, out, .. } = self;
        let Entity::Queue(queue) = entities.get_mut(&path.key).ok_or(BrokerError::NotFound)?;
        Ok((queue, out))
    }
}
