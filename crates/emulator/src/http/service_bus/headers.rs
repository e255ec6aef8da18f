//! Which headers of a message's request are its custom properties, and which of an answer are the gateway's own.
//!
//! Every header is a property that is not standard, not the gateway's, and not meant for the next hop alone: what
//! `Connection` names belongs to the connection (RFC 9110, section 7.6.1), as do some that are older than that rule.

use std::collections::BTreeSet;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Request headers that are not custom properties, whatever is chosen.
const STANDARD: [&str; 46] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "allow",
    "authorization",
    "brokerproperties",
    "cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "from",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "last-modified",
    "max-forwards",
    "pragma",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "servicebusdlqsupplementaryauthorization",
    "servicebussupplementaryauthorization",
    "te",
    "trailer",
    "transfer-encoding",
    "translate",
    "upgrade",
    "user-agent",
    "via",
    "warning",
];

/// Headers of an answer that a custom property of the same name must not touch.
pub(super) const TAKEN: [&str; 9] = [
    "brokerproperties",
    "connection",
    "content-length",
    "content-type",
    "date",
    "location",
    "server",
    "strict-transport-security",
    "transfer-encoding",
];

/// The headers of a request that may be custom properties.
pub(super) fn properties_among(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let tokens = headers.get_all(header::CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    let hop: BTreeSet<String> =
        tokens.flat_map(|tokens| tokens.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect();
    headers.iter().filter(move |(name, _)| !STANDARD.contains(&name.as_str()) && !hop.contains(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::casing;

    #[test]
    fn what_is_for_the_next_hop_is_no_property() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "Upgrade, HTTP2-Settings"),
            ("connection", "close , X-Hop"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAEAAEAA"),
            ("proxy-connection", "keep-alive"),
            ("x-hop", "1"),
            ("servicebusdlqsupplementaryauthorization", "SharedAccessSignature sig=x"),
            ("x-kept", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let names: Vec<&str> = properties_among(&headers).map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-kept"]);
    }

    #[test]
    fn no_property_takes_the_place_of_a_header_of_the_gateway() {
        // Entity tags are on the management plane alone.
        let own: Vec<String> =
            casing::GATEWAY.map(str::to_ascii_lowercase).into_iter().filter(|n| n != "etag").collect();
        assert!(own.len() > 8, "{own:?}");
        for name in own {
            assert!(TAKEN.contains(&name.as_str()), "{name}");
        }
    }
}
