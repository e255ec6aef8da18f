//! The case of header names: the gateway's as recorded, those of custom properties as their sender wrote them.
//!
//! HTTP says that case does not matter, and hyper makes all names small, on their way in and on their way out.
//! But a client that compares names byte by byte, or shows properties under the names that they come with,
//! works with the gateway and should work here. So the layer below hyper (see [`super::wire`]) keeps the head of
//! a request as it was written, for whoever wants to know a name, and writes names anew in the head of an answer.
//! Only letters change there, and only in names: nothing gets longer or shorter.

use std::collections::HashMap;
use std::sync::Arc;

use memchr::memchr;

use crate::broker::Message;

/// Every header that the gateway sends.
pub(super) const GATEWAY: [&str; 10] = [
    "BrokerProperties",
    "Connection",
    "Content-Length",
    "Content-Type",
    "Date",
    "ETag",
    "Location",
    "Server",
    "Strict-Transport-Security",
    "Transfer-Encoding",
];

/// How the names of one answer's headers are written: as recorded, and those of the message in it as the
/// message has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Option<Arc<Message>>);

impl Names {
    /// Of an answer with this message in it.
    pub(crate) fn of(message: &Arc<Message>) -> Self {
        Self(Some(Arc::clone(message)))
    }

    fn find(&self, name: &[u8]) -> Option<&str> {
        let custom = self.0.iter().flat_map(|message| &message.properties).map(|(name, _)| name.as_str());
        custom.chain(GATEWAY).find(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Writes the names in the head that these bytes begin with, behind an interim answer if there is one. Other
    /// bytes stay as they are.
    pub(crate) fn write_into(&self, bytes: &mut [u8]) {
        const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let start = if bytes.starts_with(INTERIM) { INTERIM.len() } else { 0 };
        let Some(head) = bytes.get_mut(start..).filter(|head| head.starts_with(b"HTTP/1.")) else { return };
        let mut at = memchr(b'\n', head).map_or(head.len(), |end| end + 1);
        while let Some(line) = head.get_mut(at..) {
            let Some(end) = memchr(b'\n', line) else { return };
            let Some(colon) = line.get(..end).and_then(|line| memchr(b':', line)) else { return };
            if let Some(name) = line.get_mut(..colon)
                && let Some(known) = self.find(name)
            {
                name.copy_from_slice(known.as_bytes());
            }
            at += end + 1;
        }
    }
}

/// Makes names, which are in lower case, what they are in the head of a request. One that is not there stays.
pub(crate) fn as_written<'a>(names: impl Iterator<Item = &'a mut String>, head: &[u8]) {
    let mut by_name: HashMap<String, &mut String> = names.map(|name| (name.clone(), name)).collect();
    let lines = head.split(|byte| *byte == b'\n').skip(1).take_while(|line| !line.trim_ascii().is_empty());
    let written = lines.filter_map(|line| std::str::from_utf8(line.get(..memchr(b':', line)?)?).ok());
    for written in written {
        if let Some(name) = by_name.get_mut(&written.to_ascii_lowercase()) {
            written.clone_into(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::PropertyValue;

    fn written(names: &Names, bytes: &str) -> String {
        let mut bytes = bytes.as_bytes().to_vec();
        names.write_into(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn names_of_a_head_are_written_and_nothing_else() {
        let properties = ["Priority", "customerID"].map(|name| (name.to_owned(), PropertyValue::Boolean(true)));
        let names = Names::of(&Arc::new(Message { properties: properties.into(), ..Message::default() }));
        let answer = |priority: &str, content: &str, customer: &str| {
            format!(
                "HTTP/1.1 201 Created\r\n{priority}: \"priority: x\"\r\n{content}: location: date\r\n{customer}: 1\r\n\
                 other: x\r\n\r\n10\r\ndate: x\r\n\r\npriority: 1\r\n\r\n"
            )
        };
        let (small, large) =
            (answer("priority", "content-type", "customerid"), answer("Priority", "Content-Type", "customerID"));
        assert_eq!(written(&names, &small), large);
        let interim = "HTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(written(&names, &format!("{interim}{small}")), format!("{interim}{large}"));
        assert_eq!(written(&names, "date: x\r\n\r\n"), "date: x\r\n\r\n");
        assert_eq!(written(&names, "HTTP/1.1 200 OK\r\ndate"), "HTTP/1.1 200 OK\r\ndate");
        let plain = written(&Names::default(), &small);
        assert_eq!(plain, answer("priority", "Content-Type", "customerid"));
    }

    #[test]
    fn a_name_is_what_its_sender_wrote() {
        let head = b"POST /X-Path: HTTP/1.1\r\nHost: x\r\nX-Process-At: y\r\nx-LATER:1\r\n\r\nX-BODY: 1\r\n";
        let mut names = ["x-process-at", "x-later", "x-body"].map(str::to_owned);
        as_written(names.iter_mut(), head);
        assert_eq!(names, ["X-Process-At", "x-LATER", "x-body"]);
        as_written(names.iter_mut(), b"");
        assert_eq!(names, ["X-Process-At", "x-LATER", "x-body"]);
    }
}
