//! Messages of one lock key take turns, in real components.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::time::Duration;

use http::{Method, StatusCode};
use oncebus_e2e::{At, Cut, Does, Setup, World};

async fn send(world: &World, id: &str, body: &str) {
    let request = world.request(Method::POST, "/queues/orders/messages").header("Idempotency-Key", format!("\"{id}\""));
    let request = request.header("Oncebus-Lock-Key", "sender-1").header("content-type", "application/json");
    let answer = request.body(body.to_owned()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
}

/// What ran, in order.
fn effects(world: &World) -> Vec<String> {
    let rows = world.query("SELECT id || ' ' || outcome FROM effects ORDER BY rowid");
    rows.into_iter().map(|row| format!("{:?}", row[0]).replace("Text(", "").replace(['"', ')'], "")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_processed_in_the_order_in_which_they_were_sent() {
    let world = World::with(Setup::flaky()).await;
    for n in 1..=4 {
        send(&world, &format!("m-{n}"), r#"{"flaky":{"steps":2}}"#).await;
    }
    let summary = world.run("orders").await;
    assert_eq!((summary.done, summary.lock_keys.taken), (4, 1), "{summary:?}");
    let one_by_one = (1..=4).flat_map(|n| [format!("m-{n} more"), format!("m-{n} done")]);
    assert_eq!(effects(&world), one_by_one.collect::<Vec<_>>());
    let calls = summary.lock_keys.calls;
    assert_eq!((calls.look, calls.create, calls.write), (1, 1, 1), "{summary:?}");
    assert!(world.blob_names().await.iter().any(|name| name.starts_with("keys/")), "{:?}", world.blob_names().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_holds_back_what_comes_after_it_until_it_is_done() {
    let world = World::with(Setup::flaky().with_defaults("on_key_failure = 'hold'")).await;
    send(&world, "m-1", r#"{"flaky":{"retry_until_attempt":2,"after_seconds":30}}"#).await;
    send(&world, "m-2", "{}").await;
    let first = world.run("orders").await;
    assert_eq!((first.retried, first.held_back, first.done), (1, 1, 0), "{first:?}");
    world.let_locks_expire().await;
    let second = world.run("orders").await;
    assert_eq!((second.done, world.queued("orders")), (2, 0), "{second:?}");
    assert_eq!(effects(&world), ["m-1 retry", "m-1 done", "m-2 done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_an_instance_that_died_is_taken_over_when_it_has_expired() {
    let world = World::start().await;
    send(&world, "m-1", "{}").await;
    world.cuts.add(Cut::first(At::Write, Does::DieBefore));
    world.run_and_die("orders").await;
    send(&world, "m-2", "{}").await;
    let early = world.run("orders").await;
    assert_eq!((early.done, early.key_busy), (0, 1), "{early:?}");
    let line = &early.active_locks[0];
    assert!(
        line.starts_with("The lock key of message ID m-2 has an active lock") && line.contains(" until 20"),
        "{line}"
    );
    world.admin().advance_clock(Duration::from_secs(61));
    let later = world.run("orders").await;
    assert_eq!((later.done, world.queued("orders")), (2, 0), "{later:?}");
    assert_eq!(world.stored(), ["m-1", "m-2"]);
}
