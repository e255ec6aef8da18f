//! Whether it was as promised: from the store, the log of effects, the records and the queues. No counter of a component is asked.

use std::collections::{BTreeMap, BTreeSet};

use oncebus_core::record::{Record, State};
use serde::Serialize;

use super::effects::{Effect, Log};
use super::journal::Noted;
use super::queues::Queue;
use super::turns;
use super::workload::Message;

/// What there is at the end.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The messages that ingest accepted, by their ids.
    pub(super) accepted: BTreeMap<String, Message>,
    /// The ids in the store, each as often as it stands there.
    pub(super) stored: Vec<String>,
    /// The log of effects, in its order.
    pub(super) effects: Vec<Effect>,
    /// The records, by the path of their blob.
    pub(super) records: BTreeMap<String, Record>,
    /// Blobs that should be records and are not.
    pub(super) unreadable: Vec<String>,
    /// The ids on the poison queues.
    pub(super) poisoned: BTreeSet<String>,
    /// Messages left on the queues and on their dead-letter queues.
    pub(super) left_in_queue: u64,
}

impl Found {
    /// Where a message was sent.
    pub(super) fn queue(&self, id: &str) -> Option<Queue> {
        Some(self.accepted.get(id)?.queue)
    }

    /// The lock key of a message, with its queue.
    pub(super) fn key(&self, id: &str) -> Option<(Queue, &str)> {
        let message = self.accepted.get(id)?;
        Some((message.queue, message.key.as_deref()?))
    }

    fn forgets(&self, id: &str) -> bool {
        self.queue(id) == Some(Queue::Forgetful)
    }

    fn is_to_reject(&self, id: &str) -> bool {
        self.accepted.get(id).is_some_and(|message| message.rejected)
    }
}

/// The outcome. Serialised, it is the last line of `oncebus chaos --json`.
///
/// What is counted for messages and records is without the queue that forgets, which has counts of its own; everything else is of all
/// queues.
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
    /// Messages left on the queues and on their dead-letter queues.
    pub(super) left_in_queue: u64,
    /// Instances killed, and processes: the emulator's restarts count.
    pub(super) kills: u64,
    /// Answers lost after the service had committed.
    pub(super) replies_dropped: u64,
    /// Instances paused beyond the ttl.
    pub(super) pauses: u64,
    /// Sends repeated.
    pub(super) sends_repeated: u64,
    /// Messages with a lock key.
    pub(super) keyed: u64,
    /// How often a run took a lock key.
    pub(super) keys_taken: u64,
    /// Different messages that ingest accepted for the queue that forgets.
    pub(super) forgetful_accepted: u64,
    /// Those of them that stand in the store exactly once: it inserts if absent.
    pub(super) forgetful_stored_once: u64,
    /// How often one of them was worked on anew, since a copy or a repetition came when it was forgotten.
    pub(super) forgetful_again: u64,
    /// Records of that queue that are left to be swept.
    pub(super) forgetful_left: u64,
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
    let stranger = |id: &str| !found.accepted.contains_key(id);
    let more: Vec<_> = times.iter().filter(|(id, times)| **times > 1 || stranger(id)).collect();
    violations.add("stored more than once, or never sent", more.iter().map(|(id, times)| format!("{id} ({times})")));

    let is_lost = |id: &&String| !times.contains_key(id.as_str()) && !found.poisoned.contains(*id);
    let lost: Vec<String> = found.accepted.keys().filter(is_lost).cloned().collect();
    violations.add("lost", lost.iter().cloned());

    let mut log = Log::read(found, noted);
    log.illegal.extend(turns::check(found, noted));
    log.illegal.insert("a claim taken before its time", noted.premature.clone());
    log.illegal.insert("a record deleted that was not done", noted.deleted_early.clone());
    for (what, which) in &log.illegal {
        violations.add(what, which.iter().cloned());
    }

    let final_records = Records::read(found, noted);
    violations.add("a record that is not final", final_records.open.iter().cloned());
    violations.add("parked, though nothing asked for it", final_records.unasked.iter().cloned());
    violations.add("no record", final_records.missing.iter().cloned());
    violations.add("a blob that is no record", found.unreadable.iter().cloned());
    violations.add("left on a queue", (found.left_in_queue > 0).then(|| found.left_in_queue.to_string()));

    let accepted = |forgetful| number(found.accepted.keys().filter(|id| found.forgets(id) == forgetful).count());
    let once = |forgetful| {
        let once = times.iter().filter(|(id, times)| **times == 1 && !stranger(id) && found.forgets(id) == forgetful);
        number(once.count())
    };
    Outcome {
        accepted: accepted(false),
        stored_once: once(false),
        effects: number(found.effects.len()),
        effects_repeated: log.repeated,
        effects_illegal: number(log.illegal.values().map(Vec::len).sum()),
        stored_more: number(more.len()),
        lost: number(lost.len()),
        records_done: final_records.done,
        records_parked: final_records.parked,
        left_in_queue: found.left_in_queue,
        kills: noted.kills.values().copied().map(u64::from).sum(),
        replies_dropped: noted.lost_replies.values().copied().map(u64::from).sum(),
        pauses: noted.pauses.values().copied().map(u64::from).sum(),
        keyed: number(found.accepted.values().filter(|message| message.key.is_some()).count()),
        keys_taken: number(noted.tenures.values().map(Vec::len).sum()),
        forgetful_accepted: accepted(true),
        forgetful_stored_once: once(true),
        forgetful_again: log.again,
        forgetful_left: final_records.left,
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

/// What the records say.
#[derive(Default)]
struct Records {
    done: u64,
    parked: u64,
    open: Vec<String>,
    unasked: Vec<String>,
    missing: Vec<String>,
    /// Of the queue that forgets: there still.
    left: u64,
}

impl Records {
    fn read(found: &Found, noted: &Noted) -> Self {
        let mut records = Self::default();
        let mut with_record = BTreeSet::new();
        for record in found.records.values() {
            let id = record.id.as_str();
            with_record.insert(id);
            let was_cut = noted.cut.contains(&record.owner);
            match record.state {
                State::Parked if record.copied && !found.is_to_reject(id) => {
                    let reason = record.result.as_deref().unwrap_or_default();
                    records.unasked.push(format!("{id}: {reason}"));
                }
                State::Parked if record.copied => records.parked += u64::from(!found.forgets(id)),
                State::Done if !found.forgets(id) => records.done += 1,
                // Whatever kept it from being deleted: it is to be swept.
                State::Done => records.left += 1,
                // A create that was under way for so long that another had done, completed and forgotten the message.
                State::Processing | State::Released if found.forgets(id) && was_cut => records.left += 1,
                state => records.open.push(format!("{id} is {state:?}")),
            }
        }
        let remembered = found.accepted.keys().filter(|id| !found.forgets(id));
        records.missing = remembered.filter(|id| !with_record.contains(id.as_str())).cloned().collect();
        records
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use oncebus_core::id::{Mark, record_name};
    use oncebus_core::record::Author;
    use oncebus_core::time::Instant;

    use super::super::call::Received;
    use super::super::journal::{Life, Reception};
    use super::*;

    fn effect(row: i64, id: &str, step: u32, epoch: u64, run: &str, outcome: &str) -> Effect {
        Effect { row, id: id.into(), step, epoch, run: run.into(), outcome: outcome.into() }
    }

    fn author(owner: &str) -> Author {
        Author { owner: owner.to_owned(), mark: Mark::parse("mark") }
    }

    fn message(id: &str, queue: Queue, rejected: bool) -> (String, Message) {
        let body = serde_json::Value::Null;
        (id.to_owned(), Message { id: id.to_owned(), queue, key: None, body, rejected })
    }

    /// One message, processed once.
    fn once() -> Found {
        let record = Record::first("a", "ph", Duration::from_secs(5), author("one"));
        let record = record.finish(None, Duration::ZERO, author("one"));
        Found {
            accepted: [message("a", Queue::Plain, false)].into(),
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
        let life = Life { since: 0, done: Some(1), ends: true };
        let noted = Noted { lives: [(record_name("chaos", "a"), vec![life])].into(), ..cut("one") };
        says(&found, &noted, "an effect after done");
    }

    #[test]
    fn a_record_must_be_final_and_parked_only_when_asked_for() {
        let mut found = once();
        found.records.values_mut().for_each(|record| record.state = State::Released);
        says(&found, &Noted::default(), "a record that is not final");
        found.records.values_mut().for_each(|record| (record.state, record.copied) = (State::Parked, true));
        says(&found, &Noted::default(), "parked, though nothing asked for it");
        found.accepted = [message("a", Queue::Plain, true)].into();
        found.stored.clear();
        found.poisoned.insert("a".into());
        let outcome = judge(&found, &Noted::default());
        assert_eq!(outcome.violations, Vec::<String>::new());
        assert_eq!((outcome.records_parked, outcome.lost), (1, 0));
    }

    #[test]
    fn what_is_left_on_the_queue_and_early_takeovers_show() {
        let found = Found { left_in_queue: 2, ..once() };
        assert_eq!(says(&found, &Noted::default(), "left on a queue").left_in_queue, 2);
        let noted = Noted { premature: vec!["b".into()], ..Noted::default() };
        assert_eq!(says(&once(), &noted, "a claim taken before its time").effects_illegal, 1);
    }

    /// A message that was forgotten, came again, and was worked on again.
    fn forgotten(deliveries: &[i64]) -> (Found, Noted) {
        let found = Found {
            accepted: [message("a", Queue::Forgetful, false)].into(),
            effects: vec![effect(1, "a", 0, 1, "one", "done"), effect(2, "a", 0, 1, "two", "done")],
            records: BTreeMap::new(),
            ..once()
        };
        let lives = [(0, 1), (1, 2)].map(|(since, done)| Life { since, done: Some(done), ends: true }).to_vec();
        let received = |order: &i64| {
            let target = format!("/chaos-forget/messages/{order}");
            Reception::new("one", Received { id: "a".to_owned(), target, order: *order }, Instant::default())
        };
        let noted = Noted {
            lives: [(record_name("chaos-forget", "a"), lives)].into(),
            receptions: deliveries.iter().map(received).collect(),
            ..Noted::default()
        };
        (found, noted)
    }

    #[test]
    fn what_is_forgotten_may_be_done_again_as_often_as_it_comes() {
        let (found, noted) = forgotten(&[1, 2]);
        let outcome = judge(&found, &noted);
        assert_eq!(outcome.violations, Vec::<String>::new());
        let counts = (outcome.forgetful_accepted, outcome.forgetful_stored_once, outcome.forgetful_again);
        assert_eq!((counts, outcome.effects_repeated, outcome.accepted), ((1, 1, 1), 0, 0));
        let (found, noted) = forgotten(&[1, 1]);
        says(&found, &noted, "forgotten, and worked on more often than it was sent");
    }

    #[test]
    fn what_is_forgotten_keeps_the_rules_while_it_is_known() {
        let (found, mut noted) = forgotten(&[1, 2]);
        noted.lives.values_mut().for_each(|lives| lives.truncate(1));
        says(&found, &noted, "an effect after done");
        says(&found, &noted, "a step twice under one epoch");
    }

    #[test]
    fn what_is_left_of_the_forgotten_is_done_or_its_run_was_cut() {
        let (mut found, mut noted) = forgotten(&[1, 2]);
        found.records = once().records;
        assert_eq!(judge(&found, &noted).forgetful_left, 1);
        found.records.values_mut().for_each(|record| record.state = State::Processing);
        says(&found, &noted, "a record that is not final");
        noted.cut.insert("one".to_owned());
        assert_eq!(judge(&found, &noted).violations, Vec::<String>::new());
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
