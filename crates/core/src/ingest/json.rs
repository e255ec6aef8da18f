//! JSON that is taken apart and not rebuilt: what is accepted goes on byte for byte as it stands in the request, so members and
//! elements are slices of it, and no tree is made of them.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::problem::{Kind, Problem};

/// The members of an object in their order, each as it stands there. A name may come twice.
#[derive(Debug)]
pub(super) struct Members<'de>(Vec<(Cow<'de, str>, &'de RawValue)>);

impl<'de> Members<'de> {
    /// The members of an object; `None` where it is none.
    pub(super) fn of(raw: &'de RawValue) -> Option<Self> {
        if !raw.get().starts_with('{') {
            return None;
        }
        serde_json::from_str(raw.get()).ok()
    }

    /// Whether there is such a member.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Takes the first member of this name out.
    pub(super) fn take(&mut self, name: &str) -> Option<&'de RawValue> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Takes out a member that must be a string.
    pub(super) fn take_text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        match text(raw) {
            Some(text) => Ok(Some(text.into_owned())),
            None => Err(malformed(format!("{name}: expected a string"))),
        }
    }

    /// The name of a member that nobody took out.
    pub(super) fn left(&self) -> Option<&str> {
        self.0.first().map(|(name, _)| name.as_ref())
    }

    /// How many are left.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'de> IntoIterator for Members<'de> {
    type Item = (Cow<'de, str>, &'de RawValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A string, borrowed where nothing in it is escaped.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A string's content; `None` where the value is no string.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw.get()).ok().map(|Name(text)| text)
}

/// The elements of an array, as they stand there. Stops at the limit: a body of commas is not taken apart to its end.
pub(super) fn elements(body: &[u8], limit: usize) -> Result<Vec<&RawValue>, Problem> {
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

/// A value as a part of the body that it stands in, without a copy.
pub(super) fn slice(whole: &Bytes, raw: &RawValue) -> Bytes {
    whole.slice_ref(raw.get().as_bytes())
}

pub(super) fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::Malformed, detail)
}

/// The parser's words name a line and a column, not the content.
pub(super) fn unreadable(what: &str, error: &serde_json::Error) -> Problem {
    malformed(format!("{what} cannot be read: {error}"))
}

/// More items than a batch may have.
#[must_use]
pub fn too_many(limit: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("a batch may have {limit} items")).with("limit_items", limit)
}
