//! From a rejection to the row: real components, the program as it is. Needs the components (`scripts/build`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use oncebus_emulator::{Emulator, Options as EmulatorOptions};
use oncebus_host::{App, Options, Server, Sqlite};
use serde_json::{Value, json};
use tokio::process::Command;

const RUN_TOKEN: &str = "run-token-of-the-tests";
const CONFIG: &str = "[defaults]\ngather_milliseconds = 20\n[queues.orders]\n[processor.settings]\neffects = true\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The app with a processor, and a database that all apps of a test share.
struct Running {
    app: App,
    server: Server,
    client: reqwest::Client,
}

impl Running {
    async fn start(emulator: &Emulator, database: &Path, processor: &str) -> Self {
        let service_bus = emulator.service_bus_connection_string();
        let blob_url = emulator.blob_url();
        let variables = [
            ("oncebus_config", CONFIG.to_owned()),
            ("servicebus_send", service_bus.clone()),
            ("servicebus_listen", service_bus),
            ("servicebus_origin", emulator.service_bus_url()),
            ("storage", emulator.storage_connection_string()),
            ("storage_origin", blob_url.rsplit_once('/').unwrap().0.to_owned()),
            ("run_token", RUN_TOKEN.to_owned()),
        ];
        let path = root().join(format!("target/wasm32-wasip2/release/oncebus_{processor}.wasm"));
        let options = Options {
            variables: variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            sqlite: Sqlite::File(database.to_owned()),
            overrides: [("queue-handler/oncebus:processor/process@0.1.0".to_owned(), path)].into(),
            ..Options::default()
        };
        let app = App::load(&root().join("spin.toml"), options).await.expect("the app loads (scripts/build)");
        let server = app.serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        Self { app, server, client: reqwest::Client::new() }
    }

    async fn send(&self, id: &str, body: &Value) {
        let url = format!("{}/queues/orders/messages", self.server.url());
        let request = self.client.post(url).header("Idempotency-Key", format!("\"{id}\""));
        let answer = request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 202);
    }

    async fn run(&self) -> Value {
        let url = format!("{}/internal/queues/orders/run?seconds=2", self.server.url());
        let answer = self.client.post(url).bearer_auth(RUN_TOKEN).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    /// How often each id is in the store, and how many steps of it ran.
    fn stored(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let rows = self.app.database().unwrap().query("SELECT id FROM messages", &[]).unwrap_or_default();
        for row in rows {
            *counts.entry(format!("{:?}", row[0])).or_default() += 1;
        }
        counts
    }
}

/// The program, against this emulator.
struct Program {
    service_bus: String,
    storage: String,
    config: tempfile::NamedTempFile,
}

impl Program {
    fn new(emulator: &Emulator) -> Self {
        let config = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(config.path(), CONFIG).unwrap();
        let (service_bus, storage) = (emulator.service_bus_connection_string(), emulator.storage_connection_string());
        Self { service_bus, storage, config }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncebus"));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("ONCEBUS_") || name == "RUST_LOG") {
                command.env_remove(name);
            }
        }
        command.args(words).env("ONCEBUS_SERVICEBUS", &self.service_bus).env("ONCEBUS_STORAGE", &self.storage);
        command.env("ONCEBUS_CONFIG", self.config.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().await.unwrap()
    }

    /// The objects it prints when all is well.
    async fn json(&self, words: &[&str]) -> Vec<Value> {
        let output = self.output(words).await;
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rejected_is_redriven_and_stored_exactly_once() {
    const MESSAGES: usize = 40;
    let options = EmulatorOptions {
        queues: vec!["orders".into(), "orders.poison".into()],
        containers: vec!["oncebus".to_owned()],
        ..EmulatorOptions::default()
    };
    let emulator = Emulator::start(options).await.unwrap();
    let database = tempfile::NamedTempFile::new().unwrap();
    let program = Program::new(&emulator);
    let queued = |entity: &str| emulator.admin().messages(entity).len();

    let broken = Running::start(&emulator, database.path(), "flaky").await;
    for n in 0..MESSAGES {
        broken.send(&format!("m-{n}"), &json!({"flaky": {"reject": "no such account"}, "n": n})).await;
    }
    while queued("orders") > 0 {
        broken.run().await;
    }
    assert_eq!((queued("orders.poison"), broken.stored().len()), (MESSAGES, 0));
    let listed = program.json(&["dead-letters", "list", "--queue", "orders", "--json"]).await;
    assert_eq!(listed.len(), MESSAGES);
    assert!(listed.iter().all(|letter| letter["reason"] == "rejected" && letter["description"] == "no such account"));
    let parked = program.json(&["records", "list", "--queue", "orders", "--state", "parked", "--json"]).await;
    assert_eq!(parked.len(), MESSAGES);
    broken.server.shutdown().await;

    // It is fixed. The first redrive is killed in the middle of its work, while the handler is already at it.
    let fixed = Running::start(&emulator, database.path(), "store").await;
    let redrive = ["dead-letters", "redrive", "--queue", "orders", "--json"];
    let mut killed = program.command(&redrive).args(["--concurrency", "2"]).spawn().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while queued("orders") + fixed.stored().len() < 5 {
        assert!(std::time::Instant::now() < deadline, "it sends nothing back");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    killed.kill().await.unwrap();
    fixed.run().await;

    // What the dead one held comes back, and so does what it left claimed.
    while queued("orders.poison") + queued("orders") > 0 {
        emulator.admin().advance_clock(Duration::from_secs(61));
        program.output(&redrive).await;
        fixed.run().await;
        assert!(std::time::Instant::now() < deadline, "{} letters never end", queued("orders.poison"));
    }
    let stored = fixed.stored();
    assert_eq!((stored.len(), stored.values().sum::<usize>()), (MESSAGES, MESSAGES), "{stored:?}");
    let done = program.json(&["records", "list", "--state", "done", "--json"]).await;
    assert_eq!(done.len(), MESSAGES);
    let shown = program.json(&["records", "show", "--queue", "orders", "--id", "m-7", "--json"]).await;
    assert_eq!((&shown[0]["state"], &shown[0]["id"]), (&json!("done"), &json!("m-7")));
    let steps = fixed.app.database().unwrap().query("SELECT id FROM effects WHERE outcome = 'done'", &[]).unwrap();
    assert_eq!(steps.len(), MESSAGES, "each was done by one step");

    // And then it is swept, when it is old.
    let sum = program.json(&["records", "sweep", "--older-than", "0s", "--force", "--json"]).await;
    assert_eq!(sum[0]["records"], MESSAGES);
    fixed.server.shutdown().await;
    emulator.shutdown().await;
}

#[tokio::test]
async fn wrong_arguments_and_missing_credentials_have_statuses_of_their_own() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let program = Program::new(&emulator);
    let code = async |words: &[&str]| program.output(words).await.status.code();
    assert_eq!(code(&["dead-letters", "list"]).await, Some(2), "no queue");
    assert_eq!(code(&["dead-letters", "redrive", "--queue", "orders", "--older-than", "soon"]).await, Some(2));
    assert_eq!(code(&["records", "sweep", "--older-than", "1d"]).await, Some(1), "less than records are kept");
    let output = program.command(&["records", "list"]).env_remove("ONCEBUS_STORAGE").output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no connection string: give --storage, or ONCEBUS_STORAGE"), "{said}");
    emulator.shutdown().await;
}
