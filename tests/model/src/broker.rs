//! The broker: at least once, in any order, under peek-locks that may lapse at any time.
//!
//! A message is received while nobody's lock on it holds and the deliveries last; after the last one it is in the broker's own
//! dead-letter queue, which is to say still here. When a scheduled copy comes is the broker's choice: it may be at once, however
//! its clock goes. So no clock of the broker is needed: whatever it would say, one of the choices is the same.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use oncebus_core::config::QueueConfig;
use oncebus_core::message::{Addressing, Delivery, LockRef, Outgoing, property};
use oncebus_core::record::State;
use oncebus_core::run::{Copy, Reply};
use oncebus_core::time::UnixTime;

use crate::bounds::Retention;
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
    /// In ticks. Only kept where messages expire.
    enqueued: u8,
    locked_at: u8,
}

#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct Broker {
    messages: Vec<Shared<Message>>,
    next: i64,
    max_deliveries: u8,
    /// The bodies on the poison queue. How many there are of each is not promised.
    poison: BTreeSet<Bytes>,
    /// The letters there, where operators take them up.
    letters: Option<Vec<Shared<Message>>>,
    retention: Option<Retention>,
    /// In ticks. Only kept where messages expire.
    clock: u8,
}

impl Broker {
    /// With these messages in its queue.
    pub(crate) fn new(sent: impl Iterator<Item = Outgoing>, max_deliveries: u8) -> Self {
        let mut broker = Self {
            messages: Vec::new(),
            next: 1,
            max_deliveries,
            poison: BTreeSet::new(),
            letters: None,
            retention: None,
            clock: 0,
        };
        for message in sent {
            broker.enqueue(message);
        }
        broker
    }

    /// The same, with a poison queue whose letters can be received.
    pub(crate) fn with_letters(self) -> Self {
        Self { letters: Some(Vec::new()), ..self }
    }

    /// The same, with a clock, by which locks lapse and messages expire.
    pub(crate) fn with_a_clock(self, retention: Retention) -> Self {
        Self { retention: Some(retention), ..self }
    }

    fn enqueue(&mut self, outgoing: Outgoing) {
        let message = self.message(outgoing);
        self.messages.push(message);
    }

    fn message(&mut self, outgoing: Outgoing) -> Shared<Message> {
        let sequence = self.next;
        self.next += 1;
        let enqueued = self.clock;
        let (deliveries, locked, copied, locked_at) = (0, false, false, 0);
        Shared::new(Message { sequence, outgoing, deliveries, locked, copied, enqueued, locked_at })
    }

    /// A tick goes by. What is locked is not expired; of what was locked two ticks ago the lock is over.
    pub(crate) fn tick(&mut self) {
        let Some(retention) = self.retention else { return };
        self.clock += 1;
        let clock = self.clock;
        for message in self.messages.iter_mut().chain(self.letters.iter_mut().flatten()) {
            if message.locked && message.locked_at + 1 < clock {
                message.edit(|message| message.locked = false);
            }
        }
        let lives = |message: &Shared<Message>| message.locked || clock < message.enqueued + retention.messages;
        self.messages.retain(lives);
        if let Some(letters) = &mut self.letters {
            letters.retain(lives);
        }
    }

    /// The letters that may be received now.
    pub(crate) fn receivable_letters(&self) -> impl Iterator<Item = i64> {
        let free = self.letters.iter().flatten().filter(|message| !message.locked);
        free.map(|message| message.sequence)
    }

    /// What may be received now.
    pub(crate) fn receivable(&self) -> impl Iterator<Item = i64> {
        let free = self.messages.iter().filter(|message| !message.locked && message.deliveries < self.max_deliveries);
        free.map(|message| message.sequence)
    }

    /// Whose peek-lock may lapse. Of a message that was delivered for the last time it makes no difference.
    pub(crate) fn locked(&self) -> impl Iterator<Item = i64> {
        let locked = self.messages.iter().chain(self.letters.iter().flatten()).filter(|message| message.locked);
        locked.map(|message| message.sequence)
    }

    fn find(&mut self, sequence: i64) -> Option<&mut Shared<Message>> {
        let mut all = self.messages.iter_mut().chain(self.letters.iter_mut().flatten());
        all.find(|message| message.sequence == sequence)
    }

    pub(crate) fn receive(&mut self, sequence: i64) -> Option<(DeliveryId, Delivery)> {
        let clock = self.clock;
        let message = self.find(sequence)?;
        message.edit(|message| {
            message.locked = true;
            message.locked_at = clock;
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
            addressing: Addressing::default(),
            time_to_live: None,
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
        let mut all = self.messages.iter().chain(self.letters.iter().flatten());
        all.any(|message| message.sequence == id.sequence && holds(message))
    }

    pub(crate) fn renew(&mut self, id: DeliveryId) -> Reply {
        if !self.holds(id) {
            return Reply::LockLost;
        }
        let clock = self.clock;
        if let Some(message) = self.find(id.sequence).filter(|message| message.locked_at != clock) {
            message.edit(|message| message.locked_at = clock);
        }
        Reply::Settled
    }

    /// Whether a letter is as old as records are kept.
    pub(crate) fn age_of(&self, sequence: i64) -> u8 {
        let mut letters = self.letters.iter().flatten();
        letters.find(|letter| letter.sequence == sequence).map_or(0, |letter| self.clock - letter.enqueued)
    }

    pub(crate) fn complete(&mut self, id: DeliveryId, storage: &Storage, broken: &mut Broken) -> Reply {
        if !self.holds(id) {
            return Reply::LockLost;
        }
        let Some((gone, was_letter)) = self.remove(id.sequence) else { return Reply::LockLost };
        let settled = storage.record().is_some_and(|record| match record.state {
            State::Done => true,
            // A letter is there for the record, unless there is one of a later epoch.
            State::Parked => record.copied && (!was_letter || Some(record.epoch) > epoch_of(&gone.outgoing)),
            State::Processing | State::Released => false,
        });
        // Done is done, when its record is swept as well.
        broken.unless(settled || storage.is_done() || gone.copied, Rule::CompletedLast);
        self.judge_loss(&gone.outgoing.body, storage, broken);
        Reply::Settled
    }

    fn remove(&mut self, sequence: i64) -> Option<(Shared<Message>, bool)> {
        let of = |messages: &mut Vec<Shared<Message>>| {
            let index = messages.iter().position(|message| message.sequence == sequence)?;
            Some(messages.remove(index))
        };
        let message = of(&mut self.messages).map(|message| (message, false));
        message.or_else(|| Some((of(self.letters.as_mut()?)?, true)))
    }

    fn judge_loss(&self, body: &Bytes, storage: &Storage, broken: &mut Broken) {
        let mut all = self.messages.iter().chain(self.letters.iter().flatten());
        let here = all.any(|message| message.outgoing.body == *body) || self.poison.contains(body);
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
        // One that lands late may find the record reopened.
        let reopened = storage.record().map(|record| record.epoch) > epoch_of(&copy.message);
        broken.unless(mismatch || parked || reopened, Rule::PoisonIsParked);
        if self.letters.is_none() {
            self.poison.insert(copy.message.body);
            return;
        }
        let letter = self.message(copy.message);
        self.letters.iter_mut().for_each(|letters| letters.push(letter.clone()));
    }
}

/// The epoch of the record for which a copy was made.
pub(crate) fn epoch_of(copy: &Outgoing) -> Option<u64> {
    copy.properties.text(property::EPOCH)?.parse().ok()
}
