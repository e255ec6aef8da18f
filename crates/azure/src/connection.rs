//! Connection strings: `Key=Value;Key=Value`, the way Azure tells programs where things are.
//!
//! Keys are matched in any case and values may contain `=`: a pair is split at the first. Keys we have no use for are
//! ignored, as the strings of the portal carry several. White space and one pair of quotes (`"` or `'`) around the whole
//! string are forgiven: a line of an env file that one reader strips of its quotes keeps them with another (docker).
//!
//! Errors name the key and what was expected of it, never the value. `Debug` shows no secret; `expose()` renders a
//! string with its secrets, to be handed to somebody who needs them.

mod service_bus;
mod storage;

use http::Uri;
pub use service_bus::ServiceBusConnection;
pub(crate) use service_bus::ServiceBusCredential;
pub use storage::StorageConnection;
pub(crate) use storage::StorageCredential;

/// The longest connection string that is read, in bytes. Real ones stay below 1 KB.
const MAX_LENGTH: usize = 16 * 1024;

/// Why a connection string was refused. Never repeats a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionStringError {
    /// Nothing in it.
    #[error("the connection string is empty")]
    Empty,
    /// Far longer than any real one.
    #[error("the connection string is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// A part without `=`.
    #[error("part {position} of the connection string is not of the form Key=Value")]
    NotAPair {
        /// Which part, counted from 1.
        position: usize,
    },
    /// A key that is needed is not there.
    #[error("{key} is missing: expected {expected}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What it should have been.
        expected: &'static str,
    },
    /// A key's value cannot be used.
    #[error("{key} is not valid: expected {expected}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// What it should have been.
        expected: &'static str,
    },
    /// A key is given twice.
    #[error("{key} is given twice")]
    Twice {
        /// The key.
        key: &'static str,
    },
    /// Two keys that exclude each other.
    #[error("{one} and {other} are both given: expected one of them")]
    Both {
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
}

/// The pairs of a connection string.
struct Pairs<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Pairs<'a> {
    fn parse(text: &'a str) -> Result<Self, ConnectionStringError> {
        if text.len() > MAX_LENGTH {
            return Err(ConnectionStringError::TooLong);
        }
        let text = unquote(text.trim());
        if text.is_empty() {
            return Err(ConnectionStringError::Empty);
        }
        let mut pairs = Vec::new();
        for (position, part) in (1..).zip(text.split(';')) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let (key, value) = part.split_once('=').ok_or(ConnectionStringError::NotAPair { position })?;
            pairs.push((key.trim(), value.trim()));
        }
        Ok(Self(pairs))
    }

    /// The value of a key. An empty value counts as none.
    fn get(&self, key: &'static str) -> Result<Option<&'a str>, ConnectionStringError> {
        let mut found = self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(key)).map(|(_, value)| *value);
        let value = found.next();
        match found.next() {
            Some(_) => Err(ConnectionStringError::Twice { key }),
            None => Ok(value.filter(|value| !value.is_empty())),
        }
    }

    fn need(&self, key: &'static str, expected: &'static str) -> Result<&'a str, ConnectionStringError> {
        self.get(key)?.ok_or(ConnectionStringError::Missing { key, expected })
    }

    /// Whether a switch is on; absent means off.
    fn is_true(&self, key: &'static str) -> Result<bool, ConnectionStringError> {
        match self.get(key)? {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(ConnectionStringError::Invalid { key, expected: "true or false" }),
        }
    }
}

fn unquote(text: &str) -> &str {
    ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote)).map_or(text, str::trim)
}

/// Splits a URL into scheme, `host[:port]` and path (without its trailing `/`). `None` unless that is all it has: no
/// user, query or fragment, where a secret could hide.
fn split_url(text: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    if authority.is_empty() || authority.contains(['@', '?', '#', '%']) || path.contains(['?', '#', '%']) {
        return None;
    }
    let parsed: Uri = format!("http://{authority}/{path}").parse().ok()?;
    // A port that is there must be a number in range, and a host must be there: `http` lets `:80` and `a:b` through.
    let host = parsed.host().filter(|host| !host.is_empty())?;
    if host.len() != authority.len() && parsed.port_u16().is_none() {
        return None;
    }
    Some((scheme, authority, path.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_split_at_the_first_equals_sign_and_found_in_any_case() {
        let pairs = Pairs::parse(" 'KEY=a==; Other = b ;;' ").unwrap();
        assert_eq!(pairs.get("Key"), Ok(Some("a==")));
        assert_eq!(pairs.get("other"), Ok(Some("b")));
        assert_eq!(pairs.get("none"), Ok(None));
    }

    #[test]
    fn only_a_pair_of_quotes_is_taken_off() {
        assert_eq!(unquote("\"a\""), "a");
        assert_eq!(unquote("'\"a\"'"), "\"a\"");
        assert_eq!(unquote("\"a'"), "\"a'");
        assert_eq!(unquote("\""), "\"");
    }

    #[test]
    fn what_is_not_pairs_is_refused_by_position() {
        assert_eq!(Pairs::parse("").err(), Some(ConnectionStringError::Empty));
        assert_eq!(Pairs::parse(" \"\" ").err(), Some(ConnectionStringError::Empty));
        assert_eq!(Pairs::parse("a=b;secret").err(), Some(ConnectionStringError::NotAPair { position: 2 }));
        assert_eq!(Pairs::parse(&"x".repeat(MAX_LENGTH + 1)).err(), Some(ConnectionStringError::TooLong));
        let twice = Pairs::parse("Key=a;key=b").unwrap();
        assert_eq!(twice.get("Key"), Err(ConnectionStringError::Twice { key: "Key" }));
    }

    #[test]
    fn a_url_is_scheme_host_and_path_alone() {
        assert_eq!(split_url("sb://ns.example/"), Some(("sb", "ns.example", "")));
        assert_eq!(split_url("http://[::1]:80/a/"), Some(("http", "[::1]:80", "a")));
        for bad in [
            "ns.example",
            "sb://",
            "sb://u:p@h",
            "sb://h/?x",
            "sb://h#x",
            "sb://h:80#",
            "sb://h:80?x",
            "sb://h:99999",
            "sb://:80",
            "sb://h:x",
            "sb://h h",
        ] {
            assert_eq!(split_url(bad), None, "{bad}");
        }
    }
}
