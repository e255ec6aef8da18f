//! One dead letter's way back: look, T10, send, complete.
//!
//! A [`Redrive`] is told what happened and says what to do next, as the handling of a delivery does and in the same words:
//! [`Redrive::begin`] once, then [`Redrive::on_reply`] with the reply to each [`Command`] it asked for, until it is [`Next::Over`]. What
//! it does follows the table in [`crate::record::redrive`].
//!
//! **The letter is completed last**, after the copy got its 201 or where the record says that there is nothing to send. So it may be
//! killed between any two of its requests, or lose any reply: the letter is still there, the next attempt looks at the record again,
//! and what it sends twice is one message to the handler.

#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::command::{Command, CommandKind, Reply};
use super::copies;
use super::writing::{Resolved, Write};
use crate::config::QueueConfig;
use crate::id::{Names, record_name};
use crate::message::Delivery;
use crate::record::redrive::{Decision, Left, Letter, Settled, decide};
use crate::record::{Author, Seen};
use crate::time::{Instant, rfc3339};

/// How often it looks again after it lost a race for the record.
const MAX_LOOKS: u8 = 4;

/// Before the run in the owner of a record, so that one sees who reopened it.
pub const OWNER: &str = "redrive-";

/// What is to be redriven, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// The message as it is to be sent: what was received, edited or not.
    pub delivery: Delivery,
    /// The logical id to send it under.
    pub id: String,
    /// What lies there.
    pub letter: Letter,
    /// The queue it goes back to.
    pub queue: QueueConfig,
    /// For how long records are kept: without a record, an older letter is left.
    pub kept: Duration,
    /// Whether it begins anew, without its checkpoint.
    pub anew: bool,
    /// Whether to look and decide, and to do nothing.
    pub dry_run: bool,
}

impl Hash for Subject {
    /// Not the settings, which are the same for all that go back to a queue.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { delivery, id, letter, queue: _, kept, anew, dry_run } = self;
        (delivery, id, letter, kept, anew, dry_run).hash(state);
    }
}

/// What it wants next.
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time, taken apart at once: an allocation would save nothing; on 32 bits it is not large"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Perform this, then [`Redrive::on_reply`].
    Do(Command),
    /// It is over.
    Over(Ended),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What became of the message.
    pub outcome: Outcome,
    /// Whether the letter is gone.
    pub completed: bool,
}

/// What became of the message of a letter; of a dry run, what would have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Sent back, its record reopened for it.
    Reopened {
        /// The record's epoch now.
        epoch: u64,
    },
    /// Sent back as it was.
    Sent,
    /// There was nothing to send.
    Settled(Settled),
    /// Left where it is.
    Left(Left),
    /// Not known, or refused: left where it is.
    Failed {
        /// By which command.
        during: CommandKind,
        /// What was said.
        why: String,
        /// Whether a credential was refused, so that nothing else will work either.
        denied: bool,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reopened { epoch } => write!(f, "sent back, record reopened under epoch {epoch}"),
            Self::Sent => f.write_str("sent back"),
            Self::Settled(Settled::Done) => f.write_str("done already"),
            Self::Settled(Settled::ParkedAgain) => f.write_str("parked again: a later letter stands for it"),
            Self::Settled(Settled::Parked) => f.write_str("parked: its letter is on the poison queue"),
            Self::Left(Left::InProgress { until }) => write!(f, "being worked on until {}", rfc3339(*until)),
            Self::Left(Left::OtherPayload) => f.write_str("another payload is known under this id"),
            Self::Left(Left::Forgotten) => f.write_str("too old to tell whether it was done"),
            Self::Failed { why, .. } => f.write_str(why),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Hash)]
enum Stage {
    Looking,
    Reopening(Box<Write>),
    Sending(Outcome),
    Completing(Outcome),
    Over,
}

/// The redriving of one letter.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Redrive {
    subject: Subject,
    name: String,
    names: Names,
    stage: Stage,
    looks: u8,
}

impl Redrive {
    /// Of this letter; `random` are bits that were drawn for it.
    #[must_use]
    pub fn new(subject: Subject, random: u128) -> Self {
        let name = record_name(&subject.queue.group, &subject.id);
        Self { subject, name, names: Names::new(random), stage: Stage::Over, looks: 0 }
    }

    /// The name of the record.
    #[must_use]
    pub fn record_name(&self) -> &str {
        &self.name
    }

    /// Begins.
    pub fn begin(&mut self) -> Next {
        self.look()
    }

    /// What came of the last command.
    pub fn on_reply(&mut self, reply: Reply) -> Next {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Looking => match reply {
                Reply::Found(seen) => self.found(Some(&seen)),
                Reply::Missing => self.found(None),
                other => failed(CommandKind::Look, other),
            },
            Stage::Reopening(write) => self.on_written(*write, reply),
            Stage::Sending(outcome) => match reply {
                Reply::Settled => self.complete(outcome),
                other => failed(CommandKind::Send, other),
            },
            // It is sent, or was done long ago: a letter that stays behind is settled the next time.
            Stage::Completing(outcome) => Next::Over(Ended { outcome, completed: reply == Reply::Settled }),
            Stage::Over => {
                failed(CommandKind::Look, Reply::Failed("a reply came that nothing had asked for".to_owned()))
            }
        }
    }

    fn look(&mut self) -> Next {
        if self.looks >= MAX_LOOKS {
            return failed(CommandKind::Write, Reply::Failed("others keep writing the record".to_owned()));
        }
        self.looks += 1;
        self.stage = Stage::Looking;
        Next::Do(Command::Look)
    }

    fn found(&mut self, seen: Option<&Seen>) -> Next {
        let Subject { letter, queue, kept, dry_run, .. } = &self.subject;
        let decision = decide(seen, letter, queue.claim_margin, *kept);
        let outcome = match (&decision, seen) {
            (Decision::Leave(why), _) => return Next::Over(Ended { outcome: Outcome::Left(*why), completed: false }),
            (Decision::Reopen, Some(seen)) => Outcome::Reopened { epoch: seen.record.epoch.saturating_add(1) },
            (Decision::Send | Decision::Reopen, _) => Outcome::Sent,
            (Decision::Settle(why), _) => Outcome::Settled(*why),
        };
        if *dry_run {
            return Next::Over(Ended { outcome, completed: false });
        }
        match (decision, seen) {
            (Decision::Settle(_), _) => self.complete(outcome),
            (Decision::Reopen, Some(seen)) => self.reopen(seen),
            _ => self.send(outcome, None),
        }
    }

    fn reopen(&mut self, seen: &Seen) -> Next {
        let author = Author { owner: format!("{OWNER}{}", self.names.run()), mark: self.names.fresh() };
        let record = seen.record.redrive(&self.subject.letter.sent, self.subject.anew, author);
        // No claim rests on this write, so its time does not matter.
        self.rewrite(Write::new(record, Some(seen.etag.clone()), Instant::default()))
    }

    fn rewrite(&mut self, write: Write) -> Next {
        let command = write.command();
        self.stage = Stage::Reopening(Box::new(write));
        Next::Do(command)
    }

    fn on_written(&mut self, mut write: Write, reply: Reply) -> Next {
        let denied = match &reply {
            Reply::Denied(why) => Some(why.clone()),
            _ => None,
        };
        match write.on_reply(reply) {
            Resolved::Landed(_) => {
                let (record, _) = write.into_parts();
                self.send(Outcome::Reopened { epoch: record.epoch }, Some(record.epoch))
            }
            Resolved::Look => {
                self.stage = Stage::Reopening(Box::new(write));
                Next::Do(Command::Look)
            }
            Resolved::Again => self.rewrite(write),
            Resolved::Theirs(_) => self.look(),
            Resolved::GaveUp(outcome) => {
                let why = match outcome {
                    super::Outcome::Unsettled(why) => why,
                    _ => "no answer that tells".to_owned(),
                };
                failed(CommandKind::Write, denied.map_or(Reply::Failed(why), Reply::Denied))
            }
        }
    }

    fn send(&mut self, outcome: Outcome, epoch: Option<u64>) -> Next {
        let Subject { delivery, id, queue, .. } = &self.subject;
        let copy = copies::redriven(delivery, id, epoch, &queue.name, &self.names.fresh());
        self.stage = Stage::Sending(outcome);
        Next::Do(Command::Send(Box::new(copy)))
    }

    fn complete(&mut self, outcome: Outcome) -> Next {
        self.stage = Stage::Completing(outcome);
        Next::Do(Command::Complete)
    }
}

fn failed(during: CommandKind, reply: Reply) -> Next {
    let (why, denied) = match reply {
        Reply::Denied(why) => (why, true),
        Reply::Failed(why) | Reply::Unavailable(why) | Reply::NotThere(why) => (why, false),
        Reply::LockLost => ("the lock is lost".to_owned(), false),
        _ => ("no answer that tells".to_owned(), false),
    };
    Next::Over(Ended { outcome: Outcome::Failed { during, why, denied }, completed: false })
}
