//! The commands against the emulator, and the real handler for what they send back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::Duration;

use clap::Parser;
use futures::{StreamExt as _, stream};
use oncebus_azure::connection::StorageConnection;
use oncebus_core::id::{Mark, payload_hash, record_name};
use oncebus_core::message::{Outgoing, Properties, property};
use oncebus_core::record::{Author, Record, Release};
use oncebus_core::run::{Run, Step};
use oncebus_emulator::{AccessRule, Claim, Emulator, Fault, Options, QueueOptions, Service};
use oncebus_runtime::broker::Broker;
use oncebus_runtime::handler::{self, Services};
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::records::{Created, Records};
use serde_json::{Value, json};

use super::*;
use crate::operator::PATIENCE;

const DOCUMENT: &str = "[queues.orders]\n[queues.bills]\n";
const TEXT: &str = "text/plain";

/// The emulator, and the configuration in a file.
struct World {
    emulator: Emulator,
    platform: Native,
    config: tempfile::NamedTempFile,
    storage: StorageConnection,
    service_bus: ServiceBusConnection,
}

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

fn author() -> Author {
    Author { owner: "run".into(), mark: Mark::parse("mark") }
}

fn claimed(id: &str, body: &str) -> Record {
    Record::first(id, &payload_hash(Some(TEXT), body.as_bytes()), Duration::from_secs(45), author())
}

fn message(id: &str, body: &str, properties: &[(&str, &str)]) -> Outgoing {
    let ours = [(property::ID, id)];
    Outgoing {
        message_id: Some(format!("copy-of-{id}")),
        content_type: Some(TEXT.to_owned()),
        body: body.to_owned().into(),
        properties: ours.iter().chain(properties).copied().collect::<Properties>(),
        ..Outgoing::default()
    }
}

/// As our handler puts it on the poison queue.
fn poison_copy(id: &str, body: &str, reason: &str) -> Outgoing {
    let properties = [
        (property::EPOCH, "1"),
        (property::SOURCE_QUEUE, "orders"),
        (property::DEAD_LETTER_REASON, reason),
        (property::DEAD_LETTER_DESCRIPTION, "bad"),
        ("colour", "blue"),
    ];
    message(id, body, &properties)
}

impl World {
    async fn start() -> Self {
        let poison = QueueOptions { name: "orders.poison".to_owned(), ..QueueOptions::default() };
        let queues = vec!["orders".into(), "bills".into(), poison, "bills.poison".into()];
        let access_rules = vec![
            AccessRule::default(),
            AccessRule::new("in", "in-key", &[Claim::Send]),
            AccessRule::new("out", "out-key", &[Claim::Listen]),
        ];
        let containers = vec!["oncebus".to_owned()];
        let options = Options { queues, containers, access_rules, ..Options::default() };
        let emulator = Emulator::start(options).await.unwrap();
        let mut config = tempfile::NamedTempFile::new().unwrap();
        config.write_all(DOCUMENT.as_bytes()).unwrap();
        let storage = StorageConnection::parse(&emulator.storage_connection_string()).unwrap();
        let service_bus = ServiceBusConnection::parse(&emulator.service_bus_connection_string()).unwrap();
        Self { emulator, platform: Native::new().unwrap(), config, storage, service_bus }
    }

    async fn put(&self, queue: &str, message: &Outgoing) {
        let deadline = self.platform.now().plus(PATIENCE);
        Broker::new(&self.platform, &self.service_bus).send(queue, message, deadline, true).await.0.unwrap();
    }

    fn records(&self) -> Records<'_, Native> {
        Records::new(&self.platform, &self.storage, "oncebus")
    }

    async fn store(&self, record: &Record) {
        let deadline = self.platform.now().plus(PATIENCE);
        let created = self.records().create(&record_name("orders", &record.id), record, deadline).await.0;
        assert!(matches!(created, Ok(Created::New(_))), "{created:?}");
    }

    async fn record(&self, id: &str) -> Option<Record> {
        let deadline = self.platform.now().plus(PATIENCE);
        let found = self.records().look(&record_name("orders", id), deadline).await.0.unwrap();
        found.map(|seen| seen.record)
    }

    /// A message that was rejected: its record, and its letter.
    async fn park(&self, id: &str, body: &str) {
        self.store(&claimed(id, body).park("rejected: bad".into(), author()).copied(author())).await;
        self.put("orders.poison", &poison_copy(id, body, "rejected")).await;
    }

    /// Moves what is on a queue to its dead-letter queue, as the broker does with what nobody settles.
    async fn dead_letter(&self, queue: &str) {
        let broker = Broker::new(&self.platform, &self.service_bus);
        let deadline = self.platform.now().plus(PATIENCE);
        while let Some(delivery) = broker.peek_lock(queue, 0, deadline).await.0.unwrap() {
            broker.abandon(queue, &delivery.lock, deadline).await.0.unwrap();
        }
    }

    fn count(&self, entity: &str) -> usize {
        self.emulator.admin().messages(entity).len()
    }

    async fn with(&self, connections: &[&str], words: &[&str]) -> (anyhow::Result<()>, Vec<String>) {
        let config = self.config.path().to_str().unwrap();
        let config = ["--config", config];
        let words = ["dead-letters"].iter().chain(words).chain(&config).chain(connections);
        let out = Out::default();
        let result = match Line::try_parse_from(words).unwrap().command {
            Command::List(args) => look::list(&args, &out).await,
            Command::Show(args) => look::show(&args, &out).await,
            Command::Redrive(args) => redrive::redrive(&args, &out).await,
            Command::Purge(args) => look::purge(&args, &out).await,
        };
        (result, out.lines.into_inner())
    }

    async fn try_run(&self, words: &[&str]) -> (anyhow::Result<()>, Vec<String>) {
        let (bus, storage) = (self.service_bus.expose(), self.storage.expose());
        let mut connections = vec!["--servicebus", &bus];
        if words.first() == Some(&"redrive") {
            connections.extend(["--storage", &storage]);
        }
        self.with(&connections, words).await
    }

    /// What it prints as JSON.
    async fn run(&self, words: &[&str]) -> Vec<Value> {
        let words: Vec<&str> = words.iter().chain(&["--json"]).copied().collect();
        let (result, lines) = self.try_run(&words).await;
        result.unwrap();
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The handler empties the queue; returns what the processor was given to the end.
    async fn handle(&self) -> Vec<(String, String)> {
        let mut processed = Vec::new();
        for random in 0.. {
            if self.count("orders") == 0 {
                break;
            }
            let config = Config::parse(DOCUMENT).unwrap();
            let services = Services {
                platform: &self.platform,
                listen: Broker::new(&self.platform, &self.service_bus),
                send: Broker::new(&self.platform, &self.service_bus),
                records: self.records(),
                queue: "orders".to_owned(),
            };
            let queue = config.queue("orders").unwrap().clone();
            let run = Run::new(queue, 32, Duration::from_secs(3), self.platform.now(), random);
            let process = |_: &str, batch: Vec<oncebus_core::run::Work>| {
                let given =
                    batch.iter().map(|work| (work.id.clone(), String::from_utf8_lossy(&work.body).into_owned()));
                processed.extend(given);
                batch.iter().map(|_| Step::Done(None)).collect()
            };
            handler::run(&services, run, process, |_| ()).await;
        }
        processed
    }
}

fn ids(lines: &[Value]) -> BTreeSet<&str> {
    lines.iter().filter_map(|line| line["id"].as_str()).collect()
}

fn outcomes(lines: &[Value]) -> Value {
    lines.last().unwrap()["outcomes"].clone()
}

#[tokio::test]
async fn a_listing_costs_each_letter_one_delivery_and_stops_while_there_is_one_left() {
    let world = World::start().await;
    for id in ["a", "b", "c"] {
        world.park(id, "body").await;
    }
    for pass in 1..=9 {
        let listed = world.run(&["list", "--queue", "orders"]).await;
        let counts: Vec<u64> = listed.iter().filter_map(|line| line["delivery_count"].as_u64()).collect();
        if pass < 9 {
            assert_eq!((ids(&listed).len(), counts), (3, vec![pass; 3]));
        } else {
            assert_eq!(counts, [9], "one is given back with one delivery left, and no other is touched");
        }
    }
    assert_eq!((world.count("orders.poison"), world.count("orders.poison/$DeadLetterQueue")), (3, 0));
    // Which is enough for a redrive.
    let redriven = world.run(&["redrive", "--queue", "orders"]).await;
    assert_eq!(outcomes(&redriven), json!({"sent": 3}));
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn letters_are_found_by_what_they_say() {
    let world = World::start().await;
    let often = QueueOptions { max_delivery_count: 100, ..QueueOptions::from("orders.poison") };
    world.emulator.admin().put_queue(often).unwrap();
    let queue = ["--queue", "orders", "--max-delivery-count", "100"];
    world.put("orders.poison", &poison_copy("a", "x", "rejected")).await;
    world.put("orders.poison", &poison_copy("b", "y", "max-attempts")).await;
    world.put("orders.poison", &message("foreign", "z", &[])).await;
    for (filter, expected) in [
        (vec![], vec!["a", "b", "foreign"]),
        (vec!["--reason", "max-attempts"], vec!["b"]),
        (vec!["--id", "a", "--id", "foreign"], vec!["a", "foreign"]),
        (vec!["--source-queue", "orders", "--property", "colour=blue"], vec!["a", "b"]),
        (vec!["--property", "colour=red"], vec![]),
        (vec!["--older-than", "1h"], vec![]),
        (vec!["--sequence", "2"], vec!["b"]),
    ] {
        let words: Vec<&str> = ["list"].into_iter().chain(queue).chain(filter.iter().copied()).collect();
        assert_eq!(ids(&world.run(&words).await), expected.into_iter().collect(), "{filter:?}");
    }
    let with_queue = |words: &[&'static str]| -> Vec<&str> { words.iter().copied().chain(queue).collect() };
    assert_eq!(world.run(&with_queue(&["list", "--limit", "1"])).await.len(), 1);
    let shown = world.run(&with_queue(&["show", "--id", "b"])).await;
    assert_eq!((&shown[0]["body"], &shown[0]["properties"]), (&json!("y"), &json!({"colour": "blue"})));
    assert_eq!((&shown[0]["reason"], &shown[0]["epoch"]), (&json!("max-attempts"), &json!(1)));
    let (none, _) = world.try_run(&with_queue(&["show", "--id", "c"])).await;
    assert_eq!(none.unwrap_err().to_string(), "no such letter on orders.poison");
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn a_purge_takes_what_passes_and_asks_for_a_filter() {
    let world = World::start().await;
    for id in ["a", "b", "c"] {
        world.put("orders.poison", &poison_copy(id, "x", "rejected")).await;
    }
    let (unsaid, _) = world.try_run(&["purge", "--queue", "orders"]).await;
    assert!(unsaid.unwrap_err().to_string().contains("--all"));
    let dry = world.run(&["purge", "--queue", "orders", "--id", "a", "--dry-run"]).await;
    assert_eq!(
        (dry.last().unwrap(), world.count("orders.poison")),
        (&json!({"dry_run": true, "purged": 1, "left": 0}), 3)
    );
    world.run(&["purge", "--queue", "orders", "--id", "a"]).await;
    assert_eq!(ids(&world.run(&["list", "--queue", "orders"]).await), ["b", "c"].into());
    world.run(&["purge", "--queue", "orders", "--all"]).await;
    assert_eq!(world.count("orders.poison"), 0);
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn a_redrive_says_what_is_done_already_and_sends_the_rest_once() {
    let world = World::start().await;
    world.park("parked", "body").await;
    world.store(&claimed("done", "body").finish(None, Duration::ZERO, author())).await;
    world.put("orders.poison", &poison_copy("done", "body", "rejected")).await;
    world.store(&claimed("working", "body")).await;
    world.put("orders.poison", &poison_copy("working", "body", "rejected")).await;
    world.put("orders.poison", &poison_copy("unknown", "body", "rejected")).await;
    world.put("orders.poison", &poison_copy("mismatch", "other", "payload-mismatch")).await;

    let expected = json!({"sent": 2, "done": 1, "in-progress": 1, "other-payload": 1});
    let dry = world.run(&["redrive", "--queue", "orders", "--dry-run"]).await;
    assert_eq!((outcomes(&dry), world.count("orders.poison"), world.count("orders")), (expected.clone(), 5, 0));
    let detail = |id: &str| dry.iter().find(|line| line["id"] == id).unwrap()["detail"].clone();
    assert_eq!(detail("parked"), "would be sent back, record reopened under epoch 2");
    assert_eq!(detail("done"), "would be done already");

    let (result, lines) = world.try_run(&["redrive", "--queue", "orders"]).await;
    assert_eq!(result.unwrap_err().to_string(), "2 letters were left");
    assert_eq!(lines.last().unwrap(), "done 1, in-progress 1, other-payload 1, sent 2");
    assert_eq!((world.count("orders.poison"), world.count("orders")), (2, 2));
    let handled: BTreeMap<String, String> = world.handle().await.into_iter().collect();
    assert_eq!(handled.keys().map(String::as_str).collect::<Vec<_>>(), ["parked", "unknown"]);
    assert_eq!(world.record("parked").await.unwrap().epoch, 3, "reopened, and claimed");

    // A payload that is not the one of its id goes on under an id of its own; the one that is worked on waits.
    world.emulator.admin().advance_clock(Duration::from_secs(51));
    let (result, _) = world.try_run(&["redrive", "--queue", "orders", "--new-id"]).await;
    result.unwrap();
    let handled: Vec<(String, String)> = world.handle().await;
    let handled: BTreeMap<&str, &str> = handled.iter().map(|(id, body)| (id.as_str(), body.as_str())).collect();
    let own = handled.keys().find(|id| id.starts_with("mismatch~")).unwrap();
    assert_eq!((handled[own], handled["working"], handled.len()), ("other", "body", 2));
    assert_eq!((world.count("orders.poison"), world.count("orders")), (0, 0));
    world.emulator.shutdown().await;
}

/// The broker moves it on and puts its own reason in the place of ours; the message whose id it has goes on to a later epoch and is done.
#[tokio::test]
async fn another_payload_is_left_where_the_broker_has_moved_it() {
    let world = World::start().await;
    let released = claimed("m", "body").release(Release::Deadline, Duration::ZERO, author());
    world.store(&released).await;
    world.put("orders", &message("m", "another body", &[])).await;
    assert_eq!(world.handle().await, []);
    world.dead_letter("orders.poison").await;
    world.put("orders", &message("m", "body", &[])).await;
    assert_eq!(world.handle().await, [("m".to_owned(), "body".to_owned())]);
    assert_eq!(world.record("m").await.unwrap().epoch, 2);

    let from = "orders.poison/$DeadLetterQueue";
    let listed = world.run(&["list", "--from", from, "--reason", "payload-mismatch"]).await;
    assert_eq!((ids(&listed), &listed[0]["epoch"]), (["m"].into(), &Value::Null));
    let (result, lines) = world.try_run(&["redrive", "--from", from]).await;
    assert_eq!(result.unwrap_err().to_string(), "1 letter was left");
    assert_eq!((lines.last().unwrap().as_str(), world.count(from)), ("other-payload 1", 1));
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn an_edited_message_is_processed_as_edited() {
    let world = World::start().await;
    world.park("a", "old").await;
    world.park("b", "old").await;
    world.park("c", "fine").await;
    let edit =
        ["redrive", "--queue", "orders", "--edit-with", "sh -c 'grep -q old \"$0\" && sed -i.bak s/old/new/ \"$0\"'"];
    let (result, lines) = world.try_run(&edit).await;
    assert_eq!(result.unwrap_err().to_string(), "1 letter was left", "the editor failed for c");
    assert!(lines[0].starts_with("c: left: ") && lines[0].ends_with("exit status: 1"), "{lines:?}");
    let handled: BTreeMap<String, String> = world.handle().await.into_iter().collect();
    let new = |id: &str| (id.to_owned(), "new".to_owned());
    assert_eq!(handled, [new("a"), new("b")].into());
    assert_eq!(world.count("orders.poison"), 1);
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn the_brokers_own_dead_letters_go_back_by_their_records() {
    let world = World::start().await;
    let parked = claimed("parked", "body").park("rejected: bad".into(), author());
    world.store(&parked.copied(author())).await;
    world.store(&Record { id: "unmarked".into(), ..parked }).await;
    world.store(&claimed("done", "body").finish(None, Duration::ZERO, author())).await;
    for id in ["parked", "unmarked", "done", "never-begun"] {
        world.put("orders", &message(id, "body", &[])).await;
    }
    world.dead_letter("orders").await;
    assert_eq!((world.count("orders"), world.count("orders/$DeadLetterQueue")), (0, 4));
    let listed = world.run(&["list", "--queue", "orders", "--broker"]).await;
    assert!(listed.iter().all(|line| line["reason"] == "MaxDeliveryCountExceeded"), "{listed:?}");
    let redriven = world.run(&["redrive", "--queue", "orders", "--broker"]).await;
    assert_eq!(outcomes(&redriven), json!({"sent": 2, "done": 1, "parked": 1}));
    let handled: BTreeSet<String> = world.handle().await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(handled, ["never-begun".to_owned(), "unmarked".to_owned()].into());
    assert_eq!(world.count("orders/$DeadLetterQueue"), 0);

    // Older than records are kept, and none is there: it may have been done.
    world.put("orders", &message("old", "body", &[])).await;
    world.dead_letter("orders").await;
    world.emulator.admin().advance_service_bus_clock(Duration::from_secs(100));
    let (result, lines) = world.try_run(&["redrive", "--queue", "orders", "--broker", "--records-kept", "60s"]).await;
    assert_eq!(result.unwrap_err().to_string(), "1 letter was left");
    assert_eq!(lines[0], "old: left: too old to tell whether it was done");
    world.run(&["redrive", "--from", "orders/$DeadLetterQueue"]).await;
    assert_eq!(world.handle().await.len(), 1);
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn a_letter_that_came_later_waits_for_the_next_time() {
    let world = World::start().await;
    world.park("a", "body").await;
    // The handler parks it again at once: here, before the pass is over.
    world.emulator.admin().add_fault(Fault { delay_ms: 2_500, ..Fault::on(Service::ServiceBus, "complete") });
    let again = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        world.put("orders.poison", &poison_copy("later", "body", "rejected")).await;
    };
    let (lines, ()) = futures::join!(world.run(&["redrive", "--queue", "orders", "--concurrency", "2"]), again);
    assert_eq!(outcomes(&lines), json!({"sent": 1}));
    assert_eq!(world.count("orders.poison"), 1);
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn what_is_held_is_renewed() {
    let world = World::start().await;
    let short = QueueOptions { lock_duration: Duration::from_secs(5), ..QueueOptions::from("orders.poison") };
    world.emulator.admin().put_queue(short).unwrap();
    world.park("a", "body").await;
    world.park("b", "body").await;
    // The editor takes longer than the lock holds; the other letter waits for as long.
    let edit = ["redrive", "--queue", "orders", "--id", "a", "--concurrency", "1", "--edit-with", "sleep 7; true"];
    let (result, lines) = world.try_run(&edit).await;
    result.unwrap();
    assert_eq!(lines.last().unwrap(), "sent 1");
    let left = world.emulator.admin().messages("orders.poison");
    assert_eq!(left.iter().map(|letter| letter.delivery_count).collect::<Vec<_>>(), [1], "{left:?}");
    assert!(world.emulator.admin().calls()["service-bus.renew"] >= 2, "{:?}", world.emulator.admin().calls());
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let world = World::start().await;
    world.park("a", "body").await;
    let url = world.emulator.service_bus_url();
    let [only_send, only_listen] =
        ["in", "out"].map(|name| format!("Endpoint={url};SharedAccessKeyName={name};SharedAccessKey={name}-key"));
    let permissions = |letters: &str| {
        let permissions = oncebus_azure::sas::blob::Permissions::parse(letters).unwrap();
        let expires = world.platform.wall().plus(PATIENCE);
        world.storage.with_container_sas("oncebus", permissions, expires).expose()
    };
    let (everything, only_read, only_write) = (world.storage.expose(), permissions("r"), permissions("w"));
    for (bus, storage, said) in [
        (&only_send, &everything, "cannot receive from orders.poison: "),
        (&world.service_bus.expose(), &only_read, "the right Write to the container"),
        (&world.service_bus.expose(), &only_write, "the right Read of the container"),
        (&only_listen, &everything, "the right Send to orders"),
    ] {
        let words = ["redrive", "--queue", "orders"];
        let (result, _) = world.with(&["--servicebus", bus, "--storage", storage], &words).await;
        let error = result.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert_eq!(world.count("orders.poison"), 1);
    }
    world.emulator.shutdown().await;
}

/// Thousands, with answers lost at every kind of call, and cut off twice in the middle. Then the handler: each once.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_are_redriven_through_lost_answers_and_kills() {
    const LETTERS: usize = 3_000;
    let world = World::start().await;
    let parks = (0..LETTERS).map(|n| {
        let world = &world;
        async move { world.park(&format!("m-{n}"), &format!("body {n}")).await }
    });
    stream::iter(parks).buffer_unordered(64).collect::<Vec<()>>().await;
    let admin = world.emulator.admin();
    let faults = [
        (Service::ServiceBus, "peek-lock"),
        (Service::ServiceBus, "send"),
        (Service::ServiceBus, "complete"),
        (Service::Blob, "head"),
        (Service::Blob, "set-metadata"),
    ];
    for (seed, (service, operation)) in (1_u64..).zip(faults) {
        for (seed, after) in [(seed, true), (seed + 100, false)] {
            let fault = Fault { drop_after: after, drop_before: !after, ..Fault::on(service, operation) };
            admin.add_fault(Fault { probability: Some(0.02), seed, ..fault });
        }
    }
    let words = ["redrive", "--queue", "orders", "--json", "--concurrency", "64"];
    for cut in [400, 900] {
        // Dropped as it stands: nothing of it goes on, nothing is given back.
        let cut = tokio::time::timeout(Duration::from_millis(cut), world.try_run(&words)).await;
        assert!(cut.is_err(), "it was over before it could be cut");
    }
    let after_kills = world.count("orders.poison");
    assert!(after_kills > 0 && after_kills < LETTERS, "{after_kills} are left");
    let mut rounds = 0;
    while world.count("orders.poison") > 0 {
        rounds += 1;
        assert!(rounds < 20, "{} letters are never taken away", world.count("orders.poison"));
        // What the dead hold comes back.
        admin.advance_service_bus_clock(Duration::from_secs(61));
        let _ = world.try_run(&words).await;
    }
    admin.clear_faults();
    assert_eq!(world.count("orders.poison/$DeadLetterQueue"), 0);
    let queued = world.count("orders");
    let handled = world.handle().await;
    let distinct: BTreeSet<&(String, String)> = handled.iter().collect();
    assert_eq!((distinct.len(), handled.len()), (LETTERS, LETTERS), "of {queued} copies, in {rounds} more rounds");
    let states: BTreeSet<String> = admin.blobs("oncebus").into_iter().map(|blob| blob.metadata["st"].clone()).collect();
    assert_eq!(states, ["d".to_owned()].into());
    println!("{LETTERS} letters, {queued} copies sent, {after_kills} left by the kills, {rounds} more rounds");
    world.emulator.shutdown().await;
}
