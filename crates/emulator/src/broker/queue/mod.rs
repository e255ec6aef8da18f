//! One queue: messages, locks, deadlines, its dead-letter queue, and where forwarding stranded messages.
//!
//! A queue does what it is told, as of the instant that it is told: the broker sees to it that whatever
//! fell due before was carried out before, and takes away what is to be forwarded.

mod receiving;
mod rows;
mod time;

use std::sync::Arc;

use super::BrokerError;
use super::change::{Change, Outbox};
use super::error::Traffic;
use super::intake::{self, Intake, Terms};
use super::message::Message;
use super::options::QueueOptions;
use super::path::{EntityPath, SubQueue};
use super::policy::{Policy, SessionLess};
use super::schedule::Schedule;
use super::shelf::{Entry, Shelf};
use crate::ids::IdSource;
use crate::time::UnixMillis;
pub(super) use receiving::Claim;
pub(super) use time::Event;

/// A queue and its sub-queues.
#[derive(Debug)]
pub(super) struct Queue {
    key: Arc<str>,
    options: QueueOptions,
    main: Shelf,
    dead: Shelf,
    transfer: Shelf,
    scheduled: Schedule,
    intake: Intake,
    next_sequence: u64,
    /// The last operation that counts against idleness.
    active_at: UnixMillis,
}

impl Queue {
    pub(super) fn new(key: Arc<str>, options: QueueOptions, active_at: UnixMillis) -> Self {
        Self {
            key,
            options,
            main: Shelf::default(),
            dead: Shelf::default(),
            transfer: Shelf::default(),
            scheduled: Schedule::default(),
            intake: Intake::default(),
            next_sequence: 1,
            active_at,
        }
    }

    pub(super) fn options(&self) -> &QueueOptions {
        &self.options
    }

    /// Gives the queue new properties. Whoever waits here looks again: what can be received may have changed.
    pub(super) fn set_options(&mut self, options: QueueOptions, now: UnixMillis, out: &mut Outbox) {
        self.options = options;
        self.active_at = now;
        out.change(|| Change::Queue {
            key: Arc::clone(&self.key),
            options: Some(Box::new(self.options.clone())),
            next_sequence: self.next_sequence,
            active_at: self.active_at,
        });
        for sub_queue in SubQueue::ALL {
            out.ready(self.path(sub_queue));
        }
    }

    /// Notes an operation that keeps the queue from being idle.
    pub(super) fn touch(&mut self, now: UnixMillis, out: &mut Outbox) {
        self.active_at = now;
        if self.options.auto_delete_on_idle.is_some() {
            self.write_counters(out);
        }
    }

    // ---- sending

    /// Whether these messages could be accepted, all of them.
    pub(super) fn check(&self, messages: &[Arc<Message>], policy: &Policy) -> Result<(), BrokerError> {
        if !self.options.status.sends() {
            return Err(BrokerError::Disabled(Traffic::Send));
        }
        let one_partition = self.options.partitioned && policy.one_partition_per_batch;
        intake::check(messages, self.options.max_message_bytes, one_partition)?;
        let lacks_session = |message: &Arc<Message>| message.broker.session_id.is_none();
        if self.options.requires_session
            && policy.session_less == SessionLess::Refused
            && messages.iter().any(lacks_session)
        {
            return Err(BrokerError::InvalidProperty("Session ID is null"));
        }
        let more: u64 = messages.iter().map(|message| message.stored_size()).sum();
        if self.bytes().saturating_add(more) > self.options.max_queue_bytes {
            return Err(BrokerError::QuotaExceeded { limit: self.options.max_queue_bytes });
        }
        Ok(())
    }

    /// Accepts a message that was checked.
    pub(super) fn accept(
        &mut self,
        mut message: Arc<Message>,
        now: UnixMillis,
        ids: &mut dyn IdSource,
        out: &mut Outbox,
    ) {
        let options = &self.options;
        let terms = Terms {
            key: &self.key,
            remembers: options.requires_duplicate_detection.then_some(options.duplicate_detection_window),
            time_to_live: options.default_time_to_live,
        };
        if self.intake.admit(&mut message, terms, now, ids, out) {
            match message.broker.scheduled_enqueue_time {
                Some(due) if due > now => self.scheduled.put(&self.key, message, due, out),
                _ => self.enqueue(message, now, out),
            }
        }
        self.active_at = now;
    }

    /// Takes the copy that a topic made for this subscription.
    pub(super) fn deliver(&mut self, mut message: Arc<Message>, now: UnixMillis, out: &mut Outbox) {
        intake::cap(&mut message, self.options.default_time_to_live);
        self.enqueue(message, now, out);
        self.write_counters(out);
    }

    fn enqueue(&mut self, message: Arc<Message>, at: UnixMillis, out: &mut Outbox) {
        let number = self.next_sequence;
        self.next_sequence += 1;
        let lacks_session = self.options.requires_session && message.broker.session_id.is_none();
        let entry = Entry { message, enqueued_at: at, deliveries: 0, lock: None };
        if lacks_session {
            let description = "An entity that requires sessions takes no message without a session id.";
            self.bury(number, &entry, SubQueue::DeadLetter, "Session ID is null.", description, out);
        } else {
            self.put(SubQueue::Main, number, entry, out);
        }
    }

    // ---- forwarding

    /// Whether messages of this sub-queue go on to another entity.
    pub(super) fn forwards(&self, from: SubQueue) -> Option<&str> {
        match from {
            SubQueue::Main => self.options.forward_to.as_deref(),
            SubQueue::DeadLetter => self.options.forward_dead_letters_to.as_deref(),
            SubQueue::TransferDeadLetter => None,
        }
    }

    /// Takes away the first message that is to go on.
    pub(super) fn next_leaving(&mut self, out: &mut Outbox) -> Option<Leaving> {
        let due =
            |from| self.forwards(from).and_then(|to| Some((from, self.shelf(from).first_ready()?, to.to_owned())));
        let (from, number, target) = due(SubQueue::Main).or_else(|| due(SubQueue::DeadLetter))?;
        let entry = self.take_away(from, number, out)?;
        Some(Leaving { target, from, number, entry })
    }

    /// Keeps a message that could not go on, and says why.
    pub(super) fn strand(
        &mut self,
        leaving: &Leaving,
        reason: &str,
        description: &str,
        policy: &Policy,
        out: &mut Outbox,
    ) {
        // A dead letter that cannot go on must not come back to where it would set out again.
        let to = if leaving.from == SubQueue::Main { policy.stranded_in() } else { SubQueue::TransferDeadLetter };
        self.bury(leaving.number, &leaving.entry, to, reason, description, out);
    }

    pub(super) fn leaves_as(&self, leaving: &Leaving) -> Arc<Message> {
        let mut message = Message::clone(&leaving.entry.message);
        message.hops = message.hops.saturating_add(1);
        if message.enqueued_sequence_number == 0 {
            message.enqueued_sequence_number = leaving.number;
        }
        if leaving.from == SubQueue::DeadLetter {
            message.dead_letter_source = Some(self.options.name.clone());
        }
        Arc::new(message)
    }

    // ---- parts

    /// Bytes of everything that is kept here.
    pub(super) fn bytes(&self) -> u64 {
        let shelves = SubQueue::ALL.into_iter().map(|sub_queue| self.shelf(sub_queue).bytes());
        shelves.sum::<u64>().saturating_add(self.scheduled.bytes())
    }

    fn path(&self, sub_queue: SubQueue) -> EntityPath {
        EntityPath { key: Arc::clone(&self.key), sub_queue }
    }

    fn shelf(&self, sub_queue: SubQueue) -> &Shelf {
        match sub_queue {
            SubQueue::Main => &self.main,
            SubQueue::DeadLetter => &self.dead,
            SubQueue::TransferDeadLetter => &self.transfer,
        }
    }

    fn shelf_mut(&mut self, sub_queue: SubQueue) -> &mut Shelf {
        match sub_queue {
            SubQueue::Main => &mut self.main,
            SubQueue::DeadLetter => &mut self.dead,
            SubQueue::TransferDeadLetter => &mut self.transfer,
        }
    }
}

/// A message on its way to another entity.
#[derive(Debug)]
pub(super) struct Leaving {
    /// The other entity, as the description names it.
    pub(super) target: String,
    from: SubQueue,
    number: u64,
    /// As it stood here.
    pub(super) entry: Entry,
}
