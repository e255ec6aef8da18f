//! Why an operation is refused.

/// Which half of an entity's work an operation belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Messages going in.
    Send,
    /// Messages going out: receiving and settling.
    Receive,
}

/// Why an operation was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// Nothing of this name.
    #[error("no such entity")]
    NotFound,
    /// The token holds nothing: expired, settled, or never given.
    #[error("no message is held under this lock token")]
    LockLost,
    /// The message, or the batch, is larger than the entity takes.
    #[error("message of {size} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The entity is full.
    #[error("the entity has reached its maximum size of {limit} bytes")]
    QuotaExceeded {
        /// The limit in bytes.
        limit: u64,
    },
    /// A property breaks a rule.
    #[error("{0}")]
    InvalidProperty(&'static str),
    /// Sub-queues take no messages from outside.
    #[error("messages cannot be sent to a sub-queue")]
    NotSendable,
    /// The entity's status forbids it.
    #[error("the entity is disabled")]
    Disabled(Traffic),
    /// What arrives here is forwarded: nothing can be received.
    #[error("messages of this entity are forwarded")]
    Forwards,
    /// The entity hands out sessions, which this interface does not know.
    #[error("the entity requires sessions")]
    RequiresSession,
}
