//! Many messages in one body: a JSON array, or a line of JSON for each (NDJSON).
//!
//! # What an item is
//!
//! **An object with the member `body` is an envelope; every other JSON value is a body itself.**
//!
//! An envelope has `body`, and may have `id`, `key`, `content_type` and `properties`, and nothing else: another member makes
//! the item a bad one, so that a payload that happens to have a member `body` is told to put itself into an envelope, and is not
//! quietly taken apart.
//!
//! A body is sent as the JSON it is, byte for byte as it stands in the request, with the content type `application/json` or
//! the envelope's own. One exception: a string whose `content_type` is not JSON is sent as the text itself.
//!
//! An id is never guessed from a payload: a member `id` outside an envelope is the payload's own affair, and two messages about
//! one thing are two messages. An item without an id gets a fresh one.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::entry::{
    Entry, MAX_PROPERTIES, MAX_PROPERTIES_BYTES, check_content_type, check_key, check_property, is_json, is_media_type,
    too_large,
};
use crate::id::check_logical_id;
use crate::message::{Properties, PropertyValue};
use crate::problem::{Kind, Problem};

/// How a body holds its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A JSON array. If it cannot be read, the whole request is bad.
    Array,
    /// Lines of JSON. A line that cannot be read is a bad item. Empty lines are passed over.
    Lines,
}

const JSON: &str = "application/json";
/// NDJSON has no registered media type; these are in use.
const LINES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];

impl Form {
    /// The form that a content type names.
    ///
    /// # Errors
    /// It names none.
    pub fn of(content_type: Option<&str>) -> Result<Self, Problem> {
        let given = content_type.unwrap_or_default();
        if is_media_type(given, JSON) {
            Ok(Self::Array)
        } else if LINES.iter().any(|lines| is_media_type(given, lines)) {
            Ok(Self::Lines)
        } else {
            let detail = "a batch is application/json (an array) or application/x-ndjson (a line for each message)";
            Err(Problem::new(Kind::UnsupportedContentType, detail))
        }
    }
}

/// What an item came to: a message to send, or a problem of its own.
pub type Item = Result<Entry, BadItem>;

/// An item that cannot be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct BadItem {
    /// Its id, where it has one that can be used.
    pub id: Option<String>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// Bounds of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most items.
    pub items: usize,
    /// The most bytes that body and properties of one message may come to.
    pub message_bytes: usize,
}

/// The items of a body, in order. `fresh` makes up an id for an item that has none.
///
/// # Errors
/// The body is no array, or has more items than it may. Nothing was accepted then.
pub fn items(
    form: Form,
    body: &Bytes,
    limits: Limits,
    mut fresh: impl FnMut() -> String,
) -> Result<Vec<Item>, Problem> {
    let mut read = |raw: &RawValue| item(raw, body, &mut fresh).and_then(|entry| sized(entry, limits.message_bytes));
    match form {
        Form::Array => Ok(array(body, limits.items)?.into_iter().map(read).collect()),
        Form::Lines => {
            let lines: Vec<&[u8]> = lines(body).take(limits.items.saturating_add(1)).collect();
            if lines.len() > limits.items {
                return Err(too_many(limits.items));
            }
            let parse =
                |line| serde_json::from_slice::<&RawValue>(line).map_err(|error| unreadable("the line", &error));
            Ok(lines
                .into_iter()
                .map(|line| read(parse(line).map_err(|problem| BadItem { id: None, problem })?))
                .collect())
        }
    }
}

/// The lines that are not empty.
fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty())
}

/// The elements of an array, as they stand there. Stops at the limit: a body of commas is not taken apart to its end.
fn array(body: &[u8], limit: usize) -> Result<Vec<&RawValue>, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let elements = json.deserialize_seq(Elements { limit }).and_then(|elements| match elements {
        Some(elements) => json.end().map(|()| Some(elements)),
        None => Ok(None),
    });
    elements.map_err(|error| unreadable("the body", &error))?.ok_or_else(|| too_many(limit))
}

/// Collects an array's elements; `None` when there are more than the limit.
struct Elements {
    limit: usize,
}

impl<'de> Visitor<'de> for Elements {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            if elements.len() < self.limit {
                elements.push(element);
            } else {
                // The rest is only read over, so that what is malformed is said to be malformed.
                while sequence.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
        }
        Ok(Some(elements))
    }
}

/// The members of an object, each as it stands there.
struct Members<'de>(Vec<(String, &'de RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, &'de RawValue)> = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl<'de> Members<'de> {
    /// The members, if it is an envelope.
    fn of_envelope(raw: &'de RawValue) -> Option<Self> {
        if !raw.get().starts_with('{') {
            return None;
        }
        let members: Self = serde_json::from_str(raw.get()).ok()?;
        members.0.iter().any(|(name, _)| name == "body").then_some(members)
    }

    /// Takes a member out.
    fn take(&mut self, name: &str) -> Option<&'de RawValue> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Takes out a member that must be a string.
    fn take_text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| malformed(format!("{name}: expected a string")))
    }
}

fn item(raw: &RawValue, whole: &Bytes, fresh: &mut impl FnMut() -> String) -> Item {
    let Some(mut envelope) = Members::of_envelope(raw) else {
        return Ok(Entry::new(fresh(), None, Some(JSON), slice(whole, raw), Properties::new()));
    };
    let id = match envelope.take_text("id").and_then(|id| id.map(checked_id).transpose()) {
        Ok(id) => id,
        Err(problem) => return Err(BadItem { id: None, problem }),
    };
    match opened(envelope, whole) {
        Ok(Opened { key, content_type, body, properties }) => {
            let content_type = content_type.as_deref().unwrap_or(JSON);
            Ok(Entry::new(id.unwrap_or_else(fresh), key.as_deref(), Some(content_type), body, properties))
        }
        Err(problem) => Err(BadItem { id, problem }),
    }
}

/// An envelope's members but its id.
struct Opened {
    key: Option<String>,
    content_type: Option<String>,
    body: Bytes,
    properties: Properties,
}

fn opened(mut envelope: Members<'_>, whole: &Bytes) -> Result<Opened, Problem> {
    let key = envelope.take_text("key")?;
    if let Some(key) = &key {
        check_key(key).map_err(|error| malformed(format!("key {error}")))?;
    }
    let content_type = envelope.take_text("content_type")?.filter(|text| !text.is_empty());
    if let Some(content_type) = &content_type {
        check_content_type(content_type).map_err(|what| malformed(format!("content_type {what}")))?;
    }
    let properties = envelope.take("properties").map(properties).transpose()?.unwrap_or_default();
    let raw = envelope.take("body").ok_or_else(|| malformed("body is missing"))?;
    if let Some((name, _)) = envelope.0.first() {
        return Err(malformed(format!(
            "an object with the member body is an envelope, and {name:?} is no member of one, or is there twice: put a payload that has a member body into an envelope, as in {{\"body\": {{…}}}}"
        )));
    }
    let as_text = content_type.as_deref().is_some_and(|text| !is_json(text)) && raw.get().starts_with('"');
    let body = if as_text {
        let text: String = serde_json::from_str(raw.get()).map_err(|error| unreadable("body", &error))?;
        text.into()
    } else {
        slice(whole, raw)
    };
    Ok(Opened { key, content_type, body, properties })
}

fn properties(raw: &RawValue) -> Result<Properties, Problem> {
    let members: Members<'_> =
        serde_json::from_str(raw.get()).map_err(|_| malformed("properties: expected an object"))?;
    if members.0.len() > MAX_PROPERTIES {
        return Err(malformed(format!("properties: at most {MAX_PROPERTIES} are allowed")));
    }
    if raw.get().len() > MAX_PROPERTIES_BYTES {
        return Err(too_large(Some(raw.get().len()), MAX_PROPERTIES_BYTES, "properties"));
    }
    let mut properties = Properties::new();
    for (name, value) in members.0 {
        check_property(&name)?;
        if properties.get(&name).is_some() {
            return Err(malformed(format!("properties: {name:?} is there twice; names are the same in any case")));
        }
        properties.set(name.as_str(), scalar(&name, value)?);
    }
    Ok(properties)
}

fn scalar(name: &str, raw: &RawValue) -> Result<PropertyValue, Problem> {
    let value = match serde_json::from_str(raw.get()) {
        Ok(Value::String(text)) => Some(PropertyValue::Text(text)),
        Ok(Value::Bool(truth)) => Some(PropertyValue::Bool(truth)),
        Ok(Value::Number(number)) => match number.as_i64() {
            Some(whole) => Some(PropertyValue::Integer(whole)),
            // What is whole but beyond 64 bits would not come out as it went in.
            None => number.as_f64().filter(|_| number.is_f64()).map(PropertyValue::Double),
        },
        _ => None,
    };
    value.ok_or_else(|| malformed(format!("properties: {name:?}: expected a string, a number, true or false")))
}

fn checked_id(id: String) -> Result<String, Problem> {
    match check_logical_id(&id) {
        Ok(()) => Ok(id),
        Err(error) => Err(Problem::new(Kind::InvalidId, format!("id: {error}"))),
    }
}

fn sized(entry: Entry, limit: usize) -> Item {
    match entry.check_size(limit) {
        Ok(()) => Ok(entry),
        Err(problem) => Err(BadItem { id: Some(entry.id), problem }),
    }
}

/// A value as a part of the body that it stands in, without a copy.
fn slice(whole: &Bytes, raw: &RawValue) -> Bytes {
    whole.slice_ref(raw.get().as_bytes())
}

fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::Malformed, detail)
}

/// The parser's words name a line and a column, not the content.
fn unreadable(what: &str, error: &serde_json::Error) -> Problem {
    malformed(format!("{what} cannot be read: {error}"))
}

fn too_many(limit: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("a batch may have {limit} items")).with("limit_items", limit)
}

#[cfg(test)]
mod tests;
