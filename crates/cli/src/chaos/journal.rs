//! What was seen on the wire: who wrote which record when, and who was interfered with.
//!
//! The judge ([`super::verdict`]) reads effects and records; this is only how it knows which runs had a right to be
//! overtaken, and what a record alone cannot tell: whether a takeover came too early, and what the log of effects held when a
//! record became done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oncebus_core::time::Instant;

use super::call::{Kind, Received, RecordWrite};
use super::queues::Queue;
use super::schedule::Side;

/// A record write that was accepted.
#[derive(Debug, Clone)]
struct Accepted {
    write: RecordWrite,
    instance: u64,
    /// The writer read its clock no earlier than this.
    sent: Instant,
    /// When it was known.
    known: Instant,
}

/// A record write that has no answer yet. One that never gets any, since the service or the instance died, may have landed.
#[derive(Debug, Clone)]
struct Sent {
    at: Instant,
    state: String,
}

/// The time from a record's creation to its deletion. Where nothing is deleted, there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Life {
    /// The last row of the log of effects when the record was created.
    pub(super) since: i64,
    /// The last row when it became done.
    pub(super) done: Option<i64>,
    /// Whether its end has begun: what is written next is of another life.
    pub(super) ends: bool,
}

/// The time for which a run had a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tenure {
    /// The epoch of the key.
    pub(super) epoch: u64,
    /// The run.
    pub(super) run: String,
    /// The last row of the log of effects when the key was taken.
    pub(super) since: i64,
    /// The last row when it was let go.
    pub(super) until: Option<i64>,
}

/// The first claim of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// Whose it was.
    pub(super) run: String,
    /// When it was known to stand.
    pub(super) at: Instant,
}

/// A delivery that came to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reception {
    /// The run; `None` for one that never claimed anything.
    pub(super) run: Option<String>,
    instance: u64,
    /// What came.
    pub(super) message: Received,
    /// When the broker's answer was there.
    pub(super) at: Instant,
}

#[cfg(test)]
impl Reception {
    pub(super) fn new(run: &str, message: Received, at: Instant) -> Self {
        Self { run: Some(run.to_owned()), instance: 0, message, at }
    }
}

/// What matters in the end.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Runs that were killed, paused, or at work while everything stood still.
    pub(super) cut: BTreeSet<String>,
    /// Takeovers of a claim that was still good.
    pub(super) premature: Vec<String>,
    /// Records that were deleted though they were not done.
    pub(super) deleted_early: Vec<String>,
    /// The lives of each record, by blob. That of one that was never done is left out where nothing is deleted.
    pub(super) lives: BTreeMap<String, Vec<Life>>,
    /// Who had each key, by blob, in order.
    pub(super) tenures: BTreeMap<String, Vec<Tenure>>,
    /// The first claim of each record, by blob.
    pub(super) first_claims: BTreeMap<String, Claim>,
    /// All deliveries, in the order in which they came.
    pub(super) receptions: Vec<Reception>,
    /// Runs for which the broker's answer to a poll was lost: what it had in hand is not known.
    pub(super) blind: BTreeSet<String>,
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
    /// Writes under way, by instance and blob.
    sent: BTreeMap<(u64, String), Sent>,
    /// The newest accepted write of each blob.
    newest: BTreeMap<String, Accepted>,
    /// Instances that an answer to a poll was kept from.
    blind: BTreeSet<u64>,
    /// The notes.
    pub(super) noted: Noted,
}

impl Journal {
    /// A request leaves an instance.
    pub(super) fn leaves(&mut self, instance: u64, write: Option<&RecordWrite>, now: Instant) {
        if let Some(write) = write {
            self.owners.entry(instance).or_insert_with(|| write.owner.clone());
            let sent = Sent { at: now, state: write.state.clone() };
            self.sent.insert((instance, write.blob.clone()), sent);
        }
        if let Some(owner) = self.owners.get(&instance) {
            self.seen.insert(owner.clone(), now);
        }
    }

    /// A record write was accepted. `fresh` is how old a claim must be at least to be taken over; `effects` is the last row
    /// of the log of effects, where it matters.
    pub(super) fn accepted(
        &mut self,
        instance: u64,
        write: RecordWrite,
        now: Instant,
        fresh: Duration,
        effects: Option<i64>,
    ) {
        let sent = self.sent.remove(&(instance, write.blob.clone())).map_or(now, |sent| sent.at);
        let before = self.newest.get(&write.blob);
        // News of a write may come when its successor is known already.
        let is_old_news = before.is_some_and(|before| write.epoch < before.write.epoch && sent <= before.known);
        if let Some(before) = before.filter(|_| !is_old_news) {
            // The longest that the claim can have stood: from before it was sent until after its successor was written.
            let stood = now.since(before.sent);
            let overtaken = before.write.state == "p" && before.write.owner != write.owner;
            let unknown = self.sent.get(&(before.instance, write.blob.clone()));
            let may_be_over = unknown.is_some_and(|sent| sent.state != "p");
            if overtaken && stood < fresh && !may_be_over {
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
        if write.is_key() {
            self.key(&write, effects.unwrap_or_default());
        } else {
            self.record(&write, now, effects);
        }
        if !is_old_news {
            self.newest.insert(write.blob.clone(), Accepted { write, instance, sent, known: now });
        }
    }

    /// A record write was refused: it has not landed.
    pub(super) fn refused(&mut self, instance: u64, write: &RecordWrite) {
        self.sent.remove(&(instance, write.blob.clone()));
    }

    /// There will be no answer to a record write. If it has landed, its instance finds out, and goes on.
    pub(super) fn unanswered(&mut self, write: &RecordWrite, effects: Option<i64>) {
        if write.is_key() && write.state == "p" {
            self.takes_key(write, effects.unwrap_or_default(), false);
        } else if write.creates {
            self.begins_life(&write.blob, effects.unwrap_or_default());
        }
    }

    fn record(&mut self, write: &RecordWrite, now: Instant, effects: Option<i64>) {
        match write.state.as_str() {
            "p" => {
                let claim = || Claim { run: write.owner.clone(), at: now };
                self.noted.first_claims.entry(write.blob.clone()).or_insert_with(claim);
                let ended =
                    self.noted.lives.get(&write.blob).and_then(|lives| lives.last()).is_some_and(|life| life.ends);
                if write.creates || ended {
                    self.begins_life(&write.blob, effects.unwrap_or_default());
                }
            }
            "d" => {
                let lives = self.noted.lives.entry(write.blob.clone()).or_default();
                if lives.is_empty() {
                    lives.push(Life::default());
                }
                if let Some(life) = lives.last_mut() {
                    life.done = life.done.or(effects);
                    life.ends = true;
                }
            }
            _ => (),
        }
    }

    /// Where nothing is forgotten, a record has one life, which began before everything else.
    fn begins_life(&mut self, blob: &str, since: i64) {
        if Queue::of_blob(blob) == Some(Queue::Forgetful) {
            self.noted.lives.entry(blob.to_owned()).or_default().push(Life { since, ..Life::default() });
        }
    }

    fn key(&mut self, write: &RecordWrite, effects: i64) {
        match write.state.as_str() {
            "p" => self.takes_key(write, effects, true),
            // Another may have taken it between this write and the news of it.
            "r" => {
                let newest = self.noted.tenures.get_mut(&write.blob).and_then(|tenures| tenures.last_mut());
                if let Some(tenure) = newest.filter(|newest| newest.epoch == write.epoch) {
                    tenure.until = Some(effects);
                }
            }
            _ => (),
        }
    }

    fn takes_key(&mut self, write: &RecordWrite, since: i64, surely: bool) {
        let tenures = self.noted.tenures.entry(write.blob.clone()).or_default();
        let tenure = Tenure { epoch: write.epoch, run: write.owner.clone(), since, until: None };
        match tenures.last_mut() {
            Some(newest) if newest.epoch > write.epoch => (),
            Some(newest) if newest.epoch == write.epoch => {
                // That of the other run had no answer, and has not landed.
                if surely && newest.run != write.owner {
                    *newest = tenure;
                }
            }
            _ => tenures.push(tenure),
        }
    }

    /// A delivery comes to an instance.
    pub(super) fn received(&mut self, instance: u64, message: Received, now: Instant) {
        self.noted.receptions.push(Reception { run: None, instance, message, at: now });
    }

    /// The deletion of a record leaves an instance.
    pub(super) fn deletes(&mut self, blob: &str) {
        if let Some(newest) = self.newest.get(blob).filter(|newest| newest.write.state != "d") {
            let unknown = self.sent.get(&(newest.instance, blob.to_owned()));
            if unknown.is_none_or(|sent| sent.state != "d") {
                self.noted.deleted_early.push(format!("{blob}, which was {}", newest.write.state));
            }
        }
        if let Some(life) = self.noted.lives.get_mut(blob).and_then(|lives| lives.last_mut()) {
            life.ends = true;
        }
    }

    /// A record is deleted. Another may have created it anew by now.
    pub(super) fn deleted(&mut self, blob: &str) {
        if self.newest.get(blob).is_some_and(|newest| newest.write.state == "d") {
            self.newest.remove(blob);
        }
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
    pub(super) fn lost_reply(&mut self, instance: u64, kind: Kind) {
        *self.noted.lost_replies.entry(kind).or_default() += 1;
        if kind == Kind::Poll {
            self.blind.insert(instance);
        }
    }

    /// The notes, when all is over.
    pub(super) fn finish(mut self) -> Noted {
        for reception in &mut self.noted.receptions {
            reception.run = self.owners.get(&reception.instance).cloned();
        }
        self.noted.blind = self.blind.iter().filter_map(|instance| self.owners.get(instance).cloned()).collect();
        self.noted
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
        RecordWrite { blob: "b".into(), owner: owner.into(), epoch, state: state.into(), creates: false }
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
    fn what_nobody_has_heard_of_may_have_landed() {
        let mut journal = Journal::default();
        land(&mut journal, 1, &write("one", 1, "p"), 0, 1);
        // The release has no answer: the service died, or the instance.
        journal.leaves(1, Some(&write("one", 1, "r")), at(2));
        land(&mut journal, 2, &write("two", 2, "p"), 3, 4);
        assert!(journal.noted.premature.is_empty());
        // Nor is it news when it comes late.
        journal.accepted(1, write("one", 1, "r"), at(4), FRESH, None);
        assert!(journal.noted.premature.is_empty());
        // The next one has an answer: it was refused.
        let release = write("two", 2, "r");
        journal.leaves(2, Some(&release), at(4));
        journal.refused(2, &release);
        land(&mut journal, 3, &write("three", 3, "p"), 5, 6);
        assert_eq!(journal.noted.premature.len(), 1);
    }

    #[test]
    fn a_key_that_was_taken_without_an_answer_is_somebodys() {
        let mut journal = Journal::default();
        let take = |owner: &str| RecordWrite { blob: "keys/0ab/chaos/k".into(), ..write(owner, 1, "p") };
        journal.unanswered(&take("one"), Some(3));
        let run = |journal: &Journal| journal.noted.tenures["keys/0ab/chaos/k"].last().unwrap().run.clone();
        assert_eq!(run(&journal), "one");
        journal.accepted(2, take("two"), at(1), FRESH, Some(4));
        assert_eq!(run(&journal), "two", "it had not landed");
    }

    #[test]
    fn what_was_released_may_be_taken_at_once() {
        let mut journal = Journal::default();
        land(&mut journal, 1, &write("one", 1, "r"), 0, 1);
        land(&mut journal, 2, &write("two", 2, "p"), 1, 2);
        land(&mut journal, 2, &write("two", 2, "d"), 2, 3);
        assert!(journal.noted.premature.is_empty());
        assert_eq!(journal.noted.lives["b"], [Life { since: 0, done: Some(5), ends: true }]);
    }

    #[test]
    fn a_key_has_one_tenure_for_each_epoch() {
        let mut journal = Journal::default();
        let mut write = |owner: &str, epoch, state: &str, row| {
            let blob = "keys/0ab/chaos/k".to_owned();
            let write = RecordWrite { blob, owner: owner.into(), epoch, state: state.into(), creates: false };
            journal.leaves(epoch, Some(&write), at(0));
            journal.accepted(epoch, write, at(1), FRESH, Some(row));
        };
        write("one", 1, "p", 0);
        write("one", 1, "p", 3);
        // The successor is known of before the release that let it in.
        write("two", 2, "p", 5);
        write("one", 1, "r", 6);
        write("two", 2, "r", 9);
        let tenure = |epoch, run: &str, since, until| Tenure { epoch, run: run.to_owned(), since, until };
        assert_eq!(
            journal.noted.tenures["keys/0ab/chaos/k"],
            [tenure(1, "one", 0, None), tenure(2, "two", 5, Some(9))]
        );
    }

    #[test]
    fn what_is_created_again_has_another_life() {
        let mut journal = Journal::default();
        let blob = "0ab/chaos-forget/x";
        for (life, row) in [(1, 0), (2, 7)] {
            let write = |state: &str, creates| RecordWrite {
                blob: blob.to_owned(),
                owner: format!("run {life}"),
                epoch: 1,
                state: state.to_owned(),
                creates,
            };
            journal.accepted(life, write("p", true), at(life), FRESH, Some(row));
            journal.accepted(life, write("d", false), at(life), FRESH, Some(row + 1));
            journal.deletes(blob);
            journal.deleted(blob);
        }
        let lives = [(0, 1), (7, 8)].map(|(since, done)| Life { since, done: Some(done), ends: true });
        assert_eq!(journal.noted.lives[blob], lives);
        assert_eq!((journal.noted.deleted_early.len(), journal.noted.premature.len()), (0, 0));
    }

    #[test]
    fn a_claim_may_not_be_deleted() {
        let mut journal = Journal::default();
        land(&mut journal, 1, &write("one", 1, "p"), 0, 1);
        journal.deletes("b");
        assert_eq!(journal.noted.deleted_early, ["b, which was p"]);
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
