//! What a rule may look at.

use std::borrow::Cow;
use std::cell::OnceCell;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::ingest::entry::{essence, is_json};
use crate::ingest::head::Head;

/// The media type of an event in structured mode begins so; anything after it is its format.
const STRUCTURED: &str = "application/cloudevents";
/// In binary mode the event's type is this header.
const CE_TYPE: &str = "ce-type";

/// A request, as rules see it. The body is parsed at most once, and only when a rule asks.
#[derive(Debug)]
pub struct Facts<'a> {
    head: &'a Head,
    body: &'a [u8],
    source: Option<&'a str>,
    json: OnceCell<Option<Value>>,
}

impl<'a> Facts<'a> {
    /// The facts of a request; `source` is the webhook that it came in by.
    #[must_use]
    pub const fn new(head: &'a Head, body: &'a [u8], source: Option<&'a str>) -> Self {
        Self { head, body, source, json: OnceCell::new() }
    }

    /// The values of a header, one for each line that has it, without the white space around them.
    pub(super) fn header(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.head.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value.trim_ascii())
    }

    /// The media type, without parameters. Of two content types neither counts.
    pub(super) fn media_type(&self) -> Option<&'a str> {
        let content_type = self.head.one("content-type").ok().flatten()?;
        Some(essence(content_type)).filter(|essence| !essence.is_empty())
    }

    /// The webhook.
    pub(super) const fn source(&self) -> Option<&'a str> {
        self.source
    }

    /// The body, if its content type is JSON and it is.
    pub(super) fn json(&self) -> Option<&Value> {
        let parse = || serde_json::from_slice(self.body).ok().filter(|_| self.media_type().is_some_and(is_json));
        self.json.get_or_init(parse).as_ref()
    }

    /// The type of a `CloudEvents` event: of the body in structured mode, else the header.
    pub(super) fn event_type(&self) -> Option<Cow<'_, str>> {
        let structured = self.media_type().is_some_and(|media_type| {
            media_type.get(..STRUCTURED.len()).is_some_and(|start| start.eq_ignore_ascii_case(STRUCTURED))
        });
        if structured {
            return self.json()?.get("type")?.as_str().map(Cow::Borrowed);
        }
        let text = std::str::from_utf8(self.header(CE_TYPE).next()?).ok()?;
        percent_decode_str(text).decode_utf8().ok()
    }
}
