//! `kill -9` under load, again and again on one database: what was answered stays so.
//!
//! Clients of many kinds work at once — single sends, batches, topics, schedules, duplicates, receivers that
//! complete, abandon, renew or hold, writers and readers of blobs — until the process is killed at a moment that is
//! drawn. Each client notes what it was answered, and what it was not answered any more. After the restart the state
//! of the emulator is held against those notes, and the next round goes on from there. At the end the clock is moved
//! past every lock and schedule, and everything is received once.
//!
//! What is demanded:
//!
//! * what was accepted (201) and not settled is there, once; a batch is there whole or not at all;
//! * what was completed or taken (200) is gone;
//! * a lock is there with its expiry and its token, and nobody else gets its message;
//! * delivery counts do not go back, and sequence numbers are not given out twice;
//! * a message id that was accepted is a duplicate afterwards too, also when it was accepted as a duplicate;
//! * a blob is as the last answered write left it or newer, and as every read saw it or newer.
//!
//! Which calls a client makes is drawn from a seed that is printed; `ONCEBUS_SEED` repeats it. The moment of the
//! kill is a number of calls, so that it falls among other calls each time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod blobs;
mod clients;
mod ledger;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use program::{Program, Scratch};
use support::Bus;

use clients::Client;
use ledger::Ledger;

/// A queue, the subscription of a topic, a queue whose messages are all scheduled, and one that drops duplicates.
const QUEUE: &str = "q";
const TOPIC: &str = "t";
const SUBSCRIPTION: &str = "t/subscriptions/s";
const LATER: &str = "later";
const ONCE: &str = "once";

const ROUNDS: u64 = 4;

/// Locks outlive a round, and no message runs out of deliveries.
const ARGUMENTS: [&str; 10] = [
    "--queue",
    QUEUE,
    "--queue",
    LATER,
    "--container",
    "records",
    "--lock-seconds",
    "300",
    "--max-delivery-count",
    "100000",
];

/// Numbers that are drawn, by the generator `splitmix64`.
#[derive(Debug, Clone)]
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn seed() -> u64 {
    match std::env::var("ONCEBUS_SEED") {
        Ok(seed) => seed.parse().expect("ONCEBUS_SEED is a number"),
        Err(_) => u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap(),
    }
}

async fn make_entities(program: &Program) {
    let bus = Bus::new(&program.service_bus);
    let subscription = "<SubscriptionDescription><LockDuration>PT5M</LockDuration>\
                        <MaxDeliveryCount>100000</MaxDeliveryCount></SubscriptionDescription>";
    let once = "<QueueDescription><LockDuration>PT5M</LockDuration>\
                <RequiresDuplicateDetection>true</RequiresDuplicateDetection>\
                <DuplicateDetectionHistoryTimeWindow>P1D</DuplicateDetectionHistoryTimeWindow></QueueDescription>";
    for (path, description) in [(TOPIC, "<TopicDescription/>"), (SUBSCRIPTION, subscription), (ONCE, once)] {
        let body = format!("<entry xmlns=\"http://www.w3.org/2005/Atom\"><content>{description}</content></entry>");
        let url = format!("{}/{path}?api-version=2021-05", bus.url);
        let answer = bus.http.put(url).header("authorization", &bus.token).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_every_kill() {
    let seed = seed();
    println!("ONCEBUS_SEED={seed}");
    let mut draw = Draw(seed);
    let scratch = Scratch::new("crashes");
    let mut program = Program::start(&scratch.database(), &ARGUMENTS);
    make_entities(&program).await;
    let mut ledger = Ledger::default();
    let mut records = blobs::Records::default();
    for round in 0..ROUNDS {
        let clients = Client::kinds().map(|kind| {
            let client = Client::new(&program, round, kind, Draw(draw.next()));
            tokio::spawn(client.work())
        });
        let writers: Vec<_> = records.clients(&program, round).into_iter().map(tokio::spawn).collect();
        program.wait_for_calls("service-bus.send", 100 + draw.below(400)).await;
        program.kill();
        for client in clients {
            ledger.note(client.await.unwrap());
        }
        for writer in writers {
            records.note(writer.await.unwrap());
        }
        program = Program::start(&scratch.database(), &ARGUMENTS);
        let said = ledger.check(&program.state().await);
        println!("round {round}: {said}");
        records.check(&program).await;
        ledger.settle_what_is_held(&program).await;
        ledger.check_that_ids_are_remembered(&program).await;
    }
    let clock = Bus::new(&program.service_bus).http.post(format!("{}/clock", program.admin));
    let moved = clock.body(r#"{"advance_seconds":7200}"#).send().await.unwrap();
    assert_eq!(moved.status(), 200);
    tokio::time::timeout(Duration::from_secs(60), ledger.receive_everything(&program)).await.expect("ends");
}
