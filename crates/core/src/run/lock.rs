//! The lock of one key, as a run holds it for all messages of that key in its hands ([`crate::record::key`]).
//!
//! A [`KeyLock`] is told what happened and says what is next, one command at a time: [`KeyLock::take`], then
//! [`KeyLock::on_reply`] with each reply. While it is held, [`KeyLock::keep`] renews it or names another message's turn, and
//! [`KeyLock::let_go`] frees it. A key that this run has let go of is taken again without a look: the ETag tells whether
//! anybody else has had it since.

use std::time::Duration;

use super::LOOK_AGAIN;
use super::Outcome;
use super::command::{Command, Context, Held, Reply, give_up};
use super::writing::{Resolved, Write};
use crate::config::OnKeyFailure;
use crate::id::key_name;
use crate::record::key::{KeyFinding, examine_block, examine_key};
use crate::record::{ETag, Record, Seen};
use crate::time::Instant;

/// How soon others look again when the message that goes first is due, and only has not come yet.
const SOON: Duration = Duration::from_secs(1);

/// Who stands in line for a key, by the names of their records.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    /// Whose turn it is.
    pub(super) first: Option<String>,
    /// All of them.
    pub(super) names: Vec<String>,
}

impl Line {
    /// Whether the message that a lock names is in it.
    fn has_named(&self, lock: &Record) -> bool {
        lock.blocked_by.as_ref().is_some_and(|by| self.names.contains(by))
    }
}

/// What comes next.
#[derive(Debug, PartialEq)]
pub(super) enum KeyNext {
    /// Perform this, then [`KeyLock::on_reply`].
    Do(Command),
    /// The key is ours.
    Taken {
        /// The record of the message that must end before others are begun: it was begun before.
        owed: Option<String>,
    },
    /// It still is.
    Kept,
    /// Another holds it: [`KeyLock::take`] again after this time.
    Wait(Duration),
    /// Its messages cannot be begun now. They may be in so much time.
    Leave(Outcome, Duration),
    /// It is free.
    Free,
    /// It is not ours any more, though we did not let go.
    Lost,
    /// It cannot be had, and nobody knows more.
    Failed(Outcome),
}

#[derive(Debug, Clone, PartialEq, Hash)]
enum Stage {
    Free,
    Looking,
    /// Looks at the message that goes first; the lock as it was seen before.
    LookingAtBlock(Box<Record>, ETag),
    Taking(Write),
    Held,
    Keeping(Write),
    LettingGo(Write),
}

/// The lock of one key.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(super) struct KeyLock {
    key: String,
    name: String,
    stage: Stage,
    held: Option<Held>,
    /// As this run let go of it.
    known: Option<(Box<Record>, ETag)>,
    /// Whom the lock that is being taken named before.
    owed: Option<String>,
    looks: usize,
}

impl KeyLock {
    pub(super) fn new(group: &str, key: &str, known: Option<(Box<Record>, ETag)>) -> Self {
        let name = key_name(group, key);
        Self { key: key.to_owned(), name, stage: Stage::Free, held: None, known, owed: None, looks: 0 }
    }

    /// The name of its blob.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The lock, while it is ours.
    pub(super) const fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    pub(super) const fn is_free(&self) -> bool {
        matches!(self.stage, Stage::Free)
    }

    /// Held, and nothing under way.
    pub(super) const fn is_held(&self) -> bool {
        matches!(self.stage, Stage::Held)
    }

    /// On its way to being held, for the first time.
    pub(super) const fn is_being_taken(&self) -> bool {
        matches!(self.stage, Stage::Looking | Stage::LookingAtBlock(..) | Stage::Taking(_)) && self.looks == 0
    }

    /// Another holds it, as far as is known.
    pub(super) const fn is_busy(&self) -> bool {
        self.looks > 0 && self.held.is_none()
    }

    pub(super) fn into_known(self) -> Option<(Box<Record>, ETag)> {
        self.known
    }

    pub(super) fn take(&mut self, line: &Line, context: &mut Context<'_>) -> KeyNext {
        match self.known.take() {
            Some((record, etag)) => self.may_take(record, etag, line, context),
            None => self.look(),
        }
    }

    /// Renews it; `turn` names whose turn it is.
    pub(super) fn keep(&mut self, turn: Option<String>, context: &mut Context<'_>) -> KeyNext {
        let Some(held) = &self.held else { return KeyNext::Lost };
        let record = held.record.keep_key(turn, context.author());
        let write = Write::new(record, Some(held.etag.clone()), context.now);
        self.write(write, Stage::Keeping)
    }

    /// Frees it, but for whom `blocked_by` names.
    pub(super) fn let_go(&mut self, blocked_by: Option<String>, context: &mut Context<'_>) -> KeyNext {
        let Some(held) = self.held.take() else { return KeyNext::Free };
        let record = held.record.let_go_key(blocked_by, context.author());
        self.write(Write::new(record, Some(held.etag), context.now), Stage::LettingGo)
    }

    pub(super) fn on_reply(&mut self, reply: Reply, line: &Line, context: &mut Context<'_>) -> KeyNext {
        match std::mem::replace(&mut self.stage, Stage::Free) {
            Stage::Looking => match reply {
                Reply::Found(seen) => self.found(*seen, line, context),
                Reply::Missing => {
                    let turn = turn(line, context);
                    let record = Record::first_key(&self.key, context.queue.claim_ttl, turn, context.author());
                    self.write(Write::new(record, None, context.now), Stage::Taking)
                }
                other => KeyNext::Failed(give_up(other)),
            },
            // Whom the lock names may have come meanwhile: nobody is held back by itself.
            Stage::LookingAtBlock(record, etag) if line.has_named(&record) => {
                self.may_take(record, etag, line, context)
            }
            Stage::LookingAtBlock(record, etag) => match reply {
                Reply::Found(seen) => {
                    match examine_block(&seen, context.queue.claim_margin, context.queue.hold_limit) {
                        Some(wait) => KeyNext::Leave(Outcome::HeldBack, wait.max(SOON)),
                        None => self.write_claim(&record, etag, turn(line, context), context),
                    }
                }
                Reply::Missing => self.write_claim(&record, etag, turn(line, context), context),
                other => KeyNext::Failed(give_up(other)),
            },
            Stage::Taking(write) => self.on_taken(write, reply, line, context),
            Stage::Keeping(write) => self.on_kept(write, reply, context),
            Stage::LettingGo(write) => self.on_let_go(write, reply),
            stage @ (Stage::Free | Stage::Held) => {
                self.stage = stage;
                KeyNext::Failed(Outcome::Unsettled("a reply came that nothing had asked for".to_owned()))
            }
        }
    }

    fn look(&mut self) -> KeyNext {
        self.stage = Stage::Looking;
        KeyNext::Do(Command::Look)
    }

    fn found(&mut self, seen: Seen, line: &Line, context: &mut Context<'_>) -> KeyNext {
        match examine_key(&seen, context.queue.claim_margin) {
            KeyFinding::Free => self.may_take(Box::new(seen.record), seen.etag, line, context),
            KeyFinding::Held { until, remaining } => match LOOK_AGAIN.get(self.looks) {
                Some(wait) if !context.last_look => {
                    self.looks += 1;
                    KeyNext::Wait(*wait)
                }
                _ => {
                    let outcome = Outcome::KeyBusy { until, epoch: seen.record.epoch, owner: seen.record.owner };
                    KeyNext::Leave(outcome, remaining)
                }
            },
        }
    }

    /// Nobody holds it: is it anybody's turn who is not here?
    fn may_take(&mut self, record: Box<Record>, etag: ETag, line: &Line, context: &mut Context<'_>) -> KeyNext {
        let blocked_by = record.blocked_by.clone().filter(|_| context.queue.on_key_failure == OnKeyFailure::Hold);
        self.owed = None;
        match blocked_by {
            None => self.write_claim(&record, etag, turn(line, context), context),
            Some(by) if line.names.contains(&by) => {
                self.owed = Some(by.clone());
                self.write_claim(&record, etag, Some(by), context)
            }
            Some(by) => {
                self.stage = Stage::LookingAtBlock(record, etag);
                KeyNext::Do(Command::LookAt { name: by })
            }
        }
    }

    fn write_claim(&mut self, old: &Record, etag: ETag, turn: Option<String>, context: &mut Context<'_>) -> KeyNext {
        let record = old.take_key(context.queue.claim_ttl, turn, context.author());
        self.write(Write::new(record, Some(etag), context.now), Stage::Taking)
    }

    fn write(&mut self, write: Write, stage: impl FnOnce(Write) -> Stage) -> KeyNext {
        let command = write.command();
        self.stage = stage(write);
        KeyNext::Do(command)
    }

    fn on_taken(&mut self, mut write: Write, reply: Reply, line: &Line, context: &mut Context<'_>) -> KeyNext {
        match write.on_reply(reply) {
            Resolved::Landed(etag) => {
                self.looks = 0;
                self.hold(write, etag);
                KeyNext::Taken { owed: self.owed.take() }
            }
            Resolved::Look => self.resolve(Stage::Taking(write)),
            Resolved::Again => self.write(write, Stage::Taking),
            Resolved::Theirs(Some(seen)) => self.found(*seen, line, context),
            Resolved::Theirs(None) => self.look(),
            Resolved::GaveUp(outcome) => KeyNext::Failed(outcome),
        }
    }

    fn on_kept(&mut self, mut write: Write, reply: Reply, context: &mut Context<'_>) -> KeyNext {
        match write.on_reply(reply) {
            Resolved::Landed(etag) if write.is_ambiguous() => {
                // It landed, at an unknown time: write once more before trusting it.
                let (record, _) = write.into_parts();
                let record = record.renew(context.author());
                self.write(Write::new(record, Some(etag), context.now), Stage::Keeping)
            }
            Resolved::Landed(etag) => {
                self.hold(write, etag);
                KeyNext::Kept
            }
            Resolved::Look => self.resolve(Stage::Keeping(write)),
            Resolved::Again => self.write(write, Stage::Keeping),
            Resolved::Theirs(_) | Resolved::GaveUp(_) => {
                self.held = None;
                KeyNext::Lost
            }
        }
    }

    fn on_let_go(&mut self, mut write: Write, reply: Reply) -> KeyNext {
        match write.on_reply(reply) {
            Resolved::Landed(etag) => {
                self.known = Some((Box::new(write.into_parts().0), etag));
                KeyNext::Free
            }
            Resolved::Look => self.resolve(Stage::LettingGo(write)),
            Resolved::Again => self.write(write, Stage::LettingGo),
            Resolved::Theirs(_) | Resolved::GaveUp(_) => KeyNext::Free,
        }
    }

    fn resolve(&mut self, stage: Stage) -> KeyNext {
        self.stage = stage;
        KeyNext::Do(Command::Look)
    }

    fn hold(&mut self, write: Write, etag: ETag) {
        let (record, since) = write.into_parts();
        self.held = Some(Held { record, etag, since });
        self.stage = Stage::Held;
    }

    /// Until when it may be used.
    pub(super) fn ends(&self, context_working_time: Duration) -> Option<Instant> {
        Some(self.held.as_ref()?.since.plus(context_working_time))
    }
}

/// Whose turn the lock is to name: nobody's, where a failure holds nobody back.
fn turn(line: &Line, context: &Context<'_>) -> Option<String> {
    line.first.clone().filter(|_| context.queue.on_key_failure == OnKeyFailure::Hold)
}
