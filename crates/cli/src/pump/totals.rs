//! What many runs did together.

use oncebus_core::run::{CallCounts, Summary, WithoutKey};

/// Sums of summaries. The names are those of [`Summary`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) runs: u64,
    pub(crate) received: u64,
    pub(crate) done: u64,
    pub(crate) duplicate: u64,
    pub(crate) busy: u64,
    pub(crate) retried: u64,
    pub(crate) parked: u64,
    pub(crate) mismatched: u64,
    pub(crate) lost: u64,
    pub(crate) unsettled: u64,
    /// All requests.
    pub(crate) calls: CallCounts,
    /// Messages without a lock key, and the requests for them.
    pub(crate) without_key: WithoutKey,
}

impl Totals {
    /// Adds a run's summary.
    pub(crate) fn add(&mut self, run: &Summary) {
        self.runs += 1;
        self.received += run.received;
        self.done += run.done;
        self.duplicate += run.duplicate;
        self.busy += run.busy;
        self.retried += run.retried;
        self.parked += run.parked;
        self.mismatched += run.mismatched;
        self.lost += run.lost;
        self.unsettled += run.unsettled;
        self.calls.add(&run.calls);
        self.without_key.received += run.without_key.received;
        self.without_key.calls.add(&run.without_key.calls);
    }

    /// What came since `earlier`, an older state of the same sums.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            runs: self.runs.saturating_sub(earlier.runs),
            received: self.received.saturating_sub(earlier.received),
            done: self.done.saturating_sub(earlier.done),
            duplicate: self.duplicate.saturating_sub(earlier.duplicate),
            busy: self.busy.saturating_sub(earlier.busy),
            retried: self.retried.saturating_sub(earlier.retried),
            parked: self.parked.saturating_sub(earlier.parked),
            mismatched: self.mismatched.saturating_sub(earlier.mismatched),
            lost: self.lost.saturating_sub(earlier.lost),
            unsettled: self.unsettled.saturating_sub(earlier.unsettled),
            calls: self.calls.since(&earlier.calls),
            without_key: WithoutKey {
                received: self.without_key.received.saturating_sub(earlier.without_key.received),
                calls: self.without_key.calls.since(&earlier.without_key.calls),
            },
        }
    }

    /// Messages that are finished and gone from their queue.
    pub(crate) fn settled(&self) -> u64 {
        self.done + self.duplicate + self.parked + self.mismatched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_sums() {
        let calls = CallCounts { receive: 3, write: 2, ..CallCounts::default() };
        let without_key = WithoutKey { received: 1, calls };
        let run = Summary { received: 3, done: 2, duplicate: 1, calls, without_key, ..Summary::default() };
        let mut totals = Totals::default();
        totals.add(&run);
        totals.add(&run);
        assert_eq!((totals.runs, totals.received, totals.settled()), (2, 6, 6));
        let before = totals.clone();
        assert_eq!(totals.since(&before), Totals::default());
        totals.add(&run);
        let mut once = Totals::default();
        once.add(&run);
        assert_eq!(totals.since(&before), once);
    }
}
