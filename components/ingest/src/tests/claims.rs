//! Bodies that are too large for the broker.

use oncebus_core::claim::Claim;

use super::*;

const PATH: &str = "/queues/orders/messages";
const CONFIG: &str = "max_message_bytes = 2048\n[queues.orders]\ngroup = 'shop'\nlarge_bodies = 'claim-check'\nmax_large_body_bytes = 9000\n";

fn is_blob(request: &Request<Bytes>) -> bool {
    request.uri().host() == Some("store.example")
}

/// Services of which the storage answers so.
fn world(storage: impl Fn() -> Reply + 'static) -> World {
    let reply = move |request: &Request<Bytes>| if is_blob(request) { storage() } else { Ok(response(201, &[])) };
    World { config: CONFIG, ..World::new(reply) }
}

fn stored() -> Reply {
    Ok(response(201, &[("etag", "\"1\"")]))
}

#[test]
fn a_large_body_is_stored_before_a_message_is_sent_that_says_where() {
    let world = world(stored);
    let body = "x".repeat(9_000);
    let headers = [("idempotency-key", "order-7"), ("content-type", "text/csv")];
    assert_eq!(world.ask("POST", PATH, &headers, &body).status, 202);
    let sent = world.sent.borrow();
    let claim = Claim::new("shop", "order-7", body.as_bytes());
    assert_eq!((sent.len(), sent[0].uri().path()), (2, format!("/oncebus/{}", claim.blob).as_str()));
    assert_eq!((sent_header(&sent[0], "if-none-match"), &sent[0].body()[..]), ("*", body.as_bytes()));
    assert_eq!((sent[1].body().len(), sent_header(&sent[1], "content-type")), (0, "text/csv"));
    assert_eq!(sent_header(&sent[1], "oncebus-claim"), format!("\"{}\"", claim.blob));
    assert_eq!(sent_header(&sent[1], "oncebus-claim-size"), "\"9000\"");
    assert_eq!(sent_header(&sent[1], "oncebus-claim-sha256"), format!("\"{}\"", claim.sha256));
}

#[test]
fn a_repetition_finds_the_body_stored() {
    let world = world(|| Ok(response(409, &[("x-ms-error-code", "BlobAlreadyExists")])));
    assert_eq!(world.ask("POST", PATH, &[], &"x".repeat(3_000)).status, 202);
}

#[test]
fn what_fits_into_a_message_is_sent_as_ever_and_what_fits_nowhere_refused() {
    let world = world(|| panic!("nothing is stored"));
    let headers = [("idempotency-key", "a")];
    // MessageId 1, oncebus-id 10 + 1.
    assert_eq!(world.ask("POST", PATH, &headers, &"x".repeat(2_036)).status, 202);
    let told = world.ask("POST", PATH, &headers, &"x".repeat(9_001));
    assert_eq!((told.problem(), &told.json()["limit_bytes"]), (problem(413, "too-large"), &9_000.into()));
}

#[test]
fn nothing_is_sent_whose_body_is_not_stored() {
    for (reply, expected) in [
        (403, problem(502, "credential-refused")),
        (404, problem(502, "not-provisioned")),
        (500, problem(503, "unavailable")),
    ] {
        let world = world(move || Ok(response(reply, &[("x-ms-error-code", "ContainerNotFound")])));
        let told = world.ask("POST", PATH, &[], &"x".repeat(3_000));
        assert_eq!((told.problem(), &told.json()["service"]), (expected, &"storage".into()));
        assert!(world.sent.borrow().iter().all(is_blob));
    }
}

#[test]
fn a_large_item_of_a_batch_goes_by_itself() {
    let world = world(stored);
    let large = format!("\"{}\"", "x".repeat(5_000));
    let body =
        format!("1\n{{\"id\":\"big\",\"body\":{large}}}\n2\n{{\"id\":\"too-big\",\"body\":\"{}\"}}", "x".repeat(9_000));
    let told = world.ask("POST", "/queues/orders/batch", &[("content-type", "application/jsonl")], &body);
    let json = told.json();
    assert_eq!((told.status, &json["accepted"], &json["items"][3]["status"]), (207, &3.into(), &413.into()), "{json}");
    let sent = world.sent.borrow();
    let claim = Claim::new("shop", "big", large.as_bytes());
    assert!(sent.iter().any(|request| is_blob(request) && request.body() == large.as_bytes()));
    assert!(sent.iter().any(|request| {
        request.headers().get("oncebus-claim").is_some_and(|name| *name == format!("\"{}\"", claim.blob))
    }));
}
