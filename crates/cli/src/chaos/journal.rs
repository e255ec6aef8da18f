//! What was seen on the wire: who wrote which record when, and who was interfered with.
//!
//! The judge ([`super::verdict`]) reads effects and records; this is only how it knows which runs had a right to be
//! overtaken, and what a record alone cannot tell: whether a takeover came too early, and what the log of effects held when a
//! record became done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oncebus_core::time::Instant;

use super::call::{Kind, RecordWrite};
use super::schedule::Side;

/// A record write that was accepted.
#[derive(Debug, Clone)]
struct Accepted {
    write: RecordWrite,
    /// The writer read its clock no earlier than this.
    sent: Instant,
}

/// What matters in the end.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Runs that were killed, paused, or at work while everything stood still.
    pub(super) cut: BTreeSet<String>,
    /// Takeovers of a claim that was still good.
    pub(super) premature: Vec<String>,
    /// By blob, the last row of the log of effects when the record became done.
    pub(super) done_at: BTreeMap<String, i64>,
    /// Instances killed, by where.
    pub(super) kills: BTreeMap<(Kind, Side), u32>,
    /// Instances paused, by where.
    pub(super) pauses: BTreeMap<(Kind, Side), u32>,
    /// Answers lost, by kind.
    pub(super) lost_replies: BTreeMap<Kind, u32>,
}

/// Takes notes.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// The run of an instance, since its first write.
    owners: BTreeMap<u64, String>,
    /// When a run was last seen.
    seen: BTreeMap<String, Instant>,
    /// Writes under way, by instance and blob: when they were sent.
    sent: BTreeMap<(u64, String), Instant>,
    /// The newest accepted write of each blob.
    newest: BTreeMap<String, Accepted>,
    /// The notes.
    pub(super) noted: Noted,
}

impl Journal {
    /// A request leaves an instance.
    pub(super) fn leaves(&mut self, instance: u64, write: Option<&RecordWrite>, now: Instant) {
        if let Some(write) = write {
            self.owners.entry(instance).or_insert_with(|| write.owner.clone());
            self.sent.insert((instance, write.blob.clone()), now);
        }
        if let Some(owner) = self.owners.get(&instance) {
            self.seen.insert(owner.clone(), now);
        }
    }

    /// A record write was accepted. `fresh` is how old a claim must be at least to be taken over; `effects` is the last row
    /// of the log of effects, if the record becomes done.
    pub(super) fn accepted(
        &mut self,
        instance: u64,
        write: RecordWrite,
        now: Instant,
        fresh: Duration,
        effects: Option<i64>,
    ) {
        let sent = self.sent.get(&(instance, write.blob.clone())).copied().unwrap_or(now);
        if let Some(before) = self.newest.get(&write.blob) {
            // The longest that the claim can have stood: from before it was sent until after its successor was written.
            let stood = now.since(before.sent);
            let overtaken = before.write.state == "p" && before.write.owner != write.owner;
            if overtaken && stood < fresh {
                self.noted.premature.push(format!(
                    "{}: {} took epoch {} from {} after {} ms",
                    write.blob,
                    write.owner,
                    write.epoch,
                    before.write.owner,
                    stood.as_millis()
                ));
            }
        }
        if write.state == "d"
            && let Some(row) = effects
        {
            self.noted.done_at.entry(write.blob.clone()).or_insert(row);
        }
        self.newest.insert(write.blob.clone(), Accepted { write, sent });
    }

    /// An instance is killed here.
    pub(super) fn killed(&mut self, instance: u64, at: (Kind, Side)) {
        *self.noted.kills.entry(at).or_default() += 1;
        self.cut(instance);
    }

    /// An instance is paused here.
    pub(super) fn paused(&mut self, instance: u64, at: (Kind, Side)) {
        *self.noted.pauses.entry(at).or_default() += 1;
        self.cut(instance);
    }

    /// An answer is lost here.
    pub(super) fn lost_reply(&mut self, kind: Kind) {
        *self.noted.lost_replies.entry(kind).or_default() += 1;
    }

    /// Everything stood still until now: whoever was seen within this time was interfered with.
    pub(super) fn stood_still(&mut self, now: Instant, within: Duration) {
        let at_work = self.seen.iter().filter(|(_, seen)| now.since(**seen) <= within);
        self.noted.cut.extend(at_work.map(|(owner, _)| owner.clone()));
    }

    fn cut(&mut self, instance: u64) {
        if let Some(owner) = self.owners.get(&instance) {
            self.noted.cut.insert(owner.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Duration = Duration::from_secs(8);

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    fn write(owner: &str, epoch: u64, state: &str) -> RecordWrite {
        RecordWrite { blob: "b".into(), owner: owner.into(), epoch, state: state.into() }
    }

    fn land(journal: &mut Journal, instance: u64, write: &RecordWrite, sent: u64, done: u64) {
        journal.leaves(instance, Some(write), at(sent));
        journal.accepted(instance, write.clone(), at(done), FRESH, Some(5));
    }

    #[test]
    fn a_claim_that_still_holds_may_not_be_taken() {
        let mut journal = Journal::default();
        land(&mut journal, 1, &write("one", 1, "p"), 0, 1);
        land(&mut journal, 2, &write("two", 2, "p"), 6, 7);
        assert_eq!(journal.noted.premature.len(), 1);
        land(&mut journal, 3, &write("three", 3, "p"), 13, 14);
        assert_eq!(journal.noted.premature.len(), 1, "8 s after the claim was sent it may have expired");
    }

    #[test]
    fn what_was_released_may_be_taken_at_once() {
        let mut journal = Journal::default();
        land(&mut journal, 1, &write("one", 1, "r"), 0, 1);
        land(&mut journal, 2, &write("two", 2, "p"), 1, 2);
        land(&mut journal, 2, &write("two", 2, "d"), 2, 3);
        assert!(journal.noted.premature.is_empty());
        assert_eq!(journal.noted.done_at["b"], 5);
    }

    #[test]
    fn who_was_at_work_when_all_stood_still_was_cut() {
        let mut journal = Journal::default();
        journal.leaves(1, Some(&write("one", 1, "p")), at(0));
        journal.leaves(2, Some(&write("two", 1, "p")), at(50));
        journal.stood_still(at(55), Duration::from_secs(10));
        assert_eq!(journal.noted.cut.iter().collect::<Vec<_>>(), ["two"]);
        journal.killed(1, (Kind::Write, Side::Before));
        assert!(journal.noted.cut.contains("one"));
    }
}
