//! What every request has in common: percent-encoding, JSON in headers, and the promises of the crate's front page.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters is escaped.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// As [`VALUE`], with what separates and marks path segments kept: `/`, and the `$` of `$DeadLetterQueue`.
const PATH: &AsciiSet = &VALUE.remove(b'/').remove(b'$');

/// The longest name that is put into a path, in bytes. Both services refuse names far below it (260 characters for an
/// entity, 1,024 for a blob), so cutting a longer one changes nothing but that a URI can always be built.
const MAX_NAME: usize = 8 * 1024;

/// Percent-encodes a value for a query, or a resource to be signed.
pub(crate) fn encode_value(text: &str) -> String {
    utf8_percent_encode(text, VALUE).to_string()
}

/// Percent-encodes a name for a path; `/` separates segments.
pub(crate) fn encode_path(name: &str) -> String {
    utf8_percent_encode(cut(name, MAX_NAME), PATH).to_string()
}

/// The longest prefix of at most `limit` bytes that ends between two characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

/// Escapes what JSON may carry as it is but a header may not: everything outside printable ASCII.
pub(crate) fn ascii_json(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, ' '..='~') {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

/// Assembles a request, with its `Content-Length`.
///
/// `uri` is put together from an origin and a query that were checked when the connection string was parsed, and from
/// encoded names of bounded length.
pub(crate) fn request(method: Method, uri: &str, mut headers: HeaderMap, body: Bytes) -> Request<Bytes> {
    if method != Method::GET && method != Method::HEAD {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    #[expect(clippy::expect_used, reason = "origin and query were checked when parsed, names are encoded and bounded")]
    let uri: Uri = uri.parse().expect("a URI of checked parts");
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

/// A header value that no `Debug` shows.
pub(crate) fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// Method, host and path of a request: all of it that may be logged. The query, where a blob's SAS is, is left out.
#[must_use]
pub fn describe<B>(request: &Request<B>) -> String {
    let host = request.uri().authority().map_or("", |authority| authority.as_str());
    format!("{} {host}{}", request.method(), request.uri().path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_a_header_is_printable_ascii_and_means_the_same() {
        let text = "a\u{7f}é\u{2028}\u{1f980}\n\"\\";
        let ascii = ascii_json(&serde_json::to_string(text).unwrap());
        assert!(ascii.bytes().all(|b| (b' '..=b'~').contains(&b)), "{ascii}");
        assert_eq!(serde_json::from_str::<String>(&ascii).unwrap(), text);
    }

    #[test]
    fn a_uri_is_built_from_any_name() {
        for name in ["", "a b/ü?#%", &"é".repeat(40_000), "\0\r\n", "q/$DeadLetterQueue"] {
            let uri = format!("https://host/{}?{}", encode_path(name), "x=y");
            let request = request(Method::PUT, &uri, HeaderMap::new(), Bytes::new());
            assert_eq!(request.uri().query(), Some("x=y"));
            assert_eq!(request.headers()[header::CONTENT_LENGTH], "0");
        }
    }

    #[test]
    fn a_described_request_has_no_query() {
        let request = request(Method::GET, "https://host:1/c/b?sig=abc", HeaderMap::new(), Bytes::new());
        assert_eq!(describe(&request), "GET host:1/c/b");
        assert!(!request.headers().contains_key(header::CONTENT_LENGTH));
    }
}
