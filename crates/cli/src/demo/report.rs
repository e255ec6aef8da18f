//! What happened, for people and for machines.

use std::fmt;

use serde::Serialize;

use super::count::Effects;
use crate::pump::Totals;

/// The demo's result. Serialised, it is the last line of `--demo --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    /// Messages that the app accepted, repeats included.
    pub(super) accepted: u64,
    /// Different messages among them.
    pub(super) distinct: u64,
    /// Deliveries that the runs took from the queues.
    pub(super) delivered: u64,
    /// Deliveries that were processed.
    pub(super) processed: u64,
    /// Deliveries that were completed without processing, since their message was done.
    pub(super) duplicates: u64,
    /// Deliveries that were left to come again: busy, or failed.
    pub(super) left: u64,
    /// Deliveries given up.
    pub(super) parked: u64,
    /// Messages in the app's database.
    pub(super) stored: u64,
    /// Messages that are missing there.
    pub(super) missing: u64,
    /// Steps that ran.
    pub(super) effects: u64,
    /// Steps that had run before.
    pub(super) effects_repeated: u64,
    /// Requests to Service Bus for each delivery without a lock key, without sends and polls that brought nothing.
    pub(super) broker_calls_per_message: f64,
    /// Requests to Blob Storage for the same.
    pub(super) blob_calls_per_message: f64,
    /// Polls that brought nothing.
    pub(super) empty_polls: u64,
    /// From the first request to the last row.
    pub(super) seconds: f64,
    /// What decided the order.
    pub(super) seed: u64,
}

/// What was counted where.
pub(super) struct Counted {
    pub(super) accepted: usize,
    pub(super) distinct: usize,
    pub(super) stored: u64,
    pub(super) missing: usize,
    pub(super) effects: Effects,
    pub(super) seconds: f64,
    pub(super) seed: u64,
}

impl Report {
    pub(super) fn new(counted: &Counted, totals: &Totals) -> Self {
        let share = totals.without_key;
        Self {
            accepted: number(counted.accepted),
            distinct: number(counted.distinct),
            delivered: totals.received,
            processed: totals.done,
            duplicates: totals.duplicate,
            left: totals.received.saturating_sub(totals.settled()),
            parked: totals.parked + totals.mismatched,
            stored: counted.stored,
            missing: number(counted.missing),
            effects: counted.effects.all,
            effects_repeated: counted.effects.repeated,
            broker_calls_per_message: per(share.calls.broker_per_delivery(), share.received),
            blob_calls_per_message: per(share.calls.storage(), share.received),
            empty_polls: totals.calls.receive_empty,
            seconds: rounded(counted.seconds),
            seed: counted.seed,
        }
    }

    /// Why this is no success; nothing if it is one.
    pub(super) fn failures(&self) -> Vec<String> {
        let checks = [
            (self.missing > 0, format!("{} messages were not stored", self.missing)),
            (
                self.stored + self.missing != self.distinct,
                format!("{} rows are stored for {} messages", self.stored, self.distinct),
            ),
            (self.effects_repeated > 0, format!("{} effects were repeated", self.effects_repeated)),
            (
                self.effects < self.distinct + self.effects_repeated,
                format!("the log of effects has {} of {} messages", self.effects, self.distinct),
            ),
            (self.parked > self.others(), format!("{} deliveries were parked", self.parked)),
            (
                self.settled() < self.accepted,
                format!("the runs finished {} of {} accepted messages in time", self.settled(), self.accepted),
            ),
        ];
        checks.into_iter().filter(|(failed, _)| *failed).map(|(_, sentence)| sentence).collect()
    }

    /// What is no failure and needs a word: other messages were in the queues, or deliveries came again.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.delivered > self.accepted {
            notes.push(format!(
                "Deliveries are {} more than accepted messages: {} were left to come again, {} are of messages that were in the queues \
                 besides, or that Service Bus has twice.",
                grouped(self.delivered - self.accepted),
                grouped(self.left),
                grouped(self.others())
            ));
        }
        if self.parked > 0 && self.parked <= self.others() {
            notes.push(format!("{} of these others were parked.", grouped(self.parked)));
        }
        notes
    }

    const fn settled(&self) -> u64 {
        self.processed + self.duplicates + self.parked
    }

    /// Deliveries finished beyond those that the demo's own messages need.
    const fn others(&self) -> u64 {
        self.settled().saturating_sub(self.accepted)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("accepted over HTTP", grouped(self.accepted)),
            ("distinct messages", grouped(self.distinct)),
            ("delivered by Service Bus", grouped(self.delivered)),
            ("processed", grouped(self.processed)),
            ("duplicates skipped", grouped(self.duplicates)),
            ("left to come again", grouped(self.left)),
            ("parked", grouped(self.parked)),
            ("rows in the store", grouped(self.stored)),
            ("effects", grouped(self.effects)),
            ("effects repeated", grouped(self.effects_repeated)),
            ("broker calls per message", format!("{:.3}", self.broker_calls_per_message)),
            ("blob calls per message", format!("{:.3}", self.blob_calls_per_message)),
            ("empty polls", grouped(self.empty_polls)),
            ("seconds", format!("{:.1}", self.seconds)),
        ];
        rows.iter().try_for_each(|(name, value)| writeln!(f, "  {name:<26}{value:>9}"))?;
        self.notes().iter().try_for_each(|note| writeln!(f, "\n  {note}"))
    }
}

/// With a comma between thousands.
fn grouped(number: u64) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", grouped(number / 1_000), number % 1_000) }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Exact up to 2^32 of either.
fn per(calls: u64, messages: u64) -> f64 {
    let exact = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    if messages == 0 { 0.0 } else { rounded(exact(calls) / exact(messages)) }
}

/// To thousandths.
fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use oncebus_core::run::{CallCounts, WithoutKey};

    use super::*;

    fn success() -> Report {
        let effects = Effects { all: 1_000, repeated: 0 };
        let counted =
            Counted { accepted: 1_100, distinct: 1_000, stored: 1_000, missing: 0, effects, seconds: 2.0, seed: 7 };
        let calls = CallCounts {
            receive: 825,
            receive_empty: 9,
            complete: 825,
            create: 825,
            write: 750,
            look: 75,
            ..CallCounts::default()
        };
        let without_key = WithoutKey { received: 825, calls };
        let totals = Totals { received: 1_100, done: 1_000, duplicate: 100, without_key, calls, ..Totals::default() };
        Report::new(&counted, &totals)
    }

    #[test]
    fn calls_are_counted_per_message_without_a_key() {
        let report = success();
        assert!((report.broker_calls_per_message - 2.0).abs() < 1e-9);
        assert!((report.blob_calls_per_message - 2.0).abs() < 1e-9);
    }

    #[test]
    fn anything_but_once_each_is_a_failure() {
        assert_eq!(success().failures(), Vec::<String>::new());
        let says =
            |report: Report, what: &str| assert!(report.failures().iter().any(|f| f.contains(what)), "{report:?}");
        says(Report { missing: 1, stored: 999, ..success() }, "not stored");
        says(Report { stored: 1_001, ..success() }, "1001 rows");
        says(Report { effects: 1_001, effects_repeated: 1, ..success() }, "repeated");
        says(Report { effects: 0, ..success() }, "log of effects");
        says(Report { processed: 999, ..success() }, "finished 1099 of 1100");
        says(Report { processed: 999, parked: 1, ..success() }, "parked");
    }

    #[test]
    fn what_else_was_in_the_queues_is_a_note() {
        assert_eq!(success().notes(), Vec::<String>::new());
        let report = Report { delivered: 1_105, left: 2, parked: 3, ..success() };
        assert_eq!(report.failures(), Vec::<String>::new());
        let shown = report.to_string();
        assert!(shown.contains("5 more than accepted messages: 2 were left to come again, 3 are"), "{shown}");
        assert!(shown.contains("3 of these others were parked"), "{shown}");
    }

    #[test]
    fn the_machines_form_has_the_promised_keys() {
        let json = serde_json::to_value(success()).unwrap();
        for key in [
            "accepted",
            "distinct",
            "duplicates",
            "stored",
            "effects",
            "effects_repeated",
            "broker_calls_per_message",
            "blob_calls_per_message",
            "seconds",
        ] {
            assert!(json[key].is_number(), "{key}");
        }
    }

    #[test]
    fn the_table_groups_thousands() {
        assert_eq!([grouped(0), grouped(999), grouped(1_000), grouped(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert!(success().to_string().contains("  accepted over HTTP            1,100\n"));
    }
}
