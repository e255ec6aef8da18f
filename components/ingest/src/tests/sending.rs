//! `POST /queues/{queue}/messages`.

use futures::StreamExt as _;

use super::*;

const PATH: &str = "/queues/orders/messages";

#[test]
fn a_message_is_accepted_once_the_broker_has_it() {
    let world = World::answering(201);
    let headers = [
        ("idempotency-key", "\"order/7\""),
        ("oncebus-lock-key", "customer-1"),
        ("content-type", "text/csv"),
        ("x-secret", "s"),
        ("content-length", "3"),
    ];
    let told = world.ask("POST", PATH, &headers, "a,b");
    assert_eq!((told.status, told.body.len()), (202, 0));
    assert_eq!(told.header("location"), Some("/queues/orders/messages/order%2F7"));
    assert_eq!((told.header("content-length"), told.header("content-type")), (Some("0"), None));

    let sent = world.only_sent();
    assert_eq!(sent.uri(), "https://bus.example/orders/messages");
    assert_eq!((sent_header(&sent, "content-type"), &sent.body()[..]), ("text/csv", b"a,b".as_slice()));
    assert_eq!(sent.headers()["brokerproperties"], "{\"MessageId\":\"order/7\"}");
    assert_eq!(
        (sent_header(&sent, "oncebus-id"), sent_header(&sent, "oncebus-key")),
        ("\"order/7\"", "\"customer-1\"")
    );
    assert!(!sent.headers().contains_key("x-secret"));
}

#[test]
fn a_message_without_an_id_gets_a_uuid() {
    let world = World::answering(201);
    let told = world.ask("POST", PATH, &[], "\u{0}");
    let id = told.header("location").unwrap().rsplit_once('/').unwrap().1.to_owned();
    assert_eq!((id.len(), id.get(14..15)), (36, Some("7")));
    let sent = world.only_sent();
    assert_eq!(sent_header(&sent, "oncebus-id"), format!("\"{id}\""));
    assert!(!sent.headers().contains_key("content-type"));
}

#[test]
fn what_cannot_be_a_message_is_refused_before_anything_is_sent() {
    let world = World::new(|request| panic!("nothing is sent: {request:?}"));
    let long = "x".repeat(2_100);
    for (target, headers, body, expected) in [
        ("/queues/nope/messages", vec![], "x", problem(404, "unknown-queue")),
        ("/nope", vec![], "x", problem(404, "not-found")),
        (PATH, vec![("idempotency-key", "\"a")], "x", problem(400, "invalid-id")),
        (PATH, vec![("oncebus-lock-key", "")], "x", problem(400, "invalid-header")),
        (PATH, vec![("content-type", "text/plän")], "x", problem(400, "invalid-header")),
        (PATH, vec![], long.as_str(), problem(413, "too-large")),
        // The body fits, what goes with it does not.
        (PATH, vec![("idempotency-key", "abc")], &long[..2_040], problem(413, "too-large")),
        (PATH, vec![("content-length", "2049")], "x", problem(413, "too-large")),
        (PATH, vec![("content-length", "2")], "x", problem(400, "malformed")),
    ] {
        assert_eq!(world.ask("POST", target, &headers, body).problem(), expected, "{target} {headers:?}");
    }
}

#[test]
fn every_failure_of_the_broker_has_an_answer_of_its_own() {
    for (status, expected, retry_after) in [
        (401, problem(502, "credential-refused"), None),
        (403, problem(413, "too-large"), None),
        (404, problem(502, "not-provisioned"), None),
        (410, problem(502, "not-provisioned"), None),
        (400, problem(502, "refused"), None),
        (429, problem(503, "throttled"), Some("2")),
        (503, problem(503, "throttled"), Some("2")),
        (500, problem(503, "unavailable"), Some("2")),
    ] {
        let told = World::answering(status).ask("POST", PATH, &[], "x");
        assert_eq!((told.problem(), told.header("retry-after")), (expected, retry_after), "{status}");
        assert_eq!(told.json()["service"], "service-bus");
    }
    let down = World::new(|_| Err(TransportError::NotSent("refused".to_owned())));
    let told = down.ask("POST", PATH, &[], "x");
    assert_eq!((told.problem(), told.header("retry-after")), (problem(503, "unavailable"), Some("2")));
}

#[test]
fn a_throttled_broker_is_not_asked_again_and_says_how_long() {
    let world = World::new(|_| Ok(response(429, &[("retry-after", "17")])));
    assert_eq!(world.ask("POST", PATH, &[], "x").header("retry-after"), Some("17"));
    world.only_sent();
}

#[test]
fn whatever_sends_says_when_the_broker_has_too_much_to_do_and_keeps_nothing() {
    let body = "<Error><Code>400</Code><Detail>The request was terminated because the namespace is being throttled. SubCode=50009.</Detail></Error>";
    let form = ("content-type", "application/x-www-form-urlencoded");
    let signature = ("x-twilio-signature", "9bSJd3e+sV+iQPmrsJ/+q23kFWg=");
    let json = ("content-type", "application/json");
    for (status, said) in [(429, ""), (503, ""), (400, body)] {
        for (target, headers, sent) in [
            (PATH, vec![("idempotency-key", "k")], "x"),
            ("/queues/orders/batch", vec![json], "[1, 2]"),
            ("/webhooks/twilio", vec![form, signature], "MessageSid=SM1"),
        ] {
            let world = World::new(move |_| {
                let mut answer = response(status, &[("retry-after", "7")]);
                *answer.body_mut() = Bytes::from_static(said.as_bytes());
                Ok(answer)
            });
            let told = world.ask("POST", target, &headers, sent);
            assert_eq!(
                (told.problem(), told.header("retry-after")),
                (problem(503, "throttled"), Some("7")),
                "{target} {status}"
            );
            assert_eq!(
                (world.sent.borrow().len(), world.now.get()),
                (1, Duration::ZERO),
                "{target}: asked once, without a wait"
            );
        }
    }
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_message() {
    let world = World::new(|_| Err(TransportError::NoAnswer("reset".to_owned())));
    assert_eq!(world.ask("POST", PATH, &[], "x").problem(), problem(503, "unavailable"));
    let sent = world.sent.borrow();
    assert!(sent.len() > 1);
    assert!(sent.iter().all(|request| request.headers()["oncebus-id"] == sent[0].headers()["oncebus-id"]));
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let world = World::answering(201);
    for (method, target, allow) in [
        ("GET", PATH, "POST, OPTIONS"),
        ("DELETE", "/queues/orders/messages/a", "GET, HEAD"),
        ("GET", "/webhooks/twilio", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
    ] {
        let told = world.ask(method, target, &[], "");
        assert_eq!((told.problem(), told.header("allow")), (problem(405, "method-not-allowed"), Some(allow)));
    }
}

#[test]
fn a_wrong_configuration_is_loud_and_keeps_its_words_to_the_log() {
    let world = World { config: "[queues.orders]\nbatch = 's3cret'", ..World::answering(201) };
    let told = world.ask("POST", PATH, &[], "x");
    assert_eq!(told.problem(), problem(500, "configuration"));
    assert_eq!(told.json()["key"], "queues.orders.batch");
    assert!(!String::from_utf8(told.body).unwrap().contains("s3cret"));
}

#[test]
fn a_refused_body_is_read_before_the_answer_but_not_for_ever() {
    let world = World::answering(201);
    let read = Cell::new(0);
    let chunks = |count: usize| {
        read.set(0);
        stream::iter(0..count).map(|_| {
            read.set(read.get() + 1);
            Ok(vec![b'x'; 100_000])
        })
    };
    // A client that writes all before it reads sees its answer.
    assert_eq!(world.ask_with("POST", PATH, &[], chunks(20)).problem(), problem(413, "too-large"));
    assert_eq!(read.get(), 20);
    assert_eq!(world.ask_with("POST", "/nope", &[], chunks(20)).problem(), problem(404, "not-found"));
    assert_eq!(read.get(), 20);
    assert_eq!(world.ask_with("POST", PATH, &[], chunks(usize::MAX)).problem(), problem(413, "too-large"));
    assert!(read.get() < 100, "{}", read.get());
    // What is declared to be longer than that is not begun.
    let declared = [("content-length", "99000000")];
    assert_eq!(world.ask_with("POST", PATH, &declared, chunks(990)).problem(), problem(413, "too-large"));
    assert_eq!(read.get(), 0);
}

#[test]
fn a_body_that_stands_still_does_not_hold_back_a_refusal() {
    let world = World::answering(201);
    assert_eq!(world.ask_with("POST", "/nope", &[], stream::pending()).problem(), problem(404, "not-found"));
    assert_eq!(world.now.get(), Duration::from_secs(2));
}
