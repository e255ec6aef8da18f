//! Bodies that are too large for the broker, from the sender to the processor.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use http::{Method, StatusCode};
use oncebus_e2e::{Setup, World};
use oncebus_emulator::{Fault, Service};

/// More than the 256 KB of the broker, of all bytes there are.
fn body() -> Vec<u8> {
    (0..1_000_000_u32).map(|n| u8::try_from(n.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect()
}

async fn post(world: &World, id: &str, body: Vec<u8>) -> StatusCode {
    let request = world.request(Method::POST, "/queues/orders/messages").header("Idempotency-Key", id);
    request.header("content-type", "image/png").body(body).send().await.unwrap().status()
}

fn claiming() -> Setup {
    Setup::default().with_defaults("large_bodies = 'claim-check'")
}

/// The row of a message: its body in hex, and its content type.
fn row(world: &World, id: &str) -> String {
    format!("{:?}", world.query(&format!("SELECT hex(body), content_type FROM messages WHERE id = '{id}'")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_reaches_the_processor_byte_for_byte_and_once() {
    let world = World::with(claiming()).await;
    for _ in 0..2 {
        assert_eq!(post(&world, "large", body()).await, StatusCode::ACCEPTED);
    }
    let claims: Vec<String> = world.blob_names().await.into_iter().filter(|name| name.contains(".claim/")).collect();
    assert_eq!((claims.len(), world.queued("orders")), (1, 2), "{claims:?}");
    let summary = world.run("orders").await;
    assert_eq!((summary.done, summary.duplicate, summary.calls.load), (1, 1, 1), "{summary:?}");
    let hex: String = body().iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(row(&world, "large"), format!(r#"[[Text("{hex}"), Text("image/png")]]"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_is_where_the_documentation_says() {
    let world = World::start().await;
    // MessageId 1, oncebus-id 10 + 1, content type 9.
    let fits = 262_144 - 21;
    assert_eq!(post(&world, "a", vec![b'x'; fits]).await, StatusCode::ACCEPTED, "and the broker takes it");
    assert_eq!(post(&world, "b", vec![b'x'; fits + 1]).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(post(&world, "c", vec![b'x'; 262_144]).await, StatusCode::PAYLOAD_TOO_LARGE);
    let world = World::with(claiming()).await;
    assert_eq!(post(&world, "c", vec![b'x'; 262_144]).await, StatusCode::ACCEPTED);
    assert_eq!(post(&world, "d", vec![b'x'; 8_388_609]).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(world.run("orders").await.done, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_fails_is_waited_for_and_a_blob_that_is_gone_is_told() {
    let world = World::with(claiming()).await;
    assert_eq!(post(&world, "waits", body()).await, StatusCode::ACCEPTED);
    // Reads fail for as long as anybody asks.
    world.admin().add_fault(Fault { status: Some(503), ..Fault::on(Service::Blob, "get") });
    let ran = world.run_for("orders", 3).await.unwrap();
    assert_eq!(world.stored(), Vec::<String>::new(), "{}", ran.body);
    assert_eq!(world.queued("orders.poison"), 0);
    world.admin().clear_faults();
    world.let_locks_expire().await;
    assert_eq!(world.run("orders").await.done, 1);

    assert_eq!(post(&world, "gone", body()).await, StatusCode::ACCEPTED);
    world.admin().add_fault(Fault { status: Some(404), ..Fault::on(Service::Blob, "get") });
    assert_eq!(world.run("orders").await.parked, 1);
    let (_, state) = world.state("orders", "gone").await;
    assert_eq!(state["last_error"], "claim-lost: the body cannot be had: its blob is missing", "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_body_cannot_be_stored_is_not_accepted() {
    let world = World::with(claiming()).await;
    world.admin().add_fault(Fault { status: Some(403), ..Fault::on(Service::Blob, "put") });
    assert_eq!(post(&world, "a", body()).await, StatusCode::BAD_GATEWAY);
    assert_eq!(world.queued("orders"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_without_memory_keeps_no_body() {
    let world = World::with(claiming().with_defaults("release = 'delete'")).await;
    assert_eq!(post(&world, "a", body()).await, StatusCode::ACCEPTED);
    assert_eq!(world.run("orders").await.done, 1);
    assert_eq!(world.blob_names().await, Vec::<String>::new());
}
