//! The words between the handling of a delivery and the outside: commands, replies, what is next.

use std::time::Duration;

use bytes::Bytes;

use super::copies::Copy;
#[cfg(doc)]
use super::delivery::Handling;
use super::{Outcome, Service};
use crate::config::QueueConfig;
use crate::id::Names;
use crate::record::{Author, ETag, Record, Seen};
use crate::time::Instant;

/// What a delivery asks the outside to do.
#[derive(Debug, Clone, PartialEq, Hash)]
pub enum Command {
    /// Create the record under `If-None-Match: *`.
    Create(Record),
    /// Look at the record.
    Look,
    /// Write the record under `If-Match`.
    Write {
        /// The version that must still be there.
        etag: ETag,
        /// What to write.
        record: Record,
    },
    /// Look at another record than this one's own.
    LookAt {
        /// Its name.
        name: String,
    },
    /// Store a large checkpoint in a blob of its own, under `If-None-Match: *`. Nobody else uses the name: what is there
    /// already is this, from a try whose answer was lost.
    Store {
        /// The blob.
        name: String,
        /// Its content.
        content: Bytes,
    },
    /// Read a large checkpoint, or a body that lies in a blob.
    Load {
        /// The blob.
        name: String,
    },
    /// Renew the broker's lock.
    Renew,
    /// Send a copy.
    Send(Box<Copy>),
    /// Complete the delivery.
    Complete,
    /// Give the delivery back to the broker.
    Abandon,
    /// Delete the record under `If-Match`, once its delivery is completed.
    Delete {
        /// The version that must still be there.
        etag: ETag,
    },
    /// Delete a blob that nobody else uses, whatever version it is.
    Discard {
        /// The blob.
        name: String,
    },
}

/// A command without what it carries, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandKind {
    /// [`Command::Create`].
    Create,
    /// [`Command::Look`], [`Command::LookAt`].
    Look,
    /// [`Command::Write`].
    Write,
    /// [`Command::Store`].
    Store,
    /// [`Command::Load`].
    Load,
    /// [`Command::Renew`].
    Renew,
    /// [`Command::Send`].
    Send,
    /// [`Command::Complete`].
    Complete,
    /// [`Command::Abandon`].
    Abandon,
    /// [`Command::Delete`], [`Command::Discard`].
    Delete,
}

impl CommandKind {
    /// Which service it goes to.
    #[must_use]
    pub const fn service(self) -> Service {
        match self {
            Self::Create | Self::Look | Self::Write | Self::Store | Self::Load | Self::Delete => Service::Storage,
            Self::Renew | Self::Send | Self::Complete | Self::Abandon => Service::ServiceBus,
        }
    }
}

impl Command {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::Create(_) => CommandKind::Create,
            Self::Look | Self::LookAt { .. } => CommandKind::Look,
            Self::Write { .. } => CommandKind::Write,
            Self::Store { .. } => CommandKind::Store,
            Self::Load { .. } => CommandKind::Load,
            Self::Renew => CommandKind::Renew,
            Self::Send(_) => CommandKind::Send,
            Self::Complete => CommandKind::Complete,
            Self::Abandon => CommandKind::Abandon,
            Self::Delete { .. } | Self::Discard { .. } => CommandKind::Delete,
        }
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reply {
    /// The record was created or written, or the checkpoint stored.
    Stored(ETag),
    /// A create found the record there (409 or 412).
    Exists,
    /// A look found the record.
    Found(Box<Seen>),
    /// A blob was read.
    Loaded(Bytes),
    /// A look, or a read, found nothing (404).
    Missing,
    /// A conditional write was refused (404 or 412): somebody else has written.
    Refused,
    /// The broker did as asked; or the record is deleted.
    Settled,
    /// The broker no longer knows the lock.
    LockLost,
    /// It may have happened or not: no answer, or a 5xx.
    Unknown,
    /// It certainly has not happened: the service cannot be reached, or turns everybody away.
    Unavailable(String),
    /// There is no such queue, or no such container.
    NotThere(String),
    /// It certainly has not happened, for a reason of this message's own.
    Failed(String),
    /// A credential was refused: it has not happened, and nothing else will.
    Denied(String),
}

/// What a delivery wants next.
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time, taken apart at once: an allocation would save nothing; on 32 bits it is not large"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Perform this, then [`Handling::on_reply`].
    Do(Command),
    /// It holds a claim: process it, then [`Handling::on_step`].
    Ready,
    /// Another holds it for a moment: [`Handling::on_waited`] after this time.
    Wait(Duration),
    /// Nothing: it waits on as before.
    Stay,
    /// It has killed instances and must not take others along: [`Handling::on_alone`] when nothing else is claimed.
    Alone,
    /// It is over.
    Over(Outcome),
}

/// What a handling needs to know of its surroundings, the same for all deliveries of a run.
#[derive(Debug)]
pub struct Context<'a> {
    /// The queue's settings.
    pub queue: &'a QueueConfig,
    /// Fresh names: marks, ids of copies, draws.
    pub names: &'a mut Names,
    /// The monotonic clock.
    pub now: Instant,
    /// Whether the run is ending: no further step begins.
    pub ending: bool,
    /// Whether there is no time left to wait for others either.
    pub last_look: bool,
}

impl Context<'_> {
    pub(super) fn author(&mut self) -> Author {
        Author { owner: self.names.run().to_owned(), mark: self.names.fresh() }
    }
}

/// A claim in our hands.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Held {
    /// The record as we wrote it last.
    pub record: Record,
    /// Its version.
    pub etag: ETag,
    /// Before the write that the claim rests on was sent: its time runs from here.
    pub since: Instant,
}

/// The outcome when a command has not happened, or may not have: nothing is settled.
pub(super) fn give_up(reply: Reply) -> Outcome {
    match reply {
        Reply::Denied(why) => Outcome::Denied(why),
        Reply::LockLost => Outcome::Lost,
        Reply::Failed(why) | Reply::Unavailable(why) | Reply::NotThere(why) => Outcome::Unsettled(why),
        Reply::Unknown => Outcome::Unsettled("no answer".to_owned()),
        _ => Outcome::Unsettled("an answer that does not fit".to_owned()),
    }
}
