//! From a rejection to the row: real components, the program as it is. Needs the components (`scripts/build`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use oncebus_e2e::{Services, Setup, World};
use oncebus_emulator::{Emulator, Options};
use serde_json::{Value, json};
use tokio::process::Command;

/// The program, with its credentials.
struct Program {
    service_bus: String,
    storage: String,
    config: tempfile::NamedTempFile,
}

impl Program {
    fn new(service_bus: String, storage: String) -> Self {
        let config = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(config.path(), "[queues.orders]\n").unwrap();
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
    from_rejection_to_sweep(Services::emulated().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rejected_is_redriven_and_stored_exactly_once_on_azurite() {
    let Some(services) = Services::with_azurite().await else { return };
    from_rejection_to_sweep(services).await;
}

async fn from_rejection_to_sweep(services: Services) {
    const MESSAGES: usize = 40;
    let services = Arc::new(services);
    let database = tempfile::NamedTempFile::new().unwrap();
    let program = Program::new(services.service_bus(), services.storage());
    let app = |setup: Setup| World::on(Arc::clone(&services), setup.with_short_claims().with_database(database.path()));
    let queued = |entity: &str| services.queued(entity);

    let broken = app(Setup::flaky()).await;
    for n in 0..MESSAGES {
        let body = json!({"flaky": {"reject": "no such account"}, "n": n});
        broken.send("orders", &format!("m-{n}"), body.to_string()).await;
    }
    broken.drain("orders").await;
    assert_eq!((queued("orders.poison"), broken.stored().len()), (MESSAGES, 0));
    let listed = program.json(&["dead-letters", "list", "--queue", "orders", "--json"]).await;
    assert_eq!(listed.len(), MESSAGES);
    assert!(listed.iter().all(|letter| letter["reason"] == "rejected" && letter["description"] == "no such account"));
    let parked = program.json(&["records", "list", "--queue", "orders", "--state", "parked", "--json"]).await;
    assert_eq!(parked.len(), MESSAGES);
    broken.stop().await;

    // It is fixed. The first redrive is killed in the middle of its work, while the handler is already at it.
    let fixed = app(Setup::default()).await;
    let redrive = ["dead-letters", "redrive", "--queue", "orders", "--json"];
    let mut killed = program.command(&redrive).args(["--concurrency", "2"]).spawn().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while queued("orders") + fixed.stored().len() < 5 {
        assert!(std::time::Instant::now() < deadline, "it sends nothing back");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    killed.kill().await.unwrap();
    fixed.run("orders").await;

    // What the dead one held comes back.
    while queued("orders.poison") + queued("orders") > 0 {
        services.let_locks_expire().await;
        program.output(&redrive).await;
        fixed.run("orders").await;
        assert!(std::time::Instant::now() < deadline, "{} letters never end", queued("orders.poison"));
    }
    let stored = fixed.stored();
    assert_eq!(stored.iter().collect::<BTreeSet<_>>().len(), MESSAGES, "{stored:?}");
    assert_eq!(stored.len(), MESSAGES, "{stored:?}");
    let done = program.json(&["records", "list", "--state", "done", "--json"]).await;
    assert_eq!(done.len(), MESSAGES);
    let shown = program.json(&["records", "show", "--queue", "orders", "--id", "m-7", "--json"]).await;
    assert_eq!((&shown[0]["state"], &shown[0]["id"]), (&json!("done"), &json!("m-7")));
    let steps = fixed.query("SELECT id FROM effects WHERE outcome = 'done'");
    assert_eq!(steps.len(), MESSAGES, "each was done by one step");

    // And then it is swept, when it is old.
    let sum = program.json(&["records", "sweep", "--older-than", "0s", "--force", "--json"]).await;
    assert_eq!(sum[0]["records"], MESSAGES);
    assert!(fixed.blob_names().await.is_empty());
    fixed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_shown_told_apart_and_purged_on_azurite() {
    let Some(services) = Services::with_azurite().await else { return };
    let program = Program::new(services.service_bus(), services.storage());
    let app = World::on(Arc::new(services), Setup::flaky()).await;
    for n in 0..3 {
        let body = json!({"flaky": {"reject": format!("reason {n}")}});
        app.send("orders", &format!("m-{n}"), body.to_string()).await;
    }
    app.drain("orders").await;
    // The same id with another payload: its record knows nothing of this letter.
    app.send("orders", "m-0", "{}").await;
    app.drain("orders").await;

    let letters = |words: &[&str]| {
        let words: Vec<String> = ["dead-letters"].iter().chain(words).map(|word| (*word).to_owned()).collect();
        let program = &program;
        async move {
            let words: Vec<&str> = words.iter().map(String::as_str).chain(["--queue", "orders", "--json"]).collect();
            program.json(&words).await
        }
    };
    let mismatched = letters(&["list", "--reason", "payload-mismatch"]).await;
    assert_eq!(mismatched.len(), 1);
    let dry = letters(&["redrive", "--dry-run"]).await;
    assert_eq!(app.queued("orders.poison"), 4, "a dry run takes nothing away: {dry:?}");
    let gone = letters(&["purge", "--reason", "payload-mismatch"]).await;
    assert_eq!(app.queued("orders.poison"), 3, "{gone:?}");
    let shown = program.json(&["records", "show", "--queue", "orders", "--id", "m-0", "--json"]).await;
    assert_eq!(
        (&shown[0]["state"], &shown[0]["last_error"]),
        (&json!("parked"), &json!("rejected: reason 0")),
        "{shown:?}"
    );
    app.stop().await;
}

#[tokio::test]
async fn wrong_arguments_and_missing_credentials_have_statuses_of_their_own() {
    let emulator = Emulator::start(Options::default()).await.unwrap();
    let program = Program::new(emulator.service_bus_connection_string(), emulator.storage_connection_string());
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
