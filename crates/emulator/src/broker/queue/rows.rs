//! Where messages stand: each move leaves a row for the store. And what a store or an observer asks.

use std::sync::Arc;

use super::super::change::{Change, Outbox, Place};
use super::super::delivery::{Counts, MessageState, Standing};
use super::super::path::SubQueue;
use super::super::schedule::Schedule;
use super::super::shelf::{Entry, Lock};
use super::Queue;
use crate::time::UnixMillis;

impl Queue {
    pub(super) fn put(&mut self, sub_queue: SubQueue, number: u64, entry: Entry, out: &mut Outbox) {
        out.change(|| Change::Message {
            key: Arc::clone(&self.key),
            place: place(sub_queue),
            number,
            entry: entry.clone(),
        });
        self.insert(sub_queue, number, entry);
        out.ready(self.path(sub_queue));
    }

    pub(super) fn stand(
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

    pub(super) fn take_away(&mut self, sub_queue: SubQueue, number: u64, out: &mut Outbox) -> Option<Entry> {
        let entry = match sub_queue {
            SubQueue::Main => self.main.remove(number, expires_at),
            SubQueue::DeadLetter | SubQueue::TransferDeadLetter => self.shelf_mut(sub_queue).remove(number, |_| None),
        }?;
        out.change(|| Change::MessageRemoved { key: Arc::clone(&self.key), place: place(sub_queue), number });
        Some(entry)
    }

    pub(in crate::broker) fn write_counters(&self, out: &mut Outbox) {
        out.change(|| Change::Queue {
            key: Arc::clone(&self.key),
            options: None,
            next_sequence: self.next_sequence,
            active_at: self.active_at,
        });
    }

    // ---- restoring and looking

    /// Puts back what a store kept.
    pub(in crate::broker) fn restore_counters(&mut self, next_sequence: u64) {
        self.next_sequence = self.next_sequence.max(next_sequence);
    }

    pub(in crate::broker) fn restore_message(&mut self, at: Place, number: u64, entry: Entry) {
        match at {
            Place::Main => self.insert(SubQueue::Main, number, entry),
            Place::DeadLetter => self.insert(SubQueue::DeadLetter, number, entry),
            Place::TransferDeadLetter => self.insert(SubQueue::TransferDeadLetter, number, entry),
            Place::Scheduled => self.scheduled.restore(number, entry.enqueued_at, entry.message),
        }
    }

    pub(in crate::broker) fn restore_history(&mut self, message_id: Arc<str>, until: UnixMillis) {
        self.intake.restore(message_id, until);
    }

    /// The messages of a sub-queue, the visible and locked ones first, in order; those after the first
    /// `skip`, at most `top`.
    pub(in crate::broker) fn messages(&self, sub_queue: SubQueue, skip: usize, top: usize) -> Vec<Standing> {
        let shelf = self.shelf(sub_queue);
        let before = skip.min(shelf.len());
        // Skipped before they are copied: a page costs what it shows, whatever the queue holds.
        let present = shelf.iter().skip(before).map(|(number, entry)| Standing {
            sequence_number: Some(number),
            state: if entry.lock.is_some() { MessageState::Locked } else { MessageState::Active },
            entry: entry.clone(),
        });
        let scheduled = self.scheduled.entries().map(|entry| Standing {
            sequence_number: None,
            state: MessageState::Scheduled,
            entry,
        });
        match sub_queue {
            SubQueue::Main => present.chain(scheduled.skip(skip - before)).take(top).collect(),
            SubQueue::DeadLetter | SubQueue::TransferDeadLetter => present.take(top).collect(),
        }
    }

    /// The locks of a sub-queue: number, message and lock, in order.
    pub(in crate::broker) fn held(&self, sub_queue: SubQueue, top: usize) -> Vec<Standing> {
        let held = self.shelf(sub_queue).iter().filter(|(_, entry)| entry.lock.is_some());
        let standing = |(number, entry): (u64, &Entry)| Standing {
            sequence_number: Some(number),
            state: MessageState::Locked,
            entry: entry.clone(),
        };
        held.take(top).map(standing).collect()
    }

    /// How full a sub-queue is.
    pub(in crate::broker) fn counts(&self, sub_queue: SubQueue) -> Counts {
        let shelf = self.shelf(sub_queue);
        let scheduled = (sub_queue == SubQueue::Main).then_some(&self.scheduled);
        Counts {
            ready: shelf.ready_count(),
            total: shelf.len(),
            scheduled: scheduled.map_or(0, Schedule::len),
            bytes: shelf.bytes() + scheduled.map_or(0, Schedule::bytes),
        }
    }

    fn insert(&mut self, sub_queue: SubQueue, number: u64, entry: Entry) {
        // Only the queue proper knows a time to live.
        let expires_at = if sub_queue == SubQueue::Main { expires_at(&entry) } else { None };
        self.shelf_mut(sub_queue).insert(number, entry, expires_at);
    }
}

fn place(sub_queue: SubQueue) -> Place {
    match sub_queue {
        SubQueue::Main => Place::Main,
        SubQueue::DeadLetter => Place::DeadLetter,
        SubQueue::TransferDeadLetter => Place::TransferDeadLetter,
    }
}

pub(super) fn expires_at(entry: &Entry) -> Option<UnixMillis> {
    entry.message.broker.time_to_live.map(|ttl| entry.enqueued_at.after(ttl))
}
