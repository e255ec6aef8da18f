//! The pump: keeps runs of each queue going.
//!
//! No Service Bus trigger exists for Spin, so somebody must ask the queue handler to run, again and again. A [`Pump`] has a
//! number of workers per queue; each asks for a run (`POST {app}/internal/queues/{queue}/run`), reads its summary, and
//! asks for the next: at once after a run that had messages or that waited for them until its end, after a pause
//! ([`backoff`]) when the run came back early and empty, failed, or met trouble. The lanes of a priority group share the workers of their queues
//! ([`lanes`]). An outage is said once, and its end once ([`outage`]).
//!
//! What runs did is summed up ([`board`]): in [`Totals`], as [`metrics`] at an [`endpoint`], and as the [`backlog`] that some routes go by.
//!
//! Promises: [`Pump::stop`] begins no new run and waits for those under way; what a run did is in [`Totals`] before it
//! counts as over. Several pumps may work on one queue: the records keep them apart.
//!
//! Not for: deciding anything about messages. All state is in the broker and in the records; a pump may die at any time.

mod backlog;
mod backoff;
mod board;
mod command;
mod endpoint;
mod lanes;
mod metrics;
mod outage;
mod request;
mod totals;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
pub(crate) use backlog::Watch;
use board::Board;
pub(crate) use command::{Args, run};
use endpoint::Endpoint;
use futures::stream::{FuturesUnordered, StreamExt as _};
use lanes::{Ended, Lanes};
use oncebus_core::config::Config;
use oncebus_core::ingest::routing::Strategy;
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
    /// The groups of lanes among them ([`lanes_of`]).
    pub(crate) lanes: Vec<LaneGroup>,
    /// How many runs to keep going for each queue.
    pub(crate) runs: usize,
    /// How long each run lasts.
    pub(crate) length: Duration,
    /// The most messages per call of the processor; `None` is the queue's own setting.
    pub(crate) batch: Option<u64>,
    /// Where to answer `GET /metrics`, if anywhere.
    pub(crate) metrics: Option<SocketAddr>,
    /// The backlog to write down, if some route goes by it.
    pub(crate) watch: Option<Watch>,
}

/// Queues that share their runs by weight, the highest lane first.
pub(crate) type LaneGroup = Vec<(String, u32)>;

/// The groups of lanes of a configuration, as far as they are among these queues.
pub(crate) fn lanes_of(config: &Config, queues: &[String]) -> Vec<LaneGroup> {
    let groups = config.routing.all_groups().filter(|group| matches!(group.strategy, Strategy::Priority(_)));
    let lanes = groups.map(|group| {
        let lanes = group.queues.iter().filter(|lane| queues.contains(&lane.queue));
        lanes.map(|lane| (lane.queue.clone(), lane.weight)).collect::<LaneGroup>()
    });
    lanes.filter(|lanes| lanes.len() > 1).collect()
}

/// A running pump. Dropping it abandons the runs under way (the app finishes them by itself); [`Pump::stop`] waits.
#[derive(Debug)]
pub(crate) struct Pump {
    stop: watch::Sender<bool>,
    workers: JoinSet<()>,
    /// What goes on as long as there are workers.
    beside: JoinSet<()>,
    board: Arc<Board>,
    metrics: Option<SocketAddr>,
}

impl Pump {
    /// Starts all workers.
    ///
    /// # Errors
    /// When no HTTP client can be made, or nobody can listen where metrics are wanted.
    pub(crate) fn start(options: &Options) -> anyhow::Result<Self> {
        let platform = Native::new().context("cannot set up HTTP")?;
        let (stop, stopping) = watch::channel(false);
        let board = Arc::new(Board::new(&options.queues));
        let (mut workers, mut beside) = (JoinSet::new(), JoinSet::new());
        let runner = |queue: &str| -> anyhow::Result<Arc<Runner>> {
            Ok(Arc::new(Runner {
                platform: platform.clone(),
                queue: queue.to_owned(),
                run: RunUrl::new(options, queue)?,
                length: options.length,
                outage: Mutex::default(),
                board: Arc::clone(&board),
            }))
        };
        let in_lanes: BTreeSet<&String> = options.lanes.iter().flatten().map(|(queue, _)| queue).collect();
        for queue in options.queues.iter().filter(|queue| !in_lanes.contains(queue)) {
            let runner = runner(queue)?;
            for _ in 0..options.runs {
                workers.spawn(work(Arc::clone(&runner), stopping.clone()));
            }
        }
        for group in &options.lanes {
            let runners = group.iter().map(|(queue, _)| runner(queue)).collect::<Result<Vec<_>, _>>()?;
            let weights = group.iter().map(|(_, weight)| *weight);
            let lanes = Lanes::new(weights, options.runs.saturating_mul(group.len()), options.length);
            workers.spawn(work_lanes(lanes, runners, platform.clone(), stopping.clone()));
        }
        let endpoint = options.metrics.map(Endpoint::listen).transpose()?;
        let metrics = endpoint.as_ref().map(|endpoint| endpoint.address);
        if let Some(endpoint) = endpoint {
            beside.spawn(endpoint.serve(Arc::clone(&board)));
        }
        if let Some(watch) = options.watch.clone() {
            beside.spawn(watch.keep(platform, Arc::clone(&board)));
        }
        Ok(Self { stop, workers, beside, board, metrics })
    }

    /// What all finished runs did so far, kept current.
    pub(crate) fn totals(&self) -> watch::Receiver<Totals> {
        self.board.totals()
    }

    /// Where metrics are.
    pub(crate) fn metrics_url(&self) -> Option<String> {
        self.metrics.map(|address| format!("http://{address}/metrics"))
    }

    /// Begins no new run, waits for those under way, and says what all of them did.
    pub(crate) async fn stop(mut self) -> Totals {
        self.stop.send_replace(true);
        while self.workers.join_next().await.is_some() {}
        self.beside.shutdown().await;
        self.board.totals().borrow().clone()
    }
}

/// Keeps one run of a queue going.
async fn work(runner: Arc<Runner>, mut stopping: watch::Receiver<bool>) {
    let mut in_vain = 0;
    while !*stopping.borrow() {
        in_vain = match runner.run().await.next {
            Next::AtOnce => 0,
            Next::Pause => in_vain + 1,
        };
        if in_vain > 0 {
            let pause = backoff::pause(in_vain, runner.platform.draw());
            tokio::select! {
                () = runner.platform.sleep(pause) => {}
                // Closed means that the pump is gone: the loop's condition cannot change any more.
                changed = stopping.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Keeps the runs of a group of lanes going.
async fn work_lanes(
    mut lanes: Lanes,
    runners: Vec<Arc<Runner>>,
    platform: Native,
    mut stopping: watch::Receiver<bool>,
) {
    let mut runs = FuturesUnordered::new();
    loop {
        let stop = *stopping.borrow();
        while let Some(turn) = (!stop).then(|| lanes.next(platform.now())).flatten() {
            let Some(runner) = runners.get(turn.lane).cloned() else { return };
            runs.push(async move { (turn, runner.run().await) });
        }
        if stop && runs.is_empty() {
            return;
        }
        let pause = lanes.next_wake().filter(|_| !stop).map(|wake| platform.now().until(wake));
        tokio::select! {
            Some((turn, ended)) = runs.next() => lanes.ended(turn, ended, platform.draw(), platform.now()),
            () = platform.sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            // Closed means that the pump is gone.
            changed = stopping.changed(), if !stop => if changed.is_err() { return },
            else => return,
        }
    }
}

/// Asks for runs of one queue, and writes down what comes of them.
#[derive(Debug)]
struct Runner {
    platform: Native,
    queue: String,
    run: RunUrl,
    length: Duration,
    outage: Mutex<Outage>,
    board: Arc<Board>,
}

impl Runner {
    /// One run.
    async fn run(&self) -> Ended {
        let began = self.platform.now();
        let answer = self.run.ask(&self.platform).await;
        let now = self.platform.now();
        let took = now.since(began);
        self.report(began, &answer);
        match answer {
            Ok(summary) => {
                self.board.ran(&self.queue, &summary, now);
                Ended { took, worked: summary.received > 0, next: Next::after(&summary, took, self.length) }
            }
            Err(_) => {
                self.board.failed(&self.queue);
                Ended { took, worked: false, next: Next::Pause }
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
    fn lanes_are_the_queues_of_priority_groups_that_are_pumped() {
        let document = "
            [queues]
            a = { group = 'g' }
            b = { group = 'g' }
            c = { group = 'g' }
            [[routes]]
            queues = ['a', 'b', 'c']
            strategy = 'priority'
            priority_header = 'p'
            priorities = ['1', '2', '3']
        ";
        let config = Config::parse(document).unwrap();
        let lanes =
            |queues: &[&str]| lanes_of(&config, &queues.iter().map(|queue| (*queue).to_owned()).collect::<Vec<_>>());
        let all: LaneGroup = vec![("a".to_owned(), 4), ("b".to_owned(), 2), ("c".to_owned(), 1)];
        assert_eq!(lanes(&["c", "b", "a"]), std::slice::from_ref(&all));
        assert_eq!(lanes(&["a", "c"]), [vec![all[0].clone(), all[2].clone()]]);
        assert!(lanes(&["c"]).is_empty(), "there is nobody to share with");
    }

    #[test]
    fn the_batch_is_left_to_the_queue_unless_it_is_given() {
        let mut options = Options {
            app_url: "http://h/".to_owned(),
            token: Secret::new("t"),
            queues: Vec::new(),
            lanes: Vec::new(),
            runs: 1,
            length: LENGTH,
            batch: None,
            metrics: None,
            watch: None,
        };
        assert_eq!(run_path(&options, "q"), "http://h/internal/queues/q/run?seconds=20");
        options.batch = Some(8);
        assert_eq!(run_path(&options, "q"), "http://h/internal/queues/q/run?batch=8&seconds=20");
    }
}
