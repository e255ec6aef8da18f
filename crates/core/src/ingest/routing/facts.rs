//! What a rule may look at.

use std::cell::OnceCell;

use serde_json::Value;

use crate::ingest::entry::{essence, is_json};
use crate::ingest::head::Head;
use crate::message::{Outgoing, property};

/// The property that holds an event's type, in whatever mode it came.
const EVENT_TYPE: &str = "cloudEvents_type";

/// A request and the message that was made of it, as rules see them. Of an event they see the data, as the processor will, and not how it was wrapped. The
/// body is parsed at most once, and only when a rule asks.
#[derive(Debug)]
pub struct Facts<'a> {
    head: &'a Head,
    message: &'a Outgoing,
    source: Option<&'a str>,
    json: OnceCell<Option<Value>>,
}

impl<'a> Facts<'a> {
    /// The facts of a request; `source` is the webhook that it came in by.
    #[must_use]
    pub const fn new(head: &'a Head, message: &'a Outgoing, source: Option<&'a str>) -> Self {
        Self { head, message, source, json: OnceCell::new() }
    }

    /// The values of a header, one for each line that has it, without the white space around them.
    pub(super) fn header(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.head.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value.trim_ascii())
    }

    /// The media type of the body, without parameters.
    pub(super) fn media_type(&self) -> Option<&'a str> {
        let original = self.message.properties.text(property::CONTENT_TYPE);
        let content_type = original.or(self.message.content_type.as_deref())?;
        Some(essence(content_type)).filter(|essence| !essence.is_empty())
    }

    /// The webhook.
    pub(super) const fn source(&self) -> Option<&'a str> {
        self.source
    }

    /// The body, if its content type is JSON and it is.
    pub(super) fn json(&self) -> Option<&Value> {
        let parse =
            || serde_json::from_slice(&self.message.body).ok().filter(|_| self.media_type().is_some_and(is_json));
        self.json.get_or_init(parse).as_ref()
    }

    /// The type of a `CloudEvents` event.
    pub(super) fn event_type(&self) -> Option<&'a str> {
        self.message.properties.text(EVENT_TYPE)
    }
}
