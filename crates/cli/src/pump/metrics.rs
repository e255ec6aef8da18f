//! What runs did, as metrics: sums of their summaries by queue, in the text format of Prometheus (0.0.4).
//!
//! Where OpenTelemetry's conventions for messaging have a name, that is used (`messaging_process_duration_seconds`), with their attribute
//! `messaging.destination.name` as the label of the queue throughout; everything else begins with `oncebus_`. `docs/OPERATIONS.md` lists all of
//! them.
//!
//! Promises: a counter never falls while the pump lives; every series is there from the start, at zero; labels are queues of the configuration and words out
//! of fixed lists, never ids, keys or anything that a sender chose.

use std::collections::BTreeMap;
use std::time::Duration;

use oncebus_core::run::{BATCH_BOUNDS, CALL_BOUNDS, CallCounts, Histogram, Measures, RetryClass, Summary};
use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as ProtoHistogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// The media type of [`Metrics::render`].
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const QUEUE: &str = "messaging_destination_name";

/// Codes of what is given up; any other is counted under `other`.
const DEAD_LETTERS: [&str; 4] = ["rejected", "max-attempts", "payload-mismatch", "checkpoint-lost"];
const RETRIES: [RetryClass; 3] = [RetryClass::Processor, RetryClass::StepCount, RetryClass::ExecutionTimeout];

/// Sums by queue.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    queues: BTreeMap<String, Sums>,
}

#[derive(Debug, Default)]
struct Sums {
    runs: u64,
    troubled: u64,
    failed: u64,
    received: u64,
    outcomes: BTreeMap<&'static str, u64>,
    key_busy: u64,
    held_back: u64,
    keys_taken: u64,
    keys_lost: u64,
    calls: CallCounts,
    measures: Measures,
    oldest: Duration,
    messages: Option<u64>,
}

impl Metrics {
    /// Metrics of these queues.
    pub(super) fn new<'a>(queues: impl IntoIterator<Item = &'a str>) -> Self {
        Self { queues: queues.into_iter().map(|queue| (queue.to_owned(), Sums::default())).collect() }
    }

    /// A run that answered.
    pub(super) fn ran(&mut self, queue: &str, run: &Summary) {
        let sums = self.queues.entry(queue.to_owned()).or_default();
        sums.runs += 1;
        sums.troubled += u64::from(run.trouble.is_some());
        sums.received += run.received;
        for (outcome, count) in outcomes(run) {
            *sums.outcomes.entry(outcome).or_default() += count;
        }
        sums.key_busy += run.key_busy;
        sums.held_back += run.held_back;
        sums.keys_taken += run.lock_keys.taken;
        sums.keys_lost += run.lock_keys.lost;
        sums.calls.add(&run.calls);
        sums.measures.add(&run.measures);
        // A run that left nothing behind has seen the last of what waited.
        sums.oldest = if run.backlog { Duration::from_secs(run.oldest_seconds) } else { Duration::ZERO };
    }

    /// A run that did not answer as it should.
    pub(super) fn failed(&mut self, queue: &str) {
        self.queues.entry(queue.to_owned()).or_default().failed += 1;
    }

    /// How many messages a queue holds.
    pub(super) fn holds(&mut self, queue: &str, messages: u64) {
        self.queues.entry(queue.to_owned()).or_default().messages = Some(messages);
    }

    /// As text.
    pub(super) fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.families())
    }

    fn families(&self) -> Vec<MetricFamily> {
        let own = self.own_counters();
        let histogram = |name, help, bounds: &'static [u64], unit, of: fn(&Sums) -> &Histogram| {
            family(
                name,
                help,
                MetricType::HISTOGRAM,
                self.each(|sums, labels| vec![histogram(labels, of(sums), bounds, unit)]),
            )
        };
        let gauge = |name, help, of: fn(&Sums) -> Option<f64>| {
            family(
                name,
                help,
                MetricType::GAUGE,
                self.each(|sums, labels| of(sums).map(|value| gauge(labels, value)).into_iter().collect()),
            )
        };
        let mut families = vec![histogram(
            "messaging_process_duration_seconds",
            "How long a call of the processor took, with however many messages.",
            &CALL_BOUNDS,
            1e6,
            |sums| &sums.measures.calls,
        )];
        families.extend(own);
        families.extend([
            histogram("oncebus_batch_messages", "Messages in a call of the processor.", &BATCH_BOUNDS, 1.0, |sums| {
                &sums.measures.batches
            }),
            gauge(
                "oncebus_oldest_message_age_seconds",
                "How long the oldest message of the last run had waited; 0 when that run left none.",
                |sums| Some(sums.oldest.as_secs_f64()),
            ),
            gauge("oncebus_queue_messages", "Active messages in the queue, where the pump may ask for them.", |sums| {
                sums.messages.map(number)
            }),
        ]);
        families.retain(|family| !family.get_metric().is_empty());
        families
    }

    fn own_counters(&self) -> Vec<MetricFamily> {
        let counters = |name: &str, help: &str, label: &'static str, of: fn(&Sums) -> Vec<(&'static str, u64)>| {
            family(
                name,
                help,
                MetricType::COUNTER,
                self.each(|sums, labels| {
                    let labelled = |(word, count)| {
                        let mut labels = labels.to_vec();
                        if !label.is_empty() {
                            labels.push((label, word));
                        }
                        counter(&labels, count)
                    };
                    of(sums).into_iter().map(labelled).collect()
                }),
            )
        };
        vec![
            counters("messaging_client_consumed_messages_total", "Messages received.", "", |sums| {
                vec![("", sums.received)]
            }),
            counters("oncebus_runs_total", "Runs, by how they ended.", "result", |sums| {
                vec![("ok", sums.runs - sums.troubled), ("trouble", sums.troubled), ("no-answer", sums.failed)]
            }),
            counters("oncebus_messages_total", "Messages received, by what became of them.", "outcome", |sums| {
                let count = |(outcome, _)| (outcome, sums.outcomes.get(outcome).copied().unwrap_or_default());
                outcomes(&Summary::default()).into_iter().map(count).collect()
            }),
            counters("oncebus_duplicates_total", "Messages that were finished before.", "", |sums| {
                vec![("", sums.outcome("duplicate"))]
            }),
            counters(
                "oncebus_in_progress_conflicts_total",
                "Messages that met the lock of another: of their record, of their key, or of an earlier one of their key.",
                "lock",
                |sums| {
                    let record = sums.outcome("busy").saturating_sub(sums.key_busy + sums.held_back);
                    vec![("record", record), ("key", sums.key_busy), ("order", sums.held_back)]
                },
            ),
            counters("oncebus_locks_acquired_total", "Locks taken, of records and of keys.", "lock", |sums| {
                vec![("record", sums.measures.claims), ("key", sums.keys_taken)]
            }),
            counters("oncebus_locks_lost_total", "Locks lost while they were held.", "lock", |sums| {
                vec![("record", sums.outcome("lost")), ("key", sums.keys_lost)]
            }),
            counters("oncebus_takeovers_total", "Records claimed from an earlier attempt.", "", |sums| {
                vec![("", sums.measures.takeovers)]
            }),
            counters(
                "oncebus_fence_rejections_total",
                "Writes of a held record that were refused, since another had taken over.",
                "",
                |sums| vec![("", sums.measures.fence_rejections)],
            ),
            counters("oncebus_retries_total", "Messages that failed and were sent on for later.", "class", |sums| {
                let count =
                    |class: RetryClass| (class.word(), sums.measures.retries.get(&class).copied().unwrap_or_default());
                RETRIES.map(count).to_vec()
            }),
            counters("oncebus_dead_letters_total", "Messages given up, by reason.", "reason", |sums| {
                let all: u64 = sums.measures.dead_letters.values().sum();
                let count = |code| (code, sums.measures.dead_letters.get(code).copied().unwrap_or_default());
                let mut counts = DEAD_LETTERS.map(count).to_vec();
                let known: u64 = counts.iter().map(|(_, count)| count).sum();
                counts.push(("other", all.saturating_sub(known)));
                counts
            }),
            counters("oncebus_checkpoint_writes_total", "Checkpoints written.", "", |sums| {
                vec![("", sums.measures.checkpoints)]
            }),
            counters("oncebus_requests_total", "Requests to Service Bus and Blob Storage.", "request", |sums| {
                let calls = &sums.calls;
                vec![
                    ("receive", calls.receive),
                    ("receive-empty", calls.receive_empty),
                    ("renew", calls.renew),
                    ("send", calls.send),
                    ("complete", calls.complete),
                    ("abandon", calls.abandon),
                    ("create", calls.create),
                    ("look", calls.look),
                    ("write", calls.write),
                    ("store", calls.store),
                    ("load", calls.load),
                    ("delete", calls.delete),
                ]
            }),
        ]
    }

    /// The metrics of each queue.
    fn each(&self, of: impl Fn(&Sums, &[(&str, &str)]) -> Vec<Metric>) -> Vec<Metric> {
        self.queues.iter().flat_map(|(queue, sums)| of(sums, &[(QUEUE, queue.as_str())])).collect()
    }
}

impl Sums {
    fn outcome(&self, outcome: &str) -> u64 {
        self.outcomes.get(outcome).copied().unwrap_or_default()
    }
}

fn outcomes(run: &Summary) -> [(&'static str, u64); 11] {
    [
        ("done", run.done),
        ("duplicate", run.duplicate),
        ("busy", run.busy),
        ("deferred", run.deferred),
        ("retried", run.retried),
        ("parked", run.parked),
        ("mismatched", run.mismatched),
        ("released", run.released),
        ("returned", run.returned),
        ("lost", run.lost),
        ("unsettled", run.unsettled),
    ]
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn metric(labels: &[(&str, &str)]) -> Metric {
    let label = |(name, value): &(&str, &str)| {
        let mut label = LabelPair::default();
        label.set_name((*name).to_owned());
        label.set_value((*value).to_owned());
        label
    };
    Metric::from_label(labels.iter().map(label).collect())
}

fn counter(labels: &[(&str, &str)], count: u64) -> Metric {
    let (mut metric, mut counter) = (metric(labels), Counter::default());
    counter.set_value(number(count));
    metric.set_counter(counter);
    metric
}

fn gauge(labels: &[(&str, &str)], value: f64) -> Metric {
    let (mut metric, mut gauge) = (metric(labels), Gauge::default());
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

/// `unit`: how many of what is counted make one of what is shown.
fn histogram(labels: &[(&str, &str)], of: &Histogram, bounds: &[u64], unit: f64) -> Metric {
    let (mut metric, mut shown) = (metric(labels), ProtoHistogram::default());
    let mut sum = 0;
    let buckets = bounds.iter().enumerate().map(|(place, bound)| {
        sum += of.counts.get(place).copied().unwrap_or_default();
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(number(*bound) / unit);
        bucket.set_cumulative_count(sum);
        bucket
    });
    shown.set_bucket(buckets.collect());
    shown.set_sample_count(of.counts.iter().sum());
    shown.set_sample_sum(number(of.sum) / unit);
    metric.set_histogram(shown);
    metric
}

#[expect(clippy::as_conversions, reason = "the format has doubles only; counts are exact up to 2^53")]
const fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use prometheus_parse::{Scrape, Value};

    use super::*;

    /// Read back by a parser that is not the writer's.
    fn scrape(metrics: &Metrics) -> Scrape {
        let text = metrics.render().unwrap();
        Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap()
    }

    fn value(scrape: &Scrape, name: &str, label: Option<(&str, &str)>) -> Value {
        let samples = scrape.samples.iter().filter(|sample| {
            sample.metric == name && label.is_none_or(|(name, value)| sample.labels.get(name) == Some(value))
        });
        let mut values: Vec<Value> = samples.map(|sample| sample.value.clone()).collect();
        assert_eq!(values.len(), 1, "{name} {label:?}");
        values.remove(0)
    }

    fn run() -> Summary {
        let counts = |at: usize, length: usize| (0..length).map(|n| u64::from(n == at)).collect();
        let measures = Measures {
            calls: Histogram { counts: counts(1, CALL_BOUNDS.len() + 1), sum: 7_000 },
            batches: Histogram { counts: counts(BATCH_BOUNDS.len(), BATCH_BOUNDS.len() + 1), sum: 300 },
            claims: 5,
            takeovers: 1,
            fence_rejections: 2,
            checkpoints: 3,
            retries: [(RetryClass::ExecutionTimeout, 4)].into(),
            dead_letters: [("rejected".to_owned(), 1), ("made up".to_owned(), 2)].into(),
        };
        Summary {
            received: 9,
            done: 4,
            duplicate: 2,
            busy: 3,
            key_busy: 1,
            lost: 6,
            oldest_seconds: 12,
            backlog: true,
            measures,
            ..Summary::default()
        }
    }

    #[test]
    fn every_series_is_there_from_the_start_and_reads_as_zero() {
        let scrape = scrape(&Metrics::new(["orders"]));
        assert!(scrape.samples.len() > 40, "{}", scrape.samples.len());
        for sample in &scrape.samples {
            assert_eq!(sample.labels.get(QUEUE), Some("orders"), "{sample:?}");
            match &sample.value {
                Value::Counter(value) | Value::Gauge(value) => assert_eq!(*value, 0.0, "{sample:?}"),
                Value::Histogram(buckets) => assert!(buckets.iter().all(|bucket| bucket.count == 0.0)),
                // Sum and count of a histogram.
                Value::Untyped(value) => assert_eq!(*value, 0.0, "{sample:?}"),
                other @ Value::Summary(_) => panic!("{other:?}"),
            }
        }
        assert!(scrape.docs.len() >= 15 && scrape.docs.values().all(|help| help.ends_with('.')));
    }

    #[test]
    fn what_runs_did_reads_back_as_it_was() {
        let mut metrics = Metrics::new(["orders"]);
        metrics.ran("orders", &run());
        metrics.ran("orders", &run());
        metrics.failed("orders");
        metrics.holds("orders", 17);
        let scrape = scrape(&metrics);
        for (name, label, expected) in [
            ("messaging_client_consumed_messages_total", None, 18.0),
            ("oncebus_runs_total", Some(("result", "ok")), 2.0),
            ("oncebus_runs_total", Some(("result", "no-answer")), 1.0),
            ("oncebus_messages_total", Some(("outcome", "done")), 8.0),
            ("oncebus_duplicates_total", None, 4.0),
            ("oncebus_in_progress_conflicts_total", Some(("lock", "record")), 4.0),
            ("oncebus_in_progress_conflicts_total", Some(("lock", "key")), 2.0),
            ("oncebus_locks_acquired_total", Some(("lock", "record")), 10.0),
            ("oncebus_locks_lost_total", Some(("lock", "record")), 12.0),
            ("oncebus_takeovers_total", None, 2.0),
            ("oncebus_fence_rejections_total", None, 4.0),
            ("oncebus_retries_total", Some(("class", "execution-timeout")), 8.0),
            ("oncebus_dead_letters_total", Some(("reason", "rejected")), 2.0),
            ("oncebus_dead_letters_total", Some(("reason", "other")), 4.0),
            ("oncebus_checkpoint_writes_total", None, 6.0),
        ] {
            assert_eq!(value(&scrape, name, label), Value::Counter(expected), "{name} {label:?}");
        }
        assert_eq!(value(&scrape, "oncebus_oldest_message_age_seconds", None), Value::Gauge(12.0));
        assert_eq!(value(&scrape, "oncebus_queue_messages", None), Value::Gauge(17.0));
        let Value::Histogram(calls) = value(&scrape, "messaging_process_duration_seconds", None) else { panic!() };
        let calls: Vec<(f64, f64)> = calls.iter().map(|bucket| (bucket.less_than, bucket.count)).collect();
        assert_eq!((calls[0], calls[1], calls.len()), ((0.005, 0.0), (0.01, 2.0), 15));
        assert_eq!(calls[14], (f64::INFINITY, 2.0));
        let text = metrics.render().unwrap();
        assert!(text.contains("messaging_process_duration_seconds_sum{messaging_destination_name=\"orders\"} 0.014"));
        assert!(text.contains("oncebus_batch_messages_bucket{messaging_destination_name=\"orders\",le=\"+Inf\"} 2"));
    }

    #[test]
    fn a_run_that_left_nothing_behind_makes_nothing_old() {
        let mut metrics = Metrics::new(["orders"]);
        metrics.ran("orders", &run());
        metrics.ran("orders", &Summary { backlog: false, ..run() });
        assert_eq!(value(&scrape(&metrics), "oncebus_oldest_message_age_seconds", None), Value::Gauge(0.0));
    }

    #[test]
    fn nothing_that_a_sender_chose_is_a_label() {
        let mut metrics = Metrics::new(["orders"]);
        metrics.ran("orders", &run());
        assert!(!metrics.render().unwrap().contains("made up"));
    }
}
