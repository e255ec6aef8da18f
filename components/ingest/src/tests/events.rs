//! CloudEvents in all three modes, and who may send them.

use oncebus_core::ingest::cloudevents::BATCHED;

use super::*;

const PATH: &str = "/queues/orders/messages";
const EVENT: &str = r#"{"specversion":"1.0","id":"1/a","source":"/shop","type":"order.placed","partitionkey":"customer 1","data":{"total": 12.50}}"#;
const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json; charset=utf-8");
const BINARY: [(&str, &str); 6] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "1%2Fa"),
    ("ce-source", "/shop"),
    ("ce-type", "order.placed"),
    ("ce-partitionkey", "customer%201"),
    ("content-type", "application/json"),
];

#[test]
fn binary_and_structured_are_the_same_message() {
    let sent: Vec<Request<Bytes>> = [(&BINARY[..], "{\"total\": 12.50}"), (&[STRUCTURED], EVENT)]
        .into_iter()
        .map(|(headers, body)| {
            let world = World::answering(201);
            let told = world.ask("POST", PATH, headers, body);
            let location = "/queues/orders/messages/%2Fshop%201%2Fa";
            assert_eq!((told.status, told.header("location")), (202, Some(location)));
            world.only_sent()
        })
        .collect();
    for sent in &sent {
        assert_eq!(
            (sent_header(sent, "content-type"), &sent.body()[..]),
            ("application/json", b"{\"total\": 12.50}".as_slice())
        );
        assert_eq!(sent_header(sent, "oncebus-id"), "\"/shop 1/a\"");
        assert_eq!(sent_header(sent, "oncebus-key"), "\"customer 1\"");
        assert_eq!(sent_header(sent, "cloudevents_type"), "\"order.placed\"");
    }
    let sorted = |request: &Request<Bytes>| {
        let mut headers: Vec<String> = request.headers().iter().map(|header| format!("{header:?}")).collect();
        headers.sort();
        headers
    };
    assert_eq!(sorted(&sent[0]), sorted(&sent[1]));
}

#[test]
fn an_array_of_events_is_a_batch_on_either_path() {
    for path in [PATH, "/queues/orders/batch"] {
        let world = World::answering(201);
        let told = world.ask("POST", path, &[("content-type", BATCHED)], &format!("[{EVENT}, {{\"id\": 1}}]"));
        let json = told.json();
        assert_eq!((told.status, &json["items"][0]["id"]), (207, &"/shop 1/a".into()), "{json}");
        assert_eq!(json["items"][1]["problem"]["type"], "urn:oncebus:problem:invalid-event");
        let sent: Value = serde_json::from_slice(world.only_sent().body()).unwrap();
        assert_eq!((&sent[0]["Body"], sent.as_array().unwrap().len()), (&"{\"total\": 12.50}".into(), 1));
        let properties = &sent[0]["UserProperties"];
        assert_eq!(properties["oncebus-content-type"], "application/json");
        assert_eq!(properties["cloudEvents_source"], "/shop");
    }
}

#[test]
fn what_is_no_event_is_refused_before_anything_is_sent() {
    let world = World::new(|request| panic!("nothing is sent: {request:?}"));
    let missing = world.ask("POST", PATH, &[STRUCTURED], r#"{"specversion":"1.0","id":"a","type":"t"}"#);
    assert_eq!(missing.problem(), problem(400, "invalid-event"));
    assert_eq!(missing.json()["attribute"], "source");
    assert_eq!(world.ask("POST", PATH, &[BINARY[0]], "x").problem(), problem(400, "invalid-event"));
    for unknown in ["application/cloudevents+avro", "application/cloudevents-batch+protobuf", "application/cloudevents"]
    {
        let told = world.ask("POST", PATH, &[("content-type", unknown)], "x");
        assert_eq!(told.problem(), problem(415, "unsupported-content-type"), "{unknown}");
    }
    let large = EVENT.replace("12.50", &"1".repeat(2_048));
    assert_eq!(world.ask("POST", PATH, &[STRUCTURED], &large).problem(), problem(413, "too-large"));
}

#[test]
fn the_trace_of_an_event_counts_where_the_request_has_none() {
    let began = "00-11111111111111111111111111111111-2222222222222222-01";
    let hop = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let event = EVENT.replace("\"partitionkey\"", &format!("\"traceparent\":\"{began}\",\"partitionkey\""));
    for (headers, expected) in [(vec![STRUCTURED], began), (vec![STRUCTURED, ("traceparent", hop)], hop)] {
        let world = World::answering(201);
        assert_eq!(world.ask("POST", PATH, &headers, &event).status, 202);
        let sent = world.only_sent();
        assert_eq!(sent_header(&sent, "traceparent"), format!("\"{expected}\""));
        assert_eq!(sent_header(&sent, "cloudevents_traceparent"), format!("\"{began}\""));
    }
}

#[test]
fn a_sender_that_asks_gets_consent_if_it_may_deliver() {
    let config = "[queues.orders]\n[cloudevents]\nallowed_origins = 'eventgrid.azure.net'\nrequests_per_minute = 120\n";
    let world = World { config, ..World::new(|request| panic!("nothing is sent: {request:?}")) };
    for path in [PATH, "/queues/orders/batch", "/messages"] {
        let asked = [("WebHook-Request-Origin", "eventgrid.azure.net"), ("WebHook-Request-Rate", "500")];
        let told = world.ask("OPTIONS", path, &asked, "");
        let consent = (told.header("webhook-allowed-origin"), told.header("webhook-allowed-rate"));
        assert_eq!((told.status, consent), (200, (Some("eventgrid.azure.net"), Some("120"))), "{path}");
        assert_eq!(told.header("allow"), Some("POST, OPTIONS"));
        let other = world.ask("OPTIONS", path, &[("WebHook-Request-Origin", "evil.example")], "");
        assert_eq!(
            (other.problem(), other.header("webhook-allowed-origin")),
            (problem(403, "origin-not-allowed"), None)
        );
        let plain = world.ask("OPTIONS", path, &[], "");
        assert_eq!((plain.status, plain.header("allow"), plain.body.len()), (204, Some("POST, OPTIONS"), 0));
    }
    assert_eq!(world.ask("OPTIONS", "/webhooks/twilio", &[], "").status, 405);
}
