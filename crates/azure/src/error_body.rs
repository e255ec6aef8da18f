//! What an error answer says, in what both services share: a small XML document, or nothing at all.

use std::time::Duration;

use http::{HeaderMap, header};

use crate::wire::cut;

/// How much of an answer's own words an error keeps, in bytes.
const EXCERPT: usize = 400;

/// The text of the first `<name>…</name>`, its entities resolved.
pub(crate) fn element(body: &str, name: &str) -> Option<String> {
    let (_, after) = body.split_once(&format!("<{name}>"))?;
    let (inside, _) = after.split_once(&format!("</{name}>"))?;
    let inside = inside.replace("&#xD;", "").replace("&lt;", "<").replace("&gt;", ">");
    Some(inside.replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&"))
}

/// One line of bounded length, without control characters and without anything that looks like a signature.
///
/// The services don't repeat a token in their errors, but proxies and gateways in between print what they were given.
pub(crate) fn excerpt(text: &str) -> String {
    let mut line = String::new();
    let mut words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        if !line.is_empty() {
            line.push(' ');
        }
        if word.eq_ignore_ascii_case("sharedkey") {
            // `Authorization: SharedKey account:signature`
            line.push_str("SharedKey (redacted)");
            words.next();
        } else {
            line.push_str(&without_signature(word));
        }
    }
    cut(&line, EXCERPT).to_owned()
}

/// `Retry-After` in seconds. The form with a date is not used by these services.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

fn without_signature(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    match ["sig=", "sharedaccesskey=", "accountkey="].iter().find_map(|mark| lower.find(mark)) {
        // Offsets carry over: lower-casing ASCII changes no length.
        Some(at) => format!("{}(redacted)", word.get(..at).unwrap_or_default()),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_read_with_its_entities() {
        let body = "<Error><Code>400</Code><Detail>a &lt;b&gt; &amp;amp; &#xD;\nc</Detail></Error>";
        assert_eq!(element(body, "Code").as_deref(), Some("400"));
        assert_eq!(element(body, "Detail").as_deref(), Some("a <b> &amp; \nc"));
        assert_eq!(element(body, "Missing"), None);
        assert_eq!(element("</a><a>", "a"), None);
    }

    #[test]
    fn an_excerpt_is_one_line_without_signatures() {
        let token = "bad token:\r\nSharedAccessSignature sr=x&sig=abc%3D&se=1 (SharedAccessKey=xyz) é";
        assert_eq!(excerpt(token), "bad token: SharedAccessSignature sr=x&(redacted) ((redacted) é");
        assert_eq!(excerpt("Authorization: SharedKey acc:abc= refused"), "Authorization: SharedKey (redacted) refused");
        assert!(excerpt(&"é".repeat(1000)).len() <= EXCERPT);
    }
}
