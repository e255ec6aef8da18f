//! The machine itself: sending, receiving, settling, and time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use super::agenda::Agenda;
use super::change::{Change, Outbox};
use super::delivery::{Delivery, MessageRef, ReceiveMode};
use super::entity::Entity;
use super::error::{BrokerError, Traffic};
use super::message::Message;
use super::options::EntityStatus;
use super::path::{EntityPath, SubQueue};
use super::policy::Policy;
use super::queue::{self, Claim, Queue};
use super::topic::{self, Copy, Topic};
use crate::ids::IdSource;
use crate::time::UnixMillis;

/// A namespace: the entities by their keys.
pub struct Broker {
    pub(super) entities: BTreeMap<Arc<str>, Entity>,
    pub(super) agenda: Agenda,
    /// Entities that the operation in hand changed, and that are not yet at rest.
    pub(super) touched: VecDeque<Arc<str>>,
    pub(super) policy: Policy,
    pub(super) ids: Box<dyn IdSource>,
    pub(super) out: Outbox,
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
        Self {
            entities: BTreeMap::new(),
            agenda: Agenda::default(),
            touched: VecDeque::new(),
            policy: Policy::default(),
            ids,
            out: Outbox::new(keep_changes),
        }
    }

    /// The same, with choices of its own.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Forgets every entity, without a row about it.
    pub fn clear(&mut self) {
        self.entities.clear();
        self.agenda = Agenda::default();
        self.out.take();
    }

    /// Takes what the operations since the last call left to do.
    pub fn take_outbox(&mut self) -> Outbox {
        self.out.take()
    }

    // ---- sending

    /// Sends one message or a batch: all are accepted, or none.
    ///
    /// # Errors
    /// When the entity is absent, takes no messages, is full, or a message breaks a rule.
    pub fn send(&mut self, path: &EntityPath, messages: Vec<Message>, now: UnixMillis) -> Result<(), BrokerError> {
        self.advance(now);
        let is_subscription = EntityPath::topic_of(&path.key).is_some_and(|topic| self.topic(topic).is_some());
        if self.contains(path) && (path.sub_queue != SubQueue::Main || is_subscription) {
            return Err(BrokerError::NotSendable);
        }
        let messages: Vec<Arc<Message>> = messages.into_iter().map(Arc::new).collect();
        self.check(&path.key, &messages)?;
        self.accept(&path.key, messages, now);
        self.settle(now);
        Ok(())
    }

    /// Whether a batch of so many bytes, as it was written, may be sent to an entity. One that is absent is
    /// refused when it is sent to.
    ///
    /// # Errors
    /// [`BrokerError::TooLarge`].
    pub fn check_batch(&self, path: &EntityPath, bytes: usize) -> Result<(), BrokerError> {
        let limit = match self.entities.get(&path.key) {
            None => return Ok(()),
            Some(Entity::Queue(queue)) => queue.options().max_message_bytes,
            Some(Entity::Topic(topic)) => topic.options().max_message_bytes,
        };
        if bytes > limit { Err(BrokerError::TooLarge { size: bytes, limit }) } else { Ok(()) }
    }

    /// Whether an entity could accept these messages.
    pub(super) fn check(&self, key: &str, messages: &[Arc<Message>]) -> Result<(), BrokerError> {
        match self.entities.get(key).ok_or(BrokerError::NotFound)? {
            Entity::Queue(queue) => queue.check(messages, &self.policy),
            Entity::Topic(topic) => topic.check(messages, self.subscription_bytes(topic), &self.policy),
        }
    }

    /// Puts messages that were checked into an entity.
    pub(super) fn accept(&mut self, key: &Arc<str>, messages: Vec<Arc<Message>>, now: UnixMillis) {
        let Self { entities, ids, out, .. } = self;
        match entities.get_mut(key) {
            Some(Entity::Queue(queue)) => {
                messages.into_iter().for_each(|message| queue.accept(message, now, ids.as_mut(), out));
                queue.write_counters(out);
            }
            Some(Entity::Topic(topic)) => {
                let accept = |message| topic.accept(message, now, ids.as_mut(), out);
                let copies: Vec<Copy> = messages.into_iter().flat_map(accept).collect();
                topic.write_counters(out);
                self.distribute(copies, now);
            }
            None => {}
        }
        self.touched.push_back(Arc::clone(key));
    }

    fn distribute(&mut self, copies: Vec<Copy>, at: UnixMillis) {
        let Self { entities, out, touched, .. } = self;
        for (key, message) in copies {
            if let Some(queue) = entities.get_mut(&key).and_then(Entity::queue_mut) {
                queue.deliver(message, at, out);
                touched.push_back(key);
            }
        }
    }

    // ---- receiving and settling

    /// Takes the first visible message, if there is one.
    ///
    /// # Errors
    /// When there is nothing of this name, or nothing can be received there.
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
        self.at_queue(path, now, |queue, out| {
            queue.check_receiver(path.sub_queue)?;
            Ok(queue.receive(path.sub_queue, token, now, out))
        })
    }

    /// Looks at the first visible message, if there is one, and leaves it where it is.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn peek(&mut self, path: &EntityPath, now: UnixMillis) -> Result<Option<Delivery>, BrokerError> {
        self.at_queue(path, now, |queue, out| {
            queue.check_receiver(path.sub_queue)?;
            queue.touch(now, out);
            Ok(queue.peek(path.sub_queue))
        })
    }

    /// Undoes a delivery that could not be handed over: as if it had never been.
    pub fn give_back(&mut self, path: &EntityPath, delivery: Delivery, now: UnixMillis) {
        self.advance(now);
        let Self { entities, out, .. } = self;
        if let Some(queue) = entities.get_mut(&path.key).and_then(Entity::queue_mut) {
            queue.give_back(path.sub_queue, delivery, now, out);
        }
        self.touched.push_back(Arc::clone(&path.key));
        self.settle(now);
    }

    /// Completes a locked message.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`], [`BrokerError::Disabled`], [`BrokerError::LockLost`].
    pub fn complete(
        &mut self,
        path: &EntityPath,
        which: &MessageRef,
        token: Uuid,
        now: UnixMillis,
    ) -> Result<(), BrokerError> {
        let claim = Claim { sub_queue: path.sub_queue, which, token };
        self.at_queue(path, now, |queue, out| queue.complete(claim, now, out))
    }

    /// Gives a locked message back to the queue; the delivery counts.
    ///
    /// # Errors
    /// As [`Self::complete`].
    pub fn abandon(
        &mut self,
        path: &EntityPath,
        which: &MessageRef,
        token: Uuid,
        now: UnixMillis,
    ) -> Result<(), BrokerError> {
        let claim = Claim { sub_queue: path.sub_queue, which, token };
        self.at_queue(path, now, |queue, out| queue.abandon(claim, now, out))
    }

    /// Makes a lock last a lock duration from now; answers until when.
    ///
    /// # Errors
    /// As [`Self::complete`].
    pub fn renew(
        &mut self,
        path: &EntityPath,
        which: &MessageRef,
        token: Uuid,
        now: UnixMillis,
    ) -> Result<UnixMillis, BrokerError> {
        let claim = Claim { sub_queue: path.sub_queue, which, token };
        self.at_queue(path, now, |queue, out| queue.renew(claim, now, out))
    }

    /// Ends a lock before its time, as if it had expired. A fault, not an operation of the service.
    pub fn lose_lock(&mut self, path: &EntityPath, token: Uuid, now: UnixMillis) {
        // One that holds nothing is lost already.
        let _ = self.at_queue(path, now, |queue, out| {
            queue.lose_lock(path.sub_queue, token, now, out);
            Ok(())
        });
    }

    /// An operation of receivers: after time had its say, and before messages go on.
    fn at_queue<T>(
        &mut self,
        path: &EntityPath,
        now: UnixMillis,
        operation: impl FnOnce(&mut Queue, &mut Outbox) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        self.advance(now);
        let topic = EntityPath::topic_of(&path.key).and_then(|topic| self.topic(topic));
        if topic.is_some_and(|topic| topic.status == EntityStatus::Disabled) {
            return Err(BrokerError::Disabled(Traffic::Receive));
        }
        let Self { entities, out, .. } = self;
        let queue = entities.get_mut(&path.key).and_then(Entity::queue_mut).ok_or(BrokerError::NotFound)?;
        let done = operation(queue, out);
        self.touch_topic_of(&path.key, now);
        self.touched.push_back(Arc::clone(&path.key));
        self.settle(now);
        done
    }

    // ---- time

    /// Carries out everything that fell due by `now`, everywhere, in order.
    pub fn advance(&mut self, now: UnixMillis) {
        self.settle(now);
        while let Some((at, key)) = self.agenda.first()
            && at <= now
        {
            let key = Arc::clone(key);
            self.carry_out_next(&key);
            self.touched.push_back(key);
            self.settle(at);
        }
    }

    fn carry_out_next(&mut self, key: &Arc<str>) {
        let Self { entities, ids, out, .. } = self;
        match entities.get_mut(key) {
            Some(Entity::Queue(queue)) => match queue.next() {
                Some((_, queue::Event::Idle)) => self.remove(key),
                Some((at, event)) => queue.carry_out(event, at, out),
                None => {}
            },
            Some(Entity::Topic(topic)) => match topic.next() {
                Some((_, topic::Event::Idle)) => self.remove(key),
                Some((at, topic::Event::Due)) => {
                    let copies = topic.publish_due(ids.as_mut(), out);
                    self.distribute(copies, at);
                }
                None => {}
            },
            None => {}
        }
    }

    /// When time alone changes something next, anywhere.
    #[must_use]
    pub fn next_event(&self) -> Option<UnixMillis> {
        self.agenda.first().map(|(at, _)| at)
    }

    // ---- restoring

    /// Applies a row that a store kept. Rows of an entity come after the entity's own.
    pub fn restore(&mut self, change: Change) {
        match change {
            Change::Queue { key, options: Some(options), next_sequence, active_at } => {
                let mut queue = Queue::new(Arc::clone(&key), *options, active_at);
                queue.restore_counters(next_sequence);
                // Brought to rest by the first operation, when its messages are there too.
                self.touched.push_back(Arc::clone(&key));
                self.entities.insert(key, Entity::Queue(Box::new(queue)));
            }
            Change::Topic { key, options: Some(options), next_sequence, active_at } => {
                let mut topic = Topic::new(Arc::clone(&key), *options, active_at);
                topic.restore_counter(next_sequence);
                self.touched.push_back(Arc::clone(&key));
                self.entities.insert(key, Entity::Topic(Box::new(topic)));
            }
            Change::Queue { key, options: None, next_sequence, .. } => {
                if let Some(queue) = self.entities.get_mut(&key).and_then(Entity::queue_mut) {
                    queue.restore_counters(next_sequence);
                }
            }
            Change::Topic { key, options: None, next_sequence, .. } => {
                if let Some(topic) = self.entities.get_mut(&key).and_then(Entity::topic_mut) {
                    topic.restore_counter(next_sequence);
                }
            }
            Change::Message { key, place, number, entry } => match self.entities.get_mut(&key) {
                Some(Entity::Queue(queue)) => queue.restore_message(place, number, entry),
                Some(Entity::Topic(topic)) => topic.restore_message(number, entry),
                None => {}
            },
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
}
