//! The messages of one lock key take turns.

use std::time::Duration;

use super::sim::{Fate, Worker, World, queue, run};
use crate::record::State;
use crate::run::{CommandKind, Step, Work};

fn done(_: &Work) -> Step {
    Step::Done(None)
}

/// The first attempt of `m-1` fails for half a minute.
fn first_fails(work: &Work) -> Step {
    match (work.id.as_str(), work.attempt) {
        ("m-1", 1) => Step::Retry { reason: "not yet".into(), after: Some(Duration::from_secs(30)) },
        _ => Step::Done(None),
    }
}

fn send(world: &mut World, ids: &[&str]) {
    for id in ids {
        world.send_keyed(id, "sender");
    }
}

/// Looks, creates, writes.
fn lock_calls(summary: &crate::run::Summary) -> (u64, u64, u64) {
    let calls = summary.lock_keys.calls;
    (calls.look, calls.create, calls.write)
}

/// Performs what it asks for, in order, until something holds.
fn until(
    worker: &mut Worker,
    world: &mut World,
    processor: &mut dyn FnMut(&Work) -> Step,
    holds: impl Fn(&Worker, &World) -> bool,
) {
    for _ in 0..1_000 {
        if holds(worker, world) {
            return;
        }
        worker.perform(world, 0, Fate::Answered, processor);
        world.now += Duration::from_millis(20);
        if holds(worker, world) {
            return;
        }
        worker.wake(world, processor);
    }
    panic!("it never holds");
}

fn ids(worker: &Worker) -> Vec<&str> {
    worker.processed.iter().map(|(id, ..)| id.as_str()).collect()
}

#[test]
fn they_go_one_by_one_in_the_order_of_their_sequence_numbers_and_others_beside_them() {
    let mut world = World::default();
    send(&mut world, &["m-1", "m-2"]);
    world.send("other", "body");
    send(&mut world, &["m-3"]);
    let mut worker = Worker::start(&mut world, Duration::from_secs(20), 1);
    let summary = worker.finish(&mut world, &mut done);
    assert_eq!((summary.done, summary.process_calls), (4, 3), "{summary:?}");
    let of_key: Vec<&str> = ids(&worker).into_iter().filter(|id| id.starts_with("m-")).collect();
    assert_eq!(of_key, ["m-1", "m-2", "m-3"]);
    assert_eq!(lock_calls(&summary), (1, 1, 1), "a look, the create, and letting go");
    assert_eq!((world.lock("sender").unwrap().state, summary.lock_keys.taken), (State::Released, 1));
    assert!(world.violations.is_empty(), "{:?}", world.violations);
}

#[test]
fn a_key_costs_three_requests_and_two_where_the_run_has_had_it_before() {
    let mut world = World::default();
    send(&mut world, &["m-1"]);
    run(&mut world, 1, &mut done);
    send(&mut world, &["m-2"]);
    let mut worker = Worker::start(&mut world, Duration::from_secs(20), 2);
    let is = |state| move |_: &Worker, world: &World| world.lock("sender").is_some_and(|lock| lock.state == state);
    until(&mut worker, &mut world, &mut done, is(State::Processing));
    until(&mut worker, &mut world, &mut done, is(State::Released));
    send(&mut world, &["m-3"]);
    let summary = worker.finish(&mut world, &mut done);
    assert_eq!(summary.done, 2);
    assert_eq!(lock_calls(&summary), (1, 0, 4), "look, take, let go; take, let go");
    assert_eq!(world.lock("sender").unwrap().epoch, 3);
}

#[test]
fn a_busy_key_costs_four_looks_and_nothing_for_each_message() {
    let mut world = World::default();
    send(&mut world, &["m-1"]);
    let mut holder = Worker::start(&mut world, Duration::from_secs(20), 1);
    let held = |_: &Worker, world: &World| world.lock("sender").is_some();
    until(&mut holder, &mut world, &mut done, held);
    send(&mut world, &["m-2", "m-3", "m-4"]);
    world.send("other", "body");
    let mut worker = Worker::start(&mut world, Duration::from_secs(20), 2);
    let summary = worker.finish(&mut world, &mut done);
    assert_eq!((summary.busy, summary.key_busy, summary.done), (3, 3, 1), "{summary:?}");
    assert_eq!(lock_calls(&summary), (4, 0, 0));
    let keyed = summary.calls.storage() - summary.without_key.calls.storage();
    assert_eq!(keyed, 4 + 1, "the looks at the lock, and the run's probe");
    assert_eq!(summary.calls.broker_per_delivery(), 4 + 1, "received, and one of them completed");
    let line = &summary.active_locks[0];
    assert!(line.starts_with("The lock key of message ID m-2 has an active lock (epoch 1"), "{line}");
    assert_eq!(world.queued(), 4, "nothing is settled");
}

#[test]
fn a_message_that_waits_for_a_busy_key_at_the_end_of_the_run_does_not_come_straight_back() {
    let mut world = World::default();
    send(&mut world, &["m-1"]);
    world.hold_lock("sender");
    let mut worker = Worker::start(&mut world, Duration::from_secs(1), 1);
    let summary = worker.finish(&mut world, &mut done);
    assert_eq!((summary.key_busy, summary.returned), (1, 0), "{summary:?}");
}

#[test]
fn a_busy_key_sends_its_messages_on_when_half_of_their_deliveries_are_used_up() {
    let mut world = World::default();
    send(&mut world, &["m-1"]);
    world.deliver_next_for_the(queue().max_delivery_count / 2);
    world.hold_lock("sender");
    let summary = run(&mut world, 1, &mut done);
    assert_eq!((summary.key_busy, summary.calls.send, summary.calls.complete), (1, 1, 1), "{summary:?}");
    assert_eq!(world.queued(), 1, "the copy");
    world.now += Duration::from_secs(61);
    let next = run(&mut world, 2, &mut done);
    assert_eq!((next.done, world.queued()), (1, 0), "the holder was dead: {next:?}");
    assert!(world.violations.is_empty(), "{:?}", world.violations);
}

#[test]
fn a_failure_lets_the_next_go_on_where_the_queue_says_continue() {
    let mut world = World::default();
    send(&mut world, &["m-1", "m-2"]);
    let mut worker = Worker::start(&mut world, Duration::from_secs(100), 1);
    let summary = worker.finish(&mut world, &mut first_fails);
    assert_eq!((summary.retried, summary.done, summary.held_back), (1, 2, 0), "{summary:?}");
    assert_eq!(ids(&worker), ["m-1", "m-2", "m-1"]);
    assert!(world.violations.is_empty(), "{:?}", world.violations);
}

#[test]
fn a_failure_holds_back_the_next_until_it_is_done_where_the_queue_says_hold() {
    let mut world = World::holding_back(true);
    send(&mut world, &["m-1", "m-2", "m-3"]);
    let mut worker = Worker::start(&mut world, Duration::from_secs(20), 1);
    let summary = worker.finish(&mut world, &mut first_fails);
    assert_eq!((summary.retried, summary.held_back, summary.done), (1, 2, 0), "{summary:?}");
    // Taken; let go with the name of the first on it; and what that name stands for.
    assert_eq!(lock_calls(&summary), (1 + 1, 1, 1));
    let first = crate::id::record_name("q", "m-1");
    assert_eq!(world.lock("sender").unwrap().blocked_by.as_deref(), Some(first.as_str()));
    world.now += Duration::from_secs(61);
    let mut worker = Worker::start(&mut world, Duration::from_secs(20), 2);
    let summary = worker.finish(&mut world, &mut first_fails);
    assert_eq!((summary.done, world.queued()), (3, 0), "{summary:?}");
    assert_eq!(ids(&worker), ["m-1", "m-2", "m-3"], "by the first sequence number, though the copy has a later one");
    assert_eq!(lock_calls(&summary), (1, 0, 1 + 2 + 1), "taken, another's turn twice, let go");
    assert_eq!(world.lock("sender").unwrap().blocked_by, None);
    assert!(world.violations.is_empty(), "{:?}", world.violations);
}

#[test]
fn whom_the_lock_names_is_not_held_back_by_itself() {
    let mut world = World::holding_back(true);
    send(&mut world, &["m-1", "m-2"]);
    let mut worker = Worker::start(&mut world, Duration::from_secs(100), 1);
    let free = |_: &Worker, world: &World| world.lock("sender").is_some_and(|lock| lock.state == State::Released);
    until(&mut worker, &mut world, &mut first_fails, free);
    // The first is due again, and comes while its record is looked at on behalf of the second.
    world.now += Duration::from_secs(30);
    let looks = worker.position(CommandKind::Look).expect("whether the first has ended");
    while worker.received < 3 {
        let poll = (0..worker.requests()).find(|index| *index != looks).expect("a poll");
        worker.perform(&mut world, poll, Fate::Answered, &mut first_fails);
    }
    world.now += queue().gather;
    worker.wake(&mut world, &mut first_fails);
    let summary = worker.finish(&mut world, &mut first_fails);
    assert_eq!((summary.held_back, summary.done, world.queued()), (0, 2, 0), "{summary:?}");
    assert_eq!(ids(&worker), ["m-1", "m-1", "m-2"]);
    assert!(world.violations.is_empty(), "{:?}", world.violations);
}

#[test]
fn whose_instance_died_goes_first_where_the_queue_says_hold() {
    let mut world = World::holding_back(true);
    send(&mut world, &["m-1"]);
    let mut worker = Worker::start(&mut world, Duration::from_secs(20), 1);
    until(&mut worker, &mut world, &mut done, |worker, _| !worker.processed.is_empty());
    worker.die();
    // Its lock and its claim have expired, and the broker has not delivered it again.
    world.now += Duration::from_secs(51);
    send(&mut world, &["m-2"]);
    let early = run(&mut world, 2, &mut done);
    assert_eq!((early.held_back, early.done), (1, 1), "it waits, and the first comes meanwhile: {early:?}");
    world.now += Duration::from_secs(61);
    let later = run(&mut world, 3, &mut done);
    assert_eq!((later.done, world.queued()), (1, 0), "{later:?}");
    assert_eq!(world.finished, ["m-1", "m-2"]);
    assert!(world.violations.is_empty(), "{:?}", world.violations);
}

#[test]
fn a_block_is_void_when_its_message_was_parked() {
    let mut world = World::holding_back(true);
    send(&mut world, &["m-1", "m-2"]);
    let summary = run(&mut world, 1, &mut |work: &Work| match work.id.as_str() {
        "m-1" => Step::Reject("bad".into()),
        _ => Step::Done(None),
    });
    assert_eq!((summary.parked, summary.done, summary.held_back), (1, 1, 0), "{summary:?}");
}

#[test]
fn another_payload_under_the_id_of_the_one_that_goes_first_lets_nobody_overtake_it() {
    let mut world = World::holding_back(true);
    send(&mut world, &["m-1"]);
    let failed = run(&mut world, 1, &mut first_fails);
    assert_eq!(failed.retried, 1, "{failed:?}");
    world.send_with("m-1", "another body", Some("sender"));
    send(&mut world, &["m-2"]);
    let summary = run(&mut world, 2, &mut first_fails);
    assert_eq!((summary.mismatched, summary.held_back), (1, 1), "{summary:?}");
    assert_eq!(world.finished, ["m-1"], "its copy came while the run lasted");
    world.now += Duration::from_secs(61);
    run(&mut world, 3, &mut first_fails);
    assert_eq!((world.finished, world.violations), (vec!["m-1".to_owned(), "m-2".to_owned()], vec![]));
}

#[test]
fn another_payload_under_the_id_of_one_that_has_ended_holds_nobody_back() {
    let mut world = World::holding_back(true);
    send(&mut world, &["m-1"]);
    run(&mut world, 1, &mut done);
    world.send_with("m-1", "another body", Some("sender"));
    send(&mut world, &["m-2"]);
    let summary = run(&mut world, 2, &mut done);
    assert_eq!((summary.mismatched, summary.done, summary.held_back), (1, 1, 0), "{summary:?}");
}

/// It lies on the broker's dead-letter queue, say, and nobody redrives it.
#[test]
fn a_message_of_which_nothing_comes_holds_the_others_back_until_the_limit_and_no_longer() {
    let mut world = World::holding_back(true);
    send(&mut world, &["m-1"]);
    assert_eq!(run(&mut world, 1, &mut first_fails).retried, 1);
    world.lose("m-1");
    send(&mut world, &["m-2"]);
    world.now += queue().hold_limit;
    assert_eq!(run(&mut world, 2, &mut done).held_back, 1);
    world.now += Duration::from_secs(61);
    let summary = run(&mut world, 3, &mut done);
    assert_eq!((summary.done, summary.held_back, world.queued()), (1, 0, 0), "{summary:?}");
    assert_eq!(world.lock("sender").unwrap().blocked_by, None);
}

#[test]
fn the_lock_is_renewed_while_one_of_its_messages_takes_its_steps() {
    let mut world = World::with_calls_of(Duration::from_secs(20));
    send(&mut world, &["m-1", "m-2"]);
    let mut worker = Worker::start(&mut world, Duration::from_secs(290), 1);
    let summary = worker.finish(&mut world, &mut |work: &Work| match (work.id.as_str(), work.step) {
        ("m-1", 0..3) => Step::More(vec![1]),
        _ => Step::Done(None),
    });
    assert_eq!((summary.done, summary.lost, summary.lock_keys.lost), (2, 0, 0), "{summary:?}");
    assert_eq!(ids(&worker), ["m-1", "m-1", "m-1", "m-1", "m-2"], "nothing comes between two steps");
    // After each of the five calls but the last, and letting go.
    assert_eq!(lock_calls(&summary), (1, 1, 4 + 1));
    assert!(world.violations.is_empty(), "{:?}", world.violations);
}

#[test]
fn whoever_has_lost_the_lock_stops_before_its_next_step_and_settles_nothing() {
    let mut world = World::default();
    send(&mut world, &["m-1", "m-2"]);
    let mut sleeper = Worker::start(&mut world, Duration::from_secs(290), 1);
    let mut more = |_: &Work| Step::More(vec![1]);
    until(&mut sleeper, &mut world, &mut more, |worker, _| worker.position(CommandKind::Write).is_some());
    // It stands still with its first checkpoint on the way; another takes over the lock.
    world.now += Duration::from_secs(61);
    send(&mut world, &["m-3"]);
    let successor = run(&mut world, 2, &mut done);
    assert!(successor.done >= 1, "{successor:?}");
    let before = sleeper.processed.len();
    let summary = sleeper.finish(&mut world, &mut done);
    assert_eq!(summary.lock_keys.lost, 1, "{summary:?}");
    assert!(summary.lost >= 1, "{summary:?}");
    assert_eq!(sleeper.processed.iter().skip(before).filter(|(_, epoch, _)| *epoch == 1).count(), 0);
    assert!(world.violations.is_empty(), "{:?}", world.violations);
}
