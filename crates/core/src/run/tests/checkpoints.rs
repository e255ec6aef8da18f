//! Large checkpoints have a blob of their own; small ones are in the record.

use std::time::Duration;

use bytes::Bytes;

use super::sim::{Fate, Worker, World, run};
use crate::record::State;
use crate::record::checkpoint::{MAX_CHECKPOINT, MAX_INLINE_CHECKPOINT, blobs_of};
use crate::run::{CommandKind, Step, Summary, Work};

fn done(_: &Work) -> Step {
    Step::Done(None)
}

/// One step with a checkpoint of so many bytes, then done.
fn two_steps(bytes: usize) -> impl FnMut(&Work) -> Step {
    move |work: &Work| match &work.checkpoint {
        None => Step::More(vec![7; bytes]),
        Some(checkpoint) if *checkpoint == vec![7; bytes] => Step::Done(None),
        Some(_) => Step::Reject("another checkpoint".to_owned()),
    }
}

/// A worker dies with its checkpoint recorded; the broker delivers the message again.
fn dies_after_a_large_checkpoint(world: &mut World) {
    world.send("m", "body");
    let mut worker = Worker::start(world, Duration::from_secs(20), 1);
    let mut processor = two_steps(MAX_INLINE_CHECKPOINT + 1);
    while world.record("m").is_none_or(|record| record.step == 0) {
        worker.perform(world, 0, Fate::Answered, &mut processor);
        world.now += Duration::from_millis(60);
        worker.wake(world, &mut processor);
    }
    worker.die();
    world.now += Duration::from_secs(61);
}

fn parked_with(world: &World, summary: &Summary) -> (String, String) {
    assert_eq!((summary.parked, world.poison.len(), world.queued()), (1, 1, 0), "{summary:?}");
    let text = |name| world.poison[0].properties.text(name).unwrap_or_default().to_owned();
    (text("DeadLetterReason"), text("DeadLetterErrorDescription"))
}

#[test]
fn a_checkpoint_costs_one_write_and_a_large_one_a_store_before_it() {
    for (bytes, stores) in [(0, 0), (MAX_INLINE_CHECKPOINT, 0), (MAX_INLINE_CHECKPOINT + 1, 1), (MAX_CHECKPOINT, 1)] {
        let mut world = World::default();
        world.send("m", "body");
        let summary = run(&mut world, 1, &mut two_steps(bytes));
        let calls = summary.calls;
        assert_eq!((summary.done, calls.create, calls.write, calls.renew), (1, 1, 2, 1), "{bytes}: {summary:?}");
        assert_eq!((calls.store, calls.load), (stores, 0), "{bytes}: the same run needs no reading");
    }
}

#[test]
fn the_next_attempt_reads_the_large_checkpoint_once_it_has_the_claim() {
    let mut world = World::default();
    dies_after_a_large_checkpoint(&mut world);
    let name = crate::id::record_name("q", "m");
    assert!(world.blobs.keys().all(|blob| blob.starts_with(&blobs_of(&name))), "{:?}", world.blobs.keys());
    let summary = run(&mut world, 2, &mut two_steps(MAX_INLINE_CHECKPOINT + 1));
    let calls = summary.calls;
    // The look is the delivery's, and the run's own probe.
    assert_eq!((summary.done, calls.look, calls.load, calls.store, calls.write), (1, 2, 1, 0, 2), "{summary:?}");
}

#[test]
fn a_large_checkpoint_that_is_gone_parks_the_message_instead_of_repeating_steps() {
    let mut world = World::default();
    dies_after_a_large_checkpoint(&mut world);
    world.blobs.clear();
    let summary = run(&mut world, 2, &mut done);
    let (reason, description) = parked_with(&world, &summary);
    assert_eq!(reason, "checkpoint-lost");
    assert!(description.ends_with("of step 1 is missing"), "{description}");
    assert_eq!((summary.process_calls, world.record("m").unwrap().state), (0, State::Parked));
}

#[test]
fn a_large_checkpoint_with_another_content_is_not_taken_for_one() {
    let mut world = World::default();
    dies_after_a_large_checkpoint(&mut world);
    for content in world.blobs.values_mut() {
        *content = Bytes::from_static(b"something else");
    }
    let summary = run(&mut world, 2, &mut done);
    let (reason, description) = parked_with(&world, &summary);
    assert_eq!(reason, "checkpoint-lost");
    assert!(description.ends_with("has another content than was stored"), "{description}");
}

#[test]
fn a_checkpoint_beyond_the_limit_is_rejected() {
    let mut world = World::default();
    world.send("m", "body");
    let summary = run(&mut world, 1, &mut two_steps(MAX_CHECKPOINT + 1));
    let (reason, description) = parked_with(&world, &summary);
    assert_eq!((reason.as_str(), world.blobs.len()), ("rejected", 0));
    assert_eq!(description, "checkpoint of 1048577 bytes, at most 1048576 are stored");
}

#[test]
fn a_stored_checkpoint_whose_answer_was_lost_is_never_half_of_one() {
    let mut world = World::default();
    world.send("m", "body");
    let mut processor = two_steps(MAX_INLINE_CHECKPOINT + 1);
    let mut worker = Worker::start(&mut world, Duration::from_secs(20), 1);
    while worker.position(CommandKind::Store).is_none() {
        worker.perform(&mut world, 0, Fate::Answered, &mut processor);
        world.now += Duration::from_millis(60);
        worker.wake(&mut world, &mut processor);
    }
    let store = worker.position(CommandKind::Store).unwrap();
    worker.perform(&mut world, store, Fate::ReplyLost, &mut processor);
    assert_eq!((world.blobs.len(), world.record("m").unwrap().step), (1, 0), "stored, and named by no record");
    worker.die();
    world.now += Duration::from_secs(61);
    let summary = run(&mut world, 2, &mut processor);
    assert_eq!((summary.done, summary.calls.load, world.blobs.len()), (1, 0, 2), "{summary:?}");
}
