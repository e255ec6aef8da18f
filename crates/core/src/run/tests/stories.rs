//! One course of events each.

use std::cell::Cell;
use std::time::Duration;

use super::sim::{Fate, Worker, World, queue, run};
use crate::record::{Checkpoint, State};
use crate::run::{RetryClass, Step, Work};

fn done(_: &Work) -> Step {
    Step::Done(None)
}

#[test]
fn a_batch_takes_four_requests_a_message_and_few_calls_of_the_processor() {
    let mut world = World::default();
    for n in 0..8 {
        world.send(&format!("m-{n}"), "body");
    }
    let summary = run(&mut world, 1, &mut done);
    assert_eq!((summary.received, summary.done, world.queued()), (8, 8, 0));
    let calls = summary.without_key.calls;
    assert_eq!((calls.receive, calls.create, calls.write, calls.complete), (8, 8, 8, 8));
    assert!(summary.process_calls <= 5, "{summary:?}");
}

#[test]
fn a_twin_waits_for_the_outcome_and_is_a_duplicate() {
    let mut world = World::default();
    world.send("m", "body");
    world.send("m", "body");
    let summary = run(&mut world, 1, &mut done);
    assert_eq!((summary.done, summary.duplicate, summary.busy), (1, 1, 0));
    assert_eq!((world.finished.len(), world.queued()), (1, 0));
}

#[test]
fn steps_go_on_from_checkpoint_to_checkpoint() {
    let mut world = World::default();
    world.send("m", "body");
    let mut seen = Vec::new();
    let summary = run(&mut world, 1, &mut |work: &Work| {
        seen.push((work.step, work.checkpoint.clone()));
        if work.step < 2 { Step::More(vec![u8::try_from(work.step).unwrap()]) } else { Step::Done(Some("all".into())) }
    });
    assert_eq!(summary.done, 1);
    assert_eq!(seen, [(0, None), (1, Some(vec![0])), (2, Some(vec![1]))]);
    assert_eq!(world.record("m").unwrap().result.as_deref(), Some("all"));
    assert_eq!(summary.calls.renew, 2, "the broker's lock is renewed at each checkpoint");
    let measures = summary.measures;
    assert_eq!((measures.checkpoints, measures.claims, measures.takeovers), (2, 1, 0));
    assert_eq!((measures.calls.counts.iter().sum::<u64>(), measures.batches.sum), (3, 3));
}

#[test]
fn a_failure_is_released_and_its_copy_comes_when_it_is_due() {
    let mut world = World::default();
    world.send("m", "body");
    let mut attempts = Vec::new();
    let summary = run(&mut world, 1, &mut |work: &Work| {
        attempts.push((work.attempt, work.epoch));
        match work.attempt {
            1 => Step::Retry { reason: "not yet".into(), after: Some(Duration::from_secs(5)) },
            _ => Step::Done(None),
        }
    });
    assert_eq!((summary.received, summary.retried, summary.done), (2, 1, 1), "{summary:?}");
    assert_eq!(attempts, [(1, 1), (2, 2)]);
    assert_eq!((world.queued(), world.record("m").unwrap().failures), (0, 1));
    assert_eq!((summary.measures.retries[&RetryClass::Processor], summary.measures.takeovers), (1, 1));
}

#[test]
fn a_rejected_message_is_copied_marked_and_completed() {
    let mut world = World::default();
    world.send("m", "body");
    let summary = run(&mut world, 1, &mut |_| Step::Reject("bad".into()));
    let record = world.record("m").unwrap();
    assert_eq!((summary.parked, record.state, record.copied), (1, State::Parked, true));
    assert_eq!((world.poison.len(), world.queued()), (1, 0));
    assert_eq!(world.poison[0].properties.text("DeadLetterReason"), Some("rejected"));
    assert_eq!(world.poison[0].properties.text("DeadLetterErrorDescription"), Some("bad"));
    assert_eq!(summary.measures.dead_letters, [("rejected".to_owned(), 1)].into());
}

#[test]
fn another_payload_is_copied_without_an_epoch_and_under_a_reason_that_the_broker_leaves_alone() {
    let mut world = World::default();
    world.send("m", "body");
    world.send("m", "another body");
    let summary = run(&mut world, 1, &mut done);
    assert_eq!((summary.done, summary.mismatched, world.poison.len()), (1, 1, 1), "{summary:?}");
    let properties = &world.poison[0].properties;
    let [ours, brokers] = ["oncebus-reason", "DeadLetterReason"].map(|name| properties.text(name));
    assert_eq!((ours, brokers), (Some("payload-mismatch"), Some("payload-mismatch")));
    assert_eq!(properties.get("oncebus-ep"), None, "the epoch of a record that belongs to another payload");
}

#[test]
fn an_overrun_call_settles_nothing_and_the_next_attempt_is_fenced() {
    let mut world = World::default();
    world.send("m", "body");
    let mut worker = Worker::start(&mut world, Duration::from_secs(200), 1);
    // Up to the claim: probe, poll, and the create after the gathering.
    worker.perform(&mut world, 0, Fate::Answered, &mut done);
    worker.perform(&mut world, 0, Fate::Answered, &mut done);
    world.now += Duration::from_secs(1);
    worker.wake(&mut world, &mut done);
    // The reply to the create comes when the claim's time is over: the machine must not call the processor.
    let create = worker.requests() - 1;
    world.now += queue().working_time();
    worker.perform(&mut world, create, Fate::Answered, &mut done);
    assert!(worker.processed.is_empty(), "no time was left");
    assert!(world.finished.is_empty());
}

#[test]
fn work_that_outlasts_the_run_burns_neither_deliveries_nor_attempts() {
    let mut world = World::default();
    world.send("m", "body");
    let mut worker = Worker::start(&mut world, Duration::from_secs(2), 1);
    let mut steps = 0;
    let mut endless = |_: &Work| {
        steps += 1;
        Step::More(vec![7])
    };
    // Each request takes a while, so the run ends between two steps.
    for _ in 0..1_000 {
        if !worker.is_alive() {
            break;
        }
        world.now += Duration::from_millis(50);
        worker.perform(&mut world, 0, Fate::Answered, &mut endless);
        worker.wake(&mut world, &mut endless);
    }
    let summary = worker.summary.clone().expect("the run ended");
    assert_eq!(summary.released, 1, "{summary:?}");
    let record = world.record("m").unwrap().clone();
    assert_eq!((record.state, record.failures), (State::Released, 0));
    assert_eq!(record.checkpoint, Some(Checkpoint::Inline(vec![7])));
    let next = run(&mut world, 2, &mut done);
    assert_eq!((next.received, next.done, world.queued()), (1, 1, 0));
    assert_eq!(world.record("m").unwrap().epoch, 2);
}

#[test]
fn what_is_lost_is_said_loudly() {
    use crate::run::Outcome;
    for outcome in [Outcome::Lost, Outcome::Unanswered, Outcome::Unsettled("why".into()), Outcome::Mismatched] {
        assert_eq!(outcome.level(), "warn", "{outcome:?}");
    }
    assert_eq!((Outcome::Retried.level(), Outcome::Denied("no".into()).level()), ("info", "error"));
}

#[test]
fn a_storage_that_refuses_stops_the_receiving() {
    let mut world = World::default();
    for n in 0..20 {
        world.send(&format!("m-{n}"), "body");
    }
    let mut worker = Worker::start(&mut world, Duration::from_secs(20), 1);
    for _ in 0..500 {
        if !worker.is_alive() {
            break;
        }
        // Everything is swallowed from the third request on.
        let fate =
            if world.finished.is_empty() && worker.processed.is_empty() { Fate::Answered } else { Fate::Swallowed };
        worker.perform(&mut world, 0, fate, &mut done);
        world.now += Duration::from_millis(100);
        worker.wake(&mut world, &mut done);
    }
    let summary = worker.summary.clone().expect("the run ended");
    assert!(summary.trouble.is_some(), "{summary:?}");
    assert!(summary.received < 20, "it went on receiving: {summary:?}");
    assert!(world.violations.is_empty(), "{:?}", world.violations);
}

#[test]
fn a_call_that_outlasts_the_run_but_not_its_claim_is_written_down() {
    let mut world = World::with_calls_of(Duration::from_secs(25));
    world.send("m", "body");
    let summary = run(&mut world, 1, &mut done);
    assert_eq!((summary.done, summary.unsettled, world.queued()), (1, 0, 0), "{summary:?}");
}

#[test]
fn no_call_begins_that_would_outlast_the_run_as_the_last_one_did() {
    let mut world = World::with_calls_of(Duration::from_secs(7));
    for n in 0..12 {
        world.send(&format!("m-{n}"), "body");
    }
    let summary = run(&mut world, 1, &mut done);
    assert_eq!((summary.unsettled, summary.lost), (0, 0), "{summary:?}");
    assert!(summary.process_calls <= 2, "{summary:?}");
    world.now += Duration::from_secs(61);
    let mut rounds = 2;
    while world.queued() > 0 {
        assert!(rounds < 12, "{} are left", world.queued());
        run(&mut world, rounds, &mut done);
        world.now += Duration::from_secs(61);
        rounds += 1;
    }
    assert_eq!(world.finished.len(), 12);
    assert!(world.poison.is_empty() && world.violations.is_empty(), "{:?}", world.violations);
}

#[test]
fn endless_work_runs_out_of_attempts() {
    let mut world = World::with_calls_of(Duration::from_secs(4));
    world.send("m", "body");
    for round in 0..200 {
        if world.queued() == 0 {
            break;
        }
        run(&mut world, round, &mut |_| Step::More(vec![1]));
        world.now += Duration::from_secs(310);
    }
    assert_eq!((world.queued(), world.poison.len()), (0, 1));
    assert_eq!(world.poison[0].properties.text("DeadLetterReason"), Some("max-attempts"));
    assert_eq!(world.poison[0].properties.text("DeadLetterErrorDescription"), Some("execution-timeout"));
}

/// A run that dies in the first call of its processor: what that answered was never sent, and only the claims are there.
fn dies_in_its_first_call(world: &mut World, random: u128) -> Vec<String> {
    let mut worker = Worker::start(world, Duration::from_secs(20), random);
    for _ in 0..100 {
        if !worker.processed.is_empty() {
            break;
        }
        worker.perform(world, 0, Fate::Answered, &mut done);
        world.now += Duration::from_millis(10);
        if worker.processed.is_empty() {
            worker.wake(world, &mut done);
        }
    }
    worker.die();
    world.now += Duration::from_secs(61);
    worker.processed.into_iter().map(|(id, ..)| id).collect()
}

#[test]
fn a_message_that_killed_twice_is_begun_alone_and_its_neighbours_later() {
    let mut world = World::default();
    for id in ["killer", "neighbour"] {
        world.send(id, "body");
    }
    for round in 0..2 {
        assert_eq!(dies_in_its_first_call(&mut world, round).len(), 2);
    }
    let mut batches = Vec::new();
    let mut worker = Worker::start(&mut world, Duration::from_secs(20), 9);
    worker.finish(&mut world, &mut |work: &Work| {
        batches.push(work.id.clone());
        Step::Done(None)
    });
    assert_eq!(batches.len(), 2);
    assert!(worker.summary.is_some_and(|summary| summary.process_calls == 2), "one call for each");
}

/// A run whose instance dies when the processor has got `killer`.
fn run_or_be_killed(world: &mut World, random: u128) {
    let mut worker = Worker::start(world, Duration::from_secs(20), random);
    let killed = Cell::new(false);
    let mut processor = |work: &Work| {
        killed.set(killed.get() || work.id == "killer");
        Step::Done(None)
    };
    for _ in 0..400 {
        worker.perform(world, 0, Fate::Answered, &mut processor);
        world.now += Duration::from_millis(100);
        if !killed.get() {
            worker.wake(world, &mut processor);
        }
        if killed.get() || !worker.is_alive() {
            break;
        }
    }
    worker.die();
    world.now += Duration::from_secs(61);
}

/// However few attempts there are: whoever dies among others gets one more, alone.
#[test]
fn the_neighbours_of_a_killer_are_not_parked_for_it() {
    for max_attempts in 1..=5 {
        let mut world = World::with_attempts(max_attempts);
        for id in ["killer", "neighbour"] {
            world.send(id, "body");
        }
        for random in 0..20 {
            run_or_be_killed(&mut world, random);
        }
        assert_eq!((world.queued(), world.finished.as_slice()), (0, ["neighbour".to_owned()].as_slice()));
        let parked: Vec<_> = world.poison.iter().map(|message| message.properties.text("oncebus-id")).collect();
        assert_eq!(parked, [Some("killer")], "{max_attempts}");
        assert_eq!(world.record("killer").unwrap().failures, max_attempts);
    }
}

/// It was claimed alone near the end of a run, and given back unprocessed.
#[test]
fn a_message_that_killed_twice_is_begun_alone_by_whoever_comes_next() {
    let mut world = World::default();
    for id in ["killer", "neighbour"] {
        world.send(id, "body");
    }
    for round in 0..2 {
        dies_in_its_first_call(&mut world, round);
    }
    for id in ["killer", "neighbour"] {
        world.give_back(id);
    }
    let mut worker = Worker::start(&mut world, Duration::from_secs(20), 9);
    let summary = worker.finish(&mut world, &mut done);
    assert_eq!((summary.done, summary.process_calls), (2, 2), "one call for each: {summary:?}");
}
