//! An item that is a body, or an envelope around one.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{BadItem, Item, JSON};
use crate::id::check_logical_id;
use crate::ingest::entry::{
    Entry, MAX_PROPERTIES, MAX_PROPERTIES_BYTES, check_content_type, check_key, check_partition_key, check_property,
    is_json, too_large,
};
use crate::ingest::json::{Members, malformed, slice, text};
use crate::message::{Properties, PropertyValue};
use crate::problem::{Kind, Problem};

pub(super) fn read(raw: &RawValue, whole: &Bytes, fresh: impl FnOnce() -> String) -> Item {
    let Some(mut envelope) = Members::of(raw).filter(|members| members.has("body")) else {
        return Ok(Entry::new(fresh(), None, Some(JSON), slice(whole, raw), Properties::new()));
    };
    let id = envelope.take_text("id").and_then(|id| id.map(checked_id).transpose())?;
    match open(envelope, whole) {
        Ok(Opened { key, partition_key, content_type, body, properties }) => {
            let content_type = content_type.as_deref().unwrap_or(JSON);
            let id = id.unwrap_or_else(fresh);
            let entry = Entry::new(id, key.as_deref(), Some(content_type), body, properties);
            Ok(match partition_key {
                Some(partition_key) => entry.with_partition_key(partition_key),
                None => entry,
            })
        }
        Err(problem) => Err(BadItem { id, problem }),
    }
}

/// An envelope's members but its id.
struct Opened {
    key: Option<String>,
    partition_key: Option<String>,
    content_type: Option<String>,
    body: Bytes,
    properties: Properties,
}

fn open(mut envelope: Members<'_>, whole: &Bytes) -> Result<Opened, Problem> {
    let key = envelope.take_text("key")?;
    if let Some(key) = &key {
        check_key(key).map_err(|error| malformed(format!("key {error}")))?;
    }
    let partition_key = envelope.take_text("partition_key")?;
    if let Some(partition_key) = &partition_key {
        check_partition_key(partition_key).map_err(|what| malformed(format!("partition_key {what}")))?;
    }
    let content_type = envelope.take_text("content_type")?.filter(|text| !text.is_empty());
    if let Some(content_type) = &content_type {
        check_content_type(content_type).map_err(|what| malformed(format!("content_type {what}")))?;
    }
    let properties = envelope.take("properties").map(properties).transpose()?.unwrap_or_default();
    let raw = envelope.take("body").ok_or_else(|| malformed("body is missing"))?;
    if let Some(name) = envelope.left() {
        return Err(malformed(format!(
            "an object with the member body is an envelope, and {name:?} is no member of one, or is there twice: put a payload that has a member body into an envelope, as in {{\"body\": {{…}}}}"
        )));
    }
    let as_text = content_type.as_deref().is_some_and(|text| !is_json(text)) && raw.get().starts_with('"');
    let body = if as_text {
        text(raw).map(Cow::into_owned).ok_or_else(|| malformed("body cannot be read"))?.into()
    } else {
        slice(whole, raw)
    };
    Ok(Opened { key, partition_key, content_type, body, properties })
}

fn properties(raw: &RawValue) -> Result<Properties, Problem> {
    let members = Members::of(raw).ok_or_else(|| malformed("properties: expected an object"))?;
    if members.len() > MAX_PROPERTIES {
        return Err(malformed(format!("properties: at most {MAX_PROPERTIES} are allowed")));
    }
    if raw.get().len() > MAX_PROPERTIES_BYTES {
        return Err(too_large(Some(raw.get().len()), MAX_PROPERTIES_BYTES, "properties"));
    }
    let mut properties = Properties::new();
    for (name, value) in members {
        check_property(&name)?;
        if properties.get(&name).is_some() {
            return Err(malformed(format!("properties: {name:?} is there twice; names are the same in any case")));
        }
        let value = scalar(&name, value)?;
        properties.set(name, value);
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
