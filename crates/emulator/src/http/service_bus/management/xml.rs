//! The little XML that Atom entries need: a tree of elements, read by local name.
//!
//! Clients choose their own prefixes, so names are compared without them. Reading is bounded in depth, in elements
//! and in the attributes of one element, which are compared with each other; the body's size is bounded before
//! it comes here.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::http::{escape_xml, is_xml};

/// Deeper than any description.
const DEEPEST: usize = 32;

/// More than any description has, with as many properties in a rule as there is room for.
const MOST_ELEMENTS: usize = 20_000;

/// Of one element: namespaces, and a type.
const MOST_ATTRIBUTES: usize = 64;

/// An element.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Element {
    /// Without its prefix.
    pub(super) name: String,
    /// `type` of the schema-instance namespace, as written.
    pub(super) kind: Option<String>,
    /// Namespace declarations with a prefix: prefix and name.
    pub(super) prefixes: Vec<(String, String)>,
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Writes an element below the description's, where `i` is bound to the schema-instance namespace.
    pub(super) fn write(&self, to: &mut String) {
        to.push('<');
        to.push_str(&self.name);
        if let Some(kind) = &self.kind {
            to.push_str(&format!(" i:type=\"{}\"", escape_xml(kind)));
        }
        for (prefix, name) in &self.prefixes {
            to.push_str(&format!(" xmlns:{prefix}=\"{}\"", escape_xml(name)));
        }
        if self.children.is_empty() && self.text.is_empty() {
            to.push_str("/>");
            return;
        }
        to.push('>');
        if self.children.is_empty() {
            to.push_str(&escape_xml(&self.text));
        }
        self.children.iter().for_each(|child| child.write(to));
        to.push_str(&format!("</{}>", self.name));
    }
}

/// Reads a document; nothing when it is none.
pub(super) fn parse(bytes: &[u8]) -> Option<Element> {
    let mut reader = Reader::from_reader(bytes);
    let mut open: Vec<Element> = vec![Element::default()];
    let mut room = MOST_ELEMENTS;
    loop {
        let event = reader.read_event().ok()?;
        if matches!(event, Event::Start(_) | Event::Empty(_)) {
            room = room.checked_sub(1)?;
        }
        match event {
            Event::Start(start) => {
                if open.len() > DEEPEST {
                    return None;
                }
                open.push(begin(&start)?);
            }
            Event::Empty(start) => open.last_mut()?.children.push(begin(&start)?),
            Event::End(_) => {
                let mut done = open.pop()?;
                if !done.children.is_empty() {
                    done.text.clear();
                }
                open.last_mut()?.children.push(done);
            }
            Event::Text(text) => open.last_mut()?.text.push_str(legal(&text.unescape().ok()?)?),
            Event::CData(data) => open.last_mut()?.text.push_str(legal(std::str::from_utf8(&data).ok()?)?),
            Event::DocType(_) => return None,
            Event::Eof => break,
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
        }
    }
    let document = open.pop().filter(|_| open.is_empty())?;
    document.children.into_iter().next()
}

fn begin(start: &BytesStart<'_>) -> Option<Element> {
    let mut element = Element { name: plain_name(start.local_name().as_ref())?, ..Element::default() };
    for (number, attribute) in start.attributes().enumerate() {
        let attribute = attribute.ok().filter(|_| number < MOST_ATTRIBUTES)?;
        let value = legal(&attribute.unescape_value().ok()?)?.to_owned();
        let (local, prefix) = (attribute.key.local_name(), attribute.key.prefix());
        match prefix.map(quick_xml::name::Prefix::into_inner) {
            Some(b"xmlns") => element.prefixes.push((plain_name(local.as_ref())?, value)),
            Some(_) if local.as_ref() == b"type" => element.kind = Some(value),
            _ => {}
        }
    }
    Some(element)
}

/// Text without the characters that XML does not have, and that could not be written again.
fn legal(text: &str) -> Option<&str> {
    text.chars().all(is_xml).then_some(text)
}

/// A name that may be written again as it is.
fn plain_name(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    plain.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_do_not_matter() {
        let xml = br#"<?xml version='1.0'?><n:entry xmlns:n="a" xmlns="b"><n:content type="x"><Q>
            <L>a &gt; b
            c</L><E /></Q></n:content></n:entry>"#;
        let entry = parse(xml).unwrap();
        let description = entry.child("content").unwrap().child("Q").unwrap();
        assert_eq!(
            (entry.name.as_str(), description.child("L").unwrap().text.as_str()),
            ("entry", "a > b\n            c")
        );
        let mut written = String::new();
        description.write(&mut written);
        assert_eq!(written, "<Q><L>a &gt; b\n            c</L><E/></Q>");
    }

    #[test]
    fn what_is_no_document_is_nothing() {
        let deep = "<a>".repeat(100);
        for text in [
            "",
            "x",
            "<a>",
            "<a></b>",
            "<a b=c/>",
            "<!DOCTYPE a><a/>",
            "<a>&nothing;</a>",
            "<a>\u{1}</a>",
            "<a>&#x1;</a>",
            &deep,
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(&[0x3c, 0xff, 0x3e]), None);
    }

    #[test]
    fn attributes_and_elements_are_bounded() {
        let attributes = |count: usize| {
            let all: String = (0..count).map(|n| format!(" a{n}=\"\"")).collect();
            format!("<a{all}/>")
        };
        assert!(parse(attributes(MOST_ATTRIBUTES).as_bytes()).is_some());
        assert_eq!(parse(attributes(MOST_ATTRIBUTES + 1).as_bytes()), None);
        assert_eq!(parse(b"<a b=\"\" b=\"\"/>"), None);
        let elements = |count: usize| format!("<a>{}</a>", "<b/>".repeat(count - 1));
        assert!(parse(elements(MOST_ELEMENTS).as_bytes()).is_some());
        assert_eq!(parse(elements(MOST_ELEMENTS + 1).as_bytes()), None);
    }
}
