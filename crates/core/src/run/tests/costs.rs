//! What a message costs, in exact numbers of requests: the table of `docs/SEMANTICS.md`.

use std::time::Duration;

use super::sim::{Clocks, Fate, Worker, World, run};
use crate::run::{CallCounts, CommandKind, Step, Summary, Work};

/// The look with which each run begins.
const PROBE: u64 = 1;

fn done(_: &Work) -> Step {
    Step::Done(None)
}

/// What a run asked for, but for its polls that came back empty.
fn calls(summary: &Summary) -> CallCounts {
    CallCounts { receive_empty: 0, ..summary.calls }
}

/// A message whose record is done and whose completion was lost; its next delivery is at hand.
fn done_but_not_completed(world: &mut World, deliveries: u32) {
    world.send("m", "body");
    run(world, 1, &mut done);
    world.send("m", "body");
    world.deliver_next_for_the(deliveries);
}

#[test]
fn a_batch_of_32_takes_four_requests_a_message_and_one_call_of_the_processor() {
    let mut world = World::default();
    for n in 0..32 {
        world.send(&format!("m-{n}"), "body");
    }
    let mut worker = Worker::start_with_batch(&mut world, Duration::from_secs(20), 1, 32);
    let summary = worker.finish(&mut world, &mut done);
    let expected =
        CallCounts { receive: 32, create: 32, write: 32, complete: 32, look: PROBE, ..CallCounts::default() };
    assert_eq!((calls(&summary), summary.process_calls, summary.done), (expected, 1, 32));
}

#[test]
fn a_duplicate_of_a_done_message_takes_two_requests_to_the_storage_when_it_writes_first() {
    let mut world = World::default();
    done_but_not_completed(&mut world, 1);
    let summary = run(&mut world, 2, &mut done);
    let expected = CallCounts { receive: 1, create: 1, look: 1 + PROBE, complete: 1, ..CallCounts::default() };
    assert_eq!((calls(&summary), summary.process_calls, summary.duplicate), (expected, 0, 1));
}

#[test]
fn a_duplicate_of_a_done_message_takes_one_request_to_the_storage_when_it_looks_first() {
    let mut world = World::default();
    done_but_not_completed(&mut world, 2);
    let summary = run(&mut world, 2, &mut done);
    let expected = CallCounts { receive: 1, look: 1 + PROBE, complete: 1, ..CallCounts::default() };
    assert_eq!((calls(&summary), summary.process_calls, summary.duplicate), (expected, 0, 1));
}

#[test]
fn a_takeover_takes_two_requests_to_the_storage_before_the_work() {
    let mut world = World::default();
    world.send("m", "body");
    let mut worker = Worker::start(&mut world, Duration::from_secs(20), 1);
    while worker.processed.is_empty() {
        worker.perform(&mut world, 0, Fate::Answered, &mut done);
        world.now += Duration::from_millis(60);
        worker.wake(&mut world, &mut done);
    }
    worker.die();
    world.now += Duration::from_secs(61);
    let summary = run(&mut world, 2, &mut done);
    // A look and the claim; and done.
    let expected = CallCounts { receive: 1, look: 1 + PROBE, write: 1 + 1, complete: 1, ..CallCounts::default() };
    assert_eq!((calls(&summary), summary.done), (expected, 1));
}

#[test]
fn a_retry_takes_a_release_and_a_copy() {
    let mut world = World::default();
    world.send("m", "body");
    let after = Some(Duration::from_secs(600));
    let summary = run(&mut world, 1, &mut |_: &Work| Step::Retry { reason: "later".into(), after });
    let expected =
        CallCounts { receive: 1, create: 1, write: 1, send: 1, complete: 1, look: PROBE, ..CallCounts::default() };
    assert_eq!((calls(&summary), summary.retried), (expected, 1));
}

#[test]
fn a_record_that_is_not_kept_takes_one_request_more_and_is_forgotten() {
    let mut world = World::forgetting();
    for epoch in [1, 1] {
        world.send("m", "body");
        let mut epochs = Vec::new();
        let summary = run(&mut world, 1, &mut |work: &Work| {
            epochs.push(work.epoch);
            Step::Done(None)
        });
        let expected = CallCounts {
            receive: 1,
            create: 1,
            write: 1,
            complete: 1,
            delete: 1,
            look: PROBE,
            ..CallCounts::default()
        };
        assert_eq!((calls(&summary), epochs), (expected, vec![epoch]), "the epoch begins again");
        assert!(world.record("m").is_none());
    }
}

#[test]
fn a_record_is_not_deleted_before_the_broker_has_said_that_the_message_is_completed() {
    let mut world = World::forgetting();
    world.send("m", "body");
    let mut worker = Worker::start(&mut world, Duration::from_secs(100), 1);
    while worker.position(CommandKind::Complete).is_none() {
        worker.perform(&mut world, 0, Fate::Answered, &mut done);
        world.now += Duration::from_millis(60);
        worker.wake(&mut world, &mut done);
    }
    // Its lock lapses before it is completed: the broker refuses, and the next delivery must find what is done.
    world.now += Duration::from_secs(61);
    let complete = worker.position(CommandKind::Complete).unwrap();
    worker.perform(&mut world, complete, Fate::Answered, &mut done);
    assert!(worker.position(CommandKind::Delete).is_none());
    let summary = worker.finish(&mut world, &mut done);
    assert_eq!((summary.done, summary.duplicate, world.queued()), (1, 1, 0), "{summary:?}");
}

#[test]
fn clocks_that_are_wrong_change_nothing() {
    let hour = 3_600;
    let course = |clocks| {
        let mut world = World::with_clocks(clocks);
        for id in ["a", "b", "c", "d"] {
            world.send(id, "body");
            world.send_keyed(&format!("{id}-keyed"), "key");
        }
        let mut fails_once = |work: &Work| match (work.id.as_str(), work.attempt) {
            ("b" | "b-keyed", 1) => Step::Retry { reason: "once".into(), after: Some(Duration::from_secs(30)) },
            ("c", _) if work.step < 2 => Step::More(vec![1]),
            _ => Step::Done(None),
        };
        let mut dies = Worker::start(&mut world, Duration::from_secs(20), 1);
        for _ in 0..25 {
            dies.perform(&mut world, 0, Fate::Answered, &mut fails_once);
            world.now += Duration::from_millis(20);
            dies.wake(&mut world, &mut fails_once);
        }
        dies.die();
        // Their senders repeat themselves while the claims of the dead stand.
        for id in ["a", "b", "c", "d"] {
            world.send(id, "body");
        }
        let mut summaries = Vec::new();
        for random in 2..6 {
            world.now += Duration::from_secs(25);
            let summary = run(&mut world, random, &mut fails_once);
            // The age of a message is a time of the broker's own, and no decision.
            summaries.push(Summary { oldest_seconds: 0, active_locks: Vec::new(), ..summary });
        }
        assert!(world.violations.is_empty(), "{:?}", world.violations);
        assert_eq!((world.queued(), world.finished.len()), (0, 8), "{summaries:?}");
        (summaries, world.finished)
    };
    let right = course(Clocks::default());
    assert!(right.0.iter().any(|summary| summary.busy > 0), "something waits for a time: {:?}", right.0);
    let wrong = [
        Clocks { worker: hour, ..Clocks::default() },
        Clocks { worker: -hour, ..Clocks::default() },
        Clocks { broker: 300, broker_gains: 60, ..Clocks::default() },
        Clocks { broker: -300, storage: 300, ..Clocks::default() },
        Clocks { worker: hour, broker: -hour, storage: 2 * hour, broker_gains: 120 },
    ];
    for clocks in wrong {
        assert_eq!(course(clocks), right, "{clocks:?}");
    }
}
