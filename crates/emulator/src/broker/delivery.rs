//! What the broker hands out: deliveries, and what an observer sees.

use super::shelf::Entry;

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
    /// The number it had where it was first sent; 0 if that was this queue.
    pub enqueued_sequence_number: u64,
    /// The message, its count and, under peek-lock, its lock.
    pub entry: Entry,
}

/// How a settling URL names a message: by sequence number or by `MessageId`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRef(pub String);

impl MessageRef {
    pub(super) fn names(&self, sequence_number: u64, message_id: &str) -> bool {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counts {
    /// Messages that a receiver would get now.
    pub ready: usize,
    /// Messages that are visible or locked.
    pub total: usize,
    /// Messages that are not yet due.
    pub scheduled: usize,
    /// Bytes that all of them take.
    pub bytes: u64,
}
