//! What a run measures beyond its counts: for whoever sums up runs and shows them as metrics.
//!
//! Whole numbers throughout, so that sums are exact. Names and buckets of the times are those of OpenTelemetry's conventions for
//! messaging (`messaging.process.duration`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets for calls of the processor, in microseconds: 5 ms to 10 s, as the conventions advise.
pub const CALL_BOUNDS: [u64; 14] = [
    5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 2_500_000, 5_000_000,
    7_500_000, 10_000_000,
];

/// Upper bounds of the buckets for messages in a call: the range of the setting `batch`.
pub const BATCH_BOUNDS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// How many values fell into each bucket, and their sum.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// A count for each bound, and one for what is above the last. Empty: no value.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    fn record(&mut self, value: u64, bounds: &[u64]) {
        self.counts.resize(bounds.len() + 1, 0);
        let bucket = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(value);
    }

    /// Adds another's values. One with other buckets, of another version, is left out.
    pub fn add(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.counts.resize(other.counts.len(), 0);
        }
        if self.counts.len() == other.counts.len() {
            self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
            self.sum = self.sum.saturating_add(other.sum);
        }
    }
}

/// Why messages were tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryClass {
    /// The processor asked for it.
    Processor,
    /// The processor answered another number of steps than it was given messages.
    StepCount,
    /// The steps took longer together than they may.
    ExecutionTimeout,
}

impl RetryClass {
    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::StepCount => "step-count",
            Self::ExecutionTimeout => "execution-timeout",
        }
    }
}

/// What a run measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measures {
    /// Calls of the processor, in microseconds ([`CALL_BOUNDS`]).
    #[serde(default)]
    pub calls: Histogram,
    /// Messages in a call ([`BATCH_BOUNDS`]).
    #[serde(default)]
    pub batches: Histogram,
    /// Records claimed.
    #[serde(default)]
    pub claims: u64,
    /// Of these, from an earlier attempt: the epoch went up.
    #[serde(default)]
    pub takeovers: u64,
    /// Writes of a held record that were refused, since another had taken over: the fence held.
    #[serde(default)]
    pub fence_rejections: u64,
    /// Checkpoints written.
    #[serde(default)]
    pub checkpoints: u64,
    /// Retries, by class.
    #[serde(default)]
    pub retries: BTreeMap<RetryClass, u64>,
    /// Messages given up, by the code that the poison queue gets as `DeadLetterReason`.
    #[serde(default)]
    pub dead_letters: BTreeMap<String, u64>,
}

impl Measures {
    pub(super) fn called(&mut self, messages: usize, took: Duration) {
        self.calls.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), &CALL_BOUNDS);
        self.batches.record(u64::try_from(messages).unwrap_or(u64::MAX), &BATCH_BOUNDS);
    }

    pub(super) fn claimed(&mut self, epoch: u64) {
        self.claims += 1;
        self.takeovers += u64::from(epoch > 1);
    }

    pub(super) fn retried(&mut self, class: RetryClass) {
        *self.retries.entry(class).or_default() += 1;
    }

    pub(super) fn gave_up(&mut self, code: &str) {
        *self.dead_letters.entry(code.to_owned()).or_default() += 1;
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.calls.add(&other.calls);
        self.batches.add(&other.batches);
        self.claims += other.claims;
        self.takeovers += other.takeovers;
        self.fence_rejections += other.fence_rejections;
        self.checkpoints += other.checkpoints;
        for (class, count) in &other.retries {
            *self.retries.entry(*class).or_default() += count;
        }
        for (code, count) in &other.dead_letters {
            *self.dead_letters.entry(code.clone()).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_holds_it() {
        let mut measures = Measures::default();
        for (messages, micros) in [(1, 5_000), (3, 5_001), (300, 99_000_000)] {
            measures.called(messages, Duration::from_micros(micros));
        }
        assert_eq!(measures.batches.counts, [1, 0, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(measures.calls.counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((measures.batches.sum, measures.calls.sum), (304, 99_010_001));
    }

    #[test]
    fn sums_are_sums_and_other_buckets_are_left_out() {
        let mut one = Measures::default();
        one.called(2, Duration::from_millis(1));
        one.claimed(1);
        one.claimed(2);
        one.retried(RetryClass::Processor);
        one.gave_up("rejected");
        let mut sum = Measures::default();
        sum.add(&one);
        sum.add(&one);
        assert_eq!((sum.claims, sum.takeovers, sum.batches.sum), (4, 2, 4));
        assert_eq!((sum.retries[&RetryClass::Processor], sum.dead_letters["rejected"]), (2, 2));
        let other = Histogram { counts: vec![1], sum: 9 };
        let before = sum.calls.clone();
        sum.calls.add(&other);
        assert_eq!(sum.calls, before);
    }
}
