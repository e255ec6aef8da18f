//! One queue: messages, locks, deadlines, and its dead-letter queue.
//!
//! Time moves by [`Queue::advance`], which every operation calls first. It carries out whatever fell
//! due since, in the order in which it fell due, as of the instant when it did; so it does not matter
//! how often it is called, and a queue that nobody looks at is still right when somebody does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::change::{Change, Outbox, Place, scheduled_entry};
use super::history::History;
use super::message::{Message, PropertyValue};
use super::options::QueueOptions;
use super::path::{EntityPath, SubQueue};
use super::shelf::{Entry, Lock, Shelf};
use super::{BrokerError, Delivery, MessageRef, MessageState, Standing};
use crate::ids::IdSource;
use crate::time::UnixMillis;

/// A queue and its dead-letter queue.
#[derive(Debug)]
pub(super) struct Queue {
    key: Arc<str>,
    options: QueueOptions,
    main: Shelf,
    dead: Shelf,
    scheduled: BTreeMap<(UnixMillis, u64), Arc<Message>>,
    history: History,
    next_sequence: u64,
    next_ticket: u64,
}

/// What fell due. Declared in the order in which simultaneous events are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    LockEnds(SubQueue, u64),
    Expires(u64),
    Due(u64),
}

impl Queue {
    pub(super) fn new(key: Arc<str>, options: QueueOptions) -> Self {
        Self {
            key,
            options,
            main: Shelf::default(),
            dead: Shelf::default(),
            scheduled: BTreeMap::new(),
            history: History::default(),
            next_sequence: 1,
            next_ticket: 1,
        }
    }

    pub(super) fn options(&self) -> &QueueOptions {
        &self.options
    }

    pub(super) fn set_options(&mut self, options: QueueOptions) {
        self.options = options;
    }

    /// The row that describes this queue.
    pub(super) fn described(&self) -> Change {
        Change::Queue {
            key: Arc::clone(&self.key),
            options: Some(Box::new(self.options.clone())),
            next_sequence: self.next_sequence,
            next_ticket: self.next_ticket,
        }
    }

    // ---- sending

    /// Accepts all messages or none.
    pub(super) fn send(
        &mut self,
        messages: Vec<Message>,
        now: UnixMillis,
        ids: &mut dyn IdSource,
        out: &mut Outbox,
    ) -> Result<(), BrokerError> {
        self.advance(now, out);
        let size: usize = messages.iter().map(Message::size).sum();
        if size > self.options.max_message_bytes {
            return Err(BrokerError::TooLarge { size, limit: self.options.max_message_bytes });
        }
        let held = self.main.bytes().saturating_add(self.dead.bytes());
        if held.saturating_add(u64::try_from(size).unwrap_or(u64::MAX)) > self.options.max_queue_bytes {
            return Err(BrokerError::QuotaExceeded { limit: self.options.max_queue_bytes });
        }
        messages.iter().try_for_each(check)?;
        if self.history.forget(now) {
            out.change(|| Change::Forgotten { key: Arc::clone(&self.key), until: now });
        }
        for message in messages {
            self.accept(message, now, ids, out);
        }
        self.write_counters(out);
        Ok(())
    }

    fn accept(&mut self, mut message: Message, now: UnixMillis, ids: &mut dyn IdSource, out: &mut Outbox) {
        if message.broker.message_id.is_empty() {
            message.broker.message_id = format!("{:032x}", ids.next_id());
        } else if self.options.requires_duplicate_detection {
            if self.history.contains(&message.broker.message_id) {
                return;
            }
            let message_id: Arc<str> = message.broker.message_id.as_str().into();
            let until = now.after(self.options.duplicate_detection_window);
            self.history.remember(Arc::clone(&message_id), until);
            out.change(|| Change::Remembered { key: Arc::clone(&self.key), message_id, until });
        }
        if message.broker.partition_key.is_none() {
            message.broker.partition_key.clone_from(&message.broker.session_id);
        }
        self.place(Arc::new(message), now, out);
    }

    /// Takes the copy that a topic made for this subscription.
    pub(super) fn deliver(&mut self, message: Arc<Message>, now: UnixMillis, out: &mut Outbox) {
        self.advance(now, out);
        self.place(message, now, out);
        self.write_counters(out);
    }

    fn place(&mut self, mut message: Arc<Message>, now: UnixMillis, out: &mut Outbox) {
        let time_to_live = shorter(message.broker.time_to_live, self.options.default_time_to_live);
        if time_to_live != message.broker.time_to_live {
            Arc::make_mut(&mut message).broker.time_to_live = time_to_live;
        }
        match message.broker.scheduled_enqueue_time {
            Some(due) if due > now => self.schedule(message, due, out),
            _ => self.enqueue(message, now, out),
        }
    }

    fn schedule(&mut self, message: Arc<Message>, due: UnixMillis, out: &mut Outbox) {
        let number = self.next_ticket;
        self.next_ticket += 1;
        out.change(|| Change::Message {
            key: Arc::clone(&self.key),
            place: Place::Scheduled,
            number,
            entry: scheduled_entry(&message, due),
        });
        self.scheduled.insert((due, number), message);
    }

    fn enqueue(&mut self, message: Arc<Message>, at: UnixMillis, out: &mut Outbox) {
        let number = self.next_sequence;
        self.next_sequence += 1;
        let entry = Entry { message, enqueued_at: at, deliveries: 0, lock: None };
        out.change(|| Change::Message { key: Arc::clone(&self.key), place: Place::Main, number, entry: entry.clone() });
        let expires_at = expires_at(&entry);
        self.main.insert(number, entry, expires_at);
        out.ready(self.path(SubQueue::Main));
    }

    // ---- receiving

    /// Takes the first message: locked when a token is given, else for good.
    pub(super) fn receive(
        &mut self,
        sub_queue: SubQueue,
        token: Option<Uuid>,
        now: UnixMillis,
        out: &mut Outbox,
    ) -> Option<Delivery> {
        self.advance(now, out);
        let number = self.shelf(sub_queue).first_ready()?;
        let deliveries = self.shelf(sub_queue).get(number)?.deliveries.saturating_add(1);
        let lock = token.map(|token| Lock { token, until: now.after(self.options.lock_duration) });
        let entry = if lock.is_some() {
            self.stand(sub_queue, number, lock, deliveries, out)?
        } else {
            Entry { deliveries, ..self.take_away(sub_queue, number, out)? }
        };
        let enqueued_sequence_number = entry.message.enqueued_sequence_number;
        Some(Delivery { sequence_number: number, enqueued_sequence_number, entry })
    }

    /// Undoes a delivery whose receiver was gone before it could be answered.
    pub(super) fn give_back(&mut self, sub_queue: SubQueue, delivery: Delivery, now: UnixMillis, out: &mut Outbox) {
        self.advance(now, out);
        let number = delivery.sequence_number;
        let deliveries = delivery.entry.deliveries.saturating_sub(1);
        match delivery.entry.lock {
            Some(lock) => {
                // The lock may have ended meanwhile; then there is nothing left to undo.
                if self.shelf(sub_queue).locked_by(lock.token) == Some(number) {
                    let entry = self.stand(sub_queue, number, None, deliveries, out);
                    let end = entry.as_ref().and_then(expires_at).filter(|end| *end <= now);
                    match end {
                        Some(end) if sub_queue == SubQueue::Main => self.expire(number, end, out),
                        _ => out.ready(self.path(sub_queue)),
                    }
                }
            }
            None => self.put(sub_queue, number, Entry { deliveries, ..delivery.entry }, out),
        }
    }

    /// Completes: the message is gone.
    pub(super) fn complete(
        &mut self,
        sub_queue: SubQueue,
        which: &MessageRef,
        token: Uuid,
        now: UnixMillis,
        out: &mut Outbox,
    ) -> Result<(), BrokerError> {
        let number = self.find_lock(sub_queue, which, token, now, out)?;
        self.take_away(sub_queue, number, out);
        Ok(())
    }

    /// Abandons: the message is visible again, or dead when it was delivered too often.
    pub(super) fn abandon(
        &mut self,
        sub_queue: SubQueue,
        which: &MessageRef,
        token: Uuid,
        now: UnixMillis,
        out: &mut Outbox,
    ) -> Result<(), BrokerError> {
        let number = self.find_lock(sub_queue, which, token, now, out)?;
        self.release(sub_queue, number, now, out);
        Ok(())
    }

    /// Renews: the lock holds for another lock duration from now. The token stays.
    pub(super) fn renew(
        &mut self,
        sub_queue: SubQueue,
        which: &MessageRef,
        token: Uuid,
        now: UnixMillis,
        out: &mut Outbox,
    ) -> Result<UnixMillis, BrokerError> {
        let number = self.find_lock(sub_queue, which, token, now, out)?;
        let until = now.after(self.options.lock_duration);
        let deliveries = self.shelf(sub_queue).get(number).map_or(1, |entry| entry.deliveries);
        self.stand(sub_queue, number, Some(Lock { token, until }), deliveries, out);
        Ok(until)
    }

    /// Ends a lock before its time, as if it had expired.
    pub(super) fn lose_lock(&mut self, sub_queue: SubQueue, token: Uuid, now: UnixMillis, out: &mut Outbox) {
        self.advance(now, out);
        if let Some(number) = self.shelf(sub_queue).locked_by(token) {
            self.release(sub_queue, number, now, out);
        }
    }

    fn find_lock(
        &mut self,
        sub_queue: SubQueue,
        which: &MessageRef,
        token: Uuid,
        now: UnixMillis,
        out: &mut Outbox,
    ) -> Result<u64, BrokerError> {
        self.advance(now, out);
        let shelf = self.shelf(sub_queue);
        let number = shelf.locked_by(token).ok_or(BrokerError::LockLost)?;
        let entry = shelf.get(number).ok_or(BrokerError::LockLost)?;
        if which.names(number, &entry.message.broker.message_id) { Ok(number) } else { Err(BrokerError::LockLost) }
    }

    // ---- time

    /// Carries out everything that fell due by `now`.
    pub(super) fn advance(&mut self, now: UnixMillis, out: &mut Outbox) {
        while let Some((at, event)) = self.next() {
            if at > now {
                break;
            }
            match event {
                Event::LockEnds(sub_queue, number) => self.release(sub_queue, number, at, out),
                Event::Expires(number) => self.expire(number, at, out),
                Event::Due(ticket) => self.deliver_scheduled(at, ticket, out),
            }
        }
    }

    /// When [`Self::advance`] has something to do next.
    pub(super) fn next_event(&self) -> Option<UnixMillis> {
        self.next().map(|(at, _)| at)
    }

    fn next(&self) -> Option<(UnixMillis, Event)> {
        let main = self.main.next_lock_end().map(|(at, n)| (at, Event::LockEnds(SubQueue::Main, n)));
        let dead = self.dead.next_lock_end().map(|(at, n)| (at, Event::LockEnds(SubQueue::DeadLetter, n)));
        let expiry = self.main.next_expiry().map(|(at, n)| (at, Event::Expires(n)));
        let due = self.scheduled.first_key_value().map(|((at, ticket), _)| (*at, Event::Due(*ticket)));
        [main, dead, expiry, due].into_iter().flatten().min()
    }

    /// A lock ended without the message being completed.
    fn release(&mut self, sub_queue: SubQueue, number: u64, at: UnixMillis, out: &mut Outbox) {
        let Some(entry) = self.shelf(sub_queue).get(number) else { return };
        let deliveries = entry.deliveries;
        let expired = expires_at(entry).is_some_and(|end| end <= at);
        if sub_queue == SubQueue::Main && deliveries >= self.options.max_delivery_count {
            let description = format!("Message could not be consumed after {deliveries} delivery attempts.");
            self.dead_letter(number, "MaxDeliveryCountExceeded", &description, out);
            return;
        }
        self.stand(sub_queue, number, None, deliveries, out);
        if sub_queue == SubQueue::Main && expired {
            self.expire(number, at, out);
        } else {
            out.ready(self.path(sub_queue));
        }
    }

    /// A time to live ended. A locked message stays: its holder may still complete it.
    fn expire(&mut self, number: u64, at: UnixMillis, out: &mut Outbox) {
        let Some(entry) = self.main.get(number) else {
            self.main.drop_expiry(at, number);
            return;
        };
        if entry.lock.is_some() {
            self.main.drop_expiry(at, number);
        } else if self.options.dead_lettering_on_expiration {
            self.dead_letter(number, "TTLExpiredException", "The message expired and was dead lettered.", out);
        } else {
            self.take_away(SubQueue::Main, number, out);
        }
    }

    fn deliver_scheduled(&mut self, due: UnixMillis, ticket: u64, out: &mut Outbox) {
        let Some(message) = self.scheduled.remove(&(due, ticket)) else { return };
        out.change(|| Change::MessageRemoved { key: Arc::clone(&self.key), place: Place::Scheduled, number: ticket });
        self.enqueue(message, due, out);
        self.write_counters(out);
    }

    fn dead_letter(&mut self, number: u64, reason: &str, description: &str, out: &mut Outbox) {
        let Some(entry) = self.take_away(SubQueue::Main, number, out) else { return };
        let mut message = Message::clone(&entry.message);
        message.properties.push(("DeadLetterReason".to_owned(), PropertyValue::Text(reason.to_owned())));
        let description = PropertyValue::Text(description.to_owned());
        message.properties.push(("DeadLetterErrorDescription".to_owned(), description));
        let entry = Entry { message: Arc::new(message), lock: None, ..entry };
        self.put(SubQueue::DeadLetter, number, entry, out);
    }

    // ---- rows

    fn put(&mut self, sub_queue: SubQueue, number: u64, entry: Entry, out: &mut Outbox) {
        out.change(|| Change::Message {
            key: Arc::clone(&self.key),
            place: place(sub_queue),
            number,
            entry: entry.clone(),
        });
        // A dead letter has no time to live.
        let expires_at = if sub_queue == SubQueue::Main { expires_at(&entry) } else { None };
        self.shelf_mut(sub_queue).insert(number, entry, expires_at);
        out.ready(self.path(sub_queue));
    }

    fn stand(
        &mut self,
        sub_queue: SubQueue,
        number: u64,
        lock: Option<Lock>,
        deliveries: u32,
        out: &mut Outbox,
    ) -> Option<Entry> {
        out.change(|| Change::Standing {
            key: Arc::clone(&self.key),
            place: place(sub_queue),
            number,
            deliveries,
            lock,
        });
        self.shelf_mut(sub_queue).set_lock(number, lock, deliveries).cloned()
    }

    fn take_away(&mut self, sub_queue: SubQueue, number: u64, out: &mut Outbox) -> Option<Entry> {
        let entry = match sub_queue {
            SubQueue::Main => self.main.remove(number, expires_at),
            SubQueue::DeadLetter => self.dead.remove(number, |_| None),
        }?;
        out.change(|| Change::MessageRemoved { key: Arc::clone(&self.key), place: place(sub_queue), number });
        Some(entry)
    }

    fn write_counters(&self, out: &mut Outbox) {
        out.change(|| Change::Queue {
            key: Arc::clone(&self.key),
            options: None,
            next_sequence: self.next_sequence,
            next_ticket: self.next_ticket,
        });
    }

    // ---- restoring and looking

    /// Puts back what a store kept.
    pub(super) fn restore_counters(&mut self, next_sequence: u64, next_ticket: u64) {
        self.next_sequence = self.next_sequence.max(next_sequence);
        self.next_ticket = self.next_ticket.max(next_ticket);
    }

    pub(super) fn restore_message(&mut self, at: Place, number: u64, entry: Entry) {
        match at {
            Place::Main => {
                let expires_at = expires_at(&entry);
                self.main.insert(number, entry, expires_at);
            }
            Place::DeadLetter => self.dead.insert(number, entry, None),
            Place::Scheduled => {
                self.scheduled.insert((entry.enqueued_at, number), entry.message);
            }
        }
    }

    pub(super) fn restore_history(&mut self, message_id: Arc<str>, until: UnixMillis) {
        self.history.remember(message_id, until);
    }

    /// Every message of a sub-queue, the visible and locked ones first, in order.
    pub(super) fn messages(&self, sub_queue: SubQueue) -> Vec<Standing> {
        let present = self.shelf(sub_queue).iter().map(|(number, entry)| Standing {
            sequence_number: Some(number),
            state: if entry.lock.is_some() { MessageState::Locked } else { MessageState::Active },
            entry: entry.clone(),
        });
        let scheduled = self.scheduled.iter().map(|((due, _), message)| Standing {
            sequence_number: None,
            state: MessageState::Scheduled,
            entry: scheduled_entry(message, *due),
        });
        match sub_queue {
            SubQueue::Main => present.chain(scheduled).collect(),
            SubQueue::DeadLetter => present.collect(),
        }
    }

    /// How many messages are visible, how many are there at all (scheduled ones apart), and their bytes.
    pub(super) fn counts(&self, sub_queue: SubQueue) -> (usize, usize, u64) {
        let shelf = self.shelf(sub_queue);
        (shelf.ready_count(), shelf.len(), shelf.bytes())
    }

    pub(super) fn scheduled_count(&self) -> usize {
        self.scheduled.len()
    }

    fn path(&self, sub_queue: SubQueue) -> EntityPath {
        EntityPath { key: Arc::clone(&self.key), sub_queue }
    }

    fn shelf(&self, sub_queue: SubQueue) -> &Shelf {
        match sub_queue {
            SubQueue::Main => &self.main,
            SubQueue::DeadLetter => &self.dead,
        }
    }

    fn shelf_mut(&mut self, sub_queue: SubQueue) -> &mut Shelf {
        match sub_queue {
            SubQueue::Main => &mut self.main,
            SubQueue::DeadLetter => &mut self.dead,
        }
    }
}

fn place(sub_queue: SubQueue) -> Place {
    match sub_queue {
        SubQueue::Main => Place::Main,
        SubQueue::DeadLetter => Place::DeadLetter,
    }
}

fn expires_at(entry: &Entry) -> Option<UnixMillis> {
    entry.message.broker.time_to_live.map(|ttl| entry.enqueued_at.after(ttl))
}

fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The rules that a message must keep to be accepted at all.
pub(super) fn check(message: &Message) -> Result<(), BrokerError> {
    const LONGEST_ID: usize = 128;
    let broker = &message.broker;
    let long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.chars().count() > LONGEST_ID);
    if broker.message_id.chars().count() > LONGEST_ID {
        return Err(BrokerError::InvalidProperty("MessageId must be at most 128 characters"));
    }
    if long(&broker.session_id) || long(&broker.partition_key) {
        return Err(BrokerError::InvalidProperty("SessionId and PartitionKey must be at most 128 characters"));
    }
    if let (Some(session), Some(partition)) = (&broker.session_id, &broker.partition_key)
        && session != partition
    {
        return Err(BrokerError::InvalidProperty("PartitionKey must equal SessionId when both are set"));
    }
    Ok(())
}
