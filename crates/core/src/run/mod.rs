//! A run: receive, claim, process, write, complete, until its time is up.
//!
//! # How to drive a [`Run`]
//!
//! [`Run::start`] once, then [`Run::on`] with every [`Event`] and [`Run::wake`] when [`Run::next_wake`] has come. Each answers with
//! [`Effect`]s to be begun at once and in any order; what comes of one is an event later, or never: a lost reply is
//! an event that doesn't come, and the deadline ends the run without it. [`Run::is_over`] says when to stop.
//!
//! # What it does
//!
//! 1. **Probe** the storage once: a delivery that cannot be claimed burns one of the broker's deliveries.
//! 2. **Poll**: several long polls at once, more while they bring messages, fewer when they come back empty.
//! 3. **Gather** up to a batch, or until the first message has waited long enough; then claim all of it at once, for a message with a
//!    lock key the key first. A second message of the same id waits for the outcome of the first.
//! 4. **Process** once for all that is claimed, of each key the first; each message's outcome then takes its own way ([`delivery`]), all at once.
//!    The next batch is received meanwhile.
//! 5. **End**: polls begin only while what they bring can be settled in time, judged by the slowest message so far. What has not begun when
//!    the end is near is given back, what is between two steps is released and sent on. At the deadline itself
//!    nothing is waited for any more.

mod command;
mod copies;
pub mod delivery;
mod lock;
mod machine;
mod measures;
pub mod redrive;
mod summary;
#[cfg(test)]
mod tests;
mod writing;

use std::time::Duration;

use bytes::Bytes;

pub use command::{Command, CommandKind, Context, Held, Next, Reply};
pub use copies::Copy;
pub use machine::Run;
pub use measures::{BATCH_BOUNDS, CALL_BOUNDS, Histogram, Measures, RetryClass};
pub use summary::{CallCounts, LockKeys, Summary, TroubleKind, TroubleReport, WithoutKey};

use crate::message::{Delivery, LockRef};
use crate::time::{Instant, UnixTime};
use crate::trace::Trace;

/// Names a delivery, or a lock key, within its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// Waits between looks at a record that another holds: most holders are done within moments, and then this
/// delivery is a duplicate that can be completed, or the key is free. Decided, not measured.
const LOOK_AGAIN: [Duration; 3] = [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(4)];

/// What a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The delivery's lock at the broker; a lock key has none.
    pub lock: Option<&'a LockRef>,
    /// The name of the record.
    pub name: &'a str,
}

/// What the run wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Look whether the storage answers; then [`Event::Probed`].
    Probe,
    /// One long poll; then [`Event::Polled`].
    Poll {
        /// How long it waits for a message, in whole seconds.
        timeout_seconds: u32,
    },
    /// A command for a delivery or a lock key; then [`Event::Replied`].
    Perform {
        /// Which delivery.
        tag: Tag,
        /// What to do.
        command: Command,
    },
    /// One call of the processor, now, synchronously; then [`Event::Processed`].
    Process(Vec<Work>),
    /// Something a person should know.
    Note(Note),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The probe's answer.
    Probed(Result<(), Trouble>),
    /// A poll ended.
    Polled {
        /// What it brought.
        result: Result<Option<Box<Delivery>>, Trouble>,
        /// The last instant at which it was seen pending: no lock it brought is older.
        pending_since: Instant,
        /// How many requests it took.
        calls: u32,
    },
    /// The reply to a command.
    Replied {
        /// Which delivery.
        tag: Tag,
        /// Which command it answers.
        kind: CommandKind,
        /// What came of it.
        reply: Reply,
        /// How many requests it took.
        calls: u32,
    },
    /// The processor's answers, in the order of the work.
    Processed {
        /// The deliveries that were given.
        tags: Vec<Tag>,
        /// One step for each, or whatever the processor returned.
        steps: Vec<Step>,
        /// How long the call took.
        took: Duration,
    },
}

/// Why a run stops receiving.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// A credential was refused.
    Denied(Service, String),
    /// It does not answer, answers 5xx, or throttles.
    Unavailable(Service, String),
    /// There is no such queue, or no such container.
    Missing(Service, String),
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Service Bus.
    ServiceBus,
    /// Blob Storage.
    Storage,
}

/// A message as the processor gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// Which delivery it is.
    pub tag: Tag,
    /// The logical id.
    pub id: String,
    /// The queue's name.
    pub queue: String,
    /// The group within which the id is unique.
    pub group: String,
    /// The lock key.
    pub key: Option<String>,
    /// The content type that the sender gave.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
    /// The sender's own properties.
    pub properties: Vec<(String, String)>,
    /// `EnqueuedTimeUtc`.
    pub enqueued_at: UnixTime,
    /// `DeliveryCount`.
    pub delivery_count: u32,
    /// Which attempt.
    pub attempt: u32,
    /// The fencing token.
    pub epoch: u64,
    /// The fencing token of the lock key.
    pub key_epoch: Option<u64>,
    /// How many checkpoints were stored.
    pub step: u32,
    /// The last checkpoint.
    pub checkpoint: Option<Vec<u8>>,
    /// How long the call may take.
    pub time_left: Duration,
}

/// What the processor says of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// All is done.
    Done(Option<String>),
    /// This step is done; the next starts from this checkpoint.
    More(Vec<u8>),
    /// Failed; it may pass.
    Retry {
        /// Why.
        reason: String,
        /// How long to wait; the queue's own back-off where absent.
        after: Option<Duration>,
    },
    /// Can never succeed.
    Reject(String),
}

/// How the handling of a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Processed, recorded as done, completed.
    Done,
    /// Finished or given up before: completed.
    Duplicate,
    /// Another holds it.
    Busy {
        /// Until when, by the storage server's clock.
        until: UnixTime,
        /// The holder's epoch.
        epoch: u64,
        /// The holder's run.
        owner: String,
    },
    /// Another holds its lock key.
    KeyBusy {
        /// Until when, by the storage server's clock.
        until: UnixTime,
        /// The epoch of the key.
        epoch: u64,
        /// The holder's run.
        owner: String,
    },
    /// An earlier message of its lock key has not ended.
    HeldBack,
    /// Not due yet: sent on as a copy for when it is.
    Deferred,
    /// Failed: released, and sent on as a copy for later.
    Retried,
    /// Given up: a copy is on the poison queue.
    Parked,
    /// The same id with another payload: a copy is on the poison queue, the record untouched.
    Mismatched,
    /// Between two steps at the run's end: released, and sent on.
    Released,
    /// Given back unbegun: the run's end was near.
    Returned,
    /// Lost to another, or overrun: nothing settled.
    Lost,
    /// A credential was refused: nothing settled.
    Denied(String),
    /// Not settled: it comes back when the peek-lock has lapsed.
    Unsettled(String),
    /// The same, because the storage does not say what became of a write.
    Unanswered,
}

/// Something for the log: a sentence in its `Display`, and fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The logical id it is about.
    pub id: String,
    /// What happened.
    pub outcome: Outcome,
    /// The trace that the message belongs to.
    pub trace: Option<Trace>,
}

impl Outcome {
    /// Whether the message has ended: its record is final. What was turned away says nothing of the record that has its id.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Done | Self::Duplicate | Self::Parked)
    }
}

impl Note {
    /// Whether it belongs into the log: everything but the ordinary course.
    #[must_use]
    pub const fn is_notable(&self) -> bool {
        !matches!(self.outcome, Outcome::Done | Outcome::Deferred | Outcome::Released | Outcome::Returned)
    }
}

impl Outcome {
    /// How loudly it is said: a loss of work, or of a message's peace, louder than what passes by itself.
    #[must_use]
    pub const fn level(&self) -> &'static str {
        match self {
            Self::Denied(_) => "error",
            Self::Lost | Self::Parked | Self::Mismatched | Self::Unsettled(_) | Self::Unanswered => "warn",
            _ => "info",
        }
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = &self.id;
        match &self.outcome {
            Outcome::Busy { until, epoch, owner } => {
                let until = crate::time::rfc3339(*until);
                write!(f, "The message ID {id} has an active lock (epoch {epoch}, held by run {owner}) until {until}")
            }
            Outcome::KeyBusy { until, epoch, owner } => {
                let until = crate::time::rfc3339(*until);
                write!(
                    f,
                    "The lock key of message ID {id} has an active lock (epoch {epoch}, held by run {owner}) until {until}"
                )
            }
            Outcome::HeldBack => write!(f, "the message ID {id} waits for an earlier one of its lock key to end"),
            Outcome::Duplicate => write!(f, "the message ID {id} was processed before: completed without processing"),
            Outcome::Lost => write!(f, "the claim of message ID {id} was lost: nothing is settled"),
            Outcome::Parked => write!(f, "the message ID {id} was given up: a copy is on the poison queue"),
            Outcome::Mismatched => {
                write!(f, "the message ID {id} came with another payload: a copy is on the poison queue")
            }
            Outcome::Retried => write!(f, "the message ID {id} failed and is retried later"),
            Outcome::Denied(why) => write!(f, "a credential was refused while handling message ID {id}: {why}"),
            Outcome::Unsettled(why) => write!(f, "the message ID {id} is left to come back: {why}"),
            Outcome::Unanswered => write!(f, "the message ID {id} is left to come back: a write has no answer"),
            Outcome::Done => write!(f, "the message ID {id} is done"),
            Outcome::Deferred => write!(f, "the message ID {id} is not due yet and was sent on"),
            Outcome::Released => write!(f, "the message ID {id} goes on in a later run"),
            Outcome::Returned => write!(f, "the message ID {id} was given back unbegun"),
        }
    }
}
