//! Conditions: what a rule demands of a request.

use std::fmt;

use serde_json::Value;

use super::facts::Facts;

/// One condition. Its `Display` says what is wrong with a request for which it does not hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// About a header; its name in lower case.
    Header(String, Expected),
    /// The media type.
    ContentType(MediaRange),
    /// The value at a JSON Pointer (RFC 6901) equals this one: text, a number, true or false.
    Json(String, Value),
    /// The type of a `CloudEvents` event.
    EventType(TypePattern),
    /// The webhook that the message came in by.
    Source(String),
}

/// What is expected of a header. Values are compared byte by byte; of several lines one is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// It is there, or it is not.
    Present(bool),
    /// It has this value.
    Equals(String),
    /// Its value begins so.
    Prefix(String),
}

/// A media type, or all of a type: `application/json`, `image/*`. In lower case, without parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRange {
    kind: String,
    /// `None`: any.
    subtype: Option<String>,
}

impl MediaRange {
    /// Reads `type/subtype` or `type/*`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, subtype) = text.split_once('/')?;
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(is_token_byte);
        let subtype = Some(subtype).filter(|subtype| *subtype != "*");
        (is_token(kind) && kind != "*" && subtype.is_none_or(is_token))
            .then(|| Self { kind: kind.to_ascii_lowercase(), subtype: subtype.map(str::to_ascii_lowercase) })
    }

    fn covers(&self, media_type: &str) -> bool {
        let Some((kind, subtype)) = media_type.split_once('/') else { return false };
        self.kind.eq_ignore_ascii_case(kind)
            && self.subtype.as_ref().is_none_or(|expected| expected.eq_ignore_ascii_case(subtype))
    }
}

/// What a token of HTTP is made of (RFC 9110, 5.6.2), but for the star, which is a wildcard here.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte)
}

/// A type of events, or all that begin alike: `com.example.order.created`, `com.example.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypePattern {
    /// This one.
    Exact(String),
    /// All that begin so.
    Prefix(String),
}

impl TypePattern {
    /// Reads a pattern: a star may stand at its end.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (stem, prefix) = match text.strip_suffix('*') {
            Some(stem) => (stem, true),
            None => (text, false),
        };
        if stem.contains('*') || text.is_empty() {
            return None;
        }
        Some(if prefix { Self::Prefix(stem.to_owned()) } else { Self::Exact(stem.to_owned()) })
    }

    fn covers(&self, event_type: &str) -> bool {
        match self {
            Self::Exact(text) => text == event_type,
            Self::Prefix(text) => event_type.starts_with(text.as_str()),
        }
    }
}

impl Condition {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Header(name, Expected::Present(expected)) => facts.header(name).next().is_some() == *expected,
            Self::Header(name, Expected::Equals(text)) => facts.header(name).any(|value| value == text.as_bytes()),
            Self::Header(name, Expected::Prefix(text)) => {
                facts.header(name).any(|value| value.starts_with(text.as_bytes()))
            }
            Self::ContentType(range) => facts.media_type().is_some_and(|media_type| range.covers(media_type)),
            Self::Json(pointer, expected) => {
                facts.json().and_then(|json| json.pointer(pointer)).is_some_and(|found| same(found, expected))
            }
            Self::EventType(pattern) => facts.event_type().is_some_and(|event_type| pattern.covers(event_type)),
            Self::Source(name) => facts.source() == Some(name.as_str()),
        }
    }
}

/// Equal as a reader of JSON sees it: 1, 1.0 and 1e0 are one number. Text is never a number.
fn same(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Number(found), Value::Number(expected)) => {
            found == expected || (found.is_f64() || expected.is_f64()) && found.as_f64() == expected.as_f64()
        }
        _ => found == expected,
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name, Expected::Present(true)) => write!(f, "there is no header {name}"),
            Self::Header(name, Expected::Present(false)) => write!(f, "there is a header {name}"),
            Self::Header(name, Expected::Equals(text)) => write!(f, "the header {name} is not {text:?}"),
            Self::Header(name, Expected::Prefix(text)) => write!(f, "the header {name} does not begin with {text:?}"),
            Self::ContentType(MediaRange { kind, subtype }) => {
                write!(f, "the content type is not {kind}/{}", subtype.as_deref().unwrap_or("*"))
            }
            Self::Json(pointer, expected) => write!(f, "the body is not JSON with {expected} at {pointer:?}"),
            Self::EventType(TypePattern::Exact(text)) => write!(f, "it is not a CloudEvent of the type {text:?}"),
            Self::EventType(TypePattern::Prefix(text)) => {
                write!(f, "it is not a CloudEvent whose type begins with {text:?}")
            }
            Self::Source(name) => write!(f, "it did not come in by the webhook {name:?}"),
        }
    }
}
