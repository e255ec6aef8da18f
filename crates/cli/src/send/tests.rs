//! Sending to a server that answers from a list and keeps what it was sent.

use std::sync::{Arc, Mutex};

use clap::Parser;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

#[derive(Debug, Parser)]
struct CommandLine {
    #[command(flatten)]
    args: Args,
}

fn args(line: &[&str]) -> Result<Args, clap::Error> {
    let fixed = ["send", "--queue", "orders"];
    CommandLine::try_parse_from(fixed.iter().chain(line)).map(|line| line.args)
}

/// An app that answers its nth request with the nth answer, and those after it with the last. Returns its address and
/// what it was sent, head and body.
async fn app(answers: &'static [&'static str]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            while !is_whole(&bytes) {
                assert_ne!(socket.read_buf(&mut bytes).await.unwrap(), 0, "the request ends early");
            }
            let nth = {
                let mut log = log.lock().unwrap();
                log.push(String::from_utf8(bytes).unwrap());
                (log.len() - 1).min(answers.len() - 1)
            };
            let answer = format!("HTTP/1.1 {}\r\nconnection: close\r\n", answers[nth]);
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, seen)
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|length| length.parse().unwrap());
    body.len() >= length.unwrap_or(0)
}

const ACCEPTED: &str = "202 Accepted\r\ncontent-length: 0\r\n";
const REFUSED: &str = "404 Not Found\r\ncontent-length: 30\r\n\r\n{\"title\":\"T\",\"detail\":\"nope\"}  ";

fn header(request: &str, name: &str) -> Option<String> {
    let head = request.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
}

#[tokio::test]
async fn a_file_is_one_message_with_what_was_said_about_it() {
    let (url, seen) = app(&[ACCEPTED]).await;
    let file = std::env::temp_dir().join(format!("oncebus-send-{}", std::process::id()));
    std::fs::write(&file, "<order/>").unwrap();
    let line = ["--app-url", &url, "--id", "a\"b", "--key", "k", "--content-type", "text/xml", file.to_str().unwrap()];
    run(args(&line).unwrap()).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    let request = seen.lock().unwrap().pop().unwrap();
    assert!(
        request.starts_with("POST /queues/orders/messages HTTP/1.1\r\n") && request.ends_with("<order/>"),
        "{request}"
    );
    assert_eq!(header(&request, "idempotency-key").as_deref(), Some("\"a\\\"b\""));
    assert_eq!(header(&request, "oncebus-lock-key").as_deref(), Some("k"));
    assert_eq!(header(&request, "content-type").as_deref(), Some("text/xml"));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_id() {
    let (url, seen) = app(&["500 Internal Server Error\r\ncontent-length: 0\r\n", ACCEPTED]).await;
    run(args(&["--app-url", &url, "--generate", "1"]).unwrap()).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(header(&seen[0], "idempotency-key"), header(&seen[1], "idempotency-key"));
}

#[tokio::test]
async fn one_refusal_is_enough_to_fail() {
    let (url, seen) = app(&[ACCEPTED, REFUSED, ACCEPTED]).await;
    let error = run(args(&["--app-url", &url, "--generate", "5"]).unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "1 message was refused");
    assert_eq!(seen.lock().unwrap().len(), 5);
}

#[test]
fn arguments_that_mean_nothing_together_are_refused() {
    for line in [
        ["--generate", "1", "file"].as_slice(),
        &["--generate", "1", "--ndjson"],
        &["--generate", "1", "--id", "a"],
        &["--ndjson", "--id", "a"],
        &["--size", "10"],
        &["--concurrency", "0"],
    ] {
        assert!(args(line).is_err(), "{line:?}");
    }
    assert!(args(&["--ndjson", "-"]).is_ok());
}
