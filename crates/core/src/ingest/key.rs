//! Where a message's id and its lock key are taken from: `key_from` and `lock_key_from`.
//!
//! A list of places, tried in order; the first that is there counts, and one that is there and cannot be used refuses the request. It is
//! never passed over for the next: the client counts on it.
//!
//! | | what | is there when |
//! |---|---|---|
//! | `header:NAME` | the header as it stands; `Idempotency-Key` as a String of RFC 8941, or bare | the header is |
//! | `json:/POINTER` | the text or the whole number at an RFC 6901 pointer | the content type says JSON, and the pointer leads to something that is not `null` |
//! | `form:FIELD` | the first value of the field | the content type is `application/x-www-form-urlencoded`, and the field is there |
//! | `payload` | SHA-256 of content type and body, in hex | always, so it comes last |
//!
//! The body is looked at and never altered. One that says JSON and is none is refused where a pointer would have looked into it.

use serde_json::Value;

use super::entry::{check_key, is_json, is_media_type};
use super::form;
use super::head::{Head, IDEMPOTENCY_KEY, LOCK_KEY, MESSAGE_ID, structured};
use crate::id::{check_logical_id, payload_hash};
use crate::problem::{Kind, Problem};

/// The longest expression: a pointer or a name that is longer is a mistake.
const MAX_LENGTH: usize = 256;

/// One place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A header, by its name in lower case.
    Header(String),
    /// A JSON Pointer, not empty.
    Json(String),
    /// A field of a form.
    Form(String),
    /// The payload's digest.
    Payload,
}

impl KeySource {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(expression: &str) -> Result<Self, String> {
        if expression.len() > MAX_LENGTH {
            return Err(format!("an expression may have {MAX_LENGTH} bytes"));
        }
        if expression == "payload" {
            return Ok(Self::Payload);
        }
        let expected =
            || format!("{expression:?} is none of `header:NAME`, `json:/POINTER`, `form:FIELD` and `payload`");
        let (kind, what) = expression.split_once(':').ok_or_else(expected)?;
        match kind {
            "header" if is_token(what) => Ok(Self::Header(what.to_ascii_lowercase())),
            "header" => Err(format!("{what:?} is not the name of a header")),
            "json" if is_pointer(what) => Ok(Self::Json(what.to_owned())),
            "json" => {
                Err(format!("{what:?} is not a JSON Pointer (RFC 6901) to a part of the body, as in `/order/id`"))
            }
            "form" if !what.is_empty() => Ok(Self::Form(what.to_owned())),
            "form" => Err("a field of a form has a name".to_owned()),
            _ => Err(expected()),
        }
    }

    const fn reads_body(&self) -> bool {
        !matches!(self, Self::Header(_))
    }

    /// What it names, for a sentence.
    fn name(&self) -> String {
        match self {
            Self::Header(name) => format!("the header {name}"),
            Self::Json(pointer) => format!("{pointer} of the body"),
            Self::Form(field) => format!("the field {field} of the form"),
            Self::Payload => "the payload".to_owned(),
        }
    }
}

/// A name of a header: a token of RFC 9110.
pub(crate) fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A pointer that is not to the whole, with `~` in escapes only.
fn is_pointer(text: &str) -> bool {
    text.starts_with('/') && text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']))
}

/// The places of a message's id, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdSources(pub Vec<KeySource>);

impl Default for IdSources {
    /// `Idempotency-Key`, else `Message-Id`.
    fn default() -> Self {
        Self(vec![KeySource::Header(IDEMPOTENCY_KEY.to_owned()), KeySource::Header(MESSAGE_ID.to_owned())])
    }
}

impl IdSources {
    /// The id that a request brings; `None` where it leaves that to us.
    ///
    /// # Errors
    /// There is one that cannot be used.
    pub fn find(&self, head: &Head, body: &[u8]) -> Result<Option<String>, Problem> {
        let mut parts = Parts::new(head, body)?;
        for source in &self.0 {
            let Some(id) = parts.find(source, Kind::InvalidId)? else { continue };
            check_logical_id(&id).map_err(|error| unusable(source, Kind::InvalidId, &error.to_string()))?;
            return Ok(Some(id));
        }
        Ok(None)
    }

    /// Whether the body is looked at.
    #[must_use]
    pub fn read_body(&self) -> bool {
        self.0.iter().any(KeySource::reads_body)
    }

    /// The name of the header that is the one place, if it is that.
    pub(crate) fn only_header(&self) -> Option<&str> {
        match self.0.as_slice() {
            [KeySource::Header(name)] => Some(name),
            _ => None,
        }
    }

    /// The places, as in a sentence.
    #[must_use]
    pub fn in_words(&self) -> String {
        self.0.iter().map(KeySource::name).collect::<Vec<_>>().join(", or ")
    }
}

/// The places of a lock key, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockKeySources(pub Vec<KeySource>);

impl Default for LockKeySources {
    /// `Oncebus-Lock-Key`.
    fn default() -> Self {
        Self(vec![KeySource::Header(LOCK_KEY.to_owned())])
    }
}

impl LockKeySources {
    /// Whether the body is looked at.
    #[must_use]
    pub fn read_body(&self) -> bool {
        self.0.iter().any(KeySource::reads_body)
    }

    /// The lock key that a request brings.
    ///
    /// # Errors
    /// There is one that cannot be used. Dropping it would let messages run side by side that must not.
    pub fn find(&self, head: &Head, body: &[u8]) -> Result<Option<String>, Problem> {
        let mut parts = Parts::new(head, body)?;
        for source in &self.0 {
            let Some(key) = parts.find(source, Kind::InvalidHeader)? else { continue };
            check_key(&key).map_err(|error| unusable(source, Kind::InvalidHeader, &error.to_string()))?;
            return Ok(Some(key));
        }
        Ok(None)
    }
}

/// A request, with its body read as JSON once it is asked for that.
struct Parts<'a> {
    head: &'a Head,
    content_type: Option<&'a str>,
    body: &'a [u8],
    json: Option<Value>,
}

impl<'a> Parts<'a> {
    fn new(head: &'a Head, body: &'a [u8]) -> Result<Self, Problem> {
        Ok(Self { head, content_type: head.content_type()?, body, json: None })
    }

    /// What is at a place. `kind` is the problem of a header that cannot be used.
    fn find(&mut self, source: &KeySource, kind: Kind) -> Result<Option<String>, Problem> {
        match source {
            KeySource::Header(name) => {
                let Some(value) = self.head.one(name)? else { return Ok(None) };
                let text = if name == IDEMPOTENCY_KEY { structured(value)? } else { value.to_owned() };
                Ok(Some(text))
            }
            KeySource::Json(pointer) => {
                if !self.content_type.is_some_and(is_json) {
                    return Ok(None);
                }
                match self.json()?.pointer(pointer) {
                    None | Some(Value::Null) => Ok(None),
                    Some(Value::String(text)) => Ok(Some(text.clone())),
                    Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
                    Some(_) => Err(unusable(source, kind, "is neither text nor a whole number of 64 bits")),
                }
            }
            KeySource::Form(field) => {
                if !self.content_type.is_some_and(|text| is_media_type(text, form::CONTENT_TYPE)) {
                    return Ok(None);
                }
                let pairs = form::pairs(self.body);
                let Some(value) = form::first(&pairs, field) else { return Ok(None) };
                let text = std::str::from_utf8(value).map_err(|_| unusable(source, kind, "is not UTF-8"))?;
                Ok(Some(text.to_owned()))
            }
            KeySource::Payload => Ok(Some(payload_hash(self.content_type, self.body))),
        }
    }

    fn json(&mut self) -> Result<&Value, Problem> {
        if self.json.is_none() {
            // The parser's words name a line and a column, not the content.
            let unreadable = |error| Problem::new(Kind::Malformed, format!("the body says JSON and is none: {error}"));
            self.json = Some(serde_json::from_slice(self.body).map_err(unreadable)?);
        }
        Ok(self.json.as_ref().unwrap_or(&Value::Null))
    }
}

fn unusable(source: &KeySource, kind: Kind, what: &str) -> Problem {
    match source {
        KeySource::Header(name) => Problem::new(kind, format!("{name}: {what}")).with("header", name.as_str()),
        // What stands in a body is no header.
        _ if kind == Kind::InvalidHeader => Problem::new(Kind::Malformed, format!("{}: {what}", source.name())),
        _ => Problem::new(kind, format!("{}: {what}", source.name())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(headers: &[(&str, &str)]) -> Head {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        Head { method: "POST".to_owned(), target: "/".to_owned(), headers }
    }

    fn sources(expressions: &[&str]) -> Vec<KeySource> {
        expressions.iter().map(|text| KeySource::parse(text).unwrap()).collect()
    }

    fn id(expressions: &[&str], headers: &[(&str, &str)], body: &str) -> Result<Option<String>, Kind> {
        let sources = IdSources(sources(expressions));
        sources.find(&head(headers), body.as_bytes()).map_err(|problem| problem.kind)
    }

    const JSON: (&str, &str) = ("content-type", "application/json");
    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

    #[test]
    fn the_first_place_that_has_one_counts() {
        let text = |text: &str| Ok(Some(text.to_owned()));
        let places = ["header:X-Order", "json:/order/id", "form:MessageSid", "payload"];
        let body = r#"{"order": {"id": "o-7", "n": 12, "a/b": "slash", "big": 18446744073709551615}}"#;
        assert_eq!(id(&places, &[("X-ORDER", "\"7\""), JSON], body), text("\"7\""), "as it stands");
        assert_eq!(id(&places, &[JSON], body), text("o-7"));
        assert_eq!(id(&["json:/order/n"], &[JSON], body), text("12"));
        assert_eq!(id(&["json:/order/a~1b"], &[JSON], body), text("slash"));
        assert_eq!(id(&["json:/order/big"], &[JSON], body), text("18446744073709551615"));
        assert_eq!(id(&["json:/1"], &[("content-type", "x/y+json")], r#"["a", "b"]"#), text("b"));
        assert_eq!(id(&places, &[FORM], "a=1&MessageSid=S%20M&MessageSid=2"), text("S M"));
        assert_eq!(id(&["header:idempotency-key"], &[("Idempotency-Key", "\"a b\"")], ""), text("a b"));
        let hash = payload_hash(Some("application/json"), b"{}");
        assert_eq!(id(&places, &[JSON], "{}"), Ok(Some(hash)), "neither the field nor the header is there");
    }

    #[test]
    fn what_is_not_there_is_passed_over() {
        let body = r#"{"id": null}"#;
        for (headers, body) in [(vec![JSON], body), (vec![JSON], "[]"), (vec![], r#"{"id": "a"}"#), (vec![FORM], "a=1")]
        {
            assert_eq!(id(&["json:/id", "form:id"], &headers, body), Ok(None), "{body}");
        }
    }

    #[test]
    fn what_is_there_and_cannot_be_used_is_refused_and_not_passed_over() {
        for (expression, headers, body, kind) in [
            ("header:x", vec![("x", "")], "", Kind::InvalidId),
            ("header:x", vec![("x", "a"), ("x", "a")], "", Kind::InvalidHeader),
            ("json:/id", vec![JSON], r#"{"id": ""}"#, Kind::InvalidId),
            ("json:/id", vec![JSON], r#"{"id": 1.5}"#, Kind::InvalidId),
            ("json:/id", vec![JSON], r#"{"id": 18446744073709551616}"#, Kind::InvalidId),
            ("json:/id", vec![JSON], r#"{"id": {}}"#, Kind::InvalidId),
            ("json:/id", vec![JSON], r#"{"id": true}"#, Kind::InvalidId),
            ("json:/id", vec![JSON], r#"{"id": "a\u0000"}"#, Kind::InvalidId),
            ("json:/id", vec![JSON], "{", Kind::Malformed),
            ("form:id", vec![FORM], "id=", Kind::InvalidId),
            ("form:id", vec![FORM], "id=%ff", Kind::InvalidId),
        ] {
            assert_eq!(id(&[expression, "payload"], &headers, body), Err(kind), "{expression} {body}");
        }
    }

    #[test]
    fn a_lock_key_in_the_body_is_no_header() {
        let lock = |body: &str| {
            let sources = LockKeySources(sources(&["json:/from"]));
            sources.find(&head(&[JSON]), body.as_bytes()).map_err(|problem| problem.kind)
        };
        assert_eq!(lock(r#"{"from": "."}"#), Ok(Some(".".to_owned())));
        assert_eq!(lock(r#"{"from": ""}"#), Err(Kind::Malformed));
        assert_eq!(lock("{}"), Ok(None));
    }

    #[test]
    fn an_expression_that_is_none_says_what_it_could_be() {
        for wrong in [
            "",
            "header",
            "header:",
            "header:a b",
            "json:",
            "json:id",
            "json:/a~2",
            "json:/a~",
            "form:",
            "body:x",
            "payload:x",
        ] {
            assert!(KeySource::parse(wrong).is_err(), "{wrong}");
        }
        assert!(KeySource::parse(&format!("form:{}", "x".repeat(252))).is_err());
        assert_eq!(
            KeySource::parse("id").unwrap_err(),
            "\"id\" is none of `header:NAME`, `json:/POINTER`, `form:FIELD` and `payload`"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_found_can_be_used(
            expression in "(header:|json:|form:|payload)?\\PC{0,12}",
            content_type in prop_oneof![Just("application/json"), Just(form::CONTENT_TYPE), Just("text/plain")],
            body in prop_oneof!["\\PC{0,40}", r#"\{"(a|b)": ?("\\PC{0,4}"|[0-9.e-]{1,6}|null)\}"#, "[ab]=[a-z%0-9]{0,6}"],
        ) {
            if let Ok(source) = KeySource::parse(&expression) {
                let head = head(&[("content-type", content_type)]);
                if let Ok(Some(id)) = IdSources(vec![source.clone()]).find(&head, body.as_bytes()) {
                    prop_assert_eq!(check_logical_id(&id), Ok(()));
                }
                let _ = LockKeySources(vec![source]).find(&head, body.as_bytes());
            }
        }

        #[test]
        fn the_defaults_find_what_the_head_says(value in prop::collection::vec(any::<u8>(), 0..40), name in "(idempotency-key|message-id|oncebus-lock-key)") {
            let head = Head { headers: vec![(name, value)], ..Head::default() };
            prop_assert_eq!(IdSources::default().find(&head, b""), head.logical_id());
            prop_assert_eq!(LockKeySources::default().find(&head, b"").ok(), head.lock_key().ok());
        }
    }
}
