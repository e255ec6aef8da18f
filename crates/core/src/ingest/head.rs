//! The head of a request, and what it says of a message: its id, its key, its content type.

use super::entry::{check_content_type, check_key};
use crate::id::{IdError, check_logical_id};
use crate::problem::{Kind, Problem};

/// The header that carries a message's id.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header that carries a message's id where there is no `Idempotency-Key`.
pub const MESSAGE_ID: &str = "message-id";
/// The header that carries a lock key.
pub const LOCK_KEY: &str = "oncebus-lock-key";

/// Everything of a request but its body, as WASI hands it over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// The method, in capitals.
    pub method: String,
    /// Path and query, as they were on the wire: nothing is decoded. A signature covers these bytes.
    pub target: String,
    /// The headers, a pair for each line.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// The path, not decoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The query, not decoded.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The one value of a header, without the white space around it; `None` where the header is absent.
    ///
    /// # Errors
    /// The header comes twice, or is not UTF-8.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let Some((_, value)) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(unusable(name, "is given more than once"));
        }
        let text = std::str::from_utf8(value).map_err(|_| unusable(name, "is not UTF-8"))?;
        Ok(Some(text.trim_matches([' ', '\t'])))
    }

    /// The content type, if it is not empty.
    ///
    /// # Errors
    /// It cannot be carried on.
    pub fn content_type(&self) -> Result<Option<&str>, Problem> {
        let Some(content_type) = self.one("content-type")?.filter(|text| !text.is_empty()) else { return Ok(None) };
        check_content_type(content_type).map_err(|what| unusable("content-type", what))?;
        Ok(Some(content_type))
    }

    /// How many bytes the body is said to have.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.one("content-length").ok().flatten()?.parse().ok()
    }

    /// The `Idempotency-Key` alone.
    ///
    /// # Errors
    /// There is one that cannot be used.
    pub fn idempotency_key(&self) -> Result<Option<String>, Problem> {
        let Some(value) = self.one(IDEMPOTENCY_KEY)? else { return Ok(None) };
        let key = structured(value)?;
        check_logical_id(&key).map_err(|error| invalid_id(IDEMPOTENCY_KEY, error))?;
        Ok(Some(key))
    }

    /// The message's id: `Idempotency-Key`, else `Message-Id`. `None`: the client leaves it to us.
    ///
    /// # Errors
    /// There is one that cannot be used. It is not replaced by another: the client counts on it.
    pub fn logical_id(&self) -> Result<Option<String>, Problem> {
        let (name, id) = match self.one(IDEMPOTENCY_KEY)? {
            Some(value) => (IDEMPOTENCY_KEY, structured(value)?),
            None => match self.one(MESSAGE_ID)? {
                Some(value) => (MESSAGE_ID, value.to_owned()),
                None => return Ok(None),
            },
        };
        check_logical_id(&id).map_err(|error| invalid_id(name, error))?;
        Ok(Some(id))
    }

    /// The lock key.
    ///
    /// # Errors
    /// There is one that cannot be used. Dropping it would let messages run side by side that must not.
    pub fn lock_key(&self) -> Result<Option<String>, Problem> {
        let Some(key) = self.one(LOCK_KEY)? else { return Ok(None) };
        check_key(key).map_err(|error| unusable(LOCK_KEY, &error.to_string()))?;
        Ok(Some(key.to_owned()))
    }
}

/// The text of a structured field (RFC 8941) that is one String, its parameters left aside; or the value as it is,
/// where it does not begin with a quote, as most clients send it.
pub(super) fn structured(value: &str) -> Result<String, Problem> {
    let Some(quoted) = value.strip_prefix('"') else { return Ok(value.to_owned()) };
    let broken = || {
        let detail = "Idempotency-Key begins with a quote but is not a String of RFC 8941";
        Problem::new(Kind::InvalidId, detail).with("header", IDEMPOTENCY_KEY)
    };
    let mut text = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next().ok_or_else(broken)? {
            '"' => break,
            '\\' => match characters.next() {
                Some(escaped @ ('"' | '\\')) => text.push(escaped),
                _ => return Err(broken()),
            },
            character @ ' '..='~' => text.push(character),
            _ => return Err(broken()),
        }
    }
    let rest = characters.as_str().trim_start_matches([' ', '\t']);
    if rest.is_empty() || rest.starts_with(';') { Ok(text) } else { Err(broken()) }
}

fn unusable(name: &str, what: &str) -> Problem {
    Problem::new(Kind::InvalidHeader, format!("the header {name} {what}")).with("header", name)
}

fn invalid_id(name: &str, error: IdError) -> Problem {
    Problem::new(Kind::InvalidId, format!("{name}: {error}")).with("header", name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(headers: &[(&str, &str)]) -> Head {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        Head { method: "POST".to_owned(), target: "/".to_owned(), headers }
    }

    fn id(headers: &[(&str, &str)]) -> Result<Option<String>, Kind> {
        head(headers).logical_id().map_err(|problem| problem.kind)
    }

    #[test]
    fn an_id_comes_quoted_or_bare_and_beats_the_message_id() {
        let text = |text: &str| Ok(Some(text.to_owned()));
        for (value, expected) in [
            ("\"8e03978e\"", "8e03978e"),
            ("8e03978e", "8e03978e"),
            (" \"a b\" ; v=1", "a b"),
            ("\"a\\\"b\\\\c\"", "a\"b\\c"),
            ("it's \"mine\"", "it's \"mine\""),
            ("Größe", "Größe"),
        ] {
            assert_eq!(id(&[("Idempotency-Key", value), ("Message-Id", "m")]), text(expected), "{value}");
        }
        assert_eq!(id(&[("message-id", "<m@host>")]), text("<m@host>"));
        assert_eq!(id(&[]), Ok(None));
    }

    #[test]
    fn an_id_that_cannot_be_used_is_refused_and_not_replaced() {
        for value in ["", ".", "\"..\"", "\"", "\"a", "\"a\"b", "\"a\\b\"", "\"ä\"", "a\u{7f}", &"x".repeat(513)] {
            assert_eq!(id(&[("idempotency-key", value), ("message-id", "m")]), Err(Kind::InvalidId), "{value:?}");
        }
        assert_eq!(id(&[("idempotency-key", "a"), ("Idempotency-Key", "a")]), Err(Kind::InvalidHeader));
        assert_eq!(id(&[("message-id", "")]), Err(Kind::InvalidId));
    }

    #[test]
    fn a_key_is_taken_as_it_is_or_refused() {
        let key = |value| head(&[("Oncebus-Lock-Key", value)]).lock_key().map_err(|problem| problem.kind);
        assert_eq!(key("+49 30 \"1\""), Ok(Some("+49 30 \"1\"".to_owned())));
        assert_eq!(key("."), Ok(Some(".".to_owned())));
        assert_eq!(key(""), Err(Kind::InvalidHeader));
        assert_eq!(key("a\u{0}"), Err(Kind::InvalidHeader));
        assert_eq!(head(&[]).lock_key(), Ok(None));
    }

    #[test]
    fn the_target_is_path_and_query() {
        let head = Head { target: "/a%2Fb?x=1?y".to_owned(), ..Head::default() };
        assert_eq!((head.path(), head.query()), ("/a%2Fb", Some("x=1?y")));
        assert_eq!(Head { target: "/a".to_owned(), ..Head::default() }.query(), None);
    }

    #[test]
    fn a_content_type_that_no_header_carries_on_is_refused() {
        let content_type = |value| head(&[("content-type", value)]).content_type().map(|text| text.map(str::to_owned));
        assert_eq!(content_type(" text/plain; x=\"y\""), Ok(Some("text/plain; x=\"y\"".to_owned())));
        assert_eq!(content_type(""), Ok(None));
        assert!(content_type("text/plain; x=ä").is_err());
    }

    proptest! {
        #[test]
        fn any_header_bytes_give_a_usable_id_or_a_problem(value in prop::collection::vec(any::<u8>(), 0..40)) {
            for name in [IDEMPOTENCY_KEY, MESSAGE_ID] {
                let head = Head { headers: vec![(name.to_owned(), value.clone())], ..Head::default() };
                if let Ok(Some(id)) = head.logical_id() {
                    prop_assert_eq!(check_logical_id(&id), Ok(()));
                }
            }
            let head = Head { headers: vec![(LOCK_KEY.to_owned(), value.clone()), ("content-type".to_owned(), value.clone()), ("content-length".to_owned(), value)], ..Head::default() };
            let _ = (head.lock_key(), head.content_type(), head.content_length());
        }

        #[test]
        fn every_printable_id_survives_its_quotes(id in "[ -~]{1,60}") {
            // Two of them are refused: a path drops them.
            prop_assume!(check_logical_id(&id).is_ok());
            let quoted = format!("\"{}\"", id.replace('\\', "\\\\").replace('"', "\\\""));
            let head = head(&[("idempotency-key", &quoted)]);
            prop_assert_eq!(head.logical_id().unwrap(), Some(id));
        }
    }
}
