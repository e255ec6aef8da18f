//! The commands against the emulator, whose clock decides what is old.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Duration;

use clap::Parser;
use http::HeaderValue;
use oncebus_azure::blob::{BlobContainer, Condition};
use oncebus_core::id::{Mark, door_name, key_name, record_name};
use oncebus_core::record::{Author, Checkpoint, CheckpointBlob, Record, Release};
use oncebus_emulator::{Emulator, Fault, Options, Service};
use oncebus_runtime::calls::{Bounds, Repeat, call};
use oncebus_runtime::records::{Created, Records};
use serde_json::Value;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

/// The emulator, its container, and the configuration in a file.
struct World {
    emulator: Emulator,
    platform: Native,
    config: tempfile::NamedTempFile,
}

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

fn author() -> Author {
    Author { owner: "run".into(), mark: Mark::parse("mark") }
}

fn claimed(id: &str) -> Record {
    Record::first(id, "hash", Duration::from_secs(45), author())
}

fn done(id: &str) -> Record {
    claimed(id).finish(Some("42".into()), Duration::from_millis(7), author())
}

fn parked(id: &str) -> Record {
    claimed(id).park("rejected: bad".into(), author())
}

impl World {
    async fn start() -> Self {
        let options = Options { containers: vec!["oncebus".to_owned()], ..Options::default() };
        let emulator = Emulator::start(options).await.unwrap();
        let mut config = tempfile::NamedTempFile::new().unwrap();
        config.write_all(b"[queues.orders]\n[queues.bills]\ngroup = 'money'\n").unwrap();
        Self { emulator, platform: Native::new().unwrap(), config }
    }

    /// With a SAS that outlives what the tests do to the storage's clock.
    fn with_rights(&self, letters: &str) -> StorageConnection {
        let key = StorageConnection::parse(&self.emulator.storage_connection_string()).unwrap();
        let permissions = oncebus_azure::sas::blob::Permissions::parse(letters).unwrap();
        key.with_container_sas("oncebus", permissions, self.platform.wall().plus(DAY * 100))
    }

    fn connection(&self) -> StorageConnection {
        self.with_rights("rcwdl")
    }

    async fn put(&self, group: &str, record: &Record) -> String {
        self.put_at(record_name(group, &record.id), record).await
    }

    async fn put_at(&self, name: String, record: &Record) -> String {
        let connection = self.connection();
        let records = Records::new(&self.platform, &connection, "oncebus");
        let deadline = self.platform.now().plus(PATIENCE);
        assert!(matches!(records.create(&name, record, deadline).await.0, Ok(Created::New(_))));
        name
    }

    async fn put_blob(&self, name: &str, length: usize) {
        let blobs = BlobContainer::new(&self.connection(), "oncebus", self.platform.wall(), DAY);
        let body = vec![b'x'; length].into();
        let request = blobs.put(name, body, &HeaderValue::from_static("text/plain"), &Condition::Always);
        let deadline = self.platform.now().plus(PATIENCE);
        let bounds = Bounds { repeat: Repeat::Always, each: PATIENCE, deadline, wait_when_throttled: true };
        assert_eq!(call(&self.platform, request, bounds).await.result.unwrap().status(), 201);
    }

    fn names(&self) -> BTreeSet<String> {
        self.emulator.admin().blobs("oncebus").into_iter().map(|blob| blob.name).collect()
    }

    async fn with_storage(&self, storage: &str, words: &str) -> (anyhow::Result<()>, Vec<String>) {
        let config = self.config.path().to_str().unwrap();
        let fixed = ["records"].into_iter().chain(words.split(' ')).chain(["--config", config, "--storage", storage]);
        let out = Out::default();
        let result = match Line::try_parse_from(fixed).unwrap().command {
            Command::List(args) => list::list(&args, &out).await,
            Command::Show(args) => list::show(&args, &out).await,
            Command::Sweep(args) => sweep::sweep(&args, &out).await,
            Command::Unblock(args) => unblock::unblock(&args, &out).await,
        };
        (result, out.lines.into_inner())
    }

    async fn run(&self, words: &str) -> Vec<String> {
        let (result, lines) = self.with_storage(&self.connection().expose(), words).await;
        result.unwrap();
        lines
    }

    async fn fail(&self, words: &str) -> String {
        let (result, _) = self.with_storage(&self.connection().expose(), words).await;
        format!("{:#}", result.unwrap_err())
    }

    /// The ids that a listing with these filters prints.
    async fn ids(&self, filters: &str) -> BTreeSet<String> {
        let lines = self.run(&format!("list --json{filters}")).await;
        lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[tokio::test]
async fn filters_go_by_what_a_record_says_and_by_the_servers_clock() {
    let world = World::start().await;
    for record in [done("a-1"), done("a-2"), parked("b-1")] {
        world.put("orders", &record).await;
    }
    world.emulator.admin().advance_storage_clock(DAY);
    world.put("money", &done("c-1")).await;
    world.put("money", &claimed("c-2")).await;
    world.put_blob("doctor/probe", 0).await;

    assert_eq!(world.ids("").await, set(&["a-1", "a-2", "b-1", "c-1", "c-2"]));
    assert_eq!(world.ids(" --state done").await, set(&["a-1", "a-2", "c-1"]));
    assert_eq!(world.ids(" --state done --state parked --queue orders").await, set(&["a-1", "a-2", "b-1"]));
    assert_eq!(world.ids(" --queue bills").await, set(&["c-1", "c-2"]));
    assert_eq!(world.ids(" --group money --state processing").await, set(&["c-2"]));
    assert_eq!(world.ids(" --id-prefix a-").await, set(&["a-1", "a-2"]));
    assert_eq!(world.ids(" --older-than 23h").await, set(&["a-1", "a-2", "b-1"]));
    assert_eq!(world.run("list --json --limit 2").await.len(), 2);
    let table = world.run("list --state parked").await;
    assert_eq!(table.len(), 2, "{table:?}");
    assert!(table[1].starts_with("parked (no copy)    1         1  1 d "), "{table:?}");
    assert!(table[1].ends_with("orders            b-1"), "{table:?}");
    assert!(world.fail("list --queue none").await.contains("has no queue \"none\"; it has bills, orders"));
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn one_is_shown_with_all_it_holds() {
    let world = World::start().await;
    let failed = Release::Failure { reason: "later".into(), not_before: Duration::from_secs(60) };
    world.put("orders", &claimed("a").release(failed, Duration::from_millis(5), author())).await;
    world.put("orders", &claimed("p")).await;
    let shown = world.run("show --queue orders --id a --json").await;
    let json: Value = serde_json::from_str(&shown[0]).unwrap();
    assert_eq!(
        (&json["state"], &json["last_error"], &json["failures"]),
        (&"released".into(), &"later".into(), &1.into())
    );
    assert_eq!((&json["executed_ms"], &json["ttl_seconds"], &json["mark"]), (&5.into(), &45.into(), &"mark".into()));
    assert!(json["not_before"].is_string(), "{json}");

    let claim = async |expected: bool| {
        let shown = world.run("show --queue orders --id p --json").await;
        assert_eq!(serde_json::from_str::<Value>(&shown[0]).unwrap()["expired"], expected);
    };
    claim(false).await;
    world.emulator.admin().advance_storage_clock(Duration::from_secs(46));
    claim(true).await;
    assert!(world.run("show --queue orders --id p").await[0].contains("lock_until      2"));
    assert_eq!(world.fail("show --queue bills --id a").await, "no record of a: unknown, not yet begun, or swept");
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn a_sweep_takes_what_is_over_and_old_and_may_be_repeated() {
    let world = World::start().await;
    let gone = [world.put("orders", &done("d")).await, world.put("orders", &parked("x").copied(author())).await];
    let blob = Checkpoint::Blob(Box::new(CheckpointBlob { suffix: "1-m".into(), digest: "d".into() }));
    let stepped = claimed("p").checkpoint(blob, Duration::ZERO, author());
    let stay = [world.put("orders", &parked("y")).await, world.put("orders", &stepped).await];
    let orphan = record_name("orders", "nobody");
    for name in [&gone[0], &gone[1], &stay[1], &orphan] {
        world.put_blob(&format!("{name}.cp/1-m"), 5_000).await;
    }
    world.put_blob(&format!("{}.cp/1-before", stay[1]), 5_000).await;
    let shown = world.run("show --queue orders --id p --json").await;
    assert_eq!(serde_json::from_str::<Value>(&shown[0]).unwrap()["checkpoint_bytes"], 5_000);
    world.put_blob("doctor/probe", 0).await;
    world.put_blob(&door_name("orders", None, "k"), 0).await;
    world.emulator.admin().advance_storage_clock(DAY * 14);
    let young = world.put("orders", &done("young")).await;

    let before = world.names();
    let dry: Vec<String> = world.run("sweep --dry-run").await;
    assert_eq!(world.names(), before);
    assert_eq!(dry.len(), 8, "{dry:?}");
    let swept = world.run("sweep --json").await;
    let sum: Value = serde_json::from_str(&swept[0]).unwrap();
    let counts =
        ["listed", "records", "checkpoints", "bodies", "keys", "young", "live", "unknown", "changed", "failed"];
    assert_eq!(counts.map(|name| sum[name].as_u64().unwrap()), [12, 2, 4, 0, 0, 1, 3, 1, 0, 0], "{sum}");
    assert_eq!(sum["idempotency_keys"], 1);
    let left = [stay[0].clone(), stay[1].clone(), format!("{}.cp/1-m", stay[1]), young, "doctor/probe".to_owned()];
    assert_eq!(world.names(), left.into_iter().collect());
    let again: Value = serde_json::from_str(&world.run("sweep --json").await[0]).unwrap();
    assert_eq!((&again["records"], &again["checkpoints"]), (&0.into(), &0.into()));
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn less_than_records_must_be_kept_is_refused_with_the_numbers() {
    let world = World::start().await;
    world.put("orders", &done("d")).await;
    world.emulator.admin().advance_storage_clock(DAY * 13);
    let refused = world.fail("sweep --older-than 13d").await;
    let sum = "message TTL 3 d + longest delay 7 d + poison retention 3 d + senders' retries 1 d = 14 d";
    assert!(refused.starts_with(&format!("--older-than 13 d is less than records must be kept: {sum}")), "{refused}");
    assert!(refused.contains("--force"), "{refused}");
    assert_eq!(world.names().len(), 1);
    world.run("sweep --older-than 13d --message-ttl 2d").await;
    assert_eq!(world.names().len(), 0);
    world.put("orders", &done("d")).await;
    world.emulator.admin().advance_storage_clock(DAY);
    world.run("sweep --older-than 1d --force").await;
    assert_eq!(world.names().len(), 0);
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let world = World::start().await;
    world.put("orders", &done("d")).await;
    world.emulator.admin().advance_storage_clock(DAY * 15);
    let (listed, _) = world.with_storage(&world.with_rights("rcw").expose(), "list").await;
    let listed = format!("{:#}", listed.unwrap_err());
    assert!(listed.starts_with("cannot list the container oncebus:") && listed.contains("right List"), "{listed}");
    let (swept, _) = world.with_storage(&world.with_rights("rl").expose(), "sweep").await;
    let swept = format!("{:#}", swept.unwrap_err());
    assert!(swept.starts_with("cannot delete ") && swept.contains("right Delete"), "{swept}");
    let (swept, _) = world.with_storage(&world.with_rights("rdl").expose(), "sweep").await;
    swept.unwrap();
    assert_eq!(world.names().len(), 0);
    world.emulator.shutdown().await;
}

/// More than a page, with answers lost and throttling in between, cut off in the middle and begun again.
#[tokio::test]
async fn thousands_are_swept_through_lost_answers_and_a_kill() {
    let world = World::start().await;
    let connection = world.connection();
    let records = Records::new(&world.platform, &connection, "oncebus");
    let deadline = world.platform.now().plus(PATIENCE);
    let puts = (0..5_200).map(|n| {
        let (records, record) = (&records, done(&format!("m-{n}")));
        async move { records.create(&record_name("orders", &record.id), &record, deadline).await.0.unwrap() }
    });
    let stored: Vec<Created> =
        futures::StreamExt::collect(futures::StreamExt::buffer_unordered(futures::stream::iter(puts), 32)).await;
    assert_eq!(stored.len(), 5_200);
    let live = world.put("orders", &claimed("live")).await;
    let admin = world.emulator.admin();
    admin.advance_storage_clock(DAY * 14);
    admin.add_fault(Fault { drop_after: true, probability: Some(0.02), seed: 1, ..Fault::on(Service::Blob, "delete") });
    admin.add_fault(Fault {
        status: Some(500),
        probability: Some(0.02),
        seed: 2,
        ..Fault::on(Service::Blob, "delete")
    });
    admin.add_fault(Fault { drop_before: true, count: Some(1), ..Fault::on(Service::Blob, "list") });

    // Dropped in the middle: nothing of it goes on.
    let cut = tokio::time::timeout(Duration::from_millis(400), world.run("sweep")).await;
    let after_cut = world.names().len();
    let sum: Value = serde_json::from_str(&world.run("sweep --json").await[0]).unwrap();
    assert_eq!(world.names(), [live].into_iter().collect(), "cut {}, {after_cut} left by then, {sum}", cut.is_err());
    assert_eq!(sum["failed"], 0, "{sum}");
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn a_key_that_waits_for_a_message_that_will_never_come_is_unblocked_once() {
    let world = World::start().await;
    let unblock = "unblock --queue orders --key sender";
    assert_eq!(world.fail(unblock).await, "the key sender has never been locked");
    let failure = Release::Failure { reason: "no".into(), not_before: DAY };
    let first = world.put("orders", &claimed("m-1").release(failure, Duration::ZERO, author())).await;
    let held = Record::first_key("sender", Duration::from_secs(45), Some(first), author());
    let lock = world.put_at(key_name("orders", "sender"), &held).await;
    assert!(world.fail(unblock).await.starts_with("the key sender is held until "));
    world.emulator.admin().advance_clock(Duration::from_secs(51));

    assert_eq!(world.run(unblock).await, ["the key sender is free; it waited for m-1 (released)"]);
    let blobs = world.emulator.admin().blobs("oncebus");
    let metadata = &blobs.iter().find(|blob| blob.name == lock).unwrap().metadata;
    assert_eq!((metadata["st"].as_str(), metadata.get("blk"), metadata["ep"].as_str()), ("r", None, "1"));
    assert_eq!(world.fail(unblock).await, "nothing blocks the key sender");

    let working = world.put("orders", &claimed("m-2")).await;
    let blocked = held.let_go_key(Some(working), author());
    world.put_at(key_name("orders", "another"), &blocked).await;
    let said = world.fail("unblock --queue orders --key another").await;
    assert!(said.starts_with("the message m-2 that goes first is being worked on until "), "{said}");
    world.emulator.shutdown().await;
}
