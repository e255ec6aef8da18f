//! Many messages in one body: a JSON array, a line of JSON for each (NDJSON), or an array of CloudEvents.
//!
//! # What an item is
//!
//! **An object with the member `body` is an envelope; every other JSON value is a body itself.**
//!
//! An envelope has `body`, and may have `id`, `key`, `partition_key`, `content_type` and `properties`, and nothing else: another member makes
//! the item a bad one, so that a payload that happens to have a member `body` is told to put itself into an envelope, and is not
//! quietly taken apart.
//!
//! A body is sent as the JSON it is, byte for byte as it stands in the request, with the content type `application/json` or
//! the envelope's own. One exception: a string whose `content_type` is not JSON is sent as the text itself.
//!
//! An item of [`Form::Events`] is a CloudEvent ([`super::cloudevents`]), never an envelope.
//!
//! # Its id
//!
//! An id is never guessed from a payload: a member `id` outside an envelope is the payload's own affair, and two messages about
//! one thing are two messages. An item without an id gets one from the caller: derived from the batch's own key and the item's place
//! ([`derived_id`](crate::id::derived_id)), so that the batch can be repeated as it was, or else a fresh one.
//!
//! # One at a time
//!
//! Items are read one after the other, when there is room for them ([`read`]), and lines as they arrive ([`lines::Splitter`]): a batch is
//! sent while it is still being received, and never held whole as messages. What is wrong with one item spoils no other.

mod envelope;
pub mod lines;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::cloudevents::{self, BATCHED};
use super::entry::{Entry, is_media_type};
pub use super::json::too_many;
use super::json::{self, unreadable};
use crate::problem::{Kind, Problem};

/// How a body holds its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A JSON array. If it cannot be read, the whole request is bad.
    Array,
    /// Lines of JSON. A line that cannot be read is a bad item. Empty lines are passed over.
    Lines,
    /// A JSON array of CloudEvents.
    Events,
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
        } else if is_media_type(given, BATCHED) {
            Ok(Self::Events)
        } else if LINES.iter().any(|lines| is_media_type(given, lines)) {
            Ok(Self::Lines)
        } else {
            let detail = format!(
                "a batch is application/json (an array), application/x-ndjson (a line for each message) or {BATCHED}"
            );
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

impl From<Problem> for BadItem {
    fn from(problem: Problem) -> Self {
        Self { id: None, problem }
    }
}

/// Where the items of an array are, in order, as byte ranges of the body.
///
/// # Errors
/// The body is no array, or has more items than it may. Nothing is accepted then.
pub fn elements(body: &Bytes, limit: usize) -> Result<Vec<Bytes>, Problem> {
    Ok(json::elements(body, limit)?.into_iter().map(|raw| json::slice(body, raw)).collect())
}

/// Reads an item: an element of an array, or a line. `id` makes one up where it has none.
///
/// # Errors
/// It cannot be sent, and why.
pub fn read(form: Form, item: &Bytes, id: impl FnOnce() -> String) -> Item {
    let what = if form == Form::Lines { "the line" } else { "the item" };
    let raw: &RawValue = serde_json::from_slice(item).map_err(|error| unreadable(what, &error))?;
    match form {
        Form::Array | Form::Lines => envelope::read(raw, item, id),
        Form::Events => Ok(cloudevents::event_of(raw, item, None)?),
    }
}
