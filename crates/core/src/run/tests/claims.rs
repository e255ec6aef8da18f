//! Bodies that lie in a blob: read under the claim, checked, and never made up.

use std::time::Duration;

use bytes::Bytes;

use super::sim::{Fate, Worker, World, run};
use crate::claim::Claim;
use crate::record::State;
use crate::run::{CommandKind, Step, Summary, Work};

const BODY: &str = "a body that is too large for the broker";

/// Accepts nothing but the body that was sent.
fn checks(work: &Work) -> Step {
    if work.body == BODY { Step::Done(None) } else { Step::Reject(format!("another body: {:?}", work.body)) }
}

/// What happens to a blob, or to the message that names it.
type Spoil = fn(&mut World);

fn blob(id: &str) -> String {
    Claim::new("q", id, BODY.as_bytes()).blob
}

fn lost(world: &World, summary: &Summary) -> String {
    assert_eq!(
        (summary.parked, world.poison.len(), world.queued(), summary.process_calls),
        (1, 1, 0, 0),
        "{summary:?}"
    );
    let text = |name| world.poison[0].properties.text(name).unwrap_or_default().to_owned();
    assert_eq!(text("DeadLetterReason"), "claim-lost");
    text("DeadLetterErrorDescription")
}

#[test]
fn a_body_in_a_blob_costs_one_read_and_reaches_every_step() {
    let mut world = World::default();
    world.send_claimed("m", BODY);
    let mut two_steps = |work: &Work| match checks(work) {
        Step::Done(_) if work.step == 0 => Step::More(vec![1]),
        other => other,
    };
    let summary = run(&mut world, 1, &mut two_steps);
    assert_eq!((summary.done, summary.calls.load, summary.calls.create), (1, 1, 1), "{summary:?}");
    // The sender repeats it: known without reading.
    world.send_claimed("m", BODY);
    let summary = run(&mut world, 2, &mut checks);
    assert_eq!((summary.duplicate, summary.calls.load), (1, 0), "{summary:?}");
    // And it is the same payload where the body is in the message.
    world.send("m", BODY);
    let summary = run(&mut world, 3, &mut checks);
    assert_eq!((summary.duplicate, summary.mismatched), (1, 0), "{summary:?}");
}

#[test]
fn a_blob_that_is_gone_or_changed_parks_the_message() {
    let ways: [(Spoil, &str); 4] = [
        (|world| world.blobs.clear(), "its blob is missing"),
        (|world| drop(world.blobs.insert(blob("m"), Bytes::from_static(b"short"))), "its blob has another size"),
        (|world| drop(world.blobs.insert(blob("m"), BODY.to_uppercase().into())), "its blob has another content"),
        (|world| world.point_at("m", &blob("other")), "its blob is that of another message"),
    ];
    for (spoil, expected) in ways {
        let mut world = World::default();
        world.send_claimed("m", BODY);
        spoil(&mut world);
        let summary = run(&mut world, 1, &mut checks);
        assert_eq!(lost(&world, &summary), format!("the body cannot be had: {expected}"));
        assert_eq!(world.record("m").unwrap().state, State::Parked);
    }
}

#[test]
fn a_read_without_an_answer_is_tried_again_by_the_next_delivery() {
    let mut world = World::default();
    world.send_claimed("m", BODY);
    let mut worker = Worker::start(&mut world, Duration::from_secs(20), 1);
    while worker.position(CommandKind::Load).is_none() {
        worker.perform(&mut world, 0, Fate::Answered, &mut checks);
        world.now += Duration::from_millis(60);
        worker.wake(&mut world, &mut checks);
    }
    worker.die();
    world.now += Duration::from_secs(61);
    let summary = run(&mut world, 2, &mut checks);
    assert_eq!((summary.done, summary.calls.load), (1, 1), "{summary:?}");
}

#[test]
fn a_retry_and_a_poison_copy_carry_the_claim_and_no_body() {
    let mut world = World::default();
    world.send_claimed("m", BODY);
    let mut fails = |work: &Work| match work.attempt {
        1 => Step::Retry { reason: "once".into(), after: Some(Duration::from_secs(1)) },
        _ => Step::Reject(format!("{}", work.body == BODY)),
    };
    let summary = run(&mut world, 1, &mut fails);
    assert_eq!((summary.retried, summary.parked), (1, 1), "{summary:?}");
    assert_eq!(world.poison[0].body.len(), 0);
    assert_eq!(world.poison[0].properties.text("DeadLetterErrorDescription"), Some("true"));
    assert!(matches!(Claim::of(&world.poison[0].properties), Some(Ok(_))));
}

#[test]
fn a_queue_without_memory_keeps_no_body_either() {
    let mut world = World::forgetting();
    world.send_claimed("m", BODY);
    let summary = run(&mut world, 1, &mut checks);
    assert_eq!((summary.done, summary.calls.delete), (1, 2), "{summary:?}");
    assert!(world.record("m").is_none() && world.blobs.is_empty());
}

#[test]
fn no_more_large_bodies_are_in_hand_than_fit() {
    let mut world = World::default();
    let large = "x".repeat(9 << 20);
    for id in ["a", "b", "c"] {
        world.send_claimed(id, &large);
    }
    let mut most = 0;
    let mut count = |work: &Work| {
        most = most.max(work.body.len());
        Step::Done(None)
    };
    let summary = run(&mut world, 1, &mut count);
    // Two of them are above the limit of 16 MB: each goes alone.
    assert_eq!((summary.done, summary.process_calls), (3, 3), "{summary:?}");
    assert_eq!(most, 9 << 20);
}
