//! What was answered survives the death of the process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;
use support::{Blobs, Bus, headers, outcome};

/// The real program, killed when the test ends.
struct Program {
    child: Child,
    service_bus: String,
    blob: String,
    admin: String,
}

impl Program {
    fn start(store: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_oncebus-emulator"))
            .args(["--queue", "q", "--container", "records", "--max-delivery-count", "5", "--store"])
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
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn ask(&self, path: &str) -> Value {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.get(format!("{}/{path}", self.admin)).send().await.unwrap();
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }

    async fn state(&self) -> Value {
        self.ask("state").await
    }

    /// Looks until there were so many calls, at most 30 seconds.
    async fn wait_for_calls(&self, operation: &str, calls: u64) {
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
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("oncebus-emulator-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn database(&self) -> PathBuf {
        self.0.join("emulator.db")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn messages_locks_blobs_and_clocks_survive_a_kill() {
    let scratch = Scratch::new("kill");
    let program = Program::start(&scratch.database());
    let bus = Bus::new(&program.service_bus);
    for text in ["done", "held", "free"] {
        let request = bus.request(Method::POST, "q/messages").header("n", "7");
        let request = request.header("content-length", text.len().to_string()).body(text.to_owned());
        assert_eq!(request.send().await.unwrap().status(), 201);
    }
    let done = bus.peek_lock("q", 0).await.unwrap();
    assert_eq!(bus.complete(&done.location).await, 200);
    let held = bus.peek_lock("q", 0).await.unwrap();
    let scheduled = r#"{"ScheduledEnqueueTimeUtc":"Fri, 01 Jan 2100 00:00:00 GMT","MessageId":"later"}"#;
    let request = bus.request(Method::POST, "q/messages").header("brokerproperties", scheduled);
    assert_eq!(request.send().await.unwrap().status(), 201);
    let blobs = Blobs::new(&program.blob, "records", "rcw");
    let created = headers(&blobs.put("a").header("x-ms-meta-st", "p").send().await.unwrap());
    let clock = bus.http.post(format!("{}/clock", program.admin)).body(r#"{"advance_seconds":30}"#);
    assert_eq!(clock.send().await.unwrap().status(), 200);
    // The clock's row is written when something after it is answered.
    let settled = headers(&blobs.set_metadata("a").header("x-ms-meta-st", "d").send().await.unwrap());
    let before = program.state().await;
    program.kill();

    let program = Program::start(&scratch.database());
    let after = program.state().await;
    assert_eq!(after["entities"], before["entities"]);
    assert_eq!(after["containers"], before["containers"]);
    assert!(after["blob_now"].as_i64() >= before["blob_now"].as_i64());

    let bus = Bus::new(&program.service_bus);
    let blobs = Blobs::new(&program.blob, "records", "rcw");
    assert_ne!(settled["etag"], created["etag"]);
    assert_eq!(outcome(blobs.set_metadata("a").header("if-match", &created["etag"])).await.0, 412);
    assert_eq!(outcome(blobs.set_metadata("a").header("if-match", &settled["etag"])).await.0, 200);
    // The lock holds across the restart, and its token settles the message.
    let free = bus.peek_lock("q", 0).await.unwrap();
    assert_eq!((free.body.as_str(), free.headers["n"].as_str()), ("free", "7"));
    assert!(bus.peek_lock("q", 0).await.is_none());
    let path = held.location.splitn(4, '/').nth(3).unwrap();
    assert_eq!(bus.complete(path).await, 200);
    // Numbers are not given out again.
    bus.send("q", "next").await;
    assert_eq!(bus.peek_lock("q", 0).await.unwrap().broker["SequenceNumber"], 4);
}

#[tokio::test]
async fn nothing_that_was_answered_is_lost_under_load() {
    let scratch = Scratch::new("load");
    let program = Program::start(&scratch.database());
    let bus = Bus::new(&program.service_bus);
    let stop = Arc::new(AtomicBool::new(false));
    // Senders go on until the connection breaks, and remember what was answered 201.
    let send = |sender: usize| {
        let (bus, stop) = (bus.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut accepted = Vec::new();
            for n in 0.. {
                let body = format!("{sender}-{n}");
                let request = bus.http.post(format!("{}/q/messages", bus.url)).header("authorization", &bus.token);
                match request.body(body.clone()).send().await {
                    Ok(response) if response.status() == 201 => accepted.push(body),
                    _ => break,
                }
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            accepted
        })
    };
    // A receiver completes some of them meanwhile.
    let receive = tokio::spawn({
        let bus = bus.clone();
        async move {
            let mut completed = Vec::new();
            while let Ok(response) = bus.try_peek_lock("q", 5).await {
                let location = headers(&response).get("location").cloned();
                let (Some(location), Ok(body)) = (location, response.text().await) else { break };
                match bus.request(Method::DELETE, &location).send().await {
                    Ok(response) if response.status() == 200 => completed.push(body),
                    _ => break,
                }
            }
            completed
        }
    });
    let senders: Vec<_> = (0..8).map(send).collect();
    program.wait_for_calls("service-bus.send", 500).await;
    program.kill();
    stop.store(true, Ordering::Relaxed);
    let mut accepted = Vec::new();
    for sender in senders {
        accepted.extend(sender.await.unwrap());
    }
    let completed = receive.await.unwrap();
    assert!(accepted.len() > 400, "only {} messages were sent", accepted.len());

    let program = Program::start(&scratch.database());
    let state = program.state().await;
    let messages = state["entities"]["q"]["messages"].as_array().unwrap();
    let kept: std::collections::BTreeSet<&str> = messages.iter().map(|m| m["body"].as_str().unwrap()).collect();
    assert_eq!(kept.len(), messages.len(), "a message is there twice");
    for body in &completed {
        assert!(!kept.contains(body.as_str()), "{body} was completed and is back");
    }
    // One that was being completed when the program died may be gone without an answer.
    let missing = accepted.iter().filter(|body| !kept.contains(body.as_str()) && !completed.contains(body)).count();
    assert!(missing <= 1, "{missing} accepted messages are lost");
}

#[test]
fn a_signal_ends_the_program_cleanly() {
    let scratch = Scratch::new("signal");
    let mut program = Program::start(&scratch.database());
    let killed = Command::new("kill").args(["-TERM", &program.child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert!(program.child.wait().unwrap().success());
}
