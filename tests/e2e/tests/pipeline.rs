//! From the POST to the row, and the ways that are not straight.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::time::Duration;

use http::{Method, StatusCode};
use oncebus_core::message::Outgoing;
use oncebus_e2e::{Setup, World};

#[tokio::test(flavor = "multi_thread")]
async fn accepted_and_stored_in_four_calls_a_message() {
    let world = World::start().await;
    for n in 0..20 {
        world.send("orders", &format!("m-{n}"), format!("{{\"n\":{n}}}")).await;
    }
    let summary = world.run("orders").await;
    assert_eq!((summary.received, summary.done), (20, 20), "{summary:?}");
    let calls = summary.without_key.calls;
    assert_eq!((calls.receive, calls.complete, calls.create, calls.write), (20, 20, 20, 20));
    assert_eq!(calls.broker_per_delivery() + calls.storage(), 80);
    assert_eq!(world.stored().len(), 20);
    assert_eq!(world.queued("orders"), 0);
    let (status, state) = world.state("orders", "m-7").await;
    assert_eq!((status, state["state"].as_str()), (StatusCode::OK, Some("done")), "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_twice_is_stored_once() {
    let world = World::start().await;
    world.send("orders", "m-1", "{}").await;
    world.send("orders", "m-1", "{}").await;
    let summary = world.run("orders").await;
    assert_eq!((summary.received, summary.done, summary.duplicate), (2, 1, 1), "{summary:?}");
    world.send("orders", "m-1", "{}").await;
    let later = world.run("orders").await;
    assert_eq!((later.done, later.duplicate), (0, 1), "{later:?}");
    assert_eq!((world.stored().len(), world.effects("m-1")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_somebody_else_put_on_the_queue_is_known_by_its_message_id() {
    let world = World::start().await;
    let message = Outgoing {
        message_id: Some("theirs".to_owned()),
        content_type: Some("text/plain".to_owned()),
        body: "hello".into(),
        properties: [("colour", "blue"), ("oncebus-key", "sender-1")].into_iter().collect(),
        ..Outgoing::default()
    };
    world.services().put_on_queue("orders", &message).await;
    world.services().put_on_queue("orders", &message).await;
    let summary = world.run("orders").await;
    assert_eq!((summary.done, summary.duplicate), (1, 1), "{summary:?}");
    let row = world.query("SELECT id, lock_key, content_type, body, properties FROM messages");
    let expected =
        r#"[[Text("theirs"), Text("sender-1"), Text("text/plain"), Text("hello"), Text("{\"colour\":\"blue\"}")]]"#;
    assert_eq!(format!("{row:?}"), expected);
    assert_eq!(summary.without_key.received, 0, "messages with a lock key are counted apart");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_payload_under_a_used_id_goes_to_the_poison_queue() {
    let world = World::start().await;
    world.send("orders", "m-1", "{}").await;
    world.run("orders").await;
    world.send("orders", "m-1", "{\"other\":true}").await;
    let summary = world.run("orders").await;
    assert_eq!((summary.mismatched, summary.done), (1, 0), "{summary:?}");
    let poison = world.admin().messages("orders.poison");
    assert_eq!(poison.len(), 1);
    assert_eq!(property(&poison[0].properties, "DeadLetterReason"), "payload-mismatch");
    assert_eq!(world.record().await["st"], "d", "the record is untouched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_message_is_on_the_poison_queue_with_its_reason() {
    let world = World::with(Setup::flaky()).await;
    world.send("orders", "m-1", r#"{"flaky":{"reject":"no such account"}}"#).await;
    let summary = world.run("orders").await;
    assert_eq!(summary.parked, 1, "{summary:?}");
    let poison = world.admin().messages("orders.poison");
    assert_eq!(poison.len(), 1);
    assert_eq!(property(&poison[0].properties, "DeadLetterReason"), "rejected");
    assert_eq!(property(&poison[0].properties, "DeadLetterErrorDescription"), "no such account");
    assert_eq!(property(&poison[0].properties, "oncebus-source-queue"), "orders");
    let record = world.record().await;
    assert_eq!((record["st"].as_str(), record["pc"].as_str()), ("x", "1"));
    assert_eq!(world.queued("orders"), 0);
    let (_, state) = world.state("orders", "m-1").await;
    assert_eq!(state["state"], "parked", "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_comes_back_after_its_delay_until_it_succeeds() {
    let world = World::with(Setup::flaky()).await;
    world.send("orders", "m-1", r#"{"flaky":{"retry_until_attempt":3,"after_seconds":10}}"#).await;
    for attempt in 1..=2 {
        let summary = world.run("orders").await;
        assert_eq!((summary.received, summary.retried), (1, 1), "attempt {attempt}: {summary:?}");
        let early = world.run("orders").await;
        assert_eq!(early.received, 0, "the copy is not due: {early:?}");
        world.admin().advance_clock(Duration::from_secs(12));
    }
    let last = world.run("orders").await;
    assert_eq!((last.received, last.done), (1, 1), "{last:?}");
    assert_eq!((world.stored(), world.queued("orders")), (vec!["m-1".to_owned()], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_attempts_are_used_up_the_message_is_parked() {
    let world = World::with(Setup::flaky().with_defaults("max_attempts = 2")).await;
    world.send("orders", "m-1", r#"{"flaky":{"retry_until_attempt":9,"after_seconds":1}}"#).await;
    assert_eq!(world.run("orders").await.retried, 1);
    world.admin().advance_clock(Duration::from_secs(3));
    assert_eq!(world.run("orders").await.parked, 1);
    let poison = world.admin().messages("orders.poison");
    assert_eq!(property(&poison[0].properties, "DeadLetterReason"), "max-attempts");
    assert!(world.stored().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_the_instance_comes_back_and_is_parked_in_the_end() {
    let world = World::with(Setup::flaky().with_defaults("max_attempts = 3")).await;
    world.send("orders", "killer", r#"{"flaky":{"trap":true}}"#).await;
    world.send("orders", "neighbour", r#"{}"#).await;
    for _ in 0..3 {
        world.run_and_die("orders").await;
        world.let_locks_expire().await;
    }
    let summary = world.run("orders").await;
    assert_eq!(summary.parked, 1, "{summary:?}");
    let (_, neighbour) = world.state("orders", "neighbour").await;
    assert_eq!(neighbour["state"], "done", "it recovered: {neighbour}");
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_stored_and_the_next_attempt_starts_from_the_last() {
    use oncebus_e2e::{At, Cut, Does};
    let world = World::with(Setup::flaky()).await;
    world.send("orders", "m-1", r#"{"flaky":{"steps":3}}"#).await;
    // The first two writes are checkpoints 1 and 2; the instance dies with the third step done and unrecorded.
    world.cuts.add(Cut::after(2, At::Write, Does::DieBefore));
    world.run_and_die("orders").await;
    assert_eq!(world.record().await["sp"], "2");
    world.let_locks_expire().await;
    let summary = world.run("orders").await;
    assert_eq!(summary.done, 1, "{summary:?}");
    let steps = world.query("SELECT step, epoch FROM effects ORDER BY step, epoch");
    assert_eq!(
        format!("{steps:?}"),
        "[[Integer(0), Integer(1)], [Integer(1), Integer(1)], [Integer(2), Integer(1)], [Integer(2), Integer(2)]]"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_checkpoint_has_a_blob_of_its_own_and_survives_the_instance() {
    use oncebus_e2e::{At, Cut, Does};
    let world = World::with(Setup::flaky()).await;
    world.send("orders", "m-1", r#"{"flaky":{"steps":3,"checkpoint_bytes":50000}}"#).await;
    world.cuts.add(Cut::after(2, At::Write, Does::DieBefore));
    world.run_and_die("orders").await;
    let record = world.record().await;
    assert_eq!((record["sp"].as_str(), record.contains_key("cp")), ("2", false));
    let names = world.blob_names().await;
    assert!(names.iter().any(|name| name.ends_with(&format!(".cp/{}", record["cb"]))), "{names:?}");
    world.let_locks_expire().await;
    let summary = world.run("orders").await;
    // `flaky` rejects a checkpoint that is not the one of its step.
    assert_eq!((summary.done, summary.parked, summary.calls.load), (1, 0, 1), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_forgets_deletes_the_record_when_the_message_is_completed() {
    let world = World::with(Setup::default().with_defaults("release = 'delete'")).await;
    for _ in 0..2 {
        world.send("orders", "m-1", "{}").await;
        let summary = world.run("orders").await;
        assert_eq!((summary.done, summary.duplicate, summary.calls.delete), (1, 0, 1), "{summary:?}");
        assert!(world.blob_names().await.is_empty(), "{:?}", world.blob_names().await);
    }
    assert_eq!((world.effects("m-1"), world.stored().len()), (2, 1), "worked on twice; the store inserts if absent");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_never_process_a_message_twice() {
    let world = World::start().await;
    for n in 0..40 {
        let id = format!("m-{}", n % 20);
        world.send("orders", &id, "{}").await;
    }
    let (one, two) = tokio::join!(world.run_for("orders", 8), world.run_for("orders", 8));
    let (one, two) = (one.unwrap().summary(), two.unwrap().summary());
    assert_eq!(one.done + two.done, 20, "{one:?}\n{two:?}");
    assert_eq!(one.duplicate + two.duplicate, 20, "{one:?}\n{two:?}");
    assert_eq!(world.query("SELECT id FROM effects").len(), 20, "no step ran twice");
    assert_eq!(world.stored().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_active_lock_is_reported_in_these_words() {
    use oncebus_e2e::{At, Cut, Does};
    let world = World::start().await;
    world.send("orders", "m-1", "{}").await;
    world.cuts.add(Cut::first(At::Claim, Does::DieAfter));
    world.run_and_die("orders").await;
    // The sender repeats itself while the dead instance's claim still stands.
    world.send("orders", "m-1", "{}").await;
    let summary = world.run("orders").await;
    assert_eq!(summary.busy, 1, "{summary:?}");
    let line = &summary.active_locks[0];
    assert!(line.starts_with("The message ID m-1 has an active lock") && line.contains(" until 20"), "{line}");
    assert!(world.log().iter().any(|logged| logged.contains("The message ID m-1 has an active lock")));
    assert_eq!(world.queued("orders"), 2, "neither completed nor lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_needs_its_secret() {
    let world = World::start().await;
    for secret in [None, Some("wrong")] {
        let request = world.request(Method::POST, "/internal/queues/orders/run");
        let request = secret.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}

fn property(properties: &std::collections::BTreeMap<String, serde_json::Value>, name: &str) -> String {
    let found = properties.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.and_then(|(_, value)| value.as_str()).unwrap_or_default().to_owned()
}
