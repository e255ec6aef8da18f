use proptest::prelude::*;
use serde_json::Value;

use super::lines::{Line, Splitter};
use super::*;
use crate::message::{PropertyValue, property};

const LIMIT: usize = 5;

fn items(form: Form, body: &Bytes) -> Result<Vec<Item>, Problem> {
    let mut count = 0;
    let mut fresh = || {
        count += 1;
        format!("fresh-{count}")
    };
    if form == Form::Lines {
        let mut splitter = Splitter::new(2_000);
        splitter.push(body);
        let mut lines: Vec<Line> = std::iter::from_fn(|| splitter.next_line()).collect();
        lines.extend(splitter.end());
        let read = |line| match line {
            Line::Whole(line) => super::read(form, &line, &mut fresh),
            Line::TooLong => panic!("no line is too long"),
        };
        return Ok(lines.into_iter().map(read).collect());
    }
    Ok(elements(body, LIMIT)?.iter().map(|item| super::read(form, item, &mut fresh)).collect())
}

fn read(form: Form, body: &str) -> Result<Vec<Item>, Problem> {
    items(form, &Bytes::copy_from_slice(body.as_bytes()))
}

fn only(item: &str) -> Item {
    let mut items = read(Form::Array, &format!("[{item}]")).unwrap();
    assert_eq!(items.len(), 1);
    items.remove(0)
}

fn problem(item: &str) -> String {
    only(item).unwrap_err().problem.detail
}

fn body(item: &Item) -> &str {
    std::str::from_utf8(&item.as_ref().unwrap().message.body).unwrap()
}

#[test]
fn a_value_is_a_body_byte_for_byte() {
    for value in ["{\"b\" : 1,\"a\":\t1.0e+2 }", "\"te\\u0078t\"", "17", "null", "[1, 2]", "{}", "{\"id\":\"x\"}"] {
        let item = only(value);
        assert_eq!(body(&item), value);
        let entry = item.unwrap();
        assert_eq!((entry.id.as_str(), entry.message.content_type.as_deref()), ("fresh-1", Some("application/json")));
    }
}

#[test]
fn an_envelope_names_what_goes_with_its_body() {
    let entry = only(
        "{\"id\":\"a\",\"key\":\"k\",\"partition_key\":\"p\",\"content_type\":\"application/vnd.x+json\",\"properties\":{\"p\":\"1\",\"n\":2,\"f\":0.5,\"t\":true},\"body\": { \"x\": 1 } }",
    )
    .unwrap();
    assert_eq!((entry.id.as_str(), &entry.message.body[..]), ("a", b"{ \"x\": 1 }".as_slice()));
    let properties = &entry.message.properties;
    assert_eq!((properties.text(property::ID), properties.text(property::KEY)), (Some("a"), Some("k")));
    assert_eq!(properties.text("p"), Some("1"));
    assert_eq!(properties.get("n"), Some(&PropertyValue::Integer(2)));
    assert_eq!(properties.get("f"), Some(&PropertyValue::Double(0.5)));
    assert_eq!(properties.get("t"), Some(&PropertyValue::Bool(true)));
    assert_eq!(entry.message.content_type.as_deref(), Some("application/vnd.x+json"));
    assert_eq!(entry.message.addressing.partition_key.as_deref(), Some("p"));
}

#[test]
fn a_string_is_text_where_its_content_type_says_so() {
    assert_eq!(body(&only("{\"body\":\"a\\nb\",\"content_type\":\"text/csv\"}")), "a\nb");
    assert_eq!(body(&only("{\"body\":\"a\\nb\"}")), "\"a\\nb\"");
    assert_eq!(body(&only("{\"body\":\"a\",\"content_type\":\"application/json\"}")), "\"a\"");
    assert_eq!(body(&only("{\"body\":{\"a\":1},\"content_type\":\"text/plain\"}")), "{\"a\":1}");
}

#[test]
fn a_bad_item_says_what_is_wrong_and_keeps_its_id() {
    for (item, expected) in [
        ("{\"body\":1,\"id\":7}", "id: expected a string"),
        ("{\"body\":1,\"id\":\"\"}", "id: an id cannot be empty"),
        ("{\"body\":1,\"key\":\"\"}", "key is empty: leave it out where there is no key"),
        ("{\"body\":1,\"partition_key\":\"\"}", "partition_key is empty: leave it out where there is none"),
        ("{\"body\":1,\"content_type\":\"a\\nb\"}", "content_type has characters outside printable ASCII"),
        ("{\"body\":1,\"properties\":[]}", "properties: expected an object"),
        ("{\"body\":1,\"properties\":{\"a\":null}}", "properties: \"a\": expected a string, a number, true or false"),
        (
            "{\"body\":1,\"properties\":{\"a\":18446744073709551615}}",
            "properties: \"a\": expected a string, a number, true or false",
        ),
        (
            "{\"body\":1,\"properties\":{\"a\":1,\"A\":1}}",
            "properties: \"A\" is there twice; names are the same in any case",
        ),
    ] {
        assert_eq!(problem(item), expected, "{item}");
    }
    assert!(problem("{\"body\":\"hi\",\"from\":\"me\"}").contains("\"from\" is no member of one"));
    assert!(problem("{\"body\":1,\"body\":2}").contains("\"body\" is no member of one, or is there twice"));
    assert!(problem("{\"body\":1,\"properties\":{\"oncebus-id\":\"x\"}}").contains("is reserved"));
    let bad = only("{\"id\":\"a\",\"body\":1,\"key\":\"\"}").unwrap_err();
    assert_eq!(bad.id.as_deref(), Some("a"));
}

#[test]
fn one_bad_line_spoils_no_other() {
    let items = read(Form::Lines, "{\"a\":1}\r\n\n{\"a\"\n  \n 7 \n").unwrap();
    assert_eq!((items.len(), body(&items[0]), body(&items[2])), (3, "{\"a\":1}", "7"));
    let bad = items[1].as_ref().unwrap_err();
    assert_eq!(bad.problem.kind, Kind::Malformed);
    assert!(bad.problem.detail.starts_with("the line cannot be read: "), "{}", bad.problem.detail);
}

#[test]
fn a_body_that_is_no_array_is_refused_as_a_whole() {
    for body in ["", "{}", "7", "[1", "[1,]", "[1] 2", "[1,}", "[\"\u{1}\"]", "{\"body\":1}\n{\"body\":2}"] {
        assert_eq!(read(Form::Array, body).unwrap_err().kind, Kind::Malformed, "{body}");
    }
    assert_eq!(read(Form::Array, "[]"), Ok(vec![]));
    let invalid = items(Form::Array, &Bytes::from_static(b"[\"\xff\"]"));
    assert_eq!(invalid.unwrap_err().kind, Kind::Malformed);
}

#[test]
fn more_items_than_the_limit_are_refused_as_a_whole() {
    assert_eq!(read(Form::Array, "[1,2,3,4,5]").unwrap().len(), 5);
    assert_eq!(read(Form::Array, "[1,2,3,4,5,6]").unwrap_err().kind, Kind::TooLarge);
    assert_eq!(read(Form::Array, "[1,2,3,4,5,6").unwrap_err().kind, Kind::Malformed);
}

#[test]
fn the_content_type_tells_the_form() {
    assert_eq!(Form::of(Some("Application/JSON; charset=utf-8")), Ok(Form::Array));
    for lines in LINES {
        assert_eq!(Form::of(Some(lines)), Ok(Form::Lines));
    }
    assert_eq!(Form::of(Some("application/cloudevents-batch+json; charset=utf-8")), Ok(Form::Events));
    for other in [None, Some(""), Some("text/plain"), Some("application/cloudevents+json")] {
        assert_eq!(Form::of(other).unwrap_err().kind, Kind::UnsupportedContentType);
    }
}

#[test]
fn depth_is_no_danger() {
    let deep = format!("{}{}", "[".repeat(900), "]".repeat(900));
    assert_eq!(body(&only(&deep)), deep);
    assert!(items(Form::Array, &Bytes::from("[".repeat(1_000_000))).is_err());
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("body|id|key|properties|[a-c]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..80)) {
        for form in [Form::Array, Form::Lines, Form::Events] {
            let _ = items(form, &Bytes::from(body.clone()));
        }
    }

    #[test]
    fn what_is_accepted_is_what_was_sent(values in prop::collection::vec(json(), 0..5)) {
        let texts: Vec<String> = values.iter().map(Value::to_string).collect();
        let array = read(Form::Array, &format!("[{}]", texts.join(" , "))).unwrap();
        let lines = read(Form::Lines, &texts.join("\n")).unwrap();
        prop_assert_eq!(&array, &lines);
        for (value, item) in values.iter().zip(array) {
            if let Ok(entry) = item {
                let sent: Value = serde_json::from_slice(&entry.message.body).unwrap();
                prop_assert_eq!(value.get("body").unwrap_or(value), &sent);
            }
        }
    }
}
