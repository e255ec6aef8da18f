//! Fuzz targets: filters and actions, and messages to try them on.
//!
//! The first line of an input is the expression. What follows is a message as the store writes it; where
//! it is none, a message with a property of each kind stands in.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Condition, LONGEST, Parameters, Statements};
use crate::broker::message::{Message, PropertyValue};
use crate::ids::CountingIds;

/// Reading and evaluating is deterministic, negation excludes what it negates, and a filter survives the store.
pub fn sql_filter(data: &[u8]) {
    let Some((text, message)) = read(data) else { return };
    let parameters = parameters();
    let Ok(condition) = Condition::parse(text, &parameters) else { return };
    assert!(text.chars().count() <= LONGEST, "an expression beyond the limit is refused");
    assert_eq!(Condition::parse(text, &parameters).as_ref(), Ok(&condition));
    let before = message.clone();
    let truth = condition.is_true(&message);
    assert_eq!(condition.is_true(&message), truth);
    assert_eq!(message, before);
    if let Ok(negated) = Condition::parse(&format!("NOT ({text})"), &parameters) {
        assert!(!(truth && negated.is_true(&message)), "both {text} and its negation are true");
    }
    assert_eq!(kept(&condition), condition);
}

/// Applying is deterministic, adds at most one property per statement, leaves the body alone, and an action
/// survives the store.
pub fn sql_action(data: &[u8]) {
    let Some((text, message)) = read(data) else { return };
    let parameters = parameters();
    let Ok(statements) = Statements::parse(text, &parameters) else { return };
    assert!(text.chars().count() <= LONGEST, "an action beyond the limit is refused");
    let apply = |statements: &Statements| {
        let mut changed = message.clone();
        statements.apply(&mut changed, &mut CountingIds::default());
        changed
    };
    let changed = apply(&statements);
    assert_eq!(apply(&statements), changed);
    assert_eq!((&changed.body, changed.enqueued_sequence_number), (&message.body, message.enqueued_sequence_number));
    assert!(changed.properties.len() <= message.properties.len() + text.matches(';').count() + 1);
    let again = kept(&statements);
    assert_eq!(again, statements);
    assert_eq!(apply(&again), changed);
}

fn read(data: &[u8]) -> Option<(&str, Message)> {
    let text = std::str::from_utf8(data).ok()?;
    let (expression, message) = text.split_once('\n').unwrap_or((text, ""));
    Some((expression, serde_json::from_str(message).unwrap_or_else(|_| sample())))
}

fn sample() -> Message {
    let mut message = Message { content_type: Some("text/plain".to_owned()), ..Message::default() };
    message.broker.message_id = "m-1".to_owned();
    message.broker.label = Some("high".to_owned());
    message.properties = vec![
        ("text".to_owned(), PropertyValue::Text("It's 100%_".to_owned())),
        ("whole".to_owned(), PropertyValue::Integer(i64::MAX)),
        ("double".to_owned(), PropertyValue::Double(0.1)),
        ("flag".to_owned(), PropertyValue::Boolean(true)),
    ];
    message
}

fn parameters() -> Parameters {
    Parameters::from([
        ("@text".to_owned(), PropertyValue::Text("high".to_owned())),
        ("@whole".to_owned(), PropertyValue::Integer(-1)),
    ])
}

/// As it comes back from the store.
#[allow(clippy::expect_used, reason = "a broken promise is a panic")]
fn kept<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let row = serde_json::to_string(value).expect("what was read can be kept");
    serde_json::from_str(&row).expect("what was kept can be read")
}
