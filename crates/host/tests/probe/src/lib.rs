//! A processor for the tests of the host: it tries what the body of a message names, and is done with the outcome.
//!
//! `environment`, `database`, `variable NAME`, `get URI`.

#![allow(unsafe_code, reason = "the exports that `wit_bindgen` generates")]

use spin_sdk::http::{Request, Response, send};
use spin_sdk::sqlite::Connection;

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ world: "processor", path: "../../../../wit" });
}

use bindings::exports::oncebus::processor::process::{Guest, Message, Step};

struct Probe;

bindings::export!(Probe with_types_in bindings);

impl Guest for Probe {
    fn process(batch: Vec<Message>) -> Vec<Step> {
        batch.iter().map(|message| Step::Done(Some(attempt(&String::from_utf8_lossy(&message.body))))).collect()
    }
}

fn attempt(what: &str) -> String {
    match what.split_once(' ').unwrap_or((what, "")) {
        ("environment", _) => format!("{:?}", std::env::vars().collect::<Vec<_>>()),
        ("database", _) => match Connection::open_default().and_then(|database| database.execute("SELECT 1", &[])) {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{error:?}"),
        },
        ("variable", name) => spin_sdk::variables::get(name).unwrap_or_else(|error| format!("{error:?}")),
        ("get", uri) => match spin_executor::run(send::<_, Response>(Request::get(uri).build())) {
            Ok(response) => response.status().to_string(),
            Err(error) => error.to_string(),
        },
        _ => "unknown".to_owned(),
    }
}
