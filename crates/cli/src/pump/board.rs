//! What the workers of a pump write down, and others read: sums, metrics, and how long messages waited.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oncebus_core::run::Summary;
use oncebus_core::time::Instant;
use tokio::sync::watch;

use super::metrics::Metrics;
use super::totals::Totals;

/// Shared by everything in a pump.
#[derive(Debug)]
pub(super) struct Board {
    totals: watch::Sender<Totals>,
    metrics: Mutex<Metrics>,
    waits: Mutex<BTreeMap<String, Wait>>,
}

/// How long the oldest message of a queue's last run had waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    /// In seconds; 0: the run left none.
    pub(super) seconds: u64,
    /// When the run was over.
    pub(super) seen: Instant,
}

impl Board {
    pub(super) fn new(queues: &[String]) -> Self {
        let metrics = Mutex::new(Metrics::new(queues.iter().map(String::as_str)));
        Self { totals: watch::Sender::new(Totals::default()), metrics, waits: Mutex::default() }
    }

    /// A run is over.
    pub(super) fn ran(&self, queue: &str, run: &Summary, now: Instant) {
        lock(&self.metrics).ran(queue, run);
        let mut waits = lock(&self.waits);
        if run.trouble.is_some() {
            // It did not see the end of the queue.
            waits.remove(queue);
        } else {
            let seconds = if run.backlog { run.oldest_seconds } else { 0 };
            waits.insert(queue.to_owned(), Wait { seconds, seen: now });
        }
        drop(waits);
        self.totals.send_modify(|totals| totals.add(run));
    }

    /// A run did not answer as it should.
    pub(super) fn failed(&self, queue: &str) {
        lock(&self.metrics).failed(queue);
        lock(&self.waits).remove(queue);
    }

    /// A queue holds so many messages.
    pub(super) fn holds(&self, queue: &str, messages: u64) {
        lock(&self.metrics).holds(queue, messages);
    }

    pub(super) fn wait(&self, queue: &str) -> Option<Wait> {
        lock(&self.waits).get(queue).copied()
    }

    pub(super) fn totals(&self) -> watch::Receiver<Totals> {
        self.totals.subscribe()
    }

    pub(super) fn metrics(&self) -> Result<String, prometheus::Error> {
        lock(&self.metrics).render()
    }
}

/// What is in there is sums: whole even if somebody panicked beside them.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
