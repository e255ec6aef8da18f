//! The same stories with the lock that tutorials show and with a record, side by side. The counts are those of
//! `docs/COMPARISON.md`, which must say what is counted here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use oncebus_azure::connection::ServiceBusConnection;
use oncebus_core::config::{Config, QueueConfig};
use oncebus_core::message::{Outgoing, property};
use oncebus_core::record::finding::Finding;
use oncebus_core::run::{Run, Step, Work};
use oncebus_emulator::{Emulator, Fault, Options, QueueOptions, Service};
use oncebus_locks::naive::{Look, NaiveLock};
use oncebus_locks::ours::{Attempt, Worker};
use oncebus_locks::place::Place;
use oncebus_runtime::broker::Broker;
use oncebus_runtime::handler::{self, Services};
use oncebus_runtime::platform::{Clock as _, Entropy as _};

const TTL: Duration = Duration::from_secs(45);
const MARGIN: Duration = Duration::from_secs(5);
/// What the tutorial's lock counts as forgotten.
const TIMEOUT_MINUTES: u32 = 5;
/// Any minute of a day.
const NOON: u32 = 12 * 60;

struct Scene {
    emulator: Emulator,
    place: Place,
}

impl Scene {
    async fn set() -> Self {
        let emulator = Emulator::start(Options::default()).await.unwrap();
        let place = Place::new(&emulator.storage_connection_string()).await;
        Self { emulator, place }
    }

    fn naive(&self, name: &str) -> NaiveLock<'_> {
        NaiveLock::new(&self.place, name, TIMEOUT_MINUTES)
    }

    fn worker(&self) -> Worker<'_> {
        Worker::new(&self.place, TTL, MARGIN)
    }

    /// Past every claim.
    fn let_claims_expire(&self) {
        self.emulator.admin().advance_storage_clock(TTL + MARGIN + Duration::from_secs(2));
    }
}

/// A whole handler: core's machine and the runtime, against a queue and a container of its own.
struct Handler {
    emulator: Emulator,
    place: Place,
    service_bus: ServiceBusConnection,
    queue: QueueConfig,
}

impl Handler {
    async fn set(settings: &str) -> Self {
        let queues = vec!["q".into(), "q.poison".into()];
        let emulator = Emulator::start(Options { queues, ..Options::default() }).await.unwrap();
        let place = Place::new(&emulator.storage_connection_string()).await;
        let service_bus = ServiceBusConnection::parse(&emulator.service_bus_connection_string()).unwrap();
        let queue = Config::parse(&format!("[queues.q]\n{settings}")).unwrap().queue("q").unwrap().clone();
        Self { emulator, place, service_bus, queue }
    }

    /// So many messages of one id.
    async fn send(&self, times: usize) {
        let broker = Broker::new(&self.place.platform, &self.service_bus);
        for n in 0..times {
            let message = Outgoing {
                message_id: Some(format!("m-{n}")),
                body: Bytes::from_static(b"{}"),
                properties: [(property::ID, "m")].into_iter().collect(),
                ..Outgoing::default()
            };
            broker.send("q", &message, self.place.deadline(), true).await.0.unwrap();
        }
    }

    /// One run; how often the processor was given the message, and always answered the same.
    async fn run(&self, step: Step) -> usize {
        let platform = &self.place.platform;
        let services = Services {
            platform,
            listen: Broker::new(platform, &self.service_bus),
            send: Broker::new(platform, &self.service_bus),
            records: self.place.records(),
            queue: "q".to_owned(),
        };
        let random = (u128::from(platform.draw()) << 64) | u128::from(platform.draw());
        let run = Run::new(self.queue.clone(), 32, Duration::from_secs(3), platform.now(), random);
        let mut given = 0;
        let process = |_: &str, batch: Vec<Work>| {
            given += batch.len();
            batch.iter().map(|_| step.clone()).collect()
        };
        handler::run(&services, run, process, |_| ()).await;
        given
    }
}

/// A story's counts: with the tutorial's lock, and with a record.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    story: &'static str,
    counted: &'static str,
    naive: usize,
    ours: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_what_is_counted() {
    let rows = [
        contenders().await,
        slow_owner().await,
        crash_after_work().await,
        crash_before_anything_is_written().await,
        failing_work().await,
        across_the_hour().await,
        longer_than_the_peek_lock().await,
    ];
    let mut table = String::from("| story | counted | tutorial | record |\n| --- | --- | ---: | ---: |\n");
    for Row { story, counted, naive, ours } in &rows {
        table.push_str(&format!("| {story} | {counted} | {naive} | {ours} |\n"));
    }
    let page = include_str!("../../../docs/COMPARISON.md");
    assert!(page.contains(&table), "docs/COMPARISON.md must contain this table:\n{table}");
}

/// The owner is dead, and 16 workers find its lock expired at the same moment.
async fn contenders() -> Row {
    let scene = Scene::set().await;
    let lock = scene.naive("a");
    lock.take(NOON).await;
    let looks = join_all((0..16).map(|_| lock.look(NOON + TIMEOUT_MINUTES + 1))).await;
    let free: Vec<_> = looks.into_iter().filter(|look| *look == Look::Free).collect();
    join_all(free.iter().map(|_| lock.take(NOON + TIMEOUT_MINUTES + 1))).await;

    scene.worker().create("b").await.won().unwrap();
    scene.let_claims_expire();
    let mut workers: Vec<_> = (0..16).map(|_| scene.worker()).collect();
    let seen = join_all(workers.iter().map(|worker| worker.look("b"))).await;
    let attempts = workers.iter_mut().zip(&seen).map(|(worker, seen)| worker.take_over("b", seen));
    let won = join_all(attempts).await.into_iter().filter_map(Attempt::won).count();
    Row { story: "16 workers find an expired lock at once", counted: "owners", naive: free.len(), ours: won }
}

/// The owner sleeps past its time; another takes over; the sleeper wakes and lets go; a third comes.
async fn slow_owner() -> Row {
    let scene = Scene::set().await;
    let later = NOON + TIMEOUT_MINUTES + 1;
    let lock = scene.naive("a");
    let mut at_work = 0;
    assert!(lock.acquire(NOON).await);
    at_work += usize::from(lock.acquire(later).await);
    lock.release().await;
    at_work += usize::from(lock.acquire(later).await);

    let (mut sleeper, mut second, mut third) = (scene.worker(), scene.worker(), scene.worker());
    let slept = sleeper.create("b").await.won().unwrap();
    scene.let_claims_expire();
    let mut ours = usize::from(second.claim("b").await.won().is_some());
    assert!(sleeper.release(&slept).await.is_none(), "what it wrote is not there any more");
    let attempt = third.claim("b").await;
    assert!(matches!(attempt, Attempt::Found(Finding::Busy { .. })), "{attempt:?}");
    ours += usize::from(attempt.won().is_some());
    Row { story: "a slow owner lets go of another's lock", counted: "owners at work at once", naive: at_work, ours }
}

/// The work is done and written down; the worker dies before it settles the message, which is delivered again.
async fn crash_after_work() -> Row {
    let scene = Scene::set().await;
    let lock = scene.naive("a");
    let mut naive = 0;
    for _delivery in 0..2 {
        if lock.acquire(NOON).await {
            naive += 1;
            lock.release().await;
        }
    }

    // No completion reaches the broker: as far as it knows, the worker died before. The lock lapses, and it delivers again.
    let handler = Handler::set("max_attempts = 5").await;
    handler.send(1).await;
    let admin = handler.emulator.admin();
    admin.add_fault(Fault { drop_before: true, ..Fault::on(Service::ServiceBus, "complete") });
    let before = handler.run(Step::Done(None)).await;
    assert_eq!((before, admin.messages("q").len()), (1, 1));
    admin.clear_faults();
    admin.advance_clock(Duration::from_secs(61));
    let again = handler.run(Step::Done(None)).await;
    assert_eq!(admin.messages("q").len(), 0);
    Row {
        story: "crash after the work, before the message is settled",
        counted: "times the work is done",
        naive,
        ours: before + again,
    }
}

/// The worker dies with the work done and nothing written. Nobody can know; a record tells the store by its epoch.
async fn crash_before_anything_is_written() -> Row {
    let scene = Scene::set().await;
    let lock = scene.naive("a");
    // The tutorial's lock has no number: both attempts look the same to the store.
    let epochs = [lock.acquire(NOON).await, lock.acquire(NOON + TIMEOUT_MINUTES + 1).await].map(u64::from);
    let naive = epochs.iter().collect::<std::collections::BTreeSet<_>>().len();

    let first = scene.worker().create("b").await.won().unwrap();
    scene.let_claims_expire();
    let second = scene.worker().claim("b").await.won().unwrap();
    let ours = [first.record.epoch, second.record.epoch];
    assert!(ours.is_sorted());
    let ours = ours.iter().collect::<std::collections::BTreeSet<_>>().len();
    Row {
        story: "crash after the work, before anything is written down: the work is done again",
        counted: "attempts that a store can tell apart",
        naive,
        ours,
    }
}

/// Work that always fails, delivered nine times, at five attempts at most.
async fn failing_work() -> Row {
    let scene = Scene::set().await;
    let lock = scene.naive("a");
    let mut naive = 0;
    for _delivery in 0..9 {
        if lock.acquire(NOON).await {
            naive += 1;
            lock.release().await;
        }
    }

    // Nine messages of one id, beside the copies that each failure makes: more deliveries than attempts.
    let handler = Handler::set("max_attempts = 5").await;
    handler.send(9).await;
    let fails = Step::Retry { reason: "it always does".to_owned(), after: Some(Duration::ZERO) };
    let mut ours = 0;
    while !handler.emulator.admin().messages("q").is_empty() {
        ours += handler.run(fails.clone()).await;
    }
    assert_eq!(handler.emulator.admin().messages("q.poison").len(), 1, "given up once");
    Row { story: "work that always fails, with 5 attempts allowed", counted: "attempts in 9 deliveries", naive, ours }
}

/// The owner dies at 10:58. A delivery comes every ten minutes for a day.
async fn across_the_hour() -> Row {
    let scene = Scene::set().await;
    let lock = scene.naive("a");
    let taken = 10 * 60 + 58;
    lock.take(taken).await;
    let mut naive = 0;
    for delivery in 1..=144 {
        naive += usize::from(lock.look(taken + 10 * delivery).await == Look::Taken);
    }

    scene.worker().create("b").await.won().unwrap();
    let mut ours = 0;
    for _delivery in 1..=144 {
        scene.emulator.admin().advance_storage_clock(Duration::from_secs(600));
        let worker = scene.worker();
        ours += usize::from(matches!(worker.examine(&worker.look("b").await), Finding::Busy { .. }));
    }
    Row { story: "an owner dies at two minutes to the hour", counted: "deliveries turned away in a day", naive, ours }
}

/// The lock lasts five minutes, the peek-lock one. The owner dies; the broker gives up after `MaxDeliveryCount`.
async fn longer_than_the_peek_lock() -> Row {
    let mut lost = [0; 2];
    for (with_record, lost) in [false, true].into_iter().zip(&mut lost) {
        let queue = QueueOptions { name: "q".into(), max_delivery_count: 4, ..QueueOptions::default() };
        let emulator = Emulator::start(Options { queues: vec![queue], ..Options::default() }).await.unwrap();
        let place = Place::new(&emulator.storage_connection_string()).await;
        let connection = ServiceBusConnection::parse(&emulator.service_bus_connection_string()).unwrap();
        let broker = Broker::new(&place.platform, &connection);
        let message = Outgoing { message_id: Some("m".into()), body: Bytes::from_static(b"{}"), ..Outgoing::default() };
        broker.send("q", &message, place.deadline(), true).await.0.unwrap();

        let lock = NaiveLock::new(&place, "a", TIMEOUT_MINUTES);
        for delivery in 0..4 {
            let Some(received) = broker.peek_lock("q", 0, place.deadline()).await.0.unwrap() else { break };
            // The first owner dies with the lock; each later delivery comes when its peek-lock has run out.
            let free = match (delivery, with_record) {
                (0, false) => !lock.acquire(NOON).await,
                (0, true) => Worker::new(&place, TTL, MARGIN).create("b").await.won().is_none(),
                (_, false) => lock.acquire(NOON + delivery).await,
                (_, true) => Worker::new(&place, TTL, MARGIN).claim("b").await.won().is_some(),
            };
            if free {
                broker.complete("q", &received.lock, place.deadline()).await.0.unwrap();
            }
            emulator.admin().advance_clock(Duration::from_secs(61));
        }
        *lost = emulator.admin().messages("q/$DeadLetterQueue").len();
    }
    let refused = Config::parse("[queues.q]\nlock_duration_seconds = 60\nclaim_ttl_seconds = 285\n").unwrap_err();
    assert!(refused.to_string().contains("must fit into lock_duration_seconds (60)"), "{refused}");
    let [naive, ours] = lost;
    Row {
        story: "a lock of 5 minutes under a peek-lock of 1 minute, and the owner dies",
        counted: "messages dead-lettered without an effect",
        naive,
        ours,
    }
}
