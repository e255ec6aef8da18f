//! The broker: at least once, in any order, under peek-locks that may lapse at any time.
//!
//! A message is received while nobody's lock on it holds and the deliveries last; after the last one it is in the broker's own
//! dead-letter queue, which is to say still here. When a scheduled copy comes is the broker's choice: it may be at once, however
//! its clock goes. So no clock of the broker is needed: whatever it would say, one of the choices is the same.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use oncebus_core::config::QueueConfig;
use oncebus_core::message::{Delivery, LockRef, Outgoing, property};
use oncebus_core::record::State;
use oncebus_core::run::{Copy, Reply};
use oncebus_core::time::UnixTime;

use crate::rules::{Broken, Rule};
use crate::shared::Shared;
use crate::storage::Storage;

/// Names a delivery: which message, and which time of it. The worker that has it needs no other name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryId {
    /// The broker's number of the message.
    pub sequence: i64,
    /// `DeliveryCount`.
    pub count: u8,
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}#{}", self.sequence, self.count)
    }
}

impl DeliveryId {
    /// The delivery with this lock: its token is the count.
    pub(crate) fn of_lock(lock: &LockRef) -> Option<Self> {
        Some(Self { sequence: lock.sequence_number, count: lock.lock_token.parse().ok()? })
    }
}

/// A message in the queue.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct Message {
    pub(crate) sequence: i64,
    outgoing: Outgoing,
    deliveries: u8,
    locked: bool,
    /// Truth: a copy that stands for it has been accepted.
    copied: bool,
}

#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct Broker {
    messages: Vec<Shared<Message>>,
    next: i64,
    max_deliveries: u8,
    /// The bodies on the poison queue. How many there are of each is not promised.
    poison: BTreeSet<Bytes>,
}

impl Broker {
    /// With these messages in its queue.
    pub(crate) fn new(sent: impl Iterator<Item = Outgoing>, max_deliveries: u8) -> Self {
        let mut broker = Self { messages: Vec::new(), next: 1, max_deliveries, poison: BTreeSet::new() };
        for message in sent {
            broker.enqueue(message);
        }
        broker
    }

    fn enqueue(&mut self, outgoing: Outgoing) {
        let sequence = self.next;
        self.next += 1;
        self.messages.push(Shared::new(Message { sequence, outgoing, deliveries: 0, locked: false, copied: false }));
    }

    /// What may be received now.
    pub(crate) fn receivable(&self) -> impl Iterator<Item = i64> {
        let free = self.messages.iter().filter(|message| !message.locked && message.deliveries < self.max_deliveries);
        free.map(|message| message.sequence)
    }

    /// Whose peek-lock may lapse. Of a message that was delivered for the last time it makes no difference.
    pub(crate) fn locked(&self) -> impl Iterator<Item = i64> {
        let locked = self.messages.iter().filter(|message| message.locked);
        locked.map(|message| message.sequence)
    }

    fn find(&mut self, sequence: i64) -> Option<&mut Shared<Message>> {
        self.messages.iter_mut().find(|message| message.sequence == sequence)
    }

    pub(crate) fn receive(&mut self, sequence: i64) -> Option<(DeliveryId, Delivery)> {
        let message = self.find(sequence)?;
        message.edit(|message| {
            message.locked = true;
            message.deliveries += 1;
        });
        let count = message.deliveries;
        let lock = LockRef { sequence_number: sequence, lock_token: count.to_string() };
        let id = DeliveryId { sequence, count };
        let Outgoing { message_id, body, properties, .. } = message.outgoing.clone();
        let delivery = Delivery {
            lock,
            message_id: message_id.unwrap_or_default(),
            delivery_count: u32::from(count),
            enqueued_at: Some(UnixTime(0)),
            locked_until: None,
            answered_at: None,
            content_type: None,
            body,
            properties,
            correlation_id: None,
            label: None,
            reply_to: None,
            to: None,
            partition_key: None,
        };
        Some((id, delivery))
    }

    pub(crate) fn lapse(&mut self, sequence: i64) -> Option<()> {
        self.find(sequence)?.edit(|message| message.locked = false);
        Some(())
    }

    /// Whether a request under this lock would be obeyed.
    pub(crate) fn holds(&self, id: DeliveryId) -> bool {
        let holds = |message: &Shared<Message>| message.locked && message.deliveries == id.count;
        self.messages.iter().any(|message| message.sequence == id.sequence && holds(message))
    }

    pub(crate) fn renew(&self, id: DeliveryId) -> Reply {
        if self.holds(id) { Reply::Settled } else { Reply::LockLost }
    }

    pub(crate) fn complete(&mut self, id: DeliveryId, storage: &Storage, broken: &mut Broken) -> Reply {
        if !self.holds(id) {
            return Reply::LockLost;
        }
        let Some(index) = self.messages.iter().position(|message| message.sequence == id.sequence) else {
            return Reply::LockLost;
        };
        let gone = self.messages.remove(index);
        let settled = storage.record().is_some_and(|record| match record.state {
            State::Done => true,
            State::Parked => record.copied,
            State::Processing | State::Released => false,
        });
        broken.unless(settled || gone.copied, Rule::CompletedLast);
        self.judge_loss(&gone.outgoing.body, storage, broken);
        Reply::Settled
    }

    fn judge_loss(&self, body: &Bytes, storage: &Storage, broken: &mut Broken) {
        let here = self.messages.iter().any(|message| message.outgoing.body == *body) || self.poison.contains(body);
        broken.unless(here || storage.has_done(body), Rule::NothingIsLost);
    }

    /// A copy arrives. It needs no lock: a dead worker's request may still land.
    pub(crate) fn send(
        &mut self,
        original: DeliveryId,
        copy: Copy,
        queue: &QueueConfig,
        storage: &Storage,
        broken: &mut Broken,
    ) {
        if let Some(message) = self.find(original.sequence) {
            message.edit(|message| message.copied = true);
        }
        if copy.queue == queue.name {
            self.enqueue(copy.message);
            return;
        }
        let mismatch = copy.message.properties.text(property::DEAD_LETTER_REASON) == Some("payload-mismatch");
        let parked = storage.record().is_some_and(|record| record.state == State::Parked);
        broken.unless(mismatch || parked, Rule::PoisonIsParked);
        self.poison.insert(copy.message.body);
    }
}
