//! What only looks: the state of a message, health.

use oncebus_core::id::{Mark, record_name};
use oncebus_core::record::{Author, Record};

use super::*;

const PATH: &str = "/queues/orders/messages/order%2F7";

fn author() -> Author {
    Author { owner: "run".into(), mark: Mark::parse("m") }
}

fn claimed() -> Record {
    Record::first("order/7", &"0".repeat(64), Duration::from_secs(45), author())
}

/// The storage's answer to HEAD where there is a record.
fn found() -> Response<Bytes> {
    holds(&claimed())
}

/// The same where there is this one.
fn holds(record: &Record) -> Response<Bytes> {
    let mut response = response(
        200,
        &[
            ("etag", "\"0x1\""),
            ("last-modified", "Fri, 20 Nov 2026 11:30:01 GMT"),
            ("date", "Fri, 20 Nov 2026 11:30:03 GMT"),
        ],
    );
    for (name, value) in record.to_metadata() {
        let name = http::HeaderName::try_from(format!("x-ms-meta-{name}")).unwrap();
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

#[test]
fn the_state_of_a_message_is_what_its_record_says() {
    let world = World::new(|_| Ok(found()));
    let told = world.ask("GET", PATH, &[], "");
    assert_eq!((told.status, told.header("etag"), told.header("retry-after")), (200, Some("\"0x1\""), Some("2")));
    let json = told.json();
    assert_eq!((&json["id"], &json["state"], &json["epoch"]), (&"order/7".into(), &"processing".into(), &1.into()));
    assert_eq!(json["lock_until"], "2026-11-20T11:30:46Z");
    let sent = world.only_sent();
    // The record is the group's, not the queue's.
    assert_eq!(sent.uri().path(), format!("/oncebus/{}", record_name("shop", "order/7")));
    assert_eq!(sent.method(), Method::HEAD);
}

/// A storage that answers each look by its number, from 0.
fn looks(answer: impl Fn(usize) -> Response<Bytes> + 'static) -> World {
    let count = Cell::new(0);
    World::new(move |_| {
        count.set(count.get() + 1);
        Ok(answer(count.get() - 1))
    })
}

#[test]
fn who_waits_is_answered_once_the_message_is_done() {
    let done = claimed().finish(Some("stored".into()), Duration::ZERO, author());
    let world = looks(move |look| match look {
        0 | 1 => response(404, &[]),
        2 => found(),
        _ => holds(&done),
    });
    let told = world.ask("GET", &format!("{PATH}?wait=20"), &[], "");
    let json = told.json();
    assert_eq!((told.status, told.header("retry-after")), (200, None));
    assert_eq!((&json["state"], &json["result"]), (&"done".into(), &"stored".into()));
    assert_eq!((world.sent.borrow().len(), world.now.get()), (4, Duration::from_millis(1_750)));
}

#[test]
fn who_waits_for_a_message_that_is_given_up_is_told_so() {
    let world = looks(|_| holds(&claimed().park("bad".into(), author())));
    let told = world.ask("GET", &format!("{PATH}?wait=20"), &[], "");
    assert_eq!((told.status, &told.json()["last_error"], world.now.get()), (200, &"bad".into(), Duration::ZERO));
}

#[test]
fn a_wait_that_ends_answers_what_there_is_after_16_looks_at_the_most() {
    let world = looks(|_| found());
    let told = world.ask("GET", &format!("{PATH}?wait=25"), &[], "");
    assert_eq!(
        (told.status, &told.json()["state"], told.header("retry-after")),
        (200, &"processing".into(), Some("2"))
    );
    assert_eq!((world.sent.borrow().len(), world.now.get()), (16, Duration::from_secs(25)));
    let world = looks(|_| response(404, &[]));
    let told = world.ask("GET", &format!("{PATH}?wait=1"), &[], "");
    assert_eq!((told.problem(), told.header("retry-after")), (problem(404, "unknown-message"), Some("2")));
    assert_eq!((world.sent.borrow().len(), world.now.get()), (4, Duration::from_secs(1)));
    let world = looks(|_| found());
    assert_eq!(world.ask("GET", &format!("{PATH}?wait=26"), &[], "").problem(), problem(400, "malformed"));
    assert!(world.sent.borrow().is_empty());
}

#[test]
fn who_has_this_version_is_told_that_it_is_the_same() {
    for known in ["\"0x1\"", "W/\"0x1\"", "\"0x0\", \"0x1\"", "*"] {
        let told = World::new(|_| Ok(found())).ask("GET", PATH, &[("if-none-match", known)], "");
        assert_eq!((told.status, told.body.len(), told.header("content-length")), (304, 0, None), "{known}");
        assert_eq!((told.header("etag"), told.header("retry-after")), (Some("\"0x1\""), Some("2")));
    }
    let told = World::new(|_| Ok(found())).ask("GET", PATH, &[("if-none-match", "\"0x0\"")], "");
    assert_eq!(told.status, 200);
}

#[test]
fn head_is_get_without_a_body() {
    let world = World::new(|_| Ok(found()));
    let told = world.ask("HEAD", PATH, &[], "");
    assert_eq!((told.status, told.body.len(), told.header("etag")), (200, 0, Some("\"0x1\"")));
    assert_eq!(world.ask("HEAD", "/healthz", &[], "").status, 200);
}

#[test]
fn a_message_without_a_record_is_unknown_or_still_queued() {
    let told = World::answering(404).ask("GET", PATH, &[], "");
    assert_eq!(told.problem(), problem(404, "unknown-message"));
    let told = World::answering(404).ask("GET", "/queues/nope/messages/a", &[], "");
    assert_eq!(told.problem(), problem(404, "unknown-queue"));
    let told = World::answering(404).ask("GET", "/queues/orders/messages/%00", &[], "");
    assert_eq!(told.problem(), problem(400, "invalid-id"));
}

#[test]
fn a_storage_that_refuses_is_not_a_message_that_is_unknown() {
    let told = World::answering(403).ask("GET", PATH, &[], "");
    assert_eq!((told.problem(), &told.json()["service"]), (problem(502, "credential-refused"), &"storage".into()));
    let told = World::new(|_| Err(TransportError::NotSent(String::new()))).ask("GET", PATH, &[], "");
    assert_eq!(told.problem(), problem(503, "unavailable"));
}

#[test]
fn health_needs_neither_services_nor_configuration() {
    let world = World { config: "=", ..World::new(|request| panic!("nothing is sent: {request:?}")) };
    for target in ["/healthz", "/healthz?x=1", "/"] {
        assert_eq!(world.ask("GET", target, &[], "").status, 200);
    }
    assert_eq!(world.ask("GET", "/readyz", &[], "").problem(), problem(500, "configuration"));
}

/// Service Bus and Storage, each with a status of its own; 0 is no answer.
fn two(service_bus: u16, storage: u16) -> Told {
    let world = World::new(move |request| match (request.uri().host(), service_bus, storage) {
        (Some("bus.example"), 0, _) | (Some("store.example"), _, 0) => Err(TransportError::NotSent(String::new())),
        (Some("bus.example"), status, _) | (_, _, status) => Ok(response(status, &[])),
    });
    world.ask("GET", "/readyz", &[], "")
}

#[test]
fn readiness_is_that_both_services_answer() {
    assert_eq!(two(401, 404).status, 200);
    for (service_bus, storage, at_fault) in [(0, 404, "service-bus"), (200, 0, "storage"), (200, 403, "storage")] {
        let told = two(service_bus, storage);
        assert_eq!((told.problem(), &told.json()["service"]), (problem(503, "unavailable"), &at_fault.into()));
        assert_eq!(told.header("retry-after"), Some("2"));
    }
}
