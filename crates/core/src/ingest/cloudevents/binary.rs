//! Binary mode: each attribute is a header `ce-{name}`, percent-encoded.
//!
//! A value in double quotes, as older producers send it, is unquoted first; then one round of percent-decoding follows (HTTP protocol binding, 3.1.3.2). What is
//! not UTF-8 after that is refused. `ce-datacontenttype` is passed over: the header for it is `Content-Type`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{Attributes, REQUIRED, invalid};
use crate::ingest::head::Head;
use crate::problem::Problem;

const PREFIX: &str = "ce-";

/// Whether a request means to be an event.
pub(super) fn is_event(head: &Head) -> bool {
    head.headers.iter().any(|(name, _)| attribute(name).is_some_and(|name| REQUIRED.contains(&name.as_ref())))
}

/// The attributes in the headers.
pub(super) fn attributes(head: &Head) -> Result<Attributes<'_>, Problem> {
    let mut attributes = Attributes::default();
    for (header, value) in &head.headers {
        let Some(name) = attribute(header).filter(|name| name != "datacontenttype") else { continue };
        let value = std::str::from_utf8(value).map_err(|_| invalid(&name, "is not UTF-8"))?;
        let value = decode(value.trim_matches([' ', '\t'])).map_err(|what| invalid(&name, what))?;
        attributes.add(name, value)?;
    }
    Ok(attributes)
}

/// The attribute that a header carries, in lower case.
fn attribute(header: &str) -> Option<Cow<'_, str>> {
    let name = header.get(PREFIX.len()..)?;
    let prefix = header.get(..PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    Some(if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    })
}

fn decode(value: &str) -> Result<Cow<'_, str>, &'static str> {
    let unquoted = unquote(value)?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(Cow::into_owned);
    if !unquoted.contains('%') {
        return Ok(unquoted);
    }
    decoded(&unquoted).map(Cow::Owned).map_err(|_| "is not UTF-8 once it is percent-decoded")
}

/// The content of a quoted string (RFC 7230, 3.2.6); a value without a quote in front is what it is.
fn unquote(value: &str) -> Result<Cow<'_, str>, &'static str> {
    let Some(quoted) = value.strip_prefix('"') else { return Ok(value.into()) };
    let mut text = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    loop {
        match characters.next() {
            Some('"') if characters.as_str().is_empty() => return Ok(text.into()),
            Some('\\') => text.extend(characters.next()),
            Some('"') | None => return Err("begins with a quote but is no quoted string"),
            Some(other) => text.push(other),
        }
    }
}
