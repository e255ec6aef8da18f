//! `traceparent`, taken in and passed on.

use super::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_trace_is_passed_on_as_properties() {
    let world = World::answering(201);
    let headers = [("traceparent", PARENT), ("tracestate", "v=1")];
    assert_eq!(world.ask("POST", "/queues/orders/messages", &headers, "x").status, 202);
    let sent = world.only_sent();
    for (name, value) in [("traceparent", PARENT), ("diagnostic-id", PARENT), ("tracestate", "v=1")] {
        assert_eq!(sent_header(&sent, name), format!("\"{value}\""));
    }
}

#[test]
fn a_malformed_trace_is_ignored_and_nothing_is_refused_for_it() {
    let world = World::answering(201);
    assert_eq!(world.ask("POST", "/queues/orders/messages", &[("traceparent", "00-x")], "x").status, 202);
    assert!(!world.only_sent().headers().contains_key("traceparent"));
}

#[test]
fn every_message_of_a_batch_is_a_part_of_the_trace_unless_it_says_otherwise() {
    let world = World::answering(201);
    let headers = [("content-type", "application/json"), ("traceparent", PARENT)];
    let own = "00-11111111111111111111111111111111-2222222222222222-00";
    let body = format!(r#"[1, {{"body": 2, "properties": {{"traceparent": "{own}"}}}}]"#);
    assert_eq!(world.ask("POST", "/queues/orders/batch", &headers, &body).status, 202);
    let sent = world.only_sent();
    let messages: Value = serde_json::from_slice(sent.body()).unwrap();
    let parent = |n: usize| messages[n]["UserProperties"]["traceparent"].as_str().unwrap().to_owned();
    assert_eq!((parent(0).as_str(), parent(1).as_str()), (PARENT, own), "{messages}");
    assert_eq!(messages[1]["UserProperties"].get("Diagnostic-Id"), None);
}
