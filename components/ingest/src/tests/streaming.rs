//! Batches that are sent while they arrive, and what becomes of them when something goes wrong in the middle.

use std::collections::BTreeMap;
use std::rc::Rc;

use futures::StreamExt as _;

use super::*;

const PATH: &str = "/queues/orders/batch";
const LINES: (&str, &str) = ("content-type", "application/x-ndjson");

/// A line of about 400 bytes: four of them are a send.
fn line(index: usize) -> String {
    format!("{{\"id\":\"i{index}\",\"body\":\"{}\"}}\n", "x".repeat(300))
}

fn lines(count: usize) -> String {
    (0..count).map(line).collect()
}

/// The ids in a send, whatever its form.
fn ids(request: &Request<Bytes>) -> Vec<String> {
    let messages: Vec<Value> = serde_json::from_slice(request.body()).unwrap();
    messages.iter().map(|message| message["UserProperties"]["oncebus-id"].as_str().unwrap().to_owned()).collect()
}

/// What the answer says of each item: its status, and whether nobody knows.
fn told_of(told: &Told) -> BTreeMap<String, (u64, bool)> {
    let json = told.json();
    let items = json["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let unknown = item["problem"]["outcome"] == "unknown";
            (item["id"].as_str().unwrap().to_owned(), (item["status"].as_u64().unwrap(), unknown))
        })
        .collect()
}

#[test]
fn lines_are_sent_while_the_body_is_still_read() {
    let world = Rc::new(World::answering(201));
    let observed = Rc::new(RefCell::new(Vec::new()));
    let (seen, watched) = (Rc::clone(&observed), Rc::clone(&world));
    let body = stream::iter(0..30).map(move |index| {
        seen.borrow_mut().push(watched.sent.borrow().len());
        Ok(line(index).into_bytes())
    });
    let told = world.ask_with("POST", PATH, &[LINES], body);
    assert_eq!((told.status, &told.json()["accepted"]), (202, &30.into()));
    let observed = observed.borrow();
    assert!(observed.last().is_some_and(|sent| *sent >= 5), "{observed:?}");
}

#[test]
fn a_body_that_breaks_off_says_what_was_accepted_before() {
    let world = World::answering(201);
    let broken = stream::iter((0..30).map(|index| Ok(line(index).into_bytes())).chain([Err(())]));
    let told = world.ask_with("POST", PATH, &[LINES], broken);
    let json = told.json();
    assert_eq!((told.status, &json["cut_short"]["status"]), (207, &400.into()), "{json}");
    let sent: Vec<String> = world.sent.borrow().iter().flat_map(ids).collect();
    for (id, (status, _)) in told_of(&told) {
        assert_eq!(sent.contains(&id), status == 202, "{id}");
    }
    // Of one that breaks off before anything was sent, nothing was accepted.
    let world = World::new(|request| panic!("nothing is sent: {request:?}"));
    let short = stream::iter([Ok(line(0).into_bytes()), Err(())]);
    assert_eq!(world.ask_with("POST", PATH, &[LINES], short).problem(), problem(400, "malformed"));
}

#[test]
fn a_line_too_many_is_told_however_much_was_sent() {
    let world = World::answering(201);
    let told = world.ask("POST", PATH, &[LINES], &lines(41));
    let json = told.json();
    assert_eq!((told.status, &json["cut_short"]["status"]), (207, &413.into()));
    assert_eq!(json["items"].as_array().unwrap().len(), 40);
    // Where none was sent yet, the whole is refused.
    let world = World { config: "max_batch_items = 3\n[queues.orders]", ..World::answering(201) };
    assert_eq!(world.ask("POST", PATH, &[LINES], "1\n2\n3\n4").problem(), problem(413, "too-large"));
}

#[test]
fn a_broker_that_throttles_in_the_middle_is_spared_and_the_answer_is_exact() {
    let count = Cell::new(0);
    let world = World::new(move |_| {
        count.set(count.get() + 1);
        Ok(if count.get() > 3 { response(429, &[("retry-after", "17")]) } else { response(201, &[]) })
    });
    let told = world.ask("POST", PATH, &[LINES], &lines(40));
    assert_eq!((told.status, told.header("retry-after")), (207, Some("17")));
    let sent = world.sent.borrow();
    let accepted: Vec<String> = sent.iter().take(3).flat_map(ids).collect();
    // Those under way when it said so, and none after.
    assert!(sent.len() <= 3 + 4, "{}", sent.len());
    let told = told_of(&told);
    assert_eq!(told.len(), 40);
    for (id, outcome) in told {
        assert_eq!(outcome, if accepted.contains(&id) { (202, false) } else { (503, false) }, "{id}");
    }
}

#[test]
fn an_answer_that_never_comes_is_told_as_such_and_only_of_its_items() {
    let world = World::new(|request| match ids(request).contains(&"i6".to_owned()) {
        true => Err(TransportError::NoAnswer("reset".to_owned())),
        false => Ok(response(201, &[])),
    });
    let told = world.ask("POST", PATH, &[LINES], &lines(40));
    assert_eq!((told.status, told.header("retry-after")), (207, Some("2")));
    let (mut answered, mut unanswered) = (Vec::new(), Vec::new());
    for request in world.sent.borrow().iter() {
        let ids = ids(request);
        if ids.contains(&"i6".to_owned()) { &mut unanswered } else { &mut answered }.extend(ids);
    }
    assert!(unanswered.len() > 4 && answered.len() >= 4, "it is sent again as it was");
    for (id, outcome) in told_of(&told) {
        let expected = match (answered.contains(&id), unanswered.contains(&id)) {
            (true, false) => (202, false),
            (false, true) => (503, true),
            (false, false) => (503, false),
            (true, true) => panic!("{id} is in two sends"),
        };
        assert_eq!(outcome, expected, "{id}");
    }
}

#[test]
fn a_try_without_an_answer_is_not_forgotten_when_the_next_is_refused() {
    let count = Cell::new(0);
    let world = World::new(move |_| {
        count.set(count.get() + 1);
        match count.get() {
            1 => Err(TransportError::NoAnswer("reset".to_owned())),
            _ => Ok(response(429, &[])),
        }
    });
    let told = world.ask("POST", PATH, &[LINES], &lines(1));
    assert_eq!(
        (told.problem(), &told.json()["items"][0]["problem"]["outcome"]),
        (problem(503, "unavailable"), &"unknown".into())
    );
}

#[test]
fn messages_of_one_key_are_sent_in_their_order() {
    let world = World::answering(201);
    let line = |index: usize| {
        let (key, partition) = (index % 2, index % 3);
        format!(
            "{{\"id\":\"{index}\",\"key\":\"k{key}\",\"partition_key\":\"p{partition}\",\"body\":\"{}\"}}\n",
            "x".repeat(200)
        )
    };
    let body: String = (0..40).map(line).collect();
    assert_eq!(world.ask("POST", PATH, &[LINES], &body).status, 202);
    let sent: Vec<Value> = world
        .sent
        .borrow()
        .iter()
        .flat_map(|request| serde_json::from_slice::<Vec<Value>>(request.body()).unwrap())
        .collect();
    for key in ["k0", "k1"] {
        let of_key = sent.iter().filter(|message| message["UserProperties"]["oncebus-key"] == key);
        let order: Vec<usize> =
            of_key.map(|message| message["BrokerProperties"]["MessageId"].as_str().unwrap().parse().unwrap()).collect();
        assert!(order.is_sorted() && order.len() == 20, "{order:?}");
    }
    for request in world.sent.borrow().iter() {
        let messages: Vec<Value> = serde_json::from_slice(request.body()).unwrap();
        let partition = &messages[0]["BrokerProperties"]["PartitionKey"];
        assert!(messages.iter().all(|message| message["BrokerProperties"]["PartitionKey"] == *partition));
    }
}

#[test]
fn a_batch_with_a_key_can_be_repeated_as_it_was() {
    let sent = || {
        let world = World::answering(201);
        let headers = [LINES, ("idempotency-key", "\"upload 7\"")];
        let told = world.ask("POST", PATH, &headers, "1\n{\"id\":\"own\",\"body\":2}\n3\n");
        assert_eq!(told.status, 202);
        ids(&world.only_sent())
    };
    assert_eq!(sent(), ["upload 7/0", "own", "upload 7/2"]);
    assert_eq!(sent(), sent());
}

#[test]
fn a_line_that_never_ends_is_one_bad_item() {
    let world = World::answering(201);
    let config = "max_message_bytes = 1024\nmax_batch_bytes = 200000\n[queues.orders]";
    let world = World { config, ..world };
    let body = format!("1\n\"{}\"\n2", "x".repeat(100_000));
    let told = world.ask("POST", PATH, &[LINES], &body);
    let json = told.json();
    assert_eq!((told.status, &json["accepted"], &json["items"][1]["status"]), (207, &2.into(), &413.into()), "{json}");
}
