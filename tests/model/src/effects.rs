//! The two stores that a step may have its effect in, as the processor's contract asks for them.
//!
//! * One **carries the epoch**: it refuses an epoch lower than the highest it has seen, and else writes over.
//! * One **inserts if absent**, with values that depend on message and step alone.
//!
//! Each step has its effect in both, by one request. A third party that does neither has what is promised to nobody: its
//! effect happens as often as the step runs ([`Event::Repeated`]).

use crate::rules::{Broken, Event, Rule};
use crate::storage::Claim;

/// A step's effect on its way to the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Effect {
    pub(crate) step: u32,
    /// What the store is told.
    pub(crate) epoch: u64,
    /// Truth: the claim under which the step runs.
    pub(crate) claim: Claim,
}

#[derive(Debug, Clone, Default, PartialEq, Hash)]
pub(crate) struct Effects {
    /// The highest epoch that the fenced store has seen.
    fence: u64,
    /// Truth: the newest claim that had an effect there.
    newest: Claim,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Hash)]
struct Row {
    /// Truth: the claim that wrote the fenced row last; 0 where there is none.
    written: Claim,
    /// Whether the other store has the row.
    inserted: bool,
}

impl Effects {
    pub(crate) fn new(steps: u8) -> Self {
        Self { rows: vec![Row::default(); usize::from(steps)], ..Self::default() }
    }

    fn row(&mut self, step: u32) -> Option<&mut Row> {
        self.rows.get_mut(usize::try_from(step).ok()?)
    }

    /// Whether an effect that comes late would still change anything.
    pub(crate) fn may_take(&self, effect: &Effect) -> bool {
        let missing = self.rows.iter().zip(0..).any(|(row, step)| step == effect.step && !row.inserted);
        effect.epoch >= self.fence || missing
    }

    /// An effect arrives. `Some(event)` where it is worth telling; whether it was refused is in the event.
    pub(crate) fn apply(&mut self, effect: &Effect, done: bool, excused: bool, broken: &mut Broken) -> Option<Event> {
        let (newest, refused) = (self.newest, effect.epoch < self.fence);
        let row = self.row(effect.step)?;
        broken.unless(row.inserted || !done, Rule::NoEffectAfterDone);
        row.inserted = true;
        if refused {
            return Some(Event::EffectRefused);
        }
        let repeated = row.written != 0;
        broken.unless(effect.claim >= newest, Rule::EffectsAreFenced);
        broken.unless(row.written != effect.claim, Rule::EffectsAreSingle);
        broken.unless(!done, Rule::NoEffectAfterDone);
        broken.unless(!repeated || excused, Rule::RepeatsHaveReasons);
        row.written = effect.claim;
        self.newest = newest.max(effect.claim);
        self.fence = effect.epoch;
        repeated.then_some(Event::Repeated)
    }

    /// Whether each step has had its effect in both stores.
    pub(crate) fn are_complete(&self) -> bool {
        self.rows.iter().all(|row| row.inserted && row.written != 0)
    }
}
