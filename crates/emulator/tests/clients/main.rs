//! Other people's clients against the emulator: what they send is theirs, and so is what they make of an answer.
//!
//! Each client has a script whose steps are the assertions, and each test starts an emulator in this process and
//! runs one script against it. What a script prints beyond its passed steps is in the output of the test. The
//! scripts move the emulator's clock, so each has an emulator of its own.
//!
//! `scripts/clients` installs the clients, and `scripts/test` calls it. A test whose client is missing fails and
//! says so; with `ONCEBUS_WITHOUT_CLIENTS` set it passes and says that it did nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use oncebus_emulator::{Emulator, Options, Tls};
use oncebus_third_party::find;

/// A folder beside this file.
fn scripts(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(folder)
}

/// Runs a script against an emulator of its own. Its status says whether all steps passed, and its last line how
/// many there were.
async fn run(mut script: Command) {
    let emulator = Emulator::start(Options { tls: Some(Tls::default()), ..Options::default() }).await.unwrap();
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), emulator.authority().unwrap()).unwrap();
    script.env("ONCEBUS_SERVICE_BUS", emulator.service_bus_url()).env("ONCEBUS_ADMIN", emulator.admin_url());
    script.env("ONCEBUS_SERVICE_BUS_TLS", emulator.service_bus_tls_url().unwrap());
    script.env("NODE_EXTRA_CA_CERTS", authority.path());
    let output = tokio::task::spawn_blocking(move || script.output()).await.unwrap().unwrap();
    emulator.shutdown().await;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    said.lines().filter(|line| !line.starts_with("ok ")).for_each(|line| println!("{line}"));
    let last = said.lines().last().unwrap_or_default();
    assert!(output.status.success() && last.contains(" steps passed"), "{}: {complained}", output.status);
}

/// A script of the folder `python`, in the virtual environment of this name.
async fn run_python(environment: &str, script: &str) {
    let Some(environment) = find(environment) else { return };
    let mut command = Command::new(environment.join("bin/python"));
    // Warnings are about the clients' age; compiled files would lie among the sources.
    command.args(["-B", "-W", "ignore"]).arg(scripts("python").join(script));
    run(command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_legacy_client_for_python() {
    run_python("legacy", "legacy.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administration_client_for_python() {
    run_python("administration", "administration.py").await;
}

/// A script of the folder `node`.
async fn run_node(script: &str) {
    let Some(packages) = find("node") else { return };
    let mut command = Command::new("node");
    command.arg(scripts("node").join(script)).env("NODE_PATH", packages.join("node_modules"));
    run(command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_legacy_client_for_node() {
    run_node("azure-sb.js").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administration_client_for_node() {
    run_node("service-bus.js").await;
}
