//! What the documents leave open about the broker itself.

use serde::{Deserialize, Serialize};

use super::path::SubQueue;

/// Where a message goes that cannot be forwarded: after four hops, or because the target is absent,
/// disabled or full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stranded {
    /// `{source}/$Transfer/$DeadLetterQueue`, as the page on dead-letter queues says.
    #[default]
    TransferDeadLetter,
    /// The source's dead-letter queue, as the page on auto-forwarding says.
    DeadLetter,
}

/// What becomes of a message without a session id where sessions are required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionLess {
    /// It is accepted and dead-lettered with the reason `Session ID is null.`, as documented.
    #[default]
    DeadLettered,
    /// The send is refused. The copy for a subscription is dead-lettered all the same.
    Refused,
}

/// The broker's choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Where messages go that cannot be forwarded.
    pub stranded: Stranded,
    /// What becomes of messages without a session id.
    pub session_less: SessionLess,
    /// Whether a batch for a partitioned entity must have one partition key.
    pub one_partition_per_batch: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { stranded: Stranded::default(), session_less: SessionLess::default(), one_partition_per_batch: true }
    }
}

impl Policy {
    pub(super) fn stranded_in(&self) -> SubQueue {
        match self.stranded {
            Stranded::TransferDeadLetter => SubQueue::TransferDeadLetter,
            Stranded::DeadLetter => SubQueue::DeadLetter,
        }
    }
}
