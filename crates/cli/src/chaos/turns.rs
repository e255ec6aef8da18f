//! Whether the messages of one lock key took turns: from the log of effects, and from who had the key when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oncebus_core::id::{key_name, record_name};

use super::effects::Effect;
use super::journal::{Claim, Noted, Reception, Tenure};
use super::queues::Queue;
use super::verdict::Found;

/// A delivery that was there so long before another was claimed was in hand with it, whatever the machine was busy with.
const IN_HAND: Duration = Duration::from_millis(500);

/// What must not be, and where.
pub(super) type Illegal = BTreeMap<&'static str, Vec<String>>;

/// Holds the log against what `docs/SEMANTICS.md` promises about lock keys.
pub(super) fn check(found: &Found, noted: &Noted) -> Illegal {
    let mut of_key: BTreeMap<(Queue, &str), Vec<&Effect>> = BTreeMap::new();
    for effect in &found.effects {
        if let Some((queue, key)) = found.key(&effect.id) {
            of_key.entry((queue, key)).or_default().push(effect);
        }
    }
    let in_hand = InHand::of(noted);
    let mut illegal = Illegal::new();
    for ((queue, key), effects) in of_key {
        let tenures = noted.tenures.get(&key_name(queue.name(), key)).map(Vec::as_slice).unwrap_or_default();
        let mut add = |what, effect: &Effect| {
            let which =
                format!("{} step {} epoch {} (row {}, key {key})", effect.id, effect.step, effect.epoch, effect.row);
            illegal.entry(what).or_default().push(which);
        };
        for effect in &effects {
            if tenure(tenures, effect).is_none() {
                add("an effect under a key that its run does not have", effect);
            }
        }
        for effect in interleaved(&effects, |effect| (effect.id.as_str(), effect.epoch)) {
            add("another of its key between two of its steps", effect);
        }
        if queue == Queue::Holding {
            for effect in interleaved(&effects, |effect| effect.id.as_str()) {
                add("another of its key begun before it was over", effect);
            }
        }
        for effect in in_hand.out_of_order(queue, tenures, &effects) {
            add("after one of its key that was sent later", effect);
        }
    }
    illegal
}

/// The tenure under which an effect happened, if it was that of its run.
fn tenure<'t>(tenures: &'t [Tenure], effect: &Effect) -> Option<&'t Tenure> {
    let newest = tenures.iter().rfind(|tenure| tenure.since < effect.row)?;
    (newest.run == effect.run && newest.until.is_none_or(|until| effect.row <= until)).then_some(newest)
}

/// Effects that go on with something after something else has begun.
fn interleaved<'e, T: Ord>(effects: &[&'e Effect], what: impl Fn(&'e Effect) -> T) -> Vec<&'e Effect> {
    let mut over = BTreeSet::new();
    let mut interleaved = Vec::new();
    for pair in effects.windows(2) {
        if let [before, effect] = pair
            && what(before) != what(effect)
        {
            over.insert(what(before));
            if over.contains(&what(effect)) {
                interleaved.push(*effect);
            }
        }
    }
    interleaved
}

/// What each run had in hand since when.
struct InHand<'n> {
    noted: &'n Noted,
    /// By run and message: how often it came, and the first time.
    came: BTreeMap<(&'n str, &'n str), (u32, &'n Reception)>,
}

impl<'n> InHand<'n> {
    fn of(noted: &'n Noted) -> Self {
        let mut came = BTreeMap::new();
        for reception in &noted.receptions {
            if let Some(run) = reception.run.as_deref() {
                came.entry((run, reception.message.id.as_str())).or_insert((0, reception)).0 += 1;
            }
        }
        Self { noted, came }
    }

    /// Messages that came after one that was sent later, though their run had both in hand when it claimed that one.
    ///
    /// Of messages that are new: nobody had claimed them before, so nothing but the order decides. And of runs that nobody has
    /// interfered with: else a message may have been out of hand for a while.
    fn out_of_order<'e>(&self, queue: Queue, tenures: &[Tenure], effects: &[&'e Effect]) -> Vec<&'e Effect> {
        let mut begun = BTreeSet::new();
        let firsts = effects.iter().filter(|effect| begun.insert(effect.id.as_str()));
        let mut of_tenure: BTreeMap<u64, Vec<(&Claim, i64)>> = BTreeMap::new();
        let mut late = Vec::new();
        for effect in firsts {
            let Some(tenure) = tenure(tenures, effect) else { continue };
            let run = effect.run.as_str();
            let claim = self.noted.first_claims.get(&record_name(queue.name(), &effect.id));
            let (Some(claim), Some((1, reception))) = (claim, self.came.get(&(run, effect.id.as_str()))) else {
                continue;
            };
            if claim.run != run || self.noted.cut.contains(run) || self.noted.blind.contains(run) {
                continue;
            }
            let before = of_tenure.entry(tenure.epoch).or_default();
            let in_hand = |claim: &Claim| reception.at.plus(IN_HAND) <= claim.at;
            if before.iter().any(|(claim, order)| *order > reception.message.order && in_hand(claim)) {
                late.push(*effect);
            }
            before.push((claim, reception.message.order));
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use oncebus_core::time::Instant;
    use serde_json::json;

    use super::super::call::Received;
    use super::super::workload::Message;
    use super::*;

    fn found(queue: Queue, log: &[(&str, u32, u64, &str)]) -> Found {
        let message = |id: &str| Message {
            id: id.to_owned(),
            queue,
            key: Some("k".to_owned()),
            body: json!({}),
            rejected: false,
        };
        let effects = log.iter().zip(1..).map(|((id, step, epoch, run), row)| Effect {
            row,
            id: (*id).to_owned(),
            step: *step,
            epoch: *epoch,
            run: (*run).to_owned(),
            outcome: "done".to_owned(),
        });
        let ids: BTreeSet<&str> = log.iter().map(|(id, ..)| *id).collect();
        Found {
            accepted: ids.into_iter().map(|id| (id.to_owned(), message(id))).collect(),
            effects: effects.collect(),
            ..Found::default()
        }
    }

    fn tenures(queue: Queue, tenures: &[(&str, i64, Option<i64>)]) -> Noted {
        let tenure = |((run, since, until), epoch): (&(&str, i64, Option<i64>), u64)| Tenure {
            epoch,
            run: (*run).to_owned(),
            since: *since,
            until: *until,
        };
        let tenures = tenures.iter().zip(1..).map(tenure).collect();
        Noted { tenures: [(key_name(queue.name(), "k"), tenures)].into(), ..Noted::default() }
    }

    fn says(found: &Found, noted: &Noted) -> Vec<&'static str> {
        check(found, noted).into_keys().collect()
    }

    #[test]
    fn who_has_the_key_may_work() {
        let found = found(Queue::Plain, &[("a", 0, 1, "one"), ("b", 0, 1, "two"), ("c", 0, 1, "one")]);
        let noted = tenures(Queue::Plain, &[("one", 0, Some(1)), ("two", 1, Some(2)), ("one", 2, None)]);
        assert_eq!(says(&found, &noted), Vec::<&str>::new());
    }

    #[test]
    fn without_the_key_an_effect_is_illegal() {
        let what = ["an effect under a key that its run does not have"];
        let found = found(Queue::Plain, &[("a", 0, 1, "one"), ("b", 0, 1, "two")]);
        let before = tenures(Queue::Plain, &[("one", 0, None)]);
        let another = tenures(Queue::Plain, &[("one", 0, Some(1)), ("three", 1, None)]);
        let let_go = tenures(Queue::Plain, &[("one", 0, Some(0)), ("two", 1, None)]);
        for noted in [before, another, let_go] {
            assert_eq!(says(&found, &noted), what);
        }
    }

    #[test]
    fn nobody_comes_between_two_steps() {
        let log = [("a", 0, 1, "one"), ("b", 0, 1, "one"), ("a", 1, 1, "one")];
        let noted = tenures(Queue::Plain, &[("one", 0, None)]);
        assert_eq!(says(&found(Queue::Plain, &log), &noted), ["another of its key between two of its steps"]);
        // Another attempt, where a failure holds back nobody.
        let log = [("a", 0, 1, "one"), ("b", 0, 1, "one"), ("a", 0, 2, "one")];
        assert_eq!(says(&found(Queue::Plain, &log), &noted), Vec::<&str>::new());
        let noted = tenures(Queue::Holding, &[("one", 0, None)]);
        assert_eq!(says(&found(Queue::Holding, &log), &noted), ["another of its key begun before it was over"]);
    }

    #[test]
    fn what_is_in_hand_together_goes_in_order() {
        let found = found(Queue::Plain, &[("b", 0, 1, "one"), ("a", 0, 1, "one")]);
        let at = |millis| Instant(Duration::from_millis(millis));
        let noted = |a_came: u64| {
            let reception = |id: &str, order, came| {
                Reception::new(
                    "one",
                    Received { id: id.to_owned(), target: format!("/q/messages/{order}"), order },
                    at(came),
                )
            };
            let claim = |id: &str| (record_name("chaos", id), Claim { run: "one".to_owned(), at: at(2_000) });
            Noted {
                receptions: vec![reception("a", 1, a_came), reception("b", 2, 0)],
                first_claims: [claim("a"), claim("b")].into(),
                ..tenures(Queue::Plain, &[("one", 0, None)])
            }
        };
        assert_eq!(says(&found, &noted(1_000)), ["after one of its key that was sent later"]);
        assert_eq!(says(&found, &noted(1_900)), Vec::<&str>::new(), "it came when the other was claimed already");
        let cut = Noted { cut: ["one".to_owned()].into(), ..noted(1_000) };
        assert_eq!(says(&found, &cut), Vec::<&str>::new());
    }
}
