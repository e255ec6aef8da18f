//! Messages that are not yet due, in a queue or a topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change::{Change, Outbox, Place};
use super::message::Message;
use super::shelf::Entry;
use crate::time::UnixMillis;

/// Messages by when they fall due. Each has a ticket, which tells those of one instant apart and keeps
/// their order; a sequence number comes when it is due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    messages: BTreeMap<(UnixMillis, u64), Arc<Message>>,
    last_ticket: u64,
    bytes: u64,
}

impl Schedule {
    pub(super) fn put(&mut self, key: &Arc<str>, message: Arc<Message>, due: UnixMillis, out: &mut Outbox) {
        let number = self.last_ticket.saturating_add(1);
        let entry = entry(&message, due);
        out.change(|| Change::Message { key: Arc::clone(key), place: Place::Scheduled, number, entry });
        self.restore(number, due, message);
    }

    /// Takes the first one: due when it was, whoever looks when.
    pub(super) fn take_first(&mut self, key: &Arc<str>, out: &mut Outbox) -> Option<(UnixMillis, Arc<Message>)> {
        let ((due, number), message) = self.messages.pop_first()?;
        self.bytes = self.bytes.saturating_sub(message.stored_size());
        out.change(|| Change::MessageRemoved { key: Arc::clone(key), place: Place::Scheduled, number });
        Some((due, message))
    }

    pub(super) fn first_due(&self) -> Option<UnixMillis> {
        self.messages.first_key_value().map(|((due, _), _)| *due)
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The messages in the order in which they fall due.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.messages.iter().map(|((due, _), message)| entry(message, *due))
    }

    /// Puts back what a store kept.
    pub(super) fn restore(&mut self, ticket: u64, due: UnixMillis, message: Arc<Message>) {
        self.last_ticket = self.last_ticket.max(ticket);
        self.bytes += message.stored_size();
        self.messages.insert((due, ticket), message);
    }
}

/// A message as a scheduled row: its due time stands in for the enqueue time.
fn entry(message: &Arc<Message>, due: UnixMillis) -> Entry {
    Entry { message: Arc::clone(message), enqueued_at: due, deliveries: 0, lock: None }
}
