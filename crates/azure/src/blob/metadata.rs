//! Metadata and ETags: what a record's state is kept in, and what guards it.

use http::{HeaderMap, HeaderName, HeaderValue};

/// What a metadata header's name begins with.
pub(super) const PREFIX: &str = "x-ms-meta-";
/// The service's limit on all names and values of a blob, in bytes. Azurite does not enforce it.
const MAX_SIZE: usize = 8 * 1024;

/// Metadata that the service will take: checked name by name and value by value, and in sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    entries: Vec<(HeaderName, HeaderValue)>,
    size: usize,
}

/// Why a piece of metadata was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// A name that is not a plain identifier.
    #[error("the metadata name {name:?} is not valid: expected ASCII letters, digits and underscores, no digit first")]
    Name {
        /// The name.
        name: String,
    },
    /// A value that a header would not carry unchanged.
    #[error("the metadata value of {name:?} is not valid: expected printable ASCII, not empty, no space at either end")]
    Value {
        /// The value's name.
        name: String,
    },
    /// A name that is set already, in any case.
    #[error("the metadata name {name:?} is set twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// More than the service keeps.
    #[error("the metadata takes {size} bytes: at most {MAX_SIZE} are allowed")]
    TooLarge {
        /// What it would take.
        size: usize,
    },
}

impl Metadata {
    /// No metadata.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new(), size: 0 }
    }

    /// All of these.
    ///
    /// # Errors
    /// The first that is refused, as by [`set`](Self::set).
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, MetadataError> {
        let mut metadata = Self::new();
        for (name, value) in pairs {
            metadata.set(name.as_ref(), value.as_ref())?;
        }
        Ok(metadata)
    }

    /// Adds a name and its value. What would be an empty value is left out by its caller: the services differ on it.
    ///
    /// # Errors
    /// The service would refuse it, or not return it as it was.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), MetadataError> {
        let owned = || name.to_owned();
        let header = header_name(name).ok_or_else(|| MetadataError::Name { name: owned() })?;
        let printable = value.bytes().all(|b| (b' '..=b'~').contains(&b));
        if value.is_empty() || value.trim() != value || !printable {
            return Err(MetadataError::Value { name: owned() });
        }
        let value = HeaderValue::from_str(value).map_err(|_| MetadataError::Value { name: owned() })?;
        if self.entries.iter().any(|(known, _)| *known == header) {
            return Err(MetadataError::Twice { name: owned() });
        }
        // The prefix is counted too: whether the service does is not documented.
        let size = self.size + header.as_str().len() + value.len();
        if size > MAX_SIZE {
            return Err(MetadataError::TooLarge { size });
        }
        self.entries.push((header, value));
        self.size = size;
        Ok(())
    }

    /// Adds these to a request's headers.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.extend(self.entries.iter().cloned());
    }
}

fn header_name(name: &str) -> Option<HeaderName> {
    let identifier = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.is_empty() || !identifier || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    HeaderName::try_from(format!("{PREFIX}{name}")).ok()
}

/// Which version of a blob was seen. Opaque, changes with every write, and never empty: an empty `If-Match` is no
/// condition at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(HeaderValue);

/// The text is not an ETag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an etag: expected printable ASCII, neither empty nor *")]
pub struct InvalidETag;

impl ETag {
    /// Takes an ETag as a response had it. `*` is none: as a condition it matches everything.
    ///
    /// # Errors
    /// The text is empty, `*`, or not printable.
    pub fn parse(text: &str) -> Result<Self, InvalidETag> {
        let text = text.trim();
        if text.is_empty() || text == "*" || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidETag);
        }
        HeaderValue::from_str(text).map(Self).map_err(|_| InvalidETag)
    }

    /// The ETag as it is written in a header, with its quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(super) const fn as_header(&self) -> &HeaderValue {
        &self.0
    }
}

impl std::fmt::Display for ETag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for ETag {
    type Err = InvalidETag;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_identifiers_and_values_come_back_unchanged() {
        assert!(Metadata::from_pairs([("st", "p"), ("_x1", "a b=c/%20")]).is_ok());
        for name in ["", "lock-epoch", "1st", "é", "a b"] {
            assert_eq!(Metadata::from_pairs([(name, "x")]), Err(MetadataError::Name { name: name.into() }));
        }
        for value in ["", " a", "a ", "é", "a\nb", "\u{7f}"] {
            assert_eq!(Metadata::from_pairs([("a", value)]), Err(MetadataError::Value { name: "a".into() }));
        }
        assert_eq!(Metadata::from_pairs([("a", "1"), ("A", "2")]), Err(MetadataError::Twice { name: "A".into() }));
    }

    #[test]
    fn all_of_it_stays_below_the_services_limit() {
        let name = PREFIX.len() + 1;
        assert!(Metadata::from_pairs([("a", "x".repeat(MAX_SIZE - name))]).is_ok());
        let error = Metadata::from_pairs([("a", "x".repeat(MAX_SIZE - name)), ("b", "x".into())]).unwrap_err();
        assert_eq!(error, MetadataError::TooLarge { size: MAX_SIZE + name + 1 });
    }

    #[test]
    fn an_etag_is_something() {
        assert_eq!(ETag::parse(" \"0x8D\" ").unwrap().as_str(), "\"0x8D\"");
        for text in ["", " ", "*", "é", "\"a b\"", "a\n b"] {
            assert_eq!(ETag::parse(text), Err(InvalidETag), "{text}");
        }
    }
}
