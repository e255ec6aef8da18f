//! An instance dies at every point of a message's way; the next run finishes, and the message is stored once.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::time::Duration;

use oncebus_e2e::{At, Cut, Does, Held, Setup, World};

async fn dies_and_is_taken_up_again(cut: Cut) -> World {
    let world = World::start().await;
    world.send("orders", "m-1", "{}").await;
    world.cuts.add(cut);
    world.run_and_die("orders").await;
    world.let_locks_expire().await;
    let summary = world.run("orders").await;
    assert_eq!(summary.received, 1);
    assert_eq!(summary.done + summary.duplicate, 1, "{summary:?}");
    assert_eq!(world.stored(), ["m-1"]);
    assert_eq!(world.queued("orders"), 0, "the message is completed");
    assert_eq!(world.record().await["st"], "d");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_claim_the_next_run_is_the_first() {
    let world = dies_and_is_taken_up_again(Cut::first(At::Claim, Does::DieBefore)).await;
    assert_eq!((world.effects("m-1"), world.record().await["ep"].as_str()), (1, "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_claim_the_next_run_takes_over() {
    let world = dies_and_is_taken_up_again(Cut::first(At::Claim, Does::DieAfter)).await;
    assert_eq!((world.effects("m-1"), world.record().await["ep"].as_str()), (1, "2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_effect_the_step_runs_again_with_a_higher_epoch() {
    let world = dies_and_is_taken_up_again(Cut::first(At::Write, Does::DieBefore)).await;
    assert_eq!(world.effects("m-1"), 2);
    let epochs = world.query("SELECT epoch FROM effects ORDER BY epoch");
    assert_eq!(format!("{epochs:?}"), "[[Integer(1)], [Integer(2)]]");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_done_the_next_delivery_is_a_duplicate() {
    let world = dies_and_is_taken_up_again(Cut::first(At::Write, Does::DieAfter)).await;
    assert_eq!(world.effects("m-1"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_completion_the_next_delivery_is_a_duplicate() {
    let world = dies_and_is_taken_up_again(Cut::first(At::Complete, Does::DieBefore)).await;
    assert_eq!(world.effects("m-1"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_release_and_before_the_copy_the_next_delivery_makes_the_copy() {
    let world = World::with(Setup::flaky()).await;
    world.send("orders", "m-1", r#"{"flaky":{"retry_until_attempt":2,"after_seconds":300}}"#).await;
    world.cuts.add(Cut::first(At::Copy, Does::DieBefore));
    world.run_and_die("orders").await;
    assert_eq!(world.record().await["st"], "r");
    world.let_locks_expire().await;
    let early = world.run("orders").await;
    assert_eq!((early.received, early.deferred, early.done), (1, 1, 0), "{early:?}");
    world.admin().advance_clock(Duration::from_secs(301));
    let due = world.run("orders").await;
    assert_eq!((due.received, due.done, world.queued("orders")), (1, 1, 0), "{due:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_parking_and_before_the_poison_copy_the_next_delivery_makes_the_copy() {
    let world = World::with(Setup::flaky()).await;
    world.send("orders", "m-1", r#"{"flaky":{"reject":"bad"}}"#).await;
    world.cuts.add(Cut::first(At::Copy, Does::DieBefore));
    world.run_and_die("orders").await;
    assert_eq!((world.record().await["st"].as_str(), world.queued("orders.poison")), ("x", 0));
    world.let_locks_expire().await;
    let summary = world.run("orders").await;
    assert_eq!((summary.parked, world.queued("orders.poison"), world.queued("orders")), (1, 1, 0), "{summary:?}");
    assert_eq!(world.record().await["pc"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_claim_is_taken_over_and_the_sleepers_write_is_refused() {
    let world = World::with(Setup::default().with_defaults("batch = 1")).await;
    world.send("orders", "m-1", "{}").await;
    // It sleeps with the effect done and unrecorded. Its next poll sleeps too, or it would get the message again itself.
    let (write, poll) = (Held::default(), Held::default());
    world.cuts.add(Cut::first(At::Write, Does::Hold(write.clone())));
    world.cuts.add(Cut::after(1, At::Poll, Does::Hold(poll.clone())));
    let (sleeper, ()) = tokio::join!(world.run_for("orders", 20), async {
        write.reached().await;
        poll.reached().await;
        world.let_locks_expire().await;
        let successor = world.run("orders").await;
        assert_eq!((successor.received, successor.done), (1, 1), "{successor:?}");
        // Without its queue the sleeper has nothing to wait for once it has learnt that it was fenced.
        world.admin().remove_queue("orders");
        write.release();
        poll.release();
    });
    let sleeper = sleeper.unwrap().summary();
    assert_eq!((sleeper.done, sleeper.lost), (0, 1), "{sleeper:?}");
    assert_eq!(world.stored(), ["m-1"]);
    assert_eq!(world.record().await["ep"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_to_the_claim_is_recognised_by_its_mark() {
    let world = World::start().await;
    world.send("orders", "m-1", "{}").await;
    world.cuts.add(Cut::first(At::Claim, Does::LoseReply));
    let summary = world.run("orders").await;
    assert_eq!((summary.done, summary.busy, world.effects("m-1")), (1, 0, 1), "{summary:?}");
    assert_eq!(world.record().await["ep"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_to_done_is_recognised_by_its_mark() {
    let world = World::start().await;
    world.send("orders", "m-1", "{}").await;
    world.cuts.add(Cut::first(At::Write, Does::LoseReply));
    let summary = world.run("orders").await;
    assert_eq!((summary.done, summary.lost, world.effects("m-1")), (1, 0, 1), "{summary:?}");
    assert_eq!(world.queued("orders"), 0);
}
