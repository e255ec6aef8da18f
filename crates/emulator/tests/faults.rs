//! Faults, the admin port, and what they leave behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod support;

use std::time::Duration;

use oncebus_emulator::{Emulator, Fault, MessageState, Options, Service};
use serde_json::{Value, json};
use support::{Blobs, Bus, outcome};

async fn start() -> (Emulator, Bus) {
    let options = Options { queues: vec!["q".into()], containers: vec!["records".to_owned()], ..Options::default() };
    let emulator = Emulator::start(options).await.unwrap();
    let bus = Bus::new(&emulator.service_bus_url());
    (emulator, bus)
}

#[tokio::test]
async fn a_throttled_call_does_nothing_and_says_so() {
    let (emulator, bus) = start().await;
    let admin = emulator.admin();
    admin.add_fault(Fault { status: Some(503), ..Fault::on(Service::ServiceBus, "send").times(1) });
    let response = bus.request(reqwest::Method::POST, "q/messages").send().await.unwrap();
    assert_eq!(response.status(), 503);
    let text = response.text().await.unwrap();
    assert!(text.contains("Error code: 50009. Please wait 2 seconds and try again."), "{text}");
    assert!(admin.messages("q").is_empty());
    assert_eq!(bus.send("q", "m").await, 201);
    assert_eq!(admin.calls()["service-bus.send"], 2);
    assert_eq!(admin.faults()[0].1, 1);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_dropped_answer_leaves_the_operation_done_or_not_done_as_asked() {
    let (emulator, bus) = start().await;
    let admin = emulator.admin();
    admin.add_fault(Fault { drop_before: true, ..Fault::on(Service::ServiceBus, "send").times(1) });
    admin.add_fault(Fault { drop_after: true, ..Fault::on(Service::ServiceBus, "send").times(1) });
    let send = || bus.request(reqwest::Method::POST, "q/messages").send();
    assert!(send().await.is_err());
    assert!(admin.messages("q").is_empty());
    assert!(send().await.is_err());
    assert_eq!(admin.messages("q").len(), 1);

    // An empty poll does not use up a fault about what a receive found.
    admin.add_fault(Fault { drop_after: true, ..Fault::on(Service::ServiceBus, "peek-lock").times(1) });
    assert!(bus.try_peek_lock("q/$DeadLetterQueue", 0).await.unwrap().status() == 204);
    assert!(bus.try_peek_lock("q", 0).await.is_err());
    assert_eq!(admin.messages("q")[0].state, MessageState::Locked);

    let blobs = Blobs::new(&emulator.blob_url(), "records", "rcw");
    admin.add_fault(Fault { drop_after: true, ..Fault::on(Service::Blob, "put").times(1) });
    assert!(blobs.put("a").header("if-none-match", "*").send().await.is_err());
    assert_eq!(outcome(blobs.put("a").header("if-none-match", "*")).await.0, 409);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_lock_can_be_lost_when_it_is_taken_and_when_it_is_needed() {
    let (emulator, bus) = start().await;
    let admin = emulator.admin();
    bus.send("q", "m").await;
    admin.add_fault(Fault { lose_lock: true, ..Fault::on(Service::ServiceBus, "peek-lock").times(1) });
    let first = bus.peek_lock("q", 0).await.unwrap();
    assert_eq!(bus.renew(&first.location).await, 404);
    admin.add_fault(Fault { lose_lock: true, ..Fault::on(Service::ServiceBus, "complete").times(1) });
    let second = bus.peek_lock("q", 0).await.unwrap();
    assert_eq!(bus.complete(&second.location).await, 404);
    let third = bus.peek_lock("q", 0).await.unwrap();
    assert_eq!(third.broker["DeliveryCount"], 3);
    assert_eq!(bus.complete(&third.location).await, 200);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_message_can_be_delivered_to_two_receivers_at_once() {
    let (emulator, bus) = start().await;
    let admin = emulator.admin();
    bus.send("q", "m").await;
    admin.add_fault(Fault { duplicate: true, ..Fault::default() }.times(1));
    let first = bus.peek_lock("q", 0).await.unwrap();
    let second = bus.peek_lock("q", 0).await.unwrap();
    for part in ["MessageId", "SequenceNumber", "DeliveryCount", "EnqueuedTimeUtc"] {
        assert_eq!(first.broker[part], second.broker[part], "{part}");
    }
    assert_ne!(first.broker["LockToken"], second.broker["LockToken"]);
    assert_eq!((first.body.as_str(), second.body.as_str()), ("m", "m"));
    assert!(bus.peek_lock("q", 0).await.is_none());
    // The broker knows the second lock only.
    assert_eq!((bus.renew(&first.location).await, bus.complete(&first.location).await), (404, 404));
    assert_eq!(bus.complete(&second.location).await, 200);

    bus.send("q", "n").await;
    admin.add_fault(Fault { duplicate: true, ..Fault::on(Service::ServiceBus, "receive-and-delete") }.times(1));
    for expected in [200, 200, 204] {
        let receive = bus.request(reqwest::Method::DELETE, "q/messages/head?timeout=0").send().await.unwrap();
        assert_eq!(receive.status(), expected);
    }
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_call_can_find_that_the_clock_has_jumped() {
    let (emulator, bus) = start().await;
    let admin = emulator.admin();
    bus.send("q", "m").await;
    let locked = bus.peek_lock("q", 0).await.unwrap();
    admin.add_fault(Fault { move_clock_ms: 61_000, ..Fault::on(Service::ServiceBus, "complete") }.times(1));
    assert_eq!(bus.complete(&locked.location).await, 404);
    assert_eq!(bus.peek_lock("q", 0).await.unwrap().broker["DeliveryCount"], 2);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_clock_that_goes_back_delays_and_nothing_else() {
    let (emulator, bus) = start().await;
    let admin = emulator.admin();
    bus.send("q", "m").await;
    let locked = bus.peek_lock("q", 0).await.unwrap();
    let poll = tokio::spawn({
        let bus = bus.clone();
        async move { bus.try_peek_lock("q", 30).await.unwrap().status() }
    });
    let call = Fault { move_clock_ms: -3_600_000, ..Fault::on(Service::ServiceBus, "renew") };
    admin.add_fault(call.times(1));
    let before = admin.state();
    assert_eq!(bus.renew(&locked.location).await, 200);
    let after = admin.state();
    assert!(after.service_bus_now < before.service_bus_now && after.blob_now >= before.blob_now);
    // An hour forward again: the lock that was renewed an hour ago has ended.
    admin.advance_service_bus_clock(Duration::from_secs(3_661));
    assert_eq!(bus.complete(&locked.location).await, 404);
    let status = tokio::time::timeout(Duration::from_secs(10), poll).await.expect("the poll ends").unwrap();
    assert!(status == 201 || status == 204, "{status}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_fault_of_a_probability_strikes_the_same_calls_of_every_run_with_its_seed() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (emulator, bus) = start().await;
        let fault = Fault { status: Some(500), probability: Some(0.4), seed: 11, ..Fault::default() };
        emulator.admin().add_fault(fault);
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(bus.send("q", "m").await);
        }
        runs.push(statuses);
        emulator.shutdown().await;
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains(&500) && runs[0].contains(&201), "{:?}", runs[0]);
}

#[tokio::test]
async fn a_delay_is_waited_and_then_the_call_is_carried_out() {
    let (emulator, bus) = start().await;
    emulator.admin().add_fault(Fault { delay_ms: 150, ..Fault::on(Service::ServiceBus, "send") });
    let start = std::time::Instant::now();
    assert_eq!(bus.send("q", "m").await, 201);
    assert!(start.elapsed() >= Duration::from_millis(150));
    assert_eq!(emulator.admin().messages("q").len(), 1);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_client_that_leaves_while_its_answer_is_delayed_has_received_nothing() {
    let (emulator, bus) = start().await;
    let admin = emulator.admin();
    bus.send("q", "m").await;
    let slow = Fault { drop_after: true, delay_ms: 60_000, ..Fault::on(Service::ServiceBus, "receive-and-delete") };
    admin.add_fault(slow);
    let receive = tokio::spawn({
        let request = bus.request(reqwest::Method::DELETE, "q/messages/head?timeout=60");
        async move { request.send().await }
    });
    support::eventually("the message is taken", || admin.messages("q").is_empty()).await;
    receive.abort();
    support::eventually("the message is back", || admin.messages("q").len() == 1).await;
    assert_eq!(admin.messages("q")[0].delivery_count, 0);
    emulator.shutdown().await;
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_admin_port_does_what_the_handle_does() {
    let (emulator, bus) = start().await;
    let url = emulator.admin_url();
    let http = bus.http.clone();
    let ask = async |method: reqwest::Method, path: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = http.request(method, format!("{url}/{path}")).body(body).send().await.unwrap();
        (response.status().as_u16(), json_of(response).await)
    };
    let get = async |path: &str| ask(reqwest::Method::GET, path, Value::Null).await.1;

    let options = json!({ "lock_duration_ms": 5000, "max_delivery_count": 3 });
    assert_eq!(ask(reqwest::Method::PUT, "queues/ut/other", options).await.0, 200);
    assert_eq!(ask(reqwest::Method::PUT, "queues/b%20d", Value::Null).await.0, 400);
    assert_eq!(ask(reqwest::Method::PUT, "containers/more", Value::Null).await.0, 200);
    assert_eq!(bus.send("ut/other", "hello").await, 201);
    let locked = bus.peek_lock("ut/other", 0).await.unwrap();
    let state = get("state").await;
    let message = &state["entities"]["ut/other"]["messages"][0];
    assert_eq!(
        (&message["state"], &message["body"], &message["delivery_count"]),
        (&json!("locked"), &json!("hello"), &json!(1))
    );
    assert!(state["containers"]["more"].is_array());

    assert_eq!(ask(reqwest::Method::POST, "clock", json!({ "advance_seconds": 5 })).await.0, 200);
    assert_eq!(bus.complete(&locked.location).await, 404);
    assert_eq!(ask(reqwest::Method::POST, "clock", json!({ "advance_seconds": -5 })).await.0, 400);

    let fault = json!({ "service": "service-bus", "operation": "send", "prefix": "ut/", "status": 429 });
    assert_eq!(ask(reqwest::Method::POST, "faults", json!([fault])).await.0, 200);
    assert_eq!(ask(reqwest::Method::POST, "faults", json!({ "statis": 429 })).await.0, 400);
    assert_eq!((bus.send("ut/other", "m").await, bus.send("q", "m").await), (429, 201));
    assert_eq!(get("faults").await[0]["struck"], 1);
    assert_eq!(ask(reqwest::Method::DELETE, "faults", Value::Null).await.0, 200);
    assert_eq!(bus.send("ut/other", "m").await, 201);
    assert_eq!(get("calls").await["service-bus.send"], 4);

    assert_eq!(ask(reqwest::Method::POST, "reset", Value::Null).await.0, 200);
    let state = get("state").await;
    let names: Vec<_> = state["entities"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["q", "q/$DeadLetterQueue"]);
    assert_eq!(state["entities"]["q"]["messages"], json!([]));
    assert_eq!(get("calls").await, json!({}));
    assert_eq!(ask(reqwest::Method::GET, "nonsense", Value::Null).await.0, 404);
    emulator.shutdown().await;
}

#[tokio::test]
async fn the_two_clocks_move_apart() {
    let (emulator, _bus) = start().await;
    let admin = emulator.admin();
    admin.advance_storage_clock(Duration::from_secs(1000));
    let state = admin.state();
    assert!(state.blob_now.0 - state.service_bus_now.0 >= 999_000);
    emulator.shutdown().await;
}
