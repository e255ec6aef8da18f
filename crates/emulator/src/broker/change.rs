//! What an operation asks of the world outside: rows to write, receivers to wake.

use std::sync::Arc;

use super::options::{QueueOptions, TopicOptions};
use super::path::EntityPath;
use super::shelf::{Entry, Lock};
use crate::time::UnixMillis;

/// Where a stored message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the queue proper.
    Main,
    /// In its dead-letter queue.
    DeadLetter,
    /// Among the messages that could not be forwarded.
    TransferDeadLetter,
    /// Not yet due. Its number is a ticket; the sequence number comes when it is due.
    Scheduled,
}

/// One row to write. The changes of an operation are committed together and in order, before the
/// operation is answered.
#[derive(Debug, Clone)]
pub enum Change {
    /// A queue was made or changed, or its counter moved: the next sequence number must not be given out
    /// twice, even when nothing that carries the old ones is left.
    Queue {
        /// The queue's key.
        key: Arc<str>,
        /// Its description; absent when only the counters moved.
        options: Option<Box<QueueOptions>>,
        /// The next sequence number.
        next_sequence: u64,
        /// The last operation that counts against idleness.
        active_at: UnixMillis,
    },
    /// A topic was made or changed, or its counter moved.
    Topic {
        /// The topic's key.
        key: Arc<str>,
        /// Its description with the rules of its subscriptions; absent when only the counter moved.
        options: Option<Box<TopicOptions>>,
        /// The next sequence number.
        next_sequence: u64,
        /// The last operation that counts against idleness.
        active_at: UnixMillis,
    },
    /// A queue, or a topic, and everything in it is gone.
    QueueRemoved {
        /// The queue's key.
        key: Arc<str>,
    },
    /// A message came to stand at a place.
    Message {
        /// The queue's key; a topic's, for one that is scheduled there.
        key: Arc<str>,
        /// Which part of the queue.
        place: Place,
        /// Sequence number or ticket.
        number: u64,
        /// The message and its standing. For a scheduled one, `enqueued_at` is when it is due.
        entry: Entry,
    },
    /// A message was locked, unlocked or renewed.
    Standing {
        /// The queue's key.
        key: Arc<str>,
        /// Which part of the queue.
        place: Place,
        /// Sequence number.
        number: u64,
        /// Deliveries so far.
        deliveries: u32,
        /// The lock, if any.
        lock: Option<Lock>,
    },
    /// A message left its place.
    MessageRemoved {
        /// The queue's key.
        key: Arc<str>,
        /// Which part of the queue.
        place: Place,
        /// Sequence number or ticket.
        number: u64,
    },
    /// A message id is remembered for duplicate detection.
    Remembered {
        /// The queue's key.
        key: Arc<str>,
        /// The message id.
        message_id: Arc<str>,
        /// Until when.
        until: UnixMillis,
    },
    /// Message ids whose time ended at or before this point are forgotten.
    Forgotten {
        /// The queue's key.
        key: Arc<str>,
        /// This point.
        until: UnixMillis,
    },
}

/// What operations leave behind for the shell to do.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Rows to write, in order. Empty when the broker was told that nobody writes them.
    pub changes: Vec<Change>,
    /// Where messages became visible, or where for another reason whoever waits must look again.
    pub ready: Vec<EntityPath>,
    keep_changes: bool,
}

impl Outbox {
    pub(super) fn new(keep_changes: bool) -> Self {
        Self { keep_changes, ..Self::default() }
    }

    pub(super) fn change(&mut self, change: impl FnOnce() -> Change) {
        if self.keep_changes {
            self.changes.push(change());
        }
    }

    pub(super) fn ready(&mut self, path: EntityPath) {
        if self.ready.last() != Some(&path) {
            self.ready.push(path);
        }
    }

    /// Takes what has gathered.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.keep_changes))
    }
}
