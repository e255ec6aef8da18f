//! What is in hand is renewed: once a third of its ttl is gone, the broker's lock first, and then the claim.

use std::time::Duration;

use super::sim::{Fate, Worker, World, queue, run};
use crate::record::State;
use crate::run::{CommandKind, Step, Work};

const LONG: Duration = Duration::from_secs(290);

fn done(_: &Work) -> Step {
    Step::Done(None)
}

/// A worker with two messages received, whose claims are asked for.
fn claiming(world: &mut World, ids: [&str; 2]) -> Worker {
    for id in ids {
        world.send(id, "body");
    }
    let mut worker = Worker::start(world, LONG, 1);
    while worker.received < 2 {
        worker.perform(world, 0, Fate::Answered, &mut done);
    }
    world.now += queue().gather;
    worker.wake(world, &mut done);
    worker
}

/// Performs its next request of this kind.
fn perform(worker: &mut Worker, world: &mut World, kind: CommandKind) {
    let index = worker.position(kind).expect("it was asked for");
    worker.perform(world, index, Fate::Answered, &mut done);
}

#[test]
fn a_delivery_that_waits_for_its_twin_keeps_its_lock_however_long_that_takes() {
    let mut world = World::with_calls_of(Duration::from_secs(20));
    world.send("m", "body");
    world.send("m", "body");
    let mut worker = Worker::start(&mut world, LONG, 1);
    let summary = worker.finish(&mut world, &mut |work: &Work| match work.step {
        0..4 => Step::More(vec![1]),
        _ => Step::Done(None),
    });
    assert_eq!((summary.received, summary.done, summary.duplicate, summary.lost), (2, 1, 1, 0), "{summary:?}");
    // Each of the four checkpoints; the twin after each of the five calls, the last time before its look.
    assert_eq!(summary.calls.renew, 4 + 5);
    assert_eq!(world.queued(), 0);
}

#[test]
fn a_claim_that_waited_while_the_processor_worked_is_renewed_before_it_is_used() {
    let mut world = World::with_calls_of(Duration::from_secs(20));
    let mut worker = claiming(&mut world, ["early", "late"]);
    perform(&mut worker, &mut world, CommandKind::Create);
    // The reply to the other create comes while the processor works.
    world.now += Duration::from_secs(1);
    worker.wake(&mut world, &mut done);
    assert_eq!(worker.processed, [("early".to_owned(), 1, 0)]);
    let mut left = Duration::ZERO;
    let summary = worker.finish(&mut world, &mut |work: &Work| {
        left = work.time_left;
        Step::Done(None)
    });
    assert_eq!((summary.done, summary.calls.renew, summary.calls.write), (2, 1, 3), "{summary:?}");
    assert_eq!(left, queue().working_time(), "the whole of a claim is left");
}

#[test]
fn a_claim_that_another_has_taken_over_is_found_lost_before_it_is_used() {
    let mut world = World::default();
    let mut sleeper = claiming(&mut world, ["m", "n"]);
    perform(&mut sleeper, &mut world, CommandKind::Create);
    world.now += Duration::from_secs(61);
    let successor = run(&mut world, 2, &mut done);
    assert_eq!((successor.done, world.record("m").unwrap().epoch), (2, 2));
    let summary = sleeper.finish(&mut world, &mut done);
    assert!(sleeper.processed.is_empty());
    assert_eq!((summary.lost, summary.done), (1, 0), "{summary:?}");
    assert!(world.violations.is_empty(), "{:?}", world.violations);
}

#[test]
fn a_claim_whose_lock_the_broker_took_back_is_let_go_for_the_next_delivery() {
    let mut world = World::default();
    let mut sleeper = claiming(&mut world, ["m", "n"]);
    perform(&mut sleeper, &mut world, CommandKind::Create);
    world.now += Duration::from_secs(61);
    sleeper.wake(&mut world, &mut done);
    perform(&mut sleeper, &mut world, CommandKind::Renew);
    perform(&mut sleeper, &mut world, CommandKind::Write);
    let record = world.record("m").unwrap();
    assert_eq!((record.state, record.failures), (State::Released, 0), "nobody need wait for the claim to end");
    assert!(sleeper.processed.is_empty());
}

#[test]
fn a_queue_with_shorter_locks_than_it_was_said_to_have_is_told_of_once() {
    for (seconds, told) in [(30, 1), (57, 1), (58, 0), (60, 0), (62, 0), (300, 0)] {
        let mut world = World::with_locks_of(Duration::from_secs(seconds));
        for n in 0..3 {
            world.send(&format!("m-{n}"), "body");
        }
        let summary = run(&mut world, 1, &mut done);
        assert_eq!((summary.done, summary.warnings.len()), (3, told), "{seconds}: {summary:?}");
    }
    let mut world = World::with_locks_of(Duration::from_secs(30));
    world.send("m", "body");
    assert_eq!(
        run(&mut world, 1, &mut done).warnings,
        ["the queue q locks for 30 s, and lock_duration_seconds is 60: messages come back while they are worked on"]
    );
}
