//! The truth about turns: who of the key is in a call, or between two steps; and the store that is fenced by the key's epoch.

use oncebus_core::record::State as Stage;
use oncebus_core::time::Instant;

use super::LOCK;
use super::state::State;
use crate::effects::Effect;
use crate::rules::{Broken, Event, Rule};
use crate::storage::Claim;

/// A step's effect, of a message with a lock key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyedEffect {
    /// Whose: which of the blobs is its record.
    pub(crate) blob: usize,
    pub(crate) effect: Effect,
    /// What the store of the key is told. `None` where the message came without its key.
    pub(crate) key_epoch: Option<u64>,
    /// Truth: the claim of the key under which the step runs.
    pub(crate) key_claim: Option<Claim>,
}

/// What was, whatever has become of the lock since.
#[derive(Debug, Clone, Default, PartialEq, Hash)]
pub(crate) struct Turns {
    /// Of each message: begun under these claims of its record and of the key, and between two steps.
    between: Vec<Option<(Claim, Option<Claim>)>>,
    /// Of each message: whether a step of it was ever begun.
    begun: Vec<bool>,
    /// The highest epoch of the key that the fenced store has seen.
    fence: u64,
    /// The newest claim of the key that had an effect there.
    newest: Option<Claim>,
}

impl Turns {
    pub(crate) fn new(messages: usize) -> Self {
        Self { between: vec![None; messages + 1], begun: vec![false; messages + 1], ..Self::default() }
    }

    /// A step is answered: its message goes on, or has come to the end of its turn.
    pub(crate) fn answered(&mut self, of: &KeyedEffect, goes_on: bool) {
        if let Some(between) = self.between.get_mut(of.blob) {
            *between = goes_on.then_some((of.effect.claim, of.key_claim));
        }
    }

    /// An effect arrives at the store of the key.
    pub(crate) fn apply(&mut self, of: &KeyedEffect, broken: &mut Broken) -> Option<Event> {
        let epoch = of.key_epoch?;
        if epoch < self.fence {
            return Some(Event::KeyEffectRefused);
        }
        broken.unless(of.key_claim >= self.newest, Rule::KeysFenceEffects);
        self.fence = epoch;
        self.newest = self.newest.max(of.key_claim);
        None
    }

    /// Whether an effect that comes late would still change anything.
    pub(crate) fn may_take(&self, of: &KeyedEffect) -> bool {
        of.key_epoch.is_some_and(|epoch| epoch >= self.fence)
    }
}

impl State {
    /// A step of this message begins, and these are in the same call.
    pub(crate) fn judge_turn(&mut self, of: &KeyedEffect, beside: &[KeyedEffect], now: Instant, hold: bool) {
        let held = self.blobs.get(LOCK).is_some_and(|lock| lock.is_claimed_by(of.key_claim));
        self.broken.unless(held && of.key_epoch.is_some(), Rule::KeysAreHeld);
        let calls = self.instances.iter().filter_map(|instance| instance.call.as_ref());
        let others = calls.filter(|call| call.ends > now).flat_map(|call| &call.effects).chain(beside);
        let called = others.into_iter().any(|other| other.blob != of.blob);
        let between = self.turns.between.iter().enumerate().any(|(blob, between)| {
            let Some((claim, key_claim)) = between else { return false };
            let goes_on = self.is_claim_of(blob, Some(*claim)) && self.is_claim_of(LOCK, *key_claim);
            blob != of.blob && goes_on
        });
        self.broken.unless(!called && !between, Rule::KeysTakeTurns);
        let open = self.turns.begun.iter().zip(&self.blobs).enumerate().any(|(blob, (begun, record))| {
            let ended = record.record().is_some_and(|record| matches!(record.state, Stage::Done | Stage::Parked));
            blob != of.blob && *begun && !ended
        });
        self.broken.unless(!hold || !open, Rule::HeldBackWait);
        if let Some(begun) = self.turns.begun.get_mut(of.blob) {
            *begun = true;
        }
    }

    fn is_claim_of(&self, blob: usize, claim: Option<Claim>) -> bool {
        self.blobs.get(blob).is_some_and(|blob| blob.is_claimed_by(claim))
    }
}
