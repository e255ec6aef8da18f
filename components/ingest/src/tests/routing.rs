//! `POST /messages` and `POST /routes/test`.

use std::collections::BTreeSet;

use super::*;

const CONFIG: &str = "
    max_message_bytes = 2048
    [queues.a]
    group = 'g'
    [queues.b]
    group = 'g'
    [queues.vip]
    [groups.shop]
    queues = ['a', 'b']
    [groups.short]
    queues = ['a', 'b']
    strategy = 'shortest'
    [[routes]]
    name = 'gold'
    queue = 'vip'
    match.headers = { x-tier = { equals = 'gold' } }
    [[routes]]
    group = 'short'
    match.json = { '/kind' = 'short' }
    [[routes]]
    name = 'csv'
    group = 'shop'
    match.content_type = 'text/csv'
";
const CSV: (&str, &str) = ("content-type", "text/csv");
const JSON: (&str, &str) = ("content-type", "application/json");
const DATE: &str = "Fri, 20 Nov 2026 11:30:01 GMT";
const AT: u64 = 1_795_174_201;

/// Service Bus that takes everything, and a storage that answers so when the backlog is asked for.
fn world(status: u16, content: impl Into<Bytes>) -> World {
    let content = content.into();
    let world = World::new(move |request| {
        if request.uri().host() == Some("bus.example") {
            return Ok(response(201, &[]));
        }
        assert_eq!((request.method(), request.uri().path()), (&Method::GET, "/oncebus/backlog/v1.json"));
        let mut answer = response(status, &[("date", DATE), ("etag", "\"1\"")]);
        *answer.body_mut() = content.clone();
        Ok(answer)
    });
    World { config: CONFIG, ..world }
}

fn backlog(a: u64, b: u64, at: u64) -> String {
    format!(r#"{{"v":1,"queues":{{"a":{{"at":{at},"messages":{a}}},"b":{{"at":{at},"messages":{b}}}}}}}"#)
}

#[test]
fn a_message_goes_where_the_first_rule_that_takes_it_says() {
    let world = world(404, "");
    let told = world.ask("POST", "/messages", &[("X-Tier", "gold"), CSV, ("idempotency-key", "m 1")], "a,b");
    assert_eq!((told.status, told.body.len()), (202, 0));
    assert_eq!(told.header("location"), Some("/queues/vip/messages/m%201"));
    let sent = world.only_sent();
    assert_eq!(sent.uri(), "https://bus.example/vip/messages");
    assert_eq!((sent_header(&sent, "oncebus-id"), &sent.body()[..]), ("\"m 1\"", b"a,b".as_slice()));
}

#[test]
fn a_repetition_goes_to_the_same_queue_and_ids_spread() {
    let world = world(404, "");
    let location = |id: &str| {
        let told = world.ask("POST", "/messages", &[CSV, ("idempotency-key", id)], "");
        told.header("location").unwrap().to_owned()
    };
    assert!((0..8).all(|n| location(&n.to_string()) == location(&n.to_string())));
    let queues: BTreeSet<String> =
        (0..16).map(|n| location(&n.to_string()).split('/').nth(2).unwrap().to_owned()).collect();
    assert_eq!(queues.into_iter().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn what_no_rule_takes_is_not_sent() {
    let world = world(404, "");
    assert_eq!(world.ask("POST", "/messages", &[JSON], "{}").problem(), problem(422, "no-route"));
    let no_id = world.ask("POST", "/messages", &[CSV, ("idempotency-key", "\"a")], "");
    assert_eq!(no_id.problem(), problem(400, "invalid-id"));
    assert_eq!(world.ask("POST", "/messages", &[CSV], &"x".repeat(2_100)).problem(), problem(413, "too-large"));
    assert_eq!(world.ask("GET", "/messages", &[], "").problem(), problem(405, "method-not-allowed"));
    assert_eq!(world.sent.borrow().len(), 0);
    let none = World::answering(201);
    for path in ["/messages", "/routes/test"] {
        assert_eq!(none.ask("POST", path, &[], "").problem(), problem(404, "not-found"), "no routes are configured");
    }
}

#[test]
fn the_shortest_queue_is_read_once_and_only_by_those_who_ask() {
    let world = world(200, backlog(5, 0, AT - 30));
    for n in 0..4 {
        let id = n.to_string();
        let told = world.ask("POST", "/messages", &[JSON, ("idempotency-key", &id)], r#"{"kind":"short"}"#);
        assert_eq!(told.header("location"), Some(format!("/queues/b/messages/{n}").as_str()));
    }
    let reads = |world: &World| world.sent.borrow().iter().filter(|sent| sent.method() == Method::GET).count();
    assert_eq!((reads(&world), world.sent.borrow().len()), (4, 8));
    world.ask("POST", "/messages", &[CSV], "");
    assert_eq!(reads(&world), 4, "a hash needs no backlog");
}

#[test]
fn without_a_backlog_to_go_by_the_id_decides() {
    let queue = |status: u16, content: String, id: &str| {
        let told =
            world(status, content).ask("POST", "/messages", &[JSON, ("idempotency-key", id)], r#"{"kind":"short"}"#);
        assert_eq!(told.status, 202);
        told.header("location").unwrap().to_owned()
    };
    for id in ["1", "2", "3", "4"] {
        let expected = queue(404, String::new(), id);
        for (status, content) in [
            (200, backlog(9, 0, AT - 31)),
            (200, backlog(0, 9, AT + 31)),
            (200, "{".to_owned()),
            (200, r#"{"v":2}"#.to_owned()),
            (503, String::new()),
            (403, String::new()),
        ] {
            assert_eq!(queue(status, content.clone(), id), expected, "{status} {content}");
        }
    }
}

#[test]
fn a_test_says_where_and_why_and_sends_nothing() {
    let world = world(200, backlog(5, 0, AT));
    let told = world.ask("POST", "/routes/test", &[JSON, ("idempotency-key", "1")], r#"{"kind":"short"}"#);
    let json = told.json();
    assert_eq!((told.status, json["queue"].as_str(), json["group"].as_str()), (200, Some("b"), Some("short")));
    assert_eq!((json["route"]["index"].as_u64(), json["chosen_by"].as_str()), (Some(1), Some("backlog")));
    assert_eq!(json["passed_over"][0]["because"], "the header x-tier is not \"gold\"");
    assert_eq!(
        (&json["candidates"][0]["backlog"]["messages"], &json["candidates"][1]["queue"]),
        (&5.into(), &"b".into())
    );

    let json = world.ask("POST", "/routes/test", &[CSV], "").json();
    assert_eq!(json["chosen_by"], "made-up-id", "a message without an id gets another one each time");
    let json = world.ask("POST", "/routes/test", &[CSV, ("oncebus-lock-key", "k")], "").json();
    assert_eq!(json["chosen_by"], "lock-key");
    let told = world.ask("POST", "/routes/test", &[], "");
    assert_eq!((told.status, &told.json()["queue"]), (200, &Value::Null));
    assert_eq!(told.json()["passed_over"].as_array().unwrap().len(), 3);
    assert_eq!(
        world.ask("POST", "/routes/test", &[("idempotency-key", "\"")], "").problem(),
        problem(400, "invalid-id")
    );
    assert!(world.sent.borrow().iter().all(|sent| sent.method() == Method::GET), "nothing is sent");
}
