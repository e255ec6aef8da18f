//! What was answered survives the death of the process, in one thing after the other. How it is under load is the
//! business of `crashes`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

#[path = "support/program.rs"]
mod program;
mod support;

use std::process::Command;

use oncebus_emulator::{Emulator, Options, Store};
use program::{Program, Scratch};
use reqwest::Method;
use support::{Blobs, Bus, headers, outcome};

const ARGUMENTS: [&str; 6] = ["--queue", "q", "--container", "records", "--max-delivery-count", "5"];

#[tokio::test]
async fn messages_locks_blobs_and_clocks_survive_a_kill() {
    let scratch = Scratch::new("kill");
    let program = Program::start(&scratch.database(), &ARGUMENTS);
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

    let program = Program::start(&scratch.database(), &ARGUMENTS);
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
async fn a_kill_amid_forwarding_neither_loses_nor_doubles() {
    let scratch = Scratch::new("forward");
    let program = Program::start(&scratch.database(), &ARGUMENTS);
    let bus = Bus::new(&program.service_bus);
    let description = "<entry><content><QueueDescription><ForwardTo>q</ForwardTo></QueueDescription></content></entry>";
    let url = format!("{}/source?api-version=2021-05", bus.url);
    let made = bus.http.put(url).header("authorization", &bus.token).body(description).send().await.unwrap();
    assert_eq!(made.status(), 201);
    let send = |sender: usize| {
        let bus = bus.clone();
        tokio::spawn(async move {
            let mut accepted = Vec::new();
            for n in 0.. {
                let body = format!("{sender}-{n}");
                let request = bus.http.post(format!("{}/source/messages", bus.url)).header("authorization", &bus.token);
                match request.body(body.clone()).send().await {
                    Ok(response) if response.status() == 201 => accepted.push(body),
                    _ => break,
                }
            }
            accepted
        })
    };
    let senders: Vec<_> = (0..4).map(send).collect();
    program.wait_for_calls("service-bus.send", 200).await;
    program.kill();
    let mut accepted = Vec::new();
    for sender in senders {
        accepted.extend(sender.await.unwrap());
    }
    let program = Program::start(&scratch.database(), &ARGUMENTS);
    let state = program.state().await;
    let bodies = |queue: &str| -> Vec<String> {
        let messages = state["entities"][queue]["messages"].as_array().unwrap();
        messages.iter().map(|m| m["body"].as_str().unwrap().to_owned()).collect()
    };
    assert!(bodies("source").is_empty() && accepted.len() > 100);
    let there = bodies("q");
    let once: std::collections::BTreeSet<&String> = there.iter().collect();
    assert_eq!(once.len(), there.len(), "a message is there twice");
    assert!(accepted.iter().all(|body| once.contains(body)), "an accepted message is lost");
}

#[tokio::test]
async fn a_database_belongs_to_one_process_and_is_free_when_that_dies() {
    let scratch = Scratch::new("exclusive");
    let program = Program::start(&scratch.database(), &ARGUMENTS);
    let bus = Bus::new(&program.service_bus);
    assert_eq!(bus.send("q", "first").await, 201);
    let second = Command::new(env!("CARGO_BIN_EXE_oncebus-emulator"))
        .args(ARGUMENTS)
        .arg("--store")
        .arg(scratch.database())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains("the database is in use"), "{said}");
    assert!(second.stdout.is_empty(), "it opened ports first");
    assert_eq!(bus.send("q", "second").await, 201);
    let options = || Options { store: Store::Sqlite(scratch.database()), ..Options::default() };
    assert!(Emulator::start(options()).await.is_err());
    program.kill();

    let emulator = Emulator::start(options()).await.unwrap();
    assert_eq!(emulator.admin().messages("q").len(), 2);
    // The lock holds within one process too.
    let refused = Emulator::start(options()).await.unwrap_err();
    let source = std::error::Error::source(&refused).unwrap();
    assert!(source.to_string().contains("another emulator in this one"), "{source}");
    emulator.shutdown().await;
    Emulator::start(options()).await.unwrap().shutdown().await;
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_the_database() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new("private");
    let program = Program::start(&scratch.database(), &ARGUMENTS);
    assert_eq!(Bus::new(&program.service_bus).send("q", "secret").await, 201);
    let folder = scratch.database().parent().unwrap().to_owned();
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(Result::unwrap)
        .map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().permissions().mode() & 0o777));
    let mut files: Vec<_> = files.collect();
    files.sort();
    assert_eq!(files, [("emulator.db".to_owned(), 0o600), ("emulator.db-wal".to_owned(), 0o600)]);
    program.kill();
}

#[test]
fn a_signal_ends_the_program_cleanly() {
    let scratch = Scratch::new("signal");
    let mut program = Program::start(&scratch.database(), &ARGUMENTS);
    let killed = Command::new("kill").args(["-TERM", &program.child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert!(program.child.wait().unwrap().success());
}
