//! A conditional write whose reply may be lost.
//!
//! After a timeout, a reset or a 5xx nobody knows whether the write happened. The write carries a mark of its own, so a look
//! tells:
//!
//! | the look finds | so |
//! |---|---|
//! | our mark | it landed; take the ETag |
//! | the version that we wrote over | it has not happened: the same write again, with the same mark |
//! | nothing, after a create | it has not happened: create again |
//! | anything else | somebody else has written |
//!
//! A write that was repeated may be refused because its first try landed. So a refusal after an ambiguous reply
//! is looked at as well.

use super::Outcome;
use super::command::{Command, Reply, give_up};
use crate::record::{ETag, Record, Seen};
use crate::time::Instant;

/// How often one write is tried, looks not counted. One layer below has retried connections already.
const MAX_TRIES: u8 = 3;

/// One write and what is known of it.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(super) struct Write {
    record: Record,
    /// The version written over; `None` for a create.
    etag: Option<ETag>,
    /// Before it was first sent.
    since: Instant,
    tries: u8,
    ambiguous: bool,
    looking: bool,
}

/// What a reply says about a write.
#[derive(Debug, PartialEq)]
pub(super) enum Resolved {
    /// It landed; this is its version.
    Landed(ETag),
    /// Not known: look at the record.
    Look,
    /// It has not happened: send it again.
    Again,
    /// Somebody else has written; what they wrote, if it was seen.
    Theirs(Option<Box<Seen>>),
    /// It cannot be found out now.
    GaveUp(Outcome),
}

impl Write {
    pub(super) const fn new(record: Record, etag: Option<ETag>, since: Instant) -> Self {
        Self { record, etag, since, tries: 1, ambiguous: false, looking: false }
    }

    /// Whether any try of it ended without an answer.
    pub(super) const fn is_ambiguous(&self) -> bool {
        self.ambiguous
    }

    pub(super) fn into_parts(self) -> (Record, Instant) {
        (self.record, self.since)
    }

    pub(super) fn command(&self) -> Command {
        match &self.etag {
            Some(etag) => Command::Write { etag: etag.clone(), record: self.record.clone() },
            None => Command::Create(self.record.clone()),
        }
    }

    /// Takes the reply to the write, or to the look that followed it.
    pub(super) fn on_reply(&mut self, reply: Reply) -> Resolved {
        if std::mem::take(&mut self.looking) { self.on_look(reply) } else { self.on_answer(reply) }
    }

    fn on_answer(&mut self, reply: Reply) -> Resolved {
        match reply {
            Reply::Stored(etag) => Resolved::Landed(etag),
            Reply::Refused | Reply::Exists if !self.ambiguous => Resolved::Theirs(None),
            Reply::Refused | Reply::Exists => self.look(),
            Reply::Unknown => {
                self.ambiguous = true;
                self.look()
            }
            other => Resolved::GaveUp(give_up(other)),
        }
    }

    fn look(&mut self) -> Resolved {
        self.looking = true;
        Resolved::Look
    }

    fn on_look(&mut self, reply: Reply) -> Resolved {
        match reply {
            Reply::Found(seen) if seen.record.mark == self.record.mark => Resolved::Landed(seen.etag),
            Reply::Found(seen) if Some(&seen.etag) == self.etag.as_ref() => self.again(),
            Reply::Found(seen) => Resolved::Theirs(Some(seen)),
            Reply::Missing if self.etag.is_none() => self.again(),
            Reply::Missing => Resolved::Theirs(None),
            other => Resolved::GaveUp(give_up(other)),
        }
    }

    fn again(&mut self) -> Resolved {
        if self.tries >= MAX_TRIES {
            return Resolved::GaveUp(Outcome::Unanswered);
        }
        self.tries += 1;
        Resolved::Again
    }
}
