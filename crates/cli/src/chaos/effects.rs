//! The log of effects: which steps ran, in which order, and whether each of them had a right to.

use std::collections::{BTreeMap, BTreeSet};

use oncebus_core::id::record_name;
use oncebus_core::record::State;

use super::journal::{Life, Noted};
use super::queues::Queue;
use super::verdict::Found;

/// One line of the log of effects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Effect {
    /// Its place in the log.
    pub(super) row: i64,
    /// The message.
    pub(super) id: String,
    /// The step.
    pub(super) step: u32,
    /// The epoch under which it ran.
    pub(super) epoch: u64,
    /// The run that ran it.
    pub(super) run: String,
    /// What the step was about to answer.
    pub(super) outcome: String,
}

impl Effect {
    /// Whether the step was to be the last of its kind: one that failed is meant to run again.
    fn succeeded(&self) -> bool {
        matches!(self.outcome.as_str(), "done" | "more")
    }
}

/// What the log says.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Steps that ran again after they had succeeded, since whoever ran them was cut.
    pub(super) repeated: u64,
    /// Messages that were worked on anew after they had been forgotten, each time.
    pub(super) again: u64,
    /// What must not be, and where.
    pub(super) illegal: BTreeMap<&'static str, Vec<String>>,
}

/// What the log has said of one life of a message.
#[derive(Default)]
struct Told<'a> {
    seen: BTreeSet<(u64, u32)>,
    newest: u64,
    succeeded: BTreeMap<u32, &'a Effect>,
}

impl Log {
    /// Reads it from its beginning to its end.
    pub(super) fn read(found: &Found, noted: &Noted) -> Self {
        let mut log = Self::default();
        // A trap is a death that only the log knows of.
        let trapped = found.effects.iter().filter(|effect| effect.outcome == "trap").map(|effect| effect.run.as_str());
        let cut: BTreeSet<&str> = noted.cut.iter().map(String::as_str).chain(trapped).collect();
        // A record that is there at the end has the last epoch there ever was.
        let done: BTreeMap<&str, u64> = found
            .records
            .values()
            .filter(|record| record.state == State::Done)
            .map(|record| (record.id.as_str(), record.epoch))
            .collect();
        let mut told: BTreeMap<(&str, usize), Told<'_>> = BTreeMap::new();
        for effect in &found.effects {
            let id = effect.id.as_str();
            let says = || format!("{id} step {} epoch {} (row {})", effect.step, effect.epoch, effect.row);
            let (number, life) = life(found, noted, effect);
            let told = told.entry((id, number)).or_default();
            if !told.seen.insert((effect.epoch, effect.step)) {
                log.illegal("a step twice under one epoch", says());
            }
            if effect.epoch < told.newest {
                log.illegal("an epoch that falls", says());
            }
            told.newest = effect.epoch.max(told.newest);
            if let Some(before) = told.succeeded.get(&effect.step) {
                log.repeated += 1;
                if !cut.contains(before.run.as_str()) {
                    log.illegal("a repeat though nobody was cut", says());
                }
            }
            let forgets = found.queue(id) == Some(Queue::Forgetful);
            let after = life.and_then(|life| life.done).is_some_and(|row| effect.row > row)
                || (!forgets && done.get(id).is_some_and(|last| effect.epoch > *last));
            if after {
                log.illegal("an effect after done", says());
            }
            if effect.succeeded() {
                told.succeeded.insert(effect.step, effect);
            }
        }
        let mut lives: BTreeMap<&str, u64> = BTreeMap::new();
        for (id, _) in told.keys() {
            *lives.entry(id).or_default() += 1;
        }
        log.again = lives.values().map(|lives| lives - 1).sum();
        for (id, lives) in lives {
            let came = deliverable(noted, id);
            if lives > 1 && lives > came {
                log.illegal("forgotten, and worked on more often than it was sent", format!("{id} ({lives} times)"));
            }
        }
        log
    }

    fn illegal(&mut self, what: &'static str, which: String) {
        self.illegal.entry(what).or_default().push(which);
    }
}

/// The life of its record in which a step ran, and its number.
fn life<'n>(found: &Found, noted: &'n Noted, effect: &Effect) -> (usize, Option<&'n Life>) {
    let lives = found.queue(&effect.id).and_then(|queue| noted.lives.get(&record_name(queue.name(), &effect.id)));
    let lives = lives.map(Vec::as_slice).unwrap_or_default();
    let number = lives.iter().rposition(|life| life.since < effect.row).unwrap_or_default();
    (number, lives.get(number))
}

/// How many messages of one id the broker has delivered.
fn deliverable(noted: &Noted, id: &str) -> u64 {
    let targets = noted.receptions.iter().filter(|reception| reception.message.id == id);
    let targets: BTreeSet<&str> = targets.map(|reception| reception.message.target.as_str()).collect();
    u64::try_from(targets.len()).unwrap_or(u64::MAX)
}
