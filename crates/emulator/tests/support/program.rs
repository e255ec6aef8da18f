//! The emulator as a process of its own, and a directory for its database.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The real program, killed when the test ends.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) service_bus: String,
    pub(crate) blob: String,
    pub(crate) admin: String,
}

impl Program {
    pub(crate) fn start(store: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_oncebus-emulator"))
            .args(arguments)
            .arg("--store")
            .arg(store)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut addresses = std::collections::HashMap::new();
        for line in lines.map(Result::unwrap) {
            match line.split_once('=') {
                Some((name, address)) => addresses.insert(name.to_owned(), address.to_owned()),
                None if line == "ready" => break,
                None => panic!("unexpected line: {line}"),
            };
        }
        let mut take = |name: &str| addresses.remove(name).unwrap();
        Self { service_bus: take("service-bus"), blob: take("blob"), admin: take("admin"), child }
    }

    /// `kill -9`: no goodbye.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn ask(&self, path: &str) -> Value {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.get(format!("{}/{path}", self.admin)).send().await.unwrap();
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }

    pub(crate) async fn state(&self) -> Value {
        self.ask("state?top=1000000").await
    }

    /// Looks until there were so many calls, at most 30 seconds.
    pub(crate) async fn wait_for_calls(&self, operation: &str, calls: u64) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.ask("calls").await[operation].as_u64().unwrap_or(0) < calls {
            assert!(Instant::now() < deadline, "fewer than {calls} calls of {operation}");
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory that is gone with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("oncebus-emulator-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("emulator.db")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
