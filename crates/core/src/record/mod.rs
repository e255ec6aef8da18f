//! The record: lock, checkpoint and memory of one message, in the metadata of one empty blob.
//!
//! # Vocabulary
//!
//! * **Claim**: a record in state `p` whose time has not run out. Its holder alone may work on the message.
//! * **Epoch**: counts the claims by different attempts, from 1. It is the fencing token: a store that has seen
//!   a higher epoch refuses a lower one.
//! * **Mark** (`at`): a name that only one write has, the same on the retries of that write. After a lost reply
//!   the author finds out by it whether the write has happened.
//! * **Lost**: a conditional write was refused, so somebody else has written. Stop, settle nothing.
//!
//! # States and writes
//!
//! Every change of state is one conditional write: a create under `If-None-Match: *`, or a write of all metadata under `If-Match`
//! with the ETag that the writer saw last. The methods of [`Record`] make the records that these writes carry:
//!
//! | | from → to | method |
//! |---|---|---|
//! | T1 | absent → `p`, epoch 1 | [`Record::first`] |
//! | T5 | `p` expired, or `r` due → `p`, epoch + 1 | [`Record::take_over`] |
//! | T6 | `p` → `p`, a checkpoint, or the claim renewed | [`Record::checkpoint`], [`Record::renew`] |
//! | T7 | `p` → `d` | [`Record::finish`] |
//! | T8 | `p` → `r`, after a failure or at a deadline | [`Record::release`] |
//! | T9 | `p` → `x`; `x` → `x` once the poison copy is made | [`Record::park`], [`Record::copied`] |
//! | T10 | `x` → `r`, epoch + 1, by an operator | [`Record::redrive`] |
//!
//! T2, the look, is [`finding::examine`]. The lock of a key is a record too, with rules of its own: [`key`]. What an operator does is apart: T10 and dead letters in [`redrive`], deleting in
//! [`retention`].
//!
//! # Time
//!
//! No client clock decides. A claim has expired when `Date` - `Last-Modified` > ttl + margin, both out of one answer of
//! the storage server ([`Seen::age`]). Every metadata write moves `Last-Modified`, so every write renews.

pub mod checkpoint;
mod codec;
pub mod finding;
pub mod key;
pub mod redrive;
pub mod retention;

use std::time::Duration;

pub use checkpoint::{Checkpoint, CheckpointBlob};
pub use codec::RecordError;
pub(crate) use codec::{escape, unescape};

use crate::id::Mark;
use crate::time::UnixTime;

/// From so many deaths of its holders on, a message is claimed only when nothing else is: an instance that it kills takes
/// nobody along. One death may be an accident; waiting costs the others time.
const DEATHS_BEFORE_ALONE: u32 = 2;

/// The most bytes of a result or an error that a record keeps.
pub const MAX_RESULT: usize = 512;

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// `p`: claimed, being worked on.
    Processing,
    /// `r`: given back, after a handled failure or at a deadline.
    Released,
    /// `d`: finished. Final.
    Done,
    /// `x`: given up. Only an operator's redrive leads out.
    Parked,
}

impl State {
    /// The word for it in answers to clients.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Released => "released",
            Self::Done => "done",
            Self::Parked => "parked",
        }
    }
}

/// One record, as read or to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// Where it stands.
    pub state: State,
    /// The fencing token, from 1.
    pub epoch: u64,
    /// The run that wrote it last.
    pub owner: String,
    /// The mark of the write.
    pub mark: Mark,
    /// How long a claim holds after `Last-Modified`.
    pub ttl: Duration,
    /// Handled failures, and takeovers of claims that expired, since the last checkpoint.
    pub failures: u32,
    /// Of these, the takeovers.
    pub deaths: u32,
    /// SHA-256 of content type and body ([`crate::id::payload_hash`]).
    pub payload: String,
    /// How many checkpoints were stored.
    pub step: u32,
    /// The last checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// How long the calls of the processor have taken together, up to the last write.
    pub executed: Duration,
    /// The result, or the last error.
    pub result: Option<String>,
    /// Not before so long after `Last-Modified`; only in state `r`.
    pub not_before: Option<Duration>,
    /// Whether the copy on the poison queue is made; only in state `x`.
    pub copied: bool,
    /// Of the lock of a key: the record of the message that must end before others are begun ([`key`]).
    pub blocked_by: Option<String>,
    /// The logical id, or the lock key, cut to what the record holds: for people, not for decisions (the name decides).
    pub id: String,
}

/// Whose write it is: the run, and the mark of this write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The run.
    pub owner: String,
    /// A fresh mark.
    pub mark: Mark,
}

/// Why a claim is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Release {
    /// A failure that the handler saw: counts.
    Failure {
        /// What went wrong.
        reason: String,
        /// How long to wait.
        not_before: Duration,
    },
    /// The run ended between two steps: no failure, due at once.
    Deadline,
}

impl Record {
    /// T1: the first claim.
    #[must_use]
    pub fn first(id: &str, payload: &str, ttl: Duration, author: Author) -> Self {
        Self {
            state: State::Processing,
            epoch: 1,
            owner: author.owner,
            mark: author.mark,
            ttl,
            failures: 0,
            deaths: 0,
            payload: payload.to_owned(),
            step: 0,
            checkpoint: None,
            executed: Duration::ZERO,
            result: None,
            not_before: None,
            copied: false,
            blocked_by: None,
            id: id.to_owned(),
        }
    }

    fn by(&self, author: Author) -> Self {
        Self { owner: author.owner, mark: author.mark, not_before: None, ..self.clone() }
    }

    /// T5: the next claim. The checkpoint is kept; the takeover of a claim that expired counts as a failure.
    #[must_use]
    pub fn take_over(&self, ttl: Duration, author: Author) -> Self {
        let died = u32::from(self.state == State::Processing);
        Self {
            state: State::Processing,
            epoch: self.epoch.saturating_add(1),
            ttl,
            failures: self.failures.saturating_add(died),
            deaths: self.deaths.saturating_add(died),
            ..self.by(author)
        }
    }

    /// Whether it may be claimed only while nothing else is: its holders have died, and one more failure would be the last, or they have died
    /// too often for an accident.
    #[must_use]
    pub const fn goes_alone(&self, max_attempts: u32) -> bool {
        self.deaths >= DEATHS_BEFORE_ALONE || (self.deaths > 0 && self.attempt() >= max_attempts)
    }

    /// This claim, after one that expired. Which of all that an instance had in hand has killed it nobody knows: so a death uses up
    /// the last attempt only if that ran alone. `expired` is the claim before.
    #[must_use]
    pub fn spared(self, expired: &Self, max_attempts: u32) -> Self {
        let most = if expired.goes_alone(max_attempts) { u32::MAX } else { max_attempts.saturating_sub(1) };
        Self { failures: self.failures.min(most), ..self }
    }

    /// T6: a step is done. Failures start again from zero, since the work has moved on.
    #[must_use]
    pub fn checkpoint(&self, checkpoint: Checkpoint, executed: Duration, author: Author) -> Self {
        Self {
            step: self.step.saturating_add(1),
            checkpoint: Some(checkpoint),
            executed: self.executed.saturating_add(executed),
            failures: 0,
            deaths: 0,
            result: None,
            ..self.by(author)
        }
    }

    /// T6 without a checkpoint: the claim is renewed, by the write alone.
    #[must_use]
    pub fn renew(&self, author: Author) -> Self {
        self.by(author)
    }

    /// T7: all steps are done.
    #[must_use]
    pub fn finish(&self, result: Option<String>, executed: Duration, author: Author) -> Self {
        Self {
            state: State::Done,
            checkpoint: None,
            executed: self.executed.saturating_add(executed),
            result: result.map(cut),
            ..self.by(author)
        }
    }

    /// T8: the claim is given back.
    #[must_use]
    pub fn release(&self, release: Release, executed: Duration, author: Author) -> Self {
        let released =
            Self { state: State::Released, executed: self.executed.saturating_add(executed), ..self.by(author) };
        match release {
            Release::Failure { reason, not_before } => Self {
                failures: self.failures.saturating_add(1),
                result: Some(cut(reason)),
                not_before: Some(not_before),
                ..released
            },
            Release::Deadline => released,
        }
    }

    /// T9: given up; the copy on the poison queue is still to be made.
    #[must_use]
    pub fn park(&self, reason: String, author: Author) -> Self {
        Self {
            state: State::Parked,
            failures: self.failures.saturating_add(1),
            result: Some(cut(reason)),
            copied: false,
            ..self.by(author)
        }
    }

    /// T9, second part: the copy on the poison queue is made.
    #[must_use]
    pub fn copied(&self, author: Author) -> Self {
        Self { copied: true, ..self.by(author) }
    }

    /// Which attempt a claim is: 1 at first.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.failures.saturating_add(1)
    }
}

/// The longest beginning of the text that a record keeps.
fn cut(mut text: String) -> String {
    if text.len() > MAX_RESULT {
        let end = (0..=MAX_RESULT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// The version of a blob, as the storage server names it. Cannot be empty: an empty `If-Match` would be no condition
/// at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(String);

impl ETag {
    /// An ETag as it came in the header; `None` if that was empty.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let header = header.trim();
        (!header.is_empty()).then(|| Self(header.to_owned()))
    }

    /// As it goes into `If-Match`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A record as a look found it, with the storage server's times out of the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The record.
    pub record: Record,
    /// Its version, for the next write.
    pub etag: ETag,
    /// When it was written last.
    pub last_modified: UnixTime,
    /// When the server answered.
    pub date: UnixTime,
}

impl Seen {
    /// How old the record is, by the storage server's clock alone. Resolution 1 s.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.date.since(self.last_modified)
    }

    /// Until when the claim holds, by the storage server's clock.
    #[must_use]
    pub fn claimed_until(&self) -> UnixTime {
        self.last_modified.plus(self.record.ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(n: u64) -> Author {
        Author { owner: format!("run-{n}"), mark: Mark::parse(&format!("mark-{n}")) }
    }

    fn first() -> Record {
        Record::first("id", "hash", Duration::from_secs(45), author(1))
    }

    #[test]
    fn a_takeover_raises_the_epoch_keeps_the_checkpoint_and_counts_a_death() {
        let stepped = first().checkpoint(Checkpoint::Inline(b"cp".to_vec()), Duration::from_secs(3), author(2));
        let next = stepped.take_over(Duration::from_secs(45), author(3));
        assert_eq!((next.epoch, next.failures, next.deaths, next.attempt()), (2, 1, 1, 2));
        assert_eq!(next.checkpoint, stepped.checkpoint);
        assert_eq!((next.step, next.executed), (1, Duration::from_secs(3)));
        assert_eq!(next.mark, author(3).mark);
    }

    /// Which claims go alone, when each of them dies, until its attempts are used up.
    #[test]
    fn a_death_uses_up_the_last_attempt_only_of_a_claim_that_went_alone() {
        let course = |max: u32, failures: u32| {
            let mut claim = Record { failures, ..first() };
            let mut alone = vec![claim.goes_alone(max)];
            for n in 0..10 {
                claim = claim.take_over(Duration::from_secs(45), author(n)).spared(&claim, max);
                if claim.failures >= max {
                    return alone;
                }
                alone.push(claim.goes_alone(max));
            }
            panic!("its attempts are never used up");
        };
        assert_eq!(course(1, 0), [false, true]);
        assert_eq!(course(2, 0), [false, true]);
        assert_eq!(course(3, 0), [false, false, true]);
        assert_eq!(course(5, 0), [false, false, true, true, true]);
        assert_eq!(course(5, 4), [false, true], "the last attempt of one that has failed by itself");
    }

    #[test]
    fn what_has_killed_goes_alone_until_it_has_got_further_however_it_was_given_back() {
        let expired = Record { deaths: 1, failures: 1, ..first() };
        let killer = expired.take_over(Duration::from_secs(45), author(2));
        let released = killer.release(Release::Deadline, Duration::ZERO, author(3));
        let again = released.take_over(Duration::from_secs(45), author(4));
        assert!(released.goes_alone(5) && again.goes_alone(5));
        assert!(!again.checkpoint(Checkpoint::Inline(vec![]), Duration::ZERO, author(5)).goes_alone(5));
    }

    #[test]
    fn a_release_at_a_deadline_is_no_failure() {
        let released = first().release(Release::Deadline, Duration::from_secs(1), author(2));
        assert_eq!((released.state, released.failures, released.not_before), (State::Released, 0, None));
        assert_eq!(released.take_over(Duration::from_secs(45), author(3)).failures, 0);
    }

    #[test]
    fn a_failure_counts_and_a_checkpoint_forgives() {
        let failure = Release::Failure { reason: "no".into(), not_before: Duration::from_secs(9) };
        let released = first().release(failure, Duration::ZERO, author(2));
        assert_eq!((released.failures, released.not_before), (1, Some(Duration::from_secs(9))));
        let again = released.take_over(Duration::from_secs(45), author(3));
        assert_eq!((again.failures, again.not_before), (1, None));
        assert_eq!(again.checkpoint(Checkpoint::Inline(vec![]), Duration::ZERO, author(4)).failures, 0);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let parked = first().park("ä".repeat(400), author(2));
        assert_eq!(parked.result.map(|text| text.len()), Some(512));
        assert!(ETag::parse("  ").is_none());
    }
}
