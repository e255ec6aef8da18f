//! Recorded exchanges, as they stand in the fixtures.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) source: String,
    pub(crate) n: u64,
    pub(crate) kind: String,
    pub(crate) method: String,
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) req_headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) req_body: Value,
    pub(crate) status: u16,
    pub(crate) reason: Option<String>,
    pub(crate) resp_headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) resp_body: Value,
}

impl Exchange {
    /// Host, and path with query.
    pub(crate) fn place(&self) -> (&str, &str) {
        let rest = self.url.split_once("://").expect("a URL").1;
        rest.split_at(rest.find('/').unwrap_or(rest.len()))
    }

    pub(crate) fn request_body(&self) -> Vec<u8> {
        bytes(&self.req_body)
    }

    pub(crate) fn answer(&self) -> Answer {
        Answer {
            status: self.status,
            reason: self.reason.clone(),
            headers: self.resp_headers.iter().map(|(n, v)| (n.to_lowercase(), v.clone())).collect(),
            body: bytes(&self.resp_body),
        }
    }
}

/// An answer, recorded or given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: Option<String>,
    /// Names in lower case: they are equal by HTTP.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        Value::Object(object) => {
            let text = object["base64"].as_str().expect("base64");
            base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
        }
        _ => Vec::new(),
    }
}

/// The exchanges of a fixture by their source, in order.
pub(crate) fn sources(file: &str) -> BTreeMap<String, Vec<Exchange>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recordings").join(format!("{file}.jsonl"));
    let text = std::fs::read_to_string(path).expect("the fixture");
    let mut sources: BTreeMap<String, Vec<Exchange>> = BTreeMap::new();
    for line in text.lines() {
        let exchange: Exchange = serde_json::from_str(line).expect("an exchange");
        let name = exchange.source.replace("test_servicebus_servicebus.", "").replace(".yaml", "");
        sources.entry(name).or_default().push(exchange);
    }
    sources
}
