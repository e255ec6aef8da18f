//! Whether it was as promised: from the store, the log of effects, the records and the queues. No counter of a component is asked.

use std::collections::{BTreeMap, BTreeSet};

use oncebus_core::record::{Record, State};
use serde::Serialize;

use super::journal::Noted;

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

/// What there is at the end.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The messages that ingest accepted: ids, each once.
    pub(super) accepted: BTreeSet<String>,
    /// Those among them that the processor is to reject.
    pub(super) to_reject: BTreeSet<String>,
    /// The ids in the store, each as often as it stands there.
    pub(super) stored: Vec<String>,
    /// The log of effects, in its order.
    pub(super) effects: Vec<Effect>,
    /// The records, by the path of their blob.
    pub(super) records: BTreeMap<String, Record>,
    /// Blobs that should be records and are not.
    pub(super) unreadable: Vec<String>,
    /// The ids on the poison queue.
    pub(super) poisoned: BTreeSet<String>,
    /// Messages left on the queue and on its dead-letter queue.
    pub(super) left_in_queue: u64,
}

/// The outcome. Serialised, it is the last line of `oncebus chaos --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Outcome {
    /// Different messages that ingest accepted.
    pub(super) accepted: u64,
    /// Messages that stand in the store exactly once.
    pub(super) stored_once: u64,
    /// Steps that ran.
    pub(super) effects: u64,
    /// Steps that ran again after they had succeeded, since whoever ran them was cut or paused before that was written down.
    pub(super) effects_repeated: u64,
    /// Steps that must not have run, and claims taken before their time.
    pub(super) effects_illegal: u64,
    /// Messages that stand in the store more than once, or that nobody sent.
    pub(super) stored_more: u64,
    /// Messages that are neither in the store nor on the poison queue.
    pub(super) lost: u64,
    /// Records that are done.
    pub(super) records_done: u64,
    /// Records that are parked, with their copy made.
    pub(super) records_parked: u64,
    /// Messages left on the queue and on its dead-letter queue.
    pub(super) left_in_queue: u64,
    /// Instances killed, and processes: the emulator's restarts count.
    pub(super) kills: u64,
    /// Answers lost after the service had committed.
    pub(super) replies_dropped: u64,
    /// Instances paused beyond the ttl.
    pub(super) pauses: u64,
    /// Sends repeated.
    pub(super) sends_repeated: u64,
    /// From the first send to the last settled message.
    pub(super) seconds: u64,
    /// What decided it all.
    pub(super) seed: u64,
    /// What broke a promise, in words; the first of each kind.
    pub(super) violations: Vec<String>,
}

/// More of them say nothing new.
const SHOWN: usize = 5;

/// Judges.
pub(super) fn judge(found: &Found, noted: &Noted) -> Outcome {
    let mut violations = Violations::default();
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    for id in &found.stored {
        *times.entry(id).or_default() += 1;
    }
    let stranger = |id: &str| !found.accepted.contains(id);
    let more: Vec<_> = times.iter().filter(|(id, times)| **times > 1 || stranger(id)).collect();
    violations.add("stored more than once, or never sent", more.iter().map(|(id, times)| format!("{id} ({times})")));

    let lost = found.accepted.iter().filter(|id| !times.contains_key(id.as_str()) && !found.poisoned.contains(*id));
    let lost: Vec<_> = lost.cloned().collect();
    violations.add("lost", lost.iter().cloned());

    let log = Log::read(found, noted);
    for (what, ids) in &log.illegal {
        violations.add(what, ids.iter().cloned());
    }
    violations.add("a claim taken before its time", noted.premature.iter().cloned());

    let final_records = Records::read(found);
    violations.add("a record that is not final", final_records.open.iter().cloned());
    violations.add("parked, though nothing asked for it", final_records.unasked.iter().cloned());
    violations.add("no record", final_records.missing.iter().cloned());
    violations.add("a blob that is no record", found.unreadable.iter().cloned());
    violations.add("left on the queue", (found.left_in_queue > 0).then(|| found.left_in_queue.to_string()));

    Outcome {
        accepted: number(found.accepted.len()),
        stored_once: number(times.iter().filter(|(id, times)| **times == 1 && !stranger(id)).count()),
        effects: number(found.effects.len()),
        effects_repeated: log.repeated,
        effects_illegal: number(log.illegal.values().map(Vec::len).sum::<usize>() + noted.premature.len()),
        stored_more: number(more.len()),
        lost: number(lost.len()),
        records_done: final_records.done,
        records_parked: final_records.parked,
        left_in_queue: found.left_in_queue,
        kills: noted.kills.values().copied().map(u64::from).sum(),
        replies_dropped: noted.lost_replies.values().copied().map(u64::from).sum(),
        pauses: noted.pauses.values().copied().map(u64::from).sum(),
        violations: violations.0,
        ..Outcome::default()
    }
}

#[derive(Default)]
struct Violations(Vec<String>);

impl Violations {
    fn add(&mut self, what: &str, which: impl IntoIterator<Item = String>) {
        let mut which = which.into_iter();
        let shown: Vec<String> = which.by_ref().take(SHOWN).collect();
        if shown.is_empty() {
            return;
        }
        let rest = which.count();
        let rest = if rest > 0 { format!(", and {rest} more") } else { String::new() };
        self.0.push(format!("{what}: {}{rest}", shown.join("; ")));
    }
}

/// What the log of effects says.
#[derive(Default)]
struct Log {
    repeated: u64,
    illegal: BTreeMap<&'static str, Vec<String>>,
}

impl Log {
    fn read(found: &Found, noted: &Noted) -> Self {
        let mut log = Self::default();
        // A trap is a death that only the log knows of.
        let trapped = found.effects.iter().filter(|effect| effect.outcome == "trap").map(|effect| effect.run.as_str());
        let cut: BTreeSet<&str> = noted.cut.iter().map(String::as_str).chain(trapped).collect();
        let done: BTreeMap<&str, (u64, Option<i64>)> = found
            .records
            .iter()
            .filter(|(_, record)| record.state == State::Done)
            .map(|(blob, record)| (record.id.as_str(), (record.epoch, noted.done_at.get(blob).copied())))
            .collect();

        let mut seen: BTreeSet<(&str, u64, u32)> = BTreeSet::new();
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        let mut succeeded: BTreeMap<(&str, u32), &Effect> = BTreeMap::new();
        for effect in &found.effects {
            let id = effect.id.as_str();
            let says = || format!("{id} step {} epoch {} (row {})", effect.step, effect.epoch, effect.row);
            if !seen.insert((id, effect.epoch, effect.step)) {
                log.illegal("a step twice under one epoch", says());
            }
            let epoch = newest.entry(id).or_default();
            if effect.epoch < *epoch {
                log.illegal("an epoch that falls", says());
            }
            *epoch = effect.epoch.max(*epoch);
            if let Some(before) = succeeded.get(&(id, effect.step)) {
                log.repeated += 1;
                if !cut.contains(before.run.as_str()) {
                    log.illegal("a repeat though nobody was cut", says());
                }
            }
            if let Some((last, row)) = done.get(id)
                && (effect.epoch > *last || row.is_some_and(|row| effect.row > row))
            {
                log.illegal("an effect after done", says());
            }
            if effect.succeeded() {
                succeeded.insert((id, effect.step), effect);
            }
        }
        log
    }

    fn illegal(&mut self, what: &'static str, which: String) {
        self.illegal.entry(what).or_default().push(which);
    }
}

/// What the records say.
#[derive(Default)]
struct Records {
    done: u64,
    parked: u64,
    open: Vec<String>,
    unasked: Vec<String>,
    missing: Vec<String>,
}

impl Records {
    fn read(found: &Found) -> Self {
        let mut records = Self::default();
        let mut with_record = BTreeSet::new();
        for record in found.records.values() {
            with_record.insert(record.id.as_str());
            match record.state {
                State::Done => records.done += 1,
                State::Parked if record.copied => {
                    records.parked += 1;
                    if !found.to_reject.contains(&record.id) {
                        let reason = record.result.as_deref().unwrap_or_default();
                        records.unasked.push(format!("{}: {reason}", record.id));
                    }
                }
                state => records.open.push(format!("{} is {state:?}", record.id)),
            }
        }
        let missing = found.accepted.iter().filter(|id| !with_record.contains(id.as_str()));
        records.missing = missing.cloned().collect();
        records
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use oncebus_core::id::Mark;
    use oncebus_core::record::Author;

    use super::*;

    fn effect(row: i64, id: &str, step: u32, epoch: u64, run: &str, outcome: &str) -> Effect {
        Effect { row, id: id.into(), step, epoch, run: run.into(), outcome: outcome.into() }
    }

    fn author(owner: &str) -> Author {
        Author { owner: owner.to_owned(), mark: Mark::parse("mark") }
    }

    /// One message, processed once.
    fn once() -> Found {
        let record = Record::first("a", "ph", Duration::from_secs(5), author("one"));
        let record = record.finish(None, Duration::ZERO, author("one"));
        Found {
            accepted: ["a".to_owned()].into(),
            stored: vec!["a".to_owned()],
            effects: vec![effect(1, "a", 0, 1, "one", "done")],
            records: [("b".to_owned(), record)].into(),
            ..Found::default()
        }
    }

    fn says(found: &Found, noted: &Noted, what: &str) -> Outcome {
        let outcome = judge(found, noted);
        assert!(outcome.violations.iter().any(|v| v.starts_with(what)), "{what}: {:?}", outcome.violations);
        outcome
    }

    fn cut(run: &str) -> Noted {
        Noted { cut: [run.to_owned()].into(), ..Noted::default() }
    }

    #[test]
    fn once_each_is_as_promised() {
        let outcome = judge(&once(), &Noted::default());
        assert_eq!(outcome.violations, Vec::<String>::new());
        assert_eq!((outcome.accepted, outcome.stored_once, outcome.effects, outcome.records_done), (1, 1, 1, 1));
    }

    #[test]
    fn a_message_that_is_nowhere_is_lost() {
        let found = Found { stored: Vec::new(), ..once() };
        assert_eq!(says(&found, &Noted::default(), "lost").lost, 1);
    }

    #[test]
    fn a_row_too_many_shows() {
        let found = Found { stored: vec!["a".into(), "a".into(), "z".into()], ..once() };
        let outcome = says(&found, &Noted::default(), "stored more than once");
        assert_eq!((outcome.stored_more, outcome.stored_once), (2, 0));
    }

    #[test]
    fn a_repeat_is_legal_only_behind_somebody_who_was_cut() {
        let mut found = once();
        found.effects = vec![effect(1, "a", 0, 1, "one", "done"), effect(2, "a", 0, 2, "two", "done")];
        found.records.values_mut().for_each(|record| record.epoch = 2);
        let outcome = judge(&found, &cut("one"));
        assert_eq!((outcome.effects_repeated, outcome.effects_illegal), (1, 0));
        assert_eq!(says(&found, &Noted::default(), "a repeat though nobody was cut").effects_illegal, 1);
    }

    #[test]
    fn a_step_that_failed_may_run_again() {
        let mut found = once();
        found.effects = vec![effect(1, "a", 0, 1, "one", "retry"), effect(2, "a", 0, 2, "two", "done")];
        found.records.values_mut().for_each(|record| record.epoch = 2);
        let outcome = judge(&found, &Noted::default());
        assert_eq!((outcome.effects_repeated, outcome.effects_illegal), (0, 0));
    }

    #[test]
    fn one_epoch_has_each_step_once_and_epochs_do_not_fall() {
        let mut found = once();
        found.effects = vec![effect(1, "a", 0, 1, "one", "done"), effect(2, "a", 0, 1, "one", "done")];
        says(&found, &cut("one"), "a step twice under one epoch");
        found.effects = vec![effect(1, "a", 0, 2, "two", "more"), effect(2, "a", 1, 1, "one", "done")];
        found.records.values_mut().for_each(|record| record.epoch = 2);
        says(&found, &cut("two"), "an epoch that falls");
    }

    #[test]
    fn nothing_runs_after_done() {
        let mut found = once();
        found.effects.push(effect(2, "a", 0, 2, "two", "done"));
        says(&found, &cut("one"), "an effect after done");
        // The same epoch, but the record was done when the log had one row.
        found.effects[1].epoch = 1;
        let noted = Noted { done_at: [("b".to_owned(), 1)].into(), ..cut("one") };
        says(&found, &noted, "an effect after done");
    }

    #[test]
    fn a_record_must_be_final_and_parked_only_when_asked_for() {
        let mut found = once();
        found.records.values_mut().for_each(|record| record.state = State::Released);
        says(&found, &Noted::default(), "a record that is not final");
        found.records.values_mut().for_each(|record| (record.state, record.copied) = (State::Parked, true));
        says(&found, &Noted::default(), "parked, though nothing asked for it");
        found.to_reject.insert("a".into());
        found.stored.clear();
        found.poisoned.insert("a".into());
        let outcome = judge(&found, &Noted::default());
        assert_eq!(outcome.violations, Vec::<String>::new());
        assert_eq!((outcome.records_parked, outcome.lost), (1, 0));
    }

    #[test]
    fn what_is_left_on_the_queue_and_early_takeovers_show() {
        let found = Found { left_in_queue: 2, ..once() };
        assert_eq!(says(&found, &Noted::default(), "left on the queue").left_in_queue, 2);
        let noted = Noted { premature: vec!["b".into()], ..Noted::default() };
        assert_eq!(says(&once(), &noted, "a claim taken before its time").effects_illegal, 1);
    }

    #[test]
    fn the_machines_form_has_the_promised_keys() {
        let json = serde_json::to_value(judge(&once(), &Noted::default())).unwrap();
        for key in [
            "accepted",
            "stored_once",
            "effects",
            "effects_repeated",
            "effects_illegal",
            "stored_more",
            "lost",
            "records_done",
            "records_parked",
            "left_in_queue",
            "kills",
            "replies_dropped",
        ] {
            assert!(json[key].is_u64(), "{key}");
        }
    }
}
