//! What the tests of the host run: it does what the path of a request tells it to.
//!
//! | path | it |
//! |---|---|
//! | `/headers` | answers the request's headers, as JSON |
//! | `/variable/{name}` | answers a variable, or the error |
//! | `/environment` | answers its environment, as JSON |
//! | `/print` | prints the body to stdout, and `to stderr` to stderr |
//! | `/panic` | panics before it answers |
//! | `/send` | sends the requests that the body lists, one after the other, and answers what came back, as JSON |
//! | `/late` | answers, then does what `/send` does |
//! | `/half` | begins an answer, then does what `/send` does, then ends the answer |
//! | `/process` | gives the body, a JSON list of messages, to its processor, and answers the steps, as JSON |

#![allow(unsafe_code, reason = "the entry point that `http_component` generates")]

use std::io::Write;

use futures::SinkExt;
use serde::{Deserialize, Serialize};
use spin_sdk::http::conversions::TryFromIncomingRequest;
use spin_sdk::http::{Fields, IncomingRequest, Method, OutgoingResponse, Request, Response, ResponseOutparam, send};
use spin_sdk::http_component;

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ world: "handler", path: "../../../../wit" });
}

use bindings::oncebus::processor::process::{Message, Retry, Step, process};

#[http_component]
async fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let Ok(request) = Request::try_from_incoming_request(request).await else {
        return;
    };
    let header = request.header("spin-path-info").and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let response = OutgoingResponse::new(Fields::new());
    let mut body = response.take_body();
    match header.as_str() {
        "/late" => {
            out.set(response);
            drop(body);
            send_all(request.body()).await;
        }
        "/half" => {
            out.set(response);
            let _ = body.send(b"half".to_vec()).await;
            send_all(request.body()).await;
            let _ = body.send(b" and half".to_vec()).await;
        }
        path => {
            let answer = answer(path, &request).await;
            out.set(response);
            let _ = body.send(answer).await;
        }
    }
}

#[expect(clippy::panic, reason = "a panic was asked for")]
async fn answer(path: &str, request: &Request) -> Vec<u8> {
    match path {
        "/headers" => json(&request.headers().map(|(name, value)| (name, value.as_str())).collect::<Vec<_>>()),
        "/environment" => json(&std::env::vars().collect::<Vec<_>>()),
        "/print" => {
            print!("{}", String::from_utf8_lossy(request.body()));
            let _ = std::io::stdout().flush();
            eprintln!("to stderr");
            Vec::new()
        }
        "/panic" => panic!("as asked"),
        "/send" => json(&send_all(request.body()).await),
        "/process" => json(&process_all(request.body())),
        other => match other.strip_prefix("/variable/").map(spin_sdk::variables::get) {
            Some(Ok(value)) => value.into_bytes(),
            Some(Err(error)) => format!("{error:?}").into_bytes(),
            None => b"unknown path".to_vec(),
        },
    }
}

#[derive(Deserialize)]
struct Call {
    method: String,
    uri: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
}

/// `status body` of each answer, or the error.
async fn send_all(calls: &[u8]) -> Vec<String> {
    let calls: Vec<Call> = serde_json::from_slice(calls).unwrap_or_default();
    let mut answers = Vec::new();
    for call in calls {
        let method = match call.method.as_str() {
            "POST" => Method::Post,
            "PUT" => Method::Put,
            _ => Method::Get,
        };
        let request = Request::builder().method(method).uri(call.uri).headers(call.headers).body(call.body).build();
        let answer: Result<Response, _> = send(request).await;
        answers.push(match answer {
            Ok(answer) => format!("{} {}", answer.status(), String::from_utf8_lossy(answer.body())),
            Err(error) => error.to_string(),
        });
    }
    answers
}

#[derive(Deserialize)]
struct Given {
    id: String,
    body: String,
    /// The body's bytes, where it is no text.
    bytes: Option<Vec<u8>>,
    #[serde(default)]
    settings: Vec<(String, String)>,
    #[serde(default = "one")]
    attempt: u32,
    #[serde(default = "one")]
    epoch: u32,
    #[serde(default)]
    step: u32,
    checkpoint: Option<String>,
    key: Option<String>,
    #[serde(default)]
    properties: Vec<(String, String)>,
}

fn one() -> u32 {
    1
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Done(Option<String>),
    More(String),
    Retry { reason: String, after_seconds: Option<u32> },
    Reject(String),
}

fn process_all(messages: &[u8]) -> Vec<Answer> {
    let messages: Vec<Given> = serde_json::from_slice(messages).unwrap_or_default();
    let batch: Vec<Message> = messages.into_iter().map(message).collect();
    process(&batch).into_iter().map(step).collect()
}

fn message(given: Given) -> Message {
    Message {
        id: given.id,
        queue: "orders".to_owned(),
        group: "orders".to_owned(),
        key: given.key,
        content_type: Some("text/plain".to_owned()),
        body: given.bytes.unwrap_or_else(|| given.body.into_bytes()),
        properties: given.properties,
        enqueued_at_ms: 1_790_000_000_000,
        delivery_count: 1,
        attempt: given.attempt,
        epoch: given.epoch.into(),
        key_epoch: None,
        step: given.step,
        checkpoint: given.checkpoint.map(String::into_bytes),
        time_left_ms: 40_000,
        run: "run-1".to_owned(),
        settings: given.settings,
    }
}

fn step(step: Step) -> Answer {
    match step {
        Step::Done(result) => Answer::Done(result),
        Step::More(checkpoint) => Answer::More(String::from_utf8_lossy(&checkpoint).into_owned()),
        Step::Retry(Retry { reason, after_seconds }) => Answer::Retry { reason, after_seconds },
        Step::Reject(reason) => Answer::Reject(reason),
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
