//! The pump: keeps runs of each queue going.
//!
//! No Service Bus trigger exists for Spin, so somebody must ask the queue handler to run, again and again. A [`Pump`] has a
//! number of workers per queue; each asks for a run (`POST {app}/internal/queues/{queue}/run`), reads its summary, and
//! asks for the next: at once after a run that had messages or that waited for them until its end, after a pause
//! ([`backoff`]) when the run came back early and empty, failed, or met trouble. An outage is said once, and its
//! end once ([`outage`]).
//!
//! Promises: [`Pump::stop`] begins no new run and waits for those under way; what a run did is in [`Totals`] before it
//! counts as over. Several pumps may work on one queue: the records keep them apart.
//!
//! Not for: deciding anything about messages. All state is in the broker and in the records; a pump may die at any time.

mod backoff;
mod command;
mod outage;
mod request;
mod totals;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
pub(crate) use command::{Args, run};
use oncebus_core::run::Summary;
use oncebus_core::secret::Secret;
use oncebus_core::time::Instant;
use oncebus_runtime::platform::native::Native;
use oncebus_runtime::platform::{Clock as _, Entropy as _};
use outage::{Outage, Word};
use request::{Failure, RunUrl};
use tokio::sync::watch;
use tokio::task::JoinSet;
pub(crate) use totals::Totals;

/// What a pump works on.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where the app is, without a trailing slash.
    pub(crate) app_url: String,
    /// The bearer secret of its run endpoint.
    pub(crate) token: Secret,
    /// The queues.
    pub(crate) queues: Vec<String>,
    /// How many runs to keep going for each queue.
    pub(crate) runs: usize,
    /// How long each run lasts.
    pub(crate) length: Duration,
    /// The most messages per call of the processor; `None` is the queue's own setting.
    pub(crate) batch: Option<u64>,
}

/// A running pump. Dropping it abandons the runs under way (the app finishes them by itself); [`Pump::stop`] waits.
#[derive(Debug)]
pub(crate) struct Pump {
    stop: watch::Sender<bool>,
    workers: JoinSet<()>,
    totals: watch::Receiver<Totals>,
}

impl Pump {
    /// Starts all workers.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn start(options: &Options) -> anyhow::Result<Self> {
        let platform = Native::new().context("cannot set up HTTP")?;
        let (stop, stopping) = watch::channel(false);
        let (totals, sum) = watch::channel(Totals::default());
        let totals = Arc::new(totals);
        let mut workers = JoinSet::new();
        for queue in &options.queues {
            let outage = Arc::new(Mutex::new(Outage::default()));
            for _ in 0..options.runs {
                let worker = Worker {
                    platform: platform.clone(),
                    queue: queue.clone(),
                    run: RunUrl::new(options, queue)?,
                    length: options.length,
                    outage: Arc::clone(&outage),
                    totals: Arc::clone(&totals),
                };
                workers.spawn(worker.work(stopping.clone()));
            }
        }
        Ok(Self { stop, workers, totals: sum })
    }

    /// What all finished runs did so far, kept current.
    pub(crate) fn totals(&self) -> watch::Receiver<Totals> {
        self.totals.clone()
    }

    /// Begins no new run, waits for those under way, and says what all of them did.
    pub(crate) async fn stop(mut self) -> Totals {
        self.stop.send_replace(true);
        while self.workers.join_next().await.is_some() {}
        self.totals.borrow().clone()
    }
}

/// Keeps one run going.
struct Worker {
    platform: Native,
    queue: String,
    run: RunUrl,
    length: Duration,
    /// Shared by the workers of a queue.
    outage: Arc<Mutex<Outage>>,
    totals: Arc<watch::Sender<Totals>>,
}

impl Worker {
    async fn work(self, mut stopping: watch::Receiver<bool>) {
        let mut in_vain = 0;
        while !*stopping.borrow() {
            let began = self.platform.now();
            let answer = self.run.ask(&self.platform).await;
            let took = self.platform.now().since(began);
            self.report(began, &answer);
            let next = answer.as_ref().map_or(Next::Pause, |summary| Next::after(summary, took, self.length));
            if let Ok(summary) = answer {
                self.totals.send_modify(|totals| totals.add(&summary));
            }
            in_vain = match next {
                Next::AtOnce => 0,
                Next::Pause => in_vain + 1,
            };
            if in_vain > 0 {
                let pause = backoff::pause(in_vain, self.platform.draw());
                tokio::select! {
                    () = self.platform.sleep(pause) => {}
                    // Closed means that the pump is gone: the loop's condition cannot change any more.
                    changed = stopping.changed() => if changed.is_err() { return },
                }
            }
        }
    }

    /// Into the log goes what a person should know.
    fn report(&self, began: Instant, answer: &Result<Summary, Failure>) {
        let queue = self.queue.as_str();
        let failure = match answer {
            Ok(summary) => {
                for sentence in &summary.active_locks {
                    tracing::info!(queue, "{sentence}");
                }
                summary.trouble.as_ref().map(Failure::from)
            }
            Err(failure) => Some(failure.clone()),
        };
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let word = match &failure {
            Some(failure) => outage.failed(failure.class(), self.platform.now()),
            None => outage.worked(began),
        };
        match (word, failure) {
            (Word::Begins, Some(failure)) => tracing::warn!(queue, "{failure}; trying again with growing pauses"),
            (Word::Ends, _) => tracing::warn!(queue, "runs work again"),
            _ => {}
        }
    }
}

/// What follows a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    AtOnce,
    Pause,
}

impl Next {
    /// A run with messages is followed at once by the next, and so is one that waited for messages: the waiting was the
    /// pause. One that came back early and empty would be asked for again in a hot loop.
    fn after(summary: &Summary, took: Duration, length: Duration) -> Self {
        let waited = took >= length / 2;
        if summary.trouble.is_none() && (summary.received > 0 || waited) { Self::AtOnce } else { Self::Pause }
    }
}

/// A queue's name becomes part of a path as it is: the configuration allows no name that needs escaping.
fn run_path(options: &Options, queue: &str) -> String {
    let mut query = BTreeMap::from([("seconds", options.length.as_secs().max(1))]);
    query.extend(options.batch.map(|batch| ("batch", batch)));
    let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}/internal/queues/{queue}/run?{}", options.app_url.trim_end_matches('/'), query.join("&"))
}

#[cfg(test)]
mod tests {
    use oncebus_core::run::{TroubleKind, TroubleReport};

    use super::*;

    const LENGTH: Duration = Duration::from_secs(20);

    #[test]
    fn only_a_run_that_was_early_and_empty_or_in_trouble_is_followed_by_a_pause() {
        let idle = Summary::default();
        let busy = Summary { received: 1, ..Summary::default() };
        let detail = String::new();
        let trouble = TroubleReport { kind: TroubleKind::Unavailable, service: "storage".to_owned(), detail };
        let troubled = Summary { trouble: Some(trouble), ..busy.clone() };
        let early = Duration::from_secs(1);
        assert_eq!(Next::after(&idle, early, LENGTH), Next::Pause);
        assert_eq!(Next::after(&idle, LENGTH, LENGTH), Next::AtOnce);
        assert_eq!(Next::after(&busy, early, LENGTH), Next::AtOnce);
        assert_eq!(Next::after(&troubled, LENGTH, LENGTH), Next::Pause);
    }

    #[test]
    fn the_batch_is_left_to_the_queue_unless_it_is_given() {
        let mut options = Options {
            app_url: "http://h/".to_owned(),
            token: Secret::new("t"),
            queues: Vec::new(),
            runs: 1,
            length: LENGTH,
            batch: None,
        };
        assert_eq!(run_path(&options, "q"), "http://h/internal/queues/q/run?seconds=20");
        options.batch = Some(8);
        assert_eq!(run_path(&options, "q"), "http://h/internal/queues/q/run?batch=8&seconds=20");
    }
}
