//! `POST /queues/{queue}/batch`.

use std::collections::BTreeSet;

use super::*;

const PATH: &str = "/queues/orders/batch";
const JSON: (&str, &str) = ("content-type", "application/json");
const LINES: (&str, &str) = ("content-type", "application/x-ndjson");

/// The messages of a batch as it was sent.
fn messages(request: &Request<Bytes>) -> Vec<Value> {
    assert_eq!(request.headers()["content-type"], oncebus_azure::batch::CONTENT_TYPE);
    serde_json::from_slice(request.body()).unwrap()
}

/// Envelopes of some size, with ids.
fn envelopes(count: usize, size: usize) -> String {
    let items: Vec<String> =
        (0..count).map(|n| format!("{{\"id\":\"i{n}\",\"body\":\"{}\"}}", "x".repeat(size))).collect();
    format!("[{}]", items.join(","))
}

#[test]
fn a_batch_goes_out_in_one_send_and_is_202() {
    let world = World::answering(201);
    let body = "[{\"id\":\"a\",\"key\":\"k\",\"content_type\":\"text/plain\",\"body\":\"hi\"}, {\"x\": 1}]";
    let told = world.ask("POST", PATH, &[JSON], body);
    let json = told.json();
    assert_eq!((told.status, &json["accepted"], &json["refused"]), (202, &2.into(), &0.into()));
    assert_eq!(json["items"][0]["location"], "/queues/orders/messages/a");
    let fresh = json["items"][1]["id"].as_str().unwrap();
    let sent = messages(&world.only_sent());
    assert_eq!((&sent[0]["Body"], &sent[1]["Body"]), (&"hi".into(), &"{\"x\": 1}".into()));
    let properties = serde_json::json!({ "oncebus-id": "a", "oncebus-key": "k", "oncebus-content-type": "text/plain" });
    assert_eq!(sent[0]["UserProperties"], properties);
    assert_eq!(
        (&sent[1]["UserProperties"]["oncebus-id"], &sent[1]["BrokerProperties"]["MessageId"]),
        (&fresh.into(), &fresh.into())
    );
}

#[test]
fn a_batch_that_is_too_large_for_one_send_is_split_under_the_limit() {
    let world = World::answering(201);
    let told = world.ask("POST", PATH, &[JSON], &envelopes(30, 100));
    assert_eq!((told.status, &told.json()["accepted"]), (202, &30.into()));
    let sent = world.sent.borrow();
    assert!(sent.len() > 2 && sent.iter().all(|request| request.body().len() <= 1_920), "{}", sent.len());
    let ids: BTreeSet<String> =
        sent.iter().flat_map(messages).map(|message| message["UserProperties"]["oncebus-id"].to_string()).collect();
    assert_eq!(ids.len(), 30);
}

#[test]
fn an_item_that_only_fits_alone_goes_alone() {
    let world = World::answering(201);
    // Each quote takes two bytes in a batch.
    let quotes = format!("[{{\"a\":\"b\"}},{{\"id\":\"big\",\"body\":[{}\"\"]}}]", "\"\",".repeat(450));
    assert_eq!(world.ask("POST", PATH, &[JSON], &quotes).status, 202);
    let sent = world.sent.borrow();
    let alone = sent.iter().find(|request| request.headers().contains_key("oncebus-id")).unwrap();
    assert_eq!((sent_header(alone, "oncebus-id"), sent_header(alone, "content-type")), ("\"big\"", "application/json"));
    assert_eq!(sent.len(), 2);
}

#[test]
fn bad_items_have_problems_of_their_own_and_the_others_are_sent() {
    let world = World::answering(201);
    let large = format!("{{\"id\":\"c\",\"body\":\"{}\"}}", "x".repeat(2_048));
    let lines = format!(
        "{{\"id\":\"a\",\"body\":1}}\n{{\"id\"\n{large}\n{{\"id\":\"d\",\"body\":1,\"properties\":{{\"host\":\"x\"}}}}\n{{\"id\":\"e\",\"body\":2}}"
    );
    let told = world.ask("POST", PATH, &[LINES], &lines);
    let json = told.json();
    assert_eq!((told.status, &json["accepted"], &json["refused"]), (207, &2.into(), &3.into()));
    let statuses: Vec<u64> =
        json["items"].as_array().unwrap().iter().map(|item| item["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [202, 400, 413, 400, 202]);
    assert_eq!(json["items"][2]["id"], "c");
    assert_eq!(json["items"][3]["problem"]["type"], "urn:oncebus:problem:malformed");
    assert_eq!(messages(&world.only_sent()).len(), 2);
}

#[test]
fn a_failed_send_is_the_problem_of_its_items_alone() {
    let world = World::new(|request| {
        let unlucky = messages(request).iter().any(|message| message["UserProperties"]["oncebus-id"] == "i7");
        Ok(response(if unlucky { 403 } else { 201 }, &[]))
    });
    let told = world.ask("POST", PATH, &[JSON], &envelopes(30, 100));
    let json = told.json();
    assert_eq!(told.status, 207);
    assert_eq!((&json["items"][7]["status"], &json["items"][29]["status"]), (&413.into(), &202.into()));
    let refused = json["refused"].as_u64().unwrap();
    assert!((1..15).contains(&refused), "{refused}");
}

#[test]
fn a_broker_that_refuses_is_not_asked_for_every_batch() {
    for (status, expected) in [(429, problem(503, "throttled")), (401, problem(502, "credential-refused"))] {
        let world = World::answering(status);
        let told = world.ask("POST", PATH, &[JSON], &envelopes(40, 400));
        assert_eq!(told.problem(), expected);
        assert_eq!(
            (&told.json()["items"][39]["id"], told.json()["items"].as_array().unwrap().len()),
            (&"i39".into(), 40)
        );
        // Those under way at once, at the most; there would have been more than ten.
        assert!(world.sent.borrow().len() <= 4, "{}", world.sent.borrow().len());
    }
}

#[test]
fn what_is_no_batch_is_refused_as_a_whole() {
    let world = World::new(|request| panic!("nothing is sent: {request:?}"));
    let many = format!("[{}0]", "0,".repeat(40));
    let long = format!("[\"{}\"]", "x".repeat(20_000));
    for (target, headers, body, expected) in [
        ("/queues/nope/batch", vec![JSON], "[]", problem(404, "unknown-queue")),
        (PATH, vec![JSON], "{\"body\":1}", problem(400, "malformed")),
        (PATH, vec![JSON], "[1,", problem(400, "malformed")),
        (PATH, vec![], "[]", problem(415, "unsupported-content-type")),
        (PATH, vec![("content-type", "text/plain")], "[]", problem(415, "unsupported-content-type")),
        (PATH, vec![JSON], many.as_str(), problem(413, "too-large")),
        (PATH, vec![JSON], long.as_str(), problem(413, "too-large")),
    ] {
        assert_eq!(world.ask("POST", target, &headers, body).problem(), expected, "{body}");
    }
    assert_eq!(world.ask("POST", PATH, &[JSON], "[]").status, 202);
}
