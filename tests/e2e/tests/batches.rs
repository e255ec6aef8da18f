//! Batches on the real components: what the answer says is what the broker has, whatever goes wrong.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use oncebus_e2e::{At, Cut, Does, Setup, World};
use oncebus_emulator::{Fault, Service};
use serde_json::Value;

/// Sends of about ten messages each.
fn small_sends() -> Setup {
    let setup = Setup::default();
    Setup { config: format!("max_message_bytes = 4096\nmax_batch_items = 100000\n{}", setup.config), ..setup }
}

/// Lines with ids, of about 350 bytes each in a send.
fn lines(count: usize) -> String {
    (0..count)
        .map(|index| {
            format!("{{\"id\":\"m{index:04}\",\"key\":\"k{}\",\"body\":\"{}\"}}\n", index % 7, "x".repeat(200))
        })
        .collect()
}

async fn post(world: &World, body: String) -> (StatusCode, Option<String>, Value) {
    let request = world.request(Method::POST, "/queues/orders/batch").header("content-type", "application/x-ndjson");
    let answer = request.body(body).send().await.unwrap();
    let (status, after) = (answer.status(), answer.headers().get("retry-after").cloned());
    let after = after.map(|after| after.to_str().unwrap().to_owned());
    (status, after, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

/// The ids that the answer says so of.
fn ids(answer: &Value, status: u64) -> BTreeSet<String> {
    let items = answer["items"].as_array().unwrap().iter();
    items.filter(|item| item["status"] == status).map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// The ids on the broker, and how many messages there are.
fn queued(world: &World) -> (BTreeSet<String>, usize) {
    let messages = world.admin().messages("orders");
    (messages.iter().map(|message| message.message_id.clone()).collect(), messages.len())
}

/// Runs until the queue is empty, and looks that each was stored once.
async fn drain(world: &World, expected: usize) {
    while world.queued("orders") > 0 {
        world.run("orders").await;
    }
    let stored = world.stored();
    assert_eq!(stored.iter().collect::<BTreeSet<_>>().len(), stored.len(), "nothing is doubled");
    assert_eq!(stored.len(), expected, "nothing is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_in_the_middle_is_answered_exactly_and_repeated_without_harm() {
    for (status, skip) in [(503, 0), (429, 5), (503, 11)] {
        let world = World::with(small_sends()).await;
        let fault = Fault { status: Some(status), skip, ..Fault::on(Service::ServiceBus, "send-batch") };
        world.admin().add_fault(fault);
        let (answered, retry_after, answer) = post(&world, lines(200)).await;
        let expected = if skip == 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::MULTI_STATUS };
        assert_eq!((answered, retry_after.as_deref()), (expected, Some("2")), "{answer}");
        let (accepted, refused) = (ids(&answer, 202), ids(&answer, 503));
        assert_eq!(accepted.len() + refused.len(), 200, "every item is told of");
        assert_eq!(queued(&world), (accepted.clone(), accepted.len()), "the answer is what the broker has");
        world.admin().clear_faults();
        // The client comes back with the whole.
        assert_eq!(post(&world, lines(200)).await.0, StatusCode::ACCEPTED);
        drain(&world, 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_double_nothing() {
    let world = World::with(small_sends()).await;
    let lossy =
        Fault { drop_after: true, probability: Some(0.4), seed: 7, ..Fault::on(Service::ServiceBus, "send-batch") };
    world.admin().add_fault(lossy.times(8));
    let (status, _, answer) = post(&world, lines(200)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "each was sent again until its answer came: {answer}");
    let (known, messages) = queued(&world);
    assert!(known.len() == 200 && messages > 200, "the broker has some twice: {messages}");
    drain(&world, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_comes_is_told_apart_from_a_refusal() {
    let world = World::with(small_sends()).await;
    // The third send and all of its repetitions are done, and nobody is told.
    world.admin().add_fault(Fault { drop_after: true, skip: 2, ..Fault::on(Service::ServiceBus, "send-batch") });
    let (status, _, answer) = post(&world, lines(100)).await;
    assert_eq!(status, StatusCode::MULTI_STATUS, "{answer}");
    let items = answer["items"].as_array().unwrap();
    let unknown = items.iter().filter(|item| item["problem"]["outcome"] == "unknown");
    let unknown: BTreeSet<String> = unknown.map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    let accepted = ids(&answer, 202);
    let (known, _) = queued(&world);
    assert!(!unknown.is_empty() && accepted.is_disjoint(&unknown));
    assert!(accepted.is_subset(&known), "what is accepted is there");
    assert!(known.is_subset(&accepted.union(&unknown).cloned().collect()), "what is refused is not");
    world.admin().clear_faults();
    assert_eq!(post(&world, lines(100)).await.0, StatusCode::ACCEPTED);
    drain(&world, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_that_dies_in_the_middle_of_a_batch_is_repeated_without_harm() {
    for does in [Does::DieBefore, Does::DieAfter] {
        let world = World::with(small_sends()).await;
        world.cuts.add(Cut::after(6, At::Ingest, does.clone()));
        let send = || {
            let request = world.request(Method::POST, "/queues/orders/batch").header("Idempotency-Key", "upload-7");
            // Without ids: they come from the key and the place.
            let body: String =
                (0..100).map(|index| format!("{{\"n\":{index},\"x\":\"{}\"}}\n", "x".repeat(200))).collect();
            request.header("content-type", "application/jsonl").body(body).send()
        };
        let died = send().await;
        assert!(died.is_err() || died.unwrap().status() == StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(world.cuts.left(), 0);
        assert!(world.queued("orders") > 0, "something was sent before");
        assert_eq!(send().await.unwrap().status(), StatusCode::ACCEPTED);
        drain(&world, 100).await;
        assert!(world.stored().contains(&"upload-7/0".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_lines_are_never_in_memory_as_a_whole() {
    const LINES: usize = 100_000;
    let setup = Setup::default();
    let config = format!("max_batch_items = 100000\nmax_batch_bytes = 104857600\n{}", setup.config);
    let world = World::with(Setup { config, ..setup }).await;
    let body: String =
        (0..LINES).map(|index| format!("{{\"n\":{index},\"text\":\"{}\"}}\n", "x".repeat(480))).collect();
    let size = body.len();
    assert!(size > 50_000_000, "{size}");
    let request = world.request(Method::POST, "/queues/orders/batch").header("content-type", "application/x-ndjson");
    let answer = request.body(body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!((&answer["accepted"], answer["items"].as_array().unwrap().len()), (&LINES.into(), LINES));
    assert_eq!(world.queued("orders"), LINES);
    let peak = world.peak_memory("ingest");
    println!("a body of {size} bytes took {peak} bytes of memory");
    // Its answer alone has 15 MB, and grows in a buffer that doubles.
    assert!(peak < size, "{peak} bytes for a body of {size}");
}
