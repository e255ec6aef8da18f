//! The rules of normalisation are no holes: a recorded answer with one thing changed must not pass.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::exchange::{Answer, Exchange, sources};
use crate::normalise::normalise;
use crate::replay::difference;

fn passes(exchange: &Exchange, changed: &Answer) -> bool {
    let old = exchange.source.starts_with("python-legacy");
    difference(&normalise(&exchange.answer(), old), &normalise(changed, old)).is_none()
}

/// Every recorded exchange with requests.
fn all() -> Vec<Exchange> {
    ["python-legacy", "python-mgmt-2020"].into_iter().flat_map(|file| sources(file).into_values().flatten()).collect()
}

#[test]
fn an_answer_equals_itself() {
    assert!(all().iter().all(|exchange| passes(exchange, &exchange.answer())));
}

#[test]
fn a_changed_status_reason_or_header_fails() {
    for exchange in all() {
        let answer = exchange.answer();
        assert!(!passes(&exchange, &Answer { status: 202, ..answer.clone() }));
        assert!(!passes(&exchange, &Answer { reason: Some("Other".into()), ..answer.clone() }));
        let mut more = answer.clone();
        more.headers.insert("x-request-id".into(), "1".into());
        assert!(!passes(&exchange, &more));
        for name in answer.headers.keys() {
            let mut changed = answer.clone();
            changed.headers.insert(name.clone(), "changed".into());
            assert!(!passes(&exchange, &changed), "{} #{}: {name}", exchange.source, exchange.n);
            // Before 2016 the service did not say this, and recordings of that age are of both kinds.
            if name != "strict-transport-security" || !exchange.source.starts_with("python-legacy") {
                changed.headers.remove(name);
                assert!(!passes(&exchange, &changed), "{} #{}: no {name}", exchange.source, exchange.n);
            }
        }
    }
}

#[test]
fn a_changed_broker_property_fails() {
    let mut seen = 0;
    for exchange in all() {
        let answer = exchange.answer();
        let Some(text) = answer.headers.get("brokerproperties") else { continue };
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
        for (name, value) in &object {
            let field = format!("\"{name}\":{value}");
            assert!(text.contains(&field), "{text}: {field}");
            for with in [format!("\"{name}\":\"changed\""), format!("\"{name}s\":{value}"), String::new()] {
                let mut changed = answer.clone();
                changed.headers.insert("brokerproperties".into(), text.replace(&field, &with));
                assert!(!passes(&exchange, &changed), "{name} -> {with}");
                seen += 1;
            }
        }
    }
    assert!(seen > 500, "{seen}");
}

#[test]
fn a_changed_element_fails() {
    let mut seen = 0;
    for exchange in all() {
        let answer = exchange.answer();
        let Ok(text) = std::str::from_utf8(&answer.body) else { continue };
        for (at, _) in text.match_indices("</") {
            // The text before an end tag, and the tag's name.
            for (place, with) in [(at, "changed"), (at + 2, "x")] {
                let mut body = text.to_owned();
                body.insert_str(place, with);
                let changed = Answer { body: body.into_bytes(), ..answer.clone() };
                // Details end in a time, of which the rule wants no more than that it is there.
                let is_detail = text[at..].starts_with("</Detail>") && place == at;
                // The namespace's name is the target's.
                let is_author = text[at..].starts_with("</name>") && place == at;
                if !is_detail && !is_author {
                    assert!(!passes(&exchange, &changed), "{} #{}: {}", exchange.source, exchange.n, &text[at..]);
                    seen += 1;
                }
            }
        }
        let changed = Answer { body: text.replace("SubCode=4", "SubCode=5").into_bytes(), ..answer.clone() };
        assert!(!passes(&exchange, &changed) || !text.contains("SubCode=4"));
    }
    assert!(seen > 15_000, "{seen}");
}

#[test]
fn an_element_that_is_missing_or_in_another_place_fails() {
    let (mut missing, mut moved) = (0, 0);
    for exchange in all() {
        let answer = exchange.answer();
        let Ok(text) = std::str::from_utf8(&answer.body) else { continue };
        let fails = |body: String, what: &str| {
            let changed = Answer { body: body.into_bytes(), ..answer.clone() };
            assert!(!passes(&exchange, &changed), "{} #{}: {what}", exchange.source, exchange.n);
        };
        let Elements { all, neighbours } = elements(text);
        for element in all {
            fails(format!("{}{}", &text[..element.start], &text[element.end..]), &text[element]);
            missing += 1;
        }
        for (one, other) in neighbours {
            let (before, between, after) = (&text[..one.start], &text[one.end..other.start], &text[other.end..]);
            let (one, other) = (&text[one], &text[other]);
            if one != other {
                fails(format!("{before}{other}{between}{one}{after}"), one);
                moved += 1;
            }
        }
    }
    assert!(missing > 8_000 && moved > 6_000, "{missing} {moved}");
}

/// Where elements stand in a text.
#[derive(Default)]
struct Elements {
    all: Vec<Range<usize>>,
    /// Each with the one that follows it below the same parent.
    neighbours: Vec<(Range<usize>, Range<usize>)>,
}

fn elements(text: &str) -> Elements {
    let mut found = Elements::default();
    if !text.starts_with('<') {
        return found;
    }
    let mut reader = Reader::from_str(text);
    // Of each open element where it begins, and its last child.
    let mut open: Vec<(usize, Option<Range<usize>>)> = vec![(0, None)];
    loop {
        let from = usize::try_from(reader.buffer_position()).unwrap();
        let event = reader.read_event().expect("a recorded body is XML");
        let to = usize::try_from(reader.buffer_position()).unwrap();
        let done = match event {
            Event::Start(_) => {
                open.push((from, None));
                continue;
            }
            Event::Empty(_) => from..to,
            Event::End(_) => open.pop().unwrap().0..to,
            Event::Eof => return found,
            _ => continue,
        };
        let previous = open.last_mut().unwrap().1.replace(done.clone());
        found.neighbours.extend(previous.map(|previous| (previous, done.clone())));
        found.all.push(done);
    }
}
