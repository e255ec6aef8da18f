//! The emulator as a process of its own, on a SQLite file: it is killed and started again at the same addresses.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Method, Request};
use oncebus_azure::connection::{ServiceBusConnection, StorageConnection};
use oncebus_runtime::calls::{Bounds, Repeat, call};
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::platform::native::Native;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// How long it may take to start, on a machine that is busy.
const STARTING: Duration = Duration::from_secs(20);

/// The running process.
pub(super) struct Emulator {
    arguments: Vec<String>,
    process: Child,
    says: Said,
}

/// What it prints when it is ready: names and values.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said(BTreeMap<String, String>);

impl Said {
    fn get(&self, name: &str) -> anyhow::Result<&str> {
        self.0.get(name).map(String::as_str).with_context(|| format!("the emulator does not say its {name}"))
    }

    /// Scheme, host and port of one of its services.
    fn origin(&self, name: &str) -> anyhow::Result<String> {
        Ok(self.get(name)?.splitn(4, '/').take(3).collect::<Vec<_>>().join("/"))
    }
}

impl Emulator {
    /// Starts it, on any ports. `arguments` are those of `oncebus emulator`, without addresses.
    pub(super) async fn start(store: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut all: Vec<String> = ["emulator", "--store"].map(str::to_owned).into();
        all.push(store.to_str().context("the folder's name is not UTF-8")?.to_owned());
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let (process, says) = spawn(&all).await?;
        for service in ["service-bus", "blob", "admin"] {
            let origin = says.origin(service)?;
            let address = origin.strip_prefix("http://").context("the emulator's address")?;
            all.extend([format!("--{service}-listen"), address.to_owned()]);
        }
        Ok(Self { arguments: all, process, says })
    }

    /// `kill -9`, and a new process on the same file.
    pub(super) async fn kill_and_start(&mut self) -> anyhow::Result<()> {
        // On Unix this is SIGKILL.
        self.process.kill().await.context("cannot kill the emulator")?;
        let (process, says) = spawn(&self.arguments).await?;
        ensure!(says == self.says, "the emulator came back somewhere else");
        self.process = process;
        Ok(())
    }

    /// How to reach it with the keys that it starts with.
    pub(super) fn connections(&self) -> anyhow::Result<(ServiceBusConnection, StorageConnection)> {
        let bus = ServiceBusConnection::parse(self.says.get("service-bus-connection")?)?;
        Ok((bus, StorageConnection::parse(self.says.get("storage-connection")?)?))
    }

    /// Asks the admin port.
    pub(super) async fn admin(
        &self,
        platform: &Native,
        method: Method,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let admin = self.says.origin("admin")?;
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = Request::builder().method(method).uri(format!("{admin}{path}")).body(body)?;
        let deadline = platform.now().plus(STARTING);
        let bounds = Bounds { repeat: Repeat::Always, each: STARTING, deadline, wait_when_throttled: true };
        let answer = call(platform, request, bounds).await.result.context("the emulator's admin port")?;
        if !answer.status().is_success() {
            bail!("the emulator's admin port answers {} to {path}", answer.status());
        }
        Ok(serde_json::from_slice(answer.body())?)
    }

    /// Makes some locks get lost from now on. A killed emulator forgets it.
    pub(super) async fn lose_locks(&self, platform: &Native, seed: u64) -> anyhow::Result<()> {
        let rule = |operation: &str, probability: f64| json!({ "service": "service-bus", "operation": operation, "lose_lock": true, "probability": probability, "seed": seed });
        let rules = json!([rule("renew", 0.05), rule("complete", 0.005)]);
        self.admin(platform, Method::POST, "/faults", &rules).await.map(|_| ())
    }
}

/// Starts a process and reads what it says.
async fn spawn(arguments: &[String]) -> anyhow::Result<(Child, Said)> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().context("cannot start the emulator")?;
    let mut lines = BufReader::new(process.stdout.take().context("no standard output")?).lines();
    let read = async {
        let mut said = BTreeMap::new();
        while let Some(line) = lines.next_line().await? {
            match line.split_once('=') {
                Some((name, value)) => said.insert(name.to_owned(), value.to_owned()),
                None if line == "ready" => return Ok(Said(said)),
                None => bail!("the emulator says {line:?}"),
            };
        }
        bail!("the emulator ended before it was ready")
    };
    let said = tokio::time::timeout(STARTING, read).await.context("the emulator does not start")??;
    Ok((process, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path() {
        let said = Said([("blob".to_owned(), "http://127.0.0.1:7/devstoreaccount1".to_owned())].into());
        assert_eq!(said.origin("blob").unwrap(), "http://127.0.0.1:7");
        assert!(said.origin("admin").unwrap_err().to_string().contains("admin"));
    }
}
