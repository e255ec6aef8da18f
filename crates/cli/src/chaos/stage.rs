//! Everything that runs, from the first process to the last look.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use oncebus_core::secret::Secret;
use oncebus_core::time::Instant;
use oncebus_host::{App, Options, OutboundHook, Server, Sqlite};
use oncebus_runtime::platform::native::Native;
use oncebus_runtime::platform::{Clock as _, Entropy as _, Transport as _};
use tokio::task::JoinSet;

use super::emulator::Emulator;
use super::evidence;
use super::hook::{Interference, Times};
use super::journal::Noted;
use super::queues::{CONFIG, Queue};
use super::schedule::{Amounts, Schedule};
use super::verdict::{Outcome, judge};
use super::workload::{self, Message};
use crate::secrets;
use crate::up::{Document, Secrets, Services, Variables};

/// The container of the records.
pub(super) const CONTAINER: &str = "oncebus";
/// How long a run lasts, in seconds.
const RUN: u64 = 6;
const TIMES: Times = Times {
    // ttl, two margins, and 2 s for the resolution of server times.
    pause: Duration::from_secs(12),
    // ttl and margin, less the 1 s that a server's time is too early at most.
    fresh: Duration::from_secs(7),
    at_work: Duration::from_secs(RUN + 12 + 15),
};
/// Between two looks at how far things are.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Between two ticks by which a machine that stands still is noticed.
const TICK: Duration = Duration::from_millis(100);
/// A tick so late means that the machine stood still: claims may have run out on their own.
const STALL: Duration = Duration::from_secs(1);

/// What is to be played.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) amounts: Amounts,
    /// Messages to be rejected, in 10,000.
    pub(super) rejects: u32,
    pub(super) workers: u32,
    pub(super) patience: Duration,
    pub(super) manifest: PathBuf,
    pub(super) processor: PathBuf,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) outcome: Outcome,
    pub(super) noted: Noted,
    pub(super) workers: u32,
}

/// Everything that runs.
pub(super) struct Stage {
    platform: Native,
    hook: Arc<Interference>,
    // In the order in which dropping ends them.
    server: Server,
    app: App,
    emulator: Emulator,
    run_token: Secret,
    seed: u64,
    folder: PathBuf,
}

impl Stage {
    /// Starts the emulator and the app.
    pub(super) async fn set(platform: &Native, plan: &Plan) -> anyhow::Result<Self> {
        ensure!(
            plan.processor.exists(),
            "there is no processor at {}: run scripts/build, or give --processor",
            plan.processor.display()
        );
        let folder = std::env::temp_dir().join(format!("oncebus-chaos-{:016x}", platform.draw()));
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let document = Document::parse(CONFIG, true)?;
        let queue = document.config.queue(Queue::Plain.name()).context("the configuration has no queue")?;
        let (lock, deliveries) = (queue.lock_duration.as_secs().to_string(), queue.max_delivery_count.to_string());
        let names = Queue::ALL.map(|queue| [queue.name().to_owned(), queue.poison()]).concat();
        let mut arguments =
            vec!["--container", CONTAINER, "--lock-seconds", &lock, "--max-delivery-count", &deliveries];
        arguments.extend(names.iter().flat_map(|name| ["--queue", name]));
        let emulator = Emulator::start(&folder.join("emulator.db"), &arguments).await?;
        emulator.lose_locks(platform, plan.seed).await?;

        let (bus, storage) = emulator.connections()?;
        let services = Services { send: bus.clone(), listen: bus, storage };
        let run_token = secrets::random(platform);
        let app_secrets = Secrets { run_token: run_token.clone(), webhooks: BTreeMap::new(), access: None };
        let variables = Variables::new(&document, "http://127.0.0.1", &services, &app_secrets, platform.wall());
        let schedule = Schedule::new(plan.seed, plan.amounts);
        let hook = Arc::new(Interference::new(platform.clone(), schedule, TIMES));
        let outbound: Arc<dyn OutboundHook> = hook.clone();
        let options = Options {
            variables: variables.expose().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            sqlite: Sqlite::File(folder.join("store.db")),
            outbound: Some(outbound),
            log: evidence::log(&folder.join("components.log"))?,
            overrides: [("queue-handler/oncebus:processor/process@0.1.0".to_owned(), plan.processor.clone())].into(),
        };
        let app = App::load(&plan.manifest, options).await?;
        hook.watch(app.database().context("the app has no database")?);
        let server = app.serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        Ok(Self { platform: platform.clone(), hook, server, app, emulator, run_token, seed: plan.seed, folder })
    }

    /// Where everything is kept.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sends, works, breaks, waits until all is settled, and judges.
    pub(super) async fn play(mut self, plan: &Plan) -> anyhow::Result<Played> {
        let messages = workload::messages(plan.seed, plan.amounts.messages, plan.amounts.forgetful, plan.rejects);
        let start = self.platform.now();
        let deadline = start.plus(plan.patience);
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = self.workers(plan.workers, &stop)?;
        workers.spawn(notice_stalls(self.platform.clone(), Arc::clone(&self.hook), Arc::clone(&stop)));

        let hook = Arc::clone(&self.hook);
        let (platform, url) = (self.platform.clone(), self.server.url().to_owned());
        let sent = Cell::new(false);
        let sending = async {
            let result = workload::send(&messages, hook.schedule(), &platform, &url, deadline).await;
            sent.set(true);
            result
        };
        let ((accepted, sends_repeated), restarts) =
            tokio::try_join!(sending, self.settle(&messages, &sent, hook.schedule(), deadline))?;
        let seconds = self.platform.now().since(start).as_secs();

        stop.store(true, Ordering::Relaxed);
        while workers.join_next().await.is_some() {}
        self.server.shutdown().await;
        let noted = self.hook.finish();
        let mut found = evidence::gather(&self.emulator, &self.platform, &self.app).await?;
        let accepted = messages.into_iter().filter(|message| accepted.contains(&message.id));
        found.accepted = accepted.map(|message| (message.id.clone(), message)).collect();
        let outcome = judge(&found, &noted);
        let outcome = Outcome { kills: outcome.kills + restarts, sends_repeated, seconds, seed: plan.seed, ..outcome };
        Ok(Played { outcome, noted, workers: plan.workers })
    }

    /// Kills the emulator when its time has come; returns when all is settled or the time is up, with the number of restarts.
    async fn settle(
        &mut self,
        messages: &[Message],
        sent: &Cell<bool>,
        schedule: &Schedule,
        deadline: Instant,
    ) -> anyhow::Result<u64> {
        let to_store = messages.iter().filter(|message| !message.rejected).count();
        let mut restarts = schedule.restarts.iter().map(|after| usize::try_from(*after)).peekable();
        let mut done = 0;
        while self.platform.now() < deadline {
            let stored = evidence::stored(&self.app).len();
            if restarts.next_if(|after| after.as_ref().is_ok_and(|after| *after <= stored)).is_some() {
                self.hook.stood_still();
                self.emulator.kill_and_start().await?;
                self.emulator.lose_locks(&self.platform, self.seed).await?;
                self.hook.stood_still();
                done += 1;
            }
            if sent.get() && stored >= to_store && evidence::left_in_queues(&self.emulator, &self.platform).await? == 0
            {
                break;
            }
            self.platform.sleep(LOOK_AGAIN).await;
        }
        Ok(done)
    }

    /// Workers, so many for each queue: each asks for one run after the other.
    fn workers(&self, count: u32, stop: &Arc<AtomicBool>) -> anyhow::Result<JoinSet<()>> {
        let bearer = format!("Bearer {}", self.run_token.expose());
        let mut workers = JoinSet::new();
        for queue in Queue::ALL {
            let url = format!("{}/internal/queues/{}/run?seconds={RUN}", self.server.url(), queue.name());
            let request = Request::post(url).header(header::AUTHORIZATION, &bearer).body(Bytes::new())?;
            for _ in 0..count {
                workers.spawn(work(self.platform.clone(), request.clone(), Arc::clone(stop)));
            }
        }
        Ok(workers)
    }
}

/// Asks for one run after the other.
async fn work(platform: Native, request: Request<Bytes>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let answer = platform.send(request.clone(), TIMES.at_work).await;
        // It died, or found a service down.
        if !answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
            platform.sleep(LOOK_AGAIN).await;
        }
    }
}

/// A machine that stands still pauses everybody.
async fn notice_stalls(platform: Native, hook: Arc<Interference>, stop: Arc<AtomicBool>) {
    let mut last = platform.now();
    while !stop.load(Ordering::Relaxed) {
        platform.sleep(TICK).await;
        let now = platform.now();
        if now.since(last) > STALL {
            hook.stood_still();
        }
        last = now;
    }
}
