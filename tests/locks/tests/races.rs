//! 32 contenders for one record: exactly one of them wins, every time.
//!
//! All contenders have looked before any of them writes, so that each round is the worst case and not the usual
//! one. The epoch is the witness at the end: one higher for each round, so nobody won twice or unseen.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use std::time::Duration;

use futures::future::join_all;
use oncebus_core::record::finding::Finding;
use oncebus_emulator::{Admin, Emulator, Options};
use oncebus_locks::ours::{Attempt, Claim, Worker};
use oncebus_locks::place::Place;

const CONTENDERS: usize = 32;
const ROUNDS: u64 = 1_000;
const TTL: Duration = Duration::from_secs(45);
const MARGIN: Duration = Duration::from_secs(5);

async fn emulated() -> (Emulator, Place) {
    let emulator = Emulator::start(Options::default()).await.unwrap();
    let place = Place::new(&emulator.storage_connection_string()).await;
    (emulator, place)
}

fn workers(place: &Place, ttl: Duration, margin: Duration) -> Vec<Worker<'_>> {
    (0..CONTENDERS).map(|_| Worker::new(place, ttl, margin)).collect()
}

/// The one that won.
fn winner(attempts: Vec<Attempt>, round: u64) -> (usize, Claim) {
    let mut won = attempts.into_iter().enumerate().filter_map(|(at, attempt)| Some((at, attempt.won()?)));
    let first = won.next().unwrap_or_else(|| panic!("round {round}: nobody won"));
    assert_eq!(won.count(), 0, "round {round}: more than one won");
    first
}

/// All have seen the same version, and all write.
async fn race(workers: &mut [Worker<'_>], name: &str, round: u64) -> (usize, Claim) {
    let seen = workers.first().expect("contenders").look(name).await;
    let attempts = workers.iter_mut().map(|worker| worker.take_over(name, &seen));
    winner(join_all(attempts).await, round)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_record_is_created_by_one() {
    let (_emulator, place) = emulated().await;
    let mut workers = workers(&place, TTL, MARGIN);
    for round in 0..ROUNDS {
        let name = format!("absent/{round}");
        let attempts = workers.iter_mut().map(|worker| worker.create(&name));
        let (_, claim) = winner(join_all(attempts).await, round);
        assert_eq!(claim.record.epoch, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_record_is_taken_by_one() {
    let (emulator, place) = emulated().await;
    let admin: Admin = emulator.admin();
    let mut workers = workers(&place, TTL, MARGIN);
    let dead = Worker::new(&place, TTL, MARGIN).create("expired").await;
    assert!(dead.won().is_some());
    for round in 0..ROUNDS {
        admin.advance_storage_clock(TTL + MARGIN + Duration::from_secs(2));
        let (_, claim) = race(&mut workers, "expired", round).await;
        assert_eq!(claim.record.epoch, round + 2, "one epoch for each round, and none unseen");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_record_is_taken_by_one() {
    let (_emulator, place) = emulated().await;
    let mut workers = workers(&place, TTL, MARGIN);
    let mut held = workers[0].create("released").await.won().unwrap();
    let mut holder = 0;
    for round in 0..ROUNDS {
        workers[holder].release(&held).await.expect("it is the holder's to give back");
        (holder, held) = race(&mut workers, "released", round).await;
        assert_eq!(held.record.epoch, round + 2, "one epoch for each round, and none unseen");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_holds_is_taken_by_nobody() {
    let (emulator, place) = emulated().await;
    let mut workers = workers(&place, TTL, MARGIN);
    workers[0].create("held").await.won().unwrap();
    emulator.admin().advance_storage_clock(TTL + MARGIN - Duration::from_secs(2));
    for attempt in join_all(workers.iter_mut().map(|worker| worker.claim("held"))).await {
        assert!(matches!(attempt, Attempt::Found(Finding::Busy { .. })), "{attempt:?}");
    }
}
