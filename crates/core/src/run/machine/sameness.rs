//! When two runs are the same: when they do the same from now on, whatever happens.
//!
//! For whoever explores what a run may do, as `tests/model` does. Of no account are the settings, which never change, and what was
//! counted, which decides nothing.

use std::hash::{Hash, Hasher};

use super::Run;

impl Run {
    /// All that decides what it does. A field that is added must be named here, or this does not compile.
    fn decisive(&self) -> impl PartialEq + Hash + use<'_> {
        let Self {
            queue: _,
            summary: _,
            batch,
            names,
            deadline,
            rest,
            slowest,
            longest_call,
            processing,
            failed_poll,
            seen,
            probing,
            receiving,
            drained,
            polls,
            window,
            slots,
            next_tag,
            gathered,
            gather_until,
            ready,
            ready_since,
            apart,
            alone,
            same_record,
            after_twin,
            keys,
            key_tags,
            remembered,
            over,
        } = self;
        let times = (batch, names, deadline, rest, slowest, longest_call, seen, over);
        let polling = (probing, receiving, drained, failed_poll, polls, window);
        let lines = (same_record, after_twin, keys, key_tags, remembered);
        let in_hand = (slots, next_tag, gathered, gather_until, processing, ready, ready_since, apart, alone);
        (times, polling, in_hand, lines)
    }
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.decisive() == other.decisive()
    }
}

impl Hash for Run {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.decisive().hash(state);
    }
}
