//! CloudEvents, and everything else that is accepted, from the sender to the processor: nothing is altered on the way.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use oncebus_e2e::{Setup, World};
use oncebus_third_party::find;
use rusqlite::types::Value as Column;
use serde_json::{Value, json};

/// What the processor got: by id, the body, and all else.
#[derive(Debug, Clone, PartialEq)]
struct Got {
    body: Vec<u8>,
    content_type: Option<String>,
    key: Option<String>,
    properties: BTreeMap<String, String>,
}

/// Everything that is stored once the queue is empty.
async fn got(world: &World) -> BTreeMap<String, Got> {
    while world.queued("orders") > 0 {
        world.run("orders").await;
    }
    let text = |column: &Column| match column {
        Column::Text(text) => Some(text.clone()),
        _ => None,
    };
    let rows = world.query("SELECT id, hex(body), content_type, lock_key, properties FROM messages");
    rows.iter()
        .map(|row| {
            let hex = text(&row[1]).unwrap_or_default();
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let body = (0..hex.len()).step_by(2).map(byte).collect();
            let properties = text(&row[4]).unwrap();
            (
                text(&row[0]).unwrap(),
                Got {
                    body,
                    content_type: text(&row[2]),
                    key: text(&row[3]),
                    properties: serde_json::from_str(&properties).unwrap(),
                },
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_the_sdk_for_python_arrive_as_it_wrote_them() {
    let Some(environment) = find("cloudevents") else { return };
    let world = World::start().await;
    let mut script = Command::new(environment.join("bin/python"));
    script.args(["-B", "-W", "ignore"]).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/cloudevents_sdk.py"));
    script.env("ONCEBUS_APP", world.url(""));
    let output = tokio::task::spawn_blocking(move || script.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(expected.len(), 21);
    let got = got(&world).await;
    assert_eq!(got.len(), expected.len());
    for event in expected {
        let id = event["id"].as_str().unwrap();
        let found = got.get(id).unwrap_or_else(|| panic!("{id:?} is not among {:?}", got.keys()));
        let mut wanted: BTreeMap<String, String> = serde_json::from_value(event["properties"].clone()).unwrap();
        let mut properties = found.properties.clone();
        // The SDK has two ways to write a time.
        for times in [&mut wanted, &mut properties] {
            if let Some(time) = times.get_mut("cloudevents_time") {
                *time = time.replace("+00:00", "Z");
            }
            // And Python's own words for a truth.
            if let Some(flag) = times.get_mut("cloudevents_flag") {
                *flag = flag.to_lowercase();
            }
        }
        assert_eq!(properties, wanted, "{id}");
        let body = STANDARD.decode(event["body"].as_str().unwrap()).unwrap();
        assert_eq!((&found.body, found.content_type.as_deref()), (&body, event["content_type"].as_str()), "{id}");
        assert_eq!(found.key.as_deref(), event["key"].as_str(), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_by_two_ways_is_one_message() {
    let world = World::start().await;
    let event = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": { "a": 1 } });
    let structured = world.request(Method::POST, "/queues/orders/messages");
    let structured = structured.header("content-type", "application/cloudevents+json").body(event.to_string());
    let batched = world.request(Method::POST, "/queues/orders/messages");
    let batched = batched.header("content-type", "application/cloudevents-batch+json").body(format!("[{event}]"));
    let binary = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")]
        .into_iter()
        .fold(world.request(Method::POST, "/queues/orders/messages"), |all, (name, value)| all.header(name, value));
    let binary = binary.header("content-type", "application/json").body("{\"a\":1}");
    for request in [structured, batched, binary] {
        assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED);
    }
    let summary = world.run("orders").await;
    assert_eq!((summary.done, summary.duplicate, summary.mismatched), (1, 2, 0), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn event_grid_gets_its_handshake() {
    let setup = Setup::default();
    let config = format!("{}\n[cloudevents]\nallowed_origins = 'eventgrid.azure.net'\n", setup.config);
    let world = World::with(Setup { config, ..setup }).await;
    let ask = world.request(Method::OPTIONS, "/queues/orders/messages");
    let answer = ask.header("WebHook-Request-Origin", "eventgrid.azure.net").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let headers = answer.headers();
    assert_eq!(
        (&headers["webhook-allowed-origin"], &headers["webhook-allowed-rate"]),
        (&"eventgrid.azure.net".parse().unwrap(), &"*".parse().unwrap())
    );
    let ask = world.request(Method::OPTIONS, "/queues/orders/messages");
    let answer = ask.header("WebHook-Request-Origin", "elsewhere.example").send().await.unwrap();
    assert_eq!((answer.status(), answer.headers().get("webhook-allowed-origin")), (StatusCode::FORBIDDEN, None));
}

/// A generator that anybody can repeat: its seed is printed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn text(&mut self, most: u64) -> String {
        const ALPHABET: [char; 16] =
            ['a', 'Z', '0', ' ', '"', '\\', '/', '\n', '\t', '%', '&', '\u{0}', 'é', '€', '😀', '\u{2028}'];
        let length = self.roll(most);
        (0..length).map(|_| ALPHABET[usize::try_from(self.roll(16)).unwrap()]).collect()
    }

    /// Without what no header, and no attribute, may hold.
    fn word(&mut self) -> String {
        let text: String = self.text(12).chars().filter(|c| !c.is_control()).collect();
        format!("x{}x", text.trim())
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let length = self.roll(most);
        (0..length).map(|_| u8::try_from(self.roll(256)).unwrap()).collect()
    }

    fn json(&mut self, depth: u32) -> String {
        match self.roll(if depth == 0 { 4 } else { 6 }) {
            0 => Value::from(self.text(20)).to_string(),
            1 => format!("{}", self.roll(1 << 60)),
            2 => ["1.0e+2", "-0", "true", "null", "1e400"][usize::try_from(self.roll(5)).unwrap()].to_owned(),
            3 => "\"\\u00e9\\/\"".to_owned(),
            4 => format!("[{} ,\t{}]", self.json(depth - 1), self.json(depth - 1)),
            _ => format!("{{ {}:{}}}", Value::from(self.text(6)), self.json(depth - 1)),
        }
    }
}

/// Whatever is accepted, by whatever door, reaches the processor as it was sent.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_accepted_is_altered_on_its_way() {
    let seed = std::env::var("ONCEBUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_120);
    println!("ONCEBUS_SEED={seed}");
    let mut dice = Dice(seed);
    let setup = Setup::default().with_defaults("large_bodies = 'claim-check'");
    let config = format!("max_message_bytes = 4096\n{}", setup.config);
    let world = World::with(Setup { config, ..setup }).await;
    let mut sent: BTreeMap<String, Got> = BTreeMap::new();
    for round in 0..12 {
        let mut lines = Vec::new();
        let mut events = Vec::new();
        for item in 0..6 {
            let id = format!("{round}-{item}-{}", dice.word());
            let large = if dice.roll(4) == 0 { 9_000 } else { 300 };
            let (key, value) = (dice.word(), dice.word());
            let properties: BTreeMap<String, String> = [("p".to_owned(), value.clone())].into();
            // By itself, any bytes.
            let body = dice.bytes(large);
            let request =
                world.request(Method::POST, "/queues/orders/messages").header("content-type", "a/b; x=\"y z\"");
            let quoted = format!("one-{round}-{item}");
            let answer = request.header("idempotency-key", &quoted).body(body.clone()).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::ACCEPTED);
            let content_type = Some("a/b; x=\"y z\"".to_owned());
            sent.insert(quoted, Got { body, content_type, key: None, properties: BTreeMap::new() });
            // In a batch, any JSON, and text.
            let json = if large > 1_000 { Value::from(dice.text(3_000)).to_string() } else { dice.json(3) };
            lines.push(format!(
                "{{\"body\":{json},\"id\":{},\"key\":{},\"properties\":{{\"p\":{}}}}}",
                Value::from(id.as_str()),
                Value::from(key.as_str()),
                Value::from(value.as_str())
            ));
            let content_type = Some("application/json".to_owned());
            sent.insert(id.clone(), Got { body: json.into(), content_type, key: Some(key.clone()), properties });
            let text = dice.text(large / 4);
            let text_id = format!("text {id}");
            lines.push(json!({ "id": text_id, "content_type": "text/plain", "body": text }).to_string());
            let plain = Some("text/plain".to_owned());
            sent.insert(
                text_id,
                Got { body: text.into(), content_type: plain, key: None, properties: BTreeMap::new() },
            );
            // As an event, any data.
            let (bytes, subject) = (dice.bytes(large), dice.word());
            let mut event = json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "t", "subject": subject,
                "partitionkey": key, "datacontenttype": "image/png", "data_base64": STANDARD.encode(&bytes) });
            if dice.roll(2) == 0 {
                events.push(event.to_string());
            } else {
                let request = world.request(Method::POST, "/queues/orders/messages");
                let request = request.header("content-type", "application/cloudevents+json");
                assert_eq!(request.body(event.to_string()).send().await.unwrap().status(), StatusCode::ACCEPTED);
            }
            let attributes = event.as_object_mut().unwrap();
            attributes.retain(|name, _| name != "data_base64" && name != "datacontenttype");
            let properties = attributes
                .iter()
                .map(|(name, value)| (format!("cloudevents_{name}"), value.as_str().unwrap().to_owned()));
            let content_type = Some("image/png".to_owned());
            sent.insert(
                format!("/s {id}"),
                Got { body: bytes, content_type, key: Some(key), properties: properties.collect() },
            );
        }
        for (content_type, body) in [
            ("application/x-ndjson", lines.join("\r\n")),
            ("application/cloudevents-batch+json", format!("[{}]", events.join(" , "))),
        ] {
            let request = world.request(Method::POST, "/queues/orders/batch").header("content-type", content_type);
            let answer = request.body(body).send().await.unwrap();
            let status = answer.status();
            assert_eq!(status, StatusCode::ACCEPTED, "{}", answer.text().await.unwrap());
        }
    }
    let got = got(&world).await;
    assert_eq!(got.len(), sent.len());
    for (id, sent) in &sent {
        assert_eq!(got.get(id), Some(sent), "{id:?}");
    }
}
