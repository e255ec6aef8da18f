//! Clocks that are wrong change nothing.
//!
//! The emulator's two clocks are put ahead: of the clock of the components, which is then slow, and of each other.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::time::Duration;

use oncebus_e2e::{At, Cut, Does, Setup, World};

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTES: Duration = Duration::from_secs(5 * 60);

/// A retry, a takeover, and a duplicate, each at its time.
async fn takes_its_ordinary_course(world: &World) {
    world.send("orders", "later", r#"{"flaky":{"retry_until_attempt":2,"after_seconds":10}}"#).await;
    assert_eq!(world.run("orders").await.retried, 1);
    assert_eq!(world.run("orders").await.received, 0, "it is not due");
    world.admin().advance_clock(Duration::from_secs(12));
    assert_eq!(world.run("orders").await.done, 1, "it is due");

    world.send("orders", "died", "{}").await;
    world.cuts.add(Cut::first(At::Claim, Does::DieAfter));
    world.run_and_die("orders").await;
    world.send("orders", "died", "{}").await;
    assert_eq!(world.run("orders").await.busy, 1, "the claim stands");
    world.let_locks_expire().await;
    let summary = world.run("orders").await;
    assert_eq!((summary.done, summary.duplicate), (1, 1), "{summary:?}");
    assert_eq!((world.queued("orders"), world.stored()), (0, vec!["died".to_owned(), "later".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_of_ours_that_is_an_hour_slow_changes_nothing() {
    let world = World::with(Setup::flaky()).await;
    world.admin().advance_clock(HOUR);
    takes_its_ordinary_course(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_minutes_ahead_of_the_storage_changes_nothing() {
    let world = World::with(Setup::flaky()).await;
    world.admin().advance_service_bus_clock(MINUTES);
    takes_its_ordinary_course(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_minutes_ahead_of_the_broker_changes_nothing() {
    let world = World::with(Setup::flaky()).await;
    world.admin().advance_storage_clock(MINUTES);
    takes_its_ordinary_course(&world).await;
}
