//! Renewal of everything in hand, once a third of the ttl is gone.
//!
//! The processor is synchronous: while it works, nothing is renewed, and nothing it has is asked for. So what has aged meanwhile is
//! renewed between two calls, before it is given to the next.

use super::Run;
use crate::run::delivery::Handling;
use crate::run::{Effect, Tag};
use crate::time::Instant;

impl Run {
    /// Renews what is due. Towards the end everything is handed on or given back instead.
    pub(super) fn keep(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if now >= self.release_at() {
            return;
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let slots = self.slots.iter().filter(|(_, slot)| is_due(slot.handling.renew_at(&self.queue)));
        for tag in slots.map(|(tag, _)| *tag).collect::<Vec<Tag>>() {
            self.ready.retain(|ready| *ready != tag);
            self.step(tag, now, effects, Handling::keep);
        }
    }

    /// When each is due.
    pub(super) fn renewals(&self) -> impl Iterator<Item = Instant> {
        self.slots.values().filter_map(|slot| slot.handling.renew_at(&self.queue))
    }
}
