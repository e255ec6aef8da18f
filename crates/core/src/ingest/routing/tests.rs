//! Rules by tables, choices by properties.

use proptest::prelude::*;
use proptest::strategy::Strategy as Draws;
use serde_json::json;

use bytes::Bytes;

use super::backlog::{Backlog, Observation};
use super::{Strategy, *};
use crate::config::Config;
use crate::ingest::cloudevents::{self, Mode};
use crate::ingest::entry::Entry;
use crate::ingest::head::Head;
use crate::message::{Outgoing, Properties};
use crate::time::UnixTime;

const NOW: UnixTime = UnixTime(1_795_174_201);
const MAX_AGE: Duration = Duration::from_secs(30);

fn head(headers: &[(&str, &str)]) -> Head {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    Head { method: "POST".to_owned(), target: "/messages".to_owned(), headers }
}

/// The message that ingest makes of a request.
fn message(head: &Head, body: &[u8]) -> Outgoing {
    let body = Bytes::copy_from_slice(body);
    let event = match Mode::of(head) {
        Ok(Some(Mode::Structured)) => cloudevents::event(&body, None),
        Ok(Some(Mode::Binary)) => cloudevents::binary(head).map(|entry| entry.with_body(body.clone())),
        _ => Ok(Entry::new("i".to_owned(), None, head.content_type().ok().flatten(), body, Properties::new())),
    };
    event.map(|entry| entry.message).unwrap_or_default()
}

/// A routing out of the routes of a document with the queues `a`, `b` and `c`, which share their records.
fn routing(routes: &str) -> Routing {
    let queues =
        "[queues.a]\ngroup = 'g'\n[queues.b]\ngroup = 'g'\n[queues.c]\ngroup = 'g'\n[webhooks.twilio]\nqueue = 'c'\n";
    Config::parse(&format!("{queues}{routes}")).unwrap().routing
}

fn group(queues: &[(&str, u32)], strategy: Strategy) -> Group {
    let queues =
        queues.iter().map(|(queue, weight)| Candidate { queue: (*queue).to_owned(), weight: *weight }).collect();
    Group { name: None, queues, strategy }
}

/// Where a message goes, without a backlog.
fn chosen<'a>(group: &'a Group, id: &str, lock_key: Option<&str>) -> &'a str {
    let head = Head::default();
    let message = Outgoing::default();
    let facts = Facts::new(&head, &message, None);
    group.choose(&facts, Key { id, lock_key }, Err(Fallback::Missing), MAX_AGE).unwrap().queue
}

/// The place of the rule that takes a request.
fn taken(routing: &Routing, headers: &[(&str, &str)], body: &str, source: Option<&str>) -> Option<usize> {
    let head = head(headers);
    routing.find(&Facts::new(&head, &message(&head, body.as_bytes()), source)).rule.map(|(place, _)| place)
}

#[test]
fn the_first_rule_whose_conditions_all_hold_takes_the_message() {
    let routing = routing(
        "
        [[routes]]
        queue = 'a'
        match = { headers = { x-tier = { equals = 'gold' } }, content_type = 'application/*' }
        [[routes]]
        queue = 'b'
        match.headers = { x-tier = { present = true } }
        [[routes]]
        queue = 'c'
        ",
    );
    let json = ("content-type", "application/json; charset=utf-8");
    assert_eq!(taken(&routing, &[("X-Tier", " gold "), json], "", None), Some(0));
    assert_eq!(taken(&routing, &[("x-tier", "gold")], "", None), Some(1));
    assert_eq!(taken(&routing, &[json], "", None), Some(2));
}

#[test]
fn every_condition_holds_of_what_it_says_and_of_nothing_else() {
    let json = ("content-type", "application/json");
    let event = ("content-type", "application/cloudevents+json");
    for (condition, headers, body, holds) in [
        ("headers = { x = { present = true } }", vec![("X", "")], "", true),
        ("headers = { x = { present = true } }", vec![], "", false),
        ("headers = { x = { present = false } }", vec![("y", "")], "", true),
        ("headers = { x = { present = false } }", vec![("x", "1")], "", false),
        ("headers = { x = { equals = 'b' } }", vec![("x", "a"), ("x", "b")], "", true),
        ("headers = { x = { equals = 'b' } }", vec![("x", "a, b")], "", false),
        ("headers = { x = { equals = 'b' } }", vec![("x", "B")], "", false),
        ("headers = { x = { equals = '' } }", vec![("x", "")], "", true),
        ("headers = { x = { prefix = 'ab' } }", vec![("x", "abc")], "", true),
        ("headers = { x = { prefix = 'ab' } }", vec![("x", "a")], "", false),
        ("content_type = 'text/csv'", vec![("content-type", "Text/CSV ; header=present")], "", true),
        ("content_type = 'text/*'", vec![("content-type", "text/csv")], "", true),
        ("content_type = 'text/*'", vec![("content-type", "textual/csv")], "", false),
        ("content_type = 'text/csv'", vec![], "", false),
        ("content_type = 'text/csv'", vec![("content-type", "text/csv"), ("content-type", "a/b")], "", false),
        ("json = { '/a/0/b' = 'x' }", vec![json], r#"{"a":[{"b":"x"}]}"#, true),
        ("json = { '/a' = 'x' }", vec![json], r#"{"a":"X"}"#, false),
        ("json = { '/a' = 1 }", vec![json], r#"{"a":1.0}"#, true),
        ("json = { '/a' = 1.5 }", vec![json], r#"{"a":15e-1}"#, true),
        ("json = { '/a' = 1 }", vec![json], r#"{"a":"1"}"#, false),
        ("json = { '/a' = 9007199254740993 }", vec![json], r#"{"a":9007199254740992}"#, false),
        ("json = { '/a' = true }", vec![json], r#"{"a":true}"#, true),
        ("json = { '/a' = true }", vec![json], r#"{"a":1}"#, false),
        ("json = { '/a~1b' = 1, '/m~0n' = 2 }", vec![json], r#"{"a/b":1,"m~n":2}"#, true),
        ("json = { '/a' = 1 }", vec![("content-type", "application/vnd.x+json")], r#"{"a":1}"#, true),
        ("json = { '/a' = 1 }", vec![("content-type", "text/plain")], r#"{"a":1}"#, false),
        ("json = { '/a' = 1 }", vec![], r#"{"a":1}"#, false),
        ("json = { '/a' = 1 }", vec![json], r#"{"a":1"#, false),
        (
            "cloudevents_type = 'com.example.new'",
            vec![("ce-id", "1"), ("ce-source", "s"), ("ce-specversion", "1.0"), ("ce-type", "com.example.new")],
            "",
            true,
        ),
        (
            "cloudevents_type = 'com.example.new'",
            vec![("ce-id", "1"), ("ce-source", "s"), ("ce-specversion", "1.0"), ("CE-Type", "com%2Eexample.new")],
            "",
            true,
        ),
        (
            "cloudevents_type = 'com.example.*'",
            vec![("ce-id", "1"), ("ce-source", "s"), ("ce-specversion", "1.0"), ("ce-type", "com.example.new")],
            "",
            true,
        ),
        (
            "cloudevents_type = 'com.example.*'",
            vec![("ce-id", "1"), ("ce-source", "s"), ("ce-specversion", "1.0"), ("ce-type", "com.examples")],
            "",
            false,
        ),
        ("cloudevents_type = '*'", vec![], "", false),
        ("cloudevents_type = 'a.*'", vec![event], r#"{"type":"a.b","id":"1","source":"s","specversion":"1.0"}"#, true),
        (
            "cloudevents_type = 'a.*'",
            vec![event, ("ce-type", "a.b")],
            r#"{"type":"b","id":"1","source":"s","specversion":"1.0"}"#,
            false,
        ),
        (
            "json = { '/a' = 1 }",
            vec![event],
            r#"{"type":"b","id":"1","source":"s","specversion":"1.0","data":{"a":1}}"#,
            true,
        ),
        (
            "json = { '/type' = 'b' }",
            vec![event],
            r#"{"type":"b","id":"1","source":"s","specversion":"1.0","data":{}}"#,
            false,
        ),
        ("source = 'twilio'", vec![], "", false),
    ] {
        let routing = routing(&format!("[[routes]]\nqueue = 'a'\nmatch.{condition}"));
        assert_eq!(taken(&routing, &headers, body, None).is_some(), holds, "{condition} {headers:?} {body}");
    }
    let by_source = routing("[[routes]]\nqueue = 'a'\nmatch.source = 'twilio'");
    assert_eq!(taken(&by_source, &[], "", Some("twilio")), Some(0));
}

#[test]
fn a_lane_is_what_the_message_says_and_the_default_for_all_else() {
    let lanes =
        "queues = ['a', 'b', 'c']\nstrategy = 'priority'\npriorities = ['high', '5', 'low']\npriority_default = '5'\n";
    let by_header = routing(&format!("[[routes]]\n{lanes}priority_header = 'X-Priority'"));
    let by_field = routing(&format!("[[routes]]\n{lanes}priority_field = '/p'"));
    let queue = |routing: &Routing, headers: &[(&str, &str)], body: &str| {
        let head = head(headers);
        let message = message(&head, body.as_bytes());
        let facts = Facts::new(&head, &message, None);
        let Target::Group(group) = &routing.rules[0].target else { panic!("a group") };
        let choice = group.choose(&facts, Key { id: "i", lock_key: None }, Err(Fallback::Missing), MAX_AGE).unwrap();
        (choice.queue.to_owned(), choice.by == Chosen::Priority(Level::Said))
    };
    for (said, expected) in [("high", ("a", true)), (" LOW", ("c", true)), ("5", ("b", true)), ("9", ("b", false))] {
        let expected = (expected.0.to_owned(), expected.1);
        assert_eq!(queue(&by_header, &[("x-priority", said)], ""), expected, "{said}");
        let json = [("content-type", "application/json")];
        assert_eq!(queue(&by_field, &json, &json!({ "p": said }).to_string()), expected, "{said}");
    }
    let json = [("content-type", "application/json")];
    assert_eq!(queue(&by_field, &json, r#"{"p":5}"#), ("b".to_owned(), true));
    assert_eq!(queue(&by_field, &json, r#"{"p":null}"#), ("b".to_owned(), false));
    assert_eq!(queue(&by_header, &[], ""), ("b".to_owned(), false));
}

fn backlog(of: &[(&str, Option<u64>, Option<u64>)]) -> Backlog {
    let mut backlog = Backlog::default();
    for (queue, messages, oldest_seconds) in of {
        backlog.see(*queue, Observation { at: NOW.0, messages: *messages, oldest_seconds: *oldest_seconds });
    }
    backlog
}

#[test]
fn the_shortest_backlog_is_by_count_else_by_age_and_the_id_decides_among_equals() {
    let group = group(&[("a", 1), ("b", 1), ("c", 1)], Strategy::Shortest);
    let head = Head::default();
    let message = Outgoing::default();
    let facts = Facts::new(&head, &message, None);
    let choose = |backlog: &Backlog, now: UnixTime, id: &str| {
        let choice = group.choose(&facts, Key { id, lock_key: None }, Ok((backlog, now)), MAX_AGE).unwrap();
        (choice.queue.to_owned(), format!("{:?}", choice.by))
    };
    let counted = backlog(&[("a", Some(3), Some(0)), ("b", Some(2), Some(9)), ("c", Some(7), Some(0))]);
    assert_eq!(choose(&counted, NOW, "x"), ("b".to_owned(), r#"Backlog(["b"])"#.to_owned()));
    let aged = backlog(&[("a", None, Some(4)), ("b", Some(0), Some(9)), ("c", None, Some(2))]);
    assert_eq!(choose(&aged, NOW, "x").0, "c");
    let equal = backlog(&[("a", Some(0), None), ("b", Some(5), None), ("c", Some(0), None)]);
    let seen: BTreeSet<String> = (0..64).map(|n| choose(&equal, NOW, &n.to_string()).0).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["a", "c"]);

    let by_id = |id: &str| chosen(&group, id, None).to_owned();
    let mixed = backlog(&[("a", Some(1), None), ("b", Some(1), Some(1)), ("c", None, Some(1))]);
    let partial = backlog(&[("a", Some(1), None)]);
    for (backlog, now, why) in
        [(&mixed, NOW, "Mixed"), (&partial, NOW, "Unknown(\"b\")"), (&counted, UnixTime(NOW.0 + 31), "Unknown(\"a\")")]
    {
        let expected = format!("IdWithoutBacklog({why})");
        for id in ["x", "y", "z"] {
            assert_eq!(choose(backlog, now, id), (by_id(id), expected.clone()));
        }
    }
}

#[test]
fn only_hash_goes_by_the_lock_key() {
    let queues = [("a", 1), ("b", 1), ("c", 1), ("d", 1)];
    let (hash, weight) = (group(&queues, Strategy::Hash), group(&queues, Strategy::Weight));
    let of = |group: &Group, keyed: bool| -> BTreeSet<String> {
        let queue = |n: u32| chosen(group, &n.to_string(), keyed.then_some("customer-1")).to_owned();
        (0..64).map(queue).collect()
    };
    assert_eq!(of(&hash, true).len(), 1);
    assert_eq!(of(&hash, false).len(), 4);
    assert_eq!(of(&weight, true).len(), 4);
}

#[test]
fn an_explanation_says_what_was_passed_over_and_what_decided() {
    let routing = routing(
        "
        [groups.shop]
        queues = ['a', 'b']
        strategy = 'shortest'
        [[routes]]
        name = 'gold'
        queue = 'c'
        match.headers = { x-tier = { equals = 'gold' } }
        [[routes]]
        name = 'rest'
        group = 'shop'
        match.content_type = 'text/*'
        ",
    );
    let head = head(&[("content-type", "text/plain")]);
    let message = message(&head, b"");
    let facts = Facts::new(&head, &message, None);
    let found = routing.find(&facts);
    let Some((1, Rule { target: Target::Group(group), .. })) = found.rule else { panic!("{found:?}") };
    let known = backlog(&[("a", Some(2), Some(1)), ("b", Some(0), None)]);
    let choice = group.choose(&facts, Key { id: "i", lock_key: None }, Ok((&known, NOW)), MAX_AGE);
    let mut answer = explain(&found, choice.as_ref(), Some(&known), false);
    for candidate in answer["candidates"].as_array_mut().unwrap() {
        assert_eq!(candidate["score"].take().as_str().unwrap().len(), 16);
    }
    let expected = json!({
        "route": { "index": 1, "name": "rest" }, "group": "shop", "strategy": "shortest", "queue": "b",
        "passed_over": [{ "index": 0, "name": "gold", "because": "the header x-tier is not \"gold\"" }],
        "candidates": [
            { "queue": "a", "weight": 1, "score": null, "backlog": { "at": NOW.0, "messages": 2, "oldest_seconds": 1 } },
            { "queue": "b", "weight": 1, "score": null, "backlog": { "at": NOW.0, "messages": 0 } }
        ],
        "chosen_by": "backlog", "shortest": ["b"]
    });
    assert_eq!(answer, expected);

    let nothing = Head::default();
    let message = Outgoing::default();
    let nowhere = routing.find(&Facts::new(&nothing, &message, None));
    let expected = json!({ "queue": null, "passed_over": [
        { "index": 0, "name": "gold", "because": "the header x-tier is not \"gold\"" },
        { "index": 1, "name": "rest", "because": "the content type is not text/*" }
    ] });
    assert_eq!(explain(&nowhere, None, None, true), expected);
}

/// Queues with weights, and a seed for keys, which a failure prints.
fn candidates() -> impl Draws<Value = (Vec<(String, u32)>, u64)> {
    let weights = prop::collection::vec(1..=8_u32, 1..=8);
    let named =
        |weights: Vec<u32>| weights.into_iter().enumerate().map(|(n, weight)| (format!("q{n}"), weight)).collect();
    (weights.prop_map(named), any::<u64>())
}

fn group_of(queues: &[(String, u32)], strategy: Strategy) -> Group {
    let queues: Vec<(&str, u32)> = queues.iter().map(|(queue, weight)| (queue.as_str(), *weight)).collect();
    group(&queues, strategy)
}

fn total(queues: &[(String, u32)]) -> f64 {
    queues.iter().map(|(_, weight)| f64::from(*weight)).sum()
}

/// Whether a count is within so many standard deviations of a binomial one. Five: by chance once in 1.7 million counts.
fn is_likely(count: usize, of: usize, share: f64) -> bool {
    #[expect(clippy::as_conversions, reason = "counts of a test")]
    let (count, of) = (count as f64, of as f64);
    let deviation = (of * share * (1.0 - share)).sqrt();
    (count - of * share).abs() <= 5.0 * deviation + 1.0
}

const KEYS: usize = 2_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_queue_that_is_added_takes_about_its_share_and_moves_nothing_else((queues, seed) in candidates(), weight in 1..=8_u32) {
        let mut more = queues.clone();
        more.push(("added".to_owned(), weight));
        for strategy in [Strategy::Hash, Strategy::Weight] {
            let (before, after) = (group_of(&queues, strategy.clone()), group_of(&more, strategy));
            let mut moved = 0;
            for n in 0..KEYS {
                let id = format!("{seed}-{n}");
                let (was, is) = (chosen(&before, &id, None), chosen(&after, &id, None));
                if was != is {
                    // The same, read backwards: a queue that is removed moves only what was its own.
                    prop_assert_eq!(is, "added");
                    moved += 1;
                }
            }
            let share = f64::from(weight) / total(&more);
            prop_assert!(is_likely(moved, KEYS, share), "{moved} of {KEYS} moved to a share of {share}, seed {seed}");
        }
    }

    #[test]
    fn messages_are_spread_by_weight((queues, seed) in candidates()) {
        let group = group_of(&queues, Strategy::Weight);
        let mut counts = BTreeMap::<&str, usize>::new();
        for n in 0..KEYS {
            *counts.entry(chosen(&group, &format!("{seed}-{n}"), None)).or_default() += 1;
        }
        for (queue, weight) in &queues {
            let count = counts.get(queue.as_str()).copied().unwrap_or_default();
            let share = f64::from(*weight) / total(&queues);
            prop_assert!(is_likely(count, KEYS, share), "{queue} got {count} of {KEYS} for {share}, seed {seed}");
        }
    }

    #[test]
    fn more_weight_only_gains((queues, seed) in candidates(), at in any::<prop::sample::Index>()) {
        let at = at.index(queues.len());
        let mut more = queues.clone();
        more[at].1 += 1;
        let (before, after) = (group_of(&queues, Strategy::Hash), group_of(&more, Strategy::Hash));
        for n in 0..200 {
            let id = format!("{seed}-{n}");
            let (was, is) = (chosen(&before, &id, None), chosen(&after, &id, None));
            prop_assert!(was == is || is == more[at].0, "from {was} to {is}, seed {seed}");
        }
    }

    #[test]
    fn the_order_in_which_queues_are_written_decides_nothing((queues, seed) in candidates()) {
        let reversed: Vec<(String, u32)> = queues.iter().rev().cloned().collect();
        let (one, other) = (group_of(&queues, Strategy::Hash), group_of(&reversed, Strategy::Hash));
        for n in 0..100 {
            let id = format!("{seed}-{n}");
            prop_assert_eq!(chosen(&one, &id, None), chosen(&other, &id, None));
        }
    }

    #[test]
    fn whatever_comes_is_routed_or_not_and_twice_alike(
        headers in prop::collection::vec(("(x|content-type|ce-type|X)", prop::collection::vec(any::<u8>(), 0..24)), 0..5),
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..64), "\\{\"a\":(1|\"x\"|\\[\\{|null)\\}?".prop_map(String::into_bytes)],
        id in "\\PC{1,20}",
        content in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let all = routing(
            "
            [[routes]]
            queue = 'a'
            match = { headers = { x = { prefix = 'a' } }, json = { '/a' = 1 }, cloudevents_type = 'a*', content_type = 'a/*' }
            [[routes]]
            match.json = { '/a/0' = 'x' }
            queues = ['a', 'b']
            strategy = 'priority'
            priorities = ['x', 'y']
            priority_field = '/a'
            [[routes]]
            match.headers = { x = { present = true } }
            queues = ['a', 'b', 'c']
            strategy = 'shortest'
            ",
        );
        let head = Head { headers, ..Head::default() };
        let decide = || {
            let message = message(&head, &body);
            let facts = Facts::new(&head, &message, None);
            let found = all.find(&facts);
            let backlog = Backlog::parse(&content).map_err(|error| Fallback::Unreadable(error.to_string()));
            let backlog = backlog.as_ref().map(|backlog| (backlog, NOW)).map_err(Clone::clone);
            let choice = match found.rule {
                Some((_, Rule { target: Target::Group(group), .. })) => {
                    group.choose(&facts, Key { id: &id, lock_key: None }, backlog, MAX_AGE)
                }
                _ => None,
            };
            explain(&found, choice.as_ref(), None, false).to_string()
        };
        prop_assert_eq!(decide(), decide());
    }
}
